/* tests/core/harness.h - a small test runner: every test in a process of its own, with a hard time limit.
 *
 *   #include "tests/core/harness.h"
 *
 *   TEST(two_and_two) { CHECK_EQ(2 + 2, 4); }
 *   TEST_LIMIT(long_one, 60) { ... }            // seconds, instead of T_LIMIT
 *
 *   prog             runs every test, one line each, and ends with "N passed, N failed"
 *   prog NAME ...    runs these in this process, without limit and without fork: for a debugger
 *   prog -l          lists the names
 *
 * A test fails where a CHECK does, where it dies or outlives its limit (then the stacks of all its processes are
 * printed), and where a process that it started is still alive when it returns. A failed CHECK ends the process that it
 * is in: a child made by t_fork tells its parent by the exit status that t_wait returns.
 */
#ifndef MH_TESTS_HARNESS_H
#define MH_TESTS_HARNESS_H

#include <pthread.h>
#include <stddef.h>
#include <sys/types.h>

#define T_LIMIT 20 /* seconds; five times as much where all is slow, see t_scale */
#define T_SKIPPED 77

struct t_case {
    const char *name;
    void (*run)(void);
    int limit;
    struct t_case *next;
};
void t_add(struct t_case *test);
void t_only(struct t_case *test); /* forget the others: for the harness's own test */

/* For a program that runs its tests by a rule of its own (fault/every.c): where it has these two, `t_run_otherwise` is
 * called in the place of "each once", and its value is the exit status; and `t_on_failure` where a check fails, in the
 * process in which it does, with the left side of CHECK_EQ, else 0. */
int t_run_otherwise(struct t_case *first) __attribute__((weak));
void t_on_failure(const char *file, int line, const char *text, long long value) __attribute__((weak));
/* Run one test. 0 passed, 1 failed, T_SKIPPED; `why` says more. It is killed once it has run for `limit` seconds, then its
 * stacks are printed; and once `enough` (or NULL) says so, which is a failure, too. */
int t_run_once(const struct t_case *test, double limit, int (*enough)(void), char *why, size_t size);

#define TEST(name) TEST_LIMIT(name, T_LIMIT)
#define TEST_LIMIT(name, seconds)                                                  \
    static void t__run_##name(void);                                               \
    static struct t_case t__case_##name = {#name, t__run_##name, (seconds), NULL}; \
    __attribute__((constructor)) static void t__add_##name(void)                   \
    {                                                                              \
        t_add(&t__case_##name);                                                    \
    }                                                                              \
    static void t__run_##name(void)

#define CHECK(condition) ((condition) ? (void) 0 : t_fail(__FILE__, __LINE__, "%s", #condition))
#define CHECK_EQ(a, b) t_check_eq(__FILE__, __LINE__, #a " == " #b, (long long) (a), (long long) (b))
#define CHECK_STR_EQ(a, b) t_check_str(__FILE__, __LINE__, #a " == " #b, (a), (b))
#define FAIL(...) t_fail(__FILE__, __LINE__, __VA_ARGS__)
/* End this test, neither passed nor failed: what it needs is not on this machine. */
#define SKIP(reason) t_skip(reason)
/* Look at a condition until it holds; fails after ten seconds (t_patience). For a state that another thread or process is
 * on its way to ("it sleeps now"), never instead of a barrier. */
#define CHECK_EVENTUALLY(condition)                                            \
    do {                                                                       \
        double t__end = t_now() + t_patience * t_scale();                      \
        while (!(condition)) {                                                 \
            if (t_now() > t__end) {                                            \
                t_fail(__FILE__, __LINE__, "never came true: %s", #condition); \
            }                                                                  \
            t_nap(0.0005);                                                     \
        }                                                                      \
    } while (0)

_Noreturn void t_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
_Noreturn void t_skip(const char *reason);
void t_check_eq(const char *file, int line, const char *text, long long a, long long b);
void t_check_str(const char *file, int line, const char *text, const char *a, const char *b);

double t_now(void); /* seconds, CLOCK_MONOTONIC */
void t_nap(double seconds);
extern double t_patience;
/* How often to do what a test does over and over: `all` times, or a tenth of it where the test is run again for each call
 * that it makes (fault/every.c): the calls of one round are those of the next, and each is refused in its own run. */
int t_rounds(int all);
extern int t_rounds_divisor;
int t_emulated(void); /* 1 with T_EMULATED=1: a fork beside a large mapping takes half a second */
int t_scale(void); /* 1, or 5 under a sanitizer or with T_SLOW=1 (valgrind): multiply your own limits by it */

/* A child that runs function(argument) and exits with 0. */
pid_t t_fork(void (*function)(void *), void *argument);
/* Its exit status, or minus the signal that killed it. Fails (and kills it) where it has not ended within `seconds`. */
int t_wait(pid_t child, double seconds);
/* Kill it with SIGKILL, and reap it. */
void t_kill(pid_t child);
/* 1 where every thread of the process sleeps or is stopped. */
int t_sleeps(pid_t process);
/* 1 where this one thread of the process does. */
int t_thread_sleeps(pid_t process, pid_t thread);

/* A name for shared memory that no other run of a test program uses, whatever else this machine tests meanwhile. What has
 * it at a test's end is unlinked, also where the test failed. */
const char *t_shm_name(void);

/* Zeroed memory, shared with the children forked later; gone with the test's process. */
void *t_shared(size_t size);

pthread_t t_thread(void (*function)(void *), void *argument);
void t_join(pthread_t thread, double seconds);

/* A meeting point of `count` threads of this process and of its children. */
typedef pthread_barrier_t t_barrier_t;
t_barrier_t *t_barrier(unsigned count);
void t_meet(t_barrier_t *barrier);

#endif
