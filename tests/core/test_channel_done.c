/* tests/core/test_channel_done.c - task_done and join, with and without leases. Deaths at every step: crash_lease.c. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "manyhands/channel.h"
#include "tests/core/harness.h"

static mh_channel *make(uint64_t max_items, uint64_t max_bytes, unsigned flags)
{
    mh_channel *ch = NULL;
    mh_channel_options options = {.max_items = max_items, .max_bytes = max_bytes, .flags = flags};
    CHECK_EQ(mh_channel_create(&options, &ch), 0);
    return ch;
}

static int put(mh_channel *ch, uint32_t number)
{
    return mh_channel_put(ch, &(mh_part){&number, sizeof number}, 1, number, MH_AT_ONCE, NULL);
}

static void put_up_to(mh_channel *ch, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        CHECK_EQ(put(ch, i), 0);
    }
}

/* The number that comes next; -1: none. */
static long get_within(mh_channel *ch, mh_deadline deadline)
{
    mh_message message = {0};
    uint32_t number = 0;
    int rc = mh_channel_get(ch, &message, deadline, NULL);

    if (rc == 0) {
        CHECK_EQ(message.size, sizeof number);
        memcpy(&number, message.data, sizeof number);
        CHECK_EQ(message.tag, number);
    }
    mh_message_fini(&message);
    CHECK(rc == 0 || rc == -ETIMEDOUT);
    return rc == 0 ? (long) number : -1;
}

static long get(mh_channel *ch)
{
    return get_within(ch, MH_AT_ONCE);
}

static void counts(unsigned flags)
{
    mh_channel *ch = make(0, 0, flags);

    CHECK_EQ(mh_channel_join(ch, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_channel_task_done(ch), -EPERM);
    put_up_to(ch, 3);
    CHECK_EQ(mh_channel_unfinished(ch), 3);
    for (long i = 0; i < 3; i++) {
        CHECK_EQ(get(ch), i);
        CHECK_EQ(mh_channel_join(ch, mh_in_ms(1), NULL), -ETIMEDOUT);
        CHECK_EQ(mh_channel_task_done(ch), 0);
        CHECK_EQ(mh_channel_unfinished(ch), 2 - i);
    }
    CHECK_EQ(mh_channel_join(ch, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_channel_task_done(ch), -EPERM);
    CHECK_EQ(mh_channel_bytes(ch), 0);
    mh_channel_destroy(ch);
}

TEST(unfinished_are_counted)
{
    counts(0);
    counts(MH_PRIVATE);
    counts(MH_CHANNEL_REDELIVER);
}

TEST(threads_have_no_leases)
{
    mh_channel *ch = NULL;
    mh_channel_options options = {.flags = MH_PRIVATE | MH_CHANNEL_REDELIVER};
    CHECK_EQ(mh_channel_create(&options, &ch), -EINVAL);
}

/* ---- joining ------------------------------------------------------------------------------------------------------- */

static void join(void *arg)
{
    CHECK_EQ(mh_channel_join(arg, mh_in_ms(15000), NULL), 0);
}

static void joins(unsigned flags)
{
    mh_channel *ch = make(0, 0, flags);
    pid_t joiner, other;

    put_up_to(ch, 1);
    CHECK_EQ(get(ch), 0);
    joiner = t_fork(join, ch);
    other = t_fork(join, ch);
    CHECK_EVENTUALLY(t_sleeps(joiner) && t_sleeps(other));
    CHECK_EQ(mh_channel_task_done(ch), 0);
    CHECK_EQ(t_wait(joiner, 10), 0);
    CHECK_EQ(t_wait(other, 10), 0);
    CHECK_EQ(put(ch, 1), 0);
    joiner = t_fork(join, ch);
    CHECK_EVENTUALLY(t_sleeps(joiner));
    mh_channel_close(ch, 1); /* what is thrown away is waited for no more */
    CHECK_EQ(t_wait(joiner, 10), 0);
    mh_channel_destroy(ch);
}

TEST(joiners_are_woken)
{
    joins(0);
    joins(MH_CHANNEL_REDELIVER);
}

static void cancel_soon(void *arg)
{
    t_nap(0.02);
    mh_cancel_request(arg);
}

TEST(a_join_can_be_cancelled)
{
    mh_channel *ch = make(0, 0, MH_CHANNEL_REDELIVER);
    mh_cancel cancel = {0};
    pthread_t thread = t_thread(cancel_soon, &cancel);

    put_up_to(ch, 1);
    CHECK_EQ(mh_channel_join(ch, MH_FOREVER, &cancel), -ECANCELED);
    t_join(thread, 10);
    mh_channel_destroy(ch);
}

/* ---- leases -------------------------------------------------------------------------------------------------------- */

struct helper {
    mh_channel *ch;
    t_barrier_t *taken, *go;
    unsigned count;
    int done, ends;
};

static void take_some(void *arg)
{
    struct helper *helper = arg;

    for (unsigned i = 0; i < helper->count; i++) {
        CHECK(get(helper->ch) >= 0);
    }
    t_meet(helper->taken);
    if (helper->go) {
        t_meet(helper->go);
    }
    for (int i = 0; i < helper->done; i++) {
        CHECK_EQ(mh_channel_task_done(helper->ch), 0);
    }
    if (!helper->ends) {
        (void) pause();
    }
}

static pid_t taker(struct helper *helper)
{
    helper->taken = t_barrier(2);
    pid_t child = t_fork(take_some, helper);
    t_meet(helper->taken);
    return child;
}

TEST(what_the_dead_had_comes_again)
{
    mh_channel *ch = make(0, 0, MH_CHANNEL_REDELIVER);
    struct helper helper = {.ch = ch, .count = 3};
    pid_t child;

    put_up_to(ch, 5);
    child = taker(&helper);
    CHECK_EQ(mh_channel_items(ch), 2);
    CHECK_EQ(get(ch), 3);
    t_kill(child);
    CHECK_EVENTUALLY(mh_channel_items(ch) == 4); /* three back, one new */
    CHECK_EQ(mh_channel_lost(ch), 0);
    for (long i = 0; i < 3; i++) { /* first what is oldest */
        CHECK_EQ(get(ch), i);
    }
    CHECK_EQ(get(ch), 4);
    CHECK_EQ(get(ch), -1);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(mh_channel_join(ch, MH_AT_ONCE, NULL), -ETIMEDOUT);
        CHECK_EQ(mh_channel_task_done(ch), 0);
    }
    CHECK_EQ(mh_channel_join(ch, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_channel_valid(ch), 0);
    mh_channel_destroy(ch);
}

TEST(who_ends_with_something_in_hand_is_dead_too)
{
    mh_channel *ch = make(0, 0, MH_CHANNEL_REDELIVER);
    struct helper helper = {.ch = ch, .count = 2, .done = 1, .ends = 1};

    put_up_to(ch, 2);
    CHECK_EQ(t_wait(taker(&helper), 10), 0);
    CHECK_EQ(get(ch), 1);
    CHECK_EQ(get(ch), -1);
    mh_channel_destroy(ch);
}

/* The consumer waits already when the other one dies, and so does one that selects. */
static void get_zero(void *arg)
{
    CHECK_EQ(get_within(arg, mh_in_ms(15000)), 0);
}

TEST(a_sleeping_consumer_gets_what_comes_back)
{
    mh_channel *ch = make(0, 0, MH_CHANNEL_REDELIVER);
    struct helper helper = {.ch = ch, .count = 1};
    struct pollfd selected = {.fd = mh_channel_select_fd(ch), .events = POLLIN};
    pid_t child, consumer;

    put_up_to(ch, 1);
    child = taker(&helper);
    CHECK_EQ(get(ch), -1);
    CHECK_EQ(poll(&selected, 1, 0), 0);
    consumer = t_fork(get_zero, ch);
    CHECK_EVENTUALLY(t_sleeps(consumer));
    t_kill(child);
    CHECK_EQ(t_wait(consumer, 10), 0);
    CHECK_EVENTUALLY(mh_channel_items(ch) == 1); /* that one has ended, too */
    CHECK_EQ(poll(&selected, 1, 0), 1);
    CHECK_EQ(get(ch), 0);
    CHECK_EQ(get(ch), -1);
    CHECK_EQ(poll(&selected, 1, 0), 0);
    mh_channel_destroy(ch);
}

TEST(a_join_gives_to_the_living)
{
    mh_channel *ch = make(0, 0, MH_CHANNEL_REDELIVER);
    struct helper helper = {.ch = ch, .count = 1};
    pid_t child, joiner;

    put_up_to(ch, 1);
    child = taker(&helper);
    joiner = t_fork(join, ch);
    CHECK_EVENTUALLY(t_sleeps(joiner));
    t_kill(child);
    CHECK_EQ(mh_channel_poll(ch, mh_in_ms(15000), NULL), 0);
    CHECK_EQ(get(ch), 0);
    CHECK_EQ(mh_channel_task_done(ch), 0);
    CHECK_EQ(t_wait(joiner, 10), 0);
    mh_channel_destroy(ch);
}

static void nothing_in_hand(void *arg)
{
    CHECK_EQ(mh_channel_task_done(arg), -EPERM);
    CHECK(get(arg) == 1);
    CHECK_EQ(mh_channel_task_done(arg), 0);
}

TEST(a_forked_child_has_nothing_in_hand)
{
    mh_channel *ch = make(0, 0, MH_CHANNEL_REDELIVER);

    put_up_to(ch, 2);
    CHECK_EQ(get(ch), 0);
    CHECK_EQ(t_wait(t_fork(nothing_in_hand, ch), 10), 0);
    CHECK_EQ(mh_channel_unfinished(ch), 1);
    CHECK_EQ(mh_channel_task_done(ch), 0);
    CHECK_EQ(mh_channel_join(ch, MH_AT_ONCE, NULL), 0);
    mh_channel_destroy(ch);
}

/* Two threads have one each; the later one is done first. */
struct pair {
    mh_channel *ch;
    t_barrier_t *taken, *done;
};

static void second_thread(void *arg)
{
    struct pair *pair = arg;
    CHECK_EQ(get(pair->ch), 1);
    CHECK_EQ(mh_channel_task_done(pair->ch), 0);
    t_meet(pair->done);
}

static void two_threads(void *arg)
{
    struct pair *pair = arg;
    CHECK_EQ(get(pair->ch), 0);
    pthread_t thread = t_thread(second_thread, pair);
    t_meet(pair->done);
    t_join(thread, 10);
    (void) kill(getpid(), SIGKILL);
}

TEST(a_thread_is_done_with_its_own)
{
    struct pair pair = {make(0, 0, MH_CHANNEL_REDELIVER), NULL, t_barrier(2)};

    put_up_to(pair.ch, 2);
    CHECK_EQ(t_wait(t_fork(two_threads, &pair), 10), -SIGKILL);
    CHECK_EQ(get(pair.ch), 0);
    CHECK_EQ(get(pair.ch), -1);
    mh_channel_destroy(pair.ch);
}

TEST(another_view_may_say_done)
{
    mh_channel *ch = make(0, 0, MH_CHANNEL_REDELIVER), *same = NULL;

    CHECK_EQ(mh_channel_attach(mh_channel_fd(ch), &same), 0);
    put_up_to(ch, 3);
    CHECK_EQ(get(ch), 0);
    CHECK_EQ(get(same), 1);
    CHECK_EQ(mh_channel_task_done(same), 0); /* its own */
    CHECK_EQ(mh_channel_task_done(same), 0); /* the other's */
    CHECK_EQ(mh_channel_task_done(ch), -EPERM);
    CHECK_EQ(get(ch), 2);
    CHECK_EQ(mh_channel_task_done(ch), 0); /* not 0, which is done */
    CHECK_EQ(mh_channel_join(same, MH_AT_ONCE, NULL), 0);
    mh_channel_destroy(same);
    mh_channel_destroy(ch);
}

/* ---- room ---------------------------------------------------------------------------------------------------------- */

TEST(what_is_in_hand_keeps_its_room)
{
    mh_channel *ch = make(0, 4096, MH_CHANNEL_REDELIVER);
    uint32_t number = 0;

    while (put(ch, number) == 0) {
        number++;
    }
    CHECK_EQ(number, 4096 / 48);
    for (uint32_t i = 0; i < number; i++) {
        CHECK_EQ(get(ch), i);
    }
    CHECK_EQ(mh_channel_items(ch), 0);
    CHECK_EQ(put(ch, 0), -ENOMEM);
    CHECK_EQ(mh_channel_task_done(ch), 0);
    CHECK_EQ(put(ch, number), 0);
    CHECK_EQ(mh_channel_valid(ch), 0);
    CHECK_EQ(mh_channel_unfinished(ch), number);
    mh_channel_destroy(ch);
}

TEST(items_in_hand_do_not_count_as_there)
{
    mh_channel *ch = make(2, 0, MH_CHANNEL_REDELIVER);
    struct helper helper = {.ch = ch, .count = 1};
    pid_t child;

    put_up_to(ch, 2);
    CHECK_EQ(put(ch, 9), -ETIMEDOUT);
    child = taker(&helper);
    CHECK_EQ(put(ch, 2), 0);
    t_kill(child);
    CHECK_EVENTUALLY(mh_channel_items(ch) == 3); /* it came back beyond the limit */
    CHECK_EQ(get(ch), 0);
    CHECK_EQ(put(ch, 9), -ETIMEDOUT);
    CHECK_EQ(get(ch), 1);
    CHECK_EQ(put(ch, 3), 0);
    mh_channel_destroy(ch);
}

TEST(the_window_grows_under_leases)
{
    enum { SIZE = 40000, MESSAGES = 40 };
    static unsigned char data[SIZE];
    mh_channel *ch = make(0, 0, MH_CHANNEL_REDELIVER);
    mh_message message = {0};

    for (unsigned i = 0; i < MESSAGES; i++) {
        memset(data, (int) i, sizeof data);
        CHECK_EQ(mh_channel_put(ch, &(mh_part){data, sizeof data}, 1, i, MH_AT_ONCE, NULL), 0);
        CHECK_EQ(mh_channel_get(ch, &message, MH_AT_ONCE, NULL), 0);
        CHECK(message.tag == i && message.size == SIZE);
        if (i % 3 == 2) {
            CHECK_EQ(mh_channel_task_done(ch), 0);
        }
        CHECK_EQ(mh_channel_valid(ch), 0);
    }
    for (unsigned i = MESSAGES / 3; i < MESSAGES; i++) {
        CHECK_EQ(mh_channel_task_done(ch), 0);
    }
    CHECK_EQ(mh_channel_bytes(ch), 0);
    CHECK_EQ(mh_channel_task_done(ch), -EPERM);
    mh_message_fini(&message);
    mh_channel_destroy(ch);
}

TEST(many_in_hand_are_done_in_any_order)
{
    enum { MESSAGES = 5000 };
    mh_channel *ch = make(0, 0, MH_CHANNEL_REDELIVER);
    mh_message message = {0};
    size_t got, sum = 0;

    put_up_to(ch, MESSAGES);
    while (sum < MESSAGES) {
        CHECK_EQ(mh_channel_get_many(ch, &message, MESSAGES, MH_AT_ONCE, NULL, &got), 0);
        for (size_t i = 0; i < got; i++) {
            uint32_t item[3];
            memcpy(item, (unsigned char *) message.data + i * 16, sizeof item);
            CHECK(item[0] == 4 && item[1] == sum + i && item[2] == sum + i);
        }
        sum += got;
    }
    for (size_t i = 0; i < MESSAGES; i++) {
        CHECK_EQ(mh_channel_task_done(ch), 0);
    }
    CHECK_EQ(mh_channel_join(ch, MH_AT_ONCE, NULL), 0);
    mh_message_fini(&message);
    mh_channel_destroy(ch);
}

/* ---- who is left to put --------------------------------------------------------------------------------------------- */

static void get_until_closed(void *arg)
{
    mh_message message = {0};

    CHECK_EQ(mh_channel_get(arg, &message, mh_in_ms(15000), NULL), 0);
    CHECK_EQ(mh_channel_get(arg, &message, mh_in_ms(15000), NULL), MH_E_CLOSED);
    CHECK_EQ(mh_channel_poll(arg, MH_AT_ONCE, NULL), 0);
    mh_message_fini(&message);
}

TEST(the_last_writer_goes)
{
    mh_channel *ch = make(0, 0, 0);
    int fds[2];
    pid_t consumer;

    CHECK_EQ(pipe(fds), 0);
    CHECK_EQ(mh_channel_writers_fd(ch), -1);
    CHECK_EQ(mh_channel_set_writers(ch, fds[0]), 0);
    CHECK_EQ(mh_channel_set_writers(ch, fds[0]), -EBUSY);
    CHECK_EQ(mh_channel_writers_fd(ch), fds[0]);
    CHECK_EQ(mh_channel_poll(ch, MH_AT_ONCE, NULL), -ETIMEDOUT);
    CHECK_EQ(get(ch), -1);
    /* the consumer's own copy of the writing end has to go, too, as after any fork */
    consumer = fork();
    if (consumer == 0) {
        (void) close(fds[1]);
        get_until_closed(ch);
        _exit(0);
    }
    CHECK_EVENTUALLY(t_sleeps(consumer));
    CHECK_EQ(put(ch, 1), 0);
    CHECK_EQ(close(fds[1]), 0);
    mh_channel_ring(ch);
    CHECK_EQ(t_wait(consumer, 10), 0);
    mh_channel_destroy(ch);
    CHECK_EQ(close(fds[0]), -1); /* it went with the view */
}
