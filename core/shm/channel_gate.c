/* core/shm/channel_gate.c - waiting at a gate. The protocol is argued in channel_gate.h. */
#include "core/shm/channel_gate.h"

#include <errno.h>

#include "core/debug/trace.h"
#include "core/os/os.h"

/* Spinning: the low half of gate->spin is the time that spinning may take, in units of 16 ns; the high half
 * counts the spins that found nothing. Success doubles the time, failure halves it; every 32nd failure tries
 * the whole time again, or a gate that was idle once would never learn that it is busy now. A lost update
 * costs nothing. */
#define SPIN_LEAST 16u  /* 256 ns */
#define SPIN_START 256u /* 4 us */
#define SPIN_MOST 1024u /* 16 us */
#define SPIN_RETRY 32u
#define SPIN_LOOKS 16

static uint32_t spin_time(uint32_t spin)
{
    uint32_t time = spin & 0xffff, failures = spin >> 16;

    if (time == 0) {
        return SPIN_START;
    }
    return failures % SPIN_RETRY == SPIN_RETRY - 1 ? SPIN_START : time;
}

static void learn(struct mh__gate *gate, uint32_t spin, uint32_t time, int success)
{
    uint32_t next;

    if (success) {
        next = time * 2 > SPIN_MOST ? SPIN_MOST : time * 2;
        next |= spin & 0xffff0000u;
    } else {
        next = time / 2 < SPIN_LEAST ? SPIN_LEAST : time / 2;
        next |= (spin + 0x10000u) & 0xffff0000u;
    }
    if (next != spin) {
        mh_store_rlx(&gate->spin, next);
    }
}

static int spin(struct mh__gate *gate, mh__ready ready, void *arg)
{
    uint32_t seen = mh_load_rlx(&gate->spin), time = spin_time(seen);
    int64_t end;

    if (mh_os_cores() < 2) {
        return 0;
    }
    end = mh_os_now() + (int64_t) time * 16;
    do {
        for (int i = 0; i < SPIN_LOOKS; i++) {
            if (ready(arg)) {
                learn(gate, seen, time, 1);
                return 1;
            }
            mh_os_pause();
        }
    } while (mh_os_now() < end);
    learn(gate, seen, time, 0);
    return 0;
}

/* Set `bits`; the value that the word has then. */
static uint32_t announce(struct mh__gate *gate, uint32_t bits)
{
    uint32_t word = mh_or_acq_rel(&gate->word, bits) | bits;
    mh_fence_seq(); /* then the look at the ring: pairs with the fence after the commit */
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
