/* manyhands/robust_sem.h - a semaphore between processes that knows who has its permits.
 *
 *   mh_robust_sem *seats = shared_memory(mh_robust_sem_size(3));
 *   mh_robust_sem_init(seats, 3);                        // three at a time
 *   int rc = mh_robust_sem_acquire(seats, MH_FOREVER, NULL);
 *   if (rc < 0) return rc;                               // no permit
 *   if (rc == MH_OWNER_DIED) tidy_up();                  // a permit, and it is that of a process that died with it
 *   work();
 *   mh_robust_sem_release(seats);
 *
 * A permit belongs to the process that acquired it, whichever thread did. Only that process may release it, so there are never
 * more than at the beginning. What a process had when it died comes back: whoever waits looks for the dead every 50 ms to 1 s
 * and before it gives up. Who knows no holders and may be posted by anyone is mh_sem.
 */
#ifndef MANYHANDS_ROBUST_SEM_H
#define MANYHANDS_ROBUST_SEM_H

#include "deadline.h"
#include "error.h"
#include "wait.h"

MH_BEGIN_DECLS

#define MH_ROBUST_SEM_MAX 4096 /* permits */

typedef struct mh_robust_sem {
    MH_ATOMIC(uint32_t) changes; /* one more with each release: what waiters sleep on */
    MH_ATOMIC(uint32_t) waiters; /* how many have said so; those killed in the wait stay counted */
    uint32_t permits;
    uint32_t reserved;
    MH_ATOMIC(uint64_t) died; /* permits that came back from the dead */
    MH_ATOMIC(uint64_t)
    holder; /* of the first permit, 0: it is free; those of the others follow the struct */
} mh_robust_sem;

/* Bytes for one with so many permits.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: nothing
 * shared */
MH_API size_t mh_robust_sem_size(uint32_t permits);

/* Make one with `permits` free permits in mh_robust_sem_size(permits) bytes. Nobody may be waiting for it. 0; -EINVAL where
 * permits is 0 or above MH_ROBUST_SEM_MAX, and nothing is written.
 * Safety: MT-owner PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: as if
 * never called */
MH_API int mh_robust_sem_init(mh_robust_sem *sem, uint32_t permits);

/* Wait for a permit and take it (acquire). 0; MH_OWNER_DIED (taken, from a process that died with it); -ETIMEDOUT,
 * -ECANCELED, -EINTR: not taken. MH_AT_ONCE tries.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death: its permits
 * come back; killed in the wait it takes none, and costs others at most a slice */
MH_API int mh_robust_sem_acquire(mh_robust_sem *sem, mh_deadline deadline, mh_cancel *cancel);

/* Give a permit of this process back (release), and wake one waiter. 0; -EPERM where this process has none.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: held or
 * given back; killed before the wake, a waiter goes on after a slice */
MH_API int mh_robust_sem_release(mh_robust_sem *sem);

/* How many permits are free; how many this process has; how many came back from the dead so far. Out of date when you read
 * it.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: what the
 * dead had is not free before somebody asks for it */
MH_API uint32_t mh_robust_sem_value(mh_robust_sem *sem);
MH_API uint32_t mh_robust_sem_held(mh_robust_sem *sem);
MH_API uint64_t mh_robust_sem_died(const mh_robust_sem *sem);

MH_END_DECLS
#endif
