/* Threads: each verb, and each race between two of them. Orders of events are made by gates, not by
 * sleeping. */
#include "tests/core/thread_workers.h"

/* ---- start, join, exit ---- */

TEST(start_join_and_exit_code)
{
    struct worker worker;
    int code = -1;
    memset(&worker, 0, sizeof worker);
    CHECK_EQ(mh_thread_state(&worker.thread), MH_NEW);
    CHECK_EQ(mh_thread_id(&worker.thread), 0);
    start(&worker, seven);
    CHECK_EQ(mh_thread_join(&worker.thread, soon(), NULL), 0);
    CHECK_EQ(mh_thread_exit_code(&worker.thread, &code), 0);
    CHECK_EQ(code, 7);
    CHECK_EQ(mh_thread_state(&worker.thread), MH_FINISHED);
    CHECK_EQ(mh_thread_join(&worker.thread, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_thread_start(&worker.thread), MH_E_STATE);
}

TEST(wrong_use_is_refused)
{
    mh_thread nothing;
    int code = 99;
    int64_t ns;
    memset(&nothing, 0, sizeof nothing);
    CHECK_EQ(mh_thread_start(&nothing), -EINVAL);
    CHECK_EQ(mh_thread_join(&nothing, MH_FOREVER, NULL), MH_E_STATE);
    CHECK_EQ(mh_thread_pause(&nothing, MH_FOREVER, NULL), MH_E_STATE);
    CHECK_EQ(mh_thread_resume(&nothing), MH_E_STATE);
    CHECK_EQ(mh_thread_terminate(&nothing), MH_E_STATE);
    CHECK_EQ(mh_thread_exit_code(&nothing, &code), MH_E_STATE);
    CHECK_EQ(mh_thread_cpu_time(&nothing, &ns), MH_E_STATE);
    CHECK_EQ(code, 99);
    CHECK(mh_thread_self() == NULL);
    CHECK_EQ(mh_checkpoint(), 0);
    mh_shield_leave(); /* not one of ours: nothing happens */
}

TEST(a_start_that_failed_can_be_repeated)
{
    struct worker worker;
    memset(&worker, 0, sizeof worker);
    worker.thread.run = worker_run;
    worker.script = seven;
    worker.thread.stack_size = 1; /* below the system's least */
    CHECK_EQ(mh_thread_start(&worker.thread), -EINVAL);
    CHECK_EQ(mh_thread_state(&worker.thread), MH_NEW);
    worker.thread.stack_size = 256 * 1024;
    CHECK_EQ(mh_thread_start(&worker.thread), 0);
    CHECK_EQ(end(&worker), 7);
}

TEST(running_thread_refuses_start_and_exit_code)
{
    struct worker worker;
    int code = 99;
    start(&worker, wait_at_gate);
    CHECK_EQ(mh_thread_start(&worker.thread), MH_E_STATE);
    CHECK_EQ(mh_thread_exit_code(&worker.thread, &code), MH_E_STATE);
    CHECK_EQ(code, 99);
    CHECK_EQ(mh_thread_resume(&worker.thread), MH_E_STATE);
    gate_open(&worker.go);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(mh_thread_resume(&worker.thread), MH_E_STATE);
    CHECK_EQ(mh_thread_pause(&worker.thread, soon(), NULL), MH_E_STATE);
    CHECK_EQ(mh_thread_terminate(&worker.thread), 0);
}

TEST(join_has_a_deadline_and_can_be_cancelled)
{
    struct worker worker;
    mh_cancel cancel;
    start(&worker, wait_at_gate);
    CHECK_EQ(mh_thread_join(&worker.thread, MH_AT_ONCE, NULL), -ETIMEDOUT);
    mh_deadline before = mh_now();
    CHECK_EQ(mh_thread_join(&worker.thread, mh_in_ms(20), NULL), -ETIMEDOUT);
    CHECK(mh_now() - before >= 20000000);
    mh_cancel_init(&cancel, MH_PRIVATE);
    mh_cancel_request(&cancel);
    CHECK_EQ(mh_thread_join(&worker.thread, soon(), &cancel), -ECANCELED);
    gate_open(&worker.go);
    CHECK_EQ(end(&worker), 0);
}

static int join_self(struct worker *worker)
{
    worker->result = mh_thread_join(&worker->thread, MH_FOREVER, NULL);
    return 0;
}

TEST(a_thread_cannot_join_itself)
{
    struct worker worker;
    start(&worker, join_self);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(worker.result, -EDEADLK);
}

TEST(several_may_join_at_once)
{
    struct worker worker, joiners[3];
    start(&worker, wait_at_gate);
    for (int i = 0; i < 3; i++) {
        start_on(&joiners[i], join_other, &worker);
        CHECK_EVENTUALLY(sleeps(&joiners[i]));
    }
    gate_open(&worker.go);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(end(&joiners[i]), 0);
        CHECK_EQ(joiners[i].result, 0);
    }
    CHECK_EQ(end(&worker), 0);
}

static void on_signal(int number)
{
    (void) number;
}

static void catch_signal(int number)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    CHECK_EQ(sigaction(number, &action, NULL), 0);
}

static void join_on_plain_thread(void *argument)
{
    struct worker *worker = argument;
    mh_store_rel(&worker->count, (uint32_t) mh_os_tid());
    worker->result = mh_thread_join(&worker->thread, MH_FOREVER, NULL);
}

TEST(join_is_interrupted_by_a_signal)
{
    struct worker worker;
    catch_signal(SIGUSR1);
    start(&worker, wait_at_gate);
    pthread_t joiner = t_thread(join_on_plain_thread, &worker);
    CHECK_EVENTUALLY(mh_load_acq(&worker.count) != 0);
    CHECK_EVENTUALLY(t_thread_sleeps(getpid(), (pid_t) mh_load_acq(&worker.count)));
    pthread_kill(joiner, SIGUSR1);
    t_join(joiner, 10);
    CHECK_EQ(worker.result, -EINTR);
    gate_open(&worker.go);
    CHECK_EQ(end(&worker), 0);
}

TEST(a_hundred_threads_begin_and_end)
{
    struct worker *workers = t_shared(100 * sizeof *workers);
    for (int i = 0; i < 100; i++) {
        start(&workers[i], wait_at_gate);
    }
    for (int i = 0; i < 100; i++) {
        gate_open(&workers[i].go);
    }
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(end(&workers[i]), 0);
    }
}

/* ---- identity ---- */

static int tell_identity(struct worker *worker)
{
    char path[64], shown[32] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/comm", mh_os_tid());
    FILE *file = fopen(path, "r");
    worker->result = file != NULL && fgets(shown, sizeof shown, file) != NULL &&
                     strcmp(shown, "a cook\n") == 0 && mh_thread_self() == &worker->thread &&
                     mh_thread_id(&worker->thread) == mh_os_tid();
    if (file != NULL) {
        fclose(file);
    }
    return 0;
}

TEST(name_id_and_self)
{
    struct worker worker;
    memset(&worker, 0, sizeof worker);
    worker.thread.run = worker_run;
    worker.thread.name = "a cook";
    worker.script = tell_identity;
    CHECK_EQ(mh_thread_start(&worker.thread), 0);
    int id = mh_thread_id(&worker.thread);
    CHECK(id > 0 && id != getpid());
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(worker.result, 1);
    CHECK_EQ(mh_thread_id(&worker.thread), id);
}

static int burn(struct worker *worker)
{
    int64_t begin = mh_os_thread_cpu();
    while (mh_os_thread_cpu() - begin < 20000000) {
        mh_os_pause();
    }
    worker->result = gate_pass(&worker->go);
    return 0;
}

TEST(cpu_time_while_it_runs_and_after)
{
    struct worker worker;
    int64_t running = 0, after = 0;
    start(&worker, burn);
    CHECK_EVENTUALLY(mh_thread_cpu_time(&worker.thread, &running) == 0 && running >= 20000000);
    gate_open(&worker.go);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(mh_thread_cpu_time(&worker.thread, &after), 0);
    CHECK(after >= running);
}

/* ---- adopted threads ---- */

static void adopted(void *argument)
{
    struct worker *worker = argument;
    mh_thread other;
    memset(&other, 0, sizeof other);
    CHECK_EQ(mh_thread_adopt(&worker->thread), 0);
    CHECK_EQ(mh_thread_adopt(&other), MH_E_STATE); /* it is one already */
    CHECK(mh_thread_self() == &worker->thread);
    CHECK_EQ(mh_thread_id(&worker->thread), mh_os_tid());
    gate_open(&worker->begun);
    count_at_checkpoints(worker);
    mh_thread_disown(&worker->thread);
    CHECK(mh_thread_self() == NULL);
    CHECK_EQ(mh_checkpoint(), 0);
    gate_open(&worker->done);
}

TEST(an_adopted_thread_has_the_same_verbs)
{
    struct worker worker, joiner;
    memset(&worker, 0, sizeof worker);
    pthread_t thread = t_thread(adopted, &worker);
    CHECK_EQ(gate_pass(&worker.begun), 0);
    CHECK_EQ(mh_thread_adopt(&worker.thread), MH_E_STATE); /* it is somebody else's */
    CHECK_EQ(mh_thread_pause(&worker.thread, soon(), NULL), 0);
    check_stands_still(&worker);
    CHECK_EQ(mh_thread_resume(&worker.thread), 0);
    start_on(&joiner, join_other, &worker);
    CHECK_EVENTUALLY(sleeps(&joiner));
    CHECK_EQ(mh_thread_terminate(&worker.thread), 0);
    CHECK_EQ(end(&joiner), 0);
    CHECK_EQ(joiner.result, 0);
    CHECK_EQ(worker.result, -ECANCELED);
    CHECK_EQ(end(&worker), 0);
    t_join(thread, 10);
    memset(&worker.thread, 0, sizeof worker.thread);
    CHECK_EQ(mh_thread_adopt(&worker.thread), 0); /* main may take part, too */
    CHECK_EQ(mh_checkpoint(), 0);
    CHECK_EQ(mh_thread_terminate(&worker.thread), 0);
    CHECK_EQ(mh_checkpoint(), -ECANCELED);
    mh_thread_disown(&worker.thread);
}

/* ---- fork ---- */

static void in_child(void *argument)
{
    struct worker *worker = argument;
    int code;
    CHECK_EQ(mh_thread_state(&worker->thread), MH_FINISHED);
    CHECK_EQ(mh_thread_join(&worker->thread, soon(), NULL), MH_E_LOST);
    CHECK_EQ(mh_thread_exit_code(&worker->thread, &code), MH_E_LOST);
    CHECK_EQ(mh_thread_pause(&worker->thread, soon(), NULL), MH_E_STATE);
#ifndef __SANITIZE_THREAD__ /* which refuses to start a thread here */
    struct worker own;      /* and it can have threads of its own */
    start(&own, seven);
    CHECK_EQ(end(&own), 7);
#endif
}

TEST(a_forked_child_does_not_wait_for_its_parents_threads)
{
    struct worker worker;
    start(&worker, wait_at_gate);
    CHECK_EQ(t_wait(t_fork(in_child, &worker), 10), 0);
    gate_open(&worker.go);
    CHECK_EQ(end(&worker), 0);
}

static int fork_when_asked(struct worker *worker)
{
    while (!gate_is_open(&worker->go)) {
        mh_os_pause();
    }
    int child = mh_os_fork();
    if (child == 0) {
        mh_os_exit(mh_checkpoint() == 0 && mh_thread_self() == &worker->thread ? 0 : 9);
    }
    worker->result = child;
    return 0;
}

TEST(a_request_does_not_follow_into_the_child)
{
    struct worker worker;
    start(&worker, fork_when_asked);
    CHECK_EQ(mh_thread_pause(&worker.thread, MH_AT_ONCE, NULL), -ETIMEDOUT);
    gate_open(&worker.go);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(t_wait(worker.result, 10), 0);
    start(&worker, fork_when_asked);
    CHECK_EQ(mh_thread_terminate(&worker.thread), 0);
    gate_open(&worker.go);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(t_wait(worker.result, 10), 0);
}
