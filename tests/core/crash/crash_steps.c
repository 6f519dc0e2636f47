/* tests/core/crash/crash_steps.c - a process is killed between two single instructions, all over a call: blocks of the
 * arena, pipes, robust semaphores, leases. (Channels: crash_channel.c; locks: crash_sync.c.) The survivors go on, and
 * what was committed is there once. */
#include "tests/core/harness.h"

#if defined(__x86_64__) || defined(__aarch64__)

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena_check.h"
#include "manyhands/arena.h"
#include "manyhands/channel.h"
#include "manyhands/pipe.h"
#include "manyhands/robust_sem.h"

#define KILLS 60 /* of one operation, all over its instructions */

/* What the victim has done, in memory that outlives it. */
static _Atomic(int) *done;

static void stepped(void (*victim)(void *), void *arg)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
        _exit(T_SKIPPED);
    }
    raise(SIGSTOP);
    victim(arg);
    *done = 1;
    raise(SIGSTOP); /* nothing that a child does at its end counts */
    _exit(0);
}

/* Kill a child after so many instructions of `victim`, or once it is through. How many it did. */
static unsigned kill_after(void (*victim)(void *), void *arg, unsigned steps)
{
    unsigned did = 0;
    int status;
    *done = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        stepped(victim, arg);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) {
        SKIP("nobody may trace here");
    }
    for (; did < steps && !*done; did++) {
        CHECK_EQ(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK(WIFSTOPPED(status));
    }
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(waitpid(child, &status, 0), child);
    return did;
}

/* `before`, then the victim's death, then `after`; from its first instruction to beyond its last. */
static void all_over(void (*before)(void), void (*victim)(void *), void *arg, void (*after)(void))
{
    const unsigned kills = KILLS / (unsigned) t_scale();
    before();
    unsigned all = kill_after(victim, arg, UINT32_MAX);
    CHECK(*done);
    after();
    for (unsigned i = 0; i <= kills; i++) {
        before();
        (void) kill_after(victim, arg, all / kills * i);
        after();
    }
    printf("    %u kills over %u instructions\n", kills + 2, all);
}

static void nothing(void)
{
}

/* ---- blocks */

#define KEPT 4

static mh_arena *arena;
static mh_block kept[KEPT];

static mh_block take(size_t size)
{
    mh_block block = 0;
    CHECK_EQ(mh_block_alloc(arena, size, &block), 0);
    return block;
}

static void use_blocks(void *arg)
{
    (void) arg;
    mh_block small = take(3000), large = take(5 << 20);
    CHECK_EQ(mh_block_hold(arena, small), 0);
    mh_block_drop(arena, small);
    mh_block_drop(arena, large);
    CHECK_EQ(mh_block_hold(arena, kept[0]), 0); /* inherited: the survivor holds it, too */
    mh_block_drop(arena, kept[0]);
}

static void arena_is_whole(void)
{
    mh_block_drop(arena, take(100000));
    (void) mh_arena_sweep(arena);
    check_arena(arena);
    for (int i = 0; i < KEPT; i++) {
        CHECK(memcmp(mh_block_at(arena, kept[i]), &kept[i], sizeof kept[i]) == 0);
    }
    CHECK_EQ(blocks_used(arena), KEPT);
    CHECK_EQ(parcels_used(arena), 0);
    CHECK_EQ(places_taken(arena), 1);
}

TEST_LIMIT(blocks, 240)
{
    done = t_shared(sizeof *done);
    CHECK_EQ(mh_arena_get(&arena), 0);
    for (int i = 0; i < KEPT; i++) {
        kept[i] = take((size_t) 3000 << i);
        memcpy(mh_block_at(arena, kept[i]), &kept[i], sizeof kept[i]);
    }
    all_over(nothing, use_blocks, NULL, arena_is_whole);
}

/* ---- pipes */

static mh_pipe *ends[2];

static void send_number(mh_pipe *end, uint32_t number)
{
    CHECK_EQ(mh_pipe_send(end, &(mh_part){"0123456789abcdef0123", 20}, 1, number, MH_FOREVER, NULL), 0);
}

static void make_pipe(void)
{
    CHECK_EQ(mh_pipe_create(1, ends), 0);
}

static void make_pipe_with_two(void)
{
    make_pipe();
    send_number(ends[0], 1);
    send_number(ends[0], 2);
}

static void send_one(void *arg)
{
    (void) arg;
    send_number(ends[0], 1);
}

static void receive_one(void *arg)
{
    mh_message message = {0};
    (void) arg;
    CHECK_EQ(mh_pipe_receive(ends[1], &message, MH_FOREVER, NULL), 0);
    CHECK_EQ(message.tag, 1);
}

/* The numbers that still come, up to 3, which is sent now: first to last without a hole. The first is returned. */
static uint32_t first_of_the_rest(void)
{
    mh_message message = {0};
    uint32_t first = 0, next = 0;
    CHECK_EQ(mh_pipe_valid(ends[1]), 0);
    send_number(ends[0], 3);
    do {
        CHECK_EQ(mh_pipe_receive(ends[1], &message, mh_in_ms(5000), NULL), 0);
        CHECK(message.size == 20 && memcmp(message.data, "0123456789abcdef0123", 20) == 0);
        CHECK(next == 0 || message.tag == next);
        first = first == 0 ? message.tag : first;
        next = message.tag + 1;
    } while (message.tag != 3);
    CHECK_EQ(mh_pipe_valid(ends[1]), 0);
    mh_message_fini(&message);
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
    return first;
}

static void sent_or_not(void)
{
    mh_message message = {0};
    CHECK_EQ(mh_pipe_valid(ends[1]), 0);
    int rc = mh_pipe_receive(ends[1], &message, MH_AT_ONCE, NULL);
    CHECK(rc == 0 || (rc == -ETIMEDOUT && !*done)); /* once send has returned it is there */
    CHECK(rc != 0 || (message.tag == 1 && message.size == 20));
    mh_message_fini(&message);
    CHECK_EQ(first_of_the_rest(), 3);
}

static void received_or_not(void)
{
    uint32_t first = first_of_the_rest();
    CHECK(first == 2 || (first == 1 && !*done)); /* what it had returned does not come again */
}

TEST_LIMIT(pipe_send, 240)
{
    done = t_shared(sizeof *done);
    all_over(make_pipe, send_one, NULL, sent_or_not);
}

TEST_LIMIT(pipe_receive, 240)
{
    done = t_shared(sizeof *done);
    all_over(make_pipe_with_two, receive_one, NULL, received_or_not);
}

/* ---- robust semaphores */

#define PERMITS 2

static mh_robust_sem *sem;

static void make_sem(void)
{
    sem = t_shared(mh_robust_sem_size(PERMITS));
    CHECK_EQ(mh_robust_sem_init(sem, PERMITS), 0);
}

static void take_and_give(void *arg)
{
    (void) arg;
    CHECK_EQ(mh_robust_sem_acquire(sem, MH_FOREVER, NULL), 0);
    CHECK_EQ(mh_robust_sem_acquire(sem, MH_FOREVER, NULL), 0);
    CHECK_EQ(mh_robust_sem_release(sem), 0);
    CHECK_EQ(mh_robust_sem_release(sem), 0);
}

static void all_permits_are_there(void)
{
    for (int i = 0; i < PERMITS; i++) {
        CHECK(mh_robust_sem_acquire(sem, mh_in_ms(5000), NULL) >= 0);
    }
    CHECK_EQ(mh_robust_sem_acquire(sem, mh_in_ms(2), NULL), -ETIMEDOUT);
}

TEST_LIMIT(robust_semaphore, 240)
{
    done = t_shared(sizeof *done);
    all_over(make_sem, take_and_give, NULL, all_permits_are_there);
}

/* ---- leases: what a consumer has and did not acknowledge comes again */

static mh_channel *channel;

static void make_channel(void)
{
    CHECK_EQ(mh_channel_create(&(mh_channel_options){.flags = MH_CHANNEL_REDELIVER}, &channel), 0);
    for (uint32_t i = 1; i <= 2; i++) {
        CHECK_EQ(mh_channel_put(channel, &(mh_part){"0123456789", 10}, 1, i, MH_AT_ONCE, NULL), 0);
    }
}

static void get_and_acknowledge(void *arg)
{
    mh_message message = {0};
    (void) arg;
    CHECK_EQ(mh_channel_get(channel, &message, MH_FOREVER, NULL), 0);
    CHECK_EQ(message.tag, 1);
    CHECK_EQ(mh_channel_task_done(channel), 0);
}

static void comes_until_acknowledged(void)
{
    mh_message message = {0};
    unsigned seen = 0;
    CHECK_EQ(mh_channel_valid(channel), 0);
    while (mh_channel_items(channel) > 0) {
        CHECK_EQ(mh_channel_get(channel, &message, mh_in_ms(5000), NULL), 0);
        CHECK(message.size == 10 && (message.tag == 1 || message.tag == 2) && !(seen & message.tag));
        seen |= message.tag;
        CHECK_EQ(mh_channel_task_done(channel), 0);
    }
    CHECK(seen == 3 || seen == 2);
    CHECK(!*done || seen == 2);
    CHECK_EQ(mh_channel_lost(channel), 0);
    mh_message_fini(&message);
    mh_channel_destroy(channel);
}

TEST_LIMIT(leases, 240)
{
    done = t_shared(sizeof *done);
    all_over(make_channel, get_and_acknowledge, NULL, comes_until_acknowledged);
}

#else
TEST(single_steps)
{
    SKIP("no single steps on this processor");
}
#endif
