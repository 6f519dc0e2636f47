/* tests/core/test_pool.c - the pool of threads, its tasks, and the parallel loop. */
#include "core/os/atomic.h"
#include "core/os/os.h"
#include "manyhands/event.h"
#include "manyhands/pool.h"
#include "manyhands/sem.h"
#include "manyhands/thread.h"
#include "tests/core/harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 2000 };

struct job {
    mh_task task;
    _Atomic(int) runs;
    mh_event *begun, *go;
    mh_pool *pool;
    int code, seen;
};

static mh_deadline soon(void)
{
    return mh_in_ms(10000 * t_scale());
}

static mh_pool *pool_of(uint32_t workers)
{
    mh_pool *pool = NULL;
    CHECK_EQ(mh_pool_create(&(mh_pool_options){.workers = workers, .name = "test"}, &pool), 0);
    CHECK_EQ(mh_pool_workers(pool), workers);
    return pool;
}

static int count_up(mh_task *task)
{
    struct job *job = (struct job *) task;
    (void) mh_add_rlx(&job->runs, 1);
    return job->code;
}

/* Says that it has begun, and waits until it may go on or is cancelled. */
static int hold(mh_task *task)
{
    struct job *job = (struct job *) task;
    (void) mh_add_rlx(&job->runs, 1);
    mh_event_set(job->begun);
    return mh_event_wait(job->go, MH_FOREVER, &task->cancel);
}

static int result_of(struct job *job)
{
    int result = 12345;
    CHECK_EQ(mh_task_wait(&job->task, soon(), NULL), 0);
    CHECK_EQ(mh_task_result(&job->task, &result), 0);
    return result;
}

struct held { /* a pool of one thread, which `first` occupies */
    mh_pool *pool;
    mh_event begun, go;
    struct job first;
};

static void hold_pool(struct held *held)
{
    memset(held, 0, sizeof *held);
    mh_event_init(&held->begun, MH_PRIVATE);
    mh_event_init(&held->go, MH_PRIVATE);
    held->pool = pool_of(1);
    held->first = (struct job){.task.run = hold, .begun = &held->begun, .go = &held->go};
    CHECK_EQ(mh_pool_submit(held->pool, &held->first.task), 0);
    CHECK_EQ(mh_event_wait(&held->begun, soon(), NULL), 0);
}

TEST(every_task_runs_once_and_says_its_result)
{
    static struct job jobs[MANY];
    mh_pool *pool = pool_of(3);
    for (int i = 0; i < MANY; i++) {
        jobs[i] = (struct job){.task.run = count_up, .code = i};
        CHECK_EQ(mh_pool_submit(pool, &jobs[i].task), 0);
    }
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(result_of(&jobs[i]), i);
        CHECK_EQ(mh_load_rlx(&jobs[i].runs), 1);
    }
    CHECK_EQ(mh_pool_wait(pool, soon(), NULL), 0);
    CHECK_EQ(mh_pool_pending(pool), 0);
    CHECK_EQ(mh_pool_destroy(pool), 0);
}

TEST(an_ended_task_may_be_submitted_again)
{
    struct job job = {.task.run = count_up, .code = 4};
    mh_pool *pool = pool_of(2);
    for (int i = 1; i <= 100; i++) {
        CHECK_EQ(mh_pool_submit(pool, &job.task), 0);
        CHECK_EQ(result_of(&job), 4);
        CHECK_EQ(mh_load_rlx(&job.runs), i);
    }
    CHECK_EQ(mh_pool_destroy(pool), 0);
}

TEST(destroy_runs_what_waits)
{
    static struct job jobs[MANY];
    mh_pool *pool = pool_of(2);
    for (int i = 0; i < MANY; i++) {
        jobs[i] = (struct job){.task.run = count_up};
        CHECK_EQ(mh_pool_submit(pool, &jobs[i].task), 0);
    }
    CHECK_EQ(mh_pool_destroy(pool), 0);
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(mh_load_rlx(&jobs[i].runs), 1);
    }
}

TEST(bad_input_is_refused)
{
    mh_pool *pool = NULL;
    struct job job = {.code = 0};
    int result;
    CHECK_EQ(mh_pool_create(&(mh_pool_options){.workers = MH_POOL_MAX + 1}, &pool), -EINVAL);
    CHECK_EQ(mh_pool_create(&(mh_pool_options){.workers = 2, .stack_size = 1}, &pool), -EINVAL);
    CHECK(pool == NULL);
    CHECK_EQ(mh_pool_create(NULL, &pool), 0);
    CHECK_EQ(mh_pool_workers(pool), mh_os_cores());
    CHECK_EQ(mh_pool_submit(pool, &job.task), -EINVAL);
    CHECK_EQ(mh_task_wait(&job.task, MH_AT_ONCE, NULL), MH_E_STATE);
    CHECK_EQ(mh_task_cancel(&job.task), MH_E_STATE);
    CHECK_EQ(mh_task_result(&job.task, &result), MH_E_STATE);
    CHECK_EQ(mh_pool_destroy(pool), 0);
    CHECK_EQ(mh_pool_destroy(NULL), 0);
}

TEST(a_task_in_use_is_refused)
{
    struct held held;
    hold_pool(&held);
    struct job waits = {.task.run = count_up};
    CHECK_EQ(mh_pool_submit(held.pool, &held.first.task), MH_E_STATE);
    CHECK_EQ(mh_pool_submit(held.pool, &waits.task), 0);
    CHECK_EQ(mh_pool_submit(held.pool, &waits.task), MH_E_STATE);
    CHECK_EQ(mh_pool_pending(held.pool), 2);
    mh_event_set(&held.go);
    CHECK_EQ(result_of(&waits), 0);
    CHECK_EQ(mh_load_rlx(&waits.runs), 1);
    CHECK_EQ(mh_pool_destroy(held.pool), 0);
}

TEST(waits_end_at_their_deadline_and_token)
{
    struct held held;
    mh_cancel token = {0};
    hold_pool(&held);
    mh_cancel_request(&token);
    CHECK_EQ(mh_task_wait(&held.first.task, mh_in_ms(20), NULL), -ETIMEDOUT);
    CHECK_EQ(mh_task_wait(&held.first.task, MH_FOREVER, &token), -ECANCELED);
    CHECK_EQ(mh_pool_wait(held.pool, mh_in_ms(20), NULL), -ETIMEDOUT);
    CHECK_EQ(mh_pool_wait(held.pool, MH_FOREVER, &token), -ECANCELED);
    mh_event_set(&held.go);
    CHECK_EQ(mh_pool_wait(held.pool, soon(), NULL), 0);
    CHECK_EQ(result_of(&held.first), 0);
    CHECK_EQ(mh_pool_destroy(held.pool), 0);
}

TEST(cancel_takes_out_of_the_line)
{
    struct held held;
    struct job jobs[3];
    hold_pool(&held);
    for (int i = 0; i < 3; i++) {
        jobs[i] = (struct job){.task.run = count_up, .code = 1};
        CHECK_EQ(mh_pool_submit(held.pool, &jobs[i].task), 0);
    }
    CHECK_EQ(mh_task_cancel(&jobs[1].task), 0); /* from the middle, then the end */
    CHECK_EQ(mh_task_cancel(&jobs[2].task), 0);
    CHECK_EQ(mh_task_cancel(&jobs[1].task), MH_E_STATE);
    CHECK_EQ(result_of(&jobs[1]), -ECANCELED);
    CHECK_EQ(mh_pool_submit(held.pool, &jobs[2].task), 0); /* the line's end is right again */
    mh_event_set(&held.go);
    CHECK_EQ(result_of(&jobs[0]), 1);
    CHECK_EQ(result_of(&jobs[2]), 1);
    CHECK_EQ(mh_pool_destroy(held.pool), 0);
    CHECK_EQ(mh_load_rlx(&jobs[1].runs), 0);
}

TEST(cancel_reaches_the_waits_of_one_that_runs)
{
    struct held held;
    hold_pool(&held);
    CHECK_EQ(mh_task_cancel(&held.first.task), -EBUSY);
    CHECK_EQ(result_of(&held.first), -ECANCELED);
    CHECK_EQ(mh_pool_destroy(held.pool), 0);
}

TEST(begin_by_is_kept)
{
    struct held held;
    hold_pool(&held);
    struct job late = {.task = {.run = count_up, .begin_by = mh_now()}};
    struct job in_time = {.task = {.run = count_up, .begin_by = MH_FOREVER}};
    CHECK_EQ(mh_pool_submit(held.pool, &late.task), 0);
    CHECK_EQ(mh_pool_submit(held.pool, &in_time.task), 0);
    mh_event_set(&held.go);
    CHECK_EQ(result_of(&late), -ETIMEDOUT);
    CHECK_EQ(mh_load_rlx(&late.runs), 0);
    CHECK_EQ(result_of(&in_time), 0);
    CHECK_EQ(mh_pool_destroy(held.pool), 0);
}

TEST(close_drops_or_keeps)
{
    struct held held;
    hold_pool(&held);
    struct job dropped = {.task.run = count_up}, refused = {.task.run = count_up};
    CHECK_EQ(mh_pool_submit(held.pool, &dropped.task), 0);
    CHECK_EQ(mh_pool_close(held.pool, 1), 0);
    CHECK_EQ(result_of(&dropped), -ECANCELED);
    CHECK_EQ(mh_pool_submit(held.pool, &refused.task), MH_E_CLOSED);
    CHECK_EQ(mh_pool_close(held.pool, 0), 0);
    mh_event_set(&held.go);
    CHECK_EQ(mh_pool_destroy(held.pool), 0);
    CHECK_EQ(result_of(&held.first), 0);
    CHECK_EQ(mh_load_rlx(&dropped.runs), 0);
}

static _Atomic(int) released;

static void release(mh_task *task)
{
    free(task);
    (void) mh_add_rlx(&released, 1);
}

TEST(a_task_may_free_itself)
{
    mh_pool *pool = pool_of(2);
    for (int i = 0; i < MANY; i++) {
        struct job *job = calloc(1, sizeof *job);
        CHECK(job != NULL);
        job->task.run = count_up;
        job->task.release = release;
        job->task.begin_by = i % 3 == 0 ? 1 : 0; /* some end without having begun */
        CHECK_EQ(mh_pool_submit(pool, &job->task), 0);
    }
    CHECK_EQ(mh_pool_close(pool, 1), 0); /* and some are dropped */
    CHECK_EQ(mh_pool_destroy(pool), 0);
    CHECK_EQ(mh_load_rlx(&released), MANY);
}

static int ask_from_within(mh_task *task)
{
    struct job *job = (struct job *) task;
    job->seen = mh_pool_wait(job->pool, MH_FOREVER, NULL);
    return mh_pool_destroy(job->pool);
}

TEST(a_task_cannot_wait_for_its_own_pool)
{
    mh_pool *pool = pool_of(1);
    struct job job = {.task.run = ask_from_within, .pool = pool};
    CHECK_EQ(mh_pool_submit(pool, &job.task), 0);
    CHECK_EQ(result_of(&job), -EDEADLK);
    CHECK_EQ(job.seen, -EDEADLK);
    CHECK_EQ(mh_pool_destroy(pool), 0);
}

static int end_my_thread(mh_task *task)
{
    (void) task;
    CHECK_EQ(mh_thread_terminate(mh_thread_self()), 0);
    return mh_checkpoint();
}

TEST(a_thread_that_ends_is_replaced)
{
    mh_pool *pool = pool_of(1);
    for (int i = 0; i < 20; i++) {
        struct job killer = {.task.run = end_my_thread}, next = {.task.run = count_up, .code = 6};
        CHECK_EQ(mh_pool_submit(pool, &killer.task), 0);
        CHECK_EQ(mh_pool_submit(pool, &next.task), 0);
        CHECK_EQ(result_of(&killer), -ECANCELED);
        CHECK_EQ(result_of(&next), 6);
    }
    CHECK_EQ(mh_pool_destroy(pool), 0);
}

static void in_the_child(void *argument)
{
    struct held *held = argument;
    struct job job = {.task.run = count_up};
    CHECK_EQ(mh_pool_submit(held->pool, &job.task), MH_E_LOST);
    CHECK_EQ(mh_pool_wait(held->pool, MH_FOREVER, NULL), MH_E_LOST);
    CHECK_EQ(mh_pool_close(held->pool, 0), MH_E_LOST);
    CHECK_EQ(mh_task_wait(&held->first.task, MH_FOREVER, NULL), MH_E_LOST);
    CHECK_EQ(mh_task_cancel(&held->first.task), MH_E_LOST);
    CHECK_EQ(mh_parallel_for(held->pool, 0, 1, 0, NULL, NULL, MH_FOREVER, NULL), -EINVAL);
    CHECK_EQ(mh_pool_destroy(held->pool), 0);
}

TEST(a_forked_child_is_told)
{
    struct held held;
    hold_pool(&held);
    CHECK_EQ(t_wait(t_fork(in_the_child, &held), 10 * t_scale()), 0);
    mh_event_set(&held.go);
    CHECK_EQ(result_of(&held.first), 0);
    CHECK_EQ(mh_pool_destroy(held.pool), 0);
}

/* ---- the loop ---- */

struct marks {
    int64_t first, stop_at;
    _Atomic(int) count[1000];
    mh_pool *pool;
    mh_cancel *cancel;
};

static int mark(int64_t first, int64_t end, void *arg)
{
    struct marks *marks = arg;
    for (int64_t i = first; i < end; i++) {
        (void) mh_add_rlx(&marks->count[(uint64_t) i - (uint64_t) marks->first], 1);
        if (i == marks->stop_at) {
            return 77;
        }
    }
    return 0;
}

static void check_range(mh_pool *pool, int64_t first, int64_t width, int64_t grain)
{
    struct marks marks = {.first = first, .stop_at = INT64_MAX};
    CHECK_EQ(mh_parallel_for(pool, first, first + width, grain, mark, &marks, MH_FOREVER, NULL), 0);
    for (int64_t i = 0; i < 1000; i++) {
        CHECK_EQ(mh_load_rlx(&marks.count[i]), i < width);
    }
}

TEST(each_index_once)
{
    mh_pool *pool = pool_of(3);
    static const int64_t grains[] = {0, 1, 7, 999, 1000, INT64_MAX};
    for (size_t i = 0; i < sizeof grains / sizeof grains[0]; i++) {
        check_range(pool, 0, 1000, grains[i]);
        check_range(pool, -500, 1000, grains[i]);
        check_range(pool, INT64_MIN, 1000, grains[i]);
        check_range(pool, INT64_MAX - 1000, 1000, grains[i]);
        check_range(pool, 5, 1, grains[i]);
        check_range(pool, 5, 0, grains[i]);
    }
    CHECK_EQ(mh_parallel_for(pool, 9, 3, 0, mark, NULL, MH_FOREVER, NULL), 0);
    CHECK_EQ(mh_parallel_for(pool, 0, 3, -1, mark, NULL, MH_FOREVER, NULL), -EINVAL);
    CHECK_EQ(mh_pool_destroy(pool), 0);
}

static int whole(int64_t first, int64_t end, void *arg)
{
    *(uint64_t *) arg += (uint64_t) end - (uint64_t) first;
    return 0;
}

TEST(the_widest_range)
{
    mh_pool *pool = pool_of(1);
    uint64_t width = 0;
    mh_pool_close(pool, 0);
    CHECK_EQ(mh_parallel_for(pool, 0, 1, 0, whole, &width, MH_FOREVER, NULL), MH_E_CLOSED);
    CHECK_EQ(mh_pool_destroy(pool), 0);
    struct held held; /* the caller alone: `width` is not shared */
    hold_pool(&held);
    CHECK_EQ(mh_parallel_for(held.pool, INT64_MIN, INT64_MAX, 0, whole, &width, MH_FOREVER, NULL), 0);
    CHECK(width == UINT64_MAX);
    mh_event_set(&held.go);
    CHECK_EQ(mh_pool_destroy(held.pool), 0);
}

TEST(a_piece_ends_the_loop)
{
    struct held held;
    struct marks marks = {.stop_at = 10};
    hold_pool(&held);
    CHECK_EQ(mh_parallel_for(held.pool, 0, 1000, 1, mark, &marks, MH_FOREVER, NULL), 77);
    CHECK_EQ(mh_load_rlx(&marks.count[10]), 1);
    CHECK_EQ(mh_load_rlx(&marks.count[11]), 0); /* the only thread of the pool is busy: in order */
    mh_event_set(&held.go);
    CHECK_EQ(mh_pool_destroy(held.pool), 0);
}

static int cancel_at_20(int64_t first, int64_t end, void *arg)
{
    struct marks *marks = arg;
    if (first <= 20 && 20 < end) {
        mh_cancel_request(marks->cancel);
    }
    return mark(first, end, arg);
}

TEST(a_loop_can_be_cancelled_and_be_late)
{
    struct held held;
    mh_cancel token = {0};
    struct marks marks = {.stop_at = INT64_MAX, .cancel = &token};
    hold_pool(&held);
    CHECK_EQ(mh_parallel_for(held.pool, 0, 1000, 1, mark, &marks, mh_now(), NULL), -ETIMEDOUT);
    CHECK_EQ(mh_load_rlx(&marks.count[0]), 0);
    CHECK_EQ(mh_parallel_for(held.pool, 0, 1000, 1, cancel_at_20, &marks, soon(), &token), -ECANCELED);
    CHECK_EQ(mh_load_rlx(&marks.count[20]), 1);
    CHECK_EQ(mh_load_rlx(&marks.count[21]), 0);
    mh_event_set(&held.go);
    CHECK_EQ(mh_pool_destroy(held.pool), 0);
}

static int inner(int64_t first, int64_t end, void *arg)
{
    (void) mh_add_rlx(&((struct marks *) arg)->count[0], (int) (end - first));
    return 0;
}

static int outer(int64_t first, int64_t end, void *arg)
{
    for (int64_t i = first; i < end; i++) {
        int rc = mh_parallel_for(((struct marks *) arg)->pool, 0, 50, 1, inner, arg, MH_FOREVER, NULL);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

TEST(loops_nest)
{
    struct marks marks = {.pool = pool_of(2)};
    CHECK_EQ(mh_parallel_for(marks.pool, 0, 100, 1, outer, &marks, soon(), NULL), 0);
    CHECK_EQ(mh_load_rlx(&marks.count[0]), 5000);
    CHECK_EQ(mh_pool_destroy(marks.pool), 0);
}
