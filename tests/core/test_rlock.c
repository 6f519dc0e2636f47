/* mh_rlock: depth and owner, against pthread's recursive mutex where that has the same; shared between processes; death. */
#include "tests/core/harness.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include <manyhands/lock.h>

#include "core/os/os.h"

enum { WORKERS = 3, ROUNDS = 3000 };

struct count {
    union {
        mh_rlock ours;
        pthread_mutex_t theirs;
    } lock;
    int is_ours;
    t_barrier_t *start;
    long n;
};

static void in(struct count *c)
{
    CHECK_EQ(c->is_ours ? mh_rlock_acquire(&c->lock.ours, MH_FOREVER, NULL)
                        : pthread_mutex_lock(&c->lock.theirs),
             0);
}

static void out(struct count *c)
{
    CHECK_EQ(c->is_ours ? mh_rlock_try_release(&c->lock.ours) : pthread_mutex_unlock(&c->lock.theirs), 0);
}

static void count_up(void *arg)
{
    struct count *c = arg;
    t_meet(c->start);
    for (int i = 0; i < ROUNDS; i++) {
        in(c);
        in(c);
        c->n++;
        out(c);
        c->n++;
        out(c);
    }
}

static void count(struct count *c, int with_processes)
{
    pthread_t threads[WORKERS];
    pid_t children[WORKERS];
    c->start = t_barrier(WORKERS);
    for (int i = 0; i < WORKERS; i++) {
        if (with_processes) {
            children[i] = t_fork(count_up, c);
        } else {
            threads[i] = t_thread(count_up, c);
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        if (with_processes) {
            CHECK_EQ(t_wait(children[i], 60), 0);
        } else {
            t_join(threads[i], 60);
        }
    }
    CHECK_EQ(c->n, 2 * WORKERS * ROUNDS);
}

TEST_LIMIT(threads_take_turns, 60)
{
    struct count ours = {.is_ours = 1}, theirs = {.is_ours = 0};
    pthread_mutexattr_t attr;
    mh_rlock_init(&ours.lock.ours, MH_PRIVATE);
    count(&ours, 0);
    CHECK_EQ(pthread_mutexattr_init(&attr), 0);
    CHECK_EQ(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE), 0);
    CHECK_EQ(pthread_mutex_init(&theirs.lock.theirs, &attr), 0);
    count(&theirs, 0);
}

TEST_LIMIT(processes_take_turns, 60)
{
    struct count *c = t_shared(sizeof *c);
    c->is_ours = 1;
    count(c, 1);
}

static void stranger(void *arg)
{
    mh_rlock *lock = arg;
    CHECK_EQ(mh_rlock_is_owned(lock), 0);
    CHECK_EQ(mh_rlock_depth(lock), 0);
    CHECK_EQ(mh_rlock_is_locked(lock), 1);
    CHECK_EQ(mh_rlock_try_release(lock), -EPERM);
    CHECK_EQ(mh_rlock_try_acquire(lock), -EBUSY);
    CHECK_EQ(mh_rlock_acquire(lock, mh_in_ms(2), NULL), -ETIMEDOUT);
    CHECK_EQ(mh_rlock_release_all(lock, &(uint32_t){0}), -EPERM);
}

static void basics(unsigned flags)
{
    mh_rlock lock;
    uint32_t depth = 0;
    mh_rlock_init(&lock, flags);
    CHECK_EQ(mh_rlock_try_release(&lock), -EPERM);
    for (uint32_t i = 1; i <= 3; i++) {
        CHECK_EQ(mh_rlock_acquire(&lock, MH_AT_ONCE, NULL), 0);
        CHECK_EQ(mh_rlock_depth(&lock), i);
    }
    CHECK_EQ(mh_rlock_try_acquire(&lock), 0);
    CHECK_EQ(mh_rlock_owner(&lock), mh_os_tid());
    t_join(t_thread(stranger, &lock), 10);
    CHECK_EQ(mh_rlock_release_all(&lock, &depth), 0);
    CHECK_EQ(depth, 4);
    CHECK_EQ(mh_rlock_is_locked(&lock), 0);
    CHECK_EQ(mh_rlock_acquire_depth(&lock, 0, MH_FOREVER, NULL), -EINVAL);
    CHECK_EQ(mh_rlock_acquire_depth(&lock, depth, MH_FOREVER, NULL), 0);
    CHECK_EQ(mh_rlock_depth(&lock), 4);
    mh_rlock_abandon(&lock);
    CHECK_EQ(mh_rlock_acquire(&lock, MH_FOREVER, NULL), MH_OWNER_DIED);
    CHECK_EQ(mh_rlock_depth(&lock), 1);
    mh_rlock_release(&lock);
    CHECK_EQ(mh_rlock_acquire(&lock, MH_FOREVER, NULL), 0);
}

TEST(what_it_says)
{
    basics(MH_PRIVATE);
    basics(0);
}

TEST(too_deep_is_refused)
{
    mh_rlock lock;
    mh_rlock_init(&lock, MH_PRIVATE);
    CHECK_EQ(mh_rlock_acquire_depth(&lock, UINT32_MAX, MH_FOREVER, NULL), 0);
    CHECK_EQ(mh_rlock_acquire(&lock, MH_FOREVER, NULL), -EOVERFLOW);
    CHECK_EQ(mh_rlock_try_acquire(&lock), -EOVERFLOW);
    CHECK_EQ(mh_rlock_depth(&lock), UINT32_MAX);
}

static void release_strange(void *arg)
{
    mh_rlock_release(arg);
}

TEST(a_strangers_release_panics)
{
    mh_rlock *lock = t_shared(sizeof *lock);
    CHECK_EQ(mh_rlock_acquire(lock, MH_FOREVER, NULL), 0);
    CHECK_EQ(t_wait(t_fork(release_strange, lock), 10), -SIGABRT);
    CHECK_EQ(mh_rlock_depth(lock), 1);
}

struct crime {
    mh_rlock lock;
    t_barrier_t *held;
};

static void hold_for_ever(void *arg)
{
    struct crime *c = arg;
    CHECK_EQ(mh_rlock_acquire_depth(&c->lock, 3, MH_FOREVER, NULL), 0);
    t_meet(c->held);
    for (;;) {
        pause();
    }
}

TEST(a_dead_owner_is_reported_at_depth_one)
{
    struct crime *c = t_shared(sizeof *c);
    c->held = t_barrier(2);
    pid_t owner = t_fork(hold_for_ever, c);
    t_meet(c->held);
    t_kill(owner);
    CHECK_EQ(mh_rlock_acquire(&c->lock, MH_FOREVER, NULL), MH_OWNER_DIED);
    CHECK_EQ(mh_rlock_depth(&c->lock), 1);
    mh_rlock_release(&c->lock);
    CHECK_EQ(mh_rlock_is_locked(&c->lock), 0);
}

static void take_and_end(void *arg)
{
    CHECK_EQ(mh_rlock_acquire(arg, MH_FOREVER, NULL), 0);
}

TEST(a_thread_that_ended_inside_is_a_dead_owner)
{
    mh_rlock lock;
    mh_rlock_init(&lock, 0);
    t_join(t_thread(take_and_end, &lock), 10);
    CHECK_EVENTUALLY(mh_rlock_try_acquire(&lock) == MH_OWNER_DIED);
    CHECK_EQ(mh_rlock_depth(&lock), 1);
}

struct forked {
    mh_rlock own; /* private */
    mh_rlock *shared;
};

static void in_the_child(void *arg)
{
    struct forked *f = arg;
    CHECK_EQ(mh_rlock_depth(&f->own), 2);
    CHECK_EQ(mh_rlock_try_release(&f->own), 0);
    CHECK_EQ(mh_rlock_try_release(&f->own), 0);
    CHECK_EQ(mh_rlock_is_owned(f->shared), 0);
    CHECK_EQ(mh_rlock_try_release(f->shared), -EPERM);
    CHECK_EQ(mh_rlock_try_acquire(f->shared), -EBUSY);
}

TEST(what_a_forked_child_owns)
{
    struct forked f = {.shared = t_shared(sizeof(mh_rlock))};
    mh_rlock_init(&f.own, MH_PRIVATE);
    CHECK_EQ(mh_rlock_acquire_depth(&f.own, 2, MH_FOREVER, NULL), 0);
    CHECK_EQ(mh_rlock_acquire(f.shared, MH_FOREVER, NULL), 0);
    CHECK_EQ(t_wait(t_fork(in_the_child, &f), 10), 0);
    CHECK_EQ(mh_rlock_depth(&f.own), 2);
    CHECK_EQ(mh_rlock_depth(f.shared), 1);
}

/* ---- mh_rlock_read: what the lock guards, without the lock */

struct guarded {
    mh_rlock lock;
    t_barrier_t *start;
    _Atomic(uint64_t) number; /* odd only while somebody has the lock */
    _Atomic(int) over;
};

TEST(reads_only_what_nobody_is_changing)
{
    struct guarded *g = t_shared(sizeof *g);
    uint64_t found = 7;
    g->number = UINT64_MAX - 1;
    CHECK_EQ(mh_rlock_read(&g->lock, &g->number, 8, &found), 0);
    CHECK(found == UINT64_MAX - 1);
    CHECK_EQ(mh_rlock_read(&g->lock, (const char *) &g->number + 2, 2, &found), 0);
    CHECK(found == 0xffff);
    CHECK_EQ(mh_rlock_read(&g->lock, &g->number, 4, &found), 0);
    CHECK(found == 0xfffffffe);
    CHECK_EQ(mh_rlock_read(&g->lock, &g->number, 1, &found), 0);
    CHECK(found == 0xfe);
    CHECK_EQ(mh_rlock_read(&g->lock, &g->number, 0, &found), -EINVAL);
    CHECK_EQ(mh_rlock_read(&g->lock, &g->number, 3, &found), -EINVAL);
    CHECK_EQ(mh_rlock_read(&g->lock, &g->number, 16, &found), -EINVAL);
    CHECK_EQ(mh_rlock_read(&g->lock, (const char *) &g->number + 1, 2, &found), -EINVAL);
    CHECK_EQ(mh_rlock_acquire(&g->lock, MH_FOREVER, NULL), 0);
    CHECK_EQ(mh_rlock_read(&g->lock, &g->number, 8, &found), -EBUSY);
    mh_rlock_abandon(&g->lock);
    CHECK_EQ(mh_rlock_read(&g->lock, &g->number, 8, &found), -EBUSY);
    CHECK(found == 0xfe);
}

static void changes(void *arg)
{
    struct guarded *g = arg;
    t_meet(g->start);
    while (!atomic_load(&g->over)) {
        CHECK_EQ(mh_rlock_acquire(&g->lock, MH_FOREVER, NULL), 0);
        uint64_t was = atomic_load_explicit(&g->number, memory_order_relaxed);
        atomic_store_explicit(&g->number, was + 1, memory_order_relaxed);
        atomic_store_explicit(&g->number, was + 2, memory_order_relaxed);
        mh_rlock_release(&g->lock);
    }
}

TEST_LIMIT(readers_see_no_half_change, 60)
{
    struct guarded *g = t_shared(sizeof *g);
    uint64_t found = 0, last = 0;
    int reads = 0;
    g->start = t_barrier(2);
    pid_t child = t_fork(changes, g);
    t_meet(g->start);
    while (reads < 200000) {
        if (mh_rlock_read(&g->lock, &g->number, 8, &found) == 0) {
            CHECK_EQ(found & 1, 0);
            CHECK(found >= last);
            last = found;
            reads++;
        }
    }
    atomic_store(&g->over, 1);
    CHECK_EQ(t_wait(child, 30), 0);
}
