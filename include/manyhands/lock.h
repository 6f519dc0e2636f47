/* manyhands/lock.h - mutual exclusion: a lock that knows its owner, and says so when the owner died.
 *
 *   static mh_lock lock;                              // all-zero: process-shared, unlocked
 *   int rc = mh_lock_acquire(&lock, mh_in_ms(100), NULL);
 *   if (rc < 0) return rc;                            // not held
 *   if (rc == MH_OWNER_DIED) repair(data);            // held; the last owner was killed inside
 *   ...
 *   mh_lock_release(&lock);
 *
 * The owner of a shared lock is a process (any of its threads, or any other process, may release it); the
 * owner of a private one is a thread, recorded for information. Barging, not FIFO: an arriving thread may
 * overtake sleepers.
 *
 * A dead owner of a shared lock is found by whoever tries or waits (waiters look every 50 ms to 1 s, and
 * before they time out). The one that finds it has the lock with MH_OWNER_DIED; if it dies, too, the next
 * one is told. A release says "repaired", mh_lock_abandon says "still broken". A zombie is dead, a stopped
 * process lives, and so does one that called exec(). A private lock's owner cannot die alone; a thread that
 * ends without releasing leaves it locked.
 *
 * After fork() the child sees a private lock as it was: the thread that forked still owns what it owned
 * there, and what other threads owned is locked for ever - initialise it again.
 */
#ifndef MANYHANDS_LOCK_H
#define MANYHANDS_LOCK_H

#include "deadline.h"
#include "error.h"
#include "wait.h"

MH_BEGIN_DECLS

typedef struct mh_lock {
    MH_ATOMIC(uint64_t) word; /* bit table: core/sync/lock_word.h */
    uint32_t flags;           /* MH_PRIVATE or 0 */
    MH_ATOMIC(uint32_t) spin; /* how long spinning has paid lately */
} mh_lock;

/* Make it unlocked, whatever it was. Nobody may be waiting for it. There is no fini: nothing is held but its
 * memory, which its last owner may free as soon as it has acquired.
 * Safety: MT-owner PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API void mh_lock_init(mh_lock *lock, unsigned flags);

/* Wait until it is free, and own it. What its last owner did is seen (acquire). 0; MH_OWNER_DIED (held; the
 * last owner died inside, or abandoned it); -ETIMEDOUT; -ECANCELED; -EINTR: not held. Not recursive: who
 * owns it already waits for itself.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death: one
 * survivor is told MH_OWNER_DIED; a waiter's death costs others at most a slice */
MH_API int mh_lock_acquire(mh_lock *lock, mh_deadline deadline, mh_cancel *cancel);

/* The same at once: 0, MH_OWNER_DIED (held), -EBUSY (a living process owns it).
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: a
 * dead owner is found here, too */
MH_API int mh_lock_try_acquire(mh_lock *lock);

/* Let it go (release), and wake one waiter. `release` panics where the lock is not locked; `try_release`
 * returns -EPERM then, else 0. Whether the caller owns it is not asked.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: killed
 * between the release and the wake, a waiter goes on after a slice */
MH_API void mh_lock_release(mh_lock *lock);
MH_API int mh_lock_try_release(mh_lock *lock);

/* Release a lock that was acquired with MH_OWNER_DIED and is not repaired: the next acquirer is told again.
 * Panics where it is not locked.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: as
 * release */
MH_API void mh_lock_abandon(mh_lock *lock);

/* Is it locked, and by whom: process id if shared, thread id if private, 0 where unlocked. Out of date when
 * you read it.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: a
 * dead owner is named until another acquires */
MH_API int mh_lock_is_locked(const mh_lock *lock);
/* 1 where somebody may be waiting for it: a hint. */
MH_API int mh_lock_has_waiters(const mh_lock *lock);
MH_API int mh_lock_owner(const mh_lock *lock);

/* Recursive lock: owned by one thread of one process, which may acquire it again. Shared: a thread that
 * ended or was killed while it owned it is a dead owner. All-zero: process-shared, unlocked. In a forked
 * child the parent's thread still owns a shared one; a private one is owned by the thread that forked, in
 * both. */
typedef struct mh_rlock {
    mh_lock lock;              /* its word names the thread */
    MH_ATOMIC(uint32_t) turns; /* how often it was taken */
    uint32_t depth;            /* touched by the owner only */
} mh_rlock;

/* As mh_lock_init.
 * Safety: MT-owner PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API void mh_rlock_init(mh_rlock *lock, unsigned flags);

/* As mh_lock_acquire, or one level deeper at once where the calling thread owns it.
 * 0; MH_OWNER_DIED (held, depth 1); -EOVERFLOW (held as deep as before); -ETIMEDOUT, -ECANCELED, -EINTR: not
 * held.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death: one
 * survivor is told MH_OWNER_DIED; a waiter's death costs others at most a slice */
MH_API int mh_rlock_acquire(mh_rlock *lock, mh_deadline deadline, mh_cancel *cancel);

/* The same at once: 0, MH_OWNER_DIED, -EOVERFLOW, -EBUSY (another thread owns it, and lives).
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death: a
 * dead owner is found here, too */
MH_API int mh_rlock_try_acquire(mh_rlock *lock);

/* One level up; from the last it is free, and one waiter is woken. Where the caller does not own it
 * `release` panics and `try_release` returns -EPERM, else 0. `abandon`: from every level, and the next
 * acquirer is told MH_OWNER_DIED.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * killed between the release and the wake, a waiter goes on after a slice */
MH_API void mh_rlock_release(mh_rlock *lock);
MH_API int mh_rlock_try_release(mh_rlock *lock);
MH_API void mh_rlock_abandon(mh_rlock *lock);

/* Does the calling thread own it, and how deep (0 where it does not); is it locked by anyone, and by which
 * thread (its id; 0 where unlocked).
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death: a
 * dead owner is named until another acquires */
MH_API int mh_rlock_is_owned(const mh_rlock *lock);
MH_API uint32_t mh_rlock_depth(const mh_rlock *lock);
MH_API int mh_rlock_is_locked(const mh_rlock *lock);
MH_API int mh_rlock_owner(const mh_rlock *lock);

/* Read one number of 1, 2, 4 or 8 bytes, aligned to its size, which the lock guards: as if the lock were taken and released
 * around it, but nothing is written, so that readers do not disturb each other. `number` gets it, with zeros above.
 * 0; -EBUSY: somebody has the lock, or had meanwhile, or its owner died: acquire it, and read. -EINVAL: size or alignment.
 * Memory: 0 acquires what the last owner's release released.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: -EBUSY until the
 * lock is acquired */
MH_API int mh_rlock_read(const mh_rlock *lock, const void *at, size_t size, uint64_t *number);

/* For conditions: let go of every level at once, and say how many (0, or -EPERM where the caller does not
 * own it). And take it again that deep: as mh_rlock_acquire; -EINVAL where depth is 0; where the caller owns
 * it, that much deeper.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits (the second) | cancellation: yes | allocs: none |
 * death: as release and acquire */
MH_API int mh_rlock_release_all(mh_rlock *lock, uint32_t *depth);
MH_API int mh_rlock_acquire_depth(mh_rlock *lock, uint32_t depth, mh_deadline deadline, mh_cancel *cancel);

MH_END_DECLS
#endif
