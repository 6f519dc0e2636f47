/* The harness must see what goes wrong: each fault is made in another run of this program, in which HARNESS_FAULT has
 * put a faulty test in the place of those below. */
#include "tests/core/harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void nothing(void *argument)
{
    (void) argument;
}

static void sleep_long(void *argument)
{
    (void) argument;
    t_nap(60);
}

static void check_four(void *argument)
{
    CHECK_EQ(*(int *) argument, 4);
}

static void cross_twice(void *barrier)
{
    t_meet(barrier);
    t_meet(barrier);
}

TEST(child_status_is_told)
{
    int four = 4, five = 5;
    CHECK_EQ(t_wait(t_fork(nothing, NULL), 5), 0);
    CHECK_EQ(t_wait(t_fork(check_four, &four), 5), 0);
    CHECK_EQ(t_wait(t_fork(check_four, &five), 5), 1);
    pid_t child = t_fork(sleep_long, NULL);
    CHECK_EVENTUALLY(t_sleeps(child));
    kill(child, SIGTERM);
    CHECK_EQ(t_wait(child, 5), -SIGTERM);
}

TEST(memory_and_meeting_points_are_shared)
{
    int *shared = t_shared(sizeof *shared);
    CHECK_EQ(*shared, 0);
    t_barrier_t *barrier = t_barrier(3);
    pid_t child = t_fork(cross_twice, barrier);
    pthread_t thread = t_thread(cross_twice, barrier);
    t_meet(barrier);
    t_meet(barrier);
    t_join(thread, 5);
    CHECK_EQ(t_wait(child, 5), 0);
}

/* Runs this program with a fault, and looks for what the runner must say of it. */
static void see(const char *fault, const char *expected)
{
    char command[512], self[256], output[8192];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(length > 0);
    self[length] = 0;
    snprintf(command, sizeof command, "HARNESS_FAULT=%s '%s' 2>&1", fault, self);
    FILE *pipe = popen(command, "r");
    CHECK(pipe != NULL);
    size_t size = fread(output, 1, sizeof output - 1, pipe);
    output[size] = 0;
    int status = pclose(pipe);
    if (strstr(output, expected) == NULL || strstr(output, "0 passed, 1 failed") == NULL || status == 0) {
        FAIL("status %d, and no '%s' in: %s", status, expected, output);
    }
}

TEST(a_failed_check_is_seen)
{
    see("check", "exit status 1");
}

TEST(a_crash_is_seen)
{
    see("crash", "killed by signal 6");
}

TEST_LIMIT(a_hang_is_seen, 60)
{
    see("hang", "not done after");
}

TEST(a_forgotten_child_is_seen)
{
    see("child", "left 1 process behind");
}

/* The inner one becomes the runner's child when the outer one is killed. */
TEST(a_forgotten_child_of_a_forgotten_child_is_seen)
{
    see("children", "left 2 processes behind");
}

/* ---- the faults ---- */

static void begin_and_sleep(void *barrier)
{
    t_meet(barrier);
    t_nap(600);
}

static void lead(void *barrier)
{
    setpgid(0, 0);
    t_fork(begin_and_sleep, barrier);
    t_nap(600);
}

static void commit_fault(void)
{
    const char *kind = getenv("HARNESS_FAULT");
    if (strcmp(kind, "check") == 0) {
        CHECK(getpid() == 0);
    } else if (strcmp(kind, "crash") == 0) {
        abort();
    } else if (strcmp(kind, "hang") == 0) {
        t_nap(600);
    } else if (strcmp(kind, "child") == 0) {
        t_fork(sleep_long, NULL);
    } else {
        t_barrier_t *barrier = t_barrier(2);
        t_fork(lead, barrier);
        t_meet(barrier);
    }
}

/* Runs after the constructors of the tests above, which come before it in this file. */
__attribute__((constructor)) static void only_the_fault(void)
{
    static struct t_case only = {"fault", commit_fault, 1, NULL};
    if (getenv("HARNESS_FAULT") != NULL) {
        t_only(&only);
    }
}
