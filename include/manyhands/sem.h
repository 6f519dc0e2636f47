/* manyhands/sem.h - counting semaphore, bounded or not.
 *
 *   mh_sem slots;
 *   mh_sem_init(&slots, 3, 3, MH_PRIVATE);      // three at a time; a fourth post is a mistake
 *   if (mh_sem_acquire(&slots, MH_FOREVER, NULL) == 0) { work(); mh_sem_post(&slots, 1); }
 *
 * It has no owner: anyone may post. Permits that a process had when it died are lost. All-zero is valid:
 * process-shared, no permits, no bound.
 */
#ifndef MANYHANDS_SEM_H
#define MANYHANDS_SEM_H

#include "deadline.h"
#include "error.h"
#include "wait.h"

MH_BEGIN_DECLS

#define MH_SEM_MAX 0x7fffffffu /* the largest value */

typedef struct mh_sem {
    MH_ATOMIC(uint64_t) word; /* bit table: core/sync/sem.c */
    uint32_t max;             /* 0 means MH_SEM_MAX */
    uint32_t flags;           /* MH_PRIVATE or 0 */
} mh_sem;

/* Give it `value` permits, at most `max` ever (0: MH_SEM_MAX). Nobody may be waiting for it. 0; -EINVAL
 * where value > max or max > MH_SEM_MAX, and nothing is written.
 * Safety: MT-owner PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API int mh_sem_init(mh_sem *sem, uint32_t value, uint32_t max, unsigned flags);

/* Wait for a permit and take it. What its poster did before is seen (acquire). 0, -ETIMEDOUT, -ECANCELED,
 * -EINTR. Who took the last permit may free the memory, even if the poster has not returned yet.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death: a permit
 * goes with the process that took it; killed in the wait it takes none, and costs others at most a slice */
MH_API int mh_sem_acquire(mh_sem *sem, mh_deadline deadline, mh_cancel *cancel);

/* The same at once: 0, -EBUSY.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: as
 * acquire */
MH_API int mh_sem_try_acquire(mh_sem *sem);

/* Add `count` permits (release), and wake as many waiters. Past the maximum nothing is done: `post` panics,
 * `try_post` returns -EOVERFLOW, else 0.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: all
 * `count` permits are there or none; killed before the wake, waiters go on after a slice */
MH_API void mh_sem_post(mh_sem *sem, uint32_t count);
MH_API int mh_sem_try_post(mh_sem *sem, uint32_t count);

/* How many permits are free. Out of date when you read it.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API uint32_t mh_sem_value(const mh_sem *sem);

MH_END_DECLS
#endif
