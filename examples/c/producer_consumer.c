/* Producers that are faster than the consumers: a bounded queue holds them back.
 *
 * Three producers put numbers into a queue that has room for four; two consumers take them and are slow about
 * it. A full queue lets a producer wait, so memory stays bounded whatever the speeds are. The last producer
 * closes the queue; the consumers empty it and learn that no more will come. The last line says whether each
 * number came out exactly once.
 *
 * Build: cc producer_consumer.c $(pkg-config --cflags --libs manyhands)
 */
#include <errno.h>
#include <manyhands/manyhands.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PRODUCERS = 3, CONSUMERS = 2, EACH = 100, ROOM = 4 };

static void must(int held, const char *what)
{
    if (!held) {
        fprintf(stderr, "WRONG: %s\n", what);
        exit(1);
    }
}

struct works {
    mh_channel *belt;
    mh_number producing; /* how many producers are not done */
    mh_number held_back; /* how often one found the belt full */
};

struct producer { /* ours first in theirs */
    mh_thread thread;
    struct works *works;
    int first;
};

struct consumer {
    mh_thread thread;
    struct works *works;
    uint64_t most;                        /* numbers that waited when it looked */
    unsigned char seen[PRODUCERS * EACH]; /* by this consumer */
};

static int produce(mh_thread *self)
{
    struct producer *me = (struct producer *) self;
    int64_t left;
    for (int i = me->first; i < me->first + EACH; i++) {
        mh_part number = {&i, sizeof i};
        int rc = mh_channel_put(me->works->belt, &number, 1, 0, MH_AT_ONCE, NULL);
        if (rc == -ETIMEDOUT) { /* full: wait for room, but not for ever */
            must(mh_number_add(&me->works->held_back, 1, NULL) == 0, "the count is full");
            rc = mh_channel_put(me->works->belt, &number, 1, 0, mh_in_ms(10000), NULL);
        }
        must(rc == 0, "a number did not get onto the belt");
    }
    must(mh_number_add(&me->works->producing, -1, &left) == 0, "the count is wrong");
    if (left == 0) { /* exactly one of them sees that */
        mh_channel_close(me->works->belt, 0);
    }
    return 0;
}

static int consume(mh_thread *self)
{
    static const struct timespec work = {.tv_nsec = 200000};
    struct consumer *me = (struct consumer *) self;
    int number, rc;
    mh_message message = {.data = &number, .room = sizeof number}; /* ours, so that nothing is allocated */
    while ((rc = mh_channel_get(me->works->belt, &message, mh_in_ms(10000), NULL)) == 0) {
        uint64_t waiting = mh_channel_items(me->works->belt);
        me->most = waiting > me->most ? waiting : me->most;
        must(message.size == sizeof number && number >= 0 && number < PRODUCERS * EACH, "what is that?");
        me->seen[number]++;
        nanosleep(&work, NULL);
    }
    must(rc == MH_E_CLOSED, "the belt stood still");
    return 0;
}

int main(void)
{
    struct works works = {.belt = NULL};
    struct producer producers[PRODUCERS] = {0};
    static struct consumer consumers[CONSUMERS];
    int missing = 0, doubled = 0;

    mh_number_init(&works.producing, PRODUCERS, MH_PRIVATE);
    mh_number_init(&works.held_back, 0, MH_PRIVATE);
    must(mh_channel_create(&(mh_channel_options){.max_items = ROOM, .flags = MH_PRIVATE}, &works.belt) == 0,
         "no belt");
    for (int i = 0; i < CONSUMERS; i++) {
        consumers[i] = (struct consumer){.thread = {.run = consume}, .works = &works};
        must(mh_thread_start(&consumers[i].thread) == 0, "a consumer did not start");
    }
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){.thread = {.run = produce}, .works = &works, .first = i * EACH};
        must(mh_thread_start(&producers[i].thread) == 0, "a producer did not start");
    }
    for (int i = 0; i < PRODUCERS; i++) {
        must(mh_thread_join(&producers[i].thread, mh_in_ms(10000), NULL) == 0, "a producer did not end");
    }
    for (int i = 0; i < CONSUMERS; i++) {
        must(mh_thread_join(&consumers[i].thread, mh_in_ms(10000), NULL) == 0, "a consumer did not end");
        must(consumers[i].most <= ROOM, "more was on the belt than it has room for");
    }
    for (int number = 0; number < PRODUCERS * EACH; number++) {
        int times = consumers[0].seen[number] + consumers[1].seen[number];
        missing += times == 0;
        doubled += times > 1;
    }
    mh_channel_destroy(works.belt);
    printf("The belt has room for %d; a producer found it full %d times.\n", ROOM,
           (int) mh_number_get(&works.held_back));
    printf("%d numbers: %d missing, %d came twice.\n", PRODUCERS * EACH, missing, doubled);
    must(missing == 0 && doubled == 0, "a number was lost or came twice");
    return 0;
}
