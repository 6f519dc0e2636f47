/* The scheduler's own test: a toy lock, right and wrong in each way that it must notice. */
#include "core/os/atomic.h"
#include "core/os/os.h"
#include "sched.h"

#include <errno.h>

/* A futex lock of three states: 0 free, 1 held, 2 held and somebody may sleep. */
static struct {
    _Atomic(uint32_t) word;
    _Atomic(uint64_t) owner;
    int inside, count, timed_out;
    _Atomic(void *) frame;
} w;

static void toy_acquire(void)
{
    uint32_t seen = 0;
    if (mh_cas_acq(&w.word, &seen, 1)) { /* pairs with the exchange in toy_release */
        return;
    }
    while (mh_xchg_acq(&w.word, 2) != 0) {
        mh_os_futex_wait(&w.word, 2, INT64_MAX, 0);
    }
}

static void toy_release(void)
{
    if (mh_xchg_rel(&w.word, 0) == 2) {
        mh_os_futex_wake(&w.word, 1, 0);
    }
}

static void critical_section(void)
{
    sched_check(w.inside++ == 0, "mutual exclusion");
    sched_point();
    w.inside--;
    w.count++;
}

static void good(void)
{
    toy_acquire();
    critical_section();
    toy_release();
}

static void no_wake(void)
{
    toy_acquire();
    critical_section();
    mh_store_rel(&w.word, 0);
}

static void no_check(void)
{
    uint32_t seen = 0;
    if (!mh_cas_acq(&w.word, &seen, 1)) {
        mh_store_rlx(&w.word, 2);
        mh_os_futex_wait(&w.word, 2, INT64_MAX, 0);
    }
    critical_section();
    toy_release();
}

/* Test, then set: a race. */
static void two_steps(void)
{
    while (mh_load_acq(&w.word) != 0) {
        mh_os_futex_wait(&w.word, 1, INT64_MAX, 0);
    }
    mh_store_rel(&w.word, 1);
    critical_section();
    if (mh_xchg_rel(&w.word, 0) == 1) {
        mh_os_futex_wake(&w.word, 1, 0);
    }
}

/* Forgets that others may sleep when it wakes up: the sleeper behind it is lost. */
static void forgetful(void)
{
    uint32_t seen = 0;
    while (!mh_cas_acq(&w.word, &seen, 1)) {
        if (seen == 2 || mh_cas_acq(&w.word, &seen, 2)) {
            mh_os_futex_wait(&w.word, 2, INT64_MAX, 0);
        }
        seen = 0;
    }
    critical_section();
    toy_release();
}

static void impatient(void)
{
    uint32_t seen = 0;
    int64_t until = sched_soon();
    if (!mh_cas_acq(&w.word, &seen, 1)) {
        while (mh_xchg_acq(&w.word, 2) != 0) {
            if (mh_os_futex_wait(&w.word, 2, until, 0) == -ETIMEDOUT) {
                w.timed_out++;
                return;
            }
        }
    }
    critical_section();
    toy_release();
}

static void both_were_in(void)
{
    sched_check(w.count == 2, "both were in");
}

static void all_accounted(void)
{
    sched_check(w.count + w.timed_out == 2, "each was in or gave up");
}

static void never_times_out(void)
{
    sched_check(w.timed_out == 0, "no time-out was tried");
}

/* ---- processes: a lock that looks whether its owner lives */

static void robust(void)
{
    for (;;) {
        uint64_t seen = 0;
        if (mh_cas_acq(&w.owner, &seen, mh_os_self())) {
            break;
        }
        if (!mh_os_alive(seen)) {
            if (mh_cas_acq(&w.owner, &seen, mh_os_self())) {
                break;
            }
            continue;
        }
        uint32_t turn = mh_load_acq(&w.word);
        if (mh_load_acq(&w.owner) != 0) {
            mh_os_futex_wait(&w.word, turn, mh_os_now() + 50000000, 1);
        }
    }
    w.count++;
    sched_point();
    mh_store_rel(&w.owner, 0);
    mh_add_acq_rel(&w.word, 1);
    mh_os_futex_wake(&w.word, 1, 1);
}

static void trusting(void) /* never looks */
{
    for (;;) {
        uint64_t seen = 0;
        if (mh_cas_acq(&w.owner, &seen, mh_os_self())) {
            break;
        }
        uint32_t turn = mh_load_acq(&w.word);
        if (mh_load_acq(&w.owner) != 0) {
            mh_os_futex_wait(&w.word, turn, mh_os_now() + 50000000, 1);
        }
    }
    w.count++;
    mh_store_rel(&w.owner, 0);
    mh_add_acq_rel(&w.word, 1);
    mh_os_futex_wake(&w.word, 1, 1);
}

static void lives_are_counted(void)
{
    sched_check(w.count >= 2 - sched_deaths(), "each that lives was in");
}

static void nobody_dies(void)
{
    sched_check(sched_deaths() == 0, "a death was tried");
}

/* ---- a word on the stack of a thread that has gone on */

static void lender(void)
{
    _Atomic(uint32_t) mine = 0;
    mh_store_rel(&w.frame, &mine);
    while (mh_load_acq(&mine) == 0) {
        mh_os_futex_wait(&mine, 0, INT64_MAX, 0);
    }
    mh_store_rel(&w.frame, NULL);
}

static void touch(int twice)
{
    _Atomic(uint32_t) *lent = mh_load_acq(&w.frame) ? atomic_load(&w.frame) : NULL;
    if (!lent) {
        return;
    }
    mh_store_rel(lent, 1);
    if (twice) {
        mh_store_rel(lent, 2);
    }
    mh_os_futex_wake(lent, 1, 0);
}

static void borrower(void)
{
    while (mh_load_acq(&w.frame) == NULL) {
        mh_os_pause();
    }
    touch(0);
}

static void late_borrower(void)
{
    while (mh_load_acq(&w.frame) == NULL) {
        mh_os_pause();
    }
    touch(1);
}

static void panics(void)
{
    sched_point();
    mh_os_panic("panics", NULL, "a caller's bug");
}

static const sched_scenario list[] = {
    {.name = "toy lock, 2 threads",
     .thread = {good, good},
     .finish = both_were_in,
     SCHED_MEMORY(w),
     .spurious = 1},
    {.name = "toy lock, 4 threads", .thread = {good, good, good, good}, SCHED_MEMORY(w)},
    {.name = "a release that does not wake",
     .thread = {no_wake, no_wake},
     SCHED_MEMORY(w),
     .fails = "cannot finish"},
    {.name = "a futex that drops wakes",
     .thread = {good, good},
     SCHED_MEMORY(w),
     .flags = SCHED_DROP_WAKES,
     .fails = "cannot finish"},
    {.name = "a wait without a second look",
     .thread = {no_check, no_check},
     SCHED_MEMORY(w),
     .spurious = 1,
     .fails = "mutual exclusion"},
    {.name = "test, then set",
     .thread = {two_steps, two_steps},
     SCHED_MEMORY(w),
     .fails = "mutual exclusion"},
    {.name = "the third is forgotten",
     .thread = {forgetful, forgetful, forgetful},
     SCHED_MEMORY(w),
     .fails = "cannot finish"},
    {.name = "time-outs", .thread = {good, impatient}, .finish = all_accounted, SCHED_MEMORY(w)},
    {.name = "time-outs are tried",
     .thread = {good, impatient},
     .finish = never_times_out,
     SCHED_MEMORY(w),
     .fails = "no time-out was tried"},
    {.name = "robust lock, a death",
     .thread = {robust, robust},
     .finish = lives_are_counted,
     SCHED_MEMORY(w),
     .flags = SCHED_PROCESSES,
     .deaths = 1},
    {.name = "robust lock, 3, two deaths",
     .thread = {robust, robust, robust},
     SCHED_MEMORY(w),
     .flags = SCHED_PROCESSES,
     .deaths = 2},
    {.name = "deaths are tried",
     .thread = {robust, robust},
     .finish = nobody_dies,
     SCHED_MEMORY(w),
     .flags = SCHED_PROCESSES,
     .deaths = 1,
     .fails = "a death was tried"},
    {.name = "an owner nobody looks after",
     .thread = {trusting, trusting},
     SCHED_MEMORY(w),
     .flags = SCHED_PROCESSES,
     .deaths = 1,
     .fails = "cannot finish"},
    {.name = "slices do not hide a dropped wake",
     .thread = {robust, robust},
     SCHED_MEMORY(w),
     .flags = SCHED_PROCESSES | SCHED_DROP_WAKES,
     .fails = "cannot finish"},
    {.name = "slices where they are allowed",
     .thread = {robust, robust},
     SCHED_MEMORY(w),
     .flags = SCHED_PROCESSES | SCHED_DROP_WAKES | SCHED_SLICES},
    {.name = "a word lent from a stack", .thread = {lender, borrower}, SCHED_MEMORY(w)},
    {.name = "a word whose frame has returned",
     .thread = {lender, late_borrower},
     SCHED_MEMORY(w),
     .fails = "returned"},
    {.name = "a panic", .thread = {good, panics}, SCHED_MEMORY(w), .fails = "a caller's bug"},
};

int main(int argc, char **argv)
{
    return sched_main("self", list, (int) (sizeof list / sizeof *list), argc, argv);
}
