/* core/shm/channel_ring.c - cursors, records, growth and repair of the ring. See channel_ring.h for the
 * layout. */
#include "core/shm/channel_ring.h"

#include <errno.h>
#include <string.h>

#include "core/debug/trace.h"
#include "core/os/os.h"
#include "core/shm/channel_gate.h"
#include "core/shm/channel_lease.h"
#include "core/sync/section.h"

static uint16_t record_check(const struct mh__record *record)
{
    uint32_t mix = record->size * 0x9e3779b1u ^ record->tag * 0x85ebca77u ^ record->number * 0xc2b2ae3du ^
                   record->kind * 0x27d4eb2fu;
    return (uint16_t) (mix ^ mix >> 16);
}

static int is_power_of_two(uint32_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

void mh__ring_init(struct mh__ring *ring, uint64_t max_items, uint32_t limit, uint32_t most, unsigned flags,
                   uint64_t most_behind)
{
    uint32_t start = most < MH__WINDOW_START ? most : MH__WINDOW_START;

    memset(ring, 0, sizeof *ring);
    ring->layout = MH_LAYOUT;
    ring->flags = flags;
    ring->max_items = max_items;
    ring->limit = limit;
    ring->most_behind = most_behind;
    ring->most = most;
    ring->keep = most < MH__WINDOW_KEEP || (flags & MH__RING_KEEP) ? most : MH__WINDOW_KEEP;
    mh_lock_init(&ring->tail_lock, flags & MH_PRIVATE);
    mh_lock_init(&ring->head_lock, flags & MH_PRIVATE);
    mh_store_rlx(&ring->window, start);
    mh_store_rlx(&ring->touched, start);
    mh_store_rel(&ring->magic, MH__RING_MAGIC); /* pairs with the load in mh__view_init() */
}

/* The window, if it is one; 0 where the shared word cannot be right. Either lock is held. */
static uint32_t window_of(const struct mh__view *view)
{
    uint32_t window = mh_load_rlx(&view->ring->window);
    return window <= view->most && is_power_of_two(window) ? window : 0;
}

int mh__view_init(struct mh__view *view, struct mh__ring *ring, unsigned char *bytes, size_t room)
{
    uint32_t magic = mh_load_acq(&ring->magic); /* pairs with the store in mh__ring_init() */

    if (magic != MH__RING_MAGIC) {
        return magic == 0 ? -EAGAIN : MH_E_CORRUPT;
    }
    if (ring->layout != MH_LAYOUT) {
        return MH_E_LAYOUT;
    }
    view->ring = ring;
    view->bytes = bytes;
    view->max_items = ring->max_items;
    view->most_behind = ring->most_behind;
    view->most = ring->most;
    view->limit = ring->limit;
    view->keep = ring->keep;
    view->deliveries = ring->deliveries;
    view->flags = ring->flags & MH_PRIVATE;
    view->bell_in = view->bell_out = -1;
    if (!is_power_of_two(view->most) || view->most > room / MH__UNIT || view->limit == 0 ||
        view->limit > view->most || !is_power_of_two(view->keep) || view->keep > view->most ||
        view->max_items == 0 || !window_of(view) || ring->tail_lock.flags != view->flags ||
        ring->head_lock.flags != view->flags) {
        return MH_E_CORRUPT;
    }
    return 0;
}

/* Room for `record` at `cursor` behind what is there: 0, or what is missing; *used: units in use before it.
 * `waiting`: how many records wait to be taken. */
static int find_room(const struct mh__view *view, uint64_t cursor, uint64_t floor, uint32_t waiting,
                     uint32_t units, uint32_t limit, uint32_t *used)
{
    *used = mh__position(cursor) - mh__position(floor);
    if (waiting >= view->max_items) {
        return MH__NO_ITEM_ROOM;
    }
    return *used > limit || units > limit - *used ? MH__NO_BYTE_ROOM : 0;
}

static unsigned char *unit_at(const struct mh__view *view, uint32_t window, uint32_t position)
{
    return view->bytes + (size_t) (position & (window - 1)) * MH__UNIT;
}

/* Copy units [from, upto) to where a window of `wide` units has them. What moves lands beyond the present
 * window, so the present layout stays whole until the window is stored: a death before that changes nothing.
 */
static void spread(const struct mh__view *view, uint32_t window, uint32_t wide, uint32_t from, uint32_t upto)
{
    while (from != upto) {
        uint32_t left = upto - from, run = window - (from & (window - 1));
        const unsigned char *old = unit_at(view, window, from);
        unsigned char *new = unit_at(view, wide, from);

        run = run < left ? run : left;
        if (new != old) {
            memcpy(new, old, (size_t) run * MH__UNIT);
        }
        from += run;
    }
}

/* Tail held: make the window hold `units` in use, staged records up to `cursor` included. */
static int grow(struct mh__view *view, uint64_t cursor, uint32_t units)
{
    struct mh__ring *ring = view->ring;
    uint32_t window, wide, from;

    mh__head_enter(view);
    window = window_of(view);
    from = mh__position(mh_load_rlx(mh__floor(view)));
    if (!window || mh__position(cursor) - from > window) {
        mh__head_leave(view);
        return MH_E_CORRUPT;
    }
    for (wide = window; wide < units; wide *= 2) {
    }
    if (wide > window) {
        /* First the note that pages out there are in use: whoever shrinks after a death here gives them back.
         */
        if (mh_load_rlx(&ring->touched) < wide) {
            mh_store_rlx(&ring->touched, wide);
        }
        MH__TRACE("ring.grow.copy");
        spread(view, window, wide, from, mh__position(cursor));
        MH__TRACE("ring.grow.store");
        mh_store_step(&ring->window, wide); /* the other end reads it under its own lock, which orders it */
        MH__TRACE("ring.grow.done");
    }
    mh__head_leave(view);
    return 0;
}

/* Copy into (out of) the ring, around its edge where need be. `at`: bytes from the window's beginning,
 * unwrapped. */
static void copy_in(const struct mh__view *view, uint32_t window, uint64_t at, const void *from, size_t size)
{
    size_t span = (size_t) window * MH__UNIT, start = (size_t) (at & (span - 1)), first = span - start;

    if (size <= first) {
        memcpy(view->bytes + start, from, size);
    } else {
        memcpy(view->bytes + start, from, first);
        memcpy(view->bytes, (const unsigned char *) from + first, size - first);
    }
}

static void copy_out(const struct mh__view *view, uint32_t window, uint64_t at, void *to, size_t size)
{
    size_t span = (size_t) window * MH__UNIT, start = (size_t) (at & (span - 1)), first = span - start;

    if (size <= first) {
        memcpy(to, view->bytes + start, size);
    } else {
        memcpy(to, view->bytes + start, first);
        memcpy((unsigned char *) to + first, view->bytes, size - first);
    }
}

/* Where there is no room by the head that was last seen, look at the head itself. */
static int find_room_fresh(struct mh__view *view, uint64_t cursor, uint32_t units, uint32_t limit,
                           uint32_t *used)
{
    struct mh__ring *ring = view->ring;
    uint64_t seen = mh_load_rlx(&ring->head_seen);
    int rc;

    if (view->hands) { /* two cursors matter there: neither is remembered */
        /* pairs with the release in mh__lease_advance, as below */
        seen = mh_load_acq(&ring->reclaim);
        return find_room(view, cursor, seen, mh__lease_waiting(view, cursor), units, limit, used);
    }
    rc = find_room(view, cursor, seen, mh__number(cursor) - mh__number(seen), units, limit, used);
    if (rc || *used + units > mh_load_rlx(&ring->window)) {
        /* pairs with the release in mh__ring_take: those records were copied out before we write over them */
        uint64_t head = mh_load_acq(&ring->head);
        mh_store_rlx(&ring->head_seen, head);
        rc = find_room(view, cursor, head, mh__number(cursor) - mh__number(head), units, limit, used);
    }
    return rc;
}

int mh__ring_stage(struct mh__view *view, uint64_t *cursor, uint32_t limit, const struct mh__record *record,
                   const mh_part *parts, size_t count)
{
    struct mh__record own = *record;
    uint32_t units = mh__units(own.size), used, window;
    uint64_t at;
    int rc = find_room_fresh(view, *cursor, units, limit, &used);

    if (rc) {
        return rc;
    }
    window = window_of(view);
    if (used + units > window) {
        rc = grow(view, *cursor, used + units);
        window = window_of(view);
    }
    if (rc || used + units > window) { /* also where the shared words cannot be right */
        return MH_E_CORRUPT;
    }
    own.number = mh__number(*cursor);
    own.check = record_check(&own);
    memcpy(unit_at(view, window, mh__position(*cursor)), &own, sizeof own);
    MH__TRACE("ring.put.header");
    at = ((uint64_t) mh__position(*cursor) + 1) * MH__UNIT;
    if (own.kind == MH__LEASED) { /* nobody's yet */
        memset(unit_at(view, window, mh__position(*cursor) + 1), 0, MH__UNIT);
        at += MH__UNIT;
    }
    for (size_t i = 0; i < count; i++) {
        if (parts[i].size) {
            copy_in(view, window, at, parts[i].data, parts[i].size);
            at += parts[i].size;
        }
    }
    MH__TRACE("ring.put.copied");
    *cursor = mh__past(*cursor, own.size);
    return 0;
}

int mh__behind_fits(const struct mh__view *view, uint64_t tail, uint64_t weight)
{
    uint64_t most = view->most_behind, behind = mh_load_rlx(&view->ring->behind);

    if (weight == 0 || most == 0 || mh_load_rlx(&view->ring->head) == tail) {
        return 1;
    }
    behind = behind > UINT64_MAX / 2 ? 0 : behind; /* below 0: a consumer died after he had taken it off */
    return weight <= most && behind <= most - weight;
}

void mh__behind_add(struct mh__view *view, uint64_t tail, uint64_t weight)
{
    if (weight) {
        /* pairs with the release in mh__ring_take: where the ring is empty all has been taken off */
        if (mh_load_acq(&view->ring->head) == tail) {
            mh_store_rlx(&view->ring->behind, 0);
        }
        mh_add_rlx(&view->ring->behind, weight);
        MH__TRACE("ring.put.weighed");
    }
}

void mh__ring_commit(struct mh__view *view, uint64_t cursor)
{
    mh_store_rel(&view->ring->tail, cursor); /* pairs with the acquire in mh__ring_peek */
    MH__TRACE("ring.put.committed");
    mh__bell_after_commit(view);
}

/* The cursors' distance is one that the window allows. */
static int is_sane(const struct mh__view *view, uint64_t head, uint64_t tail)
{
    uint32_t units = mh__position(tail) - mh__position(head), records = mh__number(tail) - mh__number(head);
    return units <= view->most && records <= units && (units == 0) == (records == 0);
}

int mh__ring_peek(struct mh__view *view, uint64_t cursor, struct mh__record *record)
{
    struct mh__ring *ring = view->ring;
    uint64_t tail = mh_load_rlx(&ring->tail_seen);
    uint32_t window = window_of(view);

    if (tail == cursor || !is_sane(view, cursor, tail)) {
        /* First closed, then the tail: it is closed under the tail's lock, so no commit comes after it. */
        uint32_t closed = mh_load_acq(&ring->closed);
        tail = mh_load_acq(&ring->tail); /* pairs with the release in mh__ring_commit */
        mh_store_rlx(&ring->tail_seen, tail);
        if (tail == cursor) {
            return closed ? (int) MH_E_CLOSED : (int) MH__EMPTY;
        }
    }
    if (!window || !is_sane(view, cursor, tail)) {
        return MH_E_CORRUPT;
    }
    memcpy(record, unit_at(view, window, mh__position(cursor)), sizeof *record);
    if (record->number != mh__number(cursor) || record->check != record_check(record) ||
        mh__units(record->size) > mh__position(tail) - mh__position(cursor)) {
        return MH_E_CORRUPT;
    }
    return 0;
}

void mh__ring_copy(const struct mh__view *view, uint64_t cursor, uint32_t skip, void *to, uint32_t size)
{
    uint32_t window = window_of(view);
    uint64_t at = ((uint64_t) mh__position(cursor) + 1) * MH__UNIT + skip;

    if (window && size) {
        copy_out(view, window, at, to, size);
    }
}

unsigned char *mh__ring_unit(const struct mh__view *view, uint32_t position)
{
    uint32_t window = window_of(view);
    return window ? unit_at(view, window, position) : NULL;
}

/* `taking` keeps the old head over the commit, so that a successor can tell what the dead took with them. */
void mh__ring_take(struct mh__view *view, uint64_t cursor)
{
    struct mh__ring *ring = view->ring;

    MH__TRACE("ring.get.copied");
    mh_store_rel(&ring->head, cursor); /* pairs with the acquire in find_room_fresh */
    MH__TRACE("ring.get.committed");
    mh_store_rel(&ring->taking, cursor);
    MH__TRACE("ring.get.counted");
}

int mh__ring_is_left(const struct mh__view *view)
{
    return !view->hands && mh_load_rlx(&view->ring->head) != mh_load_rlx(&view->ring->tail_seen);
}

int mh__ring_is_empty(const struct mh__view *view)
{
    return mh_load_rlx(&view->ring->head) == mh_load_rlx(&view->ring->tail) &&
           !(view->hands && mh_load_rlx(&view->ring->returned));
}

void mh__ring_usage(const struct mh__view *view, uint64_t *items, uint64_t *bytes)
{
    struct mh__ring *ring = view->ring;
    uint64_t head, tail, again = mh_load_acq(&ring->tail);
    int tries = 0;

    if (view->hands) {
        mh__lease_usage(view, items, bytes);
        return;
    }
    do { /* the tail was the same before and after: that was its value when the head was read */
        tail = again;
        head = mh_load_acq(&ring->head);
        again = mh_load_acq(&ring->tail);
    } while (again != tail && ++tries < 100);
    if (again != tail) {
        struct mh__view own = *view;
        mh__tail_enter(&own); /* the tail stands still */
        head = mh_load_acq(&ring->head);
        tail = mh_load_rlx(&ring->tail);
        mh__tail_leave(&own);
    }
    *items = mh__number(tail) - mh__number(head);
    *bytes = (uint64_t) (mh__position(tail) - mh__position(head)) * MH__UNIT;
}

/* The owner of the tail died: its commit happened or did not. But it may have died before it woke or rang. */
static void repair_tail(struct mh__view *view)
{
    MH__TRACE("ring.repair.tail");
    mh__bell_after_commit(view);
    mh__gate_open_all(&view->ring->not_empty, view->flags);
}

/* Head held, closed for good: what is there is thrown away. `dropped` comes first, so a death in between is made good
 * by the next one here, who drops what is there then. The tail stands still, and once the head is there it stays. */
static void drop(struct mh__view *view)
{
    struct mh__ring *ring = view->ring;
    uint64_t head = mh_load_rlx(&ring->head), tail = mh_load_acq(&ring->tail);

    if (head != tail) {
        mh_store_rel(&ring->dropped,
                     mh__number(tail) - mh__number(head)); /* pairs with unfinished() in channel_done.c */
        MH__TRACE("ring.drop.counted");
    }
    mh__ring_take(view, tail);
}

/* The owner of the head died. What lies between `taking` and the head it took and did not deliver. The count
 * is staged first, so that the death of the repairer neither counts twice nor forgets. */
static void repair_head(struct mh__view *view)
{
    struct mh__ring *ring = view->ring;
    uint64_t head = mh_load_rlx(&ring->head), taking = mh_load_rlx(&ring->taking);

    MH__TRACE("ring.repair.head");
    if (view->hands) { /* nothing is lost with the dead: it waits to be looked for */
        mh__lease_repair(view);
    } else if (mh_load_rlx(&ring->closed) & MH__DISCARD) {
        drop(view);
        head = mh_load_rlx(&ring->head);
    } else if (taking != head) {
        if (!mh_load_rlx(&ring->lost_staged)) {
            mh_store_step(&ring->lost_next,
                          mh_load_rlx(&ring->lost) + (mh__number(head) - mh__number(taking)));
            MH__TRACE("ring.repair.next");
            mh_store_step(&ring->lost_staged, 1);
        }
        MH__TRACE("ring.repair.staged");
        mh_store_step(&ring->lost, mh_load_rlx(&ring->lost_next));
        MH__TRACE("ring.repair.counted");
    }
    mh_store_step(&ring->taking, head);
    MH__TRACE("ring.repair.taken");
    mh_store_step(&ring->lost_staged, 0);
    mh__gate_open_all(&ring->not_full, view->flags);
    mh__gate_open_all(&ring->all_done, view->flags);
}

void mh__tail_enter(struct mh__view *view)
{
    if (mh__section_enter(&view->ring->tail_lock) == MH_OWNER_DIED) {
        repair_tail(view);
    }
}

/* Store-load: a commit under the lock comes before the look at who sleeps (mh__gate_open), here and at the head. A waiter
 * announces itself, fences, then looks at the ring. One of the two sees the other. What is left last is a lock. */
void mh__tail_leave(struct mh__view *view)
{
    mh__section_leave(&view->ring->tail_lock);
    mh_fence_after_rmw();
}

void mh__head_enter(struct mh__view *view)
{
    if (mh__section_enter(&view->ring->head_lock) == MH_OWNER_DIED) {
        repair_head(view);
    }
}

void mh__head_leave(struct mh__view *view)
{
    mh__section_leave(&view->ring->head_lock);
    mh_fence_after_rmw();
}

static void discard(struct mh__view *view, uint32_t from, uint32_t upto)
{
    size_t start = (size_t) from * MH__UNIT, size = (size_t) (upto - from) * MH__UNIT;

    if (view->segment) {
        (void) mh_segment_discard(view->segment, view->offset + start, size);
    } else {
        (void) mh_os_discard_private(view->bytes + start, size);
    }
}

void mh__ring_shrink(struct mh__view *view)
{
    struct mh__ring *ring = view->ring;
    uint32_t window, touched;

    mh__tail_enter(view);
    mh__head_enter(view);
    window = window_of(view);
    touched = mh_load_rlx(&ring->touched);
    if (mh_load_rlx(mh__floor(view)) == mh_load_rlx(&ring->tail) && touched > view->keep &&
        touched <= view->most) {
        if (window > view->keep) {
            mh_store_step(&ring->window, view->keep); /* nothing is there: no record changes its place */
        }
        MH__TRACE("ring.shrink.stored");
        discard(view, view->keep, touched);
        MH__TRACE("ring.shrink.discarded");
        mh_store_step(&ring->touched, view->keep);
    }
    mh__head_leave(view);
    mh__tail_leave(view);
}

void mh__ring_drop_all(struct mh__view *view)
{
    struct mh__ring *ring = view->ring;

    mh__head_enter(view);
    if (view->hands) {
        mh__lease_drop(view);
    } else {
        drop(view);
    }
    mh__head_leave(view);
    mh__gate_open_all(&ring->not_full, view->flags);
    mh__gate_open_all(&ring->all_done, view->flags);
    mh__ring_shrink(view);
}

static int walk(struct mh__view *view)
{
    struct mh__ring *ring = view->ring;
    uint64_t cursor = mh_load_rlx(mh__floor(view)), tail = mh_load_rlx(&ring->tail);
    uint64_t head = mh_load_rlx(&ring->head);
    uint32_t window = window_of(view);

    if (!window || !is_sane(view, cursor, tail) || mh__position(tail) - mh__position(cursor) > window ||
        !is_sane(view, cursor, head) || !is_sane(view, head, tail)) {
        return MH_E_CORRUPT;
    }
    while (cursor != tail) {
        struct mh__record record;
        if (mh__ring_peek(view, cursor, &record) || !is_sane(view, cursor, tail)) {
            return MH_E_CORRUPT;
        }
        cursor = mh__past(cursor, record.size);
    }
    return 0;
}

static int walk_head(struct mh__view *view, mh_deadline deadline)
{
    int rc = mh__section_enter_by(&view->ring->head_lock, deadline);

    if (rc < 0) {
        return rc;
    }
    if (rc == MH_OWNER_DIED) {
        repair_head(view);
    }
    rc = walk(view);
    mh__head_leave(view);
    return rc;
}

int mh__ring_valid_by(struct mh__view *view, mh_deadline deadline)
{
    int rc = mh__section_enter_by(&view->ring->tail_lock, deadline);

    if (rc < 0) {
        return rc;
    }
    if (rc == MH_OWNER_DIED) {
        repair_tail(view);
    }
    rc = walk_head(view, deadline);
    mh__tail_leave(view);
    return rc;
}

int mh__ring_valid(struct mh__view *view)
{
    return mh__ring_valid_by(view, MH_FOREVER);
}
