/* A kitchen with several cooks, as threads.
 *
 * The cooks take orders from a queue and count the meals on one counter that they share, so they lock it.
 * In the middle of the evening one cook is told to stand still (paused), to go on (resumed), and to go home
 * (terminated). The last lines say whether every order was cooked exactly once.
 *
 * Build: cc kitchen_threads.c $(pkg-config --cflags --libs manyhands)
 */
#include <manyhands/manyhands.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { COOKS = 3 };
static const struct timespec cooking_time = {.tv_nsec = 300000};

struct kitchen {
    mh_channel *orders; /* a queue between threads */
    mh_lock lock;       /* guards meals */
    int meals;
    mh_sem served; /* one more for each meal that leaves the kitchen */
};

/* A cook is a thread with more to it: our struct comes first in theirs. */
struct cook {
    mh_thread thread;
    struct kitchen *kitchen;
    mh_message order;
    int meals; /* by this cook; written by nobody else */
};

static void cook_one(struct cook *cook)
{
    struct kitchen *kitchen = cook->kitchen;
    mh_shield_enter(); /* an order that was begun is finished: nobody pauses or ends us in between */
    nanosleep(&cooking_time, NULL);
    mh_lock_acquire(&kitchen->lock, MH_FOREVER, NULL);
    kitchen->meals++;
    cook->meals++;
    mh_lock_release(&kitchen->lock);
    mh_sem_post(&kitchen->served, 1);
    mh_shield_leave();
}

static int cook_run(mh_thread *self)
{
    struct cook *cook = (struct cook *) self;
    int rc;
    /* Waiting for an order is where a cook is paused; it ends with MH_E_CLOSED (no more orders) or
     * -ECANCELED. */
    while ((rc = mh_channel_get(cook->kitchen->orders, &cook->order, MH_FOREVER, NULL)) == 0) {
        cook_one(cook);
    }
    return rc == MH_E_CLOSED ? 0 : 1;
}

static void must(int held, const char *what)
{
    if (!held) {
        fprintf(stderr, "WRONG: %s\n", what);
        exit(1);
    }
}

/* Hand in orders, and wait until that many meals are out. */
static void serve(struct kitchen *kitchen, int count)
{
    for (int i = 0; i < count; i++) {
        mh_part order = {&i, sizeof i};
        must(mh_channel_put(kitchen->orders, &order, 1, 0, mh_in_ms(10000), NULL) == 0,
             "the order did not get in");
    }
    for (int i = 0; i < count; i++) {
        must(mh_sem_acquire(&kitchen->served, mh_in_ms(10000), NULL) == 0, "a meal never came out");
    }
}

static int meals_of(struct cook *cook)
{
    mh_lock_acquire(&cook->kitchen->lock, MH_FOREVER, NULL);
    int meals = cook->meals;
    mh_lock_release(&cook->kitchen->lock);
    return meals;
}

int main(void)
{
    static const char *names[COOKS] = {"Ana", "Ben", "Cem"};
    struct kitchen kitchen = {.meals = 0};
    struct cook cooks[COOKS] = {0}, *ben = &cooks[1];
    int before, ordered = 0, total = 0, code;

    mh_lock_init(&kitchen.lock, MH_PRIVATE);
    mh_sem_init(&kitchen.served, 0, 0, MH_PRIVATE);
    must(mh_channel_create(&(mh_channel_options){.max_items = 100, .flags = MH_PRIVATE}, &kitchen.orders) ==
             0,
         "no queue");
    for (int i = 0; i < COOKS; i++) {
        cooks[i].thread.run = cook_run;
        cooks[i].thread.name = names[i];
        cooks[i].kitchen = &kitchen;
        must(mh_thread_start(&cooks[i].thread) == 0, "a cook did not start");
    }
    printf("The kitchen opens with %d cooks.\n", COOKS);
    serve(&kitchen, 30), ordered += 30;
    printf("30 meals are out: Ana %d, Ben %d, Cem %d.\n", meals_of(&cooks[0]), meals_of(ben),
           meals_of(&cooks[2]));

    must(mh_thread_pause(&ben->thread, mh_in_ms(10000), NULL) == 0, "Ben did not stop");
    must(mh_thread_state(&ben->thread) == MH_PAUSED, "Ben is not paused");
    before = meals_of(ben);
    serve(&kitchen, 30), ordered += 30;
    must(meals_of(ben) == before, "Ben cooked while he was paused");
    printf("Ben stood still; the others cooked 30 meals, he still has %d.\n", before);

    /* With the others paused it can only be Ben who cooks. */
    must(mh_thread_resume(&ben->thread) == 0, "Ben did not go on");
    must(mh_thread_pause(&cooks[0].thread, mh_in_ms(10000), NULL) == 0, "Ana did not stop");
    must(mh_thread_pause(&cooks[2].thread, mh_in_ms(10000), NULL) == 0, "Cem did not stop");
    serve(&kitchen, 10), ordered += 10;
    must(meals_of(ben) == before + 10, "Ben did not cook all ten");
    must(mh_thread_resume(&cooks[0].thread) == 0 && mh_thread_resume(&cooks[2].thread) == 0,
         "they did not go on");
    printf("Ben went on, and cooked 10 meals alone while the others had a break.\n");

    must(mh_thread_terminate(&ben->thread) == 0, "Ben could not be sent home");
    must(mh_thread_join(&ben->thread, mh_in_ms(10000), NULL) == 0, "Ben did not go home");
    must(mh_thread_exit_code(&ben->thread, &code) == 0 && code == 1, "Ben left for another reason");
    before = meals_of(ben);
    serve(&kitchen, 30), ordered += 30;
    must(meals_of(ben) == before, "Ben cooked from home");
    printf("Ben was sent home with %d meals; the others cooked 30 more.\n", before);

    mh_channel_close(kitchen.orders, 0);
    for (int i = 0; i < COOKS; i++) {
        must(mh_thread_join(&cooks[i].thread, mh_in_ms(10000), NULL) == 0, "a cook did not end");
        total += cooks[i].meals;
        mh_message_fini(&cooks[i].order);
    }
    mh_channel_destroy(kitchen.orders);
    printf("Closed. Ordered %d, counted %d, cooked by Ana %d + Ben %d + Cem %d.\n", ordered, kitchen.meals,
           cooks[0].meals, cooks[1].meals, cooks[2].meals);
    must(kitchen.meals == ordered && total == ordered, "an order was lost or cooked twice");
    return 0;
}
