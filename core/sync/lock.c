/* core/sync/lock.c - mutual exclusion. The word, its bits and transitions: lock_word.h. */
#include <errno.h>

#include "core/sync/lock_word.h"
#include "core/sync/section.h"
#include "core/sync/wait.h"

_Static_assert(sizeof(mh_lock) == 16 && offsetof(mh_lock, flags) == 8, "part of the shared layout");

enum { SPIN_LEAST_NS = 300, SPIN_MOST_NS = 5000, PAUSES_PER_LOOK = 4 };

static uint64_t self_of(const mh_lock *lock)
{
    return mh__lock_is_private(lock) ? mh_os_key() : mh_os_self();
}

static _Atomic(uint32_t) *futex_of(mh_lock *lock)
{
    return (_Atomic(uint32_t) *) (void *) &lock->word; /* for the kernel's eyes only */
}

/* Spinning is bounded by time, since no count of rounds is right for every machine. `spin` is the mean time,
 * in ns, after which it has paid lately: it may go on for twice that, and fades to almost nothing where it
 * does not pay. */
static void learn(mh_lock *lock, uint32_t mean, int64_t used)
{
    int64_t next = used >= 0 ? mean + (used - (int64_t) mean) / 4 : mean - mean / 8;
    mh_store_rlx(&lock->spin, (uint32_t) (next < SPIN_MOST_NS ? next : SPIN_MOST_NS));
}

static int spin(mh_lock *lock, uint64_t me)
{
    if (mh_os_cores() == 1) {
        return 0;
    }
    uint32_t mean = mh_load_rlx(&lock->spin);
    int64_t start = mh_os_now(), now = start;
    int64_t budget = 2 * (int64_t) mean + SPIN_LEAST_NS < SPIN_MOST_NS ? 2 * (int64_t) mean + SPIN_LEAST_NS
                                                                       : SPIN_MOST_NS;
    do {
        uint64_t word = mh_load_rlx(&lock->word);
        if (word == 0 && mh__lock_fast(lock, me)) {
            learn(lock, mean, now - start);
            return 1;
        }
        if (word & MH__LOCK_WAITERS) {
            return 0; /* others were here before, and sleep */
        }
        for (int i = 0; i < PAUSES_PER_LOOK; i++) {
            mh_os_pause();
        }
        now = mh_os_now();
    } while (now - start < budget);
    learn(lock, mean, -1);
    return 0;
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
    if (mode & MH__SECTION) {
        mh__section_out();
    }
    int rc = mh__wait(futex_of(lock), (uint32_t) seen, deadline, cancel, (lock->flags & MH_PRIVATE) | mode);
    if (mode & MH__SECTION) {
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

int mh__lock_enter(mh_lock *lock)
{
    uint64_t me = self_of(lock);
    return mh__lock_fast(lock, me) ? 0 : mh__lock_take(lock, me, MH_FOREVER, NULL, MH__SECTION);
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

void mh_lock_release(mh_lock *lock)
{
    if (mh__lock_drop(lock, 0) < 0) {
        mh_os_panic_owned("mh_lock_release", lock, "it is not locked", 0);
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
