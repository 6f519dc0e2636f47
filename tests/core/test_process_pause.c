/* Processes that are paused and resumed: never inside a section, whoever else asks, whoever dies. */
#include "manyhands/channel.h"
#include "tests/core/process_workers.h"

/* ---- pause and resume ---- */

TEST(pause_and_resume)
{
    struct worker worker;
    struct board *board = start(&worker, count_up);
    for (int i = 0; i < 10; i++) {
        uint32_t before = mh_load_acq(&board->count);
        CHECK_EVENTUALLY(mh_load_acq(&board->count) != before);
        CHECK_EQ(mh_process_pause(&worker.process, soon(), NULL), 0);
        CHECK_EQ(state(&worker), MH_PAUSED);
        CHECK_EQ(mh_process_pause(&worker.process, MH_AT_ONCE, NULL), 0);
        before = mh_load_acq(&board->count);
        t_nap(0.005);
        CHECK_EQ(mh_load_acq(&board->count), before);
        CHECK_EQ(mh_process_resume(&worker.process), 0);
        CHECK_EQ(mh_process_resume(&worker.process), MH_E_STATE);
        CHECK_EQ(state(&worker), MH_RUNNING);
    }
    mh_store_rel(&board->stop, 1);
    CHECK_EQ(end(&worker), 4);
}

TEST(a_paused_process_can_be_terminated_and_killed)
{
    struct worker worker;
    start(&worker, until_go);
    CHECK_EQ(mh_process_pause(&worker.process, soon(), NULL), 0);
    CHECK_EQ(mh_process_terminate(&worker.process), 0);
    CHECK_EQ(end(&worker), -SIGTERM);
    start(&worker, until_go);
    CHECK_EQ(mh_process_pause(&worker.process, soon(), NULL), 0);
    CHECK_EQ(mh_process_kill(&worker.process), 0);
    CHECK_EQ(end(&worker), -SIGKILL);
    start(&worker, until_go);
    CHECK_EQ(mh_process_pause(&worker.process, soon(), NULL), 0);
    kill(pid_of(&worker), SIGKILL); /* by somebody else */
    CHECK_EQ(end(&worker), -SIGKILL);
}

/* The child is inside a section until it is told to go on, and never leaves it by being stopped. */
static int sit_in_section(struct worker *worker)
{
    struct board *board = worker->board;
    CHECK_EQ(mh__section_enter(&board->lock), 0);
    raise_flag(&board->count);
    while (mh_load_acq(&board->go) == 0) {
        mh_os_pause();
    }
    mh__section_leave(&board->lock);
    return await_flag(&board->stop);
}

static struct board *start_inside(struct worker *worker)
{
    struct board *board = start(worker, sit_in_section);
    CHECK_EQ(await_flag(&board->count), 0);
    return board;
}

TEST(a_process_is_never_paused_inside_a_section)
{
    struct worker worker;
    struct board *board = start_inside(&worker);
    CHECK_EQ(mh_process_pause(&worker.process, mh_in_ms(60), NULL), -ETIMEDOUT);
    CHECK_EQ(state(&worker), MH_RUNNING); /* the request does not stand, and it was let go */
    CHECK_EVENTUALLY(mh_os_is_stopped(pid_of(&worker)) == 0);
    raise_flag(&board->go);
    CHECK_EQ(mh_process_pause(&worker.process, soon(), NULL), 0);
    CHECK_EQ(mh_lock_is_locked(&board->lock), 0);
    CHECK_EQ(mh_process_resume(&worker.process), 0);
    raise_flag(&board->stop);
    CHECK_EQ(end(&worker), 0);
}

struct pauser {
    mh_thread thread;
    struct worker *worker;
    mh_cancel *cancel;
    int result;
};

static int pauser_run(mh_thread *self)
{
    struct pauser *pauser = (struct pauser *) self;
    pauser->result = mh_process_pause(&pauser->worker->process, MH_FOREVER, pauser->cancel);
    return 0;
}

static void start_pauser(struct pauser *pauser, struct worker *worker, mh_cancel *cancel)
{
    memset(pauser, 0, sizeof *pauser);
    pauser->thread.run = pauser_run;
    pauser->worker = worker;
    pauser->cancel = cancel;
    CHECK_EQ(mh_thread_start(&pauser->thread), 0);
    CHECK_EVENTUALLY(state(worker) == MH_PAUSING);
}

static int end_pauser(struct pauser *pauser)
{
    CHECK_EQ(mh_thread_join(&pauser->thread, soon(), NULL), 0);
    return pauser->result;
}

TEST(a_pause_that_is_not_reached_can_be_taken_back)
{
    struct worker worker;
    struct pauser pausers[2];
    mh_cancel cancel;
    struct board *board = start_inside(&worker);
    for (int i = 0; i < 2; i++) { /* the first drives it, the second follows */
        start_pauser(&pausers[i], &worker, NULL);
    }
    CHECK_EQ(mh_process_resume(&worker.process), 0);
    for (int i = 0; i < 2;
         i++) { /* one that has come after the resume asks anew, and that is taken back, too */
        CHECK_EVENTUALLY(mh_thread_join(&pausers[i].thread, MH_AT_ONCE, NULL) == 0 ||
                         mh_process_resume(&worker.process) == 1);
        CHECK_EQ(pausers[i].result, MH_E_STATE);
    }
    CHECK_EVENTUALLY(mh_os_is_stopped(pid_of(&worker)) == 0);
    mh_cancel_init(&cancel, MH_PRIVATE);
    start_pauser(&pausers[0], &worker, &cancel);
    mh_cancel_request(&cancel);
    CHECK_EQ(end_pauser(&pausers[0]), -ECANCELED);
    CHECK_EQ(state(&worker), MH_RUNNING);
    start_pauser(&pausers[0], &worker, NULL);
    CHECK_EQ(mh_process_terminate(&worker.process), 0);
    CHECK_EQ(end_pauser(&pausers[0]), MH_E_STATE);
    CHECK_EQ(end(&worker), -SIGTERM);
    (void) board;
}

TEST(two_pause_at_once_and_one_resume_ends_it)
{
    struct worker worker;
    struct pauser pausers[2];
    struct board *board = start_inside(&worker);
    for (int i = 0; i < 2; i++) {
        start_pauser(&pausers[i], &worker, NULL);
    }
    raise_flag(&board->go);
    CHECK_EQ(end_pauser(&pausers[0]), 0);
    CHECK_EQ(end_pauser(&pausers[1]), 0);
    CHECK_EQ(state(&worker), MH_PAUSED);
    CHECK_EQ(mh_process_resume(&worker.process), 0);
    raise_flag(&board->stop);
    CHECK_EQ(end(&worker), 0);
}

TEST(a_child_that_dies_is_not_waited_for_by_its_pauser)
{
    struct worker worker;
    struct pauser pauser;
    start_inside(&worker);
    start_pauser(&pauser, &worker, NULL);
    kill(pid_of(&worker), SIGKILL);
    CHECK_EQ(end_pauser(&pauser), MH_E_STATE);
    CHECK_EQ(end(&worker), -SIGKILL);
}

/* Section traffic as a channel makes it: in and out of a lock in shared memory, all the time. */
static int traffic(struct worker *worker)
{
    struct board *board = worker->board;
    while (mh_load_rlx(&board->stop) == 0) {
        if (mh__section_enter(&board->lock) != 0) {
            return 1;
        }
        mh_store_rlx(&board->count, mh_load_rlx(&board->count) + 1);
        mh__section_leave(&board->lock);
    }
    return 4;
}

TEST_LIMIT(a_hundred_pauses_under_traffic_leave_no_section_locked, 120)
{
    struct worker workers[2];
    struct board *board = start(&workers[0], traffic);
    start_with(&workers[1], traffic, board, 0);
    for (int i = 0; i < t_rounds(100); i++) {
        struct worker *one = &workers[i % 2];
        CHECK_EQ(mh_process_pause(&one->process, mh_in_ms(20000 * t_scale()), NULL), 0);
        uint32_t before = mh_load_acq(&board->count);
        CHECK_EVENTUALLY(mh_load_acq(&board->count) != before); /* the other one gets on */
        CHECK_EQ(mh__section_enter(&board->lock), 0);           /* and so do we */
        mh__section_leave(&board->lock);
        CHECK_EQ(mh_process_resume(&one->process), 0);
    }
    mh_store_rel(&board->stop, 1);
    CHECK_EQ(end(&workers[0]), 4);
    CHECK_EQ(end(&workers[1]), 4);
}

/* The same with a real channel between two children that do nothing else. A stop inside of it would leave one end locked:
 * then neither the other child nor we would get on. */
static mh_channel *channel;

static int produce(struct worker *worker)
{
    uint64_t number = 0;
    while (mh_load_rlx(&worker->board->stop) == 0) {
        int rc = mh_channel_put(channel, &(mh_part){&number, sizeof number}, 1, 1, mh_in_ms(50), NULL);
        if (rc != 0 && rc != -ETIMEDOUT) {
            return 1;
        }
        number += rc == 0;
    }
    return 4;
}

/* Counts what it takes; the producer's come in order (we take some, too). */
static int consume(struct worker *worker)
{
    mh_message message = {0};
    uint64_t next = 0, number;
    while (mh_load_rlx(&worker->board->stop) == 0) {
        int rc = mh_channel_get(channel, &message, mh_in_ms(50), NULL);
        if (rc == 0 && message.tag == 1) {
            memcpy(&number, message.data, sizeof number);
            rc = number >= next ? 0 : -EILSEQ;
            next = number + 1;
        }
        if (rc != 0 && rc != -ETIMEDOUT) {
            return 1;
        }
        mh_add_rlx(&worker->board->count, rc == 0);
    }
    mh_message_fini(&message);
    return 4;
}

TEST_LIMIT(a_channel_goes_on_while_one_of_its_ends_is_paused, 120)
{
    struct worker producer, consumer;
    mh_message message = {0};
    CHECK_EQ(mh_channel_create(&(mh_channel_options){.max_items = 64}, &channel), 0);
    struct board *board = start(&producer, produce);
    start_with(&consumer, consume, board, 0);
    for (int i = 0; i < t_rounds(100); i++) {
        uint32_t before = mh_load_acq(&board->count);
        CHECK_EVENTUALLY(mh_load_acq(&board->count) != before);
        struct worker *one = i % 2 ? &producer : &consumer;
        CHECK_EQ(mh_process_pause(&one->process, mh_in_ms(20000 * t_scale()), NULL), 0);
        if (one == &producer) {
            CHECK_EQ(mh_channel_put(channel, &(mh_part){"x", 1}, 1, 2, soon(), NULL), 0);
            CHECK_EVENTUALLY(mh_channel_items(channel) == 0);
        } else {
            CHECK_EQ(mh_channel_get(channel, &message, soon(), NULL), 0);
        }
        CHECK_EQ(mh_process_resume(&one->process), 0);
    }
    mh_store_rel(&board->stop, 1);
    CHECK_EQ(end(&producer), 4);
    CHECK_EQ(end(&consumer), 4);
    CHECK_EQ(mh_channel_valid(channel), 0);
    mh_message_fini(&message);
    mh_channel_destroy(channel);
}
