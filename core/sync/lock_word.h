/* core/sync/lock_word.h - the word of mh_lock, shared by lock.c, rlock.c and section.c.
 *
 * Bit table of mh_lock.word
 *   0..29   OWNER    0: not locked. Shared lock: process id; shared recursive lock: thread id; private: the
 *                    thread's key
 *   30      DIED     only with OWNER 0: it was abandoned, and the next owner is told that what it guards is
 *                    not repaired
 *   31      WAITERS  only with an OWNER: somebody may sleep on the low half. May be set for nothing (one
 *                    needless wake), must not be left out: set before each sleep, and by an owner who has
 *                    slept and cannot know who sleeps behind it
 *   32..63  START    shared: low half of the owner's start time, so that a recycled id is not taken for the
 *                    owner; private: 0
 * The low half is the futex word. Its address is that of the word: little-endian systems only.
 *
 * Transitions (each one CAS; "me" is OWNER and START of the caller)
 *   acquire    0                    -> me                     acquire   fast path
 *              0, DIED              -> me [WAITERS]           acquire   after sleeping WAITERS stays set;
 *                                   DIED: MH_OWNER_DIED
 *              owner, no WAITERS    -> the same, WAITERS                before sleeping
 *              owner that is dead   -> me, WAITERS as it was  acquire   MH_OWNER_DIED
 *   release    owner                -> 0                      release   wakes one if WAITERS was set
 *   abandon    owner                -> DIED                   release   wakes one if WAITERS was set
 * Every acquire pairs with the release or abandon whose value it read. A dead owner's writes are seen, too:
 * what the kernel reports of its death comes after them.
 *
 * No wake is lost: who finds OWNER sets WAITERS and sleeps on the value with it; the release clears both at
 * once, so it either comes before (the futex compares, and refuses to sleep) or sees WAITERS and wakes. The
 * one that is woken leaves WAITERS set when it acquires, for those who sleep behind it, and mh_wait passes
 * the wake on where it does not return 0. A releaser that dies before its wake, and a woken process that
 * dies before it acquires, cost the others a slice.
 */
#ifndef MH_SYNC_LOCK_WORD_H
#define MH_SYNC_LOCK_WORD_H

#include <manyhands/lock.h>

#include "core/os/os.h"

#define MH__LOCK_OWNER UINT64_C(0x3fffffff)
#define MH__LOCK_DIED UINT64_C(0x40000000)
#define MH__LOCK_WAITERS UINT64_C(0x80000000)
#define MH__LOCK_WHO (~(MH__LOCK_DIED | MH__LOCK_WAITERS))

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the futex word is the low half of the lock word"
#endif

/* Take the lock for `me`, who found it not free. 0, MH_OWNER_DIED, or as mh_wait. `mode`: 0 or MH__SECTION.
 * */
int mh__lock_take(mh_lock *lock, uint64_t me, mh_deadline deadline, mh_cancel *cancel, unsigned mode);
/* The same without waiting: 0, MH_OWNER_DIED, -EBUSY. */
int mh__lock_try(mh_lock *lock, uint64_t me);
/* Leave `free` (0 or MH__LOCK_DIED) in the place of an owner, and wake. 0, -EPERM. */
int mh__lock_drop(mh_lock *lock, uint64_t free);
/* mh_lock_acquire for sections. */
int mh__lock_enter(mh_lock *lock, mh_deadline deadline);

static inline int mh__lock_is_private(const mh_lock *lock)
{
    return (lock->flags & MH_PRIVATE) != 0;
}

/* Most locks are free when they are wanted: one CAS. */
static inline int mh__lock_fast(mh_lock *lock, uint64_t me)
{
    uint64_t seen = 0;
    return mh_cas_acq(&lock->word, &seen, me); /* pairs with mh__lock_drop */
}

static inline int mh__lock_owner(const mh_lock *lock)
{
    return (int) (mh_load_rlx(&lock->word) & MH__LOCK_OWNER &
                  (MH_OS_KEY_MAX >> 1)); /* without the mark of ids.c */
}

#endif
