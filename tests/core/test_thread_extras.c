/* Threads that nobody joins, what is done at their end, and where they may run. */
#include "tests/core/thread_workers.h"

#include <stdlib.h>

#include "core/os/os.h"

/* ---- detach ---- */

static struct gate released;
static MH_ATOMIC(uint32_t) release_count;

static void let_go(mh_thread *thread)
{
    free(thread); /* ASan and valgrind see who touches it after that */
    mh_add_rlx(&release_count, 1);
    gate_open(&released);
}

static struct worker *on_the_heap(int (*script)(struct worker *))
{
    struct worker *worker = calloc(1, sizeof *worker);
    CHECK(worker != NULL);
    worker->thread.run = worker_run;
    worker->thread.release = let_go;
    worker->script = script;
    return worker;
}

static int until_go(struct worker *worker)
{
    return gate_pass(&worker->go);
}

static int nothing(struct worker *worker)
{
    (void) worker;
    return 0;
}

TEST(a_detached_thread_is_released_at_its_end)
{
    struct worker *worker = on_the_heap(until_go);
    CHECK_EQ(mh_thread_detach(&worker->thread), MH_E_STATE);
    CHECK_EQ(mh_thread_start(&worker->thread), 0);
    CHECK_EQ(gate_pass(&worker->begun), 0);
    CHECK_EQ(mh_thread_detach(&worker->thread), 0);
    CHECK_EQ(mh_thread_detach(&worker->thread), MH_E_STATE);
    CHECK_EQ(mh_thread_join(&worker->thread, soon(), NULL), MH_E_STATE);
    CHECK_EQ(mh_thread_state(&worker->thread), MH_RUNNING);
    CHECK(!gate_is_open(&released));
    gate_open(&worker->go);
    CHECK_EQ(gate_pass(&released), 0);
    CHECK_EQ(mh_load_rlx(&release_count), 1);
}

TEST(one_that_has_ended_is_released_by_the_call)
{
    struct worker *worker = on_the_heap(nothing);
    CHECK_EQ(mh_thread_start(&worker->thread), 0);
    CHECK_EVENTUALLY(mh_thread_state(&worker->thread) == MH_FINISHED);
    CHECK_EQ(mh_thread_detach(&worker->thread), 0);
    CHECK_EQ(gate_pass(&released), 0);
    CHECK_EQ(mh_load_rlx(&release_count), 1);
}

static int detach_self(struct worker *worker)
{
    CHECK_EQ(mh_thread_detach(&worker->thread), 0);
    CHECK_EQ(mh_thread_detach(&worker->thread), MH_E_STATE);
    return 0;
}

/* It frees itself, perhaps while its starter is still on its way out of the start. */
TEST_LIMIT(a_thread_detaches_itself, 60)
{
    enum { TIMES = 500 };
    for (uint32_t i = 0; i < TIMES; i++) {
        CHECK_EQ(mh_thread_start(&on_the_heap(detach_self)->thread), 0);
    }
    CHECK_EVENTUALLY(mh_load_rlx(&release_count) == TIMES);
}

TEST_LIMIT(detach_races_with_the_end, 60)
{
    enum { TIMES = 500 };
    for (uint32_t i = 0; i < TIMES; i++) {
        struct worker *worker = on_the_heap(nothing);
        CHECK_EQ(mh_thread_start(&worker->thread), 0);
        CHECK_EQ(mh_thread_detach(&worker->thread), 0);
    }
    CHECK_EVENTUALLY(mh_load_rlx(&release_count) == TIMES);
}

TEST(what_cannot_be_detached)
{
    struct worker worker;
    mh_thread me = {0};
    start(&worker, nothing);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(mh_thread_detach(&worker.thread), MH_E_STATE); /* joined */
    CHECK_EQ(mh_thread_adopt(&me), 0);
    CHECK_EQ(mh_thread_detach(&me), MH_E_STATE);
    mh_thread_disown(&me);
}

/* ---- at the end ---- */

static int order[8];
static MH_ATOMIC(uint32_t) ran;

struct note {
    mh_cleanup cleanup;
    int number;
    struct note *another;
    int finished; /* what the thread was while it ran */
};

static void write_down(mh_cleanup *cleanup)
{
    struct note *note = (struct note *) cleanup;
    mh_thread *self = mh_thread_self();
    note->finished = self == NULL ? -1 : mh_thread_state(self) == MH_FINISHED;
    order[mh_add_rlx(&ran, 1)] = note->number;
    if (note->another != NULL) {
        CHECK_EQ(mh_thread_at_end(&note->another->cleanup), 0);
    }
}

static struct note notes[4] = {{{write_down, NULL}, 0, NULL, 0},
                               {{write_down, NULL}, 1, NULL, 0},
                               {{write_down, NULL}, 2, &notes[3], 0},
                               {{write_down, NULL}, 3, NULL, 0}};

static int leave_notes(struct worker *worker)
{
    mh_cleanup none = {0};
    CHECK_EQ(mh_thread_at_end(&none), -EINVAL);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(mh_thread_at_end(&notes[i].cleanup), 0);
    }
    CHECK_EQ(mh_thread_not_at_end(&notes[1].cleanup), 0);
    CHECK_EQ(mh_thread_not_at_end(&notes[1].cleanup), -ENOENT);
    if (worker->result != 0) {
        pthread_exit(NULL);
    }
    return 5;
}

static void check_notes(int finished)
{
    CHECK_EQ(mh_load_rlx(&ran), 3);
    CHECK(order[0] == 2 && order[1] == 3 && order[2] == 0); /* the last first, and what one of them added */
    CHECK_EQ(notes[0].finished, finished);
}

TEST(clean_up_runs_before_the_end)
{
    struct worker worker;
    start(&worker, leave_notes);
    CHECK_EQ(end(&worker), 5);
    check_notes(0);
}

TEST(clean_up_runs_after_pthread_exit)
{
    struct worker worker;
    memset(&worker, 0, sizeof worker);
    worker.thread.run = worker_run;
    worker.script = leave_notes;
    worker.result = 1;
    CHECK_EQ(mh_thread_start(&worker.thread), 0);
    CHECK_EQ(mh_thread_join(&worker.thread, soon(), NULL), 0);
    check_notes(0);
}

static void foreign(void *argument)
{
    (void) leave_notes(argument);
}

TEST(clean_up_in_a_thread_that_was_made_elsewhere)
{
    struct worker worker;
    memset(&worker, 0, sizeof worker);
    t_join(t_thread(foreign, &worker), 20);
    check_notes(-1);
}

/* ---- disowned at the end ---- */

static void says_that_it_ends(void *argument)
{
    struct worker *worker = argument;
    CHECK_EQ(mh_thread_adopt(&worker->thread), 0);
    gate_open(&worker->begun);
    CHECK_EQ(gate_pass(&worker->go), 0);
    mh_thread_disown_at_end(&worker->thread);
    CHECK(mh_thread_self() == NULL);
    gate_open(&worker->done);
    CHECK_EQ(gate_pass(&released), 0); /* what it still has to do */
}

TEST(who_joins_is_woken_by_the_last_act)
{
    struct worker worker, joiner, late;
    int64_t used = -1;
    int polls = !mh_os_has_wait_any(); /* then it sees the end before anybody wakes it */
    memset(&worker, 0, sizeof worker);
    pthread_t thread = t_thread(says_that_it_ends, &worker);
    CHECK_EQ(gate_pass(&worker.begun), 0);
    start_on(&joiner, join_other, &worker);
    CHECK_EVENTUALLY(sleeps(&joiner));
    gate_open(&worker.go);
    CHECK_EQ(gate_pass(&worker.done), 0);
    CHECK_EQ(mh_thread_state(&worker.thread), MH_FINISHED);
    CHECK_EQ(mh_thread_cpu_time(&worker.thread, &used), 0); /* it is still there */
    CHECK(used > 0);
    CHECK_EVENTUALLY(polls || sleeps(&joiner)); /* and nobody has woken it */
    start_on(&late, join_other, &worker);
    CHECK_EQ(end(&late), 0); /* who comes now sees that it is over */
    CHECK_EQ(late.result, 0);
    CHECK(polls || mh_thread_state(&joiner.thread) == MH_RUNNING);
    gate_open(&released);
    CHECK_EQ(end(&joiner), 0);
    CHECK_EQ(joiner.result, 0);
    t_join(thread, 20);
    CHECK_EVENTUALLY(mh_thread_cpu_time(&worker.thread, &used) == -ESRCH);
}

/* Its contract broken: it goes on, and ends once more. Nobody sleeps for ever. */
TEST(one_that_goes_on_tells_the_first_end_at_the_second)
{
    struct worker first, second, joiner;
    memset(&first, 0, sizeof first);
    memset(&second, 0, sizeof second);
    CHECK_EQ(mh_thread_adopt(&first.thread), 0);
    start_on(&joiner, join_other, &first);
    CHECK_EVENTUALLY(sleeps(&joiner));
    mh_thread_disown_at_end(&first.thread);
    CHECK_EQ(mh_thread_adopt(&second.thread), 0);
    mh_thread_disown_at_end(&second.thread);
    CHECK_EQ(end(&joiner), 0);
    CHECK_EQ(joiner.result, 0);
}

/* ---- cores ---- */

enum { MOST = 8192 };
static int mine[MOST], got[MOST];

static int look_at_own(struct worker *worker)
{
    (void) gate_pass(&worker->go);
    return mh_thread_cores(NULL, got, MOST);
}

TEST(a_thread_runs_where_it_is_told)
{
    struct worker worker;
    int count = mh_thread_cores(NULL, mine, MOST);
    CHECK(count >= 1);
    CHECK_EQ(mh_thread_cores(NULL, NULL, 0), count);
    start(&worker, look_at_own);
    CHECK_EQ(mh_thread_cores(&worker.thread, got, MOST), count);
    CHECK_EQ(mh_thread_set_cores(&worker.thread, &mine[count - 1], 1), 0);
    CHECK_EQ(mh_thread_cores(&worker.thread, got, MOST), 1);
    CHECK_EQ(got[0], mine[count - 1]);
    CHECK_EQ(mh_thread_cores(NULL, got, MOST), count); /* this thread's own are as they were */
    gate_open(&worker.go);
    CHECK_EQ(end(&worker), 1);
    CHECK_EQ(mh_thread_set_cores(&worker.thread, mine, 1), MH_E_STATE);
    CHECK_EQ(mh_thread_cores(&worker.thread, got, MOST), MH_E_STATE);
    CHECK_EQ(mh_thread_set_cores(NULL, mine, 1), 0);
    CHECK_EQ(mh_thread_cores(NULL, got, MOST), 1);
}

TEST(cores_that_cannot_be)
{
    mh_thread fresh = {0};
    CHECK_EQ(mh_thread_set_cores(NULL, (int[]){-1}, 1), -EINVAL);
    CHECK_EQ(mh_thread_set_cores(NULL, (int[]){MOST}, 1), -EINVAL);
    CHECK_EQ(mh_thread_set_cores(NULL, NULL, 0), -EINVAL);
    CHECK_EQ(mh_thread_set_cores(&fresh, (int[]){0}, 1), MH_E_STATE);
    CHECK_EQ(mh_thread_cores(&fresh, mine, 1), MH_E_STATE);
}
