/* manyhands/cond.h - condition variable. notify(n) wakes exactly n of those who wait, first come first
 * served.
 *
 *   mh_lock_acquire(&lock, MH_FOREVER, NULL);
 *   while (!ready)
 *       mh_cond_wait(&cond, &lock, MH_FOREVER, NULL);
 *   mh_lock_release(&lock);
 *
 * Each waiter has a place of its own. The places of a private condition lie on the waiters' stacks, without
 * limit; those of a shared one in the object: MH_COND_NODES of them, and as many behind it as mh_cond_init
 * was told of. A wake that was given to a waiter that dies before it has its lock again is passed on to the
 * next (within a second).
 *
 * What the lock protects may be changed, and notify called, with or without the lock; as with any
 * condition, a waiter can only be sure to see a change that was made with the lock held.
 *
 * After a fork the child must not use a private condition on which threads of its parent wait: mh_cond_init
 * it anew.
 */
#ifndef MANYHANDS_COND_H
#define MANYHANDS_COND_H

#include "lock.h"

MH_BEGIN_DECLS

#define MH_COND_NODES 12

typedef struct mh_cond_node {  /* the place of one waiter of a shared condition; core/sync/cond.c */
    MH_ATOMIC(uint64_t) owner; /* process id and start time */
    MH_ATOMIC(uint32_t) word;
    MH_ATOMIC(uint32_t) order;
} mh_cond_node;

typedef struct mh_cond {
    mh_lock guard; /* of all below; the words and `waiters` may be read without it */
    uint32_t flags;
    uint32_t extra;              /* places behind this struct */
    MH_ATOMIC(uint32_t) waiters; /* who have not been notified; never less than those who live */
    MH_ATOMIC(uint32_t) used;    /* no place from this one on was ever taken */
    uint32_t order;              /* of the next who comes */
    MH_ATOMIC(uint32_t) passing; /* a wake on its way from a dead waiter to another */
    void *first, *last;          /* private: the line of waiters */
    uint64_t forks;              /* private: how often this process was forked when the line was made */
    mh_cond_node node[MH_COND_NODES];
} mh_cond;

/* The place of one waiter from prepare to the end of its wait; caller's storage, contents private. */
typedef struct mh_cond_ticket {
    struct mh_cond_ticket *next, *previous;
    MH_ATOMIC(uint32_t) word;
    uint32_t node; /* shared: index; private: the condition's `forks` */
} mh_cond_ticket;

/* Bytes for a shared condition with room for `waiters` at once; sizeof(mh_cond) where MH_COND_NODES suffice.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API size_t mh_cond_size(uint32_t waiters);

/* Make a condition on which nobody waits. `flags`: MH_PRIVATE or 0. Shared: the memory is
 * mh_cond_size(waiters) bytes, 0 standing for MH_COND_NODES; private: `waiters` is not looked at. All-zero
 * memory is a shared one of MH_COND_NODES.
 * Safety: MT-owner PROC-safe AS-safe FORK-safe | never waits | allocs: none | death: as if never called */
MH_API void mh_cond_init(mh_cond *cond, uint32_t waiters, unsigned flags);

/* Release `lock`, wait for a notify, take `lock` again, however long that takes and whatever ended the
 * wait. The lock must be held; on return it is, in every case.
 * 0: notified. MH_OWNER_DIED: the lock's last owner died in it (notified or not: look at what you wait for).
 * -ETIMEDOUT, -ECANCELED, -EINTR: not notified. MH_E_TOO_MANY: no room to wait; the lock was never released.
 * Memory: as the lock's release and acquire.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: yes, of the wait, not of taking the
 *   lock | allocs: none | death: a waiter's wake goes to the next; a notifier's wakes are all or some of its count */
MH_API int mh_cond_wait(mh_cond *cond, mh_lock *lock, mh_deadline deadline, mh_cancel *cancel);

/* The same with a recursive lock, which is released and taken again in its full depth.
 * -EPERM: the caller does not own it, and nothing was done. MH_OWNER_DIED: as above.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: yes, of the wait, not of taking the
 *   lock | allocs: none | death: as mh_cond_wait */
MH_API int mh_cond_wait_rlock(mh_cond *cond, mh_rlock *lock, mh_deadline deadline, mh_cancel *cancel);

/* The parts of a wait, for a lock of any other kind: prepare while it is held, release it, commit, acquire
 * it. Or, so that the wake of a waiter which dies before it has the lock again is not lost: prepare,
 * release, await, acquire, finish.
 *
 * prepare: stand in line. 0, or MH_E_TOO_MANY.
 * await: wait for the notify. 0: notified; the place is still taken, until finish. -ETIMEDOUT, -ECANCELED,
 * -EINTR: the place is given up, no finish. Where a notify came at the same moment, it is the notify that
 * counts.
 * finish: give the place back, after await returned 0.
 * commit: await, and finish.
 * forget: instead of await: leave the line; a wake that had come is passed on to the next.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | await, commit: waits; the others: never waits |
 *   cancellation: yes | allocs: none | death: before finish the wake goes to the next, else the place is
 *   swept */
MH_API int mh_cond_prepare(mh_cond *cond, mh_cond_ticket *ticket);
MH_API int mh_cond_await(mh_cond *cond, mh_cond_ticket *ticket, mh_deadline deadline, mh_cancel *cancel);
MH_API void mh_cond_finish(mh_cond *cond, mh_cond_ticket *ticket);
MH_API int mh_cond_commit(mh_cond *cond, mh_cond_ticket *ticket, mh_deadline deadline, mh_cancel *cancel);
MH_API void mh_cond_forget(mh_cond *cond, mh_cond_ticket *ticket);

/* Wake the first `count` of those who wait (all, where they are fewer), in the order in which they came.
 * One load where nobody waits.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits (but for the guard of the line) | allocs:
 *   none |
 *   death: of the notifier: all or some are notified, each of them is woken */
MH_API void mh_cond_notify(mh_cond *cond, uint32_t count);
MH_API void mh_cond_notify_all(mh_cond *cond);

/* Notify the first who waits, as mh_cond_notify(cond, 1), but leave its wake to the caller: mh_wake(word, 1, flags) on
 * the word that is returned, with the condition's flags, soon. For one who holds the lock and lets it go in a
 * moment: the waiter could do nothing before. NULL: nobody waits.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits (but for the guard of the line) | allocs:
 *   none | death: of the caller before the wake: shared waiters go on after a slice */
MH_API MH_ATOMIC(uint32_t) *mh_cond_notify_later(mh_cond *cond);

/* How many wait and have not been notified; of a shared condition it may count some who died.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | allocs: none | death: may be counted */
MH_API uint32_t mh_cond_waiting(const mh_cond *cond);

MH_END_DECLS
#endif
