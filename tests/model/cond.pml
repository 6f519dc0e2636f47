/* The hand-over of a shared condition (core/sync/cond.c), beyond the two threads of tests/core/sched: two waiters and a
 * notifier of one wake, each of which may be killed between any two steps. Each step of the model is one atomic access,
 * or one turn under the guard (whose own death is tests/core/sched's matter).
 *
 * A sleeper is let go on by the wake, or after a slice; a slice is worth a step only where it finds something, so that a
 * state in which somebody sleeps for ever is an end of the run that is no proper one, which SPIN reports.
 *
 * Broken: NO_PASSING  the wake of a dead waiter is not passed on
 *         NO_SLICES   a sleeper relies on the wake alone
 *         PLAIN_FREE  a waiter that gives up frees its place without looking whether it was notified
 */
#define FREE 0
#define WAITING 1
#define NOTIFIED 2

byte node[2], order[2];
bool asleep[2], dead[2], wants[2];
byte came, given, taken, lost_with_notifier, next;
bool notifier_done;

#define mine node[me]
#define other (1 - me)

inline pass_on() {
    /* under the guard: what was given to a dead one goes to the first who waits */
    d_step {
        if
        :: dead[other] && node[other] == NOTIFIED ->
            node[other] = FREE;
            if
            :: mine == WAITING -> mine = NOTIFIED
            :: else -> given--            /* nobody waits: as a notify that finds nobody */
            fi
        :: dead[other] && node[other] == WAITING -> node[other] = FREE
        :: else
        fi
    }
}

proctype waiter(byte me; bool mortal; bool may_give_up)
{
    d_step { mine = WAITING; order[me] = next; next++; came++ }
    do
    :: mortal -> dead[me] = true; goto gone
    :: atomic { mine == WAITING -> asleep[me] = true }
        if
        :: !asleep[me]                                            /* woken */
        :: mortal -> dead[me] = true; goto gone
#ifndef NO_SLICES
        :: mine != WAITING -> asleep[me] = false                  /* a slice: the wake never came */
#ifndef NO_PASSING
        :: dead[other] && node[other] != FREE -> asleep[me] = false; pass_on()
#endif
#endif
        :: notifier_done && given == 0 && !(dead[other] && node[other] != FREE) && mine == WAITING ->
            d_step { asleep[me] = false; mine = FREE }; goto gone /* nothing is to come: the test ends it */
        :: may_give_up ->
            asleep[me] = false;
#ifdef PLAIN_FREE
            mine = FREE; goto gone
#else
            atomic {
                if
                :: mine == WAITING -> mine = FREE; goto gone      /* -ETIMEDOUT */
                :: else                                            /* it is the notify that counts */
                fi
            }
#endif
        fi
    :: atomic { mine == NOTIFIED -> mine = FREE; taken++; given-- }; goto gone
    od;
gone:
    skip
}

proctype notifier(bool mortal)
{
    byte first = 2;
    came == 2;
    d_step {                                /* under the guard: the first in line is chosen and marked */
        if
        :: node[0] == WAITING && (node[1] != WAITING || order[0] < order[1]) -> first = 0
        :: node[1] == WAITING && (node[0] != WAITING || order[1] < order[0]) -> first = 1
        :: else
        fi;
        if
        :: first < 2 -> node[first] = NOTIFIED; given++
        :: else
        fi
    }
    if
    :: mortal                               /* killed between the mark and the wake */
    :: first < 2 -> asleep[first] = false
    :: first == 2
    fi;
    notifier_done = true
}

init {
    bool a, b, n, t;
    if :: a = true :: a = false fi;
    b = !a;                                  /* one of the waiters may die: with both dead there is nobody to serve */
    if :: n = true :: n = false fi;
    if :: t = true :: t = false fi;
    atomic { run waiter(0, a, t); run waiter(1, b, false); run notifier(n) }
    _nr_pr == 1;
    assert(taken <= 1);
    assert(given == 0 || dead[0] || dead[1]) /* a wake stays with a dead one only where nobody waits any more */
}
