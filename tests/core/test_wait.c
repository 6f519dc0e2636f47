/* The wait primitive: what ends it, the hook, slices, cancel tokens, deadlines. */
#include "tests/core/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <manyhands/wait.h>

#include "core/os/os.h"

#define MS INT64_C(1000000)

TEST(instants)
{
    int64_t now = mh_now();
    CHECK(mh_in_ms(1000) >= now + 1000 * MS);
    CHECK(mh_in_ms(1000) < now + 100000 * MS);
    CHECK_EQ(mh_in_ns(-1), MH_AT_ONCE);
    CHECK_EQ(mh_in_ms(-1), MH_AT_ONCE);
    CHECK_EQ(mh_in_ms(INT64_MIN), MH_AT_ONCE);
    CHECK_EQ(mh_in_ns(INT64_MAX), MH_FOREVER);
    CHECK_EQ(mh_in_ms(INT64_MAX), MH_FOREVER);
    CHECK_EQ(mh_in_ms(INT64_MAX / 1000000), MH_FOREVER);
}

TEST(what_differs_already_does_not_wait)
{
    _Atomic(uint32_t) word = 1;
    CHECK_EQ(mh_wait(&word, 0, MH_FOREVER, NULL, MH_PRIVATE), 0);
    CHECK_EQ(mh_wait(&word, 0, MH_FOREVER, NULL, 0), 0);
    CHECK_EQ(mh_wait(&word, 1, MH_AT_ONCE, NULL, 0), -ETIMEDOUT);
}

TEST(a_private_wait_sleeps_to_its_deadline)
{
    _Atomic(uint32_t) word = 0;
    int64_t until = mh_in_ms(120); /* more than a slice */
    CHECK_EQ(mh_wait(&word, 0, until, NULL, MH_PRIVATE), -ETIMEDOUT);
    CHECK(mh_now() >= until);
}

TEST(a_shared_wait_looks_again_in_slices_that_double)
{
    _Atomic(uint32_t) word = 0;
    int64_t last = 0;
    for (int i = 0; i < 3; i++) {
        int64_t start = mh_now();
        CHECK_EQ(mh_wait(&word, 0, MH_FOREVER, NULL, 0), 0);
        int64_t slept = mh_now() - start;
        CHECK(slept >= (50 << i) * MS);
        last = slept;
    }
    CHECK(last >= 200 * MS);
    int64_t until = mh_in_ms(10); /* sooner than a slice */
    CHECK_EQ(mh_wait(&word, 0, until, NULL, 0), -ETIMEDOUT);
}

/* ---- a sleeper of its own, to do things to */

struct sleeper {
    _Atomic(uint32_t) word;
    mh_cancel cancel;
    unsigned flags;
    int64_t every;
    int (*hook)(void *);
    _Atomic(int) tid, rc, calls;
};

static void sleeps(void *arg)
{
    struct sleeper *s = arg;
    mh_on_interrupt(s->hook, s, s->every);
    s->tid = mh_os_tid();
    int rc = 0;
    while (rc == 0 && s->word == 0) {
        rc = mh_wait(&s->word, 0, MH_FOREVER, &s->cancel, s->flags);
    }
    s->rc = rc;
}

static void until_asleep(struct sleeper *s)
{
    CHECK_EVENTUALLY(s->tid != 0 && t_thread_sleeps(getpid(), s->tid));
}

static void on_signal(int number)
{
    (void) number;
}

static void interrupt(struct sleeper *s, pthread_t thread)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    until_asleep(s);
    CHECK_EQ(pthread_kill(thread, SIGUSR1), 0);
}

static void cancelled(unsigned wait_flags, unsigned token_flags)
{
    struct sleeper s = {.flags = wait_flags, .cancel = {.flags = token_flags}};
    pthread_t thread = t_thread(sleeps, &s);
    until_asleep(&s);
    mh_cancel_request(&s.cancel);
    t_join(thread, 10);
    CHECK_EQ(s.rc, -ECANCELED);
    CHECK(mh_cancel_requested(&s.cancel));
    CHECK_EQ(mh_wait(&s.word, 0, MH_FOREVER, &s.cancel, wait_flags), -ECANCELED);
    mh_cancel_reset(&s.cancel);
    CHECK_EQ(mh_wait(&s.word, 0, mh_in_ms(1), &s.cancel, wait_flags), -ETIMEDOUT);
}

TEST(a_request_ends_a_wait)
{
    cancelled(MH_PRIVATE, MH_PRIVATE);
    cancelled(0, 0);
    cancelled(MH_PRIVATE, 0);
    cancelled(0, MH_PRIVATE);
}

TEST(a_request_that_is_taken_back_ends_a_wait)
{
    struct sleeper s = {.flags = MH_PRIVATE, .cancel = {.flags = MH_PRIVATE}};
    pthread_t thread = t_thread(sleeps, &s);
    until_asleep(&s);
    mh_cancel_request(&s.cancel);
    mh_cancel_reset(&s.cancel);
    t_join(thread, 10);
    CHECK_EQ(s.rc, -ECANCELED);
}

TEST(a_signal_ends_a_wait_without_a_hook)
{
    struct sleeper s = {.flags = MH_PRIVATE};
    pthread_t thread = t_thread(sleeps, &s);
    interrupt(&s, thread);
    t_join(thread, 10);
    CHECK_EQ(s.rc, -EINTR);
}

static int go_on(void *arg)
{
    ((struct sleeper *) arg)->calls++;
    return 0;
}

static int stop_at_third(void *arg)
{
    return ++((struct sleeper *) arg)->calls == 3 ? -EIO : 0;
}

TEST(a_hook_decides_after_a_signal)
{
    struct sleeper s = {.flags = MH_PRIVATE, .hook = go_on};
    pthread_t thread = t_thread(sleeps, &s);
    interrupt(&s, thread);
    CHECK_EVENTUALLY(s.calls == 1);
    until_asleep(&s);
    s.word = 1;
    mh_wake(&s.word, 1, MH_PRIVATE);
    t_join(thread, 10);
    CHECK_EQ(s.rc, 0);
    CHECK_EQ(s.calls, 1);
}

static void hook_runs_every(unsigned flags, int64_t every)
{
    struct sleeper s = {.flags = flags, .hook = stop_at_third, .every = every};
    int64_t start = mh_now();
    t_join(t_thread(sleeps, &s), 10);
    CHECK_EQ(s.rc, -EIO);
    CHECK_EQ(s.calls, 3);
    CHECK(mh_now() - start >= 3 * every);
}

TEST(a_hook_runs_every_so_often)
{
    hook_runs_every(MH_PRIVATE, 5 * MS);
    hook_runs_every(0, 5 * MS);
    hook_runs_every(0, 80 * MS); /* more than a slice */
}

static void shared_sleeper(void *arg)
{
    sleeps(arg);
}

TEST(another_process_wakes_and_cancels)
{
    struct sleeper *s = t_shared(2 * sizeof *s);
    pid_t woken = t_fork(shared_sleeper, &s[0]), ended = t_fork(shared_sleeper, &s[1]);
    CHECK_EVENTUALLY(s[0].tid != 0 && s[1].tid != 0 && t_sleeps(woken) && t_sleeps(ended));
    s[0].word = 1;
    mh_wake(&s[0].word, INT32_MAX, 0);
    mh_cancel_request(&s[1].cancel);
    CHECK_EQ(t_wait(woken, 10), 0);
    CHECK_EQ(t_wait(ended, 10), 0);
    CHECK_EQ(s[0].rc, 0);
    CHECK_EQ(s[1].rc, -ECANCELED);
}

/* What a killed waker leaves: the word is changed, nobody was woken. */
TEST(a_wake_that_never_came_costs_a_slice)
{
    struct sleeper *s = t_shared(sizeof *s);
    pid_t child = t_fork(shared_sleeper, s);
    CHECK_EVENTUALLY(s->tid != 0 && t_sleeps(child));
    s->word = 1;
    CHECK_EQ(t_wait(child, 10), 0);
    CHECK_EQ(s->rc, 0);
}
