/* tests/core/test_channel.c - the channel: order, bounds, growth, closing, the select descriptor, bad memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/shm/channel_view.h"
#include "manyhands/channel.h"
#include "tests/core/harness.h"

static mh_channel *make(uint64_t max_items, uint64_t max_bytes, unsigned flags)
{
    mh_channel *ch = NULL;
    mh_channel_options options = {.max_items = max_items, .max_bytes = max_bytes, .flags = flags};
    CHECK_EQ(mh_channel_create(&options, &ch), 0);
    return ch;
}

static int put_number(mh_channel *ch, uint64_t number, mh_deadline deadline)
{
    mh_part part = {&number, sizeof number};
    return mh_channel_put(ch, &part, 1, (uint32_t) number, deadline, NULL);
}

static uint64_t get_number(mh_channel *ch)
{
    mh_message message = {0};
    uint64_t number;

    CHECK_EQ(mh_channel_get(ch, &message, mh_in_ms(10000), NULL), 0);
    CHECK_EQ(message.size, sizeof number);
    memcpy(&number, message.data, sizeof number);
    CHECK_EQ(message.tag, (uint32_t) number);
    mh_message_fini(&message);
    return number;
}

/* Bytes that only this size and seed give. */
static void fill(unsigned char *data, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++) {
        data[i] = (unsigned char) (seed + i * 131 + (i >> 8));
    }
}

static void put_filled(mh_channel *ch, size_t size, unsigned seed)
{
    unsigned char *data = malloc(size + 1);
    fill(data, size, seed);
    CHECK_EQ(mh_channel_put(ch, &(mh_part){data, size}, 1, seed, mh_in_ms(10000), NULL), 0);
    free(data);
}

static void get_filled(mh_channel *ch, mh_message *message, size_t size, unsigned seed)
{
    unsigned char *data = malloc(size + 1);
    fill(data, size, seed);
    CHECK_EQ(mh_channel_get(ch, message, mh_in_ms(10000), NULL), 0);
    CHECK_EQ(message->size, size);
    CHECK_EQ(message->tag, seed);
    CHECK(memcmp(message->data, data, size) == 0);
    free(data);
}

static void in_and_out(unsigned flags)
{
    mh_channel *ch = make(0, 0, flags);

    for (uint64_t i = 0; i < 1000; i++) {
        CHECK_EQ(put_number(ch, i, MH_AT_ONCE), 0);
    }
    CHECK_EQ(mh_channel_items(ch), 1000);
    CHECK_EQ(mh_channel_bytes(ch), 32 * 1000);
    CHECK_EQ(mh_channel_valid(ch), 0);
    for (uint64_t i = 0; i < 1000; i++) {
        CHECK_EQ(get_number(ch), i);
    }
    CHECK_EQ(mh_channel_items(ch), 0);
    CHECK_EQ(mh_channel_lost(ch), 0);
    mh_channel_destroy(ch);
}

TEST(messages_come_out_in_order_shared)
{
    in_and_out(0);
}
TEST(messages_come_out_in_order_private)
{
    in_and_out(MH_PRIVATE);
}

/* ---- what lies behind messages ---- */

/* In these tests a message is the number of bytes that lie behind it; a tag of 0: none. */
static uint64_t weigh(const void *data, size_t size, uint32_t tag)
{
    uint64_t number = 0;
    CHECK_EQ(size, sizeof number);
    memcpy(&number, data, sizeof number);
    return tag == 0 ? 0 : number;
}

static mh_channel *make_weighed(unsigned flags, uint64_t max_behind)
{
    mh_channel *ch = NULL;
    mh_channel_options options = {.max_bytes = 1 << 16, .flags = flags, .max_behind = max_behind};
    CHECK_EQ(mh_channel_create(&options, &ch), 0);
    mh_channel_set_weigher(ch, weigh);
    return ch;
}

TEST(what_lies_behind_messages_is_limited)
{
    mh_channel *ch = make_weighed(0, 100);

    CHECK_EQ(put_number(ch, 1000, MH_AT_ONCE), 0); /* into an empty one: always */
    CHECK_EQ(put_number(ch, 1, MH_AT_ONCE), -ENOMEM);
    CHECK_EQ(put_number(ch, 0, MH_AT_ONCE), 0); /* nothing is behind it */
    CHECK_EQ(get_number(ch), 1000);
    CHECK_EQ(put_number(ch, 60, MH_AT_ONCE), 0);
    CHECK_EQ(put_number(ch, 40, MH_AT_ONCE), 0);
    CHECK_EQ(put_number(ch, 1, MH_AT_ONCE), -ENOMEM);
    CHECK_EQ(put_number(ch, UINT64_MAX, MH_AT_ONCE), -ENOMEM);
    CHECK_EQ(get_number(ch), 0);
    CHECK_EQ(put_number(ch, 1, MH_AT_ONCE), -ENOMEM);
    CHECK_EQ(get_number(ch), 60);
    CHECK_EQ(put_number(ch, 61, MH_AT_ONCE), -ENOMEM);
    CHECK_EQ(put_number(ch, 60, MH_AT_ONCE), 0);
    mh_channel_destroy(ch);
}

TEST(several_at_once_are_weighed_one_by_one)
{
    mh_channel *ch = make_weighed(MH_CHANNEL_BLOCK, 100);
    uint64_t numbers[] = {50, 50, 1};
    mh_part parts[] = {{&numbers[0], 8}, {&numbers[1], 8}, {&numbers[2], 8}};
    mh_message message = {0};
    size_t done;

    CHECK_EQ(mh_channel_put_many(ch, parts, 3, 7, MH_AT_ONCE, NULL, &done), -ETIMEDOUT);
    CHECK_EQ(done, 2);
    CHECK_EQ(mh_channel_get_many(ch, &message, 10, MH_AT_ONCE, NULL, &done), 0);
    CHECK_EQ(done, 2);
    mh_message_fini(&message);
    CHECK_EQ(mh_channel_put_many(ch, parts, 3, 7, MH_AT_ONCE, NULL, &done), -ETIMEDOUT);
    CHECK_EQ(done, 2);
    mh_channel_destroy(ch);
}

static void get_the_first(void *arg)
{
    CHECK_EQ(get_number(arg), 90);
}

TEST(a_put_waits_until_enough_behind_is_gone)
{
    mh_channel *ch = make_weighed(MH_CHANNEL_BLOCK, 100);

    CHECK_EQ(put_number(ch, 90, MH_AT_ONCE), 0);
    CHECK_EQ(put_number(ch, 20, mh_in_ms(1)), -ETIMEDOUT);
    pid_t child = t_fork(get_the_first, ch);
    CHECK_EQ(put_number(ch, 20, mh_in_ms(20000)), 0);
    CHECK_EQ(t_wait(child, 10), 0);
    CHECK_EQ(get_number(ch), 20);
    mh_channel_destroy(ch);
}

/* A death between the count and the commit leaves the count wrong, either way; never a put that waits for nothing. */
TEST(a_wrong_count_of_what_lies_behind_is_right_again_once_the_channel_was_empty)
{
    const uint64_t wrong[] = {1000, (uint64_t) -1000};

    for (int i = 0; i < 2; i++) {
        mh_channel *ch = make_weighed(0, 100);
        struct mh__ring *ring = ch->view.ring;
        mh_store_rlx(&ring->behind, wrong[i]);
        CHECK_EQ(put_number(ch, 70, MH_AT_ONCE), 0);
        CHECK_EQ(put_number(ch, 31, MH_AT_ONCE), -ENOMEM);
        mh_store_rlx(&ring->behind, wrong[i]);
        CHECK_EQ(put_number(ch, 31, MH_AT_ONCE), i == 0 ? -ENOMEM : 0);
        CHECK_EQ(get_number(ch), 70);
        if (i == 1) {
            CHECK_EQ(get_number(ch), 31);
        }
        CHECK_EQ(put_number(ch, 70, MH_AT_ONCE), 0);
        CHECK_EQ(put_number(ch, 31, MH_AT_ONCE), -ENOMEM);
        CHECK_EQ(put_number(ch, 30, MH_AT_ONCE), 0);
        mh_channel_destroy(ch);
    }
}

TEST(every_size_comes_out_whole)
{
    mh_channel *ch = make(0, 0, 0);
    mh_message message = {0};

    /* sizes around every multiple of the unit, then large; the ring's edge is crossed at every offset
     * meanwhile */
    for (unsigned size = 0; size < 600; size++) {
        put_filled(ch, size, size * 7);
        put_filled(ch, 599 - size, size);
        get_filled(ch, &message, size, size * 7);
        get_filled(ch, &message, 599 - size, size);
    }
    for (size_t size = 1000; size < (8u << 20); size = size * 3 + 1) {
        put_filled(ch, size, 3);
        get_filled(ch, &message, size, 3);
    }
    CHECK_EQ(mh_channel_valid(ch), 0);
    mh_message_fini(&message);
    mh_channel_destroy(ch);
}

TEST(parts_are_joined)
{
    mh_channel *ch = make(0, 0, 0);
    mh_message message = {0};
    mh_part parts[4] = {{"one ", 4}, {NULL, 0}, {"two ", 4}, {"three", 5}};

    CHECK_EQ(mh_channel_put(ch, parts, 4, 9, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_channel_put(ch, NULL, 0, 10, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_channel_get(ch, &message, MH_AT_ONCE, NULL), 0);
    CHECK(message.size == 13 && memcmp(message.data, "one two three", 13) == 0);
    CHECK_EQ(mh_channel_get(ch, &message, MH_AT_ONCE, NULL), 0);
    CHECK(message.size == 0 && message.tag == 10 && message.data != NULL);
    mh_message_fini(&message);
    mh_channel_destroy(ch);
}

TEST(empty_and_full_time_out_at_once_and_later)
{
    mh_channel *ch = make(2, 0, 0);
    mh_message message = {0};
    mh_deadline soon;

    CHECK_EQ(mh_channel_get(ch, &message, MH_AT_ONCE, NULL), -ETIMEDOUT);
    soon = mh_in_ms(30);
    CHECK_EQ(mh_channel_get(ch, &message, soon, NULL), -ETIMEDOUT);
    CHECK(mh_now() >= soon);
    CHECK_EQ(put_number(ch, 1, MH_AT_ONCE), 0);
    CHECK_EQ(put_number(ch, 2, MH_AT_ONCE), 0);
    CHECK_EQ(put_number(ch, 3, MH_AT_ONCE), -ETIMEDOUT);
    soon = mh_in_ms(30);
    CHECK_EQ(put_number(ch, 3, soon), -ETIMEDOUT);
    CHECK(mh_now() >= soon);
    CHECK_EQ(mh_channel_items(ch), 2);
    CHECK_EQ(get_number(ch), 1);
    CHECK_EQ(put_number(ch, 3, MH_AT_ONCE), 0);
    mh_channel_destroy(ch);
}

TEST(the_byte_limit_fails_or_waits)
{
    mh_channel *fails = make(0, 1024, 0), *waits = make(0, 1024, MH_CHANNEL_BLOCK),
               *items = make(100, 1024, 0);
    unsigned char big[1024 - 16 + 1] = {0};
    mh_part part = {big, sizeof big - 1};

    CHECK_EQ(mh_channel_put(fails, &part, 1, 0, MH_AT_ONCE, NULL), 0); /* exactly full */
    CHECK_EQ(put_number(fails, 1, MH_FOREVER), -ENOMEM);
    CHECK_EQ(mh_channel_put(waits, &part, 1, 0, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(put_number(waits, 1, mh_in_ms(5)), -ETIMEDOUT);
    CHECK_EQ(mh_channel_put(items, &part, 1, 0, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(put_number(items, 1, mh_in_ms(5)), -ETIMEDOUT);
    part.size++;
    CHECK_EQ(mh_channel_put(fails, &part, 1, 0, MH_FOREVER, NULL), -EMSGSIZE);
    CHECK_EQ(mh_channel_put(waits, &part, 1, 0, MH_FOREVER, NULL), -EMSGSIZE);
    part.size = (size_t) UINT32_MAX; /* refused by its size; the bytes are never read */
    CHECK_EQ(mh_channel_put(waits, &part, 1, 0, MH_FOREVER, NULL), -EMSGSIZE);
    part.size = SIZE_MAX;
    CHECK_EQ(mh_channel_put(waits, &part, 1, 0, MH_FOREVER, NULL), -EMSGSIZE);
    mh_channel_destroy(fails);
    mh_channel_destroy(waits);
    mh_channel_destroy(items);
}

TEST(unknown_flags_are_refused)
{
    mh_channel *ch = NULL;
    CHECK_EQ(mh_channel_create(&(mh_channel_options){.flags = 64}, &ch), -EINVAL);
    CHECK(ch == NULL);
}

static uint64_t blocks_in_use(int fd)
{
    struct stat st;
    CHECK_EQ(fstat(fd, &st), 0);
    return (uint64_t) st.st_blocks * 512;
}

TEST(the_window_grows_and_gives_memory_back)
{
    mh_channel *ch = make(0, 0, 0);
    mh_message message = {0};
    const unsigned count = 600;

    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < count; i++) { /* the head is in mid-ring when it grows */
            put_filled(ch, 20000 + i, i);
            if (i % 3 == 0) {
                get_filled(ch, &message, 20000 + i / 3, i / 3);
            }
        }
        CHECK_EQ(mh_channel_valid(ch), 0);
        CHECK(blocks_in_use(mh_channel_fd(ch)) > (8u << 20));
        for (unsigned i = count / 3; i < count; i++) {
            get_filled(ch, &message, 20000 + i, i);
        }
        CHECK(blocks_in_use(mh_channel_fd(ch)) <= (4u << 20) + 65536);
    }
    mh_message_fini(&message);
    mh_channel_destroy(ch);
}

TEST(a_private_window_grows_too)
{
    mh_channel *ch = make(0, 0, MH_PRIVATE);
    mh_message message = {0};

    for (unsigned i = 0; i < 300; i++) {
        put_filled(ch, 30000 + i, i);
    }
    for (unsigned i = 0; i < 300; i++) {
        get_filled(ch, &message, 30000 + i, i);
    }
    put_filled(ch, 50, 1); /* and the pages given back are usable */
    get_filled(ch, &message, 50, 1);
    CHECK_EQ(mh_channel_fd(ch), -ENOTSUP);
    mh_message_fini(&message);
    mh_channel_destroy(ch);
}

TEST(many_at_once)
{
    mh_channel *ch = make(70, 0, 0);
    char text[100][8];
    mh_part parts[100];
    mh_message message = {0};
    size_t done = 77, at = 0;
    unsigned seen = 0;

    for (unsigned i = 0; i < 100; i++) {
        parts[i] = (mh_part){text[i], i % 8};
        memset(text[i], (int) i, 8);
    }
    CHECK_EQ(mh_channel_put_many(ch, parts, 100, 5, mh_in_ms(5), NULL, &done), -ETIMEDOUT);
    CHECK_EQ(done, 70);
    CHECK_EQ(mh_channel_get_many(ch, &message, 0, MH_AT_ONCE, NULL, &done), -EINVAL);
    CHECK_EQ(mh_channel_get_many(ch, &message, 60, MH_AT_ONCE, NULL, &done), 0);
    CHECK_EQ(done, 60);
    while (at < message.size) {
        uint32_t item[2];
        memcpy(item, (char *) message.data + at, 8);
        CHECK_EQ(item[0], seen % 8);
        CHECK_EQ(item[1], 5);
        CHECK(memcmp((char *) message.data + at + 8, text[seen], item[0]) == 0);
        at += 8 + (item[0] + 7u) / 8 * 8;
        seen++;
    }
    CHECK_EQ(at, message.size);
    CHECK_EQ(seen, 60);
    CHECK_EQ(mh_channel_get_many(ch, &message, 60, MH_AT_ONCE, NULL, &done), 0);
    CHECK_EQ(done, 10);
    CHECK_EQ(mh_channel_get_many(ch, &message, 60, MH_AT_ONCE, NULL, &done), -ETIMEDOUT);
    CHECK_EQ(done, 0);
    mh_message_fini(&message);
    mh_channel_destroy(ch);
}

TEST(a_large_batch_comes_in_bites)
{
    mh_channel *ch = make(0, 0, 0);
    mh_message message = {0};
    size_t done, sum = 0;

    for (unsigned i = 0; i < 40; i++) {
        put_filled(ch, 100000, i);
    }
    put_filled(ch, 3000000, 1);
    while (sum < 40) {
        CHECK_EQ(mh_channel_get_many(ch, &message, 1000, MH_AT_ONCE, NULL, &done), 0);
        CHECK(done >= 1 && message.size <= (1u << 20));
        sum += done;
    }
    CHECK_EQ(mh_channel_get_many(ch, &message, 1000, MH_AT_ONCE, NULL, &done), 0);
    CHECK(done == 1 && message.size == 3000008);
    mh_message_fini(&message);
    mh_channel_destroy(ch);
}

TEST(close_drains_and_then_says_so)
{
    mh_channel *ch = make(0, 0, 0);
    mh_message message = {0};

    CHECK_EQ(put_number(ch, 1, MH_AT_ONCE), 0);
    CHECK(!mh_channel_is_closed(ch));
    mh_channel_close(ch, 0);
    mh_channel_close(ch, 0);
    CHECK(mh_channel_is_closed(ch));
    CHECK_EQ(put_number(ch, 2, MH_FOREVER), MH_E_CLOSED);
    CHECK_EQ(get_number(ch), 1);
    CHECK_EQ(mh_channel_get(ch, &message, MH_FOREVER, NULL), MH_E_CLOSED);
    mh_channel_destroy(ch);
}

TEST(close_immediately_throws_away)
{
    mh_channel *ch = make(0, 0, 0);
    mh_message message = {0};

    put_filled(ch, 5000000, 1);
    mh_channel_close(ch, 1);
    CHECK_EQ(mh_channel_items(ch), 0);
    CHECK_EQ(mh_channel_get(ch, &message, MH_FOREVER, NULL), MH_E_CLOSED);
    CHECK_EQ(mh_channel_lost(ch), 0);
    CHECK(blocks_in_use(mh_channel_fd(ch)) <= (4u << 20) + 65536);
    mh_channel_destroy(ch);
}

struct waiter {
    mh_channel *ch;
    t_barrier_t *ready;
    MH_ATOMIC(int) tid;
    int rc;
};

static void wait_for_message(void *arg)
{
    struct waiter *waiter = arg;
    mh_message message = {0};
    waiter->tid = gettid();
    waiter->rc = mh_channel_get(waiter->ch, &message, MH_FOREVER, NULL);
    mh_message_fini(&message);
}

static void wait_for_room(void *arg)
{
    struct waiter *waiter = arg;
    waiter->tid = gettid();
    waiter->rc = put_number(waiter->ch, 9, MH_FOREVER);
}

static pthread_t start_waiter(struct waiter *waiter, mh_channel *ch, void (*function)(void *))
{
    pthread_t thread;
    *waiter = (struct waiter){.ch = ch, .rc = 1};
    thread = t_thread(function, waiter);
    CHECK_EVENTUALLY(waiter->tid && t_thread_sleeps(getpid(), waiter->tid));
    return thread;
}

static void close_wakes(unsigned flags)
{
    mh_channel *ch = make(1, 0, flags);
    struct waiter waiter[4];
    pthread_t thread[4];

    for (int i = 0; i < 2; i++) {
        thread[i] = start_waiter(&waiter[i], ch, wait_for_message);
    }
    mh_channel_close(ch, 0);
    for (int i = 0; i < 2; i++) {
        t_join(thread[i], 10);
        CHECK_EQ(waiter[i].rc, MH_E_CLOSED);
    }
    mh_channel_destroy(ch);
    ch = make(1, 0, flags);
    CHECK_EQ(put_number(ch, 1, MH_AT_ONCE), 0);
    for (int i = 0; i < 2; i++) {
        thread[i] = start_waiter(&waiter[i], ch, wait_for_room);
    }
    mh_channel_close(ch, 0);
    for (int i = 0; i < 2; i++) {
        t_join(thread[i], 10);
        CHECK_EQ(waiter[i].rc, MH_E_CLOSED);
    }
    mh_channel_destroy(ch);
}

TEST(close_wakes_all_shared)
{
    close_wakes(0);
}
TEST(close_wakes_all_private)
{
    close_wakes(MH_PRIVATE);
}

/* One put wakes one; a burst of puts that wakes only the first sleeper still reaches all: each passes the
 * wake on. */
TEST(a_burst_reaches_every_sleeper)
{
    mh_channel *ch = make(0, 0, MH_PRIVATE); /* no slices that would hide a lost wake */
    struct waiter waiter[4];
    pthread_t thread[4];
    uint64_t number[4] = {1, 2, 3, 4};
    mh_part parts[4];
    size_t done;

    for (int i = 0; i < 4; i++) {
        thread[i] = start_waiter(&waiter[i], ch, wait_for_message);
        parts[i] = (mh_part){&number[i], 8};
    }
    CHECK_EQ(mh_channel_put_many(ch, parts, 4, 0, MH_AT_ONCE, NULL, &done), 0);
    for (int i = 0; i < 4; i++) {
        t_join(thread[i], 10);
        CHECK_EQ(waiter[i].rc, 0);
    }
    mh_channel_destroy(ch);
}

TEST(room_reaches_every_sleeper)
{
    mh_channel *ch = make(4, 0, MH_PRIVATE);
    struct waiter waiter[4];
    pthread_t thread[4];
    mh_message message = {0};
    size_t done;

    for (int i = 0; i < 4; i++) {
        CHECK_EQ(put_number(ch, 1, MH_AT_ONCE), 0);
    }
    for (int i = 0; i < 4; i++) {
        thread[i] = start_waiter(&waiter[i], ch, wait_for_room);
    }
    CHECK_EQ(mh_channel_get_many(ch, &message, 4, MH_AT_ONCE, NULL, &done), 0);
    for (int i = 0; i < 4; i++) {
        t_join(thread[i], 10);
        CHECK_EQ(waiter[i].rc, 0);
    }
    CHECK_EQ(mh_channel_items(ch), 4);
    mh_message_fini(&message);
    mh_channel_destroy(ch);
}

static int readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

static void select_levels(unsigned flags)
{
    mh_channel *ch = make(0, 0, flags);
    mh_message message = {0};
    int fd;

    CHECK_EQ(put_number(ch, 1, MH_AT_ONCE), 0); /* before anybody selects */
    fd = mh_channel_select_fd(ch);
    CHECK(fd >= 0);
    CHECK(readable(fd));
    CHECK_EQ(mh_channel_select_fd(ch), fd);
    CHECK_EQ(get_number(ch), 1);
    CHECK(!readable(fd));
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 10; i++) {
            CHECK_EQ(put_number(ch, i, MH_AT_ONCE), 0);
            CHECK(readable(fd));
        }
        for (uint64_t i = 0; i < 10; i++) {
            CHECK(readable(fd));
            CHECK_EQ(get_number(ch), i);
        }
        CHECK(!readable(fd));
    }
    CHECK_EQ(mh_channel_get(ch, &message, MH_AT_ONCE, NULL), -ETIMEDOUT);
    mh_channel_close(ch, 0);
    CHECK(readable(fd));
    CHECK_EQ(mh_channel_get(ch, &message, MH_AT_ONCE, NULL), MH_E_CLOSED);
    CHECK(readable(fd));
    mh_channel_destroy(ch);
}

TEST(select_is_level_triggered_shared)
{
    select_levels(0);
}
TEST(select_is_level_triggered_private)
{
    select_levels(MH_PRIVATE);
}

TEST(select_on_an_empty_channel)
{
    mh_channel *ch = make(0, 0, 0);
    int fd = mh_channel_select_fd(ch);
    CHECK(!readable(fd));
    mh_channel_close(ch, 1);
    CHECK(readable(fd));
    mh_channel_destroy(ch);
}

struct attached {
    mh_channel *ch;
    int fd, select_fd;
};

static void attach_and_echo(void *arg)
{
    struct attached *from = arg;
    mh_channel *ch = NULL;

    CHECK_EQ(mh_channel_attach2(from->fd, from->select_fd, &ch), 0);
    CHECK(ch != from->ch);
    CHECK_EQ(get_number(ch), 41);
    CHECK_EQ(put_number(ch, 42, MH_AT_ONCE), 0);
    mh_channel_destroy(ch);
}

TEST(another_process_attaches_by_descriptor)
{
    mh_channel *ch = make(7, 0, 0), *own = NULL;
    struct attached from = {ch, mh_channel_fd(ch), mh_channel_select_fd(ch)};

    CHECK_EQ(put_number(ch, 41, MH_AT_ONCE), 0);
    CHECK_EQ(t_wait(t_fork(attach_and_echo, &from), 10), 0);
    CHECK(readable(from.select_fd)); /* the other process rang */
    CHECK_EQ(mh_channel_attach(from.fd, &own), 0);
    CHECK_EQ(mh_channel_select_fd(own), -ENOTSUP);
    CHECK_EQ(get_number(own), 42);
    for (uint64_t i = 0; i < 7; i++) {
        CHECK_EQ(put_number(own, i, MH_AT_ONCE), 0); /* limits travel in the header */
    }
    CHECK_EQ(put_number(own, 8, MH_AT_ONCE), -ETIMEDOUT);
    mh_channel_destroy(own);
    mh_channel_destroy(ch);
}

/* ---- memory that cannot be right
 * ----------------------------------------------------------------------------- */

static struct mh__ring *ring_of(mh_channel *ch)
{
    /* the mapping is the channel's own: `struct mh_channel` begins with the view, the view with the ring */
    return ((struct mh__view *) (void *) ch)->ring;
}

TEST(an_attach_refuses_what_is_not_a_channel)
{
    mh_channel *out = NULL, *ch = make(0, 0, 0);
    struct mh__ring *ring = ring_of(ch), good = *ring;
    int fd = mh_channel_fd(ch), file = memfd_create("not a channel", 0);

    CHECK_EQ(mh_channel_attach(-1, &out), -EBADF);
    CHECK_EQ(ftruncate(file, 100000), 0);
    CHECK(mh_channel_attach(file, &out) < 0);
    ring->magic ^= 1;
    CHECK_EQ(mh_channel_attach(fd, &out), MH_E_CORRUPT);
    *ring = good;
    ring->layout++;
    CHECK_EQ(mh_channel_attach(fd, &out), MH_E_LAYOUT);
    *ring = good;
    ring->most *= 2;
    CHECK_EQ(mh_channel_attach(fd, &out), MH_E_CORRUPT);
    *ring = good;
    ring->limit = ring->most + 1;
    CHECK_EQ(mh_channel_attach(fd, &out), MH_E_CORRUPT);
    *ring = good;
    ring->window = 12345;
    CHECK_EQ(mh_channel_attach(fd, &out), MH_E_CORRUPT);
    *ring = good;
    ring->flags |= MH_PRIVATE;
    CHECK_EQ(mh_channel_attach(fd, &out), MH_E_CORRUPT);
    *ring = good;
    ring->tail = 1; /* a unit in use, but no record */
    CHECK_EQ(mh_channel_attach(fd, &out), MH_E_CORRUPT);
    *ring = good;
    CHECK(out == NULL);
    CHECK_EQ(mh_channel_attach(fd, &out), 0);
    mh_channel_destroy(out);
    mh_channel_destroy(ch);
    close(file);
}

/* Any one word of a header or a record overwritten: an error or a wrong message, never a crash or a hang. */
TEST_LIMIT(any_scribble_is_survived, 60)
{
    static const uint32_t bad[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x1001};
    mh_message message = {0};
    unsigned refused = 0, tried = 0;

    for (size_t at = 0; at < 64 + sizeof(struct mh__ring); at += 4) {
        for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
            mh_channel *ch = make(0, 1 << 20, 0);
            struct mh__ring *ring = ring_of(ch);
            size_t lock_tail = offsetof(struct mh__ring, tail_lock),
                   lock_head = offsetof(struct mh__ring, head_lock);
            unsigned char *target = (unsigned char *) ring + at;
            int rc;

            put_filled(ch, 40, 1);
            put_filled(ch, 40, 2);
            if (at >= sizeof *ring) {
                target = (unsigned char *) ring + 4096 + (at - sizeof *ring);
            } else if ((at >= lock_tail && at < lock_tail + sizeof(mh_lock)) ||
                       (at >= lock_head && at < lock_head + sizeof(mh_lock))) {
                mh_channel_destroy(ch); /* a lock word that says "held by a living process" is believed */
                continue;
            }
            memcpy(target, &bad[b], 4);
            tried++;
            rc = mh_channel_valid(ch);
            refused += rc == MH_E_CORRUPT;
            for (int i = 0; i < 3; i++) {
                rc = mh_channel_get(ch, &message, MH_AT_ONCE, NULL);
                CHECK(rc == 0 || rc == -ETIMEDOUT || rc == MH_E_CORRUPT || rc == MH_E_CLOSED);
                rc = put_number(ch, 5, MH_AT_ONCE);
                CHECK(rc == 0 || rc == -ENOMEM || rc == MH_E_CORRUPT || rc == MH_E_CLOSED);
            }
            mh_channel_destroy(ch);
        }
    }
    CHECK(tried > 400);
    CHECK(refused >= 40); /* what is checked is seen: the window, the cursors, the records */
    mh_message_fini(&message);
}

TEST(a_message_that_was_written_over_is_not_delivered)
{
    mh_channel *ch = make(0, 0, 0);
    mh_message message = {0};
    struct mh__record *record = (struct mh__record *) (void *) ((char *) ring_of(ch) + 4096);

    put_filled(ch, 40, 1);
    record->size = 39;
    CHECK_EQ(mh_channel_valid(ch), MH_E_CORRUPT);
    CHECK_EQ(mh_channel_get(ch, &message, MH_FOREVER, NULL), MH_E_CORRUPT);
    record->size = 40;
    get_filled(ch, &message, 40, 1);
    mh_message_fini(&message);
    mh_channel_destroy(ch);
}

TEST(a_cancel_ends_the_wait)
{
    mh_channel *ch = make(1, 0, 0);
    mh_message message = {0};
    mh_cancel cancel = {0};

    mh_cancel_request(&cancel);
    CHECK_EQ(mh_channel_get(ch, &message, MH_FOREVER, &cancel), -ECANCELED);
    CHECK_EQ(put_number(ch, 1, MH_AT_ONCE), 0);
    CHECK_EQ(mh_channel_put(ch, NULL, 0, 0, MH_FOREVER, &cancel), -ECANCELED);
    CHECK_EQ(mh_channel_get(ch, &message, MH_FOREVER, &cancel), 0); /* what needs no wait is not cancelled */
    mh_message_fini(&message);
    mh_channel_destroy(ch);
}

TEST(poll_takes_nothing_and_outside_is_for_good)
{
    mh_channel *ch = NULL, *other = NULL;
    mh_message message = {0};

    CHECK_EQ(mh_channel_create(&(mh_channel_options){0}, &ch), 0);
    CHECK_EQ(mh_channel_poll(ch, MH_AT_ONCE, NULL), -ETIMEDOUT);
    CHECK_EQ(mh_channel_poll(ch, mh_in_ms(10), NULL), -ETIMEDOUT);
    CHECK_EQ(mh_channel_put(ch, &(mh_part){"m", 1}, 1, 0, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_channel_poll(ch, MH_FOREVER, NULL), 0);
    CHECK_EQ(mh_channel_items(ch), 1);
    CHECK_EQ(mh_channel_attach(mh_channel_fd(ch), &other), 0);
    CHECK(!mh_channel_is_outside(ch) && !mh_channel_is_outside(other));
    mh_channel_share_outside(other);
    CHECK(mh_channel_is_outside(ch));
    CHECK_EQ(mh_channel_get(ch, &message, MH_AT_ONCE, NULL), 0);
    mh_channel_close(ch, 0);
    CHECK_EQ(mh_channel_poll(ch, MH_FOREVER, NULL), 0); /* the end is something to be told of */
    mh_message_fini(&message);
    mh_channel_destroy(other);
    mh_channel_destroy(ch);
}
