/* core/shm/channel.c - making, sharing and closing channels. Messages go in and out in channel_io.c; the ring
 * and what a death leaves of it are in channel_ring.[ch], waiting in channel_gate.[ch]. */
#include <stdlib.h>

#include "core/os/os.h"
#include "core/shm/channel_gate.h"
#include "core/shm/channel_lease.h"
#include "core/shm/channel_view.h"
#include "core/shm/segment.h"

#define KIND 0x6e61686du /* "mhan", of the segment */
#define HEADER 4096      /* bytes before the ring's */
#define RESERVED ((uint64_t) 1 << 32)
#define RESERVED_MOST \
    ((uint64_t) 1 << 35) /* positions are 32 bits of 16-byte units; half of that keeps order */
#define RESERVED_LEAST 4096
#define OPEN_WAIT INT64_C(1000000000) /* ns */
#define LIMIT_LEAST ((uint64_t) 2 * MH__UNIT)

static uint64_t power_of_two_from(uint64_t value)
{
    uint64_t power = RESERVED_LEAST;
    while (power < value) {
        power *= 2;
    }
    return power;
}

/* Memory for a ring of up to `bytes` bytes (a power of two), halved until the system agrees. */
static int reserve(mh_channel *ch, uint64_t *bytes, void **base)
{
    int rc;

    for (;;) {
        size_t size = HEADER + (size_t) *bytes;
        if (ch->view.flags & MH_PRIVATE) {
            rc = mh_os_map_private(size, base);
            ch->mapped = size;
        } else {
            rc = mh_segment_reserve(size, size, KIND, &ch->view.segment);
            *base = rc == 0 ? mh_segment_base(ch->view.segment) : NULL;
        }
        if (rc == 0 || *bytes / 2 < RESERVED_LEAST) {
            return rc;
        }
        *bytes /= 2;
    }
}

/* The view of a ring with leases: 0, -ENOMEM. */
static int lease(mh_channel *ch)
{
    if (!(ch->view.ring->flags & MH_CHANNEL_REDELIVER)) {
        return 0;
    }
    /* A block that a message refers to goes with its first receiver, so messages have to hold all of their bytes. */
    mh_channel_share_outside(ch);
    ch->view.hands = mh__hands_new();
    return ch->view.hands ? 0 : -ENOMEM;
}

/* Bytes of messages that a ring takes, in whole units, where `memory` are free. */
static uint64_t ring_limit(const mh_channel_options *options, uint64_t memory)
{
    uint64_t limit = options->max_bytes ? options->max_bytes : memory / 4;

    if (!options->max_bytes && limit > RESERVED) {
        limit = RESERVED;
    }
    limit = (limit < LIMIT_LEAST ? LIMIT_LEAST : limit) / MH__UNIT * MH__UNIT;
    return limit > RESERVED_MOST ? RESERVED_MOST : limit;
}

static int create(mh_channel *ch, const mh_channel_options *options)
{
    /* Asking takes as long as all else here: once, and not where it does not matter. */
    uint64_t memory = options->max_bytes && options->max_behind ? 0 : mh_os_memory_limit();
    uint64_t limit = ring_limit(options, memory), bytes = power_of_two_from(limit);
    void *base;
    int rc;

    ch->view.flags = options->flags & MH_PRIVATE;
    rc = reserve(ch, &bytes, &base);
    if (rc) {
        ch->mapped = 0;
        return rc;
    }
    limit = limit > bytes ? bytes : limit;
    mh__ring_init(base, options->max_items ? options->max_items : UINT64_MAX, (uint32_t) (limit / MH__UNIT),
                  (uint32_t) (bytes / MH__UNIT), options->flags,
                  options->max_behind ? options->max_behind : memory / 2);
    rc = mh__view_init(&ch->view, base, (unsigned char *) base + HEADER, (size_t) bytes);
    return rc ? rc : lease(ch);
}

static mh_channel *new_channel(void)
{
    mh_channel *ch = mh_os_calloc(1, sizeof *ch);
    if (ch) {
        ch->view.bell_in = ch->view.bell_out = -1;
    }
    return ch;
}

int mh_channel_create(const mh_channel_options *options, mh_channel **channel)
{
    mh_channel *ch;
    int rc;

    if (options->flags & ~(MH_PRIVATE | MH_CHANNEL_BLOCK | MH_CHANNEL_REDELIVER) ||
        (options->flags & MH_PRIVATE && options->flags & MH_CHANNEL_REDELIVER) ||
        (options->deliveries != 0 && !(options->flags & MH_CHANNEL_REDELIVER))) {
        return -EINVAL;
    }
    ch = new_channel();
    if (!ch) {
        return -ENOMEM;
    }
    rc = create(ch, options);
    if (rc == 0) { /* nobody else has it yet */
        ch->view.deliveries = ch->view.ring->deliveries = options->deliveries;
    }
    if (rc == 0 && !(options->flags & MH_PRIVATE)) { /* a private channel makes its bell when asked for it */
        int fd = mh_os_eventfd();
        rc = fd < 0 ? fd : 0;
        ch->view.bell_in = ch->view.bell_out = fd < 0 ? -1 : fd;
    }
    if (rc) {
        mh_channel_destroy(ch);
        return rc;
    }
    ch->blocks = options->max_items != 0 || (options->flags & MH_CHANNEL_BLOCK);
    *channel = ch;
    return 0;
}

/* What lies in the segment that the view has mapped by now. */
static int adopt_ring(mh_channel *ch)
{
    struct mh__ring *ring;
    size_t size;
    int rc;

    size = mh_segment_size(ch->view.segment);
    if (size < HEADER + RESERVED_LEAST) {
        return MH_E_CORRUPT;
    }
    ring = mh_segment_base(ch->view.segment);
    if (ring->flags & MH_PRIVATE) {
        return MH_E_CORRUPT;
    }
    rc = mh__view_init(&ch->view, ring, (unsigned char *) ring + HEADER, size - HEADER);
    if (rc == 0) {
        rc = lease(ch);
    }
    if (rc) {
        return rc;
    }
    ch->blocks = ch->view.max_items != UINT64_MAX || (ring->flags & MH_CHANNEL_BLOCK);
    return 0;
}

static int attach(mh_channel *ch, int fd, int select_fd)
{
    int rc = mh_segment_attach(fd, KIND, &ch->view.segment);

    if (rc == 0) {
        rc = adopt_ring(ch);
    }
    if (rc) {
        return rc == -EAGAIN ? MH_E_CORRUPT : rc; /* whoever has its descriptor has it from one who made it */
    }
    if (select_fd >= 0) {
        int own = mh_os_dup(select_fd);
        if (own < 0) {
            return own;
        }
        ch->view.bell_in = ch->view.bell_out = own;
    }
    return mh__ring_valid(&ch->view);
}

int mh_channel_attach2(int fd, int select_fd, mh_channel **channel)
{
    mh_channel *ch = new_channel();
    int rc;

    if (!ch) {
        return -ENOMEM;
    }
    rc = attach(ch, fd, select_fd);
    if (rc) {
        mh_channel_destroy(ch);
        return rc;
    }
    *channel = ch;
    return 0;
}

int mh_channel_attach(int fd, mh_channel **channel)
{
    return mh_channel_attach2(fd, -1, channel);
}

static int create_named(mh_channel *ch, const char *name, const mh_channel_options *options)
{
    uint64_t limit = (options->max_bytes < LIMIT_LEAST ? LIMIT_LEAST : options->max_bytes) / MH__UNIT *
                     MH__UNIT,
             bytes;
    struct mh__ring *ring;
    int rc;

    bytes = power_of_two_from(limit);
    rc = mh_segment_create_named(name, HEADER + (size_t) bytes, KIND, &ch->view.segment);
    if (rc) {
        return rc;
    }
    ring = mh_segment_base(ch->view.segment);
    mh__ring_init(ring, options->max_items ? options->max_items : UINT64_MAX, (uint32_t) (limit / MH__UNIT),
                  (uint32_t) (bytes / MH__UNIT), options->flags | MH__RING_KEEP, options->max_behind);
    return adopt_ring(ch);
}

int mh_channel_create_named(const char *name, const mh_channel_options *options, mh_channel **channel)
{
    mh_channel *ch;
    int rc;

    if (options->flags & ~MH_CHANNEL_BLOCK || options->max_bytes == 0 || options->max_bytes > RESERVED_MOST) {
        return -EINVAL;
    }
    ch = new_channel();
    if (!ch) {
        return -ENOMEM;
    }
    rc = create_named(ch, name, options);
    if (rc) {
        mh_channel_destroy(ch);
        return rc;
    }
    *channel = ch;
    return 0;
}

/* An end is held for microseconds. Where it is for longer, its owner is stopped, or is none of us and never was: the
 * word in the file may name any process. */
static int valid_stranger(struct mh__view *view)
{
    int rc = mh__ring_valid_by(view, mh_now() + OPEN_WAIT);
    return rc == -ETIMEDOUT ? -EBUSY : rc;
}

int mh_channel_open(const char *name, mh_channel **channel)
{
    mh_channel *ch = new_channel();
    int rc;

    if (!ch) {
        return -ENOMEM;
    }
    rc = mh_segment_open(name, KIND, &ch->view.segment);
    if (rc == 0) {
        rc = adopt_ring(ch);
    }
    if (rc == 0) {
        rc = valid_stranger(&ch->view);
    }
    if (rc) {
        mh_channel_destroy(ch);
        return rc;
    }
    *channel = ch;
    return 0;
}

void mh_channel_destroy(mh_channel *ch)
{
    if (!ch) {
        return;
    }
    mh__hands_free(ch->view.hands);
    if (mh_channel_writers_fd(ch) >= 0) {
        mh_os_close(mh_channel_writers_fd(ch));
    }
    if (ch->view.bell_in >= 0) {
        mh_os_close(ch->view.bell_in);
    }
    if (ch->view.segment) {
        mh_segment_close(ch->view.segment);
    } else if (ch->mapped) {
        mh_os_unmap(ch->view.ring, ch->mapped);
    }
    free(ch);
}

int mh_channel_fd(const mh_channel *ch)
{
    return ch->view.segment ? mh_segment_fd(ch->view.segment) : -ENOTSUP;
}

void mh_channel_close(mh_channel *ch, int immediate)
{
    struct mh__view *view = &ch->view;

    mh__tail_enter(view);
    /* release: pairs with the acquire in mh__ring_peek, which then reads a tail that is final */
    mh_store_rel(&view->ring->closed,
                 mh_load_rlx(&view->ring->closed) | MH__CLOSED | (immediate ? MH__DISCARD : 0));
    mh__bell_after_commit(view);
    mh__tail_leave(view);
    if (immediate) {
        mh__ring_drop_all(view);
    }
    mh_fence_seq();
    mh__gate_open_all(&view->ring->not_empty, view->flags);
    mh__gate_open_all(&view->ring->not_full, view->flags);
}

int mh_channel_is_closed(const mh_channel *ch)
{
    return mh_load_acq(&ch->view.ring->closed) != 0;
}

uint64_t mh_channel_items(const mh_channel *ch)
{
    uint64_t items, bytes;
    if (ch->view.hands) { /* what the dead had in hand waits as well */
        struct mh__view own = ch->view;
        mh__lease_look(&own, 0);
    }
    mh__ring_usage(&ch->view, &items, &bytes);
    return items;
}

void mh_channel_share_outside(mh_channel *ch)
{
    mh_store_rel(&ch->view.ring->outside, 1); /* pairs with the load below */
}

int mh_channel_is_outside(const mh_channel *ch)
{
    return (int) mh_load_acq(&ch->view.ring->outside);
}

int mh_channel_set_writers(mh_channel *ch, int fd)
{
    int none = 0;
    return mh_cas_acq_rel(&ch->view.writers, &none, fd + 1) ? 0 : -EBUSY;
}

int mh_channel_writers_fd(const mh_channel *ch)
{
    return mh_load_acq(&ch->view.writers) - 1;
}

void mh_channel_set_claim(mh_channel *ch, MH_ATOMIC(uint64_t) *claim)
{
    ch->view.claim = claim;
}

int mh_channel_set_taker(mh_channel *ch, mh_taker *take)
{
    if (ch->view.hands) {
        return -ENOTSUP;
    }
    ch->view.taker = take;
    return 0;
}

void mh_channel_set_weigher(mh_channel *ch, mh_weigher *weigh)
{
    ch->view.weigher = weigh;
}

uint32_t mh_channel_taken(const mh_channel *ch)
{
    return mh__number(mh_load_acq(&ch->view.ring->head)); /* pairs with the commit in mh__ring_take */
}

uint64_t mh_channel_bytes(const mh_channel *ch)
{
    uint64_t items, bytes;
    mh__ring_usage(&ch->view, &items, &bytes);
    return bytes;
}

uint64_t mh_channel_lost(mh_channel *ch)
{
    uint64_t lost;

    mh__head_enter(&ch->view); /* who died in there is counted now */
    lost = mh_load_rlx(&ch->view.ring->lost);
    mh__head_leave(&ch->view);
    return lost;
}

int mh_channel_bell_fd(const mh_channel *ch)
{
    return ch->view.bell_in;
}

int mh_channel_select_fd(mh_channel *ch)
{
    struct mh__view *view = &ch->view;
    int fd = 0;

    if (!view->segment) {
        mh__tail_enter(view); /* two threads may ask at once */
        if (view->bell_in < 0) {
            fd = mh_os_eventfd();
            view->bell_in = view->bell_out = fd < 0 ? -1 : fd;
        }
        mh__tail_leave(view);
    }
    if (view->bell_in < 0) {
        return fd < 0 ? fd : -ENOTSUP;
    }
    mh__bell_enable(view);
    return view->bell_in;
}

void mh_channel_ring(mh_channel *ch)
{
    struct mh__view *view = &ch->view;

    if (mh_load_rlx(&view->ring->select)) {
        mh__bell_enable(view);
    }
    mh__gate_open_all(&view->ring->not_empty, view->flags);
    mh__gate_open_all(&view->ring->not_full, view->flags);
    mh__gate_open_all(&view->ring->all_done, view->flags);
}

int mh_channel_valid(mh_channel *ch)
{
    return mh__ring_valid(&ch->view);
}
