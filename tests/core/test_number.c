/* mh_number: bounds, time-outs, cancellation, threads that count together, a changer that is killed. */
#include "tests/core/harness.h"

#include <errno.h>
#include <unistd.h>

#include <manyhands/number.h>

#include "core/os/os.h"

TEST(values_and_bounds)
{
    mh_number n;
    int64_t sum = 77;
    mh_number_init(&n, INT64_MAX - 1, MH_PRIVATE);
    CHECK_EQ(mh_number_add(&n, 1, &sum), 0);
    CHECK(sum == INT64_MAX);
    sum = 77;
    CHECK_EQ(mh_number_add(&n, 1, &sum), -EOVERFLOW);
    CHECK(sum == 77 && mh_number_get(&n) == INT64_MAX);
    CHECK(mh_number_exchange(&n, INT64_MIN) == INT64_MAX);
    CHECK_EQ(mh_number_add(&n, -1, NULL), -EOVERFLOW);
    CHECK_EQ(mh_number_add(&n, 0, NULL), 0);
    int64_t expected = 3;
    CHECK_EQ(mh_number_compare_exchange(&n, &expected, 4), 0);
    CHECK(expected == INT64_MIN);
    CHECK_EQ(mh_number_compare_exchange(&n, &expected, 4), 1);
    CHECK(mh_number_get(&n) == 4);
}

TEST(waits_end)
{
    mh_number n;
    mh_cancel cancel;
    int64_t value = 9;
    mh_number_init(&n, 1, MH_PRIVATE);
    mh_cancel_init(&cancel, MH_PRIVATE);
    CHECK_EQ(mh_number_wait(&n, 1, &value, MH_AT_ONCE, NULL), -ETIMEDOUT);
    CHECK_EQ(mh_number_wait(&n, 1, &value, mh_os_now() + 1000000, NULL), -ETIMEDOUT);
    mh_cancel_request(&cancel);
    CHECK_EQ(mh_number_wait(&n, 1, &value, MH_FOREVER, &cancel), -ECANCELED);
    CHECK(value == 9);
    CHECK_EQ(mh_number_wait(&n, 0, &value, MH_AT_ONCE, &cancel), 0);
    CHECK(value == 1);
}

enum { EACH = 20000 };

static void count_up(void *number)
{
    for (int i = 0; i < EACH; i++) {
        CHECK_EQ(mh_number_add(number, 1, NULL), 0);
    }
}

TEST(nothing_is_lost_between_threads)
{
    mh_number n = {.flags = MH_PRIVATE};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        threads[i] = t_thread(count_up, &n);
    }
    for (int64_t value = 0; value < 4 * EACH;) { /* a reader that sleeps between changes sees the last one */
        CHECK_EQ(mh_number_wait(&n, value, &value, MH_FOREVER, NULL), 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    }
    CHECK(mh_number_get(&n) == 4 * EACH);
}

static void follow_to_two(void *number)
{
    int64_t value = 0;
    while (value != 2) {
        CHECK_EQ(mh_number_wait(number, value, &value, MH_FOREVER, NULL), 0);
    }
}

static void wait_for_ever(void *number)
{
    CHECK_EQ(mh_number_wait(number, 0, NULL, MH_FOREVER, NULL), 0);
    pause();
}

TEST(a_process_wakes_another_and_a_killed_one_is_not_missed)
{
    mh_number *n = t_shared(sizeof *n);
    pid_t waiter = t_fork(follow_to_two, n), victim = t_fork(wait_for_ever, n);
    CHECK_EVENTUALLY(t_sleeps(waiter) && t_sleeps(victim));
    t_kill(victim);
    CHECK_EQ(mh_number_add(n, 1, NULL), 0);
    CHECK_EQ(mh_number_add(n, 1, NULL), 0);
    CHECK_EQ(t_wait(waiter, 30), 0);
}
