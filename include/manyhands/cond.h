/* manyhands/cond.h - condition variable. notify(n) wakes exactly n of those who wait, first come first served.
 *
 *   mh_lock_acquire(&lock, MH_FOREVER, NULL);
 *   while (!ready) mh_cond_wait(&cond, &lock, MH_FOREVER, NULL);
 *   mh_lock_release(&lock);
 *
 * Each waiter owns a node. Nodes of a private condition lie on the waiters' stacks; those of a shared one in the
 * object: MH_COND_NODES of them, or as many as the memory behind it that mh_cond_init was told of. A notified
 * waiter that dies before it returns passes its wake on.
 */
#ifndef MANYHANDS_COND_H
#define MANYHANDS_COND_H

#include "lock.h"

MH_BEGIN_DECLS

#define MH_COND_NODES 9

typedef struct mh_cond_node { /* one waiter of a shared condition */
    MH_ATOMIC(uint64_t) owner; /* process id and start time */
    MH_ATOMIC(uint32_t) word;  /* free, waiting, notified */
    uint32_t next;             /* index + 1 of the next in line; 0: none */
} mh_cond_node;

typedef struct mh_cond {
    mh_lock guard;    /* of the queue */
    uint32_t flags;
    uint32_t nodes;   /* room for waiters beyond MH_COND_NODES, directly behind this struct */
    MH_ATOMIC(uint32_t) waiters;
    uint32_t head, tail, spare;
    void *first, *last; /* private: queue of mh_cond_wait frames */
    mh_cond_node node[MH_COND_NODES];
} mh_cond;

/* The place of one waiter between prepare and commit; caller's storage, contents private. */
typedef struct mh_cond_ticket {
    struct mh_cond_ticket *next, *previous;
    MH_ATOMIC(uint32_t) word;
    uint32_t node;
} mh_cond_ticket;

/* Bytes for a shared condition with room for `waiters` at once. */
MH_API size_t mh_cond_size(uint32_t waiters);
MH_API void mh_cond_init(mh_cond *cond, uint32_t waiters, unsigned flags);
/* Release `lock`, wait, take it again (whatever the deadline). 0 (notified), -ETIMEDOUT, -ECANCELED, -EINTR,
 * MH_E_TOO_MANY (never released), and MH_OWNER_DIED: notified, held, and the lock's last owner died. Held in every case. */
MH_API int mh_cond_wait(mh_cond *cond, mh_lock *lock, mh_deadline deadline, mh_cancel *cancel);
MH_API int mh_cond_wait_rlock(mh_cond *cond, mh_rlock *lock, mh_deadline deadline, mh_cancel *cancel);
/* The two halves of a wait, for a lock of any other kind: prepare while it is held, release it, commit, acquire. */
MH_API int mh_cond_prepare(mh_cond *cond, mh_cond_ticket *ticket);
MH_API int mh_cond_commit(mh_cond *cond, mh_cond_ticket *ticket, mh_deadline deadline, mh_cancel *cancel);
/* Leave the queue without waiting; a wake that had come is passed on. */
MH_API void mh_cond_forget(mh_cond *cond, mh_cond_ticket *ticket);
MH_API void mh_cond_notify(mh_cond *cond, uint32_t count);
MH_API void mh_cond_notify_all(mh_cond *cond);
MH_API uint32_t mh_cond_waiting(const mh_cond *cond);

MH_END_DECLS
#endif
