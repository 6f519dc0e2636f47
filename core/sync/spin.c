/* core/sync/spin.c - see spin.h. */
#include "spin.h"

#include "core/os/tls.h"

const struct mh__spin_rule mh__spin_lock = {MH__SPIN_MOST, MH__SPIN_RETRY, 0};
const struct mh__spin_rule mh__spin_sem = {MH__SPIN_MOST_LONG, MH__SPIN_RETRY, 1};
const struct mh__spin_rule mh__spin_line = {MH__SPIN_MOST_LONG, MH__SPIN_MOST_LONG, 0};
const struct mh__spin_rule mh__spin_gate = {MH__SPIN_MOST_LONG, MH__SPIN_RETRY_LONG, 1};

static int is_time_to_retry(uint32_t failures, int rarely)
{
    int is_power_of_4 = (failures & (failures - 1)) == 0 && (failures & 0x5554) != 0;
    if (!rarely) {
        return failures % MH__SPIN_RETRY_EVERY == MH__SPIN_RETRY_EVERY - 1;
    }
    return is_power_of_4 || (failures != 0 && failures % MH__SPIN_RETRY_RARELY == 0);
}

uint32_t mh__spin_time(uint32_t learned, const struct mh__spin_rule *rule)
{
    uint32_t time = learned & 0xffff;
    if (time == 0) {
        return MH__SPIN_START;
    }
    if (time < rule->retry && is_time_to_retry(learned >> 16, rule->rarely)) {
        return rule->retry;
    }
    return time < rule->most ? time : rule->most;
}

static int begin_by(struct mh__spin *spin, _Atomic(uint32_t) *place, const struct mh__spin_rule *rule,
                    uint32_t step)
{
    if (mh_os_cores() < 2) {
        return 0;
    }
    spin->place = place;
    spin->most = rule->most;
    spin->learned = mh_load_rlx(place);
    spin->time = mh__spin_time(spin->learned, rule);
    if (spin->time <=
        MH__SPIN_LEAST) { /* a look at the clock would take longer; counted, so that one is tried again */
        return mh__spin_end(spin, 0);
    }
    spin->step = step;
    spin->step_most = (int64_t) step * MH__SPIN_STEP_GROWTH;
    spin->now = mh_os_now();
    spin->end = spin->now + (int64_t) spin->time * MH__SPIN_UNIT_NS;
    return 1;
}

int mh__spin_begin(struct mh__spin *spin, _Atomic(uint32_t) *place)
{
    return begin_by(spin, place, &mh__spin_lock, MH__SPIN_STEP_NS);
}

int mh__spin_begin_at_sem(struct mh__spin *spin)
{
    return begin_by(spin, &mh__tls()->sem_spin, &mh__spin_sem, MH__SPIN_STEP_NS);
}

int mh__spin_begin_at_gate(struct mh__spin *spin, _Atomic(uint32_t) *place, uint32_t step)
{
    return begin_by(spin, place, &mh__spin_gate, step);
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
    spin->step = spin->step * 2 < spin->step_most ? spin->step * 2 : spin->step_most;
    return 1;
}

/* A try for longer than was learned that found nothing has taught nothing. */
static uint32_t after_failure(const struct mh__spin *spin)
{
    uint32_t knew = spin->learned & 0xffff, shorter = spin->time / 2;
    if (knew != 0 && knew < spin->time) {
        return knew;
    }
    return shorter > MH__SPIN_LEAST ? shorter : MH__SPIN_LEAST;
}

/* Nothing is stored that the place knew: that would fetch its line for nothing. */
int mh__spin_end(const struct mh__spin *spin, int found)
{
    uint32_t failures = spin->learned & 0xffff0000u, longer = spin->time * 2;
    uint32_t learned = found ? failures | (longer < spin->most ? longer : spin->most)
                             : (failures + 0x10000u) | after_failure(spin);
    if (learned != spin->learned) {
        mh_store_rlx(spin->place, learned);
    }
    return found;
}

void mh__spin_in_line(_Atomic(uint32_t) *word, uint32_t value)
{
    struct mh__spin spin;
    int found;
    if (!begin_by(&spin, &mh__tls()->line_spin, &mh__spin_line, MH__SPIN_STEP_NS)) {
        return;
    }
    do {
        found = mh_load_rlx(word) != value;
    } while (!found && mh__spin_on(&spin));
    (void) mh__spin_end(&spin, found);
}
