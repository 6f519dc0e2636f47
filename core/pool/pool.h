/* core/pool/pool.h - what the files of the pool know of each other. */
#ifndef MH_POOL_POOL_H
#define MH_POOL_POOL_H

#include <manyhands/pool.h>

/* 0; MH_E_CLOSED, MH_E_LOST. */
int mh__pool_usable(mh_pool *pool);
/* Cancel it, or wait until it has ended: nothing ends this wait but the task. */
void mh__task_finish(mh_task *task);

#endif
