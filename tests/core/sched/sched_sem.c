/* Every interleaving of mh_sem: no permit lost or made, no wake lost, whoever gives up or dies. */
#include <manyhands/sem.h>

#include <errno.h>

#include "core/os/atomic.h"
#include "sched.h"

static struct {
    mh_sem sem;
    mh_cancel cancel;
    int taken, gave_up, refused;
    int has[SCHED_THREADS]; /* took a permit */
    int done[SCHED_THREADS];
} w;

static void empty(void)
{
    sched_check(mh_sem_init(&w.sem, 0, 0, MH_PRIVATE) == 0, "init");
    mh_cancel_init(&w.cancel, MH_PRIVATE);
}

static void one(void)
{
    sched_check(mh_sem_init(&w.sem, 1, 0, MH_PRIVATE) == 0, "init");
}

static void bounded(void)
{
    sched_check(mh_sem_init(&w.sem, 1, 1, MH_PRIVATE) == 0, "init");
}

static void bounded_empty(void)
{
    sched_check(mh_sem_init(&w.sem, 0, 1, MH_PRIVATE) == 0, "init");
}

static void take(void)
{
    sched_check(mh_sem_acquire(&w.sem, MH_FOREVER, NULL) == 0, "acquire");
    w.has[sched_me()] = 1;
    w.taken++;
}

static int go_on(void *arg)
{
    (void) arg;
    return 0;
}

static void take_with_hook(void)
{
    mh_on_interrupt(go_on, NULL, 0);
    take();
}

static void take_and_give(void)
{
    take();
    sched_check(w.taken == 1, "one permit, one inside");
    sched_point();
    w.taken--;
    mh_sem_post(&w.sem, 1);
}

static void post_one(void)
{
    mh_sem_post(&w.sem, 1);
}

static void post_two(void)
{
    mh_sem_post(&w.sem, 2);
}

static void one_and_one(void)
{
    mh_sem_post(&w.sem, 1);
    mh_sem_post(&w.sem, 1);
}

static void attempt(int rc, int excuse)
{
    sched_check(rc == 0 || rc == excuse, "0 or the reason to give up");
    if (rc == 0) {
        mh_sem_post(&w.sem, 1); /* the other one needs it */
    } else {
        w.gave_up++;
    }
}

static void impatient(void)
{
    attempt(mh_sem_acquire(&w.sem, sched_soon(), NULL), -ETIMEDOUT);
}

static void cancellable(void)
{
    attempt(mh_sem_acquire(&w.sem, MH_FOREVER, &w.cancel), -ECANCELED);
}

static void interruptible(void)
{
    attempt(mh_sem_acquire(&w.sem, MH_FOREVER, NULL), -EINTR);
}

static void post_and_cancel(void)
{
    mh_sem_post(&w.sem, 1);
    mh_cancel_request(&w.cancel);
}

static void trying(void)
{
    attempt(mh_sem_try_acquire(&w.sem), -EBUSY);
}

static void over(void)
{
    w.refused += mh_sem_try_post(&w.sem, 1) == -EOVERFLOW;
}

static void never_above_one(void)
{
    sched_check(mh_sem_value(&w.sem) == 1, "the maximum holds");
    sched_check(w.refused == 1, "one post too many is refused");
}

static void all_taken(void)
{
    sched_check(mh_sem_value(&w.sem) == 0 && w.taken == 2, "two permits, two takers");
}

static void one_taken(void)
{
    sched_check(mh_sem_value(&w.sem) == 0 && w.taken == 1, "the permit was taken once");
}

static void one_left(void)
{
    sched_check(mh_sem_value(&w.sem) == 1, "the permit is back");
}

/* ---- death: threads 0 and 1 take (0 gives back), thread 2 posts one permit, and one more where 0 died with
 * it */

static void take_mortal(void)
{
    take();
    w.done[sched_me()] = 1;
    if (sched_me() == 0) {
        mh_sem_post(&w.sem, 1); /* unless it dies before */
    }
}

static void post_after_the_dead(void)
{
    mh_sem_post(&w.sem, 1);
    while (!w.done[1] && !sched_dead(0)) {
        sched_point();
    }
    if (w.has[0] || w.done[1]) { /* else the one permit must do */
        mh_sem_post(&w.sem, 1);
    }
}

/* The poster may die before or after its post; then another posts what it had not. */
static void mortal_poster(void)
{
    mh_sem_post(&w.sem, 1);
}

static void second_poster(void)
{
    while (!sched_dead(1) && mh_sem_value(&w.sem) == 0 && w.taken == 0) {
        sched_point();
    }
    if (mh_sem_value(&w.sem) == 0 && w.taken == 0) {
        mh_sem_post(&w.sem, 1);
    }
}

#define WORLD SCHED_MEMORY(w)
static const sched_scenario list[] = {
    {.name = "as a lock",
     .setup = one,
     .thread = {take_and_give, take_and_give, take_and_give},
     .finish = one_left,
     WORLD,
     .spurious = 1},
    {.name = "post 2",
     .setup = empty,
     .thread = {take, take, post_two},
     .finish = all_taken,
     WORLD,
     .spurious = 1},
    {.name = "post 1 and 1", .setup = empty, .thread = {take, take, one_and_one}, .finish = all_taken, WORLD},
    {.name = "2 posters",
     .setup = empty,
     .thread = {take, take, post_one, post_one},
     .finish = all_taken,
     WORLD},
    {.name = "deadline", .setup = empty, .thread = {take, impatient, post_one}, .finish = one_taken, WORLD},
    {.name = "cancel",
     .setup = empty,
     .thread = {take, cancellable, post_and_cancel},
     .finish = one_taken,
     WORLD},
    {.name = "cancel without waitv",
     .setup = empty,
     .thread = {take, cancellable, post_and_cancel},
     .finish = one_taken,
     WORLD,
     .flags = SCHED_NO_WAITV | SCHED_SLICES},
    {.name = "signal",
     .setup = empty,
     .thread = {take_with_hook, interruptible, post_two},
     .finish = one_left,
     WORLD,
     .signals = 1},
    {.name = "try", .setup = empty, .thread = {take, trying, post_one}, .finish = one_taken, WORLD},
    {.name = "bounded", .setup = bounded, .thread = {take_and_give, take_and_give, trying}, WORLD},
    {.name = "the maximum", .setup = bounded_empty, .thread = {over, over}, .finish = never_above_one, WORLD},
    {.name = "shared",
     .thread = {take, take, post_two},
     .finish = all_taken,
     WORLD,
     .flags = SCHED_PROCESSES},
    {.name = "a taker dies",
     .thread = {take_mortal, take_mortal, post_after_the_dead},
     WORLD,
     .flags = SCHED_PROCESSES,
     .deaths = 1,
     .mortal = 1},
    {.name = "a poster dies",
     .thread = {take, mortal_poster, second_poster},
     WORLD,
     .flags = SCHED_PROCESSES,
     .deaths = 1,
     .mortal = 2},
    {.name = "a futex that drops wakes",
     .setup = empty,
     .thread = {take, take, post_two},
     WORLD,
     .flags = SCHED_DROP_WAKES,
     .fails = "cannot finish"},
};

int main(int argc, char **argv)
{
    return sched_main("sem", list, (int) (sizeof list / sizeof *list), argc, argv);
}
