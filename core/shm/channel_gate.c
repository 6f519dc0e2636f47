/* core/shm/channel_gate.c - waiting at a gate. The protocol is argued in channel_gate.h. */
#include "core/shm/channel_gate.h"

#include <errno.h>

#include "core/debug/trace.h"
#include "core/sync/spin.h"

/* A look that finds one message comes late: whoever put it waits for the answer, perhaps. One that finds several came
 * early enough: the more it finds, the fewer times the ring's lines go from core to core. */
static void learn_step(struct mh__gate *gate, uint32_t step, int found)
{
    uint32_t next = found == MH__READY_FOR_ONE ? step / 2 : step * 2;

    if (next >= MH__SPIN_STEP_LEAST_NS && next <= MH__SPIN_STEP_NS) {
        mh_store_rlx(&gate->step, next);
    }
}

static uint32_t step_of(struct mh__gate *gate)
{
    uint32_t step = mh_load_rlx(&gate->step); /* in shared memory: anything may stand there */
    return step >= MH__SPIN_STEP_LEAST_NS && step <= MH__SPIN_STEP_NS ? step : MH__SPIN_STEP_NS;
}

static int spin(struct mh__gate *gate, mh__ready ready, void *arg)
{
    struct mh__spin spin;
    uint32_t step = step_of(gate);
    int found = ready(arg);

    if (found || !mh__spin_begin_at_gate(&spin, &gate->spin, step)) {
        return found;
    }
    while (!found && mh__spin_on(&spin)) {
        found = ready(arg);
    }
    if (found) {
        learn_step(gate, step, found);
    }
    return mh__spin_end(&spin, found != 0);
}

/* Set `bits`; the value that the word has then. */
static uint32_t announce(struct mh__gate *gate, uint32_t bits)
{
    uint32_t word = mh_or_acq_rel(&gate->word, bits) | bits;
    mh_fence_after_rmw(); /* then the look at the ring: pairs with the fence of mh__tail_leave and mh__head_leave */
    MH__TRACE("gate.announced");
    return word;
}

int mh__gate_wait(struct mh__gate *gate, uint32_t bits, mh__ready ready, void *arg, mh_deadline deadline,
                  mh_cancel *cancel, unsigned flags, int *slept)
{
    uint32_t word;
    int rc;

    if (deadline == MH_AT_ONCE) {
        return -ETIMEDOUT;
    }
    if (!*slept && spin(gate, ready, arg)) {
        return 0;
    }
    *slept = 1;
    word = announce(gate, bits);
    if (ready(arg)) {
        return 0;
    }
    rc = mh_wait(&gate->word, word, deadline, cancel, flags);
    MH__TRACE("gate.woken");
    announce(gate, bits); /* for those who may sleep on: whoever woke us cleared it */
    return rc;
}

void mh__gate_open_slow(struct mh__gate *gate, uint32_t word, unsigned flags)
{
    while (word & MH__SLEEPERS) {
        uint32_t opened = (word & ~(MH__SLEEPERS | MH__ALL)) + MH__OPENED;
        if (mh_cas_acq_rel(&gate->word, &word, opened)) {
            MH__TRACE("gate.opened");
            mh_wake(&gate->word, word & MH__ALL ? INT32_MAX : 1, flags);
            return;
        }
    }
}

void mh__gate_open_all(struct mh__gate *gate, unsigned flags)
{
    uint32_t word = mh_load_rlx(&gate->word);
    while (!mh_cas_acq_rel(&gate->word, &word, (word & ~(MH__SLEEPERS | MH__ALL)) + MH__OPENED)) {
    }
    mh_wake(&gate->word, INT32_MAX, flags);
}
