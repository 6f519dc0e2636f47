/* core/sync/spin.h - look again for a while before going to sleep.
 *
 * Spinning is bounded by time, since no count of rounds is right for every machine, and a place where threads meet learns
 * for how long it pays: a spin that found what it looked for doubles the time, one that did not halves it down to nothing,
 * and every 32nd of those tries again, or a place that was idle once would never learn that it is busy now.
 *
 * It looks seldom: each look fetches the line that those who are at work write to, and costs them more than the looker.
 * Who waits for 1 us lets the others do fifty operations on their own core's copy; who looks all the time makes them fetch
 * it back for each. So the first step is longer than most critical sections, and each is twice the one before.
 */
#ifndef MH_SYNC_SPIN_H
#define MH_SYNC_SPIN_H

#include "core/os/os.h"

enum {
    MH__SPIN_UNIT_NS = 16,
    MH__SPIN_LEAST = 1, /* next to nothing */
    MH__SPIN_START = 4096 / MH__SPIN_UNIT_NS,
    MH__SPIN_MOST = 16384 / MH__SPIN_UNIT_NS,
    MH__SPIN_RETRY = 1600 / MH__SPIN_UNIT_NS,
    MH__SPIN_MOST_LONG = 65536 / MH__SPIN_UNIT_NS,
    MH__SPIN_RETRY_LONG = 262144 / MH__SPIN_UNIT_NS,
    MH__SPIN_RETRY_EVERY = 32,
    MH__SPIN_RETRY_RARELY = 1024,
    MH__SPIN_STEP_NS = 800,
    MH__SPIN_STEP_LEAST_NS = 50,
    MH__SPIN_STEP_GROWTH = 8
};

/* What a place has learned is one word: in its low half the time that a spin may take, in units (0: nothing yet); in the
 * high half a count of the spins that found nothing. A lost update costs nothing. */
struct mh__spin {
    _Atomic(uint32_t) *place;
    uint32_t learned, time, most;
    int64_t now, end, step, step_most;
};

/* A kind of place: the longest spin that is learned, and the one that is tried now and then, in units. Rarely: at the 4th
 * spin that found nothing, the 16th, 64th, 256th, and every 1024th; else every 32nd. */
struct mh__spin_rule {
    uint32_t most, retry;
    int rarely;
};
extern const struct mh__spin_rule mh__spin_lock, mh__spin_sem, mh__spin_line, mh__spin_gate;

/* How long a spin may take at a place that has learned this, in units. */
uint32_t mh__spin_time(uint32_t learned, const struct mh__spin_rule *rule);

/* 0 where there is but one core to give: whoever is waited for would not run meanwhile. */
int mh__spin_begin(struct mh__spin *spin, _Atomic(uint32_t) *place);

/* The same at a semaphore, which has no room to learn: its waiters remember. Once it pays, for longer than a wake takes. */
int mh__spin_begin_at_sem(struct mh__spin *spin);

/* The same at a gate of a channel. Who waits for an answer waits for a wake and for what the other does with what it got: so
 * more than a wake takes is learned, and much more tried, rarely; after one success both are awake. `step`: until the
 * first look, in ns. */
int mh__spin_begin_at_gate(struct mh__spin *spin, _Atomic(uint32_t) *place, uint32_t step);

/* Between two looks. 0: the time is up. */
int mh__spin_on(struct mh__spin *spin);

/* The place learns what came of it: `found`, which is returned. */
int mh__spin_end(const struct mh__spin *spin, int found);

/* In a line, until *word is no longer `value` or the time is up; the caller looks for itself. A lock that is handed on in turn
 * waits for each sleeper until it has woken up, which makes sleepers of those behind it: so the time is longer than a wake
 * takes, 50 us between two virtual processors, and now and then all of it is tried, or a line that has fallen asleep would
 * stay so. */
void mh__spin_in_line(_Atomic(uint32_t) *word, uint32_t value);

#endif
