/* core/pool/pool.c - threads that take tasks from one line.
 *
 * `lock` guards the line (first, last), `closed`, the list of workers, `alive`, and every change of a task's
 * state but the last. It is always held inside a shield: nobody is paused or ended while holding it.
 *
 * Task state, in the low two bits:  NEW or ENDED -submit-> QUEUED -taken-> RUNNING -ran-> ENDED;
 * QUEUED -cancel, drop, too late-> ENDED.  WAITED is set by whoever sleeps on the state; to leave it out
 * would lose that sleeper's wake. A task that has ENDED belongs to its submitter: its memory may be gone.
 */
#include "core/pool/pool.h"

#include <errno.h>
#include <stdlib.h>

#include "core/os/os.h"
#include "core/sync/wait.h"
#include "manyhands/cond.h"
#include "manyhands/lock.h"
#include "manyhands/thread.h"

enum { NEW, QUEUED, RUNNING, ENDED, STATE = 3, WAITED = 4 };

struct worker {
    mh_thread thread;
    mh_pool *pool;
    struct worker *next;
};

struct mh_pool {
    mh_lock lock;
    mh_cond work; /* something in the line, or closed */
    mh_task *first, *last;
    int closed;
    uint32_t workers, alive;
    struct worker *threads; /* also those that were replaced, until the pool goes */
    mh_pool_options options;
    int pid;
    _Atomic(uint32_t) pending; /* submitted and not ended */
    _Atomic(uint32_t) waiters; /* in mh_pool_wait */
};

static void enter(mh_pool *pool)
{
    mh_shield_enter();
    while (mh_lock_acquire(&pool->lock, MH_FOREVER, NULL) < 0) {
        /* a signal; the shield keeps the rest away */
    }
}

static void leave(mh_pool *pool)
{
    mh_lock_release(&pool->lock);
    mh_shield_leave();
}

static int is_lost(const mh_pool *pool)
{
    return pool->pid != mh_os_pid();
}

/* ---- the end of a task ---- */

static void end(mh_pool *pool, mh_task *task, int result)
{
    if (task->release != NULL) {
        task->release(task);
    } else {
        task->result = result;
        uint32_t was = mh_xchg_acq_rel(&task->state, ENDED); /* pairs with mh_task_wait and _result */
        if (was & WAITED) {
            mh_wake(&task->state, INT32_MAX, MH_PRIVATE);
        }
    }
    /* Announce, then look; mh_pool_wait does the same the other way round, so one of the two sees the other. */
    if (mh_sub_acq_rel(&pool->pending, 1) == 1) {
        mh_fence_seq();
        if (mh_load_rlx(&pool->waiters) != 0) {
            mh_wake(&pool->pending, INT32_MAX, MH_PRIVATE);
        }
    }
}

/* All that have not begun; the caller ends them, without the lock. */
static mh_task *take_all(mh_pool *pool)
{
    mh_task *all = pool->first;
    pool->first = pool->last = NULL;
    for (mh_task *task = all; task != NULL; task = task->next) {
        (void) mh_add_acq_rel(&task->state, RUNNING - QUEUED); /* out of mh_task_cancel's reach */
    }
    return all;
}

static void end_all(mh_pool *pool, mh_task *all, int result)
{
    while (all != NULL) {
        mh_task *task = all;
        all = task->next;
        end(pool, task, result);
    }
}

/* ---- workers ---- */

/* The first in line, begun; NULL: closed, and nothing is left. The lock is held. */
static mh_task *take(mh_pool *pool)
{
    while (pool->first == NULL) {
        if (pool->closed) {
            return NULL;
        }
        (void) mh_cond_wait(&pool->work, &pool->lock, MH_FOREVER, NULL); /* whatever ended it: look again */
    }
    mh_task *task = pool->first;
    pool->first = task->next;
    if (pool->first == NULL) {
        pool->last = NULL;
    }
    (void) mh_add_acq_rel(&task->state, RUNNING - QUEUED); /* leaves WAITED as it is */
    return task;
}

static void run(mh_pool *pool, mh_task *task)
{
    int result = -ETIMEDOUT;
    if (task->begin_by == 0 || task->begin_by > mh_now()) {
        mh_shield_leave();
        result = task->run(task);
        mh_shield_enter();
    }
    end(pool, task, result);
}

static int start_worker(mh_pool *pool);

/* This thread was told to end, by a task: another goes on in its place. Without one the last to go leaves
 * nobody who would run what waits. */
static void hand_over(mh_pool *pool)
{
    mh_task *lost = NULL;
    enter(pool);
    pool->alive--;
    if (start_worker(pool) < 0 && pool->alive == 0) {
        pool->closed = 1;
        lost = take_all(pool);
    }
    leave(pool);
    end_all(pool, lost, MH_E_LOST);
}

static int work(mh_thread *self)
{
    mh_pool *pool = ((struct worker *) self)->pool;
    for (;;) {
        enter(pool);
        mh_task *task = take(pool);
        mh_lock_release(&pool->lock);
        if (task == NULL) {
            mh_shield_leave();
            return 0;
        }
        run(pool, task);
        mh_shield_leave();
        if (mh_checkpoint() < 0) {
            hand_over(pool);
            return 0;
        }
    }
}

/* The lock is held, or nobody else knows the pool. */
static int start_worker(mh_pool *pool)
{
    struct worker *worker = mh_os_calloc(1, sizeof *worker);
    if (worker == NULL) {
        return -ENOMEM;
    }
    worker->pool = pool;
    worker->thread.run = work;
    worker->thread.name = pool->options.name;
    worker->thread.stack_size = pool->options.stack_size;
    int rc = mh_thread_start(&worker->thread);
    if (rc < 0) {
        free(worker);
        return rc;
    }
    worker->next = pool->threads;
    pool->threads = worker;
    pool->alive++;
    return 0;
}

static int is_worker(const mh_pool *pool)
{
    mh_thread *self = mh_thread_self();
    return self != NULL && self->run == work && ((struct worker *) self)->pool == pool;
}

/* ---- the pool ---- */

int mh_pool_create(const mh_pool_options *options, mh_pool **pool)
{
    mh_pool *made = mh_os_calloc(1, sizeof *made);
    if (made == NULL) {
        return -ENOMEM;
    }
    if (options != NULL) {
        made->options = *options;
    }
    made->workers = made->options.workers != 0 ? made->options.workers : (uint32_t) mh_os_cores();
    made->pid = mh_os_pid();
    mh_lock_init(&made->lock, MH_PRIVATE);
    mh_cond_init(&made->work, 0, MH_PRIVATE);
    int rc = made->workers > MH_POOL_MAX ? -EINVAL : 0;
    enter(made); /* those that run already wait until all are there */
    for (uint32_t i = 0; i < made->workers && rc == 0; i++) {
        rc = start_worker(made);
    }
    leave(made);
    if (rc < 0) {
        (void) mh_pool_destroy(made);
        return rc;
    }
    *pool = made;
    return 0;
}

int mh__pool_usable(mh_pool *pool)
{
    if (is_lost(pool)) {
        return MH_E_LOST;
    }
    enter(pool);
    int rc = pool->closed ? MH_E_CLOSED : 0;
    leave(pool);
    return rc;
}

/* The lock is held. */
static int append(mh_pool *pool, mh_task *task)
{
    uint32_t state = mh_load_acq(&task->state) & STATE; /* pairs with end() */
    if (pool->closed) {
        return MH_E_CLOSED;
    }
    if (state == QUEUED || state == RUNNING) {
        return MH_E_STATE;
    }
    task->pool = pool;
    task->next = NULL;
    mh_cancel_init(&task->cancel, MH_PRIVATE);
    mh_store_rlx(&task->state, QUEUED);
    (void) mh_add_rlx(&pool->pending, 1);
    *(pool->last != NULL ? &pool->last->next : &pool->first) = task;
    pool->last = task;
    return 0;
}

int mh_pool_submit(mh_pool *pool, mh_task *task)
{
    if (task->run == NULL) {
        return -EINVAL;
    }
    if (is_lost(pool)) {
        return MH_E_LOST;
    }
    enter(pool);
    int rc = append(pool, task);
    leave(pool);
    if (rc == 0) {
        mh_cond_notify(&pool->work, 1); /* after the release: whom it wakes finds the lock free */
    }
    return rc;
}

int mh_pool_wait(mh_pool *pool, mh_deadline deadline, mh_cancel *cancel)
{
    int rc = 0;
    uint32_t left;
    if (is_lost(pool)) {
        return MH_E_LOST;
    }
    if (is_worker(pool)) {
        return -EDEADLK;
    }
    (void) mh_add_rlx(&pool->waiters, 1);
    mh_fence_seq(); /* pairs with the one of end() */
    while (rc == 0 && (left = mh_load_acq(&pool->pending)) != 0) {
        rc = mh_wait(&pool->pending, left, deadline, cancel, MH_PRIVATE);
    }
    (void) mh_sub_rlx(&pool->waiters, 1);
    return rc;
}

int mh_pool_close(mh_pool *pool, int drop)
{
    if (is_lost(pool)) {
        return MH_E_LOST;
    }
    enter(pool);
    pool->closed = 1;
    mh_task *dropped = drop ? take_all(pool) : NULL;
    leave(pool);
    mh_cond_notify_all(&pool->work);
    end_all(pool, dropped, -ECANCELED);
    return 0;
}

/* The list may grow while it is walked, at its head: a worker that was replaced is joined before the head is
 * looked at again, and by then its successor stands there. */
static void join_workers(mh_pool *pool)
{
    mh_shield_enter();
    for (;;) {
        enter(pool);
        struct worker *worker = pool->threads;
        if (worker != NULL) {
            pool->threads = worker->next;
        }
        leave(pool);
        if (worker == NULL) {
            break;
        }
        while (mh_thread_join(&worker->thread, MH_FOREVER, NULL) < 0) {
            /* a signal */
        }
        free(worker);
    }
    mh_shield_leave();
}

int mh_pool_destroy(mh_pool *pool)
{
    if (pool == NULL) {
        return 0;
    }
    if (is_lost(pool)) {
        while (pool->threads != NULL) {
            struct worker *worker = pool->threads;
            pool->threads = worker->next;
            free(worker);
        }
        free(pool);
        return 0;
    }
    if (is_worker(pool)) {
        return -EDEADLK;
    }
    (void) mh_pool_close(pool, 0);
    join_workers(pool);
    free(pool);
    return 0;
}

uint32_t mh_pool_workers(const mh_pool *pool)
{
    return pool->workers;
}

uint32_t mh_pool_pending(const mh_pool *pool)
{
    return mh_load_rlx(&((mh_pool *) (uintptr_t) pool)->pending);
}

/* ---- tasks ---- */

static int await(mh_task *task, mh_deadline deadline, mh_cancel *cancel, unsigned flags)
{
    uint32_t state = mh_load_acq(&task->state); /* pairs with end() */
    while ((state & STATE) != ENDED) {
        if (!(state & WAITED)) {
            if (!mh_cas_acq(&task->state, &state, state | WAITED)) {
                continue;
            }
            state |= WAITED;
        }
        int rc = mh__wait(&task->state, state, deadline, cancel, MH_PRIVATE | flags);
        if (rc < 0) {
            return rc;
        }
        state = mh_load_acq(&task->state);
    }
    return 0;
}

int mh_task_wait(mh_task *task, mh_deadline deadline, mh_cancel *cancel)
{
    uint32_t state = mh_load_acq(&task->state) & STATE;
    if (state == NEW) {
        return MH_E_STATE;
    }
    if (state != ENDED && is_lost(task->pool)) {
        return MH_E_LOST;
    }
    return await(task, deadline, cancel, 0);
}

/* It is in the line: take it out. The lock is held. */
static void unlink_task(mh_pool *pool, mh_task *task)
{
    mh_task *before = NULL;
    for (mh_task *at = pool->first; at != task; at = at->next) {
        before = at;
    }
    *(before != NULL ? &before->next : &pool->first) = task->next;
    if (pool->last == task) {
        pool->last = before;
    }
}

int mh_task_cancel(mh_task *task)
{
    uint32_t state = mh_load_acq(&task->state) & STATE;
    if (state == NEW || state == ENDED) {
        return MH_E_STATE;
    }
    mh_pool *pool = task->pool;
    if (is_lost(pool)) {
        return MH_E_LOST;
    }
    enter(pool);
    state = mh_load_acq(&task->state) & STATE;
    if (state == QUEUED) {
        unlink_task(pool, task);
        (void) mh_add_acq_rel(&task->state, RUNNING - QUEUED); /* ours to end now */
    }
    leave(pool);
    if (state == QUEUED) {
        end(pool, task, -ECANCELED);
        return 0;
    }
    if (state == ENDED) {
        return MH_E_STATE;
    }
    mh_cancel_request(&task->cancel);
    return -EBUSY;
}

void mh__task_finish(mh_task *task)
{
    (void) mh_task_cancel(task);
    (void) await(task, MH_FOREVER, NULL, MH__SECTION);
}

int mh_task_result(const mh_task *task, int *result)
{
    if ((mh_load_acq(&((mh_task *) (uintptr_t) task)->state) & STATE) != ENDED) { /* pairs with end() */
        return MH_E_STATE;
    }
    *result = task->result;
    return 0;
}
