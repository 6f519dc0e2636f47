/* manyhands/sem.h - counting semaphore, bounded or not. */
#ifndef MANYHANDS_SEM_H
#define MANYHANDS_SEM_H

#include "deadline.h"
#include "error.h"
#include "wait.h"

MH_BEGIN_DECLS

#define MH_SEM_MAX 0x7fffffffu /* the largest value */

typedef struct mh_sem {
    MH_ATOMIC(uint64_t) word; /* bit table: core/sync/sem.c */
    uint32_t max;   /* 0 means MH_SEM_MAX */
    uint32_t flags; /* MH_PRIVATE or 0 */
} mh_sem;

/* -EINVAL where value > max or max > MH_SEM_MAX; max 0 means MH_SEM_MAX. */
MH_API int mh_sem_init(mh_sem *sem, uint32_t value, uint32_t max, unsigned flags);
/* 0, -ETIMEDOUT, -ECANCELED, -EINTR */
MH_API int mh_sem_acquire(mh_sem *sem, mh_deadline deadline, mh_cancel *cancel);
/* 0, -EBUSY */
MH_API int mh_sem_try_acquire(mh_sem *sem);
/* Panics past max. */
MH_API void mh_sem_post(mh_sem *sem, uint32_t count);
/* 0, or -EOVERFLOW: the value would pass max, and nothing was done. */
MH_API int mh_sem_try_post(mh_sem *sem, uint32_t count);
MH_API uint32_t mh_sem_value(const mh_sem *sem);

MH_END_DECLS
#endif
