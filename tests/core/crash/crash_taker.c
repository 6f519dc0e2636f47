/* tests/core/crash/crash_taker.c - a consumer is killed at every trace point of getting messages that carry blocks. Each
 * message comes to one process or went with the dead one; and no block is left that nobody has. */
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

static mh_arena *arena;
static struct diary {
    uint64_t target;
    uint32_t seen[SENT]; /* messages that a get returned, whole */
    int behind;          /* somebody died right behind the taker */
} *diary;

static void die_at(const char *name, uint64_t number, void *arg)
{
    (void) arg;
    if (number == diary->target) {
        diary->behind |= strstr(name, "taken.behind") != NULL;
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

static mh_parcel parcel_of(uint32_t i)
{
    mh_block block;
    mh_parcel parcel;
    CHECK_EQ(mh_block_alloc(arena, 5000, &block), 0);
    memset(mh_block_at(arena, block), 'a' + (int) i, 5000);
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
        CHECK_EQ(((char *) mh_block_at(arena, block))[4999], 'a' + (int) message->tag);
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

static int consumer_dies(int pipe, uint64_t target)
{
    diary->target = target;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        mh__trace_set(die_at, NULL);
        get_all(pipe);
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
        died = consumer_dies(pipe, target);
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

TEST_LIMIT(consumers_of_a_channel_die_with_blocks, 60)
{
    CHECK_EQ(mh_channel_create(&(mh_channel_options){0}, &channel), 0);
    CHECK_EQ(mh_channel_set_taker(channel, take), 0);
    at_every_point(0);
    mh_channel_destroy(channel);
}

TEST_LIMIT(receivers_of_a_pipe_die_with_blocks, 60)
{
    CHECK_EQ(mh_pipe_create(1, ends), 0);
    mh_pipe_set_taker(ends[1], take);
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
