/* tests/core/sched/machine.h - inside the scheduler: the fake machine, shared by its three files.
 *
 * machine.c  the machine: threads as coroutines, what they do at a step, moves, snapshots, the key of a state
 * fake_os.c  core/os on that machine
 * explore.c  every state of it: depth first, and the proof that from each one the threads can finish
 */
#ifndef MH_TESTS_SCHED_MACHINE_H
#define MH_TESTS_SCHED_MACHINE_H

#include "core/os/os.h"
#include "sched.h"

#include <setjmp.h>
#include <stdatomic.h>

#define STACK_SIZE 16384
#define FIRST_INSTANT INT64_C(1000000) /* the clock of each thread until a wait of it times out */
#define SLEEP_WORDS MH_OS_FUTEX_ANY
#define SOON INT64_C(1000) /* less than any slice */

enum { READY, ASLEEP, FINISHED, DEAD };
enum { OUTCOME_NONE = -3, OUTCOME_SIGNAL, OUTCOME_TIMEOUT };

/* One thread. Everything in here is part of the state: no counters, nothing that only grows. */
typedef struct actor {
    jmp_buf context;
    char *sp; /* frames below it have returned */
    int status;
    int outcome; /* of the futex wait that ended: index of the word that woke it, or OUTCOME_... */
    const void *word[SLEEP_WORDS]; /* asleep on these */
    struct mh__tls tls;            /* what is thread-local in core/ */
    int64_t deadline, now;
    const void *about; /* the step it is about to take: address, how many bytes there, and what */
    unsigned size;
    const char *operation;
    const void *wake;     /* about to wake sleepers on this word */
    int wake_count, pick; /* the first of them */
} actor;

typedef struct machine {
    actor actor[SCHED_THREADS];
    int count;
    int deaths, spurious, signals; /* so far */
} machine;

/* What can happen next. */
enum { STEP, TIMEOUT, SLICE, SPURIOUS, SIGNAL, DIE };
typedef struct move {
    unsigned char kind, who, pick;
} move;
#define MOVES_MAX 32

typedef struct snapshot snapshot;
typedef struct key {
    uint64_t a, b;
} key;

extern machine m;
extern const sched_scenario *scenario;
extern const char *failure; /* the property that was violated, NULL: none yet */

void machine_start(const sched_scenario *s);
int machine_moves(move *list); /* all that can happen in this state */
void machine_do(move chosen);
int machine_over(void); /* all threads finished or dead */
key machine_key(void);
snapshot *machine_save(void);
void machine_restore(const snapshot *from);

/* For fake_os.c: the running thread. */
actor *machine_self(void);
int machine_index(void);
void machine_yield(const void *address, const char *operation);
void machine_wake(actor *a); /* up to a->wake_count sleepers on a->wake, beginning with the a->pick-th */
void machine_sleep(const void *const *words, int count, int64_t deadline);
_Noreturn void machine_fail(const char *what);

#endif
