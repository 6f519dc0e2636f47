/* A race, shown and cured.
 *
 * Two threads add to one counter. Adding is three steps: read, add, write back. When the other thread
 * writes between our read and our write, its additions are lost. With a lock around the three steps none
 * is.
 *
 * Build: cc race.c $(pkg-config --cflags --libs manyhands)
 */
#include <manyhands/manyhands.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 2, TIMES = 50000, ROUNDS = 20 };

struct counter {
    /* Atomic only so that the C language defines what happens: each read and each write is whole, but
     * another thread may still come between them. That is the race. */
    atomic_int value;
    mh_lock lock;
    mh_event start;
    int with_lock;
};

struct adder {
    mh_thread thread;
    struct counter *counter;
};

static void add_one(struct counter *counter, int turn)
{
    int value = atomic_load_explicit(&counter->value, memory_order_relaxed);
    if (turn % 1000 == 0) {
        sched_yield(); /* the system may interrupt us here at any time; now and then we ask it to */
    }
    atomic_store_explicit(&counter->value, value + 1, memory_order_relaxed);
}

static int adder_run(mh_thread *self)
{
    struct counter *counter = ((struct adder *) self)->counter;
    mh_event_wait(&counter->start, MH_FOREVER, NULL); /* all begin together */
    for (int turn = 0; turn < TIMES; turn++) {
        if (counter->with_lock) {
            mh_lock_acquire(&counter->lock, MH_FOREVER, NULL);
        }
        add_one(counter, turn);
        if (counter->with_lock) {
            mh_lock_release(&counter->lock);
        }
    }
    return 0;
}

static int count(int with_lock)
{
    struct counter counter = {.with_lock = with_lock};
    struct adder adders[THREADS] = {0};
    mh_lock_init(&counter.lock, MH_PRIVATE);
    mh_event_init(&counter.start, MH_PRIVATE);
    for (int i = 0; i < THREADS; i++) {
        adders[i].thread.run = adder_run;
        adders[i].counter = &counter;
        if (mh_thread_start(&adders[i].thread) != 0) {
            exit(1);
        }
    }
    mh_event_set(&counter.start);
    for (int i = 0; i < THREADS; i++) {
        if (mh_thread_join(&adders[i].thread, MH_FOREVER, NULL) != 0) {
            exit(1);
        }
    }
    return atomic_load(&counter.value);
}

int main(void)
{
    int expected = THREADS * TIMES, rounds = 0, counted = expected;
    while (rounds < ROUNDS && counted == expected) {
        counted = count(0);
        rounds++;
    }
    if (counted < expected) {
        printf("Without a lock: %d threads added 1 for %d times each, and the counter says %d. %d additions "
               "are lost"
               " (round %d).\n",
               THREADS, TIMES, counted, expected - counted, rounds);
    } else {
        printf("Without a lock: in %d rounds nothing was lost. The race is there, but it did not show this "
               "time.\n",
               rounds);
    }

    for (int round = 0; round < 3; round++) {
        counted = count(1);
        if (counted != expected) {
            fprintf(stderr, "WRONG: with a lock the counter says %d instead of %d\n", counted, expected);
            return 1;
        }
    }
    printf("With a lock: the counter says %d, three times of three.\n", counted);
    return 0;
}
