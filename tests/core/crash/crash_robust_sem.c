/* tests/core/crash/crash_robust_sem.c - a process is killed at every trace point of a robust semaphore: all permits come
 * back, and never more than there are. */
#include "tests/core/harness.h"

#include <errno.h>
#include <stdio.h>

#include "core/debug/trace.h"
#include "crash_die.h"
#include "manyhands/robust_sem.h"

#define PERMITS 2

static uint64_t target;

static void die_at(const char *name, uint64_t number, void *arg)
{
    (void) arg;
    if (number == target) {
        crash_die(name);
    }
}

static void take_and_give(void *arg)
{
    mh_robust_sem *sem = arg;
    mh__trace_set(die_at, NULL);
    for (int i = 0; i < 3; i++) {
        CHECK(mh_robust_sem_acquire(sem, mh_in_ms(5000), NULL) >= 0);
        CHECK(mh_robust_sem_acquire(sem, mh_in_ms(5000), NULL) >= 0);
        CHECK_EQ(mh_robust_sem_release(sem), 0);
        CHECK_EQ(mh_robust_sem_release(sem), 0);
    }
    mh__trace_set(NULL, NULL);
}

TEST_LIMIT(permits_come_back_from_every_point, 60)
{
    int status = -SIGKILL;
    for (target = 0; status != 0; target++) {
        mh_robust_sem *sem = t_shared(mh_robust_sem_size(PERMITS));
        CHECK_EQ(mh_robust_sem_init(sem, PERMITS), 0);
        status = t_wait(t_fork(take_and_give, sem), 20);
        CHECK(status == 0 || status == -SIGKILL);
        for (int i = 0; i < PERMITS; i++) {
            CHECK(mh_robust_sem_acquire(sem, mh_in_ms(5000), NULL) >= 0);
        }
        CHECK_EQ(mh_robust_sem_acquire(sem, mh_in_ms(20), NULL), -ETIMEDOUT);
    }
    printf("%d points\n", (int) target);
    CHECK(target > 10);
}
