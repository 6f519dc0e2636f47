/* core/shm/pipe_io.c - sending and receiving.
 *
 * A message of up to MH__PIPE_PIECE bytes is one record. A larger one is FIRST (its whole length, then
 * bytes), MORE ..., LAST, while nobody else may put into the ring: `stream` names the process that is at it.
 * The records of a large message are taken by one end alone, which `reader` names, into its `partial` buffer;
 * any thread of that process may take the next. ABORT calls the message off: put by a sender that gives up,
 * or for a dead one by whoever waits for it. One unit of the ring is kept back, so that there is always room
 * for it.
 *
 * A reader that died leaves pieces without a beginning: its successor skips them.
 */
#include <errno.h>
#include <string.h>

#include "core/debug/trace.h"
#include "core/os/os.h"
#include "core/shm/channel_gate.h"
#include "core/shm/message.h"
#include "core/shm/pipe_end.h"

/* What a sender or a receiver waits for. */
struct need {
    mh_pipe *end;
    uint32_t units;  /* sender */
    uint64_t weight; /* sender: of what is behind the message */
    int hindrance;
    int streaming;   /* this call is inside a large message */
    uint32_t closes; /* of the other side, when this call last asked whether it is gone */
};

static int closed_since(const struct need *need)
{
    return mh_load_rlx(&need->end->shared->closes[1 - need->end->side]) != need->closes;
}

/* Ask the kernel whether the other end is gone, once per hint or slice. */
static int look_at_socket(struct need *need)
{
    need->closes = mh_load_acq(&need->end->shared->closes[1 - need->end->side]);
    return mh__pipe_gone(need->end);
}

/* ---- sending
 * ------------------------------------------------------------------------------------------------ */

static int send_ready(void *arg)
{
    struct need *need = arg;
    struct mh__view *out = &need->end->out;
    uint64_t tail = mh_load_rlx(&out->ring->tail);
    uint32_t used = mh__position(tail) - mh__position(mh_load_rlx(&out->ring->head));

    return closed_since(need) || ((need->streaming || mh_load_rlx(&out->ring->stream) == 0) &&
                                  used <= out->limit && need->units <= out->limit - used &&
                                  (need->streaming || mh__behind_fits(out, tail, need->weight)));
}

/* Tail held: call the large message off that is under way. There is room for it: see the top. */
static int call_off(struct mh__view *view)
{
    struct mh__record record = {.kind = MH__ABORT};
    uint64_t cursor = mh_load_rlx(&view->ring->tail);
    int rc = mh__ring_stage(view, &cursor, view->most, &record, NULL, 0);

    if (rc == 0) {
        mh__ring_commit(view, cursor);
    }
    MH__TRACE("pipe.called.off");
    mh_store_rel(&view->ring->stream, 0); /* pairs with check_sender() */
    return rc <= 0 ? rc : MH_E_CORRUPT;
}

/* Tail held: may this call put a record now? Clears away what a dead sender left. */
static int check_stream(const struct need *need)
{
    struct mh__view *out = &need->end->out;
    uint64_t owner = mh_load_rlx(&out->ring->stream);

    if (owner == 0 || need->streaming) {
        return 0;
    }
    return mh_os_alive(owner) ? MH__BUSY : call_off(out);
}

static int send_turn(struct need *need, const struct mh__record *record, const mh_part *parts, size_t count)
{
    struct mh__view *out = &need->end->out;
    struct mh__ring *ring = out->ring;
    uint64_t tail, cursor, weight = need->streaming ? 0 : need->weight;
    int rc;

    mh__tail_enter(out);
    MH__TRACE("send.entered");
    rc = check_stream(need);
    tail = cursor = mh_load_rlx(&ring->tail);
    if (rc == 0 && !mh__behind_fits(out, tail, weight)) {
        rc = MH__NO_BYTE_ROOM;
    }
    if (rc == 0) {
        rc = mh__ring_stage(out, &cursor, out->limit, record, parts, count);
    }
    if (rc == 0) {
        mh__behind_add(out, tail, weight);
        if (record->kind == MH__FIRST) {
            /* before the commit: an ABORT too many does no harm; pairs with check_sender() */
            mh_store_rel(&ring->stream, mh_os_self());
        }
        mh__ring_commit(out, cursor);
        if (record->kind == MH__LAST) {
            mh_store_rel(&ring->stream, 0); /* pairs with check_sender() */
        }
    }
    mh__tail_leave(out);
    MH__TRACE("send.left");
    return rc;
}

/* One record, with all the waiting. */
static int send_record(struct need *need, const struct mh__record *record, const mh_part *parts, size_t count,
                       mh_deadline deadline, mh_cancel *cancel)
{
    struct mh__view *out = &need->end->out;
    int slept = 0, rc;

    need->units = mh__units(record->size);
    while ((rc = send_turn(need, record, parts, count)) > 0) {
        if ((slept || closed_since(need)) && look_at_socket(need)) {
            return -EPIPE;
        }
        rc = mh__gate_wait(&out->ring->not_full, MH__SLEEPERS | MH__ALL, send_ready, need, deadline, cancel,
                           0, &slept);
        if (rc < 0) {
            break;
        }
    }
    if (rc == 0) {
        mh__gate_open(&out->ring->not_empty, 0);
    }
    return rc;
}

/* The next up to MH__PIPE_PIECE bytes of `parts` from (*part, *at) on, as at most `most` slices. */
static size_t slice(const mh_part *parts, size_t count, size_t *part, size_t *at, mh_part *slices,
                    size_t most, uint32_t *size)
{
    size_t n = 0;

    *size = 0;
    while (n < most && *part < count && *size < MH__PIPE_PIECE) {
        size_t left = parts[*part].size - *at, room = MH__PIPE_PIECE - *size, run = left < room ? left : room;
        if (run) {
            slices[n++] = (mh_part){(const unsigned char *) parts[*part].data + *at, run};
        }
        *size += (uint32_t) run;
        *at += run;
        if (*at == parts[*part].size) {
            ++*part;
            *at = 0;
        }
    }
    return n;
}

#define SLICES 8

static int send_pieces(struct need *need, uint64_t total, const mh_part *parts, size_t count, uint32_t tag,
                       mh_deadline deadline, mh_cancel *cancel)
{
    size_t part = 0, at = 0;
    uint64_t sent = 0;

    while (sent < total) {
        mh_part slices[1 + SLICES] = {{&total, sizeof total}};
        struct mh__record record = {.tag = tag, .kind = MH__MORE};
        size_t first = sent == 0, n = slice(parts, count, &part, &at, slices + first, SLICES, &record.size);
        int rc;

        sent += record.size;
        record.kind = first ? MH__FIRST : sent == total ? MH__LAST : MH__MORE;
        record.size += first ? (uint32_t) sizeof total : 0;
        rc = send_record(need, &record, slices, n + first, deadline, cancel);
        if (rc < 0) {
            return rc;
        }
        need->streaming = 1;
    }
    need->streaming = 0;
    return 0;
}

static int send_large(struct need *need, uint64_t total, const mh_part *parts, size_t count, uint32_t tag,
                      mh_deadline deadline, mh_cancel *cancel)
{
    struct mh__view *out = &need->end->out;
    int rc = send_pieces(need, total, parts, count, tag, deadline, cancel);

    if (need->streaming) { /* given up half way */
        mh__tail_enter(out);
        (void) call_off(out);
        mh__tail_leave(out);
        mh__gate_open(&out->ring->not_empty, 0);
    }
    mh_fence_seq();
    mh__gate_open(&out->ring->not_full, 0); /* whoever waited for the end of the stream */
    return rc;
}

int mh_pipe_send(mh_pipe *end, const mh_part *parts, size_t count, uint32_t tag, mh_deadline deadline,
                 mh_cancel *cancel)
{
    struct need need = {.end = end, .closes = mh_load_acq(&end->shared->closes[1 - end->side])};
    struct mh__record record = {.tag = tag, .kind = MH__WHOLE};
    uint64_t total = 0;

    if (!end->duplex && end->side == 0) {
        return -EBADF;
    }
    if (mh__pipe_gone_lately(end)) {
        return -EPIPE;
    }
    for (size_t i = 0; i < count; i++) {
        total += parts[i].size;
    }
    need.weight = count > 0 ? mh__weight(&end->out, parts->data, parts->size, tag) : 0;
    if (total > MH__PIPE_PIECE) {
        return send_large(&need, total, parts, count, tag, deadline, cancel);
    }
    record.size = (uint32_t) total;
    return send_record(&need, &record, parts, count, deadline, cancel);
}

/* ---- receiving
 * ---------------------------------------------------------------------------------------------- */

static int receive_ready(void *arg)
{
    struct need *need = arg;
    struct mh__ring *ring = need->end->in.ring;

    if (need->hindrance == MH__BUSY) {
        return mh_load_rlx(&ring->reader) == 0 || closed_since(need);
    }
    int ready = mh__ring_ready(&need->end->in);
    return ready ? ready : closed_since(need);
}

static int is_reader(const mh_pipe *end)
{
    struct mh__ring *ring = end->in.ring;
    return mh_load_rlx(&ring->reader) == mh_os_self() &&
           mh_load_rlx(&ring->reader_end) == (uint64_t) (uintptr_t) end;
}

static void set_reader(mh_pipe *end, uint64_t who)
{
    mh_store_step(&end->in.ring->reader_end, (uint64_t) (uintptr_t) end);
    mh_store_step(&end->in.ring->reader, who);
}

static int take_whole(mh_pipe *end, uint64_t head, const struct mh__record *record, mh_message *message,
                      size_t *size)
{
    if (record->size > message->room || !message->data) {
        *size = record->size;
        return MH__SMALL_BUFFER;
    }
    mh__ring_copy(&end->in, head, 0, message->data, record->size);
    message->size = record->size;
    message->tag = record->tag;
    return 0;
}

static int begin_partial(mh_pipe *end, uint64_t head, const struct mh__record *record)
{
    uint64_t total;
    uint32_t size = record->size - (uint32_t) sizeof total;
    int rc;

    if (record->size < sizeof total) {
        return MH_E_CORRUPT;
    }
    mh__ring_copy(&end->in, head, 0, &total, sizeof total);
    if (total < size) {
        return MH_E_CORRUPT;
    }
    rc = mh__message_room(&end->partial, (size_t) total);
    if (rc) {
        return rc;
    }
    set_reader(end, mh_os_self());
    mh_store_rlx(&end->cut, 1);
    MH__TRACE("receive.reader");
    mh__ring_copy(&end->in, head, sizeof total, end->partial.data, size);
    end->partial_size = total;
    end->partial_got = size;
    end->partial.tag = record->tag;
    return MH__BUSY;
}

/* The next piece of the message under way: 0 where it was the last, and `message` has it. */
static int continue_partial(mh_pipe *end, uint64_t head, const struct mh__record *record, mh_message *message)
{
    mh_message whole;

    if (record->size > end->partial_size - end->partial_got) {
        return MH_E_CORRUPT;
    }
    mh__ring_copy(&end->in, head, 0, (unsigned char *) end->partial.data + end->partial_got, record->size);
    end->partial_got += record->size;
    if (record->kind != MH__LAST) {
        return MH__BUSY;
    }
    if (end->partial_got != end->partial_size) {
        return MH_E_CORRUPT;
    }
    whole = end->partial;
    whole.size = (size_t) end->partial_size;
    end->partial = *message;
    *message = whole;
    return 0;
}

/* Head held, a record at `head`. 0 taken and `message` complete; MH__BUSY taken, go on; else not taken. */
static int take_record(mh_pipe *end, uint64_t head, const struct mh__record *record, mh_message *message,
                       size_t *size)
{
    int mine = is_reader(end), rc = MH__BUSY;

    if (record->kind == MH__WHOLE) {
        rc = take_whole(end, head, record, message, size);
    } else if (record->kind == MH__FIRST) {
        rc = begin_partial(end, head, record);
    } else if (record->kind > MH__ABORT) {
        rc = MH_E_CORRUPT;
    } else if (mine && record->kind != MH__ABORT) {
        rc = continue_partial(end, head, record, message);
    } /* else: called off, or a piece of what a dead reader had begun */
    if (rc == 0) { /* before the commit */
        mh__behind_take(&end->in, mh__weight(&end->in, message->data, message->size, message->tag));
    }
    if (rc == 0 && end->in.taker) {
        end->in.taker(message->data, message->size, message->tag);
        MH__TRACE("receive.taken.behind");
    }
    if (rc == 0 || rc == MH__BUSY) {
        mh__ring_take(&end->in, mh__past(head, record->size));
        if (mine && record->kind != MH__MORE && record->kind != MH__FIRST) {
            set_reader(end, 0);
        }
    }
    return rc;
}

/* Until a message is complete: take what is there. 0, MH__EMPTY, MH__BUSY (another end is at it),
 * MH__SMALL_BUFFER. */
static int receive_turn(mh_pipe *end, mh_message *message, size_t *size)
{
    struct mh__ring *ring = end->in.ring;
    struct mh__record record;
    uint64_t reader, head;
    int rc;

    mh__head_enter(&end->in);
    MH__TRACE("receive.entered");
    reader = mh_load_rlx(&ring->reader);
    if (reader && !is_reader(end)) {
        if (mh_os_alive(reader)) {
            mh__head_leave(&end->in);
            return MH__BUSY;
        }
        set_reader(end, 0);
    }
    do {
        head = mh_load_rlx(&ring->head);
        rc = mh__ring_peek(&end->in, head, &record);
        if (rc == 0) {
            rc = take_record(end, head, &record, message, size);
            if (rc == MH__BUSY) {
                mh_fence_seq(); /* as in mh__head_leave */
                mh__gate_open(&ring->not_full, 0);
            }
        }
    } while (rc == MH__BUSY);
    mh__head_leave(&end->in);
    MH__TRACE("receive.left");
    return rc;
}

/* Nothing held, the ring was empty while a large message was under way: call it off where its sender died. */
static void check_sender(mh_pipe *end)
{
    struct mh__view *in = &end->in;
    uint64_t owner = mh_load_acq(&in->ring->stream);

    if (owner == 0 || mh_os_alive(owner)) {
        return;
    }
    mh__tail_enter(in);
    if (mh_load_rlx(&in->ring->stream) == owner) {
        (void) call_off(in);
    }
    mh__tail_leave(in);
}

/* Nothing to take. 0: look again. */
static int wait_to_receive(struct need *need, mh_deadline deadline, mh_cancel *cancel, int *slept)
{
    mh_pipe *end = need->end;
    struct mh__gate *gate = &end->in.ring->not_empty;
    uint32_t bits = need->hindrance == MH__BUSY ? MH__SLEEPERS | MH__ALL : MH__SLEEPERS;

    mh__bell_if_empty(&end->in);
    if (need->hindrance == MH__EMPTY) {
        int gone = *slept || closed_since(need) ? look_at_socket(need) : mh__pipe_gone_lately(end);
        if (gone) {
            /* All were gone before this look at the ring: what is not there now will never come. */
            return mh__ring_is_empty(&end->in) ? MH_E_CLOSED : 0;
        }
        if (*slept) {
            check_sender(end);
        }
    } else if (closed_since(need)) {
        need->closes = mh_load_acq(&end->shared->closes[1 - end->side]);
    }
    return mh__gate_wait(gate, bits, receive_ready, need, deadline, cancel, 0, slept);
}

static void after_receive(struct need *need, int large, int slept)
{
    mh_pipe *end = need->end;

    mh__gate_open(&end->in.ring->not_full, 0);
    if (large) {
        mh__gate_open_all(&end->in.ring->not_empty, 0); /* those who waited for the end of it */
    } else if (slept && !mh__ring_is_empty(&end->in)) {
        mh__gate_open(&end->in.ring->not_empty, 0);
    }
    mh__bell_if_empty(&end->in);
}

/* End of file. Where a message was under way, that is said first: what there was of it is thrown away. */
static int end_of_file(mh_pipe *end)
{
    if (!mh_load_rlx(&end->cut)) {
        return MH_E_CLOSED;
    }
    mh__head_enter(&end->in);
    if (is_reader(end)) {
        set_reader(end, 0);
    }
    mh_store_rlx(&end->cut, 0);
    mh__head_leave(&end->in);
    return MH_E_LOST;
}

int mh_pipe_receive(mh_pipe *end, mh_message *message, mh_deadline deadline, mh_cancel *cancel)
{
    struct need need = {.end = end, .closes = mh_load_acq(&end->shared->closes[1 - end->side])};
    size_t size = 0;
    int slept = 0, rc;

    if (!end->duplex && end->side == 1) {
        return -EBADF;
    }
    while ((rc = receive_turn(end, message, &size)) != 0) {
        if (rc == MH__SMALL_BUFFER) {
            rc = mh__message_room(message, size);
        } else if (rc > 0) {
            need.hindrance = rc;
            rc = wait_to_receive(&need, deadline, cancel, &slept);
        }
        if (rc < 0) {
            break;
        }
    }
    if (rc == 0) {
        mh_store_rlx(&end->cut, 0);
    } else if (rc == MH_E_CLOSED) {
        rc = end_of_file(end);
    }
    if (rc == 0 || slept) {
        after_receive(&need, rc == 0 && message->size > MH__PIPE_PIECE, slept);
    }
    return rc;
}

int mh_pipe_poll(mh_pipe *end, mh_deadline deadline, mh_cancel *cancel)
{
    struct need need = {
        .end = end, .hindrance = MH__EMPTY, .closes = mh_load_acq(&end->shared->closes[1 - end->side])};
    int slept = 0, rc = 0;

    if (!end->duplex && end->side == 1) {
        return -EBADF;
    }
    while (rc == 0 && mh__ring_is_empty(&end->in)) {
        rc = wait_to_receive(&need, deadline, cancel, &slept);
    }
    if (slept && !mh__ring_is_empty(&end->in)) { /* our wake is for whoever takes the message */
        mh__gate_open(&end->in.ring->not_empty, 0);
    }
    /* A sender that was killed left no hint: before "nothing" is said, the kernel is asked. */
    if (rc == -ETIMEDOUT && look_at_socket(&need)) {
        return 0;
    }
    return rc == MH_E_CLOSED ? 0 : rc;
}
