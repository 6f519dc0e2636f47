/* Every interleaving of the condition: FIFO and exact counts, time-outs against notifies, and (shared)
 * death at any step. */
#include "core/os/atomic.h"
#include "core/os/os.h"
#include "manyhands/cond.h"
#include "sched.h"

#include <errno.h>

static struct {
    mh_cond cond;
    mh_lock lock;
    int ready;
    int line[SCHED_THREADS], in_line, woken;
    int notified, timed_out;
    int consumed[SCHED_THREADS], for_all;
    _Atomic(uint32_t) progress;
} w;

static void private_setup(void)
{
    mh_lock_init(&w.lock, MH_PRIVATE);
    mh_cond_init(&w.cond, 0, MH_PRIVATE);
}

static void lock(void)
{
    sched_check(mh_lock_acquire(&w.lock, MH_FOREVER, NULL) >= 0, "the lock is taken");
}

static void unlock(void)
{
    mh_lock_release(&w.lock);
}

static void nobody_waits(void)
{
    sched_check(w.cond.waiters == 0 && w.cond.first == NULL && w.cond.last == NULL, "nobody is left in line");
}

/* ---- the loop that everybody writes */

static void wait_ready(void)
{
    lock();
    while (!w.ready) {
        sched_check(mh_cond_wait(&w.cond, &w.lock, MH_FOREVER, NULL) >= 0, "an untimed wait succeeds");
    }
    w.woken++;
    unlock();
}

static void make_ready(void)
{
    lock();
    w.ready = 1;
    mh_cond_notify(&w.cond, 1);
    unlock();
}

static void make_ready_unlocked(void)
{
    lock();
    w.ready = 1;
    unlock();
    mh_cond_notify_all(&w.cond);
}

/* ---- first come, first served, and exactly as many as were called */

static void stand_in_line(void)
{
    lock();
    w.line[w.in_line++] = sched_me();
    sched_check(mh_cond_wait(&w.cond, &w.lock, MH_FOREVER, NULL) == 0, "notified");
    sched_check(w.line[w.woken++] == sched_me(), "first come, first served");
    sched_check(w.woken <= w.notified, "no more wakes than notifies");
    if (w.notified == 1) {
        w.notified++;
        mh_cond_notify(&w.cond, 1);
    }
    unlock();
}

static void call_one(void)
{
    while (mh_cond_waiting(&w.cond) < 2) {
        sched_point();
    }
    lock();
    w.notified++;
    mh_cond_notify(&w.cond, 1);
    unlock();
}

/* The lock is not taken in the order of the wakes. */
static void be_called(void)
{
    lock();
    sched_check(mh_cond_wait(&w.cond, &w.lock, MH_FOREVER, NULL) == 0, "notified");
    w.woken++;
    unlock();
}

static void call_both(void)
{
    while (mh_cond_waiting(&w.cond) < 2) {
        sched_point();
    }
    lock();
    w.notified = 2;
    mh_cond_notify(&w.cond, 2);
    unlock();
}

static void both_woken(void)
{
    sched_check(w.woken == 2 && w.notified == 2, "both were woken");
    nobody_waits();
}

/* ---- a notify that meets a time-out, or a signal: it counts, or it goes to the next */

static void ticket_wait(void)
{
    mh_cond_ticket ticket;
    sched_check(mh_cond_prepare(&w.cond, &ticket) == 0, "room");
    sched_check(mh_cond_commit(&w.cond, &ticket, MH_FOREVER, NULL) == 0, "notified");
    w.woken++;
}

static void ticket_wait_timed(void)
{
    mh_cond_ticket ticket;
    sched_check(mh_cond_prepare(&w.cond, &ticket) == 0, "room");
    int rc = mh_cond_commit(&w.cond, &ticket, sched_soon(), NULL);
    if (rc == -ETIMEDOUT || rc == -EINTR) {
        w.timed_out++;
        return;
    }
    sched_check(rc == 0, "notified");
    w.woken++;
    mh_cond_notify(&w.cond, 1); /* the other's */
}

static void ticket_forget(void)
{
    mh_cond_ticket ticket;
    sched_check(mh_cond_prepare(&w.cond, &ticket) == 0, "room");
    sched_point();
    mh_cond_forget(&w.cond, &ticket);
    w.timed_out++;
}

/* Until the other (thread 1) waits, so that there is somebody whom the wake must reach. */
static void call_one_of_the_rest(void)
{
    while (mh_cond_waiting(&w.cond) + (uint32_t) (w.timed_out + w.woken) < 2) {
        sched_point();
    }
    mh_cond_notify(&w.cond, 1);
}

static void both_gone(void)
{
    sched_check(w.woken + w.timed_out == 2 && w.woken >= 1, "the wake reached somebody");
    nobody_waits();
}

/* ---- shared, with deaths */

static void consume(void)
{
    for (int i = 0; i < SCHED_THREADS; i++) {
        sched_check(w.for_all || !w.consumed[i] || sched_dead(i), "one wake is not given to two that live");
    }
    w.consumed[sched_me()] = 1;
}

static void tell(void)
{
    mh_add_acq_rel(&w.progress, 1);
    mh_wake(&w.progress, 1, 0);
}

/* In line with others, one wake: where the one who got it dies before it has finished, it is the next
 * one's. */
static void wait_and_consume(void)
{
    mh_cond_ticket ticket;
    sched_check(mh_cond_prepare(&w.cond, &ticket) == 0, "room");
    sched_check(mh_cond_await(&w.cond, &ticket, MH_FOREVER, NULL) == 0, "notified");
    consume();
    mh_cond_finish(&w.cond, &ticket);
    tell();
}

static void lock_wait_and_consume(void)
{
    lock();
    sched_check(mh_cond_wait(&w.cond, &w.lock, MH_FOREVER, NULL) >= 0, "an untimed wait succeeds");
    consume();
    unlock();
    tell();
}

static int somebody_consumed(void)
{
    return w.consumed[0] || w.consumed[1] || w.consumed[2];
}

/* The same, each after the one before it, and deaths only after the notify: fewer states. */
static void wait_in_turn_and_consume(void)
{
    while (mh_cond_waiting(&w.cond) != (uint32_t) sched_me()) {
        sched_point();
    }
    wait_and_consume();
}

static int after_notify(int thread)
{
    (void) thread;
    return w.notified;
}

static int all_through(int waiters)
{
    int through = 0;
    for (int i = 0; i < waiters; i++) {
        through += w.consumed[i] || sched_dead(i);
    }
    return through == waiters;
}

/* One wake where all are in line, and no second before somebody has consumed it: where the one who got it
 * died, it must have gone to the other. Whoever came too late for that is let through at the end. */
static void wait_for_one_then_wake_all(int waiters, int pending)
{
    while (!all_through(waiters)) {
        uint32_t seen = mh_load_acq(&w.progress);
        if (!pending || somebody_consumed()) {
            pending = 0;
            w.for_all = 1;
            mh_cond_notify_all(&w.cond);
        }
        if (!all_through(waiters)) {
            mh_wait(&w.progress, seen, MH_FOREVER, NULL, 0);
        }
    }
}

static void wake_one_then_all(int waiters)
{
    while (mh_cond_waiting(&w.cond) < (uint32_t) waiters && !sched_deaths()) {
        sched_point();
    }
    int pending = !sched_deaths();
    w.notified = 1;
    if (pending) {
        mh_cond_notify(&w.cond, 1);
    }
    wait_for_one_then_wake_all(waiters, pending);
}

/* Before it all, somebody was notified and died. Three in line, and one of them passes the wake on, or dies
 * of it. */
static void dead_and_notified(void)
{
    w.cond.node[0].owner = 1;
    w.cond.node[0].word = 2;
    w.cond.node[0].order = 1000;
    w.cond.used = 1;
}

static void wait_for_passing(void)
{
    while (mh_cond_waiting(&w.cond) < 3) {
        sched_point();
    }
    w.notified = 1;
    wait_for_one_then_wake_all(3, 1);
}

static void wake_one_of_two(void)
{
    wake_one_then_all(2);
}

static void wake_one_of_three(void)
{
    wake_one_then_all(3);
}

/* One is called, and may die; who comes after the call must wait for the next. */
static void come_after_the_call(void)
{
    mh_cond_ticket ticket;
    while (!w.notified) {
        sched_point();
    }
    sched_check(mh_cond_prepare(&w.cond, &ticket) == 0, "room");
    sched_check(mh_cond_await(&w.cond, &ticket, MH_FOREVER, NULL) == 0, "notified");
    sched_check(w.for_all, "who comes after the notify gets nobody's wake");
    w.consumed[1] = 1;
    mh_cond_finish(&w.cond, &ticket);
    tell();
}

static void call_then_call_again(void)
{
    while (!mh_cond_waiting(&w.cond)) {
        sched_point();
    }
    mh_cond_notify(&w.cond, 1);
    w.notified = 1;
    while (!mh_cond_waiting(&w.cond)) {
        sched_point();
    }
    (void) mh_wait(&w.progress, 0, MH_FOREVER, NULL, 0); /* a slice, in which the other looks around */
    w.for_all = 1;
    mh_cond_notify_all(&w.cond);
}

/* Whoever dies and whoever times out: one notify never wakes two. */
static void timed_consume(void)
{
    mh_cond_ticket ticket;
    int late = w.notified;
    sched_check(mh_cond_prepare(&w.cond, &ticket) == 0, "room");
    int rc = mh_cond_await(&w.cond, &ticket, sched_soon(), NULL);
    if (rc == 0) {
        sched_check(!late, "who comes after the notify gets nobody's wake");
        w.consumed[sched_me()] = 1;
        mh_cond_finish(&w.cond, &ticket);
    } else {
        sched_check(rc == -ETIMEDOUT, "timed out");
    }
}

static void notify_one(void)
{
    mh_cond_notify(&w.cond, 1);
    w.notified = 1;
}

static void at_most_one(void)
{
    int consumed = 0;
    for (int i = 0; i < SCHED_THREADS; i++) {
        consumed += w.consumed[i] &&
                    !sched_dead(i); /* who died may not have finished: then it was passed on */
    }
    sched_check(consumed <= 1, "one notify wakes one");
    if (!sched_deaths()) {
        nobody_waits();
    }
}

/* The loop that everybody writes, between processes; the survivor must come through. */
static void survive_wait(void)
{
    lock();
    int64_t until = sched_soon();
    while (!w.ready) {
        int rc = mh_cond_wait(&w.cond, &w.lock, until, NULL);
        if (rc < 0) {
            break;
        }
    }
    unlock();
    /* and the condition still serves */
    mh_cond_ticket ticket;
    sched_check(mh_cond_prepare(&w.cond, &ticket) == 0, "room after a death");
    mh_cond_forget(&w.cond, &ticket);
}

#define SHARED .flags = SCHED_PROCESSES
static const sched_scenario list[] = {
    {.name = "wait for a flag",
     .setup = private_setup,
     .thread = {wait_ready, make_ready},
     .finish = nobody_waits,
     SCHED_MEMORY(w),
     .spurious = 2},
    {.name = "wait for a flag, notified without the lock",
     .setup = private_setup,
     .thread = {wait_ready, make_ready_unlocked, wait_ready},
     .finish = nobody_waits,
     SCHED_MEMORY(w)},
    {.name = "first come, first served",
     .setup = private_setup,
     .thread = {stand_in_line, stand_in_line, call_one},
     .finish = both_woken,
     SCHED_MEMORY(w)},
    {.name = "notify(2)",
     .setup = private_setup,
     .thread = {be_called, be_called, call_both},
     .finish = both_woken,
     SCHED_MEMORY(w)},
    {.name = "a notify meets a time-out",
     .setup = private_setup,
     .thread = {ticket_wait_timed, ticket_wait, call_one_of_the_rest},
     .finish = both_gone,
     SCHED_MEMORY(w),
     .spurious = 1},
    {.name = "a notify meets a signal",
     .setup = private_setup,
     .thread = {ticket_wait_timed, notify_one},
     .finish = nobody_waits,
     SCHED_MEMORY(w),
     .signals = 1},
    {.name = "a notify meets a forget",
     .setup = private_setup,
     .thread = {ticket_forget, ticket_wait, call_one_of_the_rest},
     .finish = both_gone,
     SCHED_MEMORY(w)},
    {.name = "dropped wakes are noticed",
     .setup = private_setup,
     .thread = {wait_ready, make_ready},
     SCHED_MEMORY(w),
     .flags = SCHED_DROP_WAKES,
     .fails = "cannot finish"},
    {.name = "shared: wait for a flag",
     .thread = {wait_ready, make_ready},
     SHARED,
     SCHED_MEMORY(w),
     .spurious = 1},
    {.name = "shared: first come, first served",
     .thread = {stand_in_line, stand_in_line, call_one},
     .finish = both_woken,
     SHARED,
     SCHED_MEMORY(w)},
    {.name = "shared: a notify meets a time-out",
     .thread = {ticket_wait_timed, ticket_wait, call_one_of_the_rest},
     .finish = both_gone,
     SHARED,
     SCHED_MEMORY(w)},
    {.name = "shared: a notify meets a forget",
     .thread = {ticket_forget, ticket_wait, call_one_of_the_rest},
     .finish = both_gone,
     SHARED,
     SCHED_MEMORY(w)},
    {.name = "shared: dropped wakes are noticed",
     .thread = {wait_ready, make_ready},
     SCHED_MEMORY(w),
     .flags = SCHED_DROP_WAKES | SCHED_PROCESSES,
     .fails = "cannot finish"},
    {.name = "shared: death of either",
     .thread = {survive_wait, make_ready},
     SHARED,
     SCHED_MEMORY(w),
     .deaths = 1},
    {.name = "shared: the wake of the dead goes on",
     .thread = {wait_and_consume, wait_and_consume, wake_one_of_two},
     SHARED,
     SCHED_MEMORY(w),
     .deaths = 1,
     .mortal = 3},
    {.name = "shared: the wake of the dead goes on, with a lock",
     .thread = {lock_wait_and_consume, lock_wait_and_consume, wake_one_of_two},
     SHARED,
     SCHED_MEMORY(w),
     .deaths = 1,
     .mortal = 3},
    {.name = "shared: and on, two deaths",
     .thread = {wait_in_turn_and_consume, wait_in_turn_and_consume, wait_in_turn_and_consume,
                wake_one_of_three},
     SHARED,
     SCHED_MEMORY(w),
     .deaths = 2,
     .mortal = 7,
     .may_die = after_notify},
    {.name = "shared: who comes after the call",
     .thread = {wait_and_consume, come_after_the_call, call_then_call_again},
     .flags = SCHED_PROCESSES | SCHED_SLICES,
     SCHED_MEMORY(w),
     .deaths = 1,
     .mortal = 1,
     .may_die = after_notify},
    {.name = "shared: one notify, two deaths anywhere",
     .thread = {timed_consume, timed_consume, notify_one},
     .finish = at_most_one,
     SHARED,
     SCHED_MEMORY(w),
     .deaths = 2,
     .spurious = 1},
    {.name = "shared: who passes a wake on may die",
     .setup = dead_and_notified,
     .thread = {wait_in_turn_and_consume, wait_in_turn_and_consume, wait_in_turn_and_consume,
                wait_for_passing},
     .flags = SCHED_PROCESSES | SCHED_SLICES,
     SCHED_MEMORY(w),
     .deaths = 1,
     .mortal = 7,
     .may_die = after_notify},
};

int main(int argc, char **argv)
{
    return sched_main("cond", list, (int) (sizeof list / sizeof *list), argc, argv);
}
