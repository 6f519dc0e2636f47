/* core/sync/sem.c - counting semaphore.
 *
 * Bit table of mh_sem.word
 *   0..31   VALUE    permits that are free. This half is the futex word: waiters sleep while it is 0
 *   32..63  WAITERS  how many have announced themselves and not left. May be too high (a waiter was killed:
 *                    each post makes one needless system call from then on), must not be too low
 * Transitions (each one CAS)
 *   acquire  VALUE n -> n-1, WAITERS -1 if announced   acquire, pairs with post
 *   announce VALUE 0, WAITERS w -> w+1                 before the first sleep
 *   leave    WAITERS -1                                the wait ended otherwise
 *   post     VALUE n -> n+k                            release; wakes k if WAITERS was above 0. One permit
 *                                                      where there is no bound: an addition, and a
 *                                                      subtraction where it was one too many
 *
 * No wake is lost: an announcement comes before a post, which then wakes, or after it, and sees VALUE above
 * 0; between announcing and sleeping the futex compares VALUE once more. The permits are in the word, not in
 * the wake: a woken waiter that finds them taken sleeps again, and one that leaves instead has its wake
 * passed on by mh_wait. Post touches the object once: a waiter that it let go may free it at once.
 */
#include <manyhands/sem.h>

#include <errno.h>

#include "core/os/os.h"
#include "core/sync/spin.h"
#include "core/sync/wait.h"

_Static_assert(sizeof(mh_sem) == 16 && offsetof(mh_sem, max) == 8, "part of the shared layout");

#define VALUE(word) ((uint32_t) (word))
#define ONE_WAITER ((uint64_t) 1 << 32)

static _Atomic(uint32_t) *futex_of(mh_sem *sem)
{
    return (_Atomic(uint32_t) *) (void *) &sem
        ->word; /* for the kernel's eyes only; little-endian, see lock_word.h */
}

int mh_sem_init(mh_sem *sem, uint32_t value, uint32_t max, unsigned flags)
{
    if (max > MH_SEM_MAX || value > (max != 0 ? max : MH_SEM_MAX)) {
        return -EINVAL;
    }
    sem->max = max;
    sem->flags = flags & MH_PRIVATE;
    mh_store_rel(&sem->word,
                 value); /* pairs with the first acquire, where the address travelled without a lock */
    return 0;
}

/* 1: taken. 0: VALUE is 0, and the caller is announced. */
static int take_or_announce(mh_sem *sem, uint64_t *announced)
{
    uint64_t word = mh_load_rlx(&sem->word);
    for (;;) {
        if (VALUE(word) > 0) {
            if (mh_cas_acq(&sem->word, &word, word - 1 - *announced)) { /* pairs with mh_sem_try_post */
                return 1;
            }
        } else if (*announced != 0) {
            return 0;
        } else if (mh_cas_rlx(&sem->word, &word, word + ONE_WAITER)) {
            *announced = ONE_WAITER;
            return 0;
        }
    }
}

/* Not past those who sleep. */
static int spin(mh_sem *sem)
{
    struct mh__spin spin;
    int taken = 0;
    if (!mh__spin_begin_at_sem(&spin)) {
        return 0;
    }
    do {
        if (mh_load_rlx(&sem->word) >= ONE_WAITER) {
            return 0;
        }
        taken = mh_sem_try_acquire(sem) == 0;
    } while (!taken && mh__spin_on(&spin));
    return mh__spin_end(&spin, taken);
}

int mh_sem_acquire(mh_sem *sem, mh_deadline deadline, mh_cancel *cancel)
{
    uint64_t announced = 0;
    if (mh_sem_try_acquire(sem) == 0) {
        return 0;
    }
    if (deadline <= MH_AT_ONCE) {
        return -ETIMEDOUT;
    }
    if (spin(sem)) {
        return 0;
    }
    while (!take_or_announce(sem, &announced)) {
        int rc = mh__wait(futex_of(sem), 0, deadline, cancel, sem->flags & MH_PRIVATE);
        if (rc < 0) {
            mh_sub_rlx(&sem->word, ONE_WAITER);
            return rc;
        }
    }
    return 0;
}

int mh_sem_try_acquire(mh_sem *sem)
{
    uint64_t word = mh_load_rlx(&sem->word);
    while (VALUE(word) > 0) {
        if (mh_cas_acq(&sem->word, &word, word - 1)) { /* pairs with mh_sem_try_post */
            return 0;
        }
    }
    return -EBUSY;
}

/* 1: `count` more permits, and *word is what it was. */
static int add(mh_sem *sem, uint32_t count, uint64_t *word)
{
    uint32_t max = sem->max != 0 ? sem->max : MH_SEM_MAX;
    *word = mh_load_rlx(&sem->word);
    do {
        if (VALUE(*word) > max || count > max - VALUE(*word)) {
            return 0;
        }
    } while (!mh_cas_rel(&sem->word, word, *word + count)); /* pairs with every acquire */
    return 1;
}

/* The same for one permit and no bound but the largest: without the load, which waits for the CAS of the acquire. One too
 * many is taken back; who takes a permit meanwhile takes one of the MH_SEM_MAX that are there. */
static int add_one(mh_sem *sem, uint64_t *word)
{
    *word = mh_add_acq_rel(&sem->word, 1); /* pairs with every acquire */
    if (VALUE(*word) < MH_SEM_MAX) {
        return 1;
    }
    mh_sub_rlx(&sem->word, 1);
    return 0;
}

int mh_sem_try_post(mh_sem *sem, uint32_t count)
{
    int shared = !(sem->flags & MH_PRIVATE);
    uint64_t word;
    if (!(count == 1 && sem->max == 0 ? add_one(sem, &word) : add(sem, count, &word))) {
        return -EOVERFLOW;
    }
    if (count > 0 && word >= ONE_WAITER) {
        mh_os_futex_wake(futex_of(sem), (int) count, shared);
    }
    return 0;
}

void mh_sem_post(mh_sem *sem, uint32_t count)
{
    if (mh_sem_try_post(sem, count) < 0) {
        mh_os_panic("mh_sem_post", sem, "more permits than its maximum");
    }
}

uint32_t mh_sem_value(const mh_sem *sem)
{
    return VALUE(mh_load_acq(&sem->word)); /* pairs with mh_sem_try_post */
}
