/* core/sync/rlock.c - recursive lock: an mh_lock whose owner is a thread, also where it is shared, and a
 * depth.
 *
 * Its word names the thread (lock_word.h), with the thread's own start time. So one load tells the owner
 * from all others, in whatever process, and a thread that ended inside counts as a dead owner even though
 * its process lives on. */
#include <errno.h>

#include "core/sync/lock_word.h"

_Static_assert(sizeof(mh_rlock) == 24 && offsetof(mh_rlock, depth) == 20, "part of the shared layout");

static uint64_t self_of(const mh_rlock *lock)
{
    return mh__lock_is_private(&lock->lock) ? mh_os_key() : mh_os_who();
}

/* Only the caller itself can make this true or false for the caller: relaxed. */
static int is_mine(const mh_rlock *lock, uint64_t me)
{
    return (mh_load_rlx(&lock->lock.word) & MH__LOCK_WHO) == me;
}

static int deepen(mh_rlock *lock, uint32_t by)
{
    if (lock->depth > UINT32_MAX - by) {
        return -EOVERFLOW;
    }
    lock->depth += by;
    return 0;
}

/* `rc` is what taking the lock said: where it is ours now, it is `depth` deep. */
static int begin(mh_rlock *lock, int rc, uint32_t depth)
{
    if (rc >= 0) {
        lock->depth = depth;
    }
    return rc;
}

void mh_rlock_init(mh_rlock *lock, unsigned flags)
{
    lock->depth = 0;
    lock->reserved = 0;
    mh_lock_init(&lock->lock, flags);
}

int mh_rlock_acquire_depth(mh_rlock *lock, uint32_t depth, mh_deadline deadline, mh_cancel *cancel)
{
    uint64_t me = self_of(lock);
    if (depth == 0) {
        return -EINVAL;
    }
    if (mh__lock_fast(&lock->lock, me)) {
        return begin(lock, 0, depth);
    }
    if (is_mine(lock, me)) {
        return deepen(lock, depth);
    }
    if (deadline > MH_AT_ONCE) {
        return begin(lock, mh__lock_take(&lock->lock, me, deadline, cancel, 0), depth);
    }
    int rc = mh__lock_try(&lock->lock, me);
    return begin(lock, rc == -EBUSY ? -ETIMEDOUT : rc, depth);
}

int mh_rlock_acquire(mh_rlock *lock, mh_deadline deadline, mh_cancel *cancel)
{
    return mh_rlock_acquire_depth(lock, 1, deadline, cancel);
}

int mh_rlock_try_acquire(mh_rlock *lock)
{
    uint64_t me = self_of(lock);
    if (mh__lock_fast(&lock->lock, me)) {
        return begin(lock, 0, 1);
    }
    return is_mine(lock, me) ? deepen(lock, 1) : begin(lock, mh__lock_try(&lock->lock, me), 1);
}

int mh_rlock_try_release(mh_rlock *lock)
{
    if (!is_mine(lock, self_of(lock))) {
        return -EPERM;
    }
    return --lock->depth > 0 ? 0 : mh__lock_drop(&lock->lock, 0);
}

void mh_rlock_release(mh_rlock *lock)
{
    if (mh_rlock_try_release(lock) < 0) {
        mh_os_panic_owned("mh_rlock_release", lock, "the calling thread does not own it",
                          mh__lock_owner(&lock->lock));
    }
}

void mh_rlock_abandon(mh_rlock *lock)
{
    if (!is_mine(lock, self_of(lock))) {
        mh_os_panic_owned("mh_rlock_abandon", lock, "the calling thread does not own it",
                          mh__lock_owner(&lock->lock));
    }
    lock->depth = 0;
    (void) mh__lock_drop(&lock->lock, MH__LOCK_DIED);
}

int mh_rlock_release_all(mh_rlock *lock, uint32_t *depth)
{
    if (!is_mine(lock, self_of(lock))) {
        return -EPERM;
    }
    *depth = lock->depth;
    lock->depth = 0;
    return mh__lock_drop(&lock->lock, 0);
}

int mh_rlock_is_owned(const mh_rlock *lock)
{
    return is_mine(lock, self_of(lock));
}

int mh_rlock_is_locked(const mh_rlock *lock)
{
    return mh_lock_is_locked(&lock->lock);
}

int mh_rlock_owner(const mh_rlock *lock)
{
    return mh__lock_owner(&lock->lock);
}

uint32_t mh_rlock_depth(const mh_rlock *lock)
{
    return mh_rlock_is_owned(lock) ? lock->depth : 0;
}
