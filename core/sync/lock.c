/* core/sync/lock.c - mutual exclusion. The word, its bits and transitions: lock_word.h. */
#include <errno.h>

#include "core/sync/lock_word.h"
#include "core/sync/section.h"
#include "core/sync/spin.h"
#include "core/sync/wait.h"

_Static_assert(sizeof(mh_lock) == 16 && offsetof(mh_lock, flags) == 8, "part of the shared layout");

static uint64_t self_of(const mh_lock *lock)
{
    return mh__lock_is_private(lock) ? mh_os_key() : mh_os_self();
}

static _Atomic(uint32_t) *futex_of(mh_lock *lock)
{
    return (_Atomic(uint32_t) *) (void *) &lock->word; /* for the kernel's eyes only */
}

static int spin(mh_lock *lock, uint64_t me)
{
    struct mh__spin spin;
    int taken = 0;
    if (!mh__spin_begin(&spin, &lock->spin)) {
        return 0;
    }
    do {
        uint64_t word = mh_load_rlx(&lock->word);
        if (word & MH__LOCK_WAITERS) {
            return 0; /* others were here before, and sleep */
        }
        taken = word == 0 && mh__lock_fast(lock, me);
    } while (!taken && mh__spin_on(&spin));
    return mh__spin_end(&spin, taken);
}

/* 0 or MH_OWNER_DIED: taken. -EBUSY: WAITERS is set, and *seen is the word to sleep on. `suspicious`: look
 * whether the owner lives. */
static int take_or_announce(mh_lock *lock, uint64_t me, int suspicious, uint64_t *seen)
{
    uint64_t word = mh_load_rlx(&lock->word);
    for (;;) {
        if ((word & MH__LOCK_OWNER) == 0) {
            if (mh_cas_acq(&lock->word, &word, me)) { /* pairs with mh__lock_drop */
                return word & MH__LOCK_DIED ? MH_OWNER_DIED : 0;
            }
        } else if (suspicious && !mh_os_alive(word & MH__LOCK_WHO)) {
            if (mh_cas_acq(&lock->word, &word, me | (word & MH__LOCK_WAITERS))) {
                return MH_OWNER_DIED;
            }
        } else if ((word & MH__LOCK_WAITERS) || mh_cas_rlx(&lock->word, &word, word | MH__LOCK_WAITERS)) {
            *seen = word | MH__LOCK_WAITERS;
            return -EBUSY;
        }
    }
}

static int wait_for_change(mh_lock *lock, uint64_t seen, mh_deadline deadline, mh_cancel *cancel,
                           unsigned mode)
{
    int counted = mode & MH__SECTION && !mh__lock_is_private(lock); /* as section.c has it */
    if (counted) {
        mh__section_out();
    }
    int rc = mh__wait(futex_of(lock), (uint32_t) seen, deadline, cancel, (lock->flags & MH_PRIVATE) | mode);
    if (counted) {
        mh__section_in();
    }
    return rc;
}

int mh__lock_take(mh_lock *lock, uint64_t me, mh_deadline deadline, mh_cancel *cancel, unsigned mode)
{
    uint64_t seen = 0;
    int shared = !mh__lock_is_private(lock), suspicious = 0, waited = 0;
    if (spin(lock, me)) {
        return 0;
    }
    for (;;) {
        int rc = take_or_announce(lock, me, suspicious, &seen);
        if (rc != -EBUSY || waited < 0) {
            return rc != -EBUSY ? rc : waited;
        }
        waited = wait_for_change(lock, seen, deadline, cancel, mode);
        suspicious = shared && (waited == MH__SLICE || waited == -ETIMEDOUT);
        if (waited < 0 && !suspicious) {
            return waited;
        }
        me |= MH__LOCK_WAITERS; /* others may sleep behind us */
    }
}

int mh__lock_try(mh_lock *lock, uint64_t me)
{
    uint64_t word = 0;
    while (!mh_cas_acq(&lock->word, &word, me | (word & MH__LOCK_WAITERS))) { /* pairs with mh__lock_drop */
        if ((word & MH__LOCK_OWNER) == 0) {
            continue; /* abandoned, or set free since */
        }
        if (mh__lock_is_private(lock) || mh_os_alive(word & MH__LOCK_WHO)) {
            return -EBUSY;
        }
    }
    return word != 0 ? MH_OWNER_DIED : 0;
}

int mh__lock_drop(mh_lock *lock, uint64_t free)
{
    int shared = !mh__lock_is_private(lock); /* once it is free, the next owner may free its memory */
    uint64_t word = mh_load_rlx(&lock->word);
    do {
        if ((word & MH__LOCK_OWNER) == 0) {
            return -EPERM;
        }
    } while (!mh_cas_rel(&lock->word, &word, free)); /* pairs with every acquiring CAS above */
    if (word & MH__LOCK_WAITERS) {
        mh_os_futex_wake(futex_of(lock), 1, shared);
    }
    return 0;
}

int mh__lock_enter(mh_lock *lock, mh_deadline deadline)
{
    uint64_t me = self_of(lock);
    return mh__lock_fast(lock, me) ? 0 : mh__lock_take(lock, me, deadline, NULL, MH__SECTION);
}

void mh_lock_init(mh_lock *lock, unsigned flags)
{
    lock->flags = flags & MH_PRIVATE;
    mh_store_rlx(&lock->spin, 0);
    mh_store_rel(&lock->word,
                 0); /* pairs with the first acquire, where the address travelled without a lock */
}

int mh_lock_acquire(mh_lock *lock, mh_deadline deadline, mh_cancel *cancel)
{
    uint64_t me = self_of(lock);
    if (mh__lock_fast(lock, me)) {
        return 0;
    }
    if (deadline > MH_AT_ONCE) {
        return mh__lock_take(lock, me, deadline, cancel, 0);
    }
    int rc = mh__lock_try(lock, me);
    return rc == -EBUSY ? -ETIMEDOUT : rc;
}

int mh_lock_try_acquire(mh_lock *lock)
{
    uint64_t me = self_of(lock);
    return mh__lock_fast(lock, me) ? 0 : mh__lock_try(lock, me);
}

int mh_lock_try_release(mh_lock *lock)
{
    return mh__lock_drop(lock, 0);
}

static void release_any(mh_lock *lock)
{
    if (mh__lock_drop(lock, 0) < 0) {
        mh_os_panic_owned("mh_lock_release", lock, "it is not locked", 0);
    }
}

/* What stands in the word most often is tried first: a load of it would wait for the CAS that took the lock. */
void mh_lock_release(mh_lock *lock)
{
    uint64_t me = mh__lock_is_private(lock) ? mh_os_known_key() : mh_os_known_self();
    if (me == 0 || !mh_cas_rel(&lock->word, &me, 0)) { /* pairs with every acquiring CAS above */
        release_any(lock);
    }
}

void mh_lock_abandon(mh_lock *lock)
{
    if (mh__lock_drop(lock, MH__LOCK_DIED) < 0) {
        mh_os_panic_owned("mh_lock_abandon", lock, "it is not locked", 0);
    }
}

int mh_lock_has_waiters(const mh_lock *lock)
{
    return (mh_load_rlx(&lock->word) & MH__LOCK_WAITERS) != 0; /* a hint: nothing is ordered by it */
}

int mh_lock_is_locked(const mh_lock *lock)
{
    return (mh_load_acq(&lock->word) & MH__LOCK_OWNER) != 0; /* pairs with mh__lock_drop */
}

int mh_lock_owner(const mh_lock *lock)
{
    return mh__lock_owner(lock);
}
