/* Threads that are paused, resumed, terminated and shielded, and each race between two of these. */
#include "tests/core/thread_workers.h"

/* ---- pause and resume ---- */

TEST(pause_at_a_checkpoint_and_resume)
{
    struct worker worker;
    start(&worker, count_at_checkpoints);
    for (int i = 0; i < 20; i++) {
        uint32_t before = mh_load_acq(&worker.count);
        CHECK_EVENTUALLY(mh_load_acq(&worker.count) != before);
        CHECK_EQ(mh_thread_pause(&worker.thread, soon(), NULL), 0);
        check_stands_still(&worker);
        CHECK_EQ(mh_thread_pause(&worker.thread, MH_AT_ONCE, NULL), 0);
        CHECK_EQ(mh_thread_resume(&worker.thread), 0);
        CHECK_EQ(mh_thread_resume(&worker.thread), MH_E_STATE);
    }
    CHECK_EQ(state(&worker), MH_RUNNING);
    CHECK_EQ(mh_thread_terminate(&worker.thread), 0);
    CHECK_EQ(end(&worker), 5);
    CHECK_EQ(worker.result, -ECANCELED);
}

TEST(asleep_in_a_wait_it_counts_as_paused_and_does_not_return)
{
    struct worker worker;
    start(&worker, wait_at_gate);
    CHECK_EVENTUALLY(sleeps(&worker));
    CHECK_EQ(mh_thread_pause(&worker.thread, soon(), NULL), 0);
    CHECK_EQ(state(&worker), MH_PAUSED);
    gate_open(&worker.go); /* what it waits for comes, and it parks instead of going on */
    t_nap(0.02);
    CHECK(!gate_is_open(&worker.done));
    CHECK_EQ(state(&worker), MH_PAUSED);
    CHECK_EQ(mh_thread_resume(&worker.thread), 0);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(worker.result, 0);
}

TEST(pause_times_out_and_the_request_stands)
{
    struct worker worker;
    start(&worker, busy_then_check);
    CHECK_EQ(mh_thread_pause(&worker.thread, MH_AT_ONCE, NULL), -ETIMEDOUT);
    CHECK_EQ(mh_thread_pause(&worker.thread, mh_in_ms(10), NULL), -ETIMEDOUT);
    CHECK_EQ(state(&worker), MH_PAUSING);
    gate_open(&worker.go);
    CHECK_EVENTUALLY(state(&worker) == MH_PAUSED);
    CHECK(!gate_is_open(&worker.done));
    CHECK_EQ(mh_thread_pause(&worker.thread, soon(), NULL), 0);
    CHECK_EQ(mh_thread_resume(&worker.thread), 0);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(worker.result, 0);
}

TEST(pause_can_be_cancelled_and_the_request_stands)
{
    struct worker worker;
    mh_cancel cancel;
    mh_cancel_init(&cancel, MH_PRIVATE);
    mh_cancel_request(&cancel);
    start(&worker, busy_then_check);
    CHECK_EQ(mh_thread_pause(&worker.thread, soon(), &cancel), -ECANCELED);
    CHECK_EQ(state(&worker), MH_PAUSING);
    CHECK_EQ(mh_thread_resume(&worker.thread), 0);
    gate_open(&worker.go);
    CHECK_EQ(end(&worker), 0);
}

static int pause_other(struct worker *worker)
{
    worker->result = mh_thread_pause(&worker->other->thread, MH_FOREVER, NULL);
    return 0;
}

TEST(resume_before_it_parked_takes_the_pause_back)
{
    struct worker worker, pauser;
    start(&worker, busy_then_check);
    start_on(&pauser, pause_other, &worker);
    CHECK_EVENTUALLY(state(&worker) == MH_PAUSING && sleeps(&pauser));
    CHECK_EQ(mh_thread_resume(&worker.thread), 0);
    CHECK_EQ(end(&pauser), 0);
    CHECK_EQ(pauser.result, MH_E_STATE);
    gate_open(&worker.go);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(worker.result, 0);
}

TEST(two_pause_at_once_and_one_resume_ends_it)
{
    struct worker worker, pausers[2];
    start(&worker, busy_then_check);
    for (int i = 0; i < 2; i++) {
        start_on(&pausers[i], pause_other, &worker);
        CHECK_EVENTUALLY(state(&worker) == MH_PAUSING && sleeps(&pausers[i]));
    }
    gate_open(&worker.go);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(end(&pausers[i]), 0);
        CHECK_EQ(pausers[i].result, 0);
    }
    CHECK_EQ(state(&worker), MH_PAUSED);
    CHECK_EQ(mh_thread_resume(&worker.thread), 0);
    CHECK_EQ(end(&worker), 0);
}

TEST(a_thread_that_ends_is_not_waited_for_by_its_pauser)
{
    struct worker worker, pauser;
    start(&worker, busy_then_end);
    start_on(&pauser, pause_other, &worker);
    CHECK_EVENTUALLY(state(&worker) == MH_PAUSING && sleeps(&pauser));
    /* worker_run's last gate only wakes, so nothing parks it on its way out */
    gate_open(&worker.go);
    CHECK_EQ(end(&pauser), 0);
    CHECK_EQ(pauser.result, MH_E_STATE);
    CHECK_EQ(end(&worker), 3);
}

static int pause_self(struct worker *worker)
{
    worker->result = mh_thread_pause(&worker->thread, MH_AT_ONCE, NULL);
    return 0;
}

TEST(a_thread_may_pause_itself)
{
    struct worker worker;
    start(&worker, pause_self);
    CHECK_EVENTUALLY(state(&worker) == MH_PAUSED);
    check_stands_still(&worker);
    CHECK_EQ(mh_thread_resume(&worker.thread), 0);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(worker.result, 0);
    start(&worker, pause_self);
    CHECK_EVENTUALLY(state(&worker) == MH_PAUSED);
    CHECK_EQ(mh_thread_terminate(&worker.thread), 0);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(worker.result, -ECANCELED);
}

/* Two threads may each pause the other: whoever comes second sleeps in a wait of ours, and so is parked. */
TEST(two_threads_pause_each_other)
{
    struct worker first, second;
    start(&first, wait_at_gate);
    CHECK_EVENTUALLY(sleeps(&first));
    start_on(&second, pause_other, &first);
    CHECK_EQ(end(&second), 0);
    CHECK_EQ(second.result, 0);
    CHECK_EQ(mh_thread_resume(&first.thread), 0);
    gate_open(&first.go);
    CHECK_EQ(end(&first), 0);
}

/* ---- terminate ---- */

TEST(terminate_ends_a_wait_and_every_later_one)
{
    struct worker worker;
    start(&worker, wait_at_gate);
    CHECK_EVENTUALLY(sleeps(&worker));
    CHECK_EQ(mh_thread_terminate(&worker.thread), 0);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(worker.result, -ECANCELED);
}

static int busy_then_wait(struct worker *worker)
{
    while (!gate_is_open(&worker->go)) {
        mh_os_pause();
    }
    struct gate never = {0};
    worker->result = gate_pass(&never) == -ECANCELED && gate_pass(&never) == -ECANCELED &&
                     mh_checkpoint() == -ECANCELED && mh_checkpoint() == -ECANCELED;
    return 0;
}

TEST(terminate_before_the_wait)
{
    struct worker worker;
    start(&worker, busy_then_wait);
    CHECK_EQ(mh_thread_terminate(&worker.thread), 0);
    CHECK_EQ(mh_thread_terminate(&worker.thread), 0);
    CHECK_EQ(state(&worker), MH_TERMINATING);
    CHECK_EQ(mh_thread_pause(&worker.thread, soon(), NULL), MH_E_STATE);
    gate_open(&worker.go);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(worker.result, 1);
}

TEST(terminate_while_paused)
{
    struct worker worker;
    start(&worker, count_at_checkpoints);
    CHECK_EQ(mh_thread_pause(&worker.thread, soon(), NULL), 0);
    CHECK_EQ(mh_thread_terminate(&worker.thread), 0);
    CHECK_EQ(end(&worker), 5);
    CHECK_EQ(worker.result, -ECANCELED);
    start(&worker, wait_at_gate); /* and asleep in a wait, with what it waits for come meanwhile */
    CHECK_EVENTUALLY(sleeps(&worker));
    CHECK_EQ(mh_thread_pause(&worker.thread, soon(), NULL), 0);
    CHECK_EQ(mh_thread_terminate(&worker.thread), 0);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(worker.result, -ECANCELED);
}

TEST(terminate_wakes_the_pauser_of_a_busy_thread)
{
    struct worker worker, pauser;
    start(&worker, busy_then_check);
    start_on(&pauser, pause_other, &worker);
    CHECK_EVENTUALLY(state(&worker) == MH_PAUSING && sleeps(&pauser));
    CHECK_EQ(mh_thread_terminate(&worker.thread), 0);
    CHECK_EQ(end(&pauser), 0);
    CHECK_EQ(pauser.result, MH_E_STATE);
    gate_open(&worker.go);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(worker.result, -ECANCELED);
}

/* The joiner is a thread of ours as well, and is sent home while it waits. */
TEST(a_joiner_can_be_terminated)
{
    struct worker worker, joiner;
    start(&worker, wait_at_gate);
    start_on(&joiner, join_other, &worker);
    CHECK_EVENTUALLY(sleeps(&joiner));
    CHECK_EQ(mh_thread_terminate(&joiner.thread), 0);
    CHECK_EQ(end(&joiner), 0);
    CHECK_EQ(joiner.result, -ECANCELED);
    gate_open(&worker.go);
    CHECK_EQ(end(&worker), 0);
}

/* ---- shield ---- */

static int shielded_wait(struct worker *worker)
{
    mh_shield_enter();
    mh_shield_enter();
    worker->result = gate_pass(&worker->go);
    worker->result += mh_checkpoint(); /* 0: shielded */
    worker->result += mh_thread_pause(&worker->thread, MH_AT_ONCE, NULL) == MH_E_STATE ? 0 : 100;
    mh_shield_leave();
    worker->result += mh_checkpoint();
    mh_shield_leave();
    return mh_checkpoint() == -ECANCELED;
}

TEST(a_shield_holds_off_a_pause_even_asleep)
{
    struct worker worker;
    start(&worker, shielded_wait);
    CHECK_EVENTUALLY(sleeps(&worker));
    CHECK_EQ(mh_thread_pause(&worker.thread, mh_in_ms(10), NULL), -ETIMEDOUT);
    CHECK_EQ(state(&worker), MH_PAUSING);
    gate_open(&worker.go);
    CHECK_EQ(mh_thread_pause(&worker.thread, soon(), NULL), 0); /* at the checkpoint after the last leave */
    CHECK(!gate_is_open(&worker.done));
    CHECK_EQ(mh_thread_resume(&worker.thread), 0);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(worker.result, 0);
}

TEST(a_shield_holds_off_the_end)
{
    struct worker worker;
    start(&worker, shielded_wait);
    CHECK_EVENTUALLY(sleeps(&worker));
    CHECK_EQ(mh_thread_terminate(&worker.thread), 0);
    t_nap(0.02);
    CHECK(!gate_is_open(&worker.done));
    gate_open(&worker.go);
    CHECK_EQ(end(&worker), 1);
    CHECK_EQ(worker.result, 0);
}

/* ---- all of it at once ---- */

static int count_in_waits(struct worker *worker)
{
    int rc = 0;
    struct gate never = {0};
    while (rc == 0 || rc == -ETIMEDOUT) {
        mh_add_rlx(&worker->count, 1);
        rc = mh_wait(&never.word, 0, mh_in_ns(1000), NULL, MH_PRIVATE);
        if (rc != -ECANCELED) {
            rc = mh_checkpoint();
        }
    }
    worker->result = rc;
    return 0;
}

static int pause_and_resume_other(struct worker *worker)
{
    for (int i = 0; i < 100; i++) {
        int rc = mh_thread_pause(&worker->other->thread, MH_FOREVER, NULL);
        CHECK(rc == 0 || rc == MH_E_STATE); /* the other pauser has resumed it meanwhile */
        rc = mh_thread_resume(&worker->other->thread);
        CHECK(rc == 0 || rc == MH_E_STATE);
    }
    return 0;
}

TEST_LIMIT(two_pausers_of_a_thread_that_waits_and_works, 60)
{
    struct worker worker, pausers[2];
    start(&worker, count_in_waits);
    for (int i = 0; i < 2; i++) {
        start_on(&pausers[i], pause_and_resume_other, &worker);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(end(&pausers[i]), 0);
    }
    uint32_t before = mh_load_acq(&worker.count);
    CHECK_EVENTUALLY(mh_load_acq(&worker.count) != before); /* nobody left it parked */
    CHECK_EQ(mh_thread_terminate(&worker.thread), 0);
    CHECK_EQ(end(&worker), 0);
    CHECK_EQ(worker.result, -ECANCELED);
}

/* The pause comes at every moment of a short life. */
TEST_LIMIT(pause_against_the_end, 60)
{
    for (int i = 0; i < 300; i++) {
        struct worker worker;
        memset(&worker, 0, sizeof worker);
        worker.thread.run = worker_run;
        worker.script = seven;
        CHECK_EQ(mh_thread_start(&worker.thread), 0);
        for (int spin = 0; spin < i * 20; spin++) {
            mh_os_pause();
        }
        int rc = mh_thread_pause(&worker.thread, soon(), NULL);
        CHECK_EQ(rc, MH_E_STATE); /* it has no checkpoint: it can only end */
        CHECK_EQ(end(&worker), 7);
    }
}
