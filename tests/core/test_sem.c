/* mh_sem: the same body against ours and sem_t; bounds; giving up, and death. */
#include "tests/core/harness.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

#include <manyhands/sem.h>

#include "core/os/os.h"

enum { WORKERS = 4, PERMITS = 2, ROUNDS = 2000 };

struct gate {
    union {
        mh_sem ours;
        sem_t theirs;
    } sem;
    int is_ours;
    t_barrier_t *start;
    _Atomic(int) inside, most, passed;
};

static void enter(struct gate *g)
{
    if (g->is_ours) {
        CHECK_EQ(mh_sem_acquire(&g->sem.ours, MH_FOREVER, NULL), 0);
        return;
    }
    while (sem_wait(&g->sem.theirs) != 0) {
        CHECK_EQ(errno, EINTR);
    }
}

static void leave(struct gate *g)
{
    CHECK_EQ(g->is_ours ? mh_sem_try_post(&g->sem.ours, 1) : sem_post(&g->sem.theirs), 0);
}

static void pass(void *arg)
{
    struct gate *g = arg;
    t_meet(g->start);
    for (int i = 0; i < ROUNDS; i++) {
        enter(g);
        int now = ++g->inside;
        if (now > g->most) {
            g->most = now;
        }
        g->passed++;
        g->inside--;
        leave(g);
    }
}

static void check_gate(struct gate *g, int with_processes)
{
    pthread_t threads[WORKERS];
    pid_t children[WORKERS];
    g->start = t_barrier(WORKERS);
    for (int i = 0; i < WORKERS; i++) {
        if (with_processes) {
            children[i] = t_fork(pass, g);
        } else {
            threads[i] = t_thread(pass, g);
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        if (with_processes) {
            CHECK_EQ(t_wait(children[i], 60), 0);
        } else {
            t_join(threads[i], 60);
        }
    }
    CHECK_EQ(g->passed, WORKERS * ROUNDS);
    CHECK(g->most <= PERMITS);
}

TEST_LIMIT(no_more_inside_than_permits, 90)
{
    for (int shared = 0; shared <= 1; shared++) {
        struct gate *g = t_shared(2 * sizeof *g);
        g[0].is_ours = 1;
        CHECK_EQ(mh_sem_init(&g[0].sem.ours, PERMITS, PERMITS, shared ? 0 : MH_PRIVATE), 0);
        check_gate(&g[0], shared);
        CHECK_EQ(mh_sem_value(&g[0].sem.ours), PERMITS);
        CHECK_EQ(sem_init(&g[1].sem.theirs, shared, PERMITS), 0);
        check_gate(&g[1], shared);
    }
}

TEST(bounds)
{
    mh_sem sem = {0};
    CHECK_EQ(mh_sem_init(&sem, 3, 2, 0), -EINVAL);
    CHECK_EQ(mh_sem_init(&sem, 0, MH_SEM_MAX + 1u, 0), -EINVAL);
    CHECK_EQ(mh_sem_init(&sem, MH_SEM_MAX + 1u, 0, 0), -EINVAL);
    CHECK_EQ(mh_sem_try_acquire(&sem), -EBUSY); /* all-zero, and untouched by the refusals */
    CHECK_EQ(mh_sem_acquire(&sem, MH_AT_ONCE, NULL), -ETIMEDOUT);
    CHECK_EQ(mh_sem_acquire(&sem, mh_in_ms(2), NULL), -ETIMEDOUT);
    CHECK_EQ(mh_sem_try_post(&sem, 0), 0);
    CHECK_EQ(mh_sem_try_post(&sem, MH_SEM_MAX), 0);
    CHECK_EQ(mh_sem_try_post(&sem, 1), -EOVERFLOW);
    CHECK_EQ(mh_sem_value(&sem), MH_SEM_MAX);
    CHECK_EQ(mh_sem_init(&sem, 1, 3, MH_PRIVATE), 0);
    CHECK_EQ(mh_sem_try_post(&sem, 3), -EOVERFLOW);
    CHECK_EQ(mh_sem_try_post(&sem, UINT32_MAX), -EOVERFLOW);
    CHECK_EQ(mh_sem_value(&sem), 1);
    CHECK_EQ(mh_sem_try_post(&sem, 2), 0);
    CHECK_EQ(mh_sem_try_acquire(&sem), 0);
    CHECK_EQ(mh_sem_value(&sem), 2);
}

static void post_one(void *arg)
{
    mh_sem_post(arg, 1);
}

TEST(a_post_too_many_panics)
{
    mh_sem sem;
    CHECK_EQ(mh_sem_init(&sem, 1, 1, MH_PRIVATE), 0);
    CHECK_EQ(t_wait(t_fork(post_one, &sem), 10), -SIGABRT);
}

struct takers {
    mh_sem sem;
    mh_cancel cancel;
    _Atomic(int) tid, rc, taken;
};

static void take(void *arg)
{
    struct takers *t = arg;
    t->tid = mh_os_tid();
    int rc = mh_sem_acquire(&t->sem, MH_FOREVER, &t->cancel);
    t->rc = rc;
    if (rc == 0) {
        t->taken++;
    }
}

static pthread_t sleeping_thread(struct takers *t)
{
    t->tid = 0;
    pthread_t thread = t_thread(take, t);
    CHECK_EVENTUALLY(t->tid != 0 && t_thread_sleeps(getpid(), t->tid));
    return thread;
}

TEST(one_post_wakes_as_many_as_it_has_permits)
{
    struct takers t = {.cancel = {.flags = MH_PRIVATE}};
    pthread_t threads[3];
    CHECK_EQ(mh_sem_init(&t.sem, 0, 0, MH_PRIVATE), 0);
    for (int i = 0; i < 3; i++) {
        threads[i] = sleeping_thread(&t);
    }
    mh_sem_post(&t.sem, 2);
    CHECK_EVENTUALLY(t.taken == 2);
    CHECK_EQ(mh_sem_value(&t.sem), 0);
    mh_sem_post(&t.sem, 1);
    for (int i = 0; i < 3; i++) {
        t_join(threads[i], 10);
    }
    CHECK_EQ(t.taken, 3);
}

TEST(cancel)
{
    struct takers t = {.cancel = {.flags = MH_PRIVATE}};
    CHECK_EQ(mh_sem_init(&t.sem, 0, 0, MH_PRIVATE), 0);
    pthread_t thread = sleeping_thread(&t);
    mh_cancel_request(&t.cancel);
    t_join(thread, 10);
    CHECK_EQ(t.rc, -ECANCELED);
    CHECK_EQ(t.taken, 0);
    mh_sem_post(&t.sem, 1);
    CHECK_EQ(mh_sem_value(&t.sem), 1);
}

TEST(a_killed_waiter_takes_no_permit)
{
    struct takers *t = t_shared(sizeof *t);
    pid_t first = t_fork(take, t);
    CHECK_EVENTUALLY(t->tid != 0 && t_sleeps(first));
    t->tid = 0;
    pid_t second = t_fork(take, t);
    CHECK_EVENTUALLY(t->tid != 0 && t_sleeps(second));
    t_kill(first);
    mh_sem_post(&t->sem, 1);
    CHECK_EQ(t_wait(second, 10), 0);
    CHECK_EQ(t->taken, 1);
    CHECK_EQ(mh_sem_value(&t->sem), 0);
}

/* Who took the last permit may free the memory at once: each semaphore lives for one round, on the taker's stack. */
static void post_to(void *arg)
{
    mh_sem *_Atomic *place = arg;
    for (int i = 0; i < ROUNDS; i++) {
        mh_sem *sem;
        while ((sem = atomic_exchange(place, NULL)) == NULL) {
            mh_os_pause();
        }
        mh_sem_post(sem, 1);
    }
}

TEST_LIMIT(the_taker_may_free_it, 60)
{
    static mh_sem *_Atomic place;
    pthread_t thread = t_thread(post_to, (void *) &place);
    for (int i = 0; i < ROUNDS; i++) {
        mh_sem sem;
        CHECK_EQ(mh_sem_init(&sem, 0, 1, MH_PRIVATE), 0);
        atomic_store(&place, &sem);
        CHECK_EQ(mh_sem_acquire(&sem, MH_FOREVER, NULL), 0);
        CHECK_EQ(mh_sem_value(&sem), 0);
    }
    t_join(thread, 30);
}
