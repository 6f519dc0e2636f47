/* mh_lock: the same body against ours and pthread's; then what only ours promises: deadlines, cancel, death, hand-over. */
#include "tests/core/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

#include <manyhands/lock.h>

#include "core/os/os.h"
#include "core/sync/section.h"

/* ---- one body, two implementations */

struct kind {
    void (*init)(void *lock, int shared);
    void (*acquire)(void *lock);
    void (*release)(void *lock);
};

static void our_init(void *lock, int shared)
{
    mh_lock_init(lock, shared ? 0 : MH_PRIVATE);
}

static void our_acquire(void *lock)
{
    CHECK_EQ(mh_lock_acquire(lock, MH_FOREVER, NULL), 0);
}

static void our_release(void *lock)
{
    mh_lock_release(lock);
}

static void their_init(void *lock, int shared)
{
    pthread_mutexattr_t attr;
    CHECK_EQ(pthread_mutexattr_init(&attr), 0);
    CHECK_EQ(pthread_mutexattr_setpshared(&attr, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE),
             0);
    CHECK_EQ(pthread_mutex_init(lock, &attr), 0);
}

static void their_acquire(void *lock)
{
    CHECK_EQ(pthread_mutex_lock(lock), 0);
}

static void their_release(void *lock)
{
    CHECK_EQ(pthread_mutex_unlock(lock), 0);
}

static const struct kind ours = {our_init, our_acquire, our_release};
static const struct kind theirs = {their_init, their_acquire, their_release};

enum { WORKERS = 4, ROUNDS = 5000 };

struct count {
    union {
        mh_lock ours;
        pthread_mutex_t theirs;
    } lock;
    const struct kind *kind;
    t_barrier_t *start;
    long n; /* plain: the lock guards it */
};

static void count_up(void *arg)
{
    struct count *c = arg;
    t_meet(c->start);
    for (int i = 0; i < ROUNDS; i++) {
        c->kind->acquire(&c->lock);
        c->n++;
        c->kind->release(&c->lock);
    }
}

static void count_with_threads(const struct kind *kind)
{
    struct count c = {.kind = kind, .start = t_barrier(WORKERS)};
    pthread_t threads[WORKERS];
    kind->init(&c.lock, 0);
    for (int i = 0; i < WORKERS; i++) {
        threads[i] = t_thread(count_up, &c);
    }
    for (int i = 0; i < WORKERS; i++) {
        t_join(threads[i], 60);
    }
    CHECK_EQ(c.n, WORKERS * ROUNDS);
}

static void count_with_processes(const struct kind *kind)
{
    struct count *c = t_shared(sizeof *c);
    pid_t children[WORKERS];
    c->kind = kind;
    c->start = t_barrier(WORKERS);
    kind->init(&c->lock, 1);
    for (int i = 0; i < WORKERS; i++) {
        children[i] = t_fork(count_up, c);
    }
    for (int i = 0; i < WORKERS; i++) {
        CHECK_EQ(t_wait(children[i], 60), 0);
    }
    CHECK_EQ(c->n, WORKERS * ROUNDS);
}

TEST_LIMIT(threads_take_turns, 60)
{
    count_with_threads(&ours);
    count_with_threads(&theirs);
}

TEST_LIMIT(processes_take_turns, 60)
{
    count_with_processes(&ours);
    count_with_processes(&theirs);
}

/* ---- one thread */

static void basics(unsigned flags, int me)
{
    mh_lock lock;
    mh_lock_init(&lock, flags);
    CHECK_EQ(mh_lock_is_locked(&lock), 0);
    CHECK_EQ(mh_lock_owner(&lock), 0);
    CHECK_EQ(mh_lock_try_release(&lock), -EPERM);
    CHECK_EQ(mh_lock_try_acquire(&lock), 0);
    CHECK_EQ(mh_lock_owner(&lock), me);
    CHECK_EQ(mh_lock_try_acquire(&lock), -EBUSY);
    CHECK_EQ(mh_lock_acquire(&lock, MH_AT_ONCE, NULL), -ETIMEDOUT);
    CHECK_EQ(mh_lock_acquire(&lock, mh_in_ms(5), NULL), -ETIMEDOUT);
    CHECK_EQ(mh_lock_try_release(&lock), 0);
    CHECK_EQ(mh_lock_acquire(&lock, MH_AT_ONCE, NULL), 0);
    mh_lock_abandon(&lock);
    CHECK_EQ(mh_lock_is_locked(&lock), 0);
    CHECK_EQ(mh_lock_try_release(&lock), -EPERM);
    CHECK_EQ(mh_lock_try_acquire(&lock), MH_OWNER_DIED);
    mh_lock_abandon(&lock);
    CHECK_EQ(mh_lock_acquire(&lock, MH_FOREVER, NULL), MH_OWNER_DIED);
    mh_lock_release(&lock);
    CHECK_EQ(mh_lock_acquire(&lock, MH_FOREVER, NULL), 0);
    mh_lock_release(&lock);
}

TEST(what_a_lock_says)
{
    basics(MH_PRIVATE, mh_os_tid());
    basics(0, getpid());
}

TEST(all_zero_is_a_lock)
{
    static mh_lock lock;
    CHECK_EQ(mh_lock_acquire(&lock, MH_FOREVER, NULL), 0);
    mh_lock_release(&lock);
}

static void release_unlocked(void *arg)
{
    mh_lock_release(arg);
}

static void abandon_unlocked(void *arg)
{
    mh_lock_abandon(arg);
}

TEST(a_release_too_many_panics)
{
    mh_lock lock = {0};
    CHECK_EQ(t_wait(t_fork(release_unlocked, &lock), 10), -SIGABRT);
    CHECK_EQ(t_wait(t_fork(abandon_unlocked, &lock), 10), -SIGABRT);
}

/* ---- waiters */

struct waiter {
    mh_lock lock;
    mh_cancel cancel;
    int64_t deadline;
    _Atomic(int) tid, rc, held;
};

static void wait_for_it(void *arg)
{
    struct waiter *w = arg;
    w->tid = mh_os_tid();
    int rc = mh_lock_acquire(&w->lock, w->deadline, &w->cancel);
    w->rc = rc;
    if (rc >= 0) {
        w->held++;
        mh_lock_release(&w->lock);
    }
}

TEST(a_cancelled_waiter_leaves_the_lock_to_others)
{
    struct waiter w = {.deadline = MH_FOREVER, .cancel = {.flags = MH_PRIVATE}};
    mh_lock_init(&w.lock, MH_PRIVATE);
    CHECK_EQ(mh_lock_acquire(&w.lock, MH_FOREVER, NULL), 0);
    pthread_t thread = t_thread(wait_for_it, &w);
    CHECK_EVENTUALLY(w.tid != 0 && t_thread_sleeps(getpid(), w.tid));
    mh_cancel_request(&w.cancel);
    t_join(thread, 10);
    CHECK_EQ(w.rc, -ECANCELED);
    mh_lock_release(&w.lock);
    CHECK_EQ(mh_lock_acquire(&w.lock, MH_FOREVER, &w.cancel),
             0); /* free: nothing to wait for, nothing to cancel */
}

static void release_it(void *arg)
{
    mh_lock_release(arg);
}

TEST(any_process_may_release)
{
    struct waiter *w = t_shared(sizeof *w);
    w->deadline = MH_FOREVER;
    CHECK_EQ(mh_lock_acquire(&w->lock, MH_FOREVER, NULL), 0);
    pid_t waiter = t_fork(wait_for_it, w);
    CHECK_EVENTUALLY(w->tid != 0 && t_sleeps(waiter));
    CHECK_EQ(t_wait(t_fork(release_it, &w->lock), 10), 0);
    CHECK_EQ(t_wait(waiter, 10), 0);
    CHECK_EQ(w->held, 1);
}

/* ---- death */

struct crime {
    mh_lock lock;
    t_barrier_t *held;
};

static void hold_for_ever(void *arg)
{
    struct crime *c = arg;
    int rc = mh_lock_acquire(&c->lock, MH_FOREVER, NULL);
    CHECK(rc >= 0);
    t_meet(c->held);
    for (;;) {
        pause();
    }
}

static pid_t somebody_holds(struct crime *c)
{
    c->held = t_barrier(2);
    pid_t owner = t_fork(hold_for_ever, c);
    t_meet(c->held);
    CHECK_EQ(mh_lock_owner(&c->lock), owner);
    CHECK_EQ(mh_lock_try_acquire(&c->lock), -EBUSY);
    return owner;
}

TEST(a_dead_owner_is_reported_once)
{
    struct crime *c = t_shared(sizeof *c);
    t_kill(somebody_holds(c));
    CHECK_EQ(mh_lock_acquire(&c->lock, MH_FOREVER, NULL), MH_OWNER_DIED);
    CHECK_EQ(mh_lock_owner(&c->lock), getpid());
    mh_lock_release(&c->lock);
    CHECK_EQ(mh_lock_acquire(&c->lock, MH_FOREVER, NULL), 0);
}

TEST(a_try_and_a_short_wait_find_the_dead)
{
    struct crime *c = t_shared(sizeof *c);
    t_kill(somebody_holds(c));
    CHECK_EQ(mh_lock_try_acquire(&c->lock), MH_OWNER_DIED);
    mh_lock_release(&c->lock);
    t_kill(somebody_holds(c));
    CHECK_EQ(mh_lock_acquire(&c->lock, mh_in_ms(1), NULL), MH_OWNER_DIED);
    mh_lock_release(&c->lock);
    t_kill(somebody_holds(c));
    CHECK_EQ(mh_lock_acquire(&c->lock, MH_AT_ONCE, NULL), MH_OWNER_DIED);
}

TEST(who_repairs_and_dies_is_reported_too)
{
    struct crime *c = t_shared(sizeof *c);
    t_kill(somebody_holds(c));
    t_kill(somebody_holds(c)); /* held with MH_OWNER_DIED, and killed in turn */
    CHECK_EQ(mh_lock_acquire(&c->lock, MH_FOREVER, NULL), MH_OWNER_DIED);
    mh_lock_abandon(&c->lock);
    CHECK_EQ(mh_lock_acquire(&c->lock, MH_FOREVER, NULL), MH_OWNER_DIED);
    mh_lock_release(&c->lock);
    CHECK_EQ(mh_lock_try_acquire(&c->lock), 0);
}

TEST(a_waiter_outlives_another)
{
    struct waiter *w = t_shared(sizeof *w);
    w->deadline = MH_FOREVER;
    CHECK_EQ(mh_lock_acquire(&w->lock, MH_FOREVER, NULL), 0);
    pid_t first = t_fork(wait_for_it, w);
    CHECK_EVENTUALLY(w->tid != 0 && t_sleeps(first));
    w->tid = 0;
    pid_t second = t_fork(wait_for_it, w);
    CHECK_EVENTUALLY(w->tid != 0 && t_sleeps(second));
    t_kill(first);
    mh_lock_release(&w->lock);
    CHECK_EQ(t_wait(second, 10), 0);
    CHECK_EQ(w->held, 1);
    CHECK_EQ(w->rc, 0); /* it was a waiter that died, not the owner */
}

TEST(a_stopped_owner_is_not_dead)
{
    struct crime *c = t_shared(sizeof *c);
    pid_t owner = somebody_holds(c);
    CHECK_EQ(kill(owner, SIGSTOP), 0);
    CHECK_EVENTUALLY(mh_os_is_stopped(owner) == 1);
    CHECK_EQ(mh_lock_acquire(&c->lock, mh_in_ms(120), NULL), -ETIMEDOUT);
    CHECK_EQ(mh_lock_try_acquire(&c->lock), -EBUSY);
    t_kill(owner);
    CHECK_EQ(mh_lock_acquire(&c->lock, MH_FOREVER, NULL), MH_OWNER_DIED);
}

static void owns_after_fork(void *arg)
{
    mh_lock *lock = arg;
    CHECK_EQ(mh_lock_try_release(&lock[0]), 0);
    CHECK_EQ(mh_lock_try_acquire(&lock[0]), 0);
    mh_lock_init(&lock[1], MH_PRIVATE);
    CHECK_EQ(mh_lock_try_acquire(&lock[1]), 0);
}

TEST(a_forked_child_has_its_locks)
{
    mh_lock lock[2];
    mh_lock_init(&lock[0], MH_PRIVATE);
    mh_lock_init(&lock[1], MH_PRIVATE);
    CHECK_EQ(mh_lock_acquire(&lock[0], MH_FOREVER, NULL), 0);
    CHECK_EQ(mh_lock_acquire(&lock[1], MH_FOREVER, NULL), 0);
    CHECK_EQ(t_wait(t_fork(owns_after_fork, lock), 10), 0);
    CHECK(mh_lock_is_locked(&lock[0])); /* the parent's copies are its own */
}

/* ---- internal sections */

TEST(sections_are_counted_once_and_where_they_were_entered)
{
    struct mh__inside here = {0}, there = {0};
    mh_lock outer = {0}, inner = {0};
    mh__section_count_at(&here);
    CHECK_EQ(mh__section_enter(&outer), 0);
    mh__section_count_at(&there); /* moved while one is inside */
    CHECK_EQ(mh__section_enter(&inner), 0);
    CHECK_EQ(mh__section_count(&here), 1);
    mh__section_leave(&inner);
    mh__section_leave(&outer);
    CHECK_EQ(mh__section_count(&here), 0);
    CHECK_EQ(mh__section_enter(&outer), 0);
    CHECK_EQ(mh__section_count(&there), 1);
    mh__section_leave(&outer);
    CHECK_EQ(mh__section_count(&there), 0);
}

TEST(a_private_section_is_not_counted)
{
    struct mh__inside here = {0};
    mh_lock own = {.flags = MH_PRIVATE}, shared = {.flags = 0};
    mh__section_count_at(&here);
    CHECK_EQ(mh__section_enter(&own), 0);
    CHECK_EQ(mh__section_count(&here), 0);
    CHECK_EQ(mh__section_enter(&shared), 0);
    CHECK_EQ(mh__section_count(&here), 1);
    mh__section_leave(&own);
    CHECK_EQ(mh__section_count(&here), 1);
    mh__section_leave(&shared);
    CHECK_EQ(mh__section_count(&here), 0);
    CHECK_EQ(mh__section_enter_by(&own, MH_FOREVER), 0);
    CHECK_EQ(mh__section_enter_by(&own, MH_AT_ONCE), -ETIMEDOUT);
    mh__section_leave(&own);
    CHECK_EQ(mh__section_count(&here), 0);
    mh__section_count_at(NULL);
}

TEST(a_section_finds_the_dead)
{
    struct crime *c = t_shared(sizeof *c);
    t_kill(somebody_holds(c));
    CHECK_EQ(mh__section_enter(&c->lock), MH_OWNER_DIED);
    mh__section_leave(&c->lock);
}
