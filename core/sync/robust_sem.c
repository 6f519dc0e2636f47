/* core/sync/robust_sem.c - a semaphore that knows its holders.
 *
 * One word for each permit: 0 free, else mh_os_self() of who has it. That word is all the truth, and every change is one CAS:
 *   acquire  0        -> me   acquire, pairs with the release that left the 0
 *            the dead -> me   the caller is told; `died` + 1 afterwards (a death in between: counted one too few)
 *   release  me       -> 0    release; then `changes` + 1, then the wake
 * No wake is lost: a waiter counts itself, reads `changes`, looks at all words, and sleeps only while `changes` is the same. A
 * release stores 0 and adds to `changes` before it reads `waiters`. So either the release sees the waiter, or the waiter sees
 * the change. A releaser that dies between its steps, and a woken waiter that dies, cost the others a slice.
 */
#include <manyhands/robust_sem.h>

#include <errno.h>

#include "core/debug/trace.h"
#include "core/os/os.h"
#include "core/sync/wait.h"

_Static_assert(sizeof(mh_robust_sem) == 32 && offsetof(mh_robust_sem, holder) == 24,
               "part of the shared layout");

static MH_ATOMIC(uint64_t) *holder(mh_robust_sem *sem, uint32_t i)
{
    return &sem->holder + i;
}

size_t mh_robust_sem_size(uint32_t permits)
{
    return sizeof(mh_robust_sem) + (permits > 1 ? (size_t) permits - 1 : 0) * sizeof(uint64_t);
}

int mh_robust_sem_init(mh_robust_sem *sem, uint32_t permits)
{
    if (permits == 0 || permits > MH_ROBUST_SEM_MAX) {
        return -EINVAL;
    }
    for (uint32_t i = 0; i < permits; i++) {
        mh_store_rlx(holder(sem, i), 0);
    }
    sem->permits = permits;
    mh_store_rlx(&sem->waiters, 0);
    mh_store_rlx(&sem->died, 0);
    mh_store_rel(&sem->changes, 0); /* pairs with the first acquire */
    return 0;
}

/* Put `me` in the place of `who` in one word that has it. */
static int replace_one(mh_robust_sem *sem, uint64_t who, uint64_t me)
{
    for (uint32_t i = 0; i < sem->permits; i++) {
        uint64_t seen = mh_load_rlx(holder(sem, i));
        if (seen == who && mh_cas_acq_rel(holder(sem, i), &seen, me)) { /* pairs with each other */
            return 1;
        }
    }
    return 0;
}

static int take_from_the_dead(mh_robust_sem *sem, uint64_t me)
{
    uint64_t alive = me; /* asked for last: mostly one process has several */
    for (uint32_t i = 0; i < sem->permits; i++) {
        uint64_t seen = mh_load_rlx(holder(sem, i));
        if (seen == alive || (seen != 0 && mh_os_alive(seen))) {
            alive = seen;
        } else if (mh_cas_acq_rel(holder(sem, i), &seen, me)) {
            if (seen != 0) {
                MH__TRACE("robust sem: taken from the dead");
                mh_add_rlx(&sem->died, 1);
            }
            return seen != 0 ? MH_OWNER_DIED : 0;
        }
    }
    return -EBUSY;
}

/* 0, MH_OWNER_DIED, -EBUSY. `suspicious`: look whether the holders live. */
static int take(mh_robust_sem *sem, uint64_t me, int suspicious)
{
    if (replace_one(sem, 0, me)) {
        MH__TRACE("robust sem: taken");
        return 0;
    }
    return suspicious ? take_from_the_dead(sem, me) : -EBUSY;
}

/* Counted as a waiter. */
static int wait_for_one(mh_robust_sem *sem, uint64_t me, mh_deadline deadline, mh_cancel *cancel)
{
    int suspicious = 1;
    for (;;) {
        uint32_t changes = mh_load_acq(&sem->changes); /* pairs with the release */
        int rc = take(sem, me, suspicious);
        if (rc != -EBUSY) {
            return rc;
        }
        rc = mh__wait(&sem->changes, changes, deadline, cancel, 0);
        suspicious = rc == MH__SLICE;
        if (rc < 0) {
            int last = rc == -ETIMEDOUT ? take(sem, me, 1) : rc;
            return last == -EBUSY ? rc : last;
        }
    }
}

int mh_robust_sem_acquire(mh_robust_sem *sem, mh_deadline deadline, mh_cancel *cancel)
{
    uint64_t me = mh_os_self();
    int rc = take(sem, me, deadline <= MH_AT_ONCE);
    if (rc != -EBUSY) {
        return rc;
    }
    if (deadline <= MH_AT_ONCE) {
        return -ETIMEDOUT;
    }
    mh_add_acq_rel(&sem->waiters, 1u);
    MH__TRACE("robust sem: counted");
    mh_fence_seq(); /* pairs with that of the release */
    rc = wait_for_one(sem, me, deadline, cancel);
    mh_sub_acq_rel(&sem->waiters, 1u);
    return rc;
}

int mh_robust_sem_release(mh_robust_sem *sem)
{
    if (!replace_one(sem, mh_os_self(), 0)) {
        return -EPERM;
    }
    MH__TRACE("robust sem: given back");
    mh_add_acq_rel(&sem->changes, 1u);
    mh_fence_seq(); /* pairs with that of the acquire */
    if (mh_load_rlx(&sem->waiters) > 0) {
        MH__TRACE("robust sem: before the wake");
        mh_os_futex_wake(&sem->changes, 1, 1);
    }
    return 0;
}

static uint32_t count(mh_robust_sem *sem, uint64_t who)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < sem->permits; i++) {
        found += mh_load_acq(holder(sem, i)) == who; /* pairs with every change */
    }
    return found;
}

uint32_t mh_robust_sem_value(mh_robust_sem *sem)
{
    return count(sem, 0);
}

uint32_t mh_robust_sem_held(mh_robust_sem *sem)
{
    return count(sem, mh_os_self());
}

uint64_t mh_robust_sem_died(const mh_robust_sem *sem)
{
    return mh_load_rlx(&sem->died);
}
