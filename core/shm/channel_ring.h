/* core/shm/channel_ring.h - the byte ring under channels and pipes: its layout in shared memory, and the
 * steps that change it. No waiting here (channel_gate.h) and no public types.
 *
 * Positions count units of 16 bytes and never go back; where a unit lies is its position modulo the window, a
 * power of two. A cursor is one 64-bit word:
 *
 *   bits  0..31  position, in units, modulo 2^32 (a window has at most 2^31 units)
 *   bits 32..63  number of the record that begins there, modulo 2^32
 *
 * Both halves change in one store, so the count of the records in the ring, tail's number minus head's, is
 * exact at every instant and a death leaves nothing to recount.
 *
 * A put writes its record behind the tail, then stores the tail (the commit). A get copies the record at the
 * head, then stores the head (the commit). Each end has a robust lock; killed before the store, nothing has
 * happened; killed after it, all has.
 *
 * Who may change what:
 *   tail, head_seen, stream .............. the holder of tail_lock
 *   behind ............................... either holder, by addition; see mh__behind_fits()
 *   closed, select, rung ................. the holder of tail_lock
 *   head, tail_seen, reader* ............. the holder of head_lock
 *   taking, lost*, dropped ............... the holder of head_lock
 *   reclaim, returned, leases ............ the holder of head_lock
 *   done ................................. anyone
 *   window, touched ...................... the holder of both (tail_lock is taken first), so either lock
 *   freezes them
 */
#ifndef MH_SHM_CHANNEL_RING_H
#define MH_SHM_CHANNEL_RING_H

#include <stdalign.h>

#include "core/os/atomic.h"
#include "manyhands/channel.h"
#include "manyhands/lock.h"

#define MH__UNIT 16u
#define MH__RING_MAGIC 0x676e724du /* "Mrng" */

#define MH__WINDOW_START 0x1000u /* units: 64 KiB, where a ring may grow that far */
#define MH__WINDOW_KEEP 0x40000u /* units: 4 MiB; an emptied ring gives back what it has beyond */

/* Before each message in the ring: one unit. */
struct mh__record {
    uint32_t size;   /* bytes that follow; padded to whole units */
    uint32_t tag;    /* the user's */
    uint32_t number; /* low half of the cursor's: a stale or torn record shows */
    uint16_t kind;   /* enum mh__kind */
    uint16_t check;  /* mixes the other fields, see record_check() */
};

/* FIRST to ABORT: pipe_stream.c; LEASED: channel_lease.c, one unit for the lease, then the message */
enum mh__kind { MH__WHOLE, MH__FIRST, MH__MORE, MH__LAST, MH__ABORT, MH__LEASED };

#define MH__CLOSED 1u
#define MH__RING_KEEP 0x100u /* beside the public flags: it never gives a page back */
#define MH__DISCARD 2u       /* beside CLOSED: what was there is thrown away */

/* A place to wait: a futex word, what spinning has been worth, and after how many ns its first look comes (0: nothing
 * learned yet). Bit table in channel_gate.h. */
struct mh__gate {
    MH_ATOMIC(uint32_t) word;
    MH_ATOMIC(uint32_t) spin;
    MH_ATOMIC(uint32_t) step;
};

struct mh__ring {
    /* Set on creation, but for `window` and the rare words behind it. */
    alignas(64) MH_ATOMIC(uint32_t) magic; /* stored last: 0 while its maker is still at it */
    uint32_t layout;
    uint32_t flags;
    uint32_t most;               /* units of the largest window */
    uint64_t max_items;          /* UINT64_MAX: no limit */
    uint32_t limit;              /* units that may be in use, at most `most` */
    uint32_t keep;               /* an empty ring shrinks to this window */
    MH_ATOMIC(uint32_t) window;  /* units */
    MH_ATOMIC(uint32_t) touched; /* the largest window since pages were last given back */
    MH_ATOMIC(uint32_t) closed;
    MH_ATOMIC(uint32_t) select;  /* 1: producers ring the bell */
    MH_ATOMIC(uint32_t) rung;    /* 1: the bell was rung since a consumer last silenced it */
    MH_ATOMIC(uint32_t) outside; /* 1: a process that does not share the arena has it, too; stays */
    uint64_t most_behind;        /* bytes that may lie behind the messages that wait; 0: no limit */

    /* The producers' end. */
    alignas(64) mh_lock tail_lock;
    MH_ATOMIC(uint64_t) tail;
    MH_ATOMIC(uint64_t) head_seen; /* the head when a producer last looked */
    MH_ATOMIC(uint64_t) stream;    /* who is inside a message of several records (mh_os_self()); 0: nobody */
    MH_ATOMIC(uint64_t) behind; /* bytes behind the messages that wait, modulo 2^64: about, after a death */

    /* The consumers' end. */
    alignas(64) mh_lock head_lock;
    MH_ATOMIC(uint64_t) head;
    MH_ATOMIC(uint64_t) tail_seen;
    MH_ATOMIC(uint64_t) taking;     /* the head before the take that is under way */
    MH_ATOMIC(uint64_t) reader;     /* who is inside a message of several records; 0: nobody */
    MH_ATOMIC(uint64_t) reader_end; /* and through which of its ends */
    MH_ATOMIC(uint32_t) returned;   /* leases: records before the head that wait again */
    uint32_t deliveries;            /* leases: a record that so many died with is given up; 0: never */

    alignas(64) MH_ATOMIC(uint64_t) lost; /* messages taken by consumers that died in the take */
    MH_ATOMIC(uint64_t) lost_next;
    MH_ATOMIC(uint32_t) lost_staged;
    MH_ATOMIC(uint32_t) done;    /* without leases: how often it was said, modulo 2^32 */
    MH_ATOMIC(uint32_t) dropped; /* without leases: messages that a close threw away */
    struct mh__gate all_done;    /* where join waits */
    MH_ATOMIC(uint64_t) reclaim; /* leases: the oldest record that is not done */

    alignas(64) struct mh__gate not_empty;
    alignas(64) struct mh__gate not_full;
};

_Static_assert(sizeof(struct mh__record) == MH__UNIT, "a record's header is one unit");
_Static_assert(sizeof(struct mh__ring) == (size_t) 6 * 64, "layout in shared memory");

/* One process's view of a ring. What the shared words are checked against is copied from them once, when they
 * have been validated. */
struct mh__view {
    struct mh__ring *ring;
    unsigned char *bytes;
    uint64_t max_items, most_behind;
    uint32_t most, limit, keep, deliveries;
    unsigned flags;             /* MH_PRIVATE or 0 */
    mh_segment *segment;        /* NULL: memory of this process alone */
    size_t offset;              /* of `bytes` in the segment */
    int bell_in, bell_out;      /* descriptors, -1: none; the same one where the bell is an eventfd */
    MH_ATOMIC(uint64_t) *claim; /* NULL, or where gets say what they are about to take */
    MH_ATOMIC(int) writers;     /* a pipe's reading end that hangs up once nobody can put, plus 1; 0: none */
    mh_taker *taker;            /* NULL, or called for each message before its take is committed */
    mh_weigher *weigher;        /* NULL, or says how many bytes lie behind a message */
    struct mh__hands *hands;    /* NULL, or the ring has leases: what this process has in hand */
};

/* The oldest record that is still needed: room begins behind it. */
static inline MH_ATOMIC(uint64_t) *mh__floor(const struct mh__view *view)
{
    return view->hands ? &view->ring->reclaim : &view->ring->head;
}

/* What stands in a producer's or consumer's way; never returned to a user. */
enum mh__hindrance {
    MH__NO_ITEM_ROOM = 1,
    MH__NO_BYTE_ROOM,
    /* also behind it */ MH__EMPTY,
    MH__SMALL_BUFFER,
    MH__BUSY
};

static inline uint32_t mh__position(uint64_t cursor)
{
    return (uint32_t) cursor;
}
static inline uint32_t mh__number(uint64_t cursor)
{
    return (uint32_t) (cursor >> 32);
}

static inline uint64_t mh__cursor(uint32_t position, uint32_t number)
{
    return (uint64_t) number << 32 | position;
}

/* Units of a record with `size` bytes in it. */
static inline uint32_t mh__units(uint32_t size)
{
    return 1 + size / MH__UNIT + (size % MH__UNIT != 0);
}

static inline uint64_t mh__past(uint64_t cursor, uint32_t size)
{
    return mh__cursor(mh__position(cursor) + mh__units(size), mh__number(cursor) + 1);
}

/* Sizes in units; most, window and keep powers of two. */
void mh__ring_init(struct mh__ring *ring, uint64_t max_items, uint32_t limit, uint32_t most, unsigned flags,
                   uint64_t most_behind);
/* Check the header and fill the view's copies; 0, MH_E_LAYOUT or MH_E_CORRUPT. `room`: bytes mapped at
 * `bytes`. */
int mh__view_init(struct mh__view *view, struct mh__ring *ring, unsigned char *bytes, size_t room);

/* Take and leave an end. Repairs after a dead owner, and wakes those whom it may have left asleep. */
void mh__tail_enter(struct mh__view *view);
void mh__tail_leave(struct mh__view *view);
void mh__head_enter(struct mh__view *view);
void mh__head_leave(struct mh__view *view);

/* Producers, tail held. `cursor` starts as the tail and moves past each record that is staged; commit makes
 * all of them visible at once. stage: 0, MH__NO_ITEM_ROOM, MH__NO_BYTE_ROOM or MH_E_CORRUPT. */
int mh__ring_stage(struct mh__view *view, uint64_t *cursor, uint32_t limit, const struct mh__record *record,
                   const mh_part *parts, size_t count);
void mh__ring_commit(struct mh__view *view, uint64_t cursor);

/* What lies behind messages, in blocks, counts as well. A producer adds what is behind its message before the commit, a
 * consumer takes it off before his, so a death in between leaves a difference; it is gone once a producer finds the ring
 * empty, where nothing is behind. Then one message always goes in, however much is behind it. */
static inline uint64_t mh__weight(const struct mh__view *view, const void *data, size_t size, uint32_t tag)
{
    return view->weigher ? view->weigher(data, size, tag) : 0;
}
/* Without a lock: would so much go in behind `tail`? */
int mh__behind_fits(const struct mh__view *view, uint64_t tail, uint64_t weight);
/* Tail held: it is staged behind `tail`. */
void mh__behind_add(struct mh__view *view, uint64_t tail, uint64_t weight);
/* Head held. */
static inline void mh__behind_take(struct mh__view *view, uint64_t weight)
{
    if (weight) {
        mh_add_rlx(&view->ring->behind, 0 - weight); /* the commit that follows is a release */
    }
}

/* Consumers, head held. peek: 0 and the record at `cursor`; MH__EMPTY, MH_E_CLOSED or MH_E_CORRUPT. */
int mh__ring_peek(struct mh__view *view, uint64_t cursor, struct mh__record *record);
void mh__ring_copy(const struct mh__view *view, uint64_t cursor, uint32_t skip, void *to, uint32_t size);
void mh__ring_take(struct mh__view *view, uint64_t cursor);
/* The unit at a position; NULL where the window cannot be right. Either end held. */
unsigned char *mh__ring_unit(const struct mh__view *view, uint32_t position);

/* Without a lock: is there nothing to take? A hint, for spinning and for re-checks. */
int mh__ring_is_empty(const struct mh__view *view);
/* The same, the other way about, by what consumers have seen: 0 says nothing. The producers' line is left to them. */
int mh__ring_is_left(const struct mh__view *view);
/* Records and bytes in use at one instant. */
void mh__ring_usage(const struct mh__view *view, uint64_t *items, uint64_t *bytes);
/* Nothing held: give memory back where the ring is empty and its window large. */
void mh__ring_shrink(struct mh__view *view);
/* Nothing held: throw away what is there. */
void mh__ring_drop_all(struct mh__view *view);
int mh__ring_valid(struct mh__view *view);
int mh__ring_valid_by(struct mh__view *view, mh_deadline deadline); /* the same, or -ETIMEDOUT */

/* What a bell is on a pipe's socket. Bytes of any other value announce a descriptor, see pipe_fd.c. */
#define MH__BELL_BYTE 0xffu
/* Take bells off the socket, up to the first byte that is none. Tail held. */
void mh__bell_strip(int socket);

/* The bell (select descriptor). Level: readable while there is something to take, or the ring is closed. */
void mh__bell_after_commit(struct mh__view *view); /* tail held */
void mh__bell_enable(struct mh__view *view);       /* nothing held */
void mh__bell_silence(struct mh__view *view);      /* nothing held; does nothing unless the ring is empty */

/* A consumer that found or left the ring empty, nothing held. */
static inline void mh__bell_if_empty(struct mh__view *view)
{
    if (mh_load_rlx(&view->ring->select) && mh__ring_is_empty(view)) {
        mh__bell_silence(view);
    }
}

#endif
