/* Every interleaving of mh_event: set() reaches all who sleep, even if clear() follows at once. */
#include <manyhands/event.h>

#include <errno.h>

#include "core/os/atomic.h"
#include "sched.h"

enum { WAITERS = 2 }; /* bit of the word: somebody is about to sleep */

static struct {
    mh_event event;
    mh_cancel cancel;
    int data, passed, gave_up;
} w;

static void private_event(void)
{
    mh_event_init(&w.event, MH_PRIVATE);
    mh_cancel_init(&w.cancel, MH_PRIVATE);
}

static void waits(void)
{
    sched_check(mh_event_wait(&w.event, MH_FOREVER, NULL) == 0, "wait");
    sched_check(w.data == 1, "what was written before set() is seen");
    w.passed++;
}

static void sets(void)
{
    w.data = 1;
    mh_event_set(&w.event);
}

static void sets_again(void)
{
    sets();
    mh_event_set(&w.event);
}

/* Sets and clears once a waiter has announced itself. */
static void flashes(void)
{
    while (!(mh_load_acq(&w.event.word) & WAITERS)) {
        sched_point();
    }
    sets();
    mh_event_clear(&w.event);
}

static void attempt(int rc, int excuse)
{
    sched_check(rc == 0 || rc == excuse, "0 or the reason to give up");
    sched_check(rc != 0 || w.data == 1, "what was written before set() is seen");
    w.gave_up += rc < 0;
}

static void impatient(void)
{
    attempt(mh_event_wait(&w.event, sched_soon(), NULL), -ETIMEDOUT);
}

static void cancellable(void)
{
    attempt(mh_event_wait(&w.event, MH_FOREVER, &w.cancel), -ECANCELED);
}

static void cancels(void)
{
    mh_cancel_request(&w.cancel);
}

/* The setter may die anywhere; another sets the event if it had not. */
static void second_setter(void)
{
    while (!sched_dead(1) && !mh_event_is_set(&w.event)) {
        sched_point();
    }
    if (!mh_event_is_set(&w.event)) {
        sets();
    }
}

static void two_passed(void)
{
    sched_check(w.passed == 2 && mh_event_is_set(&w.event), "both passed");
}

static void one_passed(void)
{
    sched_check(w.passed == 1, "the waiter passed");
}

#define WORLD SCHED_MEMORY(w)
static const sched_scenario list[] = {
    {.name = "2 waiters",
     .setup = private_event,
     .thread = {waits, waits, sets},
     .finish = two_passed,
     WORLD,
     .spurious = 1},
    {.name = "2 setters",
     .setup = private_event,
     .thread = {waits, sets_again, sets},
     .finish = one_passed,
     WORLD},
    {.name = "set and clear",
     .setup = private_event,
     .thread = {waits, flashes},
     .finish = one_passed,
     WORLD,
     .spurious = 1},
    {.name = "deadline",
     .setup = private_event,
     .thread = {waits, impatient, sets},
     .finish = one_passed,
     WORLD},
    {.name = "cancel",
     .setup = private_event,
     .thread = {waits, cancellable, sets, cancels},
     .finish = one_passed,
     WORLD},
    {.name = "cancel without waitv",
     .setup = private_event,
     .thread = {cancellable, cancels},
     WORLD,
     .flags = SCHED_NO_WAITV | SCHED_SLICES},
    {.name = "shared", .thread = {waits, waits, sets}, .finish = two_passed, WORLD, .flags = SCHED_PROCESSES},
    {.name = "shared, set and clear",
     .thread = {waits, flashes},
     .finish = one_passed,
     WORLD,
     .flags = SCHED_PROCESSES},
    {.name = "the setter dies",
     .thread = {waits, sets, second_setter},
     WORLD,
     .flags = SCHED_PROCESSES,
     .deaths = 1,
     .mortal = 2},
    {.name = "a waiter dies",
     .thread = {waits, waits, sets},
     WORLD,
     .flags = SCHED_PROCESSES,
     .deaths = 1,
     .mortal = 1},
    {.name = "a futex that drops wakes",
     .setup = private_event,
     .thread = {waits, sets},
     WORLD,
     .flags = SCHED_DROP_WAKES,
     .fails = "cannot finish"},
};

int main(int argc, char **argv)
{
    return sched_main("event", list, (int) (sizeof list / sizeof *list), argc, argv);
}
