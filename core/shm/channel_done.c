/* core/shm/channel_done.c - counting what is done, and waiting until all is.
 *
 * Without leases nobody owns an unfinished message, so there is only a count: `done`, which anyone raises, and `dropped`,
 * what a close threw away. Puts are counted by the tail itself, in the store that commits them, so a producer that is
 * killed has put and counted, or neither. Unfinished is the tail's number less both; it is never negative, since done is
 * raised by a CAS from a value that left some. With leases: channel_lease.h.
 */
#include <errno.h>

#include "core/debug/trace.h"
#include "core/shm/channel_gate.h"
#include "core/shm/channel_lease.h"
#include "core/shm/channel_view.h"

/* The tail is read last: where it equals what was done before, it did so at that instant. `done` and the acquire pair
 * with the CAS in count_one(), `dropped` with the store in drop() of channel_ring.c. */
static uint32_t unfinished(const struct mh__view *view)
{
    uint32_t done = mh_load_acq(&view->ring->done), dropped = mh_load_acq(&view->ring->dropped);
    return mh__number(mh_load_acq(&view->ring->tail)) - done - dropped;
}

static int all_done(void *arg)
{
    const struct mh__view *view = arg;

    if (view->hands) { /* reclaim first: see unfinished() */
        uint64_t reclaim = mh_load_acq(&view->ring->reclaim);
        return reclaim == mh_load_acq(&view->ring->tail);
    }
    return unfinished(view) == 0;
}

static int count_one(struct mh__view *view)
{
    struct mh__ring *ring = view->ring;
    uint32_t done = mh_load_acq(&ring->done);

    do {
        if (mh__number(mh_load_acq(&ring->tail)) - done - mh_load_acq(&ring->dropped) == 0) {
            return -EPERM;
        }
    } while (!mh_cas_acq_rel(&ring->done, &done, done + 1));
    MH__TRACE("done.counted");
    mh_fence_seq(); /* the count, then the look at who joins: as in mh__tail_leave */
    if (unfinished(view) == 0) {
        mh__gate_open(&ring->all_done, view->flags);
    }
    return 0;
}

int mh_channel_task_done(mh_channel *ch)
{
    return ch->view.hands ? mh__lease_done(&ch->view) : count_one(&ch->view);
}

int mh_channel_join(mh_channel *ch, mh_deadline deadline, mh_cancel *cancel)
{
    struct mh__view *view = &ch->view;
    mh_deadline until = deadline;
    int64_t slice = 0;
    int slept = 0, rc = 0;

    while (rc == 0 && !all_done(view)) {
        if (view->hands) {
            (void) mh__lease_look(view, 0); /* what a dead consumer had goes to the next one */
            until = mh__slice(deadline, &slice);
        }
        rc = mh__gate_wait(&view->ring->all_done, MH__SLEEPERS | MH__ALL, all_done, view, until, cancel,
                           view->flags, &slept);
        rc = rc == -ETIMEDOUT && until != deadline ? 0 : rc;
    }
    return rc;
}

uint64_t mh_channel_unfinished(const mh_channel *ch)
{
    return ch->view.hands ? mh__lease_unfinished(&ch->view) : unfinished(&ch->view);
}
