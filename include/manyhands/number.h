/* manyhands/number.h - a 64-bit number that threads and processes change in one step, and can wait on.
 *
 *   static mh_number jobs;                                  // all-zero: process-shared, 0
 *   int64_t left;
 *   mh_number_add(&jobs, 3, NULL);                          // one side
 *   if (mh_number_add(&jobs, -1, &left) == 0 && left == 0)  // the other: exactly one sees the 0
 *       finish();
 *   mh_number_wait(&jobs, 3, &left, MH_FOREVER, NULL);      // until it is something else than 3
 *
 * Every change is a release, every look an acquire: who sees a value sees what was written before it.
 */
#ifndef MANYHANDS_NUMBER_H
#define MANYHANDS_NUMBER_H

#include "deadline.h"
#include "error.h"
#include "wait.h"

MH_BEGIN_DECLS

typedef struct mh_number {
    MH_ATOMIC(int64_t) value;
    MH_ATOMIC(uint32_t) changes; /* bit table: core/sync/number.c */
    uint32_t flags;              /* MH_PRIVATE or 0 */
} mh_number;

/* Make it `value`. Nobody may be waiting on it.
 * Safety: MT-owner PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API void mh_number_init(mh_number *number, int64_t value, unsigned flags);

/* The value (acquire).
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API int64_t mh_number_get(const mh_number *number);

/* Make it `value`; returns what it was. Wakes all who wait on it.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: the
 * whole change or none; killed before the wake, waiters go on after a slice */
MH_API int64_t mh_number_exchange(mh_number *number, int64_t value);

/* Add `by`. 0, and the sum in *sum (NULL: not wanted); -EOVERFLOW where that does not fit 64 bits: nothing changed.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: as
 * mh_number_exchange */
MH_API int mh_number_add(mh_number *number, int64_t by, int64_t *sum);

/* Make it `value` if it is *expected: 1. Else 0, and *expected is what was found.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: as
 * mh_number_exchange */
MH_API int mh_number_compare_exchange(mh_number *number, int64_t *expected, int64_t value);

/* Wait until it is seen to be something else than `seen`. 0, and what it was then in *value (NULL: not wanted);
 * -ETIMEDOUT, -ECANCELED, -EINTR. A value that comes and goes while the waiter sleeps may pass unseen.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death: nobody
 * owns a number; a dead waiter is not missed */
MH_API int mh_number_wait(mh_number *number, int64_t seen, int64_t *value, mh_deadline deadline,
                          mh_cancel *cancel);

MH_END_DECLS
#endif
