/* The same kitchen with cooks as processes: they share nothing but what is put into shared memory.
 *
 * The counters and the semaphore lie in a shared segment, the orders go through a channel. The verbs are
 * those of the threads: one cook is paused, resumed and sent home. A paused process never stands still
 * inside of a queue or a lock of manyhands, so the others can always go on.
 *
 * Build: cc kitchen_processes.c $(pkg-config --cflags --libs manyhands)
 */
#include <manyhands/manyhands.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { COOKS = 3 };
static const struct timespec cooking_time = {.tv_nsec = 300000};

/* In shared memory, all zero at the beginning: which is a valid lock and a valid semaphore between
 * processes. */
struct board {
    mh_lock lock; /* guards the numbers */
    mh_sem served;
    int meals;
    int by_cook[COOKS];
};

static struct board *board; /* children made by fork inherit the mapping ... */
static mh_channel *orders;  /* ... and the channel */

struct cook {
    mh_process process;
    int number;
};

/* Runs in the child; its value is the exit status. */
static int cook_run(mh_process *self)
{
    struct cook *cook = (struct cook *) self;
    mh_message order = {0};
    int rc;
    while ((rc = mh_channel_get(orders, &order, MH_FOREVER, NULL)) == 0) {
        nanosleep(&cooking_time, NULL);
        if (mh_lock_acquire(&board->lock, MH_FOREVER, NULL) == MH_OWNER_DIED) {
            fprintf(stderr, "a cook died at the board; the numbers may be one short\n");
        }
        board->meals++;
        board->by_cook[cook->number]++;
        mh_lock_release(&board->lock);
        mh_sem_post(&board->served, 1);
    }
    mh_message_fini(&order);
    return rc == MH_E_CLOSED ? 0 : 1;
}

static void must(int held, const char *what)
{
    if (!held) {
        fprintf(stderr, "WRONG: %s\n", what);
        exit(1); /* the cooks die with us: MH_PROCESS_DIE_WITH_PARENT */
    }
}

static void serve(int count)
{
    for (int i = 0; i < count; i++) {
        mh_part order = {&i, sizeof i};
        must(mh_channel_put(orders, &order, 1, 0, mh_in_ms(20000), NULL) == 0, "the order did not get in");
    }
    for (int i = 0; i < count; i++) {
        must(mh_sem_acquire(&board->served, mh_in_ms(20000), NULL) == 0, "a meal never came out");
    }
}

static int meals_of(const struct cook *cook)
{
    mh_lock_acquire(&board->lock, MH_FOREVER, NULL);
    int meals = board->by_cook[cook->number];
    mh_lock_release(&board->lock);
    return meals;
}

int main(void)
{
    mh_segment *segment;
    struct cook cooks[COOKS] = {0}, *ben = &cooks[1];
    int before, ordered = 0, code;

    must(mh_segment_create(sizeof *board, 0, &segment) == 0, "no shared memory");
    board = mh_segment_base(segment);
    must(mh_channel_create(&(mh_channel_options){.max_items = 100}, &orders) == 0, "no channel");
    for (int i = 0; i < COOKS; i++) {
        cooks[i].number = i;
        cooks[i].process.run = cook_run;
        cooks[i].process.flags = MH_PROCESS_DIE_WITH_PARENT;
        must(mh_process_start(&cooks[i].process) == 0, "a cook did not start");
    }
    printf("The kitchen opens with %d cooks, each a process of its own.\n", COOKS);
    serve(30), ordered += 30;
    printf("30 meals are out: Ana %d, Ben %d, Cem %d.\n", meals_of(&cooks[0]), meals_of(ben),
           meals_of(&cooks[2]));

    must(mh_process_pause(&ben->process, mh_in_ms(20000), NULL) == 0, "Ben did not stop");
    must(mh_process_state(&ben->process) == MH_PAUSED, "Ben is not paused");
    before = meals_of(ben);
    serve(30), ordered += 30;
    must(meals_of(ben) == before, "Ben cooked while he was paused");
    printf("Ben stood still; the others cooked 30 meals, he still has %d.\n", before);

    must(mh_process_resume(&ben->process) == 0, "Ben did not go on");
    must(mh_process_pause(&cooks[0].process, mh_in_ms(20000), NULL) == 0, "Ana did not stop");
    must(mh_process_pause(&cooks[2].process, mh_in_ms(20000), NULL) == 0, "Cem did not stop");
    serve(10), ordered += 10;
    must(meals_of(ben) == before + 10, "Ben did not cook all ten");
    must(mh_process_resume(&cooks[0].process) == 0 && mh_process_resume(&cooks[2].process) == 0,
         "they did not go on");
    printf("Ben went on, and cooked 10 meals alone while the others had a break.\n");

    /* Every order is out, so Ben holds none: sending home is SIGTERM, which ends a process wherever it is. */
    must(mh_process_terminate(&ben->process) == 0, "Ben could not be sent home");
    must(mh_process_join(&ben->process, mh_in_ms(20000), NULL) == 0, "Ben did not go home");
    must(mh_process_exit_code(&ben->process, &code) == 0 && code == -SIGTERM, "Ben left for another reason");
    before = meals_of(ben);
    serve(30), ordered += 30;
    must(meals_of(ben) == before, "Ben cooked from home");
    printf("Ben was sent home with %d meals; the others cooked 30 more.\n", before);

    mh_channel_close(orders, 0);
    for (int i = 0; i < COOKS; i++) {
        must(mh_process_join(&cooks[i].process, mh_in_ms(20000), NULL) == 0, "a cook did not end");
        must(mh_process_exit_code(&cooks[i].process, &code) == 0 && (code == 0 || &cooks[i] == ben),
             "a cook failed");
        mh_process_fini(&cooks[i].process);
    }
    printf("Closed. Ordered %d, counted %d, cooked by Ana %d + Ben %d + Cem %d.\n", ordered, board->meals,
           board->by_cook[0], board->by_cook[1], board->by_cook[2]);
    must(board->meals == ordered && board->by_cook[0] + board->by_cook[1] + board->by_cook[2] == ordered,
         "an order was lost or cooked twice");
    mh_channel_destroy(orders);
    mh_segment_close(segment);
    return 0;
}
