/* core/sync/rlock.c - recursive lock: an mh_lock whose owner is a thread, also where it is shared, and a
 * depth.
 *
 * Its word names the thread (lock_word.h), with the thread's own start time. So one load tells the owner
 * from all others, in whatever process, and a thread that ended inside counts as a dead owner even though
 * its process lives on.
 *
 * `turns` counts how often it was taken, for those who read one number without taking it (mh_rlock_read): they look at
 * `turns`, see the word free, read, and look at `turns` again. It is the same where nobody took the lock in between, and
 * then what was read is what they would have found with the lock in hand. Two things have to be ordered:
 *   - who took it writes `turns` with release, after the word; the reader's first look acquires it. So who sees an owner's
 *     `turns` does not see the word as it was before him, and the word is free only once he has released it: all that he
 *     wrote is seen.
 *   - who took it puts a release fence behind `turns`, before anything that he writes; the reader an acquire fence before its
 *     second look. So who read something that he wrote inside sees his `turns`, too, and that is another number.
 * That 2^32 turns pass between the two looks is taken for impossible. */
#include <errno.h>

#include "core/sync/lock_word.h"

_Static_assert(sizeof(mh_rlock) == 24 && offsetof(mh_rlock, turns) == 16 && offsetof(mh_rlock, depth) == 20,
               "part of the shared layout");

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
        mh_store_rel(&lock->turns, mh_load_rlx(&lock->turns) + 1); /* pairs with mh_rlock_read, see above */
        mh_fence_rel();
    }
    return rc;
}

void mh_rlock_init(mh_rlock *lock, unsigned flags)
{
    lock->depth = 0;
    mh_store_rlx(&lock->turns, 0);
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

static inline uint64_t read_number(const void *at, size_t size)
{
    switch (size) {
    case 1:
        return mh_load_rlx((const _Atomic(uint8_t) *) at);
    case 2:
        return mh_load_rlx((const _Atomic(uint16_t) *) at);
    case 4:
        return mh_load_rlx((const _Atomic(uint32_t) *) at);
    default:
        return mh_load_rlx((const _Atomic(uint64_t) *) at);
    }
}

int mh_rlock_read(const mh_rlock *lock, const void *at, size_t size, uint64_t *number)
{
    if (size > 8 || (size & (size - 1)) != 0 || size == 0 || ((uintptr_t) at & (size - 1)) != 0) {
        return -EINVAL;
    }
    uint32_t turns = mh_load_acq(&lock->turns); /* pairs with begin() */
    if (mh_load_acq(&lock->lock.word) != 0) {   /* pairs with mh__lock_drop */
        return -EBUSY;
    }
    uint64_t found = read_number(at, size);
    mh_fence_acq(); /* pairs with the fence of begin() */
    if (mh_load_rlx(&lock->turns) != turns) {
        return -EBUSY;
    }
    *number = found;
    return 0;
}
