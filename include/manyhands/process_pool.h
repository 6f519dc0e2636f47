/* manyhands/process_pool.h - a pool of processes. A job is a message; so is its answer.
 *
 *   static int serve(void *context, const mh_message *request, mh_part *answer) {     // in a worker
 *       static struct result result;
 *       result = decode(request->data, request->size);      // may crash: that job fails, and no other
 *       *answer = (mh_part){ &result, sizeof result };
 *       return 0;
 *   }
 *   mh_process_pool *pool;
 *   mh_process_pool_create(&(mh_process_pool_options){ .serve = serve }, &pool);      // one for each core
 *   mh_job job = { .request = { path, strlen(path) }, .limit = 2000000000 };          // two seconds to run
 *   mh_process_pool_submit(pool, &job);
 *   mh_job_wait(&job, MH_FOREVER, NULL);
 *   if (mh_job_result(&job, &status) == 0 && status == 0) use(job.answer.data, job.answer.size);
 *   mh_job_fini(&job); mh_process_pool_destroy(pool);
 *
 * For work that may crash, leak, loop or have to be ended: what a thread cannot survive costs here the one job. A
 * worker that dies - killed, crashed, out of memory - fails the job that it ran with MH_E_LOST (or the job is begun
 * anew, see `retries`); one that overran its time or was cancelled is killed; another worker takes its place, and every
 * other job is as it was. A job that a dead worker had not taken yet was not begun: it goes to the next worker. Which of
 * several jobs begin first is decided by the order in which they were submitted.
 *
 * Workers are forks of the calling process, made by mh_process_pool_create and, in the place of dead ones, by threads
 * of the pool. So they have what the process had when they were made; of its threads they have none, and a lock that
 * another thread of yours held at that moment stays locked in the worker (the C library's own are safe). They end with
 * the parent, however it ends. Costs a few microseconds a job, beside the copying of request and answer: for jobs
 * below that put several into one message.
 *
 * The pool belongs to the process that made it. In a child made by fork() every call but mh_process_pool_destroy() says
 * MH_E_LOST.
 */
#ifndef MANYHANDS_PROCESS_POOL_H
#define MANYHANDS_PROCESS_POOL_H

#include "channel.h"
#include "pool.h"

MH_BEGIN_DECLS

typedef struct mh_process_pool mh_process_pool;

typedef struct mh_process_pool_options {
    uint32_t workers; /* processes; 0: one for each core that this process may use */
    /* Set by the user: what a worker does with a request. `*answer` is no bytes to begin with; what it is set to stays
     * the function's until it is called again. The value is the job's status. */
    int (*serve)(void *context, const mh_message *request, mh_part *answer);
    /* NULL, or called once in each worker before its first request. Not 0: the worker ends with that status. */
    int (*begin)(void *context);
    void *context;      /* given to both: the worker's copy of what it points to */
    uint64_t max_bytes; /* of a request or an answer; 0: a quarter of the free memory */
} mh_process_pool_options;

/* All-zero but for `request` is a new job. It stays where it is, and so do the request's bytes, until it has ended. */
typedef struct mh_job mh_job;
struct mh_job {
    mh_part request;
    mh_deadline end_by;    /* 0, or: where it has not ended by then it is ended, result -ETIMEDOUT */
    int64_t limit;         /* 0, or: ns that it may run, from the moment in which a worker is handed it */
    uint32_t retries;      /* how often it is begun anew where its worker died; 0: MH_E_LOST at once */
    uint32_t begun;        /* how often it was handed to a worker; read it when the job has ended */
    mh_message answer;     /* once it has ended; reused by the next submit, freed by mh_job_fini() */
    mh_process_pool *pool; /* from here on private */
    mh_task task;
};

/* Make a pool and start its workers. 0; -EINVAL (no `serve`, or more than MH_POOL_MAX workers); what
 * mh_pool_create, mh_process_start and mh_channel_create say where there is no thread, process, memory or descriptor
 * to be had: then nothing was made.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: the pool, threads,
 * processes, shared memory | death: the workers die with this process */
MH_API int mh_process_pool_create(const mh_process_pool_options *options, mh_process_pool **pool);

/* Hand a job over. 0; MH_E_STATE (it was submitted before and has not ended); MH_E_CLOSED; MH_E_LOST (a forked child).
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits (but for the queue's lock) | cancellation: no | allocs:
 * none | death: a worker's fails its job alone */
MH_API int mh_process_pool_submit(mh_process_pool *pool, mh_job *job);

/* Wait until every job that was submitted has ended, also those that come meanwhile. 0; -ETIMEDOUT, -ECANCELED, -EINTR;
 * MH_E_LOST.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death: a worker's is seen
 * within 20 ms */
MH_API int mh_process_pool_wait(mh_process_pool *pool, mh_deadline deadline, mh_cancel *cancel);

/* Take no more jobs. `drop`: those that have not begun end now, with the result -ECANCELED; else they run. May be called
 * again. 0; MH_E_LOST.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits (but for the queue's lock) | cancellation: no | allocs:
 * none | death: nothing changes */
MH_API int mh_process_pool_close(mh_process_pool *pool, int drop);

/* Close the pool, wait for its jobs, let its workers end, and free it. A worker that does not end within five seconds of
 * being told is killed. No other call for this pool may be in progress. NULL is nothing to do. 0. In a forked child it
 * frees the memory alone.
 * Safety: MT-owner PROC-local AS-unsafe FORK-safe | waits | cancellation: no | allocs: none | death: nothing changes */
MH_API int mh_process_pool_destroy(mh_process_pool *pool);

/* How many workers it has; how many jobs have not ended; how many workers were started in the place of others. The last
 * two are out of date when you read them.
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: nothing changes */
MH_API uint32_t mh_process_pool_workers(const mh_process_pool *pool);
MH_API uint32_t mh_process_pool_pending(const mh_process_pool *pool);
MH_API uint64_t mh_process_pool_replaced(const mh_process_pool *pool);

/* Wait until the job has ended. Then the caller may free it, or submit it again. 0 (however it ended: see
 * mh_job_result); MH_E_STATE (never submitted); -ETIMEDOUT, -ECANCELED, -EINTR: it goes on, wait again; MH_E_LOST.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death: a worker's is seen
 * within 20 ms */
MH_API int mh_job_wait(mh_job *job, mh_deadline deadline, mh_cancel *cancel);

/* Where it has not begun it never will, and has ended now: 0. Where it runs its worker is killed, and it will have ended
 * in a moment: -EBUSY. Its result is -ECANCELED then, unless its answer came first. MH_E_STATE: never submitted, or ended already. MH_E_LOST.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits (but for the queue's lock) | cancellation: no | allocs:
 * none | death: nothing changes */
MH_API int mh_job_cancel(mh_job *job);

/* Did it run to its end, and with what status? 0: `serve` returned *status, and its answer is in job->answer. MH_E_STATE
 * while it has not ended. Else why it did not: MH_E_LOST (its worker died), -ETIMEDOUT, -ECANCELED, -EMSGSIZE (the
 * request or the answer is larger than max_bytes allows), -ENOMEM (no memory for the answer), or what
 * mh_process_start said where no worker could be started.
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: nothing
 * shared */
MH_API int mh_job_result(const mh_job *job, int *status);

/* Free the answer of a job that has ended or was never submitted.
 * Safety: MT-owner PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: frees | death: nothing
 * shared */
MH_API void mh_job_fini(mh_job *job);

MH_END_DECLS
#endif
