/* Every interleaving of the barrier: all or nobody passes, each index once, again and again, and (shared)
 * death at any step. */
#include "core/os/atomic.h"
#include "core/os/os.h"
#include "manyhands/barrier.h"
#include "sched.h"

#include <errno.h>

static struct {
    mh_barrier barrier;
    int arrived[2], passed[2], broken, left, actions, acting;
    int index_seen[SCHED_THREADS];
    _Atomic(uint32_t) progress;
    int result[SCHED_THREADS], met_the_dead, dead_before;
} w;

static void private_two(void)
{
    mh_barrier_init(&w.barrier, 2, MH_PRIVATE);
}

static void private_three(void)
{
    mh_barrier_init(&w.barrier, 3, MH_PRIVATE);
}

static void shared_two(void)
{
    mh_barrier_init(&w.barrier, 2, 0);
}

static void shared_three(void)
{
    mh_barrier_init(&w.barrier, 3, 0);
}

/* There are two places, and one of them is a dead party's. */
static void shared_two_scarce(void)
{
    mh_barrier_init(&w.barrier, 2, 0);
    w.barrier.places = 2;
    w.barrier.used = 1;
    w.barrier.place[0].owner = 1;
    w.barrier.place[0].word = 2;
}

static int meet(int meeting, int64_t deadline)
{
    uint32_t index = 99;
    w.arrived[meeting]++;
    int rc = mh_barrier_wait(&w.barrier, NULL, NULL, deadline, NULL, &index);
    if (rc == 0) {
        sched_check(w.arrived[meeting] == (int) w.barrier.parties, "nobody passes before all are here");
        sched_check(index < w.barrier.parties, "an index");
        w.index_seen[index]++;
        w.passed[meeting]++;
    }
    return rc;
}

static void once(void)
{
    sched_check(meet(0, MH_FOREVER) == 0, "passed");
}

static void twice(void)
{
    sched_check(meet(0, MH_FOREVER) == 0, "passed");
    sched_check(meet(1, MH_FOREVER) == 0, "passed again");
}

static void each_index_once(void)
{
    for (uint32_t i = 0; i < w.barrier.parties; i++) {
        sched_check(w.index_seen[i] == 1, "each index once");
    }
    sched_check(w.barrier.arrived == 0 && w.barrier.phase % 2 == 0, "whole and empty");
}

static void each_index_twice(void)
{
    sched_check(w.index_seen[0] == 2 && w.index_seen[1] == 2, "each index once in each meeting");
}

/* Three processes, four arrivals, two at a time; the third comes when somebody has passed. */
static void once_or_again(void)
{
    while (sched_me() == 2 && !w.passed[0]) {
        sched_point();
    }
    for (int i = 0; i < (sched_me() == 0 ? 2 : 1); i++) {
        sched_check(mh_barrier_wait(&w.barrier, NULL, NULL, MH_FOREVER, NULL, NULL) == 0, "passed");
        w.passed[0]++;
    }
}

static void all_met(void)
{
    sched_check(w.passed[0] == 4, "all met");
}

/* ---- breaking */

static void impatient(void)
{
    int rc = meet(0, sched_soon());
    sched_check(rc == 0 || rc == -ETIMEDOUT || rc == MH_E_BROKEN, "passed, timed out or broken");
    w.broken += rc == MH_E_BROKEN;
    w.left += rc == -ETIMEDOUT;
}

static void patient(void)
{
    int rc = meet(0, MH_FOREVER);
    sched_check(rc == 0 || rc == MH_E_BROKEN, "passed or broken");
    w.broken += rc == MH_E_BROKEN;
}

static void all_or_nobody(void)
{
    int parties = (int) w.barrier.parties;
    sched_check(w.passed[0] == parties || w.passed[0] == 0, "all pass, or nobody");
    sched_check(w.passed[0] + w.broken + w.left == parties, "and the others know");
    sched_check((w.passed[0] == 0) == (w.barrier.phase % 2 == 1), "broken where nobody passed");
}

static void aborter(void)
{
    mh_barrier_abort(&w.barrier);
    sched_check(mh_barrier_is_broken(&w.barrier), "broken after abort");
}

/* A party that waits when the barrier is reset is sent away; two that come after it meet. */
static void persistent(void)
{
    int rc = mh_barrier_wait(&w.barrier, NULL, NULL, MH_FOREVER, NULL, NULL);
    if (rc == MH_E_BROKEN) {
        rc = mh_barrier_wait(&w.barrier, NULL, NULL, MH_FOREVER, NULL, NULL);
    }
    w.passed[0] += rc == 0;
    w.broken += rc != 0;
}

static void resetter(void)
{
    while (mh_barrier_waiting(&w.barrier) == 0 && w.passed[0] == 0) {
        sched_point();
    }
    mh_barrier_reset(&w.barrier);
}

/* Reset once: who waits then is sent away and comes again; it meets the other unless that one has passed. */
static void reset_made_whole(void)
{
    sched_check(!mh_barrier_is_broken(&w.barrier), "whole after reset");
    sched_check(w.passed[0] == 2 && w.broken == 0, "both met in the end");
}

/* ---- the action */

static int act(void *arg)
{
    (void) arg;
    sched_check(w.acting++ == 0, "one action at a time");
    sched_point();
    sched_check(w.passed[0] == 0, "nobody passes before the action is done");
    w.acting--;
    w.actions++;
    return 0;
}

static int act_and_fail(void *arg)
{
    (void) arg;
    sched_point();
    return -EIO;
}

static void with_action(void)
{
    sched_check(mh_barrier_wait(&w.barrier, act, NULL, MH_FOREVER, NULL, NULL) == 0, "passed");
    sched_check(w.actions == 1, "the action was run once");
    w.passed[0]++;
}

static void with_failing_action(void)
{
    int rc = mh_barrier_wait(&w.barrier, act_and_fail, NULL, MH_FOREVER, NULL, NULL);
    w.left += rc == -EIO;
    w.broken += rc == MH_E_BROKEN;
}

static void one_failed(void)
{
    sched_check(w.left == 1 && w.broken == 1 && w.barrier.phase % 2 == 1,
                "one gets the code, the others MH_E_BROKEN");
}

static void with_action_timed(void)
{
    int rc = mh_barrier_wait(&w.barrier, act, NULL, sched_soon(), NULL, NULL);
    w.passed[0] += rc == 0;
    w.left += rc == -ETIMEDOUT;
    w.broken += rc == MH_E_BROKEN;
}

static void two_alike(void)
{
    sched_check(w.passed[0] == 2 || (w.passed[0] == 0 && w.left >= 1 && w.left + w.broken == 2),
                "both pass or neither");
    sched_check(w.left == 0 || w.barrier.phase % 2 == 1, "broken by who left");
}

/* The third comes too late for their meeting, and nobody comes to meet it. */
static void two_of_three(void)
{
    sched_check(w.passed[0] == 2 || w.passed[0] == 0, "two pass or nobody");
}

/* ---- deaths */

static void tell(int rc)
{
    w.result[sched_me()] = rc == 0 ? 1 : rc;
    mh_add_acq_rel(&w.progress, 1);
    mh_wake(&w.progress, 1, 0);
    sched_check(rc == 0 || rc == MH_E_BROKEN, "passed or broken");
}

static void party(void)
{
    tell(mh_barrier_wait(&w.barrier, NULL, NULL, MH_FOREVER, NULL, NULL));
}

static int quiet_action(void *arg)
{
    (void) arg;
    sched_point();
    return 0;
}

static void party_with_action(void)
{
    tell(mh_barrier_wait(&w.barrier, quiet_action, NULL, MH_FOREVER, NULL, NULL));
}

/* Looks after those who wait for a party that died before it arrived: only an abort can help them. */
static void caretaker(void)
{
    for (;;) {
        uint32_t seen = mh_load_acq(&w.progress);
        int open = 0, dead = 0, parties = (int) w.barrier.parties;
        for (int i = 0; i < parties; i++) {
            dead |= sched_dead(i);
            open |= !w.result[i] && !sched_dead(i);
        }
        if (!open) {
            return;
        }
        if (dead && mh_barrier_waiting(&w.barrier)) {
            mh_barrier_abort(&w.barrier);
            return;
        }
        mh_wait(&w.progress, seen, MH_FOREVER, NULL, 0);
    }
}

static void survivors_agree(void)
{
    int passed = 0, broken = 0;
    for (int i = 0; i < (int) w.barrier.parties; i++) {
        passed += w.result[i] == 1 && !sched_dead(i);
        broken += w.result[i] == MH_E_BROKEN && !sched_dead(i);
    }
    sched_check(!passed || !broken, "the survivors all pass, or all know that it broke");
    sched_check(sched_deaths() || passed == (int) w.barrier.parties, "without a death all pass");
}

/* A party that died after it arrived is found by the other, without an abort. */
static int has_arrived(int thread)
{
    int place = 0;
    for (int i = 0; i < MH_BARRIER_PLACES; i++) {
        place |= w.barrier.place[i].word != 0 && w.barrier.place[i].owner == sched_who(thread);
    }
    return place || w.result[thread];
}

static void comes_unless_one_died(void)
{
    while (w.barrier.arrived < 2 && !sched_dead(0) && !w.result[1]) {
        sched_point();
    }
    if (!sched_dead(0)) {
        party();
    } else {
        w.result[2] = MH_E_BROKEN;
    }
}

/* Where A arrived and died before it passed, B must not have passed: it is at this point that they meet. */
static void nobody_meets_the_dead(void)
{
    if (w.met_the_dead) {
        sched_check(0, "a meeting with a dead party");
    }
}

static int note_the_dead(void *arg)
{
    (void) arg;
    w.met_the_dead = sched_dead(0) && !w.result[0] && w.dead_before;
    return 0;
}

static void comes_after_the_dead(void)
{
    while (!sched_dead(0) && !w.result[0] && !mh_barrier_waiting(&w.barrier)) {
        sched_point();
    }
    sched_point();
    w.dead_before = sched_dead(0);
    tell(mh_barrier_wait(&w.barrier, note_the_dead, NULL, MH_FOREVER, NULL, NULL));
}

/* The last one to arrive has a place before that of the one who waits, and dies while it ends the meeting. */
static void shared_two_late_leaver(void)
{
    mh_barrier_init(&w.barrier, 2, 0);
    w.barrier.used = 1;
    w.barrier.place[0].owner = sched_who(2);
    w.barrier.place[0].word = 2;
}

static void late_leaver(void)
{
    while (!mh_barrier_waiting(&w.barrier)) {
        sched_point();
    }
    mh_store_rel(&w.barrier.place[0].word, 0);
    w.left = 1;
}

static void comes_last(void)
{
    while (!w.left) {
        sched_point();
    }
    party();
}

#define SHARED .flags = SCHED_PROCESSES
static const sched_scenario list[] = {
    {.name = "two meet",
     .setup = private_two,
     .thread = {once, once},
     .finish = each_index_once,
     SCHED_MEMORY(w),
     .spurious = 1},
    {.name = "three meet",
     .setup = private_three,
     .thread = {once, once, once},
     .finish = each_index_once,
     SCHED_MEMORY(w)},
    {.name = "two meet twice",
     .setup = private_two,
     .thread = {twice, twice},
     .finish = each_index_twice,
     SCHED_MEMORY(w)},
    {.name = "a party times out",
     .setup = private_two,
     .thread = {patient, impatient},
     .finish = all_or_nobody,
     SCHED_MEMORY(w)},
    {.name = "one of three times out",
     .setup = private_three,
     .thread = {patient, impatient, patient},
     .finish = all_or_nobody,
     SCHED_MEMORY(w)},
    {.name = "abort", .setup = private_two, .thread = {patient, patient, aborter}, SCHED_MEMORY(w)},
    {.name = "reset",
     .setup = private_two,
     .thread = {persistent, persistent, resetter},
     SCHED_MEMORY(w),
     .finish = reset_made_whole},
    {.name = "action", .setup = private_two, .thread = {with_action, with_action}, SCHED_MEMORY(w)},
    {.name = "a failing action",
     .setup = private_two,
     .thread = {with_failing_action, with_failing_action},
     .finish = one_failed,
     SCHED_MEMORY(w)},
    {.name = "a time-out during the action",
     .setup = private_two,
     .thread = {with_action_timed, with_action_timed},
     .finish = two_alike,
     SCHED_MEMORY(w)},
    {.name = "a third during the action",
     .setup = private_two,
     .thread = {with_action_timed, with_action_timed, with_action_timed},
     .finish = two_of_three,
     SCHED_MEMORY(w)},
    {.name = "dropped wakes are noticed",
     .setup = private_two,
     .thread = {once, once},
     SCHED_MEMORY(w),
     .flags = SCHED_DROP_WAKES,
     .fails = "cannot finish"},
    {.name = "shared: two meet",
     .setup = shared_two,
     .thread = {once, once},
     .finish = each_index_once,
     SHARED,
     SCHED_MEMORY(w),
     .spurious = 1},
    {.name = "shared: two meet twice",
     .setup = shared_two,
     .thread = {twice, twice},
     .finish = each_index_twice,
     SHARED,
     SCHED_MEMORY(w)},
    {.name = "shared: a party times out",
     .setup = shared_two,
     .thread = {patient, impatient},
     .finish = all_or_nobody,
     SHARED,
     SCHED_MEMORY(w)},
    {.name = "shared: death of a party",
     .setup = shared_two,
     .thread = {party, party, caretaker},
     SHARED,
     .finish = survivors_agree,
     SCHED_MEMORY(w),
     .deaths = 1,
     .mortal = 3},
    {.name = "shared: death in the action",
     .setup = shared_two,
     .thread = {party_with_action, party_with_action, caretaker},
     .finish = survivors_agree,
     SHARED,
     SCHED_MEMORY(w),
     .deaths = 1,
     .mortal = 3},
    {.name = "shared: a death is found without help",
     .setup = shared_three,
     .thread = {party, party, comes_unless_one_died},
     .finish = survivors_agree,
     SHARED,
     SCHED_MEMORY(w),
     .deaths = 1,
     .mortal = 1,
     .may_die = has_arrived},
    {.name = "shared: nobody meets the dead",
     .setup = shared_two,
     .thread = {party, comes_after_the_dead},
     .finish = nobody_meets_the_dead,
     SHARED,
     SCHED_MEMORY(w),
     .deaths = 1,
     .mortal = 1,
     .may_die = has_arrived},
    {.name = "shared: death while the meeting is being ended",
     .setup = shared_two_late_leaver,
     .thread = {party, comes_last, late_leaver},
     .finish = survivors_agree,
     SHARED,
     SCHED_MEMORY(w),
     .deaths = 1,
     .mortal = 2,
     .may_die = has_arrived},
    {.name = "shared: scarce places",
     .setup = shared_two_scarce,
     .thread = {once_or_again, once_or_again, once_or_again},
     .finish = all_met,
     SHARED,
     SCHED_MEMORY(w),
     .limit = 4000000},
    {.name = "shared: three, a death",
     .setup = shared_three,
     .thread = {party, party, party, caretaker},
     .finish = survivors_agree,
     SHARED,
     SCHED_MEMORY(w),
     .deaths = 1,
     .mortal = 1,
     .limit = 6000000},
};

int main(int argc, char **argv)
{
    return sched_main("barrier", list, (int) (sizeof list / sizeof *list), argc, argv);
}
