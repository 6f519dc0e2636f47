/* manyhands/channel.h - a message queue between any number of producers and consumers, threads or processes.
 *
 *   mh_channel *ch;
 *   mh_channel_create(&(mh_channel_options){ .max_items = 100 }, &ch);
 *   mh_channel_put(ch, &(mh_part){ text, strlen(text) }, 1, 0, MH_FOREVER, NULL);
 *   mh_message m = { 0 };
 *   mh_channel_get(ch, &m, MH_FOREVER, NULL);  // m.data, m.size; reuse m; mh_message_fini(&m)
 *
 * Messages are bytes of any length and come out whole, in the order in which they went in. Once put returns,
 * the message is there; a killed put leaves the whole message or nothing. A get is at most once: a message
 * that a consumer took and died with is gone, and counted where it died inside the get. A byte ring with a
 * robust lock at each end; a commit is one release store, so what a producer wrote before its put is visible
 * to whoever gets the message.
 *
 * Memory is touched only while messages wait; see docs/design/0004-message-format.md for the layout and its
 * limits. All who have write access to a channel's memory are trusted not to write over it on purpose; still
 * every offset is checked, and what cannot be right is MH_E_CORRUPT, not a crash.
 */
#ifndef MANYHANDS_CHANNEL_H
#define MANYHANDS_CHANNEL_H

#include "deadline.h"
#include "error.h"
#include "segment.h"
#include "wait.h"

MH_BEGIN_DECLS

/* Flag beside MH_PRIVATE: where the bytes run out a put waits, also without max_items. */
#define MH_CHANNEL_BLOCK 2u
/* What a consumer got is his until he says mh_channel_task_done, and is delivered again should he die before:
 * at least once, where a channel else delivers at most once. Not with MH_PRIVATE. */
#define MH_CHANNEL_REDELIVER 4u

typedef struct mh_channel mh_channel; /* this process's view */

typedef struct mh_channel_options {
    uint64_t max_items; /* 0: no limit */
    uint64_t
        max_bytes; /* of the ring, 16 to 31 more than the message for each; 0: a quarter of the free memory */
    unsigned flags; /* MH_PRIVATE: threads of one process; MH_CHANNEL_BLOCK; MH_CHANNEL_REDELIVER */
    uint32_t
        deliveries; /* MH_CHANNEL_REDELIVER: once so many consumers died with it a message is given up; 0: never */
    uint64_t
        max_behind; /* of what lies behind messages, see mh_channel_set_weigher; 0: half of the free memory */
} mh_channel_options;

typedef struct mh_part { /* a message is put together from parts */
    const void *data;
    size_t size;
} mh_part;

typedef struct mh_message { /* a received message; all-zero to begin with, reused by the next get */
    void *data;
    size_t size;
    size_t room;  /* bytes allocated at data */
    uint32_t tag; /* the user's, given to put */
    uint32_t
        given_up; /* 0; or so many consumers died with it, and it comes no more: it is done, this is the last of it */
} mh_message;

/* A new channel. Where max_items is set, or with MH_CHANNEL_BLOCK, it is bounded: a put that finds no room
 * waits. Else a put that finds the bytes used up fails with -ENOMEM. The address space is reserved (4 GiB
 * where max_bytes is 0, halved until the system agrees), the memory is not. 0, -EINVAL (unknown flags,
 * MH_PRIVATE with MH_CHANNEL_REDELIVER, deliveries without it), -ENOMEM, -EMFILE.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits | cancellation: no | allocs: view, segment,
 * eventfd | death: the memory goes with the last process that has it */
MH_API int mh_channel_create(const mh_channel_options *options, mh_channel **channel);

/* The channel of a descriptor from mh_channel_fd, received from another process; it is duplicated. The second
 * form takes the descriptor of mh_channel_select_fd along (duplicated as well; -1: none): a producer without
 * it cannot ring, so hand over both where anyone selects. 0, -ENOMEM, -EBADF, MH_E_LAYOUT, MH_E_CORRUPT (not
 * a channel, or its contents make no sense).
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for the ends' locks | cancellation: no | allocs:
 * view, mapping | death: nothing changed */
MH_API int mh_channel_attach(int fd, mh_channel **channel);
MH_API int mh_channel_attach2(int fd, int select_fd, mh_channel **channel);

/* A channel that programs which are no relatives find by its name (the rules of mh_segment_create_named; the same
 * names). It stays, with what is in it, until mh_segment_unlink(name). max_bytes must be given, and all of it is
 * taken from /dev/shm at once. It has no descriptor to select on. 0, -EEXIST, -EINVAL (name, flags, no max_bytes),
 * -ENOSPC, -EFBIG, -ENOMEM, -EMFILE; -EOPNOTSUPP (its file system cannot promise memory).
 * Open: 0; -ENOENT; -EAGAIN (its maker is still at it, or was killed at it); -EACCES; -EINVAL (name); MH_E_LAYOUT
 * (mh_segment_inspect_named and mh_segment_mismatch say which); MH_E_CORRUPT (not a channel); -EBUSY (a process that
 * lives has held an end for a second: it is stopped, or what the file says is not so); -ENOMEM, -EMFILE.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits (open) a second at most for the ends' locks | cancellation: no | allocs:
 * view, mapping | death: a maker killed at it leaves a name that opens with -EAGAIN: unlink it */
MH_API int mh_channel_create_named(const char *name, const mh_channel_options *options, mh_channel **channel);
MH_API int mh_channel_open(const char *name, mh_channel **channel);

/* Let go of this process's view; messages that wait stay for the others. No thread may be inside it. NULL is
 * allowed.
 * Safety: MT-owner PROC-safe AS-unsafe FORK-safe | never waits | cancellation: no | allocs: frees | death:
 * the same as this */
MH_API void mh_channel_destroy(mh_channel *channel);

/* The descriptor of the channel's memory, to hand to another process; -ENOTSUP for a private channel.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changed */
MH_API int mh_channel_fd(const mh_channel *channel);

/* Put one message, made of `count` parts one after the other. 0; -ETIMEDOUT (no room until the deadline),
 * -ECANCELED, -EINTR, MH_E_CLOSED, -EMSGSIZE (larger than the channel can ever hold, or than 4 GiB), -ENOMEM
 * (not bounded, and its bytes are used up), MH_E_CORRUPT. The message is in if and only if 0 is returned.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for room | cancellation: yes | allocs: none |
 * death: the whole message or nothing; the lock is found and repaired by the next who needs it */
MH_API int mh_channel_put(mh_channel *channel, const mh_part *parts, size_t count, uint32_t tag,
                          mh_deadline deadline, mh_cancel *cancel);

/* Get the oldest message. `message->data` is allocated or reused; it is never NULL after success. 0;
 * -ETIMEDOUT (empty until the deadline), -ECANCELED, -EINTR, MH_E_CLOSED (and drained), -ENOMEM (the message
 * stays), MH_E_CORRUPT.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for a message | cancellation: yes | allocs:
 * message->data | death: the message is still there, or taken and counted by mh_channel_lost */
MH_API int mh_channel_get(mh_channel *channel, mh_message *message, mh_deadline deadline, mh_cancel *cancel);

/* Put many messages, each part one, under as few takings of the lock as there is room for; they are
 * neighbours in the channel where nothing had to be waited for. Returns as put does; *done says how many are
 * in, also with an error.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for room | cancellation: yes | allocs: none |
 * death: the first so many of them are in, each whole */
MH_API int mh_channel_put_many(mh_channel *channel, const mh_part *messages, size_t count, uint32_t tag,
                               mh_deadline deadline, mh_cancel *cancel, size_t *done);

/* Wait for the first, then take what is there, at most `most` and about 1 MiB. message->data holds for each
 * {uint32_t size, uint32_t tag, the bytes, zeros up to a multiple of 8}, message->size bytes in all; *done
 * says how many. Returns as get does; -EINVAL where `most` is 0.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for a message | cancellation: yes | allocs:
 * message->data | death: all of them still there, or all taken and counted by mh_channel_lost */
MH_API int mh_channel_get_many(mh_channel *channel, mh_message *message, size_t most, mh_deadline deadline,
                               mh_cancel *cancel, size_t *done);

/* Wait until there is a message, or the channel is closed; takes nothing. 0, -ETIMEDOUT, -ECANCELED, -EINTR.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for a message | cancellation: yes | allocs: none |
 * death: nothing changed */
MH_API int mh_channel_poll(mh_channel *channel, mh_deadline deadline, mh_cancel *cancel);

/* The reading end of a pipe whose other end everyone has who may still put: from now on whoever waits for a message
 * through this view is told MH_E_CLOSED once the channel is empty and nobody has that other end any more (closed or
 * dead; found out within a second, or at mh_channel_ring). Taken over: it is closed with the view. -EBUSY: there is one.
 * The second: that descriptor; -1 where there is none.
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: the kernel says
 * who is gone */
MH_API int mh_channel_set_writers(mh_channel *channel, int fd);
MH_API int mh_channel_writers_fd(const mh_channel *channel);

/* A process that does not share this tree's arena is about to have the channel: messages must not refer to
 * blocks from now on (it is the putters who look). For good. `is`: was that said?
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: said or
 * not */
MH_API void mh_channel_share_outside(mh_channel *channel);
MH_API int mh_channel_is_outside(const mh_channel *channel);

/* What lies behind a message changes hands together with it: `take` is called for each message that this view gets,
 * once, with the receiver's copy of its bytes, which it may change, and its tag. It runs under the lock of the
 * consumers' end, before the message is gone from the channel: where its caller is killed in between, the message comes
 * to another, and what was behind it is the dead one's. It must neither wait for this channel nor take long. NULL: none,
 * as at the beginning. Set before the first get. 0; -ENOTSUP for a channel with MH_CHANNEL_REDELIVER.
 * Safety: MT-owner PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death: see
 * above */
typedef void mh_taker(void *data, size_t size, uint32_t tag);
MH_API int mh_channel_set_taker(mh_channel *channel, mh_taker *take);

/* What lies behind messages counts, too: `weigh` says how many bytes that are, from the first part of a message that is
 * put, and from the whole of one that is got, before `take`. Together they stay below max_behind of the options, or a
 * put waits, or fails, as where the ring has no room; into an empty channel one message always goes. It is asked under a
 * lock, as `take` is, and must say the same each time. All who have the channel set the same one, before their first
 * put or get; NULL: none, as at the beginning. After a death the count may be too high or too low by one message, until
 * the channel has been empty.
 * Safety: MT-owner PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death: see
 * above */
typedef uint64_t mh_weigher(const void *data, size_t size, uint32_t tag);
MH_API void mh_channel_set_weigher(mh_channel *channel, mh_weigher *weigh);

/* From now on each get through this view says in `*claim` what it takes, and says so before it takes it: the
 * number of the first message in bits 0..31 (the puts count from 0, modulo 2^32), how many in bits 32..63 (at
 * least 1, so a claim is never 0). Who stores 0 there when he is done with them leaves behind him, whenever he
 * is killed, exactly which messages he had in hand. A claim whose number is not below mh_channel_taken was not
 * carried out: that message is still in the channel, or somebody else's. `claim` lies in memory that outlives
 * the process, is aligned and stays mapped as long as the view; NULL: no more. One thread at a time gets
 * through a view that claims. Nothing is said of a channel with MH_CHANNEL_REDELIVER.
 * Safety: MT-owner PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: the
 * claim stands */
MH_API void mh_channel_set_claim(mh_channel *channel, MH_ATOMIC(uint64_t) *claim);

/* The caller is done with one message that he got. With MH_CHANNEL_REDELIVER that is the oldest that this thread
 * has in hand, else the oldest of the process; without, messages are only counted, and anyone may say it. 0; -EPERM:
 * there is none that is not done (with MH_CHANNEL_REDELIVER: none in this process's hands).
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for a lock | cancellation: no | allocs: none | death: said or
 * not */
MH_API int mh_channel_task_done(mh_channel *channel);

/* Wait until every message that was put is done, or thrown away by a close: at some instant during the call there was
 * none left. 0, -ETIMEDOUT, -ECANCELED, -EINTR.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for others' mh_channel_task_done | cancellation: yes | allocs:
 * none | death: a dead producer's put counts or does not; what a dead consumer had is waited for until another one is
 * done with it (MH_CHANNEL_REDELIVER), or for ever */
MH_API int mh_channel_join(mh_channel *channel, mh_deadline deadline, mh_cancel *cancel);

/* Messages that were put and are not done, modulo 2^32: exact at some instant during the call where it is 0 or nobody
 * else is at it.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for a lock at most | cancellation: no | allocs: none | death:
 * exact after any */
MH_API uint64_t mh_channel_unfinished(const mh_channel *channel);

/* How many messages were taken so far, modulo 2^32: the number of the next one.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: exact
 * after any */
MH_API uint32_t mh_channel_taken(const mh_channel *channel);

/* No more puts; gets drain what is there, then MH_E_CLOSED. `immediate`: also throw away what is there.
 * Everyone who waits is woken. Closing again is allowed.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for the ends' locks | cancellation: no | allocs: none
 * | death: open or closed; sleepers see it within a second */
MH_API void mh_channel_close(mh_channel *channel, int immediate);
MH_API int mh_channel_is_closed(const mh_channel *channel);

/* Messages, and bytes of the ring, that wait: exact at some instant during the call.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for a lock at most | cancellation: no | allocs: none
 * | death: exact after any; what a dead consumer had in hand counts from the next look for the dead, up to four times
 * as far off as the last one took */
MH_API uint64_t mh_channel_items(const mh_channel *channel);
MH_API uint64_t mh_channel_bytes(const mh_channel *channel);

/* Messages that consumers had taken when they died inside a get: exact. (One that died later, with the
 * message in hand, had been given it: only its user knows how far it came.) Modulo 2^64; a single death
 * counts modulo 2^32.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for a lock | cancellation: no | allocs: none | death:
 * counted once */
MH_API uint64_t mh_channel_lost(mh_channel *channel);

/* A descriptor that is readable while messages are there or the channel is closed (select, poll, asyncio);
 * now and then also for nothing, so get with MH_AT_ONCE. Never read from it or write to it. From the first
 * call on, producers ring it, which costs a system call each time the channel stops being empty. -ENOTSUP in
 * a process that attached without it; -EMFILE.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for a lock | cancellation: no | allocs: eventfd
 * (private channel) | death: a producer killed between put and ring is made up for by the next put, or by
 * mh_channel_ring */
MH_API int mh_channel_select_fd(mh_channel *channel);

/* The descriptor of mh_channel_select_fd, to hand to another process, without asking producers to ring it;
 * -1 where there is none.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changed */
MH_API int mh_channel_bell_fd(const mh_channel *channel);

/* Say again what there is to say: wake who sleeps, set the descriptor right. For whoever sees a participant
 * die.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for a lock | cancellation: no | allocs: none | death:
 * say it again */
MH_API void mh_channel_ring(mh_channel *channel);

/* Walk the ring and check every bound; 0 or MH_E_CORRUPT.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for both locks | cancellation: no | allocs: none |
 * death: nothing changed */
MH_API int mh_channel_valid(mh_channel *channel);

/* Free the buffer of a message and make it all-zero.
 * Safety: MT-owner PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: frees | death:
 * nothing shared */
MH_API void mh_message_fini(mh_message *message);

MH_END_DECLS
#endif
