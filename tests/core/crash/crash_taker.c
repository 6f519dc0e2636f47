/* tests/core/crash/crash_taker.c - a consumer, and a producer, is killed at every trace point with messages that carry
 * blocks. Each message comes to one process or went with the dead one; no block is left that nobody has; and what lies
 * behind messages is counted so that as many fit afterwards as before. */
#include "tests/core/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "arena_check.h"
#include "core/debug/trace.h"
#include "crash_die.h"
#include "manyhands/arena.h"
#include "manyhands/channel.h"
#include "manyhands/pipe.h"

#define SENT 4
#define BEHIND 5000 /* bytes in the block of a message; as many blocks as messages fit behind */

static mh_arena *arena;
static struct diary {
    uint64_t target;
    uint32_t seen[SENT]; /* messages that a get returned, whole */
    int behind;          /* somebody died right behind the taker, or the count */
} *diary;

static void die_at(const char *name, uint64_t number, void *arg)
{
    (void) arg;
    if (number == diary->target) {
        diary->behind |= strstr(name, "taken.behind") != NULL || strstr(name, "weighed") != NULL;
        crash_die(name);
    }
}

/* The parcel becomes a block, or 0. */
static void take(void *data, size_t size, uint32_t tag)
{
    uint64_t parcel;
    mh_block block = 0;
    (void) tag;
    CHECK_EQ(size, sizeof parcel);
    memcpy(&parcel, data, sizeof parcel);
    parcel = mh_block_out_of_message(arena, parcel, &block) == 0 ? block : 0;
    memcpy(data, &parcel, sizeof parcel);
}

static uint64_t weigh(const void *data, size_t size, uint32_t tag)
{
    (void) data;
    (void) tag;
    CHECK_EQ(size, sizeof(uint64_t));
    return BEHIND;
}

static mh_parcel parcel_of(uint32_t i)
{
    mh_block block;
    mh_parcel parcel;
    CHECK_EQ(mh_block_alloc(arena, BEHIND, &block), 0);
    memset(mh_block_at(arena, block), 'a' + (int) i, BEHIND);
    CHECK_EQ(mh_block_in_message(arena, block, 0, &parcel), 0);
    mh_block_drop(arena, block);
    return parcel;
}

static void note(const mh_message *message, const char *data)
{
    mh_block block;
    memcpy(&block, data, sizeof block);
    if (block != 0) {
        CHECK(message->tag < SENT);
        CHECK_EQ(((char *) mh_block_at(arena, block))[BEHIND - 1], 'a' + (int) message->tag);
        diary->seen[message->tag]++;
        mh_block_drop(arena, block);
    }
}

/* Of one kind of transport: make it, put into it, get from it. */
static mh_channel *channel;
static mh_pipe *ends[2];

static void put_all(int pipe)
{
    for (uint32_t i = 0; i < SENT; i++) {
        mh_parcel parcel = parcel_of(i);
        mh_part part = {&parcel, sizeof parcel};
        CHECK_EQ(pipe ? mh_pipe_send(ends[0], &part, 1, i, mh_in_ms(5000), NULL)
                      : mh_channel_put(channel, &part, 1, i, mh_in_ms(5000), NULL),
                 0);
        mh_block_sent(arena, parcel);
    }
}

static void get_all(int pipe)
{
    mh_message message = {0};
    while (pipe ? mh_pipe_poll(ends[1], MH_AT_ONCE, NULL) == 0 : mh_channel_items(channel) != 0) {
        CHECK_EQ(pipe ? mh_pipe_receive(ends[1], &message, mh_in_ms(5000), NULL)
                      : mh_channel_get(channel, &message, mh_in_ms(5000), NULL),
                 0);
        note(&message, message.data);
    }
    mh_message_fini(&message);
}

static int dies(void (*function)(int pipe), int pipe, uint64_t target)
{
    diary->target = target;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        mh__trace_set(die_at, NULL);
        function(pipe);
        mh__trace_set(NULL, NULL);
        _exit(0);
    }
    int status = t_wait(child, 10);
    CHECK(status == 0 || status == -SIGKILL);
    return status != 0;
}

static void at_every_point(int pipe)
{
    CHECK_EQ(mh_arena_get(&arena), 0);
    diary = t_shared(sizeof *diary);
    uint64_t target = 0;
    for (int died = 1; died; target++) {
        uint32_t whole = 0;
        memset(diary->seen, 0, sizeof diary->seen);
        put_all(pipe);
        died = dies(get_all, pipe, target);
        get_all(pipe);
        for (int i = 0; i < SENT; i++) {
            CHECK(diary->seen[i] <= 1);
            whole += diary->seen[i];
        }
        CHECK(whole + (uint32_t) died >= SENT); /* the dead one had one in hand at most */
        (void) mh_arena_sweep(arena);
        CHECK_EQ(blocks_used(arena), 0);
        CHECK_EQ(parcels_used(arena), 0);
    }
    printf("%d points\n", (int) target);
    CHECK(target > 10 && diary->behind);
}

static void begin_channel(void)
{
    mh_channel_options options = {.flags = MH_CHANNEL_BLOCK, .max_behind = (uint64_t) SENT * BEHIND};
    CHECK_EQ(mh_channel_create(&options, &channel), 0);
    CHECK_EQ(mh_channel_set_taker(channel, take), 0);
    mh_channel_set_weigher(channel, weigh);
}

TEST_LIMIT(consumers_of_a_channel_die_with_blocks, 60)
{
    begin_channel();
    at_every_point(0);
    mh_channel_destroy(channel);
}

/* Whatever a dead producer left of its count, all messages of another fit once the channel has been empty. */
TEST_LIMIT(producers_of_a_channel_die_with_blocks, 60)
{
    uint64_t target = 0;
    CHECK_EQ(mh_arena_get(&arena), 0);
    diary = t_shared(sizeof *diary);
    begin_channel();
    for (int died = 1; died; target++) {
        died = dies(put_all, 0, target);
        memset(diary->seen, 0, sizeof diary->seen);
        get_all(0);
        for (int i = 1; i < SENT; i++) {
            CHECK(diary->seen[i] <= diary->seen[i - 1]);
        }
        put_all(0);
        get_all(0);
        (void) mh_arena_sweep(arena);
        CHECK_EQ(blocks_used(arena), 0);
        CHECK_EQ(parcels_used(arena), 0);
    }
    printf("%d points\n", (int) target);
    CHECK(target > 10 && diary->behind);
    mh_channel_destroy(channel);
}

TEST_LIMIT(receivers_of_a_pipe_die_with_blocks, 60)
{
    CHECK_EQ(mh_pipe_create(1, ends), 0);
    mh_pipe_set_taker(ends[1], take);
    mh_pipe_set_weigher(ends[0], weigh);
    mh_pipe_set_weigher(ends[1], weigh);
    at_every_point(1);
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
}

TEST(a_channel_with_leases_takes_nothing_behind_a_message)
{
    mh_channel *leased;
    CHECK_EQ(mh_channel_create(&(mh_channel_options){.flags = MH_CHANNEL_REDELIVER}, &leased), 0);
    CHECK_EQ(mh_channel_set_taker(leased, take), -ENOTSUP);
    mh_channel_destroy(leased);
}
