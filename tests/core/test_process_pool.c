/* Pools of processes: answers, deaths, limits, cancelling, retries, closing, forks. */
#include "tests/core/harness.h"

#include <errno.h>
#include <manyhands/manyhands.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/os/atomic.h"

/* What the test and all workers share. */
struct board {
    MH_ATOMIC(uint32_t) begun, go, deaths;
};

/* A request is a word, and perhaps bytes behind it. */
enum { ECHO, EXIT, KILL, WAIT, STATUS, LARGE, DIE_TWICE, PID };

struct request {
    int what;
    char text[60];
};

static void wait_for_go(struct board *board)
{
    mh_store_rel(&board->begun, 1);
    mh_wake(&board->begun, INT32_MAX, 0);
    while (mh_load_acq(&board->go) == 0) {
        (void) mh_wait(&board->go, 0, MH_FOREVER, NULL, 0);
    }
}

static void await_begun(struct board *board)
{
    while (mh_load_acq(&board->begun) == 0) {
        (void) mh_wait(&board->begun, 0, MH_FOREVER, NULL, 0);
    }
}

static int serve(void *context, const mh_message *request, mh_part *answer)
{
    static char large[1 << 20];
    static int pid;
    struct board *board = context;
    struct request *r = request->data;
    switch (r->what) {
    case EXIT:
        _exit(3);
    case KILL:
        (void) raise(SIGKILL);
        break;
    case WAIT:
        wait_for_go(board);
        break;
    case STATUS:
        return -12345;
    case LARGE:
        *answer = (mh_part){large, sizeof large};
        return 0;
    case DIE_TWICE:
        if (mh_add_acq_rel(&board->deaths, 1) < 2) {
            _exit(1);
        }
        break;
    case PID:
        pid = (int) getpid();
        *answer = (mh_part){&pid, sizeof pid};
        return 0;
    default:
        break;
    }
    *answer = (mh_part){r->text, strlen(r->text)};
    return (int) request->size;
}

static struct board *board;

static mh_process_pool *pool_of(uint32_t workers)
{
    mh_process_pool *pool = NULL;
    board = t_shared(sizeof *board);
    mh_process_pool_options options = {.workers = workers, .serve = serve, .context = board};
    CHECK_EQ(mh_process_pool_create(&options, &pool), 0);
    return pool;
}

static mh_deadline soon(void)
{
    return mh_in_ms(10000 * t_scale());
}

/* What became of it; the status where it ran to its end. */
static int result_of(mh_job *job, int *status)
{
    CHECK_EQ(mh_job_wait(job, soon(), NULL), 0);
    return mh_job_result(job, status);
}

static int outcome(mh_process_pool *pool, int what)
{
    struct request request = {.what = what, .text = "hello"};
    mh_job job = {.request = {&request, sizeof request}};
    int status = -1;
    CHECK_EQ(mh_process_pool_submit(pool, &job), 0);
    int rc = result_of(&job, &status);
    if (rc == 0 && what == ECHO) {
        CHECK(status == (int) sizeof request && job.answer.size == 5 &&
              memcmp(job.answer.data, "hello", 5) == 0);
    }
    mh_job_fini(&job);
    return rc == 0 ? status : rc;
}

TEST(a_job_is_answered)
{
    mh_process_pool *pool = pool_of(2);
    CHECK_EQ(mh_process_pool_workers(pool), 2);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(outcome(pool, ECHO), sizeof(struct request));
    }
    CHECK_EQ(outcome(pool, STATUS), -12345);
    CHECK_EQ(mh_process_pool_replaced(pool), 0);
    CHECK_EQ(mh_process_pool_wait(pool, soon(), NULL),
             0); /* the job is told before the pool has counted it */
    CHECK_EQ(mh_process_pool_pending(pool), 0);
    CHECK_EQ(mh_process_pool_destroy(pool), 0);
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1); /* no worker is left */
}

TEST(many_jobs_each_get_their_own_answer)
{
    enum { JOBS = 300 };
    static struct request requests[JOBS];
    static mh_job jobs[JOBS];
    mh_process_pool *pool = pool_of(3);
    for (int i = 0; i < JOBS; i++) {
        snprintf(requests[i].text, sizeof requests[i].text, "job %d", i);
        jobs[i].request = (mh_part){&requests[i], sizeof requests[i]};
        CHECK_EQ(mh_process_pool_submit(pool, &jobs[i]), 0);
    }
    CHECK_EQ(mh_process_pool_wait(pool, soon(), NULL), 0);
    for (int i = 0; i < JOBS; i++) {
        int status;
        CHECK_EQ(mh_job_result(&jobs[i], &status), 0);
        CHECK(jobs[i].answer.size == strlen(requests[i].text));
        CHECK(memcmp(jobs[i].answer.data, requests[i].text, jobs[i].answer.size) == 0);
        CHECK_EQ(jobs[i].begun, 1);
        mh_job_fini(&jobs[i]);
    }
    CHECK_EQ(mh_process_pool_destroy(pool), 0);
}

TEST(a_death_fails_its_job_alone)
{
    mh_process_pool *pool = pool_of(1);
    CHECK_EQ(outcome(pool, KILL), MH_E_LOST);
    CHECK_EQ(outcome(pool, ECHO), sizeof(struct request));
    CHECK_EQ(outcome(pool, EXIT), MH_E_LOST);
    CHECK_EQ(outcome(pool, ECHO), sizeof(struct request));
    CHECK_EQ(mh_process_pool_replaced(pool), 2);
    CHECK_EQ(mh_process_pool_destroy(pool), 0);
}

TEST(an_idle_worker_that_was_killed_is_replaced_before_the_next_job)
{
    struct request request = {.what = PID};
    mh_process_pool *pool = pool_of(1);
    mh_job job = {.request = {&request, sizeof request}};
    int pid, status;
    CHECK_EQ(mh_process_pool_submit(pool, &job), 0);
    CHECK_EQ(result_of(&job, &status), 0);
    memcpy(&pid, job.answer.data, sizeof pid);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(outcome(pool, ECHO), sizeof(struct request));
    CHECK_EQ(mh_process_pool_replaced(pool), 1);
    mh_job_fini(&job);
    CHECK_EQ(mh_process_pool_destroy(pool), 0);
}

TEST(retries_begin_it_anew)
{
    struct request request = {.what = DIE_TWICE, .text = "third"};
    mh_process_pool *pool = pool_of(1);
    mh_job job = {.request = {&request, sizeof request}, .retries = 1};
    int status;
    CHECK_EQ(mh_process_pool_submit(pool, &job), 0);
    CHECK_EQ(result_of(&job, &status), MH_E_LOST);
    CHECK_EQ(job.begun, 2);
    mh_store_rlx(&board->deaths, 0);
    job.retries = 2;
    CHECK_EQ(mh_process_pool_submit(pool, &job), 0);
    CHECK_EQ(result_of(&job, &status), 0);
    CHECK_EQ(job.begun, 3);
    mh_job_fini(&job);
    CHECK_EQ(mh_process_pool_destroy(pool), 0);
}

TEST(a_job_that_overruns_is_ended_and_the_pool_goes_on)
{
    struct request request = {.what = WAIT};
    mh_process_pool *pool = pool_of(1);
    mh_job job = {.request = {&request, sizeof request}, .limit = 30000000};
    int status;
    CHECK_EQ(mh_process_pool_submit(pool, &job), 0);
    CHECK_EQ(result_of(&job, &status), -ETIMEDOUT);
    job.limit = 0;
    job.end_by = mh_in_ms(30);
    CHECK_EQ(mh_process_pool_submit(pool, &job), 0);
    CHECK_EQ(result_of(&job, &status), -ETIMEDOUT);
    job.end_by = 1; /* long past: it does not begin */
    CHECK_EQ(mh_process_pool_submit(pool, &job), 0);
    CHECK_EQ(result_of(&job, &status), -ETIMEDOUT);
    CHECK_EQ(job.begun, 0);
    CHECK_EQ(outcome(pool, ECHO), sizeof(struct request));
    mh_job_fini(&job);
    CHECK_EQ(mh_process_pool_destroy(pool), 0);
}

TEST(cancel_kills_what_runs_and_takes_back_what_waits)
{
    struct request request = {.what = WAIT};
    mh_process_pool *pool = pool_of(1);
    mh_job runs = {.request = {&request, sizeof request}}, waits = runs, never = runs;
    int status;
    CHECK_EQ(mh_job_cancel(&never), MH_E_STATE);
    CHECK_EQ(mh_job_wait(&never, soon(), NULL), MH_E_STATE);
    CHECK_EQ(mh_process_pool_submit(pool, &runs), 0);
    CHECK_EQ(mh_process_pool_submit(pool, &runs), MH_E_STATE);
    CHECK_EQ(mh_process_pool_submit(pool, &waits), 0);
    await_begun(board);
    CHECK_EQ(mh_job_wait(&runs, MH_AT_ONCE, NULL), -ETIMEDOUT);
    CHECK_EQ(mh_job_result(&runs, &status), MH_E_STATE);
    CHECK_EQ(mh_job_cancel(&waits), 0);
    CHECK_EQ(mh_job_cancel(&runs), -EBUSY);
    CHECK_EQ(result_of(&waits, &status), -ECANCELED);
    CHECK_EQ(result_of(&runs, &status), -ECANCELED);
    CHECK_EQ(outcome(pool, ECHO), sizeof(struct request));
    CHECK_EQ(mh_process_pool_destroy(pool), 0);
}

TEST(close_and_drop)
{
    struct request request = {.what = WAIT}, late = {.what = ECHO};
    mh_process_pool *pool = pool_of(1);
    mh_job runs = {.request = {&request, sizeof request}}, waits = {.request = {&late, sizeof late}};
    int status;
    CHECK_EQ(mh_process_pool_submit(pool, &runs), 0);
    CHECK_EQ(mh_process_pool_submit(pool, &waits), 0);
    await_begun(board);
    CHECK_EQ(mh_process_pool_close(pool, 1), 0);
    CHECK_EQ(mh_process_pool_submit(pool, &waits), MH_E_CLOSED);
    CHECK_EQ(result_of(&waits, &status), -ECANCELED);
    mh_store_rel(&board->go, 1);
    mh_wake(&board->go, INT32_MAX, 0);
    CHECK_EQ(result_of(&runs, &status), 0);
    mh_job_fini(&runs);
    CHECK_EQ(mh_process_pool_destroy(pool), 0);
}

TEST(sizes)
{
    static char bytes[100000];
    struct request request = {.what = LARGE};
    mh_process_pool *pool = NULL;
    mh_process_pool_options options = {.workers = 1, .serve = serve, .max_bytes = 4096};
    int status;
    CHECK_EQ(mh_process_pool_create(&options, &pool), 0);
    mh_job job = {.request = {bytes, sizeof bytes}};
    CHECK_EQ(mh_process_pool_submit(pool, &job), 0);
    CHECK_EQ(result_of(&job, &status), -EMSGSIZE);
    job.request = (mh_part){&request, sizeof request};
    CHECK_EQ(mh_process_pool_submit(pool, &job), 0);
    CHECK_EQ(result_of(&job, &status), -EMSGSIZE); /* the answer is */
    CHECK_EQ(mh_process_pool_replaced(pool), 0);   /* and the worker lives */
    CHECK_EQ(outcome(pool, ECHO), sizeof(struct request));
    mh_job_fini(&job);
    CHECK_EQ(mh_process_pool_destroy(pool), 0);
    CHECK_EQ(mh_process_pool_create(&(mh_process_pool_options){.workers = 1}, &pool), -EINVAL);
    options.workers = MH_POOL_MAX + 1;
    CHECK_EQ(mh_process_pool_create(&options, &pool), -EINVAL);
    CHECK_EQ(mh_process_pool_destroy(NULL), 0);
}

static int refuse(void *context)
{
    (void) context;
    return 9;
}

TEST(workers_that_end_before_they_take_anything)
{
    mh_process_pool *pool = NULL;
    mh_process_pool_options options = {.workers = 1, .serve = serve, .begin = refuse};
    CHECK_EQ(mh_process_pool_create(&options, &pool), 0);
    CHECK_EQ(outcome(pool, ECHO), MH_E_LOST);
    CHECK_EQ(mh_process_pool_destroy(pool), 0);
}

static void in_forked_child(void *argument)
{
    mh_process_pool *pool = argument;
    struct request request = {.what = ECHO};
    mh_job job = {.request = {&request, sizeof request}};
    CHECK_EQ(mh_process_pool_submit(pool, &job), MH_E_LOST);
    CHECK_EQ(mh_process_pool_wait(pool, soon(), NULL), MH_E_LOST);
    CHECK_EQ(mh_process_pool_close(pool, 0), MH_E_LOST);
    CHECK_EQ(mh_process_pool_destroy(pool), 0);
}

TEST(a_forked_child_has_no_part_in_it)
{
    mh_process_pool *pool = pool_of(2);
    CHECK_EQ(t_wait(t_fork(in_forked_child, pool), 10 * t_scale()), 0);
    CHECK_EQ(outcome(pool, ECHO), sizeof(struct request));
    CHECK_EQ(mh_process_pool_destroy(pool), 0);
}

static void parent_that_dies(void *argument)
{
    MH_ATOMIC(uint32_t) *worker = argument;
    struct request request = {.what = PID};
    mh_process_pool *pool = pool_of(1);
    mh_job job = {.request = {&request, sizeof request}};
    int pid, status;
    CHECK_EQ(mh_process_pool_submit(pool, &job), 0);
    CHECK_EQ(result_of(&job, &status), 0);
    memcpy(&pid, job.answer.data, sizeof pid);
    mh_store_rel(worker, (uint32_t) pid);
    (void) raise(SIGKILL);
}

TEST(workers_die_with_the_parent)
{
    MH_ATOMIC(uint32_t) *worker = t_shared(sizeof *worker);
    CHECK_EQ(t_wait(t_fork(parent_that_dies, (void *) worker), 10 * t_scale()), -SIGKILL);
    int pid = (int) mh_load_acq(worker);
    CHECK(pid > 0);
    CHECK_EVENTUALLY(!mh_process_alive(pid, 0));
}

/* A worker killed at any moment: every job ends, those that were not lost are answered right. */
TEST_LIMIT(kills_at_random, 60)
{
    const int jobs = t_rounds(200);
    struct request who = {.what = PID}, echo = {.what = ECHO, .text = "still here"};
    mh_process_pool *pool = pool_of(2);
    int answered = 0, lost = 0;
    for (int i = 0; i < jobs; i++) {
        mh_job first = {.request = {&who, sizeof who}}, second = {.request = {&echo, sizeof echo}};
        int status, pid;
        CHECK_EQ(mh_process_pool_submit(pool, &first), 0);
        if (result_of(&first, &status) == 0) {
            memcpy(&pid, first.answer.data, sizeof pid);
            CHECK_EQ(mh_process_pool_submit(pool, &second), 0);
            (void) kill(pid, i % 4 == 0 ? SIGKILL : 0);
            int rc = result_of(&second, &status);
            CHECK(rc == 0 || rc == MH_E_LOST);
            CHECK(rc != 0 || (second.answer.size == 10 && memcmp(second.answer.data, "still here", 10) == 0));
            answered += rc == 0;
            lost += rc != 0;
        }
        mh_job_fini(&first);
        mh_job_fini(&second);
    }
    CHECK(answered >= jobs / 2);
    CHECK(answered + lost <= jobs);
    CHECK(mh_process_pool_replaced(pool) > 0);
    CHECK_EQ(mh_process_pool_destroy(pool), 0);
}
