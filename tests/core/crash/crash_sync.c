/* tests/core/crash/crash_sync.c - a process is killed at every atomic step of every primitive between processes, in turn:
 * alone with it, in a wait, and with others that wait. The survivors go on; what the primitive guards is whole, or they are
 * told. (tests/core/sched does the same to all interleavings of the code; here the processes and the futex are real.) */
#include "tests/core/harness.h"

#include <errno.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "core/debug/trace.h"
#include "crash_die.h"
#include "manyhands/barrier.h"
#include "manyhands/cond.h"
#include "manyhands/event.h"
#include "manyhands/lock.h"
#include "manyhands/rwlock.h"
#include "manyhands/sem.h"

enum { LONG_MS = 10000, SHORT_MS = 200 }; /* short: three slices of a shared wait */

typedef struct world {
    mh_lock lock;
    mh_rlock rlock;
    mh_sem sem;
    mh_event event;
    mh_cond cond;
    mh_barrier barrier;
    mh_rwlock rwlock;
    int a, b;           /* equal but for the moment between two stores inside */
    _Atomic(int) flag;  /* what the condition is about */
    _Atomic(int) ready; /* the victim is where the survivor wants it */
    _Atomic(int) done;  /* it came to its end */
} world;

static uint64_t target;
static world *w;

static void die_at(const char *name, uint64_t number, void *arg)
{
    (void) arg;
    if (number == target) {
        crash_die(name);
    }
}

static void mortal(void)
{
    mh__trace_set(die_at, NULL);
}

static void immortal(void)
{
    mh__trace_set(NULL, NULL);
    w->done = 1;
}

/* Until it is true, but not for long: the victim may have died on its way there. */
#define SOON(condition)                                 \
    do {                                                \
        for (int i = 0; i < 100 && !(condition); i++) { \
            t_nap(0.0005);                              \
        }                                               \
    } while (0)

static void nothing(void)
{
}

/* For each point: `before`, then the victim in a process of its own beside `during`, then `after`. */
static void at_every_point(void (*before)(void), void (*victim)(void *), void (*during)(void),
                           void (*after)(void))
{
    int status = -SIGKILL;
    for (target = 0; status != 0; target++) {
        w = t_shared(sizeof *w);
        CHECK_EQ(mh_barrier_init(&w->barrier, 2, 0), 0);
        before();
        pid_t child = t_fork(victim, NULL);
        during();
        status = t_wait(child, 30);
        CHECK(status == 0 || status == -SIGKILL);
        CHECK_EQ(w->done, status == 0);
        after();
    }
    printf("%d points\n", (int) target);
    CHECK(target > 1);
}

static void change(void)
{
    w->a++;
    mh__trace_point("between two changes inside");
    w->b++;
}

/* What was held by somebody who may be dead is free for the next, who is told if it is not whole. */
static void told(int rc)
{
    CHECK(rc == 0 || (rc == MH_OWNER_DIED && !w->done));
    if (rc == 0) {
        CHECK_EQ(w->a, w->b);
    }
    w->b = w->a;
}

/* ---- lock */

static void lock_alone(void *arg)
{
    (void) arg;
    mortal();
    CHECK(mh_lock_acquire(&w->lock, MH_FOREVER, NULL) >= 0);
    change();
    mh_lock_release(&w->lock);
    immortal();
}

static void lock_and_let_wait(void *arg)
{
    (void) arg;
    CHECK_EQ(mh_lock_acquire(&w->lock, MH_FOREVER, NULL), 0);
    w->ready = 1;
    SOON(mh_lock_has_waiters(&w->lock));
    mortal();
    change();
    mh_lock_release(&w->lock);
    immortal();
}

static void hold_lock(void)
{
    CHECK_EQ(mh_lock_acquire(&w->lock, MH_FOREVER, NULL), 0);
}

static void release_lock_to_it(void)
{
    SOON(mh_lock_has_waiters(&w->lock));
    mh_lock_release(&w->lock);
}

static void lock_after_it(void)
{
    SOON(w->ready);
    told(mh_lock_acquire(&w->lock, mh_in_ms(LONG_MS), NULL));
    mh_lock_release(&w->lock);
}

static void lock_works(void)
{
    lock_after_it();
    CHECK_EQ(mh_lock_acquire(&w->lock, mh_in_ms(LONG_MS), NULL), 0);
    mh_lock_release(&w->lock);
    CHECK(!mh_lock_is_locked(&w->lock));
}

TEST_LIMIT(lock_alone, 120)
{
    at_every_point(nothing, lock_alone, nothing, lock_works);
}

TEST_LIMIT(lock_in_the_wait, 120)
{
    at_every_point(hold_lock, lock_alone, release_lock_to_it, lock_works);
}

TEST_LIMIT(lock_released_to_a_waiter, 120)
{
    at_every_point(nothing, lock_and_let_wait, lock_after_it, lock_works);
}

/* ---- recursive lock */

static void rlock_alone(void *arg)
{
    (void) arg;
    mortal();
    CHECK(mh_rlock_acquire(&w->rlock, MH_FOREVER, NULL) >= 0);
    CHECK_EQ(mh_rlock_acquire(&w->rlock, MH_FOREVER, NULL), 0);
    change();
    mh_rlock_release(&w->rlock);
    mh_rlock_release(&w->rlock);
    immortal();
}

static void rlock_and_let_wait(void *arg)
{
    (void) arg;
    CHECK_EQ(mh_rlock_acquire(&w->rlock, MH_FOREVER, NULL), 0);
    w->ready = 1;
    SOON(mh_lock_has_waiters(&w->rlock.lock));
    mortal();
    change();
    mh_rlock_release(&w->rlock);
    immortal();
}

static void hold_rlock(void)
{
    CHECK_EQ(mh_rlock_acquire(&w->rlock, MH_FOREVER, NULL), 0);
}

static void release_rlock_to_it(void)
{
    SOON(mh_lock_has_waiters(&w->rlock.lock));
    mh_rlock_release(&w->rlock);
}

static void rlock_after_it(void)
{
    SOON(w->ready);
    told(mh_rlock_acquire(&w->rlock, mh_in_ms(LONG_MS), NULL));
    CHECK_EQ(mh_rlock_depth(&w->rlock), 1);
    mh_rlock_release(&w->rlock);
}

static void rlock_works(void)
{
    uint64_t number = 0;
    rlock_after_it();
    CHECK_EQ(mh_rlock_read(&w->rlock, &w->a, sizeof w->a, &number), 0);
    CHECK_EQ((int) number, w->a);
}

TEST_LIMIT(rlock_alone, 120)
{
    at_every_point(nothing, rlock_alone, nothing, rlock_works);
}

TEST_LIMIT(rlock_in_the_wait, 120)
{
    at_every_point(hold_rlock, rlock_alone, release_rlock_to_it, rlock_works);
}

TEST_LIMIT(rlock_released_to_a_waiter, 120)
{
    at_every_point(nothing, rlock_and_let_wait, rlock_after_it, rlock_works);
}

/* ---- semaphore: a permit goes with the process that has it, and never comes twice */

static void one_permit(void)
{
    CHECK_EQ(mh_sem_init(&w->sem, 1, 0, 0), 0);
}

static void no_permit(void)
{
    CHECK_EQ(mh_sem_init(&w->sem, 0, 0, 0), 0);
}

static void take_and_post(void *arg)
{
    (void) arg;
    mortal();
    CHECK_EQ(mh_sem_acquire(&w->sem, MH_FOREVER, NULL), 0);
    mh_sem_post(&w->sem, 1);
    immortal();
}

static void only_post(void *arg)
{
    (void) arg;
    SOON(mh_sem_value(&w->sem) == 0);
    t_nap(0.002); /* the survivor is asleep, as a rule */
    mortal();
    mh_sem_post(&w->sem, 1);
    immortal();
}

static void post_to_it(void)
{
    t_nap(0.003);
    mh_sem_post(&w->sem, 1);
}

static void wait_for_its_permit(void)
{
    int rc = mh_sem_acquire(&w->sem, mh_in_ms(SHORT_MS), NULL);
    CHECK(rc == 0 || rc == -ETIMEDOUT);
    if (rc == 0) {
        mh_sem_post(&w->sem, 1);
    } else {
        CHECK_EQ(mh_sem_value(&w->sem), 0); /* no wake was lost: it never came */
    }
}

static void sem_works(void)
{
    uint32_t value = mh_sem_value(&w->sem);
    CHECK(value == 1 || (value == 0 && !w->done));
    mh_sem_post(&w->sem, 1 - value);
    CHECK_EQ(mh_sem_acquire(&w->sem, mh_in_ms(LONG_MS), NULL), 0);
    CHECK_EQ(mh_sem_acquire(&w->sem, mh_in_ms(2), NULL), -ETIMEDOUT);
}

TEST_LIMIT(semaphore_alone, 120)
{
    at_every_point(one_permit, take_and_post, nothing, sem_works);
}

TEST_LIMIT(semaphore_in_the_wait, 120)
{
    at_every_point(no_permit, take_and_post, post_to_it, sem_works);
}

TEST_LIMIT(semaphore_posted_to_a_waiter, 120)
{
    at_every_point(no_permit, only_post, wait_for_its_permit, sem_works);
}

/* ---- event */

static void set_event(void *arg)
{
    (void) arg;
    SOON(mh_event_has_waiters(&w->event));
    mortal();
    mh_event_set(&w->event);
    immortal();
}

static void await_event(void *arg)
{
    (void) arg;
    mortal();
    CHECK_EQ(mh_event_wait(&w->event, MH_FOREVER, NULL), 0);
    immortal();
}

static void wait_for_its_event(void)
{
    int rc = mh_event_wait(&w->event, mh_in_ms(SHORT_MS), NULL);
    CHECK(rc == 0 || (rc == -ETIMEDOUT && !mh_event_is_set(&w->event)));
}

static void set_it_for_it(void)
{
    SOON(mh_event_has_waiters(&w->event));
    mh_event_set(&w->event);
}

static void event_works(void)
{
    mh_event_set(&w->event);
    CHECK_EQ(mh_event_wait(&w->event, mh_in_ms(LONG_MS), NULL), 0);
    mh_event_clear(&w->event);
    CHECK_EQ(mh_event_wait(&w->event, mh_in_ms(2), NULL), -ETIMEDOUT);
}

TEST_LIMIT(event_set_for_a_waiter, 120)
{
    at_every_point(nothing, set_event, wait_for_its_event, event_works);
}

TEST_LIMIT(event_in_the_wait, 120)
{
    at_every_point(nothing, await_event, set_it_for_it, event_works);
}

/* ---- condition */

static void wait_for_flag(void *arg)
{
    int limit = arg == NULL ? LONG_MS : *(int *) arg, rc = 0;
    CHECK(mh_lock_acquire(&w->lock, MH_FOREVER, NULL) >= 0);
    while (!w->flag && rc != -ETIMEDOUT) {
        rc = mh_cond_wait(&w->cond, &w->lock, mh_in_ms(limit), NULL);
    }
    mh_lock_release(&w->lock);
}

static void notify_one(void *arg)
{
    (void) arg;
    SOON(mh_cond_waiting(&w->cond) > 0);
    mortal();
    CHECK(mh_lock_acquire(&w->lock, MH_FOREVER, NULL) >= 0);
    w->flag = 1;
    mh_cond_notify(&w->cond, 1);
    mh_lock_release(&w->lock);
    immortal();
}

static void be_notified(void)
{
    wait_for_flag(&(int){SHORT_MS});
}

static void mortal_waiter(void *arg)
{
    (void) arg;
    mortal();
    CHECK(mh_lock_acquire(&w->lock, MH_FOREVER, NULL) >= 0);
    while (!w->flag) {
        CHECK(mh_cond_wait(&w->cond, &w->lock, MH_FOREVER, NULL) >= 0);
    }
    mh_lock_release(&w->lock);
    immortal();
}

static void set_flag_and_notify(uint32_t count)
{
    CHECK(mh_lock_acquire(&w->lock, mh_in_ms(LONG_MS), NULL) >= 0);
    w->flag = 1;
    mh_cond_notify(&w->cond, count);
    mh_lock_release(&w->lock);
}

/* The survivor's thread waits behind the victim. One wake: the victim's, or the thread's where the victim does not live. */
static void notify_it_before_another(void)
{
    SOON(mh_cond_waiting(&w->cond) > 0);
    pthread_t thread = t_thread(wait_for_flag, NULL);
    for (int i = 0; i < 100 && mh_cond_waiting(&w->cond) < 2; i++) {
        t_nap(0.0005);
    }
    set_flag_and_notify(1);
    t_nap(0.01);
    set_flag_and_notify(1); /* the thread's, where the first was the victim's */
    t_join(thread, 30);
}

static void cond_works(void)
{
    w->flag = 0;
    pthread_t thread = t_thread(wait_for_flag, NULL);
    SOON(mh_cond_waiting(&w->cond) > 0);
    set_flag_and_notify(UINT32_MAX);
    t_join(thread, 30);
    CHECK_EQ(mh_cond_waiting(&w->cond), 0);
}

TEST_LIMIT(condition_notified_for_a_waiter, 240)
{
    at_every_point(nothing, notify_one, be_notified, cond_works);
}

TEST_LIMIT(condition_in_the_wait, 240)
{
    at_every_point(nothing, mortal_waiter, notify_it_before_another, cond_works);
}

/* ---- barrier */

static void meet_twice(void *arg)
{
    (void) arg;
    mortal();
    CHECK_EQ(mh_barrier_wait(&w->barrier, NULL, NULL, MH_FOREVER, NULL, NULL), 0);
    CHECK_EQ(mh_barrier_wait(&w->barrier, NULL, NULL, MH_FOREVER, NULL, NULL), 0);
    immortal();
}

static void meet_it(void)
{
    for (int i = 0; i < 2; i++) {
        int rc = mh_barrier_wait(&w->barrier, NULL, NULL, mh_in_ms(SHORT_MS), NULL, NULL);
        if (rc != 0) {
            CHECK(rc == MH_E_BROKEN || rc == -ETIMEDOUT); /* it died in its wait, or before it */
            return;
        }
    }
}

static void meet_late(void)
{
    t_nap(0.003);
    meet_it();
}

static void meet_once(void *arg)
{
    (void) arg;
    CHECK_EQ(mh_barrier_wait(&w->barrier, NULL, NULL, mh_in_ms(LONG_MS), NULL, NULL), 0);
}

static void barrier_works(void)
{
    CHECK(!w->done || !mh_barrier_is_broken(&w->barrier));
    mh_barrier_reset(&w->barrier);
    pthread_t thread = t_thread(meet_once, NULL);
    meet_once(NULL);
    t_join(thread, 30);
    CHECK_EQ(mh_barrier_waiting(&w->barrier), 0);
}

TEST_LIMIT(barrier_arriving, 240)
{
    at_every_point(nothing, meet_twice, meet_it, barrier_works);
}

TEST_LIMIT(barrier_in_the_wait, 240)
{
    at_every_point(nothing, meet_twice, meet_late, barrier_works);
}

/* ---- reader-writer lock */

static void read_it(void *arg)
{
    (void) arg;
    mortal();
    CHECK(mh_rwlock_acquire_read(&w->rwlock, MH_FOREVER, NULL) >= 0);
    mh_rwlock_release_read(&w->rwlock);
    immortal();
}

static void write_it(void *arg)
{
    (void) arg;
    mortal();
    CHECK(mh_rwlock_acquire_write(&w->rwlock, MH_FOREVER, NULL) >= 0);
    change();
    mh_rwlock_release_write(&w->rwlock);
    immortal();
}

static void hold_rwlock(void)
{
    CHECK_EQ(mh_rwlock_acquire_write(&w->rwlock, MH_FOREVER, NULL), 0);
}

static void release_rwlock_to_it(void)
{
    t_nap(0.003);
    mh_rwlock_release_write(&w->rwlock);
}

static void rwlock_works(void)
{
    told(mh_rwlock_acquire_write(&w->rwlock, mh_in_ms(LONG_MS), NULL));
    mh_rwlock_release_write(&w->rwlock);
    CHECK_EQ(mh_rwlock_acquire_read(&w->rwlock, mh_in_ms(LONG_MS), NULL), 0);
    CHECK_EQ(mh_rwlock_readers(&w->rwlock), 1);
    mh_rwlock_release_read(&w->rwlock);
    CHECK_EQ(mh_rwlock_readers(&w->rwlock), 0);
    CHECK_EQ(mh_rwlock_writer(&w->rwlock), 0);
}

TEST_LIMIT(rwlock_read_alone, 240)
{
    at_every_point(nothing, read_it, nothing, rwlock_works);
}

TEST_LIMIT(rwlock_write_alone, 240)
{
    at_every_point(nothing, write_it, nothing, rwlock_works);
}

TEST_LIMIT(rwlock_read_in_the_wait, 240)
{
    at_every_point(hold_rwlock, read_it, release_rwlock_to_it, rwlock_works);
}

TEST_LIMIT(rwlock_write_in_the_wait, 240)
{
    at_every_point(hold_rwlock, write_it, release_rwlock_to_it, rwlock_works);
}

/* ---- at any instruction ---------------------------------------------------------------------------------------------- */

#if defined(__x86_64__) || defined(__aarch64__)

/* A child does `victim` one instruction at a time and is killed after `steps`, or at its end: 1. */
static int killed_after(void (*victim)(void *), unsigned steps)
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
            _exit(T_SKIPPED);
        }
        raise(SIGSTOP);
        victim(NULL);
        for (;;) {
            (void) pause();
        }
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFSTOPPED(status));
    for (unsigned i = 0; i < steps && !w->done; i++) {
        CHECK_EQ(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK(WIFSTOPPED(status));
    }
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(waitpid(child, &status, 0), child);
    return w->done;
}

/* Every `stride`th instruction of the whole call. */
static void at_instructions(void (*before)(void), void (*victim)(void *), void (*after)(void),
                            unsigned stride)
{
    unsigned kills = 0;
    for (int ended = 0; !ended; kills++) {
        w = t_shared(sizeof *w);
        CHECK_EQ(mh_barrier_init(&w->barrier, 2, 0), 0);
        before();
        ended = killed_after(victim, kills * stride * (unsigned) t_scale());
        after();
    }
    printf("    %u kills, each %u instructions later\n", kills, stride * (unsigned) t_scale());
    CHECK(kills > 5);
}

static void plain_lock(void *arg)
{
    (void) arg;
    CHECK(mh_lock_acquire(&w->lock, MH_FOREVER, NULL) >= 0);
    change();
    mh_lock_release(&w->lock);
    w->done = 1;
}

static void plain_rlock(void *arg)
{
    (void) arg;
    CHECK(mh_rlock_acquire(&w->rlock, MH_FOREVER, NULL) >= 0);
    change();
    mh_rlock_release(&w->rlock);
    w->done = 1;
}

static void plain_write(void *arg)
{
    (void) arg;
    CHECK(mh_rwlock_acquire_write(&w->rwlock, MH_FOREVER, NULL) >= 0);
    change();
    mh_rwlock_release_write(&w->rwlock);
    w->done = 1;
}

static void plain_read(void *arg)
{
    (void) arg;
    CHECK(mh_rwlock_acquire_read(&w->rwlock, MH_FOREVER, NULL) >= 0);
    mh_rwlock_release_read(&w->rwlock);
    w->done = 1;
}

static void plain_sem(void *arg)
{
    (void) arg;
    CHECK_EQ(mh_sem_acquire(&w->sem, MH_FOREVER, NULL), 0);
    mh_sem_post(&w->sem, 1);
    w->done = 1;
}

static void plain_event(void *arg)
{
    (void) arg;
    mh_event_set(&w->event);
    CHECK_EQ(mh_event_wait(&w->event, MH_FOREVER, NULL), 0);
    mh_event_clear(&w->event);
    w->done = 1;
}

/* A wait that is over at once, and a wake for nobody: into the list of those who wait, and out of it. */
static void plain_cond(void *arg)
{
    (void) arg;
    CHECK(mh_lock_acquire(&w->lock, MH_FOREVER, NULL) >= 0);
    CHECK_EQ(mh_cond_wait(&w->cond, &w->lock, mh_now(), NULL), -ETIMEDOUT);
    mh_cond_notify(&w->cond, 1);
    mh_lock_release(&w->lock);
    w->done = 1;
}

/* Alone at a barrier for two: its time is up, and the barrier broken. */
static void plain_barrier(void *arg)
{
    (void) arg;
    CHECK(mh_barrier_wait(&w->barrier, NULL, NULL, mh_now(), NULL, NULL) < 0);
    mh_barrier_reset(&w->barrier);
    w->done = 1;
}

TEST_LIMIT(rwlock_read_at_instructions, 120)
{
    at_instructions(nothing, plain_read, rwlock_works, 23);
}

TEST_LIMIT(semaphore_at_instructions, 120)
{
    at_instructions(one_permit, plain_sem, sem_works, 7);
}

TEST_LIMIT(event_at_instructions, 120)
{
    at_instructions(nothing, plain_event, event_works, 7);
}

TEST_LIMIT(condition_at_instructions, 240)
{
    at_instructions(nothing, plain_cond, cond_works, 47);
}

TEST_LIMIT(barrier_at_instructions, 240)
{
    at_instructions(nothing, plain_barrier, barrier_works, 47);
}

TEST_LIMIT(lock_at_instructions, 120)
{
    at_instructions(nothing, plain_lock, lock_works, 23);
}

TEST_LIMIT(rlock_at_instructions, 120)
{
    at_instructions(nothing, plain_rlock, rlock_works, 23);
}

TEST_LIMIT(rwlock_at_instructions, 120)
{
    at_instructions(nothing, plain_write, rwlock_works, 23);
}
#endif
