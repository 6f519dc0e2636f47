/* manyhands/pool.h - a pool of threads that run tasks, and a loop cut into pieces for them.
 *
 *   struct job { mh_task task; const char *path; long words; };      // ours first
 *   static int job_run(mh_task *task) {
 *       struct job *job = (struct job *) task;
 *       return count_words(job->path, &job->words);
 *   }
 *   mh_pool *pool;
 *   mh_pool_create(NULL, &pool);                                     // one thread for each core
 *   struct job job = { .task.run = job_run, .path = "README.md" };
 *   mh_pool_submit(pool, &job.task);
 *   mh_task_wait(&job.task, MH_FOREVER, NULL);
 *   mh_pool_destroy(pool);
 *
 * A task is a struct of the caller, with a function: to submit one allocates nothing, and cannot fail for
 * want of memory. Tasks begin in the order in which they were submitted.
 *
 * Nothing is ended by force. A task that waits has its own `cancel` token for that wait, and mh_task_cancel()
 * requests it. A task that terminates the very thread it runs on costs the pool nothing: the thread ends
 * after the task, and another takes its place. `run` returns; it must not leave by pthread_exit().
 *
 * The threads live in the process that made the pool. In a child made by fork() every call but
 * mh_pool_destroy() says MH_E_LOST.
 */
#ifndef MANYHANDS_POOL_H
#define MANYHANDS_POOL_H

#include "deadline.h"
#include "error.h"
#include "wait.h"

MH_BEGIN_DECLS

#define MH_POOL_MAX 4096u /* threads of one pool */

typedef struct mh_pool mh_pool;

typedef struct mh_pool_options {
    uint32_t workers;  /* threads; 0: one for each core that this process may use */
    const char *name;  /* NULL or up to 15 bytes that the system shows; must outlive the pool */
    size_t stack_size; /* of each thread; 0: the system's */
} mh_pool_options;

/* All-zero but for `run` is a new task. It stays where it is until it has ended. */
typedef struct mh_task mh_task;
struct mh_task {
    int (*run)(mh_task *task); /* set by the user; its value is the task's result */
    /* NULL, or what is called as the very last, however the task ends, and may free it: for a task that
     * nobody waits for. Called by a thread of the pool, or by the one that cancelled or dropped it. */
    void (*release)(mh_task *task);
    mh_deadline begin_by; /* 0, or: where it has not begun by then it does not run; result -ETIMEDOUT */
    mh_cancel cancel;     /* for the waits of `run`; requested by mh_task_cancel() */
    mh_task *next;        /* from here on private */
    mh_pool *pool;
    MH_ATOMIC(uint32_t) state;
    int32_t result;
};

/* Make a pool and start its threads. `options` may be NULL: all zero. 0; -EINVAL (more than MH_POOL_MAX
 * threads, or a stack size that the system refuses); -ENOMEM, -EAGAIN: no threads to be had, nothing was made.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: the pool, its
 * threads | death: nothing shared */
MH_API int mh_pool_create(const mh_pool_options *options, mh_pool **pool);

/* Hand a task over; what was written before is seen by it. 0; -EINVAL (no `run`); MH_E_STATE (it was
 * submitted before and has not ended); MH_E_CLOSED; MH_E_LOST (a forked child).
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits (but for the queue's lock) | cancellation:
 * no | allocs: none | death: nothing shared */
MH_API int mh_pool_submit(mh_pool *pool, mh_task *task);

/* Wait until every task that was submitted has ended, also those that come meanwhile. 0; -EDEADLK (called
 * by a task of this pool); -ETIMEDOUT, -ECANCELED, -EINTR; MH_E_LOST.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death:
 * nothing shared */
MH_API int mh_pool_wait(mh_pool *pool, mh_deadline deadline, mh_cancel *cancel);

/* Take no more tasks. `drop`: those that have not begun end now, with the result -ECANCELED; else they run.
 * May be called again. 0; MH_E_LOST.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits (but for the queue's lock) | cancellation:
 * no | allocs: none | death: nothing shared */
MH_API int mh_pool_close(mh_pool *pool, int drop);

/* Close the pool, wait for its tasks and threads, and free it. Within a deadline: close, mh_pool_wait, and
 * destroy when that returned 0. No other call for this pool may be in progress, but those of its tasks. NULL
 * is nothing to do. 0; -EDEADLK (called by a task of this pool; nothing
 * was done). In a forked child it frees the memory alone.
 * Safety: MT-owner PROC-local AS-unsafe FORK-safe | waits | cancellation: no | allocs: none | death: nothing
 * shared */
MH_API int mh_pool_destroy(mh_pool *pool);

/* How many threads it has, and how many tasks have not ended. The second is out of date when you read it.
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API uint32_t mh_pool_workers(const mh_pool *pool);
MH_API uint32_t mh_pool_pending(const mh_pool *pool);

/* Wait until the task has ended; what it wrote is seen. Then the caller may free it, or submit it again. 0
 * (however it ended: see mh_task_result); MH_E_STATE (never submitted); -ETIMEDOUT, -ECANCELED, -EINTR: it
 * goes on, wait again; MH_E_LOST. Not for a task with `release`.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death: nothing
 * shared */
MH_API int mh_task_wait(mh_task *task, mh_deadline deadline, mh_cancel *cancel);

/* Where it has not begun it never will, and has ended now with the result -ECANCELED: 0. Where it runs, its
 * `cancel` token is requested: -EBUSY. MH_E_STATE: never submitted, or ended already. MH_E_LOST. Not for a
 * task with `release` that may end meanwhile.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits (but for the queue's lock) | cancellation:
 * no | allocs: none | death: nothing shared */
MH_API int mh_task_cancel(mh_task *task);

/* What `run` returned; -ECANCELED: it was cancelled or dropped; -ETIMEDOUT: see `begin_by`; MH_E_LOST: the
 * pool lost its last thread and could get no other. 0; MH_E_STATE while it has not ended.
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API int mh_task_result(const mh_task *task, int *result);

/* Call body(first, end, arg) for pieces of at most `grain` (0: chosen) that make up [first, end), on the
 * calling thread and on those of the pool that are free. When it returns, no piece is running. May be
 * nested, and called by a task of the same pool: whoever calls works, and waits for nothing that has not
 * begun. 0; the first value other than 0 that a piece returned; -ETIMEDOUT, -ECANCELED (the token, or the
 * calling thread is to terminate): looked at before each piece. In each of these cases pieces that had not
 * begun were not run. -EINVAL: no body, or grain < 0. MH_E_CLOSED, MH_E_LOST.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits | cancellation: yes, between pieces | allocs: none
 * | death: nothing shared */
MH_API int mh_parallel_for(mh_pool *pool, int64_t first, int64_t end, int64_t grain,
                           int (*body)(int64_t first, int64_t end, void *arg), void *arg,
                           mh_deadline deadline, mh_cancel *cancel);

MH_END_DECLS
#endif
