/* core/shm/pipe.c - making, sharing and closing the ends of a pipe. Sending and receiving: pipe_io.c. */
#include "manyhands/pipe.h"

#include <errno.h>
#include <stdlib.h>

#include "core/os/os.h"
#include "core/shm/channel_gate.h"
#include "core/shm/pipe_end.h"

#define KIND 0x7069686du /* "mhip", of the segment */
#define SIZE (MH__PIPE_HEADER + 2 * (size_t) MH__PIPE_MOST * MH__UNIT)
#define LOOK_EVERY 1000000 /* ns between a sender's looks at the socket */

_Static_assert(sizeof(struct mh__pipe_shared) <= MH__PIPE_HEADER, "the header has one page");

int mh__pipe_gone(mh_pipe *end)
{
    if (!mh_load_rlx(&end->gone)) {
        int events = mh_os_poll(end->socket, 0, MH_AT_ONCE);
        if (events < 0 || !(events & MH_OS_HUNG_UP)) {
            return 0;
        }
        mh_store_rlx(&end->gone, 1); /* nothing is ordered by it: the kernel's word was */
    }
    return 1;
}

int mh__pipe_gone_lately(mh_pipe *end)
{
    uint32_t closes = mh_load_acq(&end->shared->closes[1 - end->side]);
    int64_t now;

    if (mh_load_rlx(&end->gone)) {
        return 1;
    }
    now = mh_os_now();
    if (closes == mh_load_rlx(&end->closes_seen) && now - mh_load_rlx(&end->looked) < LOOK_EVERY) {
        return 0;
    }
    mh_store_rlx(&end->closes_seen, closes);
    mh_store_rlx(&end->looked, now);
    return mh__pipe_gone(end);
}

/* Build the views of an end whose segment and socket are there. */
static int settle(mh_pipe *end, int side, int duplex)
{
    struct mh__view *view[2] = {&end->out, &end->in};
    unsigned char *base = mh_segment_base(end->segment);

    end->shared = (struct mh__pipe_shared *) base;
    end->side = side;
    end->duplex = duplex;
    for (int i = 0; i < 2; i++) {
        int ring = i == 0 ? side : 1 - side;
        size_t offset = MH__PIPE_HEADER + (size_t) ring * MH__PIPE_MOST * MH__UNIT;
        int rc = mh__view_init(view[i], &end->shared->ring[ring], base + offset,
                               (size_t) MH__PIPE_MOST * MH__UNIT);
        if (rc) {
            return rc == -EAGAIN ? MH_E_CORRUPT : rc; /* it is complete before anybody has its descriptor */
        }
        if (view[i]->flags & MH_PRIVATE || view[i]->limit != MH__PIPE_MOST - 1) {
            return MH_E_CORRUPT;
        }
        view[i]->segment = end->segment;
        view[i]->offset = offset;
    }
    end->out.bell_out = end->socket; /* what is written here makes the other end's socket readable ... */
    end->in.bell_in = end->socket;   /* ... and what the other end writes is read here */
    return 0;
}

static mh_pipe *new_end(void)
{
    mh_pipe *end = mh_os_calloc(1, sizeof *end);
    if (end) {
        end->socket = -1;
    }
    return end;
}

static void free_end(mh_pipe *end)
{
    if (end->socket >= 0) {
        mh_os_close(end->socket);
    }
    if (end->segment) {
        mh_segment_close(end->segment);
    }
    mh_message_fini(&end->partial);
    free(end);
}

int mh_pipe_attach(int segment_fd, int socket_fd, int side, int duplex, mh_pipe **out)
{
    mh_pipe *end;
    int rc;

    if (side < 0 || side > 1) {
        return -EINVAL;
    }
    end = new_end();
    if (!end) {
        return -ENOMEM;
    }
    rc = mh_segment_attach(segment_fd, KIND, &end->segment);
    if (rc == 0 && mh_segment_size(end->segment) < SIZE) {
        rc = MH_E_CORRUPT;
    }
    if (rc == 0) {
        end->socket = mh_os_dup(socket_fd);
        rc = end->socket < 0 ? end->socket : settle(end, side, duplex != 0);
    }
    if (rc == 0) {
        rc = mh_pipe_valid(end);
    }
    if (rc) {
        free_end(end);
        return rc;
    }
    *out = end;
    return 0;
}

static int create_shared(int duplex, mh_segment **segment)
{
    struct mh__pipe_shared *shared;
    int rc = mh_segment_create(SIZE, KIND, segment);

    if (rc == 0) {
        shared = mh_segment_base(*segment);
        shared->duplex = duplex != 0;
        for (int i = 0; i < 2;
             i++) { /* one unit is kept back for the record that calls off a large message */
            mh__ring_init(&shared->ring[i], UINT64_MAX, MH__PIPE_MOST - 1, MH__PIPE_MOST, 0, MH__PIPE_BEHIND);
            mh_store_rlx(&shared->ring[i].rung, 1); /* true once prepare_bells() is done */
        }
    }
    return rc;
}

/* An end cannot make its own socket readable, only the other one can. So both have a byte in them from the
 * beginning: who begins to select finds that it was rung for whatever had come before, and silences it where
 * nothing had. */
static int prepare_bells(const int sockets[2])
{
    unsigned char bell = MH__BELL_BYTE;

    for (int i = 0; i < 2; i++) {
        ssize_t sent;
        int rc = mh_os_set_nonblocking(sockets[i], 1);
        if (rc < 0) {
            return rc;
        }
        sent = mh_os_write(sockets[i], &bell, 1);
        if (sent < 0) {
            return (int) sent;
        }
    }
    return 0;
}

int mh_pipe_create(int duplex, mh_pipe *ends[2])
{
    mh_segment *segment = NULL;
    mh_pipe *made[2] = {NULL, NULL};
    int sockets[2], rc = create_shared(duplex, &segment);

    if (rc) {
        return rc;
    }
    rc = mh_os_socketpair(sockets);
    if (rc == 0) {
        rc = prepare_bells(sockets);
        for (int i = 0; rc == 0 && i < 2; i++) {
            rc = mh_pipe_attach(mh_segment_fd(segment), sockets[i], i, duplex, &made[i]);
        }
        mh_os_close(sockets[0]);
        mh_os_close(sockets[1]);
    }
    mh_segment_close(segment);
    if (rc) {
        if (made[0]) {
            free_end(made[0]);
        }
        return rc;
    }
    ends[0] = made[0];
    ends[1] = made[1];
    return 0;
}

void mh_pipe_handle(const mh_pipe *end, int *segment_fd, int *socket_fd, int *side, int *duplex)
{
    *segment_fd = mh_segment_fd(end->segment);
    *socket_fd = end->socket;
    *side = end->side;
    *duplex = end->duplex;
}

void mh_pipe_close(mh_pipe *end)
{
    if (!end) {
        return;
    }
    mh_os_close(end->socket); /* first, so that whoever is woken below finds it hung up */
    end->socket = -1;
    /* release: pairs with the acquire in mh__pipe_gone_lately */
    (void) mh_add_acq_rel(&end->shared->closes[end->side], 1);
    mh_fence_seq();
    mh__gate_open_all(&end->out.ring->not_empty, 0);
    mh__gate_open_all(&end->in.ring->not_full, 0);
    free_end(end);
}

void mh_pipe_share_outside(mh_pipe *end)
{
    mh_store_rel(&end->out.ring->outside, 1); /* pair with the load below */
    mh_store_rel(&end->in.ring->outside, 1);
}

int mh_pipe_is_outside(const mh_pipe *end)
{
    return (int) mh_load_acq(&end->out.ring->outside);
}

void mh_pipe_set_taker(mh_pipe *end, mh_taker *take)
{
    end->in.taker = take;
}

void mh_pipe_set_weigher(mh_pipe *end, mh_weigher *weigh)
{
    end->in.weigher = end->out.weigher = weigh;
}

int mh_pipe_select_fd(mh_pipe *end)
{
    if (!end->duplex && end->side == 1) {
        return -EBADF;
    }
    mh__bell_enable(&end->in);
    return end->socket;
}

int mh_pipe_valid(mh_pipe *end)
{
    int rc = mh__ring_valid(&end->in);
    return rc ? rc : mh__ring_valid(&end->out);
}
