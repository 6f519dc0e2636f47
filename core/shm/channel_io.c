/* core/shm/channel_io.c - put and get, one or many: try under the lock of one end, wait at that end's gate,
 * try again. */
#include <errno.h>
#include <string.h>

#include "core/debug/trace.h"
#include "core/os/os.h"
#include "core/shm/channel_gate.h"
#include "core/shm/channel_lease.h"
#include "core/shm/channel_view.h"
#include "core/shm/message.h"

/* ---- producers
 * ---------------------------------------------------------------------------------------------- */

struct want { /* what a producer waits for */
    struct mh__view *view;
    uint32_t units;
    uint64_t weight; /* of what is behind its message */
    int hindrance;
};

static int room_ready(void *arg)
{
    struct want *want = arg;
    struct mh__ring *ring = want->view->ring;
    uint64_t tail = mh_load_rlx(&ring->tail), head = mh_load_rlx(&ring->head);
    uint32_t used = mh__position(tail) - mh__position(mh_load_rlx(mh__floor(want->view)));
    uint32_t waiting = want->view->hands ? mh__lease_waiting(want->view, tail)
                                         : mh__number(tail) - mh__number(head);

    return mh_load_rlx(&ring->closed) ||
           (waiting < want->view->max_items && used <= want->view->limit &&
            want->units <= want->view->limit - used && mh__behind_fits(want->view, tail, want->weight));
}

/* Wait until `want` may be granted. 0: try again. */
static int wait_for_room(mh_channel *ch, struct want *want, mh_deadline deadline, mh_cancel *cancel,
                         int *slept)
{
    /* Who waits for bytes may want more than the next one does: then all are woken and look for themselves.
     */
    uint32_t bits = want->hindrance == MH__NO_BYTE_ROOM ? MH__SLEEPERS | MH__ALL : MH__SLEEPERS;

    if (want->hindrance == MH__NO_BYTE_ROOM && !ch->blocks) {
        return -ENOMEM;
    }
    return mh__gate_wait(&ch->view.ring->not_full, bits, room_ready, want, deadline, cancel, ch->view.flags,
                         slept);
}

/* A producer that slept goes: if there is room left, the next sleeper may have it. */
static void pass_room(struct mh__view *view)
{
    struct want any = {.view = view, .units = 1};

    if (room_ready(&any)) {
        mh__gate_open(&view->ring->not_full, view->flags);
    }
}

static int stage_weighed(struct mh__view *view, uint64_t *cursor, const struct mh__record *record,
                         const mh_part *parts, size_t count, struct want *want)
{
    uint64_t before = *cursor;
    int rc;

    want->weight = count > 0 ? mh__weight(view, parts->data, parts->size, record->tag) : 0;
    if (!mh__behind_fits(view, before, want->weight)) {
        return MH__NO_BYTE_ROOM;
    }
    rc = mh__ring_stage(view, cursor, view->limit, record, parts, count);
    if (rc == 0) {
        mh__behind_add(view, before, want->weight);
    }
    return rc;
}

/* One turn at the tail: as many of the messages as fit. Each message has `parts_each` parts (put: all of them
 * are one message; put_many: one each). *done counts messages. 0 all are in, MH_E_CLOSED, a hindrance, or an
 * error. */
static int put_turn(mh_channel *ch, const mh_part *parts, size_t messages, size_t parts_each, uint32_t tag,
                    size_t *done, struct want *want)
{
    struct mh__view *view = &ch->view;
    struct mh__record record = {.tag = tag, .kind = view->hands ? MH__LEASED : MH__WHOLE};
    uint64_t tail, cursor;
    int rc = 0;

    mh__tail_enter(view);
    MH__TRACE("put.entered");
    tail = cursor = mh_load_rlx(&view->ring->tail);
    if (mh_load_rlx(&view->ring->closed)) {
        rc = MH_E_CLOSED;
    }
    while (rc == 0 && *done < messages) {
        rc = mh__parts_size(parts + *done * parts_each, parts_each, &record.size);
        record.size += view->hands ? MH__UNIT : 0; /* mh__parts_size leaves room for it */
        want->units = mh__units(record.size);
        if (rc == 0 && want->units > view->limit) {
            rc = -EMSGSIZE;
        }
        if (rc == 0) {
            rc = stage_weighed(view, &cursor, &record, parts + *done * parts_each, parts_each, want);
        }
        *done += rc == 0;
    }
    if (cursor != tail) {
        mh__ring_commit(view, cursor);
    }
    mh__tail_leave(view);
    MH__TRACE("put.left");
    if (cursor != tail) {
        mh__gate_open(&view->ring->not_empty, view->flags);
    }
    want->hindrance = rc;
    return rc;
}

static int put(mh_channel *ch, const mh_part *parts, size_t messages, size_t parts_each, uint32_t tag,
               mh_deadline deadline, mh_cancel *cancel, size_t *done)
{
    struct want want = {.view = &ch->view};
    int slept = 0, rc;

    for (;;) {
        rc = put_turn(ch, parts, messages, parts_each, tag, done, &want);
        if (rc <= 0) {
            break;
        }
        rc = wait_for_room(ch, &want, deadline, cancel, &slept);
        if (rc < 0) {
            break;
        }
    }
    if (slept) {
        pass_room(&ch->view);
    }
    return rc;
}

int mh_channel_put(mh_channel *ch, const mh_part *parts, size_t count, uint32_t tag, mh_deadline deadline,
                   mh_cancel *cancel)
{
    size_t done = 0;
    return put(ch, parts, 1, count, tag, deadline, cancel, &done);
}

int mh_channel_put_many(mh_channel *ch, const mh_part *messages, size_t count, uint32_t tag,
                        mh_deadline deadline, mh_cancel *cancel, size_t *done)
{
    *done = 0;
    return put(ch, messages, count, 1, tag, deadline, cancel, done);
}

/* ---- consumers
 * ---------------------------------------------------------------------------------------------- */

static int message_ready(void *arg)
{
    struct mh__view *view = arg;
    int ready = mh__ring_ready(view);
    return ready ? ready : mh_load_rlx(&view->ring->closed) != 0;
}

/* After a take, nothing held. */
static void after_take(struct mh__view *view, int slept)
{
    struct mh__ring *ring = view->ring;

    mh__gate_open(&ring->not_full, view->flags);
    if (mh__ring_is_left(view) || !mh__ring_is_empty(view)) {
        if (slept) {
            mh__gate_open(&ring->not_empty, view->flags);
        }
        return;
    }
    mh__bell_if_empty(view);
    if (mh_load_rlx(&ring->window) > view->keep) {
        mh__ring_shrink(view);
    }
}

/* Before the commit: whoever finds the claim of one who died compares it with the head. The release pairs with
 * the acquire of whoever reads it; the commit that follows is a release store as well, so nobody sees the
 * message taken without the claim. */
static void claim(struct mh__view *view, uint64_t head, size_t count)
{
    if (view->claim) {
        mh_store_rel(view->claim, (uint64_t) count << 32 | mh__number(head));
        MH__TRACE("get.claimed");
    }
}

/* The head's lock is held, the message still in the ring. */
static void take_behind(struct mh__view *view, void *data, size_t size, uint32_t tag)
{
    mh__behind_take(view, mh__weight(view, data, size, tag));
    if (view->taker) {
        view->taker(data, size, tag);
        MH__TRACE("get.taken.behind");
    }
}

/* One turn at the head. 0 taken, MH__EMPTY, MH__SMALL_BUFFER (*need says how much), MH_E_CLOSED,
 * MH_E_CORRUPT. `most` 0: one message. */
typedef int take_turn(struct mh__view *view, mh_message *message, size_t most, size_t *need, size_t *done);

static int take_one(struct mh__view *view, mh_message *message, size_t most, size_t *need, size_t *done)
{
    uint64_t head = mh_load_rlx(&view->ring->head);
    struct mh__record record;
    int rc = mh__ring_peek(view, head, &record);

    (void) most;
    if (rc == 0 && record.kind != MH__WHOLE) {
        rc = MH_E_CORRUPT;
    }
    if (rc) {
        return rc;
    }
    if (record.size > message->room || !message->data) {
        *need = record.size;
        return MH__SMALL_BUFFER;
    }
    mh__ring_copy(view, head, 0, message->data, record.size);
    message->size = record.size;
    message->tag = record.tag;
    claim(view, head, 1);
    take_behind(view, message->data, record.size, record.tag);
    mh__ring_take(view, mh__past(head, record.size));
    *done = 1;
    return 0;
}

/* Bytes that a batch of what is there would fill. */
static size_t batch_need(struct mh__view *view, uint64_t cursor, size_t most)
{
    struct mh__record record;
    size_t need = 0;

    for (size_t n = 0; n < most; n++) {
        if (mh__ring_peek(view, cursor, &record) ||
            (n > 0 && need + mh__packed(record.size) > MH__BATCH_ROOM)) {
            break;
        }
        need += mh__packed(record.size);
        cursor = mh__past(cursor, record.size);
    }
    return need;
}

static int take_many(struct mh__view *view, mh_message *message, size_t most, size_t *need, size_t *done)
{
    uint64_t head = mh_load_rlx(&view->ring->head), cursor = head;
    struct mh__record record;
    size_t size = 0;
    int rc;

    *done = 0;
    while ((rc = mh__ring_peek(view, cursor, &record)) == 0 && *done < most) {
        unsigned char *to = message->data ? (unsigned char *) message->data + size : NULL;
        uint32_t item[2] = {record.size, record.tag};

        if (record.kind != MH__WHOLE) {
            rc = MH_E_CORRUPT;
            break;
        }
        if (!message->data || mh__packed(record.size) > message->room - size) {
            *need = batch_need(view, head, most);
            if (*done == 0 || *need > message->room) {
                *done = 0; /* better a larger buffer than a small batch */
                return MH__SMALL_BUFFER;
            }
            break;
        }
        memcpy(to, item, sizeof item);
        mh__ring_copy(view, cursor, 0, to + sizeof item, record.size);
        memset(to + sizeof item + record.size, 0, mh__packed(record.size) - sizeof item - record.size);
        size += mh__packed(record.size);
        cursor = mh__past(cursor, record.size);
        ++*done;
    }
    if (*done == 0) {
        return rc;
    }
    message->size = size;
    message->tag = 0;
    claim(view, head, *done);
    for (size_t at = 0; (view->taker || view->weigher) && at < size;) {
        uint32_t item[2];
        memcpy(item, (unsigned char *) message->data + at, sizeof item);
        take_behind(view, (unsigned char *) message->data + at + sizeof item, item[0], item[1]);
        at += mh__packed(item[0]);
    }
    mh__ring_take(view, cursor);
    return 0;
}

/* Has everyone gone who could put? Not where nobody said how to know. */
static int writers_are_gone(const struct mh__view *view)
{
    int fd = mh_load_acq(&view->writers) - 1, events = fd < 0 ? 0 : mh_os_poll(fd, 0, MH_AT_ONCE);
    return events > 0 && events & MH_OS_HUNG_UP;
}

/* Wait for something to take. Now and then somebody looks: at a ring with leases, for what the dead had; and whether
 * anyone is left to put. 0: try again. */
static int wait_for_message(struct mh__view *view, mh_deadline deadline, mh_cancel *cancel, int *slept,
                            int64_t *slice)
{
    int looks = view->hands || mh_load_rlx(&view->writers);
    mh_deadline until = looks ? mh__slice(deadline, slice) : deadline;
    int rc;

    if (view->hands && mh__lease_look(view, 0)) {
        return 0;
    }
    if (writers_are_gone(view)) { /* what they put before, they put before this look at the ring */
        return message_ready(view) ? 0 : MH_E_CLOSED;
    }
    rc = mh__gate_wait(&view->ring->not_empty, MH__SLEEPERS, message_ready, view, until, cancel, view->flags,
                       slept);
    if (rc == -ETIMEDOUT && looks &&
        deadline != MH_AT_ONCE) { /* once more before it is said that there is none */
        return until != deadline || (view->hands && mh__lease_look(view, 0)) || writers_are_gone(view) ? 0
                                                                                                       : rc;
    }
    return rc;
}

static int get(mh_channel *ch, take_turn *turn, mh_message *message, size_t most, mh_deadline deadline,
               mh_cancel *cancel, size_t *done)
{
    struct mh__view *view = &ch->view;
    size_t need = 0;
    int64_t slice = 0;
    int slept = 0, rc;

    if (view->hands) {
        turn = mh__lease_take;
        (void) mh__lease_look(view, MH__LEASE_LOOK);
    }
    for (;;) {
        mh__head_enter(view);
        MH__TRACE("get.entered");
        rc = turn(view, message, most, &need, done);
        mh__head_leave(view);
        MH__TRACE("get.left");
        if (rc == MH__SMALL_BUFFER) { /* allocate with nothing held, then look again at what is there */
            rc = mh__message_room(message, need);
        } else if (rc == MH__EMPTY) {
            mh__bell_if_empty(view);
            rc = wait_for_message(view, deadline, cancel, &slept, &slice);
        } else {
            break;
        }
        if (rc < 0) {
            break;
        }
    }
    if (rc == 0) {
        after_take(view, slept);
    } else if (slept && message_ready(view)) {
        mh__gate_open(&view->ring->not_empty, view->flags);
    }
    return rc;
}

int mh_channel_get(mh_channel *ch, mh_message *message, mh_deadline deadline, mh_cancel *cancel)
{
    size_t done = 0; /* 0 and `most` 0: one message, and its bytes alone */
    return get(ch, take_one, message, 0, deadline, cancel, &done);
}

int mh_channel_get_many(mh_channel *ch, mh_message *message, size_t most, mh_deadline deadline,
                        mh_cancel *cancel, size_t *done)
{
    *done = 0;
    return most == 0 ? -EINVAL : get(ch, take_many, message, most, deadline, cancel, done);
}

int mh_channel_poll(mh_channel *ch, mh_deadline deadline, mh_cancel *cancel)
{
    struct mh__view *view = &ch->view;
    int64_t slice = 0;
    int slept = 0, rc = 0;

    while (rc == 0 && !message_ready(view)) {
        mh__bell_if_empty(view);
        rc = wait_for_message(view, deadline, cancel, &slept, &slice);
    }
    if (slept && message_ready(view)) { /* our wake is for whoever takes the message */
        mh__gate_open(&view->ring->not_empty, view->flags);
    }
    return rc == MH_E_CLOSED ? 0 : rc;
}
