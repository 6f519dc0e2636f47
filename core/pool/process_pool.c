/* core/pool/process_pool.c - a pool of threads, each of which feeds a process of its own.
 *
 * The line of jobs, their order, waiting for them and dropping them are those of the pool of threads. A thread that has
 * taken a job takes one of as many slots, puts the request into the slot's channel, and waits for the answer. What may
 * go wrong is seen by that thread alone, and concerns that job alone.
 *
 * A slot's channels live as long as its worker: what a dead worker left in them goes with them. Whether it had taken the
 * request is told by the channel itself, exactly (a get is one step).
 *
 * The answer's tag carries the status, and before it one word: 0, or why there is no answer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/os/os.h"
#include "core/sync/wait.h"
#include "manyhands/lock.h"
#include "manyhands/process.h"
#include "manyhands/process_pool.h"

#define LOOK_FIRST_NS \
    INT64_C(1000000) /* when a thread that waits for an answer looks whether the worker lives */
#define LOOK_MOST_NS INT64_C(20000000)
#define UNTAKEN_MOST 3 /* workers in a row that die before they take the request: the next will as well */
#define LEAVE_NS INT64_C(5000000000)

struct slot {
    mh_process process; /* first: its run finds the slot */
    mh_process_pool *pool;
    mh_channel *requests, *answers; /* NULL: no worker */
    struct slot *next;              /* of the free ones */
};

struct mh_process_pool {
    mh_pool *threads;
    mh_process_pool_options options;
    mh_lock lock; /* of `free` */
    struct slot *free;
    uint32_t count;
    int pid;
    _Atomic(uint64_t) replaced;
    struct slot slots[];
};

static int is_lost(const mh_process_pool *pool)
{
    return pool->pid != mh_os_pid();
}

/* ---- the worker's side ---- */

static int serve_one(const mh_process_pool *pool, struct slot *slot, mh_message *request)
{
    mh_part parts[2] = {{0}};
    int32_t status = pool->options.serve(pool->options.context, request, &parts[1]), why = 0;
    parts[0] = (mh_part){&why, sizeof why};
    int rc;
    do {
        rc = mh_channel_put(slot->answers, parts, 2, (uint32_t) status, MH_FOREVER, NULL);
        if (rc == -EMSGSIZE || rc == -ENOMEM) {
            why = rc;
            parts[1].size = 0;
        }
    } while (rc == -EINTR || (why != 0 && rc == why));
    return rc;
}

static int work(mh_process *self)
{
    struct slot *slot = (struct slot *) self;
    const mh_process_pool *pool = slot->pool;
    mh_message request = {0};
    int rc = pool->options.begin != NULL ? pool->options.begin(pool->options.context) : 0;
    if (rc != 0) {
        return rc;
    }
    while (rc == 0 || rc == -EINTR) {
        rc = mh_channel_get(slot->requests, &request, MH_FOREVER, NULL);
        if (rc == 0) {
            rc = serve_one(pool, slot, &request);
        }
    }
    return rc == MH_E_CLOSED ? 0 : 1;
}

/* ---- starting and ending a worker ---- */

static void drop_channels(struct slot *slot)
{
    mh_channel_destroy(slot->requests);
    mh_channel_destroy(slot->answers);
    slot->requests = slot->answers = NULL;
}

static int start(struct slot *slot)
{
    /* room for the parts that we add, and for what a ring needs beside its messages */
    uint64_t bytes = slot->pool->options.max_bytes;
    mh_channel_options options = {.max_items = 1, .max_bytes = bytes != 0 ? bytes + 64 : 0};
    int rc = mh_channel_create(&options, &slot->requests);
    if (rc == 0) {
        rc = mh_channel_create(&options, &slot->answers);
    }
    if (rc == 0) {
        slot->process.run = work;
        slot->process.flags = MH_PROCESS_DIE_WITH_PARENT;
        rc = mh_process_start(&slot->process);
    }
    if (rc < 0) {
        drop_channels(slot);
    }
    return rc;
}

static int has_ended(struct slot *slot)
{
    return mh_process_state(&slot->process) == MH_FINISHED;
}

/* Wait for its end, whatever comes between. 1: it has ended. */
static int join(struct slot *slot, mh_deadline deadline)
{
    int rc;
    do {
        rc = mh_process_join(&slot->process, deadline, NULL);
    } while (rc == -EINTR);
    return rc == 0;
}

static void bury(struct slot *slot)
{
    (void) mh_process_kill(&slot->process);
    (void) join(slot, MH_FOREVER);
    mh_process_fini(&slot->process);
    drop_channels(slot);
}

/* A living worker in the slot. */
static int ensure(struct slot *slot)
{
    if (slot->requests != NULL) {
        if (!has_ended(slot)) {
            return 0;
        }
        bury(slot);
    }
    int rc = start(slot);
    if (rc == 0) {
        (void) mh_add_rlx(&slot->pool->replaced, 1);
    }
    return rc;
}

/* ---- one job, on a thread of the pool ---- */

/* Inside a shield. */
static void lock(mh_process_pool *pool)
{
    while (mh_lock_acquire(&pool->lock, MH_FOREVER, NULL) < 0) {
        /* a signal */
    }
}

static struct slot *take_slot(mh_process_pool *pool)
{
    lock(pool);
    struct slot *slot = pool->free;
    pool->free = slot->next; /* there are as many as threads */
    mh_lock_release(&pool->lock);
    return slot;
}

static void give_back(mh_process_pool *pool, struct slot *slot)
{
    lock(pool);
    slot->next = pool->free;
    pool->free = slot;
    mh_lock_release(&pool->lock);
}

/* The answer, or MH_E_LOST, -ETIMEDOUT, -ECANCELED, -ENOMEM, MH_E_CORRUPT. */
static int await_answer(struct slot *slot, mh_job *job, mh_deadline until)
{
    for (int64_t look = LOOK_FIRST_NS;; look = look < LOOK_MOST_NS ? look * 2 : LOOK_MOST_NS) {
        mh_deadline end = mh_in_ns(look);
        int late = until <= end;
        int rc = mh_channel_get(slot->answers, &job->answer, late ? until : end, &job->task.cancel);
        if (rc == -ETIMEDOUT && has_ended(slot)) {
            rc = mh_channel_get(slot->answers, &job->answer, MH_AT_ONCE, NULL); /* put, and then it died */
            return rc == -ETIMEDOUT ? (int) MH_E_LOST : rc;
        }
        if (rc != -EINTR && (rc != -ETIMEDOUT || late)) {
            return rc;
        }
    }
}

/* Hand the job to the slot's worker. *taken: it may have begun. */
static int attempt(struct slot *slot, mh_job *job, int *taken)
{
    mh_deadline until = job->end_by != 0 ? job->end_by : MH_FOREVER;
    int rc = ensure(slot);
    *taken = 1;
    if (rc < 0) {
        return rc;
    }
    mh_deadline limit = job->limit > 0 ? mh_in_ns(job->limit) : MH_FOREVER;
    until = limit < until ? limit : until;
    rc = mh_channel_put(slot->requests, &job->request, 1, 0, MH_AT_ONCE,
                        NULL); /* empty: there is room or never */
    if (rc < 0) {
        return rc == -ENOMEM || rc == -ETIMEDOUT ? -EMSGSIZE : rc;
    }
    job->begun++;
    rc = await_answer(slot, job, until);
    if (rc < 0) {
        *taken = mh_channel_items(slot->requests) == 0;
        bury(slot);
    }
    return rc;
}

/* The word before the answer goes: the caller sees what `serve` gave. */
static int open_answer(mh_job *job)
{
    int32_t why = -EBADMSG;
    char *bytes = job->answer.data;
    if (job->answer.size < sizeof why) {
        return MH_E_CORRUPT;
    }
    memcpy(&why, bytes, sizeof why);
    job->answer.size -= sizeof why;
    memmove(bytes, bytes + sizeof why, job->answer.size);
    return why;
}

static int run(mh_task *task)
{
    mh_job *job = (mh_job *) (void *) ((char *) task - offsetof(mh_job, task));
    mh_process_pool *pool = job->pool;
    uint32_t lost = 0, untaken = 0;
    int taken, rc;
    mh_shield_enter();
    struct slot *slot = take_slot(pool);
    do {
        rc = attempt(slot, job, &taken);
        untaken = taken ? 0 : untaken + 1;
        lost += taken != 0;
    } while (rc == MH_E_LOST && (taken ? lost <= job->retries : untaken < UNTAKEN_MOST));
    give_back(pool, slot);
    mh_shield_leave();
    return rc < 0 ? rc : open_answer(job);
}

/* ---- the pool ---- */

static void let_go(mh_process_pool *pool)
{
    mh_deadline leave = mh_in_ns(LEAVE_NS);
    for (uint32_t i = 0; i < pool->count; i++) {
        if (pool->slots[i].requests != NULL) {
            mh_channel_close(pool->slots[i].requests, 0);
        }
    }
    for (uint32_t i = 0; i < pool->count; i++) {
        struct slot *slot = &pool->slots[i];
        if (slot->requests != NULL) {
            (void) join(slot, leave);
            bury(slot);
        }
    }
}

static int start_all(mh_process_pool *pool)
{
    int rc = 0;
    for (uint32_t i = 0; i < pool->count && rc == 0; i++) {
        struct slot *slot = &pool->slots[i];
        slot->pool = pool;
        rc = start(slot);
        slot->next = pool->free;
        pool->free = slot;
    }
    return rc;
}

int mh_process_pool_create(const mh_process_pool_options *options, mh_process_pool **pool)
{
    uint32_t count = options->workers != 0 ? options->workers : (uint32_t) mh_os_cores();
    if (options->serve == NULL || count > MH_POOL_MAX) {
        return -EINVAL;
    }
    mh_process_pool *made = mh_os_calloc(1, sizeof *made + count * sizeof made->slots[0]);
    if (made == NULL) {
        return -ENOMEM;
    }
    made->options = *options;
    made->count = count;
    made->pid = mh_os_pid();
    mh_lock_init(&made->lock, MH_PRIVATE);
    mh_shield_enter();
    int rc = start_all(made); /* before the threads: what is forked here has no other thread to miss */
    if (rc == 0) {
        rc = mh_pool_create(&(mh_pool_options){.workers = count, .name = "process pool"}, &made->threads);
    }
    if (rc < 0) {
        let_go(made);
        free(made);
    } else {
        *pool = made;
    }
    mh_shield_leave();
    return rc;
}

int mh_process_pool_destroy(mh_process_pool *pool)
{
    if (pool == NULL) {
        return 0;
    }
    int lost = is_lost(pool), rc = mh_pool_destroy(pool->threads);
    if (rc < 0) {
        return rc;
    }
    mh_shield_enter();
    for (uint32_t i = 0; lost && i < pool->count; i++) {
        drop_channels(&pool->slots[i]); /* this process's view of them */
        mh_process_fini(&pool->slots[i].process);
    }
    if (!lost) {
        let_go(pool);
    }
    mh_shield_leave();
    free(pool);
    return 0;
}

int mh_process_pool_submit(mh_process_pool *pool, mh_job *job)
{
    int result;
    if (is_lost(pool)) {
        return MH_E_LOST;
    }
    if (job->pool != NULL && mh_task_result(&job->task, &result) < 0) {
        return MH_E_STATE;
    }
    job->task.run = run;
    job->task.begin_by = job->end_by;
    job->begun = 0;
    job->answer.size = 0;
    mh_process_pool *before = job->pool;
    job->pool = pool;
    int rc = mh_pool_submit(pool->threads, &job->task);
    if (rc < 0) {
        job->pool = before;
    }
    return rc;
}

int mh_process_pool_wait(mh_process_pool *pool, mh_deadline deadline, mh_cancel *cancel)
{
    return mh_pool_wait(pool->threads, deadline, cancel);
}

int mh_process_pool_close(mh_process_pool *pool, int drop)
{
    return mh_pool_close(pool->threads, drop);
}

uint32_t mh_process_pool_workers(const mh_process_pool *pool)
{
    return pool->count;
}

uint32_t mh_process_pool_pending(const mh_process_pool *pool)
{
    return mh_pool_pending(pool->threads);
}

uint64_t mh_process_pool_replaced(const mh_process_pool *pool)
{
    return mh_load_rlx(&((mh_process_pool *) (uintptr_t) pool)->replaced);
}

/* ---- jobs ---- */

int mh_job_wait(mh_job *job, mh_deadline deadline, mh_cancel *cancel)
{
    return mh_task_wait(&job->task, deadline, cancel);
}

int mh_job_cancel(mh_job *job)
{
    return mh_task_cancel(&job->task);
}

int mh_job_result(const mh_job *job, int *status)
{
    int result, rc = mh_task_result(&job->task, &result);
    if (rc == 0 && result == 0) {
        *status = (int) job->answer.tag;
    }
    return rc < 0 ? rc : result;
}

void mh_job_fini(mh_job *job)
{
    mh_message_fini(&job->answer);
}
