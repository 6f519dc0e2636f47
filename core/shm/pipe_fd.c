/* core/shm/pipe_fd.c - descriptors through a pipe: they travel on its socket, between the bells.
 *
 * Both happen under the lock of the ring's tail, as everything that the bell does: so a message that was sent
 * after a descriptor is committed after the descriptor is on the socket. Who receives takes off the bells
 * before it; those for later messages stand behind it, since whoever sends one makes the next message ring
 * again.
 */
#include <errno.h>

#include "core/os/os.h"
#include "core/shm/channel_gate.h"
#include "core/shm/pipe_end.h"

#define DESCRIPTOR_BYTE 1 /* how many; what others put beside one they send with sendmsg() */

int mh_pipe_send_fd(mh_pipe *end, int fd)
{
    struct mh__ring *ring = end->out.ring;
    int rc;

    if (!end->duplex && end->side == 0) {
        return -EBADF;
    }
    mh__tail_enter(&end->out);
    rc = mh_os_send_fd(end->socket, fd, DESCRIPTOR_BYTE);
    if (rc == 0) {
        mh_store_rlx(&ring->select, 1);
        mh_store_rlx(&ring->rung, 0);
    }
    mh__tail_leave(&end->out);
    mh_fence_seq();
    mh__gate_open_all(&ring->not_empty, 0);
    return rc;
}

/* The next descriptor, if it is there. -EAGAIN: nothing is. */
static int receive_turn(mh_pipe *end, int *fd)
{
    unsigned char bytes[64];
    ssize_t got, bells;
    int rc = -EAGAIN;

    mh__tail_enter(&end->in);
    got = mh_os_look_at(end->socket, bytes, sizeof bytes);
    for (bells = 0; bells < got && bytes[bells] == MH__BELL_BYTE; bells++) {
    }
    if (bells < got) {
        mh__bell_strip(end->socket);
        rc = mh_os_receive_fd(end->socket, fd);
    } else if (!mh__ring_is_empty(&end->in)) {
        rc = MH_E_STATE;
    } else if (got == 0 || got == -ECONNRESET) { /* reset: the other end had bells left when it went */
        rc = MH_E_CLOSED;
    } else if (got > 0) {
        mh_store_rlx(&end->in.ring->rung, 0);
        mh__bell_strip(end->socket);
    } else if (got != -EAGAIN) {
        rc = (int) got;
    }
    mh__tail_leave(&end->in);
    return rc;
}

static int is_readable(void *end)
{
    return mh_os_poll(((mh_pipe *) end)->socket, MH_OS_READABLE, MH_AT_ONCE) > 0;
}

int mh_pipe_receive_fd(mh_pipe *end, int *fd, mh_deadline deadline, mh_cancel *cancel)
{
    int slept = 0, rc;

    if (!end->duplex && end->side == 1) {
        return -EBADF;
    }
    while ((rc = receive_turn(end, fd)) == -EAGAIN) {
        rc = mh__gate_wait(&end->in.ring->not_empty, MH__SLEEPERS | MH__ALL, is_readable, end, deadline,
                           cancel, 0, &slept);
        if (rc < 0) {
            break;
        }
    }
    return rc;
}
