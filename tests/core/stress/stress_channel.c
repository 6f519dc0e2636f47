/* tests/core/stress/stress_channel.c - many producers and consumers at once: nothing lost, doubled, changed
 * or out of order, also while producers and consumers are killed at random. T_STRESS=n runs n times as long.
 *
 * First of all the checker itself is shown a channel that loses, doubles, swaps and changes messages.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/os/atomic.h"
#include "manyhands/channel.h"
#include "manyhands/pipe.h"
#include "tests/core/harness.h"

#define PRODUCERS 4
#define CONSUMERS 4
#define MOST 200000 /* messages of one producer */

/* ---- the checker
 * -------------------------------------------------------------------------------------------- */

struct checker { /* in shared memory */
    MH_ATOMIC(uint8_t) seen[PRODUCERS][MOST];
    MH_ATOMIC(uint64_t) received;
    MH_ATOMIC(uint32_t) doubled, changed, disorder;
};

struct order { /* of one consumer */
    uint32_t next[PRODUCERS];
};

struct head { /* of each message */
    uint32_t producer, number;
};

static uint32_t size_of(struct head head)
{
    uint32_t mix = (head.number * 2654435761u ^ head.producer * 40503u) >> 8;
    uint32_t most = mix % 512 == 0 ? 70000 : mix % 16 == 0 ? 3000 : 100;
    return (uint32_t) sizeof head + mix % most;
}

static unsigned char byte_of(struct head head)
{
    return (unsigned char) (head.number * 31 + head.producer * 7 + 1);
}

static void note(struct checker *checker, struct order *order, const void *data, size_t size)
{
    struct head head = {UINT32_MAX, 0};

    memcpy(&head, data, size < sizeof head ? size : sizeof head);
    (void) mh_add_rlx(&checker->received, 1);
    if (head.producer >= PRODUCERS || head.number >= MOST || size != size_of(head)) {
        (void) mh_add_rlx(&checker->changed, 1);
        return;
    }
    for (size_t i = sizeof head; i < size; i++) {
        if (((const unsigned char *) data)[i] != byte_of(head)) {
            (void) mh_add_rlx(&checker->changed, 1);
            break;
        }
    }
    if (mh_add_rlx(&checker->seen[head.producer][head.number], 1) != 0) {
        (void) mh_add_rlx(&checker->doubled, 1);
    }
    if (head.number < order->next[head.producer]) {
        (void) mh_add_rlx(&checker->disorder, 1);
    }
    order->next[head.producer] = head.number + 1;
}

/* Of the first `count` messages of a producer, how many never came. */
static uint32_t missing(const struct checker *checker, uint32_t producer, uint32_t count)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += mh_load_rlx(&checker->seen[producer][i]) == 0;
    }
    return sum;
}

static int is_clean(const struct checker *checker)
{
    return mh_load_rlx(&checker->doubled) == 0 && mh_load_rlx(&checker->changed) == 0 &&
           mh_load_rlx(&checker->disorder) == 0;
}

static size_t build(unsigned char *data, uint32_t producer, uint32_t number)
{
    struct head head = {producer, number};
    memcpy(data, &head, sizeof head);
    memset(data + sizeof head, byte_of(head), size_of(head) - sizeof head);
    return size_of(head);
}

TEST(the_checker_sees_what_a_broken_channel_does)
{
    enum { WHOLE, LOSES, DOUBLES, SWAPS, CHANGES, SHORTENS, FAULTS };
    static unsigned char data[80000];

    for (int fault = WHOLE; fault < FAULTS; fault++) {
        struct checker *checker = t_shared(sizeof *checker);
        struct order order = {{0}};

        for (uint32_t i = 0; i < 1000; i++) {
            uint32_t number = fault == SWAPS && (i == 500 || i == 501) ? 1001 - i : i;
            size_t size = build(data, 1, number);

            if (fault == LOSES && i == 500) {
                continue;
            }
            data[size - 1] ^= fault == CHANGES && i == 500;
            note(checker, &order, data, size - (fault == SHORTENS && i == 500));
            if (fault == DOUBLES && i == 500) {
                note(checker, &order, data, size);
            }
        }
        CHECK_EQ(is_clean(checker) && missing(checker, 1, 1000) == 0, fault == WHOLE);
        CHECK_EQ(missing(checker, 1, 1000) != 0, fault == LOSES || fault == SHORTENS);
        CHECK_EQ(mh_load_rlx(&checker->doubled) != 0, fault == DOUBLES);
        CHECK_EQ(mh_load_rlx(&checker->disorder) != 0, fault == SWAPS || fault == DOUBLES);
        CHECK_EQ(mh_load_rlx(&checker->changed) != 0, fault == CHANGES || fault == SHORTENS);
    }
}

/* ---- many producers, many consumers
 * --------------------------------------------------------------------------- */

struct part {
    mh_channel *ch;
    struct checker *checker;
    uint32_t producer, count;
    size_t batch;              /* messages per call; 0: one by one, by the calls for one */
    MH_ATOMIC(uint32_t) *sent; /* shared: how many calls have returned */
    int select;
};

static void produce(void *arg)
{
    struct part *part = arg;
    size_t each = part->batch ? part->batch : 1;
    unsigned char *data = malloc(each * 80000);
    mh_part *parts = malloc(each * sizeof *parts);

    for (uint32_t i = 0; i < part->count; i += (uint32_t) each) {
        size_t done = 0, some = each < part->count - i ? each : part->count - i;
        for (size_t n = 0; n < some; n++) {
            parts[n].data = data + n * 80000;
            parts[n].size = build(data + n * 80000, part->producer, i + (uint32_t) n);
        }
        if (part->batch) {
            CHECK_EQ(mh_channel_put_many(part->ch, parts, some, 0, MH_FOREVER, NULL, &done), 0);
            CHECK_EQ(done, some);
        } else {
            CHECK_EQ(mh_channel_put(part->ch, parts, 1, 0, MH_FOREVER, NULL), 0);
        }
        mh_store_rel(part->sent, i + (uint32_t) some);
    }
    free(data);
    free(parts);
}

static void note_batch(struct part *part, struct order *order, const mh_message *message)
{
    for (size_t at = 0; at < message->size;) {
        uint32_t item[2];
        memcpy(item, (char *) message->data + at, sizeof item);
        note(part->checker, order, (char *) message->data + at + sizeof item, item[0]);
        at += sizeof item + ((size_t) item[0] + 7) / 8 * 8;
    }
}

static void consume(void *arg)
{
    struct part *part = arg;
    struct order order = {{0}};
    mh_message message = {0};
    int fd = part->select ? mh_channel_select_fd(part->ch) : -1;

    for (;;) {
        mh_deadline deadline = part->select ? MH_AT_ONCE : MH_FOREVER;
        size_t done;
        int rc = part->batch ? mh_channel_get_many(part->ch, &message, part->batch, deadline, NULL, &done)
                             : mh_channel_get(part->ch, &message, deadline, NULL);
        if (rc == MH_E_CLOSED) {
            break;
        }
        if (part->select && rc == -ETIMEDOUT) {
            struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
            CHECK_EQ(poll(&poll_fd, 1, 15000), 1); /* the bell, or the test is over */
            continue;
        }
        CHECK_EQ(rc, 0);
        if (part->batch) {
            note_batch(part, &order, &message);
        } else {
            note(part->checker, &order, message.data, message.size);
        }
    }
    mh_message_fini(&message);
}

static uint32_t scaled(uint32_t count)
{
    const char *factor = getenv("T_STRESS");
    uint64_t many = (uint64_t) count * (factor ? strtoull(factor, NULL, 10) : 1) / (uint64_t) t_scale();
    return many > MOST ? MOST : many == 0 ? count : (uint32_t) many;
}

struct shape {
    mh_channel_options options;
    unsigned producers, consumers;
    size_t batch;
    uint32_t count;
    int select;
};

/* In processes, or in threads of this one where the channel is private. */
static void run(struct shape shape)
{
    struct checker *checker = t_shared(sizeof *checker);
    MH_ATOMIC(uint32_t) *sent = t_shared(PRODUCERS * sizeof *sent);
    struct part part[PRODUCERS + CONSUMERS];
    pthread_t thread[PRODUCERS + CONSUMERS];
    pid_t child[PRODUCERS + CONSUMERS];
    int private = (shape.options.flags & MH_PRIVATE) != 0;
    mh_channel *ch = NULL;

    shape.count = scaled(shape.count);
    CHECK_EQ(mh_channel_create(&shape.options, &ch), 0);
    for (unsigned i = 0; i < shape.producers + shape.consumers; i++) {
        int produces = i < shape.producers;
        part[i] =
            (struct part){ch, checker, i, shape.count, shape.batch, produces ? &sent[i] : NULL, shape.select};
        if (private) {
            thread[i] = t_thread(produces ? produce : consume, &part[i]);
        } else {
            child[i] = t_fork(produces ? produce : consume, &part[i]);
        }
    }
    for (unsigned i = 0; i < shape.producers + shape.consumers; i++) {
        if (i == shape.producers) {
            mh_channel_close(ch, 0);
        }
        if (private) {
            t_join(thread[i], 60);
        } else {
            CHECK_EQ(t_wait(child[i], 60), 0);
        }
    }
    CHECK(is_clean(checker));
    for (uint32_t i = 0; i < shape.producers; i++) {
        CHECK_EQ(missing(checker, i, shape.count), 0);
    }
    CHECK_EQ(mh_load_rlx(&checker->received), (uint64_t) shape.producers * shape.count);
    CHECK_EQ(mh_channel_items(ch), 0);
    CHECK_EQ(mh_channel_valid(ch), 0);
    CHECK_EQ(mh_channel_lost(ch), 0);
    mh_channel_destroy(ch);
}

TEST_LIMIT(one_to_one, 60)
{
    run((struct shape){{0}, 1, 1, 0, 40000, 0});
}

TEST_LIMIT(two_to_two, 60)
{
    run((struct shape){{0}, 2, 2, 0, 8000, 0});
}

TEST_LIMIT(four_to_two_with_few_places, 60)
{
    run((struct shape){{.max_items = 3}, 4, 2, 0, 1500, 0});
}

TEST_LIMIT(two_to_four_in_batches, 60)
{
    run((struct shape){{0}, 2, 4, 17, 10000, 0});
}

TEST_LIMIT(four_to_four_short_of_bytes, 60)
{
    run((struct shape){{.max_bytes = 100000, .flags = MH_CHANNEL_BLOCK}, 4, 4, 0, 2000, 0});
}

TEST_LIMIT(batches_with_few_places, 60)
{
    run((struct shape){{.max_items = 5}, 2, 2, 11, 3000, 0});
}

TEST_LIMIT(selecting_consumers, 60)
{
    run((struct shape){{0}, 2, 2, 0, 4000, 1});
}

TEST_LIMIT(threads_two_to_two, 60)
{
    run((struct shape){{.flags = MH_PRIVATE}, 2, 2, 0, 8000, 0});
}

TEST_LIMIT(threads_with_few_places, 60)
{
    run((struct shape){{.max_items = 2, .flags = MH_PRIVATE}, 4, 4, 0, 1500, 0});
}

TEST_LIMIT(threads_in_batches_short_of_bytes, 60)
{
    run((struct shape){{.max_bytes = 160000, .flags = MH_PRIVATE | MH_CHANNEL_BLOCK}, 2, 2, 7, 3000, 0});
}

TEST_LIMIT(threads_that_select, 60)
{
    run((struct shape){{.flags = MH_PRIVATE}, 2, 2, 0, 4000, 1});
}

/* ---- with deaths
 * ---------------------------------------------------------------------------------------------- */

/* Every producer is killed at a random moment. What came of each is a beginning of what it was to send, with
 * nothing missing that its puts had returned for. */
TEST_LIMIT(producers_are_killed, 60)
{
    const uint32_t rounds = scaled(25);
    unsigned seed = 12345;

    for (uint32_t round = 0; round < rounds; round++) {
        struct checker *checker = t_shared(sizeof *checker);
        MH_ATOMIC(uint32_t) *sent = t_shared(PRODUCERS * sizeof *sent);
        struct part part[PRODUCERS + 1];
        pid_t child[PRODUCERS + 1];
        mh_channel *ch = NULL;

        CHECK_EQ(mh_channel_create(&(mh_channel_options){.max_items = round % 2 ? 8 : 0}, &ch), 0);
        for (unsigned i = 0; i <= 2; i++) {
            part[i] = (struct part){ch, checker, i, MOST, round % 3, &sent[i], 0};
            child[i] = t_fork(i < 2 ? produce : consume, &part[i]);
        }
        for (unsigned i = 0; i < 2; i++) {
            t_nap((double) (rand_r(&seed) % 4000) * 1e-6);
            t_kill(child[i]);
        }
        mh_channel_close(ch, 0);
        CHECK_EQ(t_wait(child[2], 20), 0);
        CHECK(is_clean(checker));
        for (unsigned i = 0; i < 2; i++) {
            uint32_t returned = mh_load_acq(&sent[i]), end = returned;
            CHECK_EQ(missing(checker, i, returned), 0);
            while (end < MOST && mh_load_rlx(&checker->seen[i][end])) {
                end++;
            }
            CHECK(end - returned <= (part[i].batch ? part[i].batch : 1)); /* the put that it died in */
        }
        CHECK_EQ(mh_channel_valid(ch), 0);
        mh_channel_destroy(ch);
        (void) munmap(checker, sizeof *checker);
    }
}

/* Consumers are killed at random moments while others go on: each takes at most the one message with it that
 * it had in hand, and the channel's own count is part of that. */
TEST_LIMIT(consumers_are_killed, 60)
{
    const uint32_t kills = scaled(40), count = 100000;
    struct checker *checker = t_shared(sizeof *checker);
    MH_ATOMIC(uint32_t) *sent = t_shared(sizeof *sent);
    struct part part;
    pid_t producer, survivor;
    unsigned seed = 99;
    mh_channel *ch = NULL;
    uint32_t gone;

    CHECK_EQ(mh_channel_create(&(mh_channel_options){.max_items = 64}, &ch), 0);
    part = (struct part){ch, checker, 0, count, 0, sent, 0};
    producer = t_fork(produce, &part);
    for (uint32_t i = 0; i < kills; i++) {
        pid_t consumer = t_fork(consume, &part);
        t_nap((double) (rand_r(&seed) % 3000) * 1e-6);
        t_kill(consumer);
    }
    survivor = t_fork(consume, &part);
    CHECK_EQ(t_wait(producer, 50), 0);
    mh_channel_close(ch, 0);
    CHECK_EQ(t_wait(survivor, 20), 0);
    CHECK_EQ(mh_load_rlx(&checker->doubled), 0);
    CHECK_EQ(mh_load_rlx(&checker->changed), 0);
    gone = missing(checker, 0, count);
    CHECK(gone <= kills);
    CHECK(mh_channel_lost(ch) <= gone);
    CHECK_EQ(mh_channel_valid(ch), 0);
    mh_channel_destroy(ch);
}

/* ---- pipe
 * ----------------------------------------------------------------------------------------------------- */

struct talker {
    mh_pipe *end;
    struct checker *checker;
    uint32_t producer, count;
};

static void talk(void *arg)
{
    struct talker *talker = arg;
    unsigned char *data = malloc(3000000);

    for (uint32_t i = 0; i < talker->count; i++) {
        mh_part parts[2] = {{data, build(data, talker->producer, i)}, {data, 0}};
        if (i % 64 == talker->producer) { /* a large one: the same, and then zeros */
            memset(data + parts[0].size, 0, 1500000);
            parts[1] = (mh_part){data + parts[0].size, 1500000};
        }
        CHECK_EQ(mh_pipe_send(talker->end, parts, 2, (uint32_t) parts[0].size, MH_FOREVER, NULL), 0);
    }
    free(data);
}

static void listen_to(mh_pipe *end, struct checker *checker, uint64_t count)
{
    struct order order = {{0}};
    mh_message message = {0};

    for (uint64_t i = 0; i < count; i++) {
        CHECK_EQ(mh_pipe_receive(end, &message, MH_FOREVER, NULL), 0);
        CHECK(message.size == message.tag || message.size == message.tag + (size_t) 1500000);
        note(checker, &order, message.data, message.tag);
    }
    mh_message_fini(&message);
}

/* Two processes with two threads' worth of senders each, in both directions at once. */
static void other_side(void *arg)
{
    struct talker *talker = arg;
    pthread_t thread = t_thread(talk, talker);
    listen_to(talker->end, talker->checker, 2 * (uint64_t) talker->count);
    t_join(thread, 60);
}

TEST_LIMIT(a_pipe_with_several_senders, 60)
{
    struct checker *checker = t_shared(sizeof *checker);
    uint32_t count = scaled(600);
    struct talker talker[3];
    pthread_t thread[2];
    mh_pipe *ends[2];
    pid_t child;

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    for (uint32_t i = 0; i < 3; i++) {
        talker[i] = (struct talker){ends[i == 2], checker, i, count};
    }
    child = t_fork(other_side, &talker[2]);
    for (uint32_t i = 0; i < 2; i++) {
        thread[i] = t_thread(talk, &talker[i]);
    }
    listen_to(ends[0], checker, count);
    for (uint32_t i = 0; i < 2; i++) {
        t_join(thread[i], 60);
    }
    CHECK_EQ(t_wait(child, 60), 0);
    CHECK(is_clean(checker));
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(missing(checker, i, count), 0);
    }
    CHECK_EQ(mh_pipe_valid(ends[0]), 0);
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
}
