/* Barrier: parties gather under a guard; the last one ends the meeting for all of them.
 *
 * Each waiting party has a word of its own that says how its meeting ended, so one that is slow to wake may
 * still read it when the next meeting is over, and no phase of draining is needed. Private: in a ticket on
 * its stack. Shared: in a place in the object, with the party's identity, so that its death can be found.
 *
 * A party's word:
 *   FREE    0  nobody's place
 *   WAITING 1  has arrived (also the last one, while it runs the action)
 *   PASSED  2  all were here
 *   BROKEN  3  the meeting was broken off
 *   ASLEEP  5  (private) WAITING, and about to sleep: the end has to wake it
 * Transitions: FREE -> WAITING (arrive), WAITING or ASLEEP -> PASSED or BROKEN (end), both under the guard;
 * WAITING -> ASLEEP by the party itself without it, so either the end sees that it sleeps or the party that
 * the meeting is over; PASSED or BROKEN -> FREE by the party itself without the guard, or by a sweep, under
 * it, that found the party dead.
 *
 * phase: bit 0      BROKEN_BIT: the barrier is broken until reset
 *        bits 1-31  counts ends of meetings, so that sleepers see a change; may wrap, since who wakes
 *                   looks at its own word
 *
 * ending: 0, or how the meeting is being ended. It is written first, so that whoever repairs after the
 * death of the one who was doing it can complete it: either all parties pass or all are broken off, never
 * some of each.
 *
 * The futex wake may be lost with a process that dies before it: shared waits look again by themselves.
 */
#include "core/os/os.h"
#include "core/os/tls.h"
#include "section.h"
#include "spin.h"
#include "wait.h"

#include <manyhands/barrier.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

enum { FREE, WAITING, PASSED, BROKEN, ASLEEP = WAITING | 4 };
enum { PASS = 1, BREAK, RESET }; /* how a meeting ends */
#define BROKEN_BIT 1u
#define MEETING 2u
#define LOOK_NS 50 /* between two looks at a word of one's own, which costs nobody else anything */

typedef struct ticket {
    struct ticket *next;
    MH_ATOMIC(uint32_t) word;
    MH_ATOMIC(uint32_t) *mine; /* this word, or that of the place */
    int core;                  /* on which the party arrived */
    int apart;                 /* told at the end: they did not all arrive on the same */
} ticket;

_Static_assert(sizeof(mh_barrier_place) == 16, "part of the shared layout");
_Static_assert(offsetof(mh_barrier, place) + sizeof(mh_barrier_place) * MH_BARRIER_PLACES ==
                   sizeof(mh_barrier),
               "no gap");

static int is_private(const mh_barrier *barrier)
{
    return (barrier->flags & MH_PRIVATE) != 0;
}

static mh_barrier_place *place(mh_barrier *barrier, uint32_t i)
{
    return (mh_barrier_place *) (void *) ((char *) barrier + offsetof(mh_barrier, place)) + i;
}

/* Places from here on were never taken; a private barrier has none. */
static uint32_t used(mh_barrier *barrier)
{
    return mh_load_acq(&barrier->used); /* pairs with the store in free_place */
}

size_t mh_barrier_size(uint32_t parties)
{
    size_t extra = parties > MH_BARRIER_PLACES ? parties - MH_BARRIER_PLACES : 0;
    return sizeof(mh_barrier) + extra * sizeof(mh_barrier_place);
}

int mh_barrier_init(mh_barrier *barrier, uint32_t parties, unsigned flags)
{
    int alone = (flags & MH_PRIVATE) != 0;
    if (parties == 0) {
        return -EINVAL;
    }
    memset(barrier, 0, alone ? sizeof *barrier : mh_barrier_size(parties));
    mh_lock_init(&barrier->guard, flags & MH_PRIVATE);
    barrier->parties = parties;
    barrier->flags = flags & MH_PRIVATE;
    barrier->places = parties > MH_BARRIER_PLACES ? parties : MH_BARRIER_PLACES;
    return 0;
}

/* ---- under the guard */

static int are_apart(const ticket *first)
{
    const ticket *t = first;
    while (t && t->core == first->core) {
        t = t->next;
    }
    return t != NULL;
}

/* 1 where somebody sleeps who has to be woken. */
static int end_tickets(mh_barrier *barrier, uint32_t outcome)
{
    ticket *t = barrier->first;
    int asleep = 0, apart = are_apart(t);
    barrier->first = NULL;
    while (t) {
        ticket *next = t->next; /* read first: once it knows its outcome, its stack may be gone */
        t->apart = apart;
        asleep |= mh_xchg_rel(&t->word, outcome) == ASLEEP; /* pairs with the loads in wait_for_end */
        t = next;
    }
    return asleep;
}

static void end_places(mh_barrier *barrier, uint32_t outcome)
{
    for (uint32_t i = 0, n = used(barrier); i < n; i++) {
        if (mh_load_rlx(&place(barrier, i)->word) == WAITING) {
            mh_store_rel(&place(barrier, i)->word, outcome); /* pairs with the loads in wait_for_end */
        }
    }
}

/* The end of a meeting. The first store decides it, the rest may be done by whoever repairs. 0 where no party sleeps, which
 * only a private barrier knows. */
static int end(mh_barrier *barrier, uint32_t how)
{
    uint32_t outcome = how == PASS ? PASSED : BROKEN;
    mh_store_rlx(&barrier->ending, how); /* stays before the release stores below */
    int asleep = end_tickets(barrier, outcome) || !is_private(barrier);
    end_places(barrier, outcome);
    mh_store_rel(&barrier->arrived, 0);
    uint32_t next = (mh_load_rlx(&barrier->phase) & ~BROKEN_BIT) + MEETING;
    mh_store_rel(&barrier->phase, next | (how == BREAK ? BROKEN_BIT : 0)); /* pairs with the loads of phase */
    mh_store_rel(&barrier->ending, 0);
    return asleep;
}

static void repair(mh_barrier *barrier)
{
    uint32_t count = 0, ending = mh_load_rlx(&barrier->ending);
    if (ending) {
        end(barrier, ending);
        return;
    }
    for (uint32_t i = 0, n = used(barrier); i < n; i++) {
        count += mh_load_rlx(&place(barrier, i)->word) == WAITING;
    }
    mh_store_step(&barrier->arrived, count);
}

/* Private, and under the guard. In a forked child the other parties are gone, and their stacks are used anew. */
static void forget_parents(mh_barrier *barrier)
{
    uint32_t forks = mh_os_forks();
    if (barrier->forks != forks) {
        barrier->forks = forks;
        barrier->first = NULL;
        mh_store_step(&barrier->arrived, 0);
    }
}

static void enter(mh_barrier *barrier)
{
    if (mh__section_enter(&barrier->guard) == MH_OWNER_DIED) {
        repair(barrier);
    }
    if (is_private(barrier)) {
        forget_parents(barrier);
    }
}

static void leave(mh_barrier *barrier)
{
    mh__section_leave(&barrier->guard);
}

static void wake(mh_barrier *barrier)
{
    mh_wake(&barrier->phase, INT_MAX, barrier->flags);
}

static void leave_and_wake(mh_barrier *barrier)
{
    leave(barrier);
    wake(barrier);
}

static int is_dead(mh_barrier *barrier, uint32_t i)
{
    return !mh_os_alive(mh_load_rlx(&place(barrier, i)->owner));
}

/* 1 where a party that is waiting, other than the caller's process, is dead. */
static int somebody_died(mh_barrier *barrier)
{
    for (uint32_t i = 0, n = used(barrier); i < n; i++) {
        if (mh_load_acq(&place(barrier, i)->word) != WAITING ||
            mh_load_rlx(&place(barrier, i)->owner) == mh_os_self()) {
            continue;
        }
        if (is_dead(barrier, i) && mh_load_acq(&place(barrier, i)->word) == WAITING) {
            return 1;
        }
    }
    return 0;
}

/* The places of those who died between the end of their meeting and leaving it. */
static void sweep(mh_barrier *barrier)
{
    for (uint32_t i = 0, n = used(barrier); i < n; i++) {
        if (mh_load_rlx(&place(barrier, i)->word) > WAITING && is_dead(barrier, i)) {
            mh_store_rlx(&place(barrier, i)->word, FREE);
        }
    }
}

static mh_barrier_place *free_place(mh_barrier *barrier)
{
    uint32_t n = used(barrier);
    for (uint32_t i = 0; i < n; i++) {
        if (mh_load_acq(&place(barrier, i)->word) == FREE) { /* pairs with the store in give_back */
            return place(barrier, i);
        }
    }
    if (n == barrier->places) {
        return NULL;
    }
    mh_store_rel(&barrier->used, n + 1); /* its word is FREE still; pairs with used() */
    return place(barrier, n);
}

/* No place is free: parties of past meetings have not woken up yet. Announce it, then look again: either we
 * see the place that one of them gives back, or it sees that we starve. */
static mh_barrier_place *scarce_place(mh_barrier *barrier)
{
    sweep(barrier);
    mh_store_seq(&barrier->starved, 1);
    mh_fence_seq();
    return free_place(barrier);
}

/* 1 where the caller has become a party of the coming meeting. */
static int join(mh_barrier *barrier, ticket *me)
{
    uint32_t arrived = mh_load_rlx(&barrier->arrived);
    if (arrived == barrier->parties) { /* an action is running */
        return 0;
    }
    if (is_private(barrier)) {
        me->mine = &me->word;
        me->core = mh_os_core();
        mh_store_rlx(me->mine, WAITING);
        me->next = barrier->first;
        barrier->first = me;
    } else {
        mh_barrier_place *mine = free_place(barrier);
        if (!mine) {
            mine = scarce_place(barrier);
        }
        if (!mine) {
            return 0;
        }
        mh_store_rlx(&mine->owner, mh_os_self());
        mh_store_rel(&mine->word,
                     WAITING); /* the owner is there for whoever sees this: pairs with the sweeps */
        me->mine = &mine->word;
    }
    mh_store_step(&barrier->arrived, arrived + 1);
    return 1;
}

/* ---- a party's way */

/* Give the place back; the word of a ticket is nobody else's by now. */
static void give_back(mh_barrier *barrier, ticket *me)
{
    if (is_private(barrier)) {
        return;
    }
    mh_store_seq(me->mine, FREE); /* pairs with the load in free_place */
    mh_fence_seq();
    if (!mh_load_seq(&barrier->starved)) {
        return;
    }
    enter(barrier);
    mh_store_rlx(&barrier->starved, 0);
    /* let those who starve look again; pairs with the load in wait_for_end */
    mh_store_rel(&barrier->phase, mh_load_rlx(&barrier->phase) + MEETING);
    leave_and_wake(barrier);
}

static int outcome_of(mh_barrier *barrier, ticket *me)
{
    int passed = mh_load_acq(me->mine) == PASSED; /* pairs with end_tickets and end_places */
    if (is_private(barrier)) {
        mh__tls()->meets_on_one_core = !me->apart;
    }
    give_back(barrier, me);
    return passed ? 0 : MH_E_BROKEN;
}

/* After a slice of a shared wait: a meeting with a dead party will never be complete. Entering alone completes what a
 * death in the guard left half done. */
static void look_after(mh_barrier *barrier)
{
    enter(barrier);
    if (somebody_died(barrier)) {
        end(barrier, BREAK);
    }
    leave_and_wake(barrier);
}

/* The caller leaves before the meeting is complete: broken for all. */
static void walk_out(mh_barrier *barrier)
{
    enter(barrier);
    if (!(mh_load_rlx(&barrier->phase) & BROKEN_BIT)) {
        end(barrier, BREAK);
    }
    leave_and_wake(barrier);
}

static int is_waiting(const ticket *me)
{
    return (mh_load_acq(me->mine) & 3) == WAITING; /* pairs with end_tickets and end_places */
}

/* The others may be about to arrive: where each party has a core to run on, and they did not all come on the same one the
 * last time. There nobody arrives while the caller looks. */
static int worth_a_spin(const mh_barrier *barrier)
{
    return is_private(barrier) && barrier->parties <= (uint32_t) mh_os_cores() &&
           !mh__tls()->meets_on_one_core;
}

/* 1 where the meeting ended meanwhile. */
static int spin(const mh_barrier *barrier, const ticket *me)
{
    struct mh__spin spin;
    int ended = 0;
    if (!worth_a_spin(barrier) || !mh__spin_begin_at_gate(&spin, &mh__tls()->barrier_spin, LOOK_NS)) {
        return 0;
    }
    do {
        ended = !is_waiting(me);
    } while (!ended && mh__spin_on(&spin));
    return mh__spin_end(&spin, ended);
}

/* The word that is slept on was read before; a shared party is always woken. */
static void fall_asleep(const mh_barrier *barrier, ticket *me)
{
    uint32_t waiting = WAITING;
    if (is_private(barrier)) {
        (void) mh_cas_rlx(me->mine, &waiting, ASLEEP); /* where it fails, the phase is another, or will be */
    }
}

static int wait_for_end(mh_barrier *barrier, ticket *me, mh_deadline deadline, mh_cancel *cancel)
{
    if (deadline > MH_AT_ONCE && spin(barrier, me)) {
        return outcome_of(barrier, me);
    }
    for (;;) {
        uint32_t seen = mh_load_acq(&barrier->phase); /* before our word, which is written before it */
        fall_asleep(barrier, me);
        if (!is_waiting(me)) {
            return outcome_of(barrier, me);
        }
        int rc = mh__wait(&barrier->phase, seen, deadline, cancel, barrier->flags);
        if (rc == MH__SLICE) {
            look_after(barrier);
        }
        if (rc >= 0) {
            continue;
        }
        enter(barrier);
        int left = is_waiting(me);
        if (left) {
            end(barrier, BREAK);
        }
        leave_and_wake(barrier);
        int outcome = outcome_of(barrier, me);
        return left ? rc : outcome;
    }
}

/* All are here, and the guard is held: run the action without it, then let all go. */
static int complete(mh_barrier *barrier, ticket *me, int (*action)(void *), void *arg)
{
    int rc = 0, asleep = 1; /* perhaps: also those who have come during the action, and have no ticket */
    if (somebody_died(barrier)) {
        end(barrier, BREAK);
    } else if (!action) {
        asleep = end(barrier, PASS);
    } else {
        leave(barrier);
        rc = action(arg);
        enter(barrier);
        if (mh_load_acq(me->mine) == WAITING) { /* else it was broken meanwhile */
            end(barrier, rc < 0 ? BREAK : PASS);
            /* in no list, where the action forked; pairs with the loads of this word */
            mh_store_rel(me->mine, rc < 0 ? BROKEN : PASSED);
        }
    }
    leave(barrier);
    if (asleep) {
        wake(barrier);
    }
    int outcome = outcome_of(barrier, me);
    return rc < 0 ? rc : outcome;
}

/* Become a party; on success the guard is held. */
static int arrive(mh_barrier *barrier, ticket *me, mh_deadline deadline, mh_cancel *cancel)
{
    for (;;) {
        enter(barrier);
        uint32_t seen = mh_load_rlx(&barrier->phase);
        if (seen & BROKEN_BIT) {
            leave(barrier);
            return MH_E_BROKEN;
        }
        if (join(barrier, me)) {
            return 0;
        }
        leave(barrier);
        int rc = mh__wait(&barrier->phase, seen, deadline, cancel, barrier->flags);
        if (rc < 0) {
            walk_out(barrier);
            return rc;
        }
        if (rc == MH__SLICE) {
            look_after(barrier);
        }
    }
}

/* A barrier of one is always complete. */
static int alone(mh_barrier *barrier, int (*action)(void *), void *arg)
{
    if (mh_load_acq(&barrier->phase) & BROKEN_BIT) {
        return MH_E_BROKEN;
    }
    int rc = action ? action(arg) : 0;
    if (rc < 0) {
        mh_barrier_abort(barrier);
    }
    return rc < 0 ? rc : 0;
}

int mh_barrier_wait(mh_barrier *barrier, int (*action)(void *), void *arg, mh_deadline deadline,
                    mh_cancel *cancel, uint32_t *index)
{
    ticket me = {.core = -1};
    uint32_t mine = 0;
    int rc;
    if (barrier->parties == 0) {
        return -EINVAL;
    }
    if (barrier->parties == 1) {
        rc = alone(barrier, action, arg);
    } else {
        rc = arrive(barrier, &me, deadline, cancel);
        if (rc < 0) {
            return rc;
        }
        mine = mh_load_rlx(&barrier->arrived) - 1;
        if (mine + 1 == barrier->parties) {
            rc = complete(barrier, &me, action, arg);
        } else {
            leave(barrier);
            rc = wait_for_end(barrier, &me, deadline, cancel);
        }
    }
    if (rc == 0 && index) {
        *index = mine;
    }
    return rc;
}

void mh_barrier_abort(mh_barrier *barrier)
{
    enter(barrier);
    end(barrier, BREAK);
    leave_and_wake(barrier);
}

void mh_barrier_reset(mh_barrier *barrier)
{
    enter(barrier);
    end(barrier, RESET);
    leave_and_wake(barrier);
}

int mh_barrier_is_broken(const mh_barrier *barrier)
{
    return (mh_load_acq(&((mh_barrier *) (uintptr_t) barrier)->phase) & BROKEN_BIT) != 0;
}

uint32_t mh_barrier_waiting(const mh_barrier *barrier)
{
    return mh_load_rlx(&((mh_barrier *) (uintptr_t) barrier)->arrived);
}
