/* mh_event: the same body against ours and a mutex with a condition; set and clear at once; giving up, and death. */
#include "tests/core/harness.h"

#include <errno.h>
#include <unistd.h>

#include <manyhands/event.h>

#include "core/os/os.h"

enum { WAITERS = 3 };

struct gate {
    mh_event ours;
    pthread_mutex_t mutex; /* theirs */
    pthread_cond_t cond;
    int open;
    int is_ours;
    mh_cancel cancel;
    int data;
    _Atomic(int) tid, rc, passed;
};

static void pass(void *arg)
{
    struct gate *g = arg;
    g->tid = mh_os_tid();
    if (g->is_ours) {
        int rc = mh_event_wait(&g->ours, MH_FOREVER, &g->cancel);
        g->rc = rc;
        if (rc < 0) {
            return;
        }
    } else {
        CHECK_EQ(pthread_mutex_lock(&g->mutex), 0);
        while (!g->open) {
            CHECK_EQ(pthread_cond_wait(&g->cond, &g->mutex), 0);
        }
        CHECK_EQ(pthread_mutex_unlock(&g->mutex), 0);
    }
    CHECK_EQ(g->data, 42);
    g->passed++;
}

static void open_gate(struct gate *g)
{
    g->data = 42;
    if (g->is_ours) {
        mh_event_set(&g->ours);
        return;
    }
    CHECK_EQ(pthread_mutex_lock(&g->mutex), 0);
    g->open = 1;
    CHECK_EQ(pthread_cond_broadcast(&g->cond), 0);
    CHECK_EQ(pthread_mutex_unlock(&g->mutex), 0);
}

static pthread_t sleeper(struct gate *g)
{
    g->tid = 0;
    pthread_t thread = t_thread(pass, g);
    CHECK_EVENTUALLY(g->tid != 0 && t_thread_sleeps(getpid(), g->tid));
    return thread;
}

TEST(set_lets_all_pass)
{
    for (int is_ours = 0; is_ours <= 1; is_ours++) {
        struct gate g = {.is_ours = is_ours, .cancel = {.flags = MH_PRIVATE}};
        pthread_t threads[WAITERS];
        mh_event_init(&g.ours, MH_PRIVATE);
        CHECK_EQ(pthread_mutex_init(&g.mutex, NULL), 0);
        CHECK_EQ(pthread_cond_init(&g.cond, NULL), 0);
        for (int i = 0; i < WAITERS; i++) {
            threads[i] = sleeper(&g);
        }
        open_gate(&g);
        for (int i = 0; i < WAITERS; i++) {
            t_join(threads[i], 10);
        }
        CHECK_EQ(g.passed, WAITERS);
        pass(&g); /* and whoever comes later */
        CHECK_EQ(g.passed, WAITERS + 1);
    }
}

TEST(what_it_says)
{
    mh_event event = {0};
    CHECK_EQ(mh_event_is_set(&event), 0);
    CHECK_EQ(mh_event_wait(&event, MH_AT_ONCE, NULL), -ETIMEDOUT);
    CHECK_EQ(mh_event_wait(&event, mh_in_ms(2), NULL), -ETIMEDOUT);
    mh_event_clear(&event);
    mh_event_set(&event);
    mh_event_set(&event);
    CHECK_EQ(mh_event_is_set(&event), 1);
    CHECK_EQ(mh_event_wait(&event, MH_AT_ONCE, NULL), 0);
    mh_event_clear(&event);
    CHECK_EQ(mh_event_is_set(&event), 0);
    CHECK_EQ(mh_event_wait(&event, MH_AT_ONCE, NULL), -ETIMEDOUT);
}

TEST(set_and_clear_at_once_reaches_who_slept)
{
    struct gate g = {.is_ours = 1, .cancel = {.flags = MH_PRIVATE}};
    pthread_t threads[WAITERS];
    mh_event_init(&g.ours, MH_PRIVATE);
    for (int i = 0; i < WAITERS; i++) {
        threads[i] = sleeper(&g);
    }
    open_gate(&g);
    mh_event_clear(&g.ours);
    for (int i = 0; i < WAITERS; i++) {
        t_join(threads[i], 10);
    }
    CHECK_EQ(g.passed, WAITERS);
    CHECK_EQ(mh_event_is_set(&g.ours), 0);
}

TEST(cancel)
{
    struct gate g = {.is_ours = 1, .cancel = {.flags = MH_PRIVATE}};
    mh_event_init(&g.ours, MH_PRIVATE);
    pthread_t thread = sleeper(&g);
    mh_cancel_request(&g.cancel);
    t_join(thread, 10);
    CHECK_EQ(g.rc, -ECANCELED);
    CHECK_EQ(g.passed, 0);
}

TEST(between_processes_and_past_a_dead_waiter)
{
    struct gate *g = t_shared(sizeof *g);
    g->is_ours = 1;
    pid_t dies = t_fork(pass, g);
    CHECK_EVENTUALLY(g->tid != 0 && t_sleeps(dies));
    g->tid = 0;
    pid_t lives = t_fork(pass, g);
    CHECK_EVENTUALLY(g->tid != 0 && t_sleeps(lives));
    t_kill(dies);
    open_gate(g);
    CHECK_EQ(t_wait(lives, 10), 0);
    CHECK_EQ(g->passed, 1);
}

/* What a setter leaves that is killed between setting and waking: the word, and no wake. */
TEST(a_setter_killed_before_its_wake)
{
    struct gate *g = t_shared(sizeof *g);
    g->is_ours = 1;
    pid_t waiter = t_fork(pass, g);
    CHECK_EVENTUALLY(g->tid != 0 && t_sleeps(waiter));
    g->data = 42;
    g->ours.word += 5; /* SET, one more; its waiters are not woken */
    CHECK_EQ(t_wait(waiter, 10), 0);
    CHECK_EQ(g->passed, 1);
}
