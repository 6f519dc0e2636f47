/* manyhands/lock.h - mutual exclusion: a lock that knows its owner, and says so when the owner died.
 *
 *   static mh_lock lock;                              // all-zero: process-shared, unlocked
 *   int rc = mh_lock_acquire(&lock, mh_in_ms(100), NULL);
 *   if (rc < 0) return rc;                            // not held
 *   if (rc == MH_OWNER_DIED) repair(data);            // held; the last owner was killed inside
 *   ...
 *   mh_lock_release(&lock);
 *
 * The owner of a shared lock is a process (any of its threads, or any other process, may release it); the owner of a
 * private one is a thread, recorded for information. Barging, not FIFO: an arriving thread may overtake sleepers.
 */
#ifndef MANYHANDS_LOCK_H
#define MANYHANDS_LOCK_H

#include "deadline.h"
#include "error.h"
#include "wait.h"

MH_BEGIN_DECLS

typedef struct mh_lock {
    MH_ATOMIC(uint64_t) word; /* bit table: core/sync/lock.c */
    uint32_t flags;           /* MH_PRIVATE or 0 */
    MH_ATOMIC(uint32_t) spin; /* how long spinning has paid lately */
} mh_lock;

MH_API void mh_lock_init(mh_lock *lock, unsigned flags);
/* 0, MH_OWNER_DIED (held), -ETIMEDOUT, -ECANCELED, -EINTR */
MH_API int mh_lock_acquire(mh_lock *lock, mh_deadline deadline, mh_cancel *cancel);
/* 0, MH_OWNER_DIED (held), -EBUSY */
MH_API int mh_lock_try_acquire(mh_lock *lock);
/* Panics where the lock is not locked. */
MH_API void mh_lock_release(mh_lock *lock);
/* 0, or -EPERM where it is not locked. */
MH_API int mh_lock_try_release(mh_lock *lock);
/* Release a lock that was acquired with MH_OWNER_DIED and is not repaired: the next acquirer is told again. */
MH_API void mh_lock_abandon(mh_lock *lock);
MH_API int mh_lock_is_locked(const mh_lock *lock);
/* The owner's id (process id if shared, thread id if private), 0 where unlocked. */
MH_API int mh_lock_owner(const mh_lock *lock);

/* Recursive lock: owned by one thread of one process, which may acquire it again. */
typedef struct mh_rlock {
    mh_lock lock;
    uint32_t reserved;
    uint32_t depth; /* touched by the owner only */
} mh_rlock;

MH_API void mh_rlock_init(mh_rlock *lock, unsigned flags);
/* 0, MH_OWNER_DIED (held, depth 1), -ETIMEDOUT, -ECANCELED, -EINTR, -EOVERFLOW */
MH_API int mh_rlock_acquire(mh_rlock *lock, mh_deadline deadline, mh_cancel *cancel);
MH_API int mh_rlock_try_acquire(mh_rlock *lock);
/* Panics where the caller does not own it. */
MH_API void mh_rlock_release(mh_rlock *lock);
/* 0, or -EPERM where the caller does not own it. */
MH_API int mh_rlock_try_release(mh_rlock *lock);
MH_API void mh_rlock_abandon(mh_rlock *lock);
MH_API int mh_rlock_is_owned(const mh_rlock *lock); /* by the calling thread */
MH_API int mh_rlock_is_locked(const mh_rlock *lock);
MH_API int mh_rlock_owner(const mh_rlock *lock); /* the owner's thread id, 0 where unlocked */
MH_API uint32_t mh_rlock_depth(const mh_rlock *lock); /* 0 where the caller does not own it */
/* For conditions: let go of every level at once; take it again as deep as it was. */
MH_API int mh_rlock_release_all(mh_rlock *lock, uint32_t *depth);
MH_API int mh_rlock_acquire_depth(mh_rlock *lock, uint32_t depth, mh_deadline deadline, mh_cancel *cancel);

MH_END_DECLS
#endif
