/* Every interleaving of pausing and terminating a thread that waits: it ends, and takes no wake with it. */
#include <manyhands/lock.h>
#include <manyhands/sem.h>

#include <errno.h>

#include "core/sync/control.h"
#include "sched.h"

static struct {
    struct mh__control control; /* of thread 0 */
    mh_lock lock;
    mh_sem sem;
    int paused, in, ended, done;
} w;

static void setup(void)
{
    mh_lock_init(&w.lock, MH_PRIVATE);
    sched_check(mh_sem_init(&w.sem, 0, 0, MH_PRIVATE) == 0, "init");
}

static void finish_self(void)
{
    mh__control_attach(NULL);
    mh__control_finish(&w.control);
}

/* ---- bodies of thread 0 */

static void works(void)
{
    mh__control_attach(&w.control);
    for (int i = 0; i < 2; i++) {
        sched_check(mh__control_checkpoint() == 0, "nobody ends it");
        sched_check(!w.paused, "does not run while it is paused");
        w.in++;
    }
    finish_self();
}

static void takes(void)
{
    mh__control_attach(&w.control);
    int rc = mh_lock_acquire(&w.lock, MH_FOREVER, NULL);
    sched_check(rc == 0, "acquire");
    sched_check(!w.paused, "does not return from a wait while it is paused");
    mh_lock_release(&w.lock);
    finish_self();
}

static void waits_until_ended(void)
{
    mh__control_attach(&w.control);
    int rc = mh_sem_acquire(&w.sem, MH_FOREVER, NULL);
    sched_check(rc == -ECANCELED, "ended");
    w.ended = 1;
    finish_self();
}

static void waits_or_is_ended(void)
{
    mh__control_attach(&w.control);
    int rc = mh_sem_acquire(&w.sem, MH_FOREVER, NULL);
    sched_check(rc == 0 || rc == -ECANCELED, "took it or was ended");
    if (rc == 0) {
        mh_sem_post(&w.sem, 1);
    }
    finish_self();
}

static void shielded(void)
{
    mh__control_attach(&w.control);
    mh__control_shield(1);
    sched_check(mh_sem_acquire(&w.sem, MH_FOREVER, NULL) == 0, "shielded: neither ended nor paused");
    mh__control_shield(0);
    sched_check(mh__control_checkpoint() == -ECANCELED, "ended after the shield");
    finish_self();
}

/* ---- the others */

static void pauses(void)
{
    if (mh__control_pause(&w.control) == 0 && mh__control_await_pause(&w.control, MH_FOREVER, NULL) == 0) {
        w.paused = 1;
        sched_point();
        sched_check(mh_load_acq(&w.control.word) & (MH__PARKED | MH__IN_WAIT),
                    "looks paused as long as it is");
        w.paused = 0;
        sched_check(mh__control_resume(&w.control) == 0, "resume");
    }
}

/* The second pause may come before the thread has left the first. */
static void pauses_twice(void)
{
    pauses();
    pauses();
}

/* While it is paused the lock that it waits for can be had: it must not have taken the only wake to bed. */
static void pauses_and_takes(void)
{
    if (mh__control_pause(&w.control) == 0 && mh__control_await_pause(&w.control, MH_FOREVER, NULL) == 0) {
        w.paused = 1;
        while (!w.done) {
            sched_point();
        }
        w.paused = 0;
        sched_check(mh__control_resume(&w.control) == 0, "resume");
    }
}

static void takes_too(void)
{
    sched_check(mh_lock_acquire(&w.lock, MH_FOREVER, NULL) == 0, "acquire");
    sched_point();
    mh_lock_release(&w.lock);
    w.in++;
    if (w.in == 2) {
        w.done = 1;
    }
}

static void terminates(void)
{
    w.ended = 1;
    (void) mh__control_terminate(&w.control);
    sched_check(mh__control_await_finish(&w.control, MH_FOREVER, NULL) == 0, "finished");
}

static void pauses_then_terminates(void)
{
    (void) mh__control_pause(&w.control);
    (void) mh__control_await_pause(&w.control, MH_FOREVER, NULL);
    terminates();
}

static void takes_permit(void)
{
    sched_check(mh_sem_acquire(&w.sem, MH_FOREVER, NULL) == 0, "acquire");
    w.done = 1;
}

static void posts_and_terminates(void)
{
    mh_sem_post(&w.sem, 1);
    terminates();
}

static void terminates_and_posts(void)
{
    (void) mh__control_pause(&w.control);
    (void) mh__control_terminate(&w.control);
    mh_sem_post(&w.sem, 1);
    sched_check(mh__control_await_finish(&w.control, MH_FOREVER, NULL) == 0, "finished");
}

static void pauses_briefly(void)
{
    if (mh__control_pause(&w.control) == 0) {
        (void) mh__control_resume(&w.control);
    }
}

#define WORLD SCHED_MEMORY(w)
static const sched_scenario list[] = {
    {.name = "pause at a checkpoint", .setup = setup, .thread = {works, pauses}, WORLD},
    {.name = "pause taken back", .setup = setup, .thread = {works, pauses_briefly, pauses_briefly}, WORLD},
    {.name = "pause, resume, pause", .setup = setup, .thread = {works, pauses_twice}, WORLD},
    {.name = "pause in a wait, twice", .setup = setup, .thread = {takes, takes_too, pauses_twice}, WORLD},
    {.name = "pause in a wait", .setup = setup, .thread = {takes, takes_too, pauses}, WORLD},
    {.name = "a paused thread keeps no wake",
     .setup = setup,
     .thread = {takes, takes_too, takes_too, pauses_and_takes},
     WORLD,
     .limit = 6000000},
    {.name = "terminate in a wait",
     .setup = setup,
     .thread = {waits_until_ended, terminates},
     WORLD,
     .spurious = 1},
    {.name = "terminate without waitv",
     .setup = setup,
     .thread = {waits_until_ended, terminates},
     WORLD,
     .flags = SCHED_NO_WAITV | SCHED_SLICES},
    {.name = "terminate a paused one",
     .setup = setup,
     .thread = {waits_until_ended, pauses_then_terminates},
     WORLD},
    {.name = "a terminated thread keeps no wake",
     .setup = setup,
     .thread = {waits_or_is_ended, takes_permit, posts_and_terminates},
     WORLD},
    {.name = "shield", .setup = setup, .thread = {shielded, terminates_and_posts}, WORLD},
    {.name = "a futex that drops wakes",
     .setup = setup,
     .thread = {waits_until_ended, terminates},
     WORLD,
     .flags = SCHED_DROP_WAKES,
     .fails = "cannot finish"},
};

int main(int argc, char **argv)
{
    return sched_main("control", list, (int) (sizeof list / sizeof *list), argc, argv);
}
