/* manyhands/channel.h - a message queue between any number of producers and consumers, threads or processes.
 *
 *   mh_channel *ch;
 *   mh_channel_create(&(mh_channel_options){ .max_items = 100 }, &ch);
 *   mh_channel_put(ch, &(mh_part){ text, strlen(text) }, 1, 0, MH_FOREVER, NULL);
 *   mh_message m = { 0 };
 *   mh_channel_get(ch, &m, MH_FOREVER, NULL);  // m.data, m.size; reuse m; mh_message_fini(&m)
 *
 * Messages are bytes of any length and come out whole, in the order in which they went in. Once put returns, the
 * message is there; a killed put leaves the whole message or nothing; a message that a consumer took and died with is lost
 * and counted (at most once). A byte ring with a robust lock at each end; a commit is one release store.
 */
#ifndef MANYHANDS_CHANNEL_H
#define MANYHANDS_CHANNEL_H

#include "deadline.h"
#include "error.h"
#include "segment.h"
#include "wait.h"

MH_BEGIN_DECLS

typedef struct mh_channel mh_channel; /* this process's view */

typedef struct mh_channel_options {
    uint64_t max_items; /* 0: no limit */
    uint64_t max_bytes; /* ring bytes at most; 0: a quarter of the free memory, see the guide */
    unsigned flags;     /* MH_PRIVATE: threads of one process */
} mh_channel_options;

typedef struct mh_part { /* a message is put together from parts */
    const void *data;
    size_t size;
} mh_part;

typedef struct mh_message { /* a received message; all-zero to begin with, reused by the next get */
    void *data;
    size_t size;
    size_t room;   /* bytes allocated at data */
    uint32_t tag;  /* the user's, given to put */
} mh_message;

MH_API int mh_channel_create(const mh_channel_options *options, mh_channel **channel);
MH_API int mh_channel_attach(int fd, mh_channel **channel);
MH_API void mh_channel_destroy(mh_channel *channel); /* this process's view */
MH_API int mh_channel_fd(const mh_channel *channel);  /* of the segment, to hand to another process */

/* 0, -ETIMEDOUT (full), -ECANCELED, -EINTR, MH_E_CLOSED, -EMSGSIZE (larger than max_bytes can ever hold), -ENOMEM (unbounded
 * channel at its byte limit) */
MH_API int mh_channel_put(mh_channel *channel, const mh_part *parts, size_t count, uint32_t tag, mh_deadline deadline,
                          mh_cancel *cancel);
/* 0, -ETIMEDOUT (empty), -ECANCELED, -EINTR, MH_E_CLOSED (and empty), -ENOMEM (the message stays) */
MH_API int mh_channel_get(mh_channel *channel, mh_message *message, mh_deadline deadline, mh_cancel *cancel);
/* Several at once under one lock. put_many: each part is a message of its own; *done says how many went in (also on
 * an error). get_many: waits for the first, then takes what is there, at most `most`; message->data holds for each
 * {uint32 size, uint32 tag, bytes, padding to 8}, and *done their number. */
MH_API int mh_channel_put_many(mh_channel *channel, const mh_part *messages, size_t count, uint32_t tag,
                               mh_deadline deadline, mh_cancel *cancel, size_t *done);
MH_API int mh_channel_get_many(mh_channel *channel, mh_message *message, size_t most, mh_deadline deadline,
                               mh_cancel *cancel, size_t *done);
/* No more puts; gets drain what is there, then MH_E_CLOSED. `immediate`: also throw away what is there. */
MH_API void mh_channel_close(mh_channel *channel, int immediate);
MH_API int mh_channel_is_closed(const mh_channel *channel);
MH_API uint64_t mh_channel_items(const mh_channel *channel); /* exact at some instant during the call */
MH_API uint64_t mh_channel_bytes(const mh_channel *channel);
/* A descriptor that is readable while messages are there (select, poll, asyncio). Made on creation; from the first call
 * on, producers ring it. In a process that attached by descriptor it comes with the second descriptor of `mh_channel_attach2`. */
MH_API int mh_channel_select_fd(mh_channel *channel);
MH_API int mh_channel_attach2(int fd, int select_fd, mh_channel **channel);
/* Walk the ring and check every bound; 0 or MH_E_CORRUPT. */
MH_API int mh_channel_valid(mh_channel *channel);

MH_API void mh_message_fini(mh_message *message);

MH_END_DECLS
#endif
