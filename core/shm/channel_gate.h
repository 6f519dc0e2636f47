/* core/shm/channel_gate.h - where producers wait for room and consumers for messages.
 *
 * Bits of a gate's word:
 *   0      SLEEPERS  somebody may sleep here. May be set while nobody does (one needless wake follows); must
 *   not be
 *                    clear while somebody sleeps, but for the time in which one who was woken is on the way
 *                    back.
 *   1      ALL       wake every sleeper, not one: they wait for different things (more bytes, the end of a
 *   stream) 2..31  count of openings, so that a sleeper's expected value is stale once it was opened
 * Transitions:
 *   announce   set SLEEPERS (and ALL), by a waiter, before its last look at the ring; again each time it was
 *   woken open       count + 1, SLEEPERS and ALL cleared, then the wake; by whoever made room or put a
 *   message
 *
 * No wake is lost. A waiter announces, fences, looks once more at the ring, sleeps on the word's value. The
 * other side commits, fences, looks at the word. Either it sees SLEEPERS, or the waiter sees the commit. An
 * opening between announce and sleep changes the word, and the sleep ends at once.
 *
 * One wake for a burst: open clears SLEEPERS, so the commits that follow until the woken one runs cost no
 * system call. It announces for those who may still sleep, tries, and where something is left opens the gate
 * for the next (mh__gate_pass). A waiter that leaves with an error passes on in the same way.
 *
 * Death: killed between commit and wake, or woken and killed, the wake is gone. Sleepers of a shared ring
 * look again in slices (mh_wait); and SLEEPERS left behind by the dead costs one needless wake.
 */
#ifndef MH_SHM_CHANNEL_GATE_H
#define MH_SHM_CHANNEL_GATE_H

#include "core/shm/channel_ring.h"

#define MH__SLEEPERS 1u
#define MH__ALL 2u
#define MH__OPENED 4u

/* What a waiter waits for: nonzero once it may try again, MH__READY_FOR_ONE where one message is there and no more. Called without
 * any lock, often. */
enum { MH__READY = 1, MH__READY_FOR_ONE };
typedef int (*mh__ready)(void *arg);

/* For consumers: how the ring looks, without a lock. */
static inline int mh__ring_ready(const struct mh__view *view)
{
    struct mh__ring *ring = view->ring;
    if (mh__ring_is_empty(view)) {
        return 0;
    }
    return mh__number(mh_load_rlx(&ring->tail)) - mh__number(mh_load_rlx(&ring->head)) == 1
               ? MH__READY_FOR_ONE
               : MH__READY;
}

/* Spin for a while where that has paid, then announce and sleep. `bits`: MH__SLEEPERS, with MH__ALL where
 * others here may wait for other things. 0 (try again), -ETIMEDOUT, -ECANCELED, -EINTR. *slept: set where
 * this thread announced. */
int mh__gate_wait(struct mh__gate *gate, uint32_t bits, mh__ready ready, void *arg, mh_deadline deadline,
                  mh_cancel *cancel, unsigned flags, int *slept);
void mh__gate_open_slow(struct mh__gate *gate, uint32_t word, unsigned flags);
void mh__gate_open_all(struct mh__gate *gate, unsigned flags);

/* After a commit and the fence of mh__tail_leave or mh__head_leave. */
static inline void mh__gate_open(struct mh__gate *gate, unsigned flags)
{
    uint32_t word = mh_load_rlx(&gate->word);
    if (word & MH__SLEEPERS) {
        mh__gate_open_slow(gate, word, flags);
    }
}

#endif
