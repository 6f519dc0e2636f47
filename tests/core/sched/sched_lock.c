/* Every interleaving of mh_lock and mh_rlock: mutual exclusion, no lost wake, deadlines, cancel, signals,
 * death at any step. */
#include <manyhands/lock.h>

#include <errno.h>

#include "core/os/atomic.h"
#include "sched.h"

static struct {
    mh_lock lock;
    mh_rlock rlock;
    mh_cancel cancel;
    int inside, in, gave_up, reported;
    int dirty;   /* somebody is in the middle of a change */
    int started; /* process 0 was in */
    MH_ATOMIC(uint32_t) number;
} w;

static void private_lock(void)
{
    mh_lock_init(&w.lock, MH_PRIVATE);
    mh_rlock_init(&w.rlock, MH_PRIVATE);
    mh_cancel_init(&w.cancel, MH_PRIVATE);
}

/* ---- what is done inside */

static void use(void)
{
    sched_check(w.inside++ == 0, "mutual exclusion");
    sched_point();
    w.inside--;
    w.in++;
}

static void good(void)
{
    sched_check(mh_lock_acquire(&w.lock, MH_FOREVER, NULL) == 0, "acquire");
    use();
    mh_lock_release(&w.lock);
}

static void twice(void)
{
    good();
    good();
}

static void trying(void)
{
    if (mh_lock_try_acquire(&w.lock) == 0) {
        use();
        mh_lock_release(&w.lock);
    } else {
        w.gave_up++;
    }
}

static void impatient(void)
{
    int rc = mh_lock_acquire(&w.lock, sched_soon(), NULL);
    sched_check(rc == 0 || rc == -ETIMEDOUT, "0 or a time-out");
    if (rc < 0) {
        w.gave_up++;
        return;
    }
    use();
    mh_lock_release(&w.lock);
}

static void cancellable(void)
{
    int rc = mh_lock_acquire(&w.lock, MH_FOREVER, &w.cancel);
    sched_check(rc == 0 || rc == -ECANCELED, "0 or cancelled");
    if (rc < 0) {
        w.gave_up++;
        return;
    }
    use();
    mh_lock_release(&w.lock);
}

static void canceller(void)
{
    mh_cancel_request(&w.cancel);
    w.in++;
}

/* A request that is taken back at once still reaches who sleeps: the holder lets go only once the other has
 * left. */
static void hold_and_flash(void)
{
    sched_check(mh_lock_acquire(&w.lock, MH_FOREVER, NULL) == 0, "acquire");
    w.started = 1;
    while (!(mh_load_acq(&w.cancel.word) & 2)) { /* watched */
        sched_point();
    }
    mh_cancel_request(&w.cancel);
    mh_cancel_reset(&w.cancel);
    while (w.gave_up == 0) {
        sched_point();
    }
    mh_lock_release(&w.lock);
    w.in++;
}

static void cancelled_later(void)
{
    while (!w.started) {
        sched_point();
    }
    sched_check(mh_lock_acquire(&w.lock, MH_FOREVER, &w.cancel) == -ECANCELED, "cancelled by the flash");
    w.gave_up++;
}

static int go_on(void *arg)
{
    (void) arg;
    return 0;
}

static int stop(void *arg)
{
    (void) arg;
    return -EIO;
}

static void with_hook(void)
{
    mh_on_interrupt(go_on, NULL, 0);
    good();
}

static void stopped_by_hook(void)
{
    mh_on_interrupt(stop, NULL, 0);
    int rc = mh_lock_acquire(&w.lock, MH_FOREVER, NULL);
    sched_check(rc == 0 || rc == -EIO, "0 or what the hook said");
    if (rc < 0) {
        w.gave_up++;
        return;
    }
    use();
    mh_lock_release(&w.lock);
}

static void interrupted(void)
{
    int rc = mh_lock_acquire(&w.lock, MH_FOREVER, NULL);
    sched_check(rc == 0 || rc == -EINTR, "0 or interrupted");
    if (rc < 0) {
        w.gave_up++;
        return;
    }
    use();
    mh_lock_release(&w.lock);
}

/* ---- death: `dirty` between the beginning and the end of a change */

static void change(int rc)
{
    sched_check(rc >= 0, "acquire");
    sched_check(rc == MH_OWNER_DIED || !w.dirty, "a death inside is reported");
    sched_check(rc == 0 || sched_deaths() > 0, "a death that was none");
    w.reported += rc == MH_OWNER_DIED;
    w.dirty = 1;
    sched_point();
    w.dirty = 0;
    sched_point();
}

static void robust(void)
{
    change(mh_lock_acquire(&w.lock, MH_FOREVER, NULL));
    mh_lock_release(&w.lock);
    w.in++;
}

static void robust_try(void)
{
    int rc = mh_lock_try_acquire(&w.lock);
    if (rc == -EBUSY) {
        return;
    }
    change(rc);
    mh_lock_release(&w.lock);
}

static void robust_impatient(void)
{
    int rc = mh_lock_acquire(&w.lock, sched_soon(), NULL);
    if (rc == -ETIMEDOUT) {
        return;
    }
    change(rc);
    mh_lock_release(&w.lock);
}

static void robust_recursive(void)
{
    change(mh_rlock_acquire(&w.rlock, MH_FOREVER, NULL));
    mh_rlock_release(&w.rlock);
    w.in++;
}

static void two_less_the_dead(void)
{
    sched_check(w.in >= 2 - sched_deaths(), "each that lives was in");
}

static void three_less_the_dead(void)
{
    sched_check(w.in >= 3 - sched_deaths(), "each that lives was in");
}

/* A death that is known before the other asks: a try finds it, too. */
static void may_die_inside(void)
{
    sched_check(mh_lock_acquire(&w.lock, MH_FOREVER, NULL) == 0, "acquire");
    w.dirty = 1;
    sched_point();
    w.dirty = 0;
    mh_lock_release(&w.lock);
    w.started = 1;
}

static void tries_after_him(void)
{
    while (!w.started && !sched_dead(0)) {
        sched_point();
    }
    int rc = mh_lock_try_acquire(&w.lock);
    sched_check(rc == 0 || (rc == MH_OWNER_DIED && sched_dead(0)), "a try has it");
    sched_check(rc == MH_OWNER_DIED || !w.dirty, "a death inside is reported");
    mh_lock_release(&w.lock);
}

/* ---- abandon, and release by another */

static void abandons(void)
{
    int rc = mh_lock_acquire(&w.lock, MH_FOREVER, NULL);
    sched_check(rc >= 0, "acquire");
    w.reported += rc;
    use();
    mh_lock_abandon(&w.lock);
}

static void repairs(void)
{
    int rc = mh_lock_acquire(&w.lock, MH_FOREVER, NULL);
    sched_check(rc >= 0, "acquire");
    w.reported += rc;
    use();
    mh_lock_release(&w.lock);
}

static void one_report(void)
{
    int left = (w.lock.word & 0x40000000u) != 0; /* DIED */
    sched_check(w.in == 3 && w.reported + left == 1, "told exactly once");
}

static void hands_over(void)
{
    sched_check(mh_lock_acquire(&w.lock, MH_FOREVER, NULL) == 0, "acquire");
    w.started = 1;
}

static void releases_for_him(void)
{
    while (!w.started) {
        sched_point();
    }
    sched_check(mh_lock_try_release(&w.lock) == 0, "any process may release");
    good();
}

/* ---- recursive */

static void deep(void)
{
    sched_check(!mh_rlock_is_owned(&w.rlock), "not mine before");
    sched_check(mh_rlock_acquire(&w.rlock, MH_FOREVER, NULL) == 0, "acquire");
    sched_check(mh_rlock_acquire(&w.rlock, MH_FOREVER, NULL) == 0, "acquire again");
    sched_check(mh_rlock_depth(&w.rlock) == 2, "two deep");
    use();
    mh_rlock_release(&w.rlock);
    sched_check(mh_rlock_is_owned(&w.rlock), "mine until the last release");
    mh_rlock_release(&w.rlock);
    sched_check(mh_rlock_try_release(&w.rlock) == -EPERM, "not mine after");
}

static void all_at_once(void)
{
    uint32_t depth = 0;
    sched_check(mh_rlock_acquire_depth(&w.rlock, 3, MH_FOREVER, NULL) == 0, "acquire");
    use();
    sched_check(mh_rlock_release_all(&w.rlock, &depth) == 0 && depth == 3, "three deep");
}

/* One number that the lock guards, odd only while somebody is inside; and a reader who does not take the lock. */
static void changes_number(void)
{
    sched_check(mh_rlock_acquire(&w.rlock, MH_FOREVER, NULL) == 0, "acquire");
    uint32_t was = mh_load_rlx(&w.number);
    mh_store_rlx(&w.number, was + 1);
    mh_store_rlx(&w.number, was + 2);
    mh_rlock_release(&w.rlock);
}

static void changes_it_twice(void)
{
    changes_number();
    changes_number();
}

static void peeks(void)
{
    uint64_t seen = 0;
    int rc = mh_rlock_read(&w.rlock, &w.number, 4, &seen);
    sched_check(rc == 0 || rc == -EBUSY, "read, or busy");
    sched_check((seen & 1) == 0, "a reader sees no half change");
}

static void two_in(void)
{
    sched_check(w.in == 2 && !mh_lock_is_locked(&w.lock), "both were in, and it is free");
    sched_check(!mh_rlock_is_locked(&w.rlock), "it is free");
}

static void three_accounted(void)
{
    sched_check(w.in + w.gave_up == 3 && !mh_lock_is_locked(&w.lock),
                "each was in or gave up, and it is free");
}

#define WORLD SCHED_MEMORY(w)
static const sched_scenario list[] = {
    {.name = "read without the lock",
     .setup = private_lock,
     .thread = {changes_it_twice, changes_number, peeks},
     WORLD},
    {.name = "read without the lock, and a death",
     .thread = {changes_it_twice, peeks, peeks},
     WORLD,
     .flags = SCHED_PROCESSES,
     .deaths = 1,
     .mortal = 1},
    {.name = "2 threads twice", .setup = private_lock, .thread = {twice, twice}, WORLD, .spurious = 1},
    {.name = "3 threads",
     .setup = private_lock,
     .thread = {good, good, good},
     .finish = three_accounted,
     WORLD},
    {.name = "try", .setup = private_lock, .thread = {good, good, trying}, .finish = three_accounted, WORLD},
    {.name = "deadline",
     .setup = private_lock,
     .thread = {good, impatient, good},
     .finish = three_accounted,
     WORLD},
    {.name = "cancel",
     .setup = private_lock,
     .thread = {good, cancellable, canceller},
     .finish = three_accounted,
     WORLD},
    {.name = "cancel behind another",
     .setup = private_lock,
     .thread = {good, cancellable, good, canceller},
     WORLD,
     .limit = 4000000},
    {.name = "cancel without waitv",
     .setup = private_lock,
     .thread = {good, cancellable, canceller},
     .finish = three_accounted,
     WORLD,
     .flags = SCHED_NO_WAITV | SCHED_SLICES},
    {.name = "cancel taken back", .setup = private_lock, .thread = {hold_and_flash, cancelled_later}, WORLD},
    {.name = "signal, no hook",
     .setup = private_lock,
     .thread = {interrupted, interrupted, interrupted},
     .finish = three_accounted,
     WORLD,
     .signals = 1},
    {.name = "signal, hook goes on",
     .setup = private_lock,
     .thread = {with_hook, with_hook, with_hook},
     .finish = three_accounted,
     WORLD,
     .signals = 2},
    {.name = "signal, hook stops",
     .setup = private_lock,
     .thread = {with_hook, stopped_by_hook, with_hook},
     .finish = three_accounted,
     WORLD,
     .signals = 1},
    {.name = "shared, 2 processes",
     .thread = {good, good},
     .finish = two_in,
     WORLD,
     .flags = SCHED_PROCESSES},
    {.name = "shared, 3 processes",
     .thread = {good, good, good},
     .finish = three_accounted,
     WORLD,
     .flags = SCHED_PROCESSES},
    {.name = "shared, deadline",
     .thread = {good, impatient, good},
     .finish = three_accounted,
     WORLD,
     .flags = SCHED_PROCESSES},
    {.name = "death, 2",
     .thread = {robust, robust},
     .finish = two_less_the_dead,
     WORLD,
     .flags = SCHED_PROCESSES,
     .deaths = 1},
    {.name = "death, 3",
     .thread = {robust, robust, robust},
     .finish = three_less_the_dead,
     WORLD,
     .flags = SCHED_PROCESSES,
     .deaths = 1},
    {.name = "death, try and deadline",
     .thread = {robust, robust_try, robust_impatient},
     WORLD,
     .flags = SCHED_PROCESSES,
     .deaths = 1},
    {.name = "two deaths",
     .thread = {robust, robust, robust},
     .finish = three_less_the_dead,
     WORLD,
     .flags = SCHED_PROCESSES,
     .deaths = 2,
     .limit = 4000000},
    {.name = "a try finds the dead",
     .thread = {may_die_inside, tries_after_him},
     WORLD,
     .flags = SCHED_PROCESSES,
     .deaths = 1,
     .mortal = 1},
    {.name = "abandon",
     .thread = {abandons, repairs, repairs},
     .finish = one_report,
     WORLD,
     .flags = SCHED_PROCESSES},
    {.name = "released by another",
     .thread = {hands_over, releases_for_him},
     WORLD,
     .flags = SCHED_PROCESSES},
    {.name = "recursive, private",
     .setup = private_lock,
     .thread = {deep, all_at_once},
     .finish = two_in,
     WORLD},
    {.name = "recursive, shared",
     .thread = {deep, all_at_once},
     .finish = two_in,
     WORLD,
     .flags = SCHED_PROCESSES},
    {.name = "recursive, death",
     .thread = {robust_recursive, robust_recursive},
     .finish = two_less_the_dead,
     WORLD,
     .flags = SCHED_PROCESSES,
     .deaths = 1},
    {.name = "a futex that drops wakes",
     .setup = private_lock,
     .thread = {good, good},
     WORLD,
     .flags = SCHED_DROP_WAKES,
     .fails = "cannot finish"},
};

int main(int argc, char **argv)
{
    return sched_main("lock", list, (int) (sizeof list / sizeof *list), argc, argv);
}
