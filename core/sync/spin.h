/* core/sync/spin.h - look again for a moment before going to sleep.
 *
 * Spinning is bounded by time, since no count of rounds is right for every machine. `mean` is the mean time, in ns, after
 * which it has paid lately: it may go on for twice that, and fades to almost nothing where it does not pay.
 */
#ifndef MH_SYNC_SPIN_H
#define MH_SYNC_SPIN_H

#include "core/os/os.h"

enum { MH__SPIN_LEAST_NS = 300, MH__SPIN_MOST_NS = 5000, MH__SPIN_PAUSES = 4 };

struct mh__spin {
    uint32_t mean;
    int64_t start, now, end;
};

/* 0 where there is but one core to give: whoever is waited for would not run meanwhile. */
static inline int mh__spin_begin(struct mh__spin *spin, uint32_t mean)
{
    if (mh_os_cores() == 1) {
        return 0;
    }
    int64_t budget = 2 * (int64_t) mean + MH__SPIN_LEAST_NS;
    spin->mean = mean;
    spin->start = spin->now = mh_os_now();
    spin->end = spin->start + (budget < MH__SPIN_MOST_NS ? budget : MH__SPIN_MOST_NS);
    return 1;
}

/* Between two looks. 0: the time is up. */
static inline int mh__spin_on(struct mh__spin *spin)
{
    for (int i = 0; i < MH__SPIN_PAUSES; i++) {
        mh_os_pause();
    }
    spin->now = mh_os_now();
    return spin->now < spin->end;
}

/* The mean for the next time. */
static inline uint32_t mh__spin_learn(const struct mh__spin *spin, int paid)
{
    int64_t mean = spin->mean, next = paid ? mean + (spin->now - spin->start - mean) / 4 : mean - mean / 8;
    return (uint32_t) (next < MH__SPIN_MOST_NS ? next : MH__SPIN_MOST_NS);
}

#endif
