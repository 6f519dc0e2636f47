/* core/shm/channel_lease.c - leases on a ring's records. See channel_lease.h for the states and who may change them. */
#include "core/shm/channel_lease.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/debug/trace.h"
#include "core/os/os.h"
#include "core/shm/channel_gate.h"
#include "core/shm/channel_view.h"

#define WAITS UINT64_C(0)
#define DONE UINT64_MAX
#define SLICE_MOST INT64_C(1000000000)

typedef MH_ATOMIC(uint64_t) lease_word;

/* ---- what this process has in hand -------------------------------------------------------------------------------- */

struct hand {
    uint64_t cursor;
    uint32_t thread;
};

struct mh__hands {
    MH_ATOMIC(int64_t) looked, took; /* when the ring was last looked through, and how long that took */
    uint64_t owner;                  /* the process: a forked child's hands are empty */
    struct hand *hand;
    size_t count, room;
};

struct mh__hands *mh__hands_new(void)
{
    return mh_os_calloc(1, sizeof(struct mh__hands));
}

void mh__hands_free(struct mh__hands *hands)
{
    if (hands) {
        free(hands->hand);
        free(hands);
    }
}

/* Room for one more; 0 or -ENOMEM. A fork at any instant leaves the child a whole array. */
static int hands_room(struct mh__hands *hands)
{
    size_t room = hands->room ? hands->room * 2 : 16;
    struct hand *new, *old = hands->hand;

    if (hands->owner != mh_os_self()) {
        hands->count = 0;
        hands->owner = mh_os_self();
    }
    if (hands->count < hands->room) {
        return 0;
    }
    new = mh_os_calloc(room, sizeof *new);
    if (!new) {
        return -ENOMEM;
    }
    if (hands->count) {
        memcpy(new, old, hands->count * sizeof *new);
    }
    hands->hand = new;
    hands->room = room;
    free(old);
    return 0;
}

static void hands_take(struct mh__hands *hands, uint64_t cursor)
{
    hands->hand[hands->count++] = (struct hand){cursor, (uint32_t) mh_os_tid()};
}

static void hands_forget(struct mh__hands *hands, size_t index)
{
    hands->count--;
    memmove(hands->hand + index, hands->hand + index + 1, (hands->count - index) * sizeof *hands->hand);
}

/* ---- walking ------------------------------------------------------------------------------------------------------- */

/* The record at `cursor` and its lease: 0, MH__EMPTY, MH_E_CLOSED, MH_E_CORRUPT. */
static int look_at(struct mh__view *view, uint64_t cursor, struct mh__record *record, lease_word **lease)
{
    int rc = mh__ring_peek(view, cursor, record);

    if (rc == 0 && (record->kind != MH__LEASED || record->size < MH__UNIT)) {
        rc = MH_E_CORRUPT;
    }
    *lease = rc == 0 ? (lease_word *) (void *) mh__ring_unit(view, mh__position(cursor) + 1) : NULL;
    return rc;
}

/* How many processes died with the record in hand: the other half of the unit. */
static MH_ATOMIC(uint32_t) *deaths_of(lease_word *lease)
{
    return (MH_ATOMIC(uint32_t) *) (void *) (lease + 1);
}

/* 0, or so many died with it, and that is enough. */
static uint32_t is_given_up(const struct mh__view *view, lease_word *lease)
{
    uint32_t deaths = mh_load_rlx(deaths_of(lease));
    return view->deliveries != 0 && deaths >= view->deliveries ? deaths : 0;
}

/* What is to be done with a record before the head; nonzero: stop. */
typedef int visit(struct mh__view *view, uint64_t cursor, lease_word *lease, void *arg);

/* Each record from reclaim up to the head, oldest first; what the visitor stopped with, or MH_E_CORRUPT. */
static int walk(struct mh__view *view, visit *visitor, void *arg)
{
    uint64_t cursor = mh_load_rlx(&view->ring->reclaim), head = mh_load_rlx(&view->ring->head);
    struct mh__record record;
    lease_word *lease;
    int rc = 0;

    while (rc == 0 && cursor != head) {
        if (look_at(view, cursor, &record, &lease)) {
            return MH_E_CORRUPT;
        }
        rc = visitor(view, cursor, lease, arg);
        cursor = mh__past(cursor, record.size);
    }
    return rc;
}

static int is_undone(struct mh__view *view, uint64_t cursor, lease_word *lease, void *first)
{
    (void) view;
    *(uint64_t *) first = cursor;
    return mh_load_rlx(lease) != DONE;
}

/* Head held: reclaim moves up to the oldest record that is not done. Nonzero: it moved. */
static int advance(struct mh__view *view)
{
    uint64_t old = mh_load_rlx(&view->ring->reclaim), first = old;
    int rc = walk(view, is_undone, &first);

    if (rc == 0) {
        first = mh_load_rlx(&view->ring->head);
    }
    if (rc < 0 || first == old) {
        return 0;
    }
    MH__TRACE("lease.advance");
    mh_store_rel(&view->ring->reclaim, first); /* pairs with the acquire in find_room_fresh */
    MH__TRACE("lease.advanced");
    return 1;
}

/* Nothing held, reclaim may have moved: there is room, and all may be done. */
static void tell_of_room(struct mh__view *view)
{
    struct mh__ring *ring = view->ring;

    mh_fence_seq(); /* the commit, then the look at who waits: as in mh__tail_leave */
    mh__gate_open(&ring->not_full, view->flags);
    if (mh_load_rlx(&ring->reclaim) == mh_load_rlx(&ring->tail)) {
        mh__gate_open(&ring->all_done, view->flags);
        if (mh_load_rlx(&ring->window) > view->keep) {
            mh__ring_shrink(view);
        }
    }
}

/* ---- take ---------------------------------------------------------------------------------------------------------- */

struct round { /* of one get */
    uint64_t back, fresh;
    const uint64_t head;
};

/* The next one to hand out: what came back first. 0, or as look_at(). */
static int next(struct mh__view *view, struct round *round, uint64_t *cursor, struct mh__record *record,
                lease_word **lease)
{
    struct mh__ring *ring = view->ring;

    while (mh_load_rlx(&ring->returned) && round->back != round->head) {
        *cursor = round->back;
        if (look_at(view, round->back, record, lease)) {
            return MH_E_CORRUPT;
        }
        round->back = mh__past(round->back, record->size);
        if (mh_load_rlx(*lease) == WAITS) {
            return 0;
        }
    }
    if (mh_load_rlx(&ring->returned)) {
        mh_store_rlx(&ring->returned, 0); /* the count was written over */
    }
    *cursor = round->fresh;
    return look_at(view, round->fresh, record, lease);
}

static void grant(struct mh__view *view, struct round *round, uint64_t cursor,
                  const struct mh__record *record, lease_word *lease)
{
    hands_take(view->hands, cursor);
    mh_store_step(lease, mh_os_self());
    MH__TRACE("lease.granted");
    if (cursor == round->fresh) {
        round->fresh = mh__past(cursor, record->size);
    } else {
        mh_store_step(&view->ring->returned, mh_load_rlx(&view->ring->returned) - 1);
        MH__TRACE("lease.uncounted");
    }
}

/* It is copied out, and nobody gets it again. One that came back: it lies before the head. */
static void give_up(struct mh__view *view, lease_word *lease)
{
    mh_store_step(lease, DONE);
    MH__TRACE("lease.given_up");
    mh_store_step(&view->ring->returned, mh_load_rlx(&view->ring->returned) - 1);
    MH__TRACE("lease.given_up.uncounted");
}

/* Into the message, behind `size` bytes of a batch. */
static size_t copy(const struct mh__view *view, uint64_t cursor, const struct mh__record *record,
                   mh_message *message, size_t size, int batch)
{
    unsigned char *to = (unsigned char *) message->data + size;
    uint32_t item[2] = {record->size - MH__UNIT, record->tag};

    if (!batch) {
        mh__ring_copy(view, cursor, MH__UNIT, to, item[0]);
        message->tag = record->tag;
        return item[0];
    }
    memcpy(to, item, sizeof item);
    mh__ring_copy(view, cursor, MH__UNIT, to + sizeof item, item[0]);
    memset(to + sizeof item + item[0], 0, mh__packed(item[0]) - sizeof item - item[0]);
    message->tag = 0;
    return mh__packed(item[0]);
}

/* A batch's buffer, where the first message does not need more. */
#define BATCH_START 65536u

int mh__lease_take(struct mh__view *view, mh_message *message, size_t most, size_t *need, size_t *done)
{
    uint64_t head = mh_load_rlx(&view->ring->head), cursor;
    struct round round = {mh_load_rlx(&view->ring->reclaim), head, head};
    struct mh__record record;
    lease_word *lease;
    size_t size = 0, limit = most ? most : 1;
    int rc = 0;

    *done = 0;
    message->given_up = 0;
    while (rc == 0 && *done < limit && (rc = next(view, &round, &cursor, &record, &lease)) == 0) {
        uint32_t deaths = cursor == round.fresh ? 0 : is_given_up(view, lease);
        if (deaths != 0 && *done != 0) {
            break; /* it comes alone */
        }
        size_t wants = most ? mh__packed(record.size - MH__UNIT) : record.size - MH__UNIT;
        if (!message->data || wants > message->room - size) {
            *need = most && wants < BATCH_START ? BATCH_START : wants;
            rc = MH__SMALL_BUFFER;
        } else {
            rc = hands_room(view->hands);
        }
        if (rc == 0) {
            size += copy(view, cursor, &record, message, size, most != 0);
            ++*done;
            if (deaths != 0) {
                give_up(view, lease);
                message->given_up = deaths;
                break;
            }
            grant(view, &round, cursor, &record, lease);
        }
    }
    if (*done == 0) {
        return rc;
    }
    message->size = size;
    mh__ring_take(view, round.fresh);
    return 0;
}

/* ---- done ---------------------------------------------------------------------------------------------------------- */

/* Has this process the record at `cursor` in hand, still? */
static int is_mine(struct mh__view *view, uint64_t cursor, lease_word **lease)
{
    uint32_t first = mh__number(mh_load_rlx(&view->ring->reclaim));
    uint32_t taken = mh__number(mh_load_rlx(&view->ring->head)) - first;
    struct mh__record record;

    return mh__number(cursor) - first < taken && look_at(view, cursor, &record, lease) == 0 &&
           mh_load_rlx(*lease) == mh_os_self();
}

/* This thread's oldest, else the process's, by what is written down here; NULL: none is. */
static lease_word *oldest_written_down(struct mh__view *view)
{
    struct mh__hands *hands = view->hands;
    uint32_t thread = (uint32_t) mh_os_tid();
    lease_word *lease;

    for (size_t count = hands->owner == mh_os_self() ? hands->count : 0; count > 0; count--) {
        size_t i = 0;
        while (i < count && hands->hand[i].thread != thread) {
            i++;
        }
        i = i < count ? i : 0;
        uint64_t cursor = hands->hand[i].cursor;
        hands_forget(hands, i);
        if (is_mine(view, cursor, &lease)) { /* else another view of the ring was told that it is done */
            return lease;
        }
    }
    return NULL;
}

static int is_own(struct mh__view *view, uint64_t cursor, lease_word *lease, void *found)
{
    (void) view, (void) cursor;
    *(lease_word **) found = lease;
    return mh_load_rlx(lease) == mh_os_self();
}

static int done_held(struct mh__view *view)
{
    lease_word *lease = oldest_written_down(view);
    int rc;

    if (!lease) { /* taken through another view of this process */
        rc = walk(view, is_own, &lease);
        if (rc <= 0) {
            return rc < 0 ? rc : -EPERM;
        }
    }
    mh_store_step(lease, DONE);
    MH__TRACE("lease.done");
    (void) advance(view);
    return 0;
}

int mh__lease_done(struct mh__view *view)
{
    int rc;

    mh__head_enter(view);
    rc = done_held(view);
    mh__head_leave(view);
    if (rc == 0) {
        tell_of_room(view);
    }
    return rc;
}

/* ---- the dead ------------------------------------------------------------------------------------------------------ */

#define KNOWN 8u

struct known { /* who was asked for in this look: the question costs a system call or three */
    uint64_t who[KNOWN];
    unsigned count;
};

static int lives(struct known *known, uint64_t who)
{
    for (unsigned i = 0; i < KNOWN && i < known->count; i++) {
        if (known->who[i] == who) {
            return 1;
        }
    }
    if (!mh_os_alive(who)) {
        return 0;
    }
    known->who[known->count++ % KNOWN] = who;
    return 1;
}

static int take_from_dead(struct mh__view *view, uint64_t cursor, lease_word *lease, void *known)
{
    uint64_t who = mh_load_rlx(lease);
    struct mh__ring *ring = view->ring;

    (void) cursor;
    if (who == WAITS || who == DONE || who == mh_os_self() || lives(known, who)) {
        return 0;
    }
    if (mh_load_rlx(&ring->closed) & MH__DISCARD) {
        mh_store_step(lease, DONE);
        return 0;
    }
    mh_store_rlx(deaths_of(lease), mh_load_rlx(deaths_of(lease)) + 1);
    MH__TRACE("lease.died");
    mh_store_step(lease, WAITS);
    MH__TRACE("lease.returned");
    mh_store_step(&ring->returned, mh_load_rlx(&ring->returned) + 1);
    MH__TRACE("lease.counted");
    return 0;
}

/* Nothing held: say that something came back. Also where that was said before: who should have may have died. */
static void tell_of_returned(struct mh__view *view)
{
    mh_fence_seq();
    mh__tail_enter(view);
    mh__bell_after_commit(view);
    mh__tail_leave(view);
    mh__gate_open_all(&view->ring->not_empty, view->flags);
}

int mh__lease_look(struct mh__view *view, int64_t least)
{
    struct mh__ring *ring = view->ring;
    struct mh__hands *hands = view->hands;
    struct known known = {.count = 0};
    int64_t now, pause = mh_load_rlx(&hands->took) * 4; /* at most a fifth of the time goes into this */
    int moved;

    if (mh_load_rlx(&ring->reclaim) == mh_load_rlx(&ring->head)) {
        return 0; /* nobody has anything */
    }
    now = mh_os_now();
    if (now - mh_load_rlx(&hands->looked) < (pause > least ? pause : least)) {
        return 0;
    }
    mh__head_enter(view);
    (void) walk(view, take_from_dead, &known);
    moved = advance(view);
    mh__head_leave(view);
    mh_store_rlx(&hands->looked, mh_os_now());
    mh_store_rlx(&hands->took, mh_load_rlx(&hands->looked) - now);
    if (moved) {
        tell_of_room(view);
    }
    if (!mh_load_rlx(&ring->returned)) {
        return 0;
    }
    tell_of_returned(view);
    return 1;
}

mh_deadline mh__slice(mh_deadline deadline, int64_t *slice)
{
    mh_deadline until;

    *slice = *slice == 0 ? MH__LEASE_LOOK : *slice * 2 > SLICE_MOST ? SLICE_MOST : *slice * 2;
    until = mh_os_now() + *slice;
    return until < deadline ? until : deadline;
}

/* ---- repair, drop, counting ----------------------------------------------------------------------------------------- */

static int count_waiting(struct mh__view *view, uint64_t cursor, lease_word *lease, void *count)
{
    (void) view, (void) cursor;
    *(uint32_t *) count += mh_load_rlx(lease) == WAITS;
    return 0;
}

void mh__lease_repair(struct mh__view *view)
{
    uint32_t count = 0;

    if (mh_load_rlx(&view->ring->closed) & MH__DISCARD) {
        mh__lease_drop(view);
        return;
    }
    if (walk(view, count_waiting, &count) == 0) {
        MH__TRACE("lease.recount");
        mh_store_step(&view->ring->returned, count);
        MH__TRACE("lease.recounted");
        (void) advance(view);
    }
}

static int throw_away(struct mh__view *view, uint64_t cursor, lease_word *lease, void *arg)
{
    (void) view, (void) cursor, (void) arg;
    if (mh_load_rlx(lease) == WAITS) {
        mh_store_step(lease, DONE);
        MH__TRACE("lease.thrown");
    }
    return 0;
}

void mh__lease_drop(struct mh__view *view)
{
    struct mh__ring *ring = view->ring;
    uint64_t head = mh_load_rlx(&ring->head), tail = mh_load_acq(&ring->tail);
    struct mh__record record;
    lease_word *lease;

    (void) walk(view, throw_away, NULL);
    mh_store_step(&ring->returned, 0);
    while (head != tail && look_at(view, head, &record, &lease) == 0) { /* one by one: each step is whole */
        mh_store_step(lease, DONE);
        MH__TRACE("lease.drop");
        head = mh__past(head, record.size);
        mh__ring_take(view, head);
    }
    (void) advance(view);
}

/* At one instant: the head's lock stops all but the tail, which is read once. */
void mh__lease_usage(const struct mh__view *view, uint64_t *items, uint64_t *bytes)
{
    struct mh__view own = *view;
    uint64_t tail;

    mh__head_enter(&own);
    tail = mh_load_acq(&view->ring->tail);
    *items = mh__lease_waiting(view, tail);
    *bytes = (uint64_t) (mh__position(tail) - mh__position(mh_load_rlx(&view->ring->reclaim))) * MH__UNIT;
    mh__head_leave(&own);
}

static int count_undone(struct mh__view *view, uint64_t cursor, lease_word *lease, void *count)
{
    (void) view, (void) cursor;
    *(uint32_t *) count += mh_load_rlx(lease) != DONE;
    return 0;
}

uint64_t mh__lease_unfinished(const struct mh__view *view)
{
    struct mh__view own = *view;
    uint32_t count = 0;

    mh__head_enter(&own);
    (void) walk(&own, count_undone, &count);
    count += mh__number(mh_load_acq(&view->ring->tail)) - mh__number(mh_load_rlx(&view->ring->head));
    mh__head_leave(&own);
    return count;
}
