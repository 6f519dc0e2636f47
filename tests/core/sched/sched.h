/* tests/core/sched/sched.h - the exhaustive scheduler: the real code of core/sync, run through every
 * interleaving.
 *
 * The code under test is compiled with -DMH_SCHED and linked with fake_os.c in place of core/os. Each
 * atomic access, futex call and liveness question is then a step; the scheduler tries every order of steps
 * of all threads, and at every step also what else can happen there: a time-out, a spurious wake, a signal,
 * the death of a process.
 *
 * How to write a scenario:
 *
 *     static struct { mh_lock lock; int inside; int count; } w;            // all that the threads share
 *     static void setup(void) { mh_lock_init(&w.lock, MH_PRIVATE); }       // w is all zero before
 *     static void body(void)                                               // one run of one thread
 *     {
 *         sched_check(mh_lock_acquire(&w.lock, MH_FOREVER, NULL) == 0, "acquire");
 *         sched_check(w.inside++ == 0, "mutual exclusion");
 *         sched_point();                                                   // others may run here
 *         w.inside--;
 *         w.count++;
 *         mh_lock_release(&w.lock);
 *     }
 *     static void finish(void) { sched_check(w.count == 2, "both were in"); }  // in every final state
 *     static const sched_scenario list[] = {
 *         {.name = "mutual exclusion", .setup = setup, .thread = {body, body}, .finish = finish,
 *         SCHED_MEMORY(w)},
 *     };
 *     int main(int argc, char **argv) { return sched_main("lock", list, 1, argc, argv); }
 *
 * Rules: what threads share is in the one static object named by SCHED_MEMORY, or on their stacks; no other
 * static variable may be written (it would not be put back when the scheduler goes back to try another
 * order). Bodies call nothing of libc but memset and the like. Plain accesses run together with the step
 * before them: guard them as in real life, and put sched_point() where another thread should have its
 * chance. In a body, a wait that is to time out takes the deadline sched_soon(): the time-out may then come
 * at any moment. `flags`:
 *   SCHED_PROCESSES  each thread is a process of its own: own process id, may die where `deaths` allows.
 *   `mortal` is the
 *                    set of those who may (bits; 0: all). After it, mh_os_alive() of it is 0 and
 *                    sched_dead() 1.
 *   SCHED_SLICES     slices of a shared wait may be what makes things go on even though nobody died.
 *   Without the
 *                    flag a program that needs a slice to get further, while all live, has lost a wake-up:
 *                    failure.
 *   SCHED_NO_WAITV   the kernel has no futex_waitv.
 *   SCHED_DROP_WAKES the fake futex forgets every wake (to show that the scheduler notices).
 * Also reported: a state from which the live threads cannot all finish (deadlock, lost wake-up, livelock),
 * a step of one thread on a stack frame of another that has returned, a panic, a crash.
 *
 * A scenario with `.fails = "text"` is a broken variant: the run is red unless a failure with that text is
 * found. To break the code under test itself, write a line in mutants.txt.
 *
 * How it works: docs/design/0006-exhaustive-scheduler.md.
 */
#ifndef MH_TESTS_SCHED_H
#define MH_TESTS_SCHED_H

#include <stddef.h>
#include <stdint.h>

#define SCHED_THREADS 4
#define SCHED_LIMIT 1500000u /* states of one scenario, unless it says another bound */

#define SCHED_PROCESSES 1u
#define SCHED_SLICES 2u
#define SCHED_NO_WAITV 4u
#define SCHED_DROP_WAKES 8u

typedef struct sched_scenario {
    const char *name;
    void (*setup)(void);                 /* may be NULL; runs before the threads exist: it must not wait */
    void (*thread[SCHED_THREADS])(void); /* NULL behind the last */
    void (*finish)(void);                /* may be NULL */
    void *memory;                        /* what the threads share */
    size_t size;
    unsigned flags;
    unsigned mortal;
    int (*may_die)(int thread);    /* may be NULL; may it die now? looks at the shared memory only */
    int deaths, spurious, signals; /* at most so many of each in one execution */
    const char *fails;
    uint32_t limit;
} sched_scenario;

#define SCHED_MEMORY(object) .memory = &(object), .size = sizeof(object)

/* Runs the scenarios, prints a line for each and the schedule of each failure, returns the exit status.
 * Arguments: TEXT, only scenarios whose name contains it; -v, also the schedules of the failures that are
 * expected; -x, stop after a failure. */
int sched_main(const char *program, const sched_scenario *list, int count, int argc, char **argv);

/* For bodies. sched_check also for finish(). */
void sched_check(int holds, const char *what);
void sched_point(void);
int sched_me(void);
int sched_dead(int thread);
int sched_deaths(void); /* so far */
int64_t sched_soon(void);
uint64_t sched_who(int thread); /* its mh_os_self() */

#endif
