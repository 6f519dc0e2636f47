/* Every interleaving of mh_number: no change is lost, and no waiter sleeps through one that lasts. */
#include <manyhands/number.h>

#include <errno.h>

#include "core/os/atomic.h"
#include "sched.h"

static struct {
    mh_number number;
    mh_cancel cancel;
    int data, zeros, passed;
} w;

static void private_number(void)
{
    mh_number_init(&w.number, 0, MH_PRIVATE);
    mh_cancel_init(&w.cancel, MH_PRIVATE);
}

static void two(void)
{
    private_number();
    mh_number_init(&w.number, 2, MH_PRIVATE);
}

static void adds(void)
{
    int64_t sum = 0;
    w.data = 1;
    sched_check(mh_number_add(&w.number, 1, &sum) == 0 && sum >= 1, "add");
}

static void waits(void)
{
    int64_t value = 0;
    sched_check(mh_number_wait(&w.number, 0, &value, MH_FOREVER, NULL) == 0 && value != 0, "wait");
    sched_check(w.data == 1, "what was written before the change is seen");
    w.passed++;
}

/* Waits on every value, as a countdown's reader does. */
static void follows(void)
{
    int64_t value = 0;
    while (value != 2) {
        sched_check(mh_number_wait(&w.number, value, &value, MH_FOREVER, NULL) == 0, "wait");
    }
    w.passed++;
}

static void takes_one(void)
{
    int64_t left = -1;
    sched_check(mh_number_add(&w.number, -1, &left) == 0, "add");
    w.zeros += left == 0;
}

static void swaps(void)
{
    int64_t expected = 0;
    w.data = 1;
    if (!mh_number_compare_exchange(&w.number, &expected, 5)) {
        sched_check(expected == 5, "what was found");
    } else {
        w.zeros++;
    }
}

static void impatient(void)
{
    int rc = mh_number_wait(&w.number, 0, NULL, sched_soon(), NULL);
    sched_check(rc == 0 || rc == -ETIMEDOUT, "0 or out of time");
}

static void cancellable(void)
{
    int rc = mh_number_wait(&w.number, 0, NULL, MH_FOREVER, &w.cancel);
    sched_check(rc == 0 || rc == -ECANCELED, "0 or cancelled");
}

static void cancels(void)
{
    mh_cancel_request(&w.cancel);
}

/* Adds unless the first one, which may have died, did. */
static void second_adder(void)
{
    while (!sched_dead(1) && mh_number_get(&w.number) == 0) {
        sched_point();
    }
    if (mh_number_get(&w.number) == 0) {
        adds();
    }
}

static void passed_1(void)
{
    sched_check(w.passed == 1, "the waiter passed");
}

static void passed_2(void)
{
    sched_check(w.passed == 2 && mh_number_get(&w.number) == 1, "both passed");
}

static void one_zero(void)
{
    sched_check(w.zeros == 1, "exactly one");
}

#define WORLD SCHED_MEMORY(w)
static const sched_scenario list[] = {
    {.name = "2 waiters",
     .setup = private_number,
     .thread = {waits, waits, adds},
     .finish = passed_2,
     WORLD,
     .spurious = 1},
    {.name = "a follower",
     .setup = private_number,
     .thread = {follows, adds, adds},
     .finish = passed_1,
     WORLD},
    {.name = "countdown", .setup = two, .thread = {takes_one, takes_one}, .finish = one_zero, WORLD},
    {.name = "compare", .setup = private_number, .thread = {swaps, swaps, waits}, .finish = one_zero, WORLD},
    {.name = "deadline",
     .setup = private_number,
     .thread = {waits, impatient, adds},
     .finish = passed_1,
     WORLD},
    {.name = "cancel", .setup = private_number, .thread = {waits, cancellable, adds, cancels}, WORLD},
    {.name = "shared", .thread = {waits, waits, adds}, .finish = passed_2, WORLD, .flags = SCHED_PROCESSES},
    {.name = "the changer dies",
     .thread = {waits, adds, second_adder},
     WORLD,
     .flags = SCHED_PROCESSES,
     .deaths = 1,
     .mortal = 2},
    {.name = "a waiter dies",
     .thread = {waits, waits, adds},
     WORLD,
     .flags = SCHED_PROCESSES,
     .deaths = 1,
     .mortal = 1},
    {.name = "a futex that drops wakes",
     .setup = private_number,
     .thread = {waits, adds},
     WORLD,
     .flags = SCHED_DROP_WAKES,
     .fails = "cannot finish"},
};

int main(int argc, char **argv)
{
    return sched_main("number", list, (int) (sizeof list / sizeof *list), argc, argv);
}
