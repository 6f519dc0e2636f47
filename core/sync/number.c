/* core/sync/number.c - a 64-bit number that threads and processes change in one step, and can wait on.
 *
 * Bit table of mh_number.changes
 *   0      WAITERS  somebody may sleep on this word. May be set for nothing, must not be left out before a sleep
 *   1..31  how often it was changed while somebody waited
 * Transitions: change: the value first, then WAITERS = 0 and count + 1 if WAITERS was set, and a wake of all (acq_rel);
 *   wait: WAITERS = 1 (acq_rel), then a look at the value, then the sleep.
 *
 * Why no wake is lost: the waiter's step on `changes` and the changer's are both read-modify-writes of one word, hence one
 * comes first. The waiter's: then the changer finds WAITERS, and the waiter does not sleep on a word that has changed, or is
 * woken. The changer's: then the waiter's step acquires what the changer's released, the new value, and does not sleep.
 * A changer that dies between value and wake costs shared waiters a slice; private ones cannot outlive it.
 */
#include <manyhands/number.h>

#include <errno.h>

#include "core/os/os.h"
#include "core/sync/wait.h"

_Static_assert(sizeof(mh_number) == 16, "part of the shared layout");

#define WAITERS 1u
#define ONE 2u

void mh_number_init(mh_number *number, int64_t value, unsigned flags)
{
    number->flags = flags & MH_PRIVATE;
    mh_store_rlx(&number->changes, 0u);
    mh_store_rel(&number->value, value); /* pairs with the load below: the rest is there */
}

int64_t mh_number_get(const mh_number *number)
{
    return mh_load_acq(&number->value); /* pairs with the changes */
}

/* The value is new: let waiters look. */
static void tell(mh_number *number)
{
    int shared = !(number->flags & MH_PRIVATE); /* a waiter that is let go may free the memory */
    uint32_t word = mh_load_rlx(&number->changes), next;
    do {
        next = word & WAITERS ? (word & ~WAITERS) + ONE : word;
    } while (!mh_cas_acq_rel(&number->changes, &word, next)); /* pairs with mh_number_wait */
    if (word & WAITERS) {
        mh_os_futex_wake(&number->changes, INT32_MAX, shared);
    }
}

int64_t mh_number_exchange(mh_number *number, int64_t value)
{
    int64_t old = mh_xchg_acq_rel(&number->value, value);
    tell(number);
    return old;
}

int mh_number_add(mh_number *number, int64_t by, int64_t *sum)
{
    int64_t old = mh_load_rlx(&number->value), next;
    do {
        if (by > 0 ? old > INT64_MAX - by : old < INT64_MIN - by) {
            return -EOVERFLOW;
        }
        next = old + by;
    } while (!mh_cas_acq_rel(&number->value, &old, next));
    tell(number);
    if (sum != NULL) {
        *sum = next;
    }
    return 0;
}

int mh_number_compare_exchange(mh_number *number, int64_t *expected, int64_t value)
{
    if (!mh_cas_acq_rel(&number->value, expected, value)) {
        return 0;
    }
    tell(number);
    return 1;
}

/* A sleep on the word is about to begin; returns what the word is then. */
static uint32_t announce(mh_number *number)
{
    uint32_t word = mh_load_rlx(&number->changes);
    while (!mh_cas_acq_rel(&number->changes, &word, word | WAITERS)) { /* pairs with tell() */
    }
    return word | WAITERS;
}

int mh_number_wait(mh_number *number, int64_t seen, int64_t *value, mh_deadline deadline, mh_cancel *cancel)
{
    int rc = 0;
    int64_t now = mh_load_acq(&number->value);
    while (now == seen && rc >= 0) { /* above 0: a slice is over */
        uint32_t word = announce(number);
        now = mh_load_acq(&number->value); /* pairs with the changes */
        if (now == seen) {
            rc = mh__wait(&number->changes, word, deadline, cancel, number->flags & MH_PRIVATE);
            now = mh_load_acq(&number->value);
        }
    }
    if (now == seen) {
        return rc;
    }
    if (value != NULL) {
        *value = now;
    }
    return 0;
}
