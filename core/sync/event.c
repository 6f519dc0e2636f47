/* core/sync/event.c - a flag that can be waited for.
 *
 * Bit table of mh_event.word
 *   0      SET
 *   1      WAITERS  somebody may sleep on the word. May be set for nothing, must not be left out before a
 *                   sleep
 *   2..31  how often set() turned it on: a waiter whose count is old was there when set() came, whatever
 *          clear() did since. It would have to sleep through exactly 2^30 of them to miss one
 * Transitions: set: SET = 1, count + 1, WAITERS = 0, wake all if WAITERS was set (release); where it is set
 * already: the same
 *   word again, so that it still releases; clear: SET = 0; wait: WAITERS = 1 before the sleep.
 * A setter that dies before its wake costs shared waiters a slice; private ones cannot outlive it.
 */
#include <manyhands/event.h>

#include "core/os/os.h"
#include "core/sync/wait.h"

_Static_assert(sizeof(mh_event) == 8, "part of the shared layout");

#define SET 1u
#define WAITERS 2u
#define ONE 4u

void mh_event_init(mh_event *event, unsigned flags)
{
    event->flags = flags & MH_PRIVATE;
    mh_store_rel(&event->word, 0); /* pairs with the loads below: `flags` is there */
}

void mh_event_set(mh_event *event)
{
    int shared = !(event->flags & MH_PRIVATE); /* a waiter that is let go may free the memory */
    uint32_t word = mh_load_rlx(&event->word), next;
    do {
        next = word & SET ? word : ((word & ~WAITERS) | SET) + ONE;
    } while (!mh_cas_rel(&event->word, &word, next)); /* pairs with mh_event_wait and mh_event_is_set */
    if ((word & (SET | WAITERS)) == WAITERS) {
        mh_os_futex_wake(&event->word, INT32_MAX, shared);
    }
}

void mh_event_clear(mh_event *event)
{
    mh_and_acq_rel(&event->word, ~SET);
}

int mh_event_is_set(const mh_event *event)
{
    return (mh_load_acq(&event->word) & SET) != 0; /* pairs with mh_event_set */
}

int mh_event_has_waiters(const mh_event *event)
{
    return (mh_load_rlx(&event->word) & WAITERS) != 0; /* a hint: nothing is ordered by it */
}

int mh_event_wait(mh_event *event, mh_deadline deadline, mh_cancel *cancel)
{
    uint32_t word = mh_load_acq(&event->word); /* pairs with mh_event_set */
    uint32_t first = word;
    while (!(word & SET) && (word ^ first) < ONE) {
        if (!(word & WAITERS) && !mh_cas_acq(&event->word, &word, word | WAITERS)) {
            continue;
        }
        int rc = mh__wait(&event->word, word | WAITERS, deadline, cancel, event->flags & MH_PRIVATE);
        word = mh_load_acq(&event->word); /* pairs with mh_event_set */
        if (rc < 0) {
            return (word & SET) || (word ^ first) >= ONE ? 0 : rc;
        }
    }
    return 0;
}
