/* core/sync/spin.c - see spin.h. */
#include "spin.h"

#include "core/os/tls.h"

uint32_t mh__spin_time(uint32_t learned, uint32_t most, uint32_t retry)
{
    uint32_t time = learned & 0xffff, failures = learned >> 16;
    if (time == 0) {
        return MH__SPIN_START;
    }
    if (time < retry && failures % MH__SPIN_RETRY_EVERY == MH__SPIN_RETRY_EVERY - 1) {
        return retry;
    }
    return time < most ? time : most;
}

static int begin_for(struct mh__spin *spin, _Atomic(uint32_t) *place, uint32_t most, uint32_t retry)
{
    if (mh_os_cores() < 2) {
        return 0;
    }
    spin->place = place;
    spin->most = most;
    spin->learned = mh_load_rlx(place);
    spin->time = mh__spin_time(spin->learned, most, retry);
    spin->step = MH__SPIN_STEP_NS;
    spin->now = mh_os_now();
    spin->end = spin->now + (int64_t) spin->time * MH__SPIN_UNIT_NS;
    return 1;
}

int mh__spin_begin(struct mh__spin *spin, _Atomic(uint32_t) *place)
{
    return begin_for(spin, place, MH__SPIN_MOST, MH__SPIN_RETRY);
}

int mh__spin_on(struct mh__spin *spin)
{
    int64_t look = spin->now + spin->step < spin->end ? spin->now + spin->step : spin->end;
    if (spin->now >= spin->end) {
        return 0;
    }
    do {
        mh_os_pause();
        spin->now = mh_os_now();
    } while (spin->now < look);
    spin->step = spin->step * 2 < MH__SPIN_STEP_MOST_NS ? spin->step * 2 : MH__SPIN_STEP_MOST_NS;
    return 1;
}

/* Nothing is stored that the place knew: that would fetch its line for nothing. */
int mh__spin_end(const struct mh__spin *spin, int found)
{
    uint32_t failures = spin->learned & 0xffff0000u, longer = spin->time * 2, shorter = spin->time / 2;
    uint32_t learned = found ? failures | (longer < spin->most ? longer : spin->most)
                             : (failures + 0x10000u) | (shorter > MH__SPIN_LEAST ? shorter : MH__SPIN_LEAST);
    if (learned != spin->learned) {
        mh_store_rlx(spin->place, learned);
    }
    return found;
}

void mh__spin_in_line(_Atomic(uint32_t) *word, uint32_t value)
{
    struct mh__spin spin;
    int found;
    if (!begin_for(&spin, &mh__tls()->line_spin, MH__SPIN_MOST_IN_LINE, MH__SPIN_MOST_IN_LINE)) {
        return;
    }
    do {
        found = mh_load_rlx(word) != value;
    } while (!found && mh__spin_on(&spin));
    (void) mh__spin_end(&spin, found);
}
