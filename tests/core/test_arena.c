/* tests/core/test_arena.c - the arena: blocks, who holds them, places, forks. Deaths: tests/core/crash. */
#include "tests/core/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/shm/arena.h"
#include "manyhands/arena.h"

static mh_arena *arena;

static void begin(void)
{
    CHECK_EQ(mh_arena_get(&arena), 0);
}

static mh_block take(size_t size)
{
    mh_block block = 0;
    CHECK_EQ(mh_block_alloc(arena, size, &block), 0);
    CHECK(block != 0);
    CHECK(mh_block_size(arena, block) >= size);
    CHECK_EQ((uintptr_t) mh_block_at(arena, block) % 64, 0);
    return block;
}

static uint32_t used(void)
{
    uint32_t blocks;
    uint64_t bytes;
    mh_arena_usage(arena, &blocks, &bytes);
    CHECK((blocks == 0) == (bytes == 0));
    return blocks;
}

TEST(there_is_one_arena_and_it_is_lazy)
{
    mh_arena *again = NULL;
    CHECK(mh_arena_peek() == NULL);
    begin();
    CHECK(mh_arena_peek() == arena);
    CHECK_EQ(mh_arena_get(&again), 0);
    CHECK(again == arena);
    CHECK(mh_arena_place(arena) < MH_ARENA_PLACES);
    CHECK(mh_arena_id(arena) != 0);
    CHECK_EQ(mh_arena_in_section(arena, mh_arena_place(arena)), 0);
    CHECK_EQ(mh_arena_in_section(arena, MH_ARENA_PLACES), -EINVAL);
    CHECK_EQ(mh_arena_in_section(arena, MH_ARENA_PLACES - 1), -ESRCH);
    CHECK_EQ(used(), 0);
}

TEST(alloc_hold_drop)
{
    begin();
    mh_block block = take(100), other = take(1 << 20);
    CHECK(block != other);
    CHECK_EQ(used(), 2);
    memset(mh_block_at(arena, other), 'x', 1 << 20);
    CHECK_EQ(mh_block_hold(arena, block), 0);
    mh_block_drop(arena, block);
    CHECK(mh_block_at(arena, block) != NULL);
    mh_block_drop(arena, block);
    CHECK(mh_block_at(arena, block) == NULL);
    CHECK_EQ(mh_block_size(arena, block), 0);
    CHECK_EQ(mh_block_hold(arena, block), MH_E_LOST);
    mh_block_drop(arena, other);
    CHECK_EQ(used(), 0);
}

TEST(bad_handles_and_sizes)
{
    begin();
    mh_block block = take(1), out = 7;
    const mh_block bad[] = {0,          1,          block + 1,         block ^ (1ull << 32),
                            UINT64_MAX, UINT32_MAX, block & UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(mh_block_at(arena, bad[i]) == NULL);
        CHECK_EQ(mh_block_size(arena, bad[i]), 0);
        CHECK_EQ(mh_block_hold(arena, bad[i]), MH_E_LOST);
        CHECK_EQ(mh_block_hold_for(arena, bad[i], 0), MH_E_LOST);
        CHECK_EQ(mh_block_in_message(arena, bad[i], 0, &out), MH_E_LOST);
        CHECK_EQ(mh_block_out_of_message(arena, bad[i], &out), MH_E_LOST);
        mh_block_sent(arena, bad[i]);
    }
    CHECK_EQ(mh_block_alloc(arena, 0, &out), -EINVAL);
    CHECK_EQ(mh_block_alloc(arena, SIZE_MAX, &out), -ENOMEM);
    CHECK_EQ(mh_block_alloc(arena, (size_t) 1 << 45, &out), -ENOMEM);
    CHECK_EQ(mh_block_hold_for(arena, block, MH_ARENA_PLACES), -EINVAL);
    CHECK_EQ(mh_block_hold_for(arena, block, MH_ARENA_PLACES - 1), MH_E_STATE);
    CHECK_EQ(out, 7);
    mh_block_drop(arena, block);
}

TEST(addresses_lead_back_to_blocks)
{
    begin();
    mh_block block = take(300000), found = 0;
    size_t offset = 0;
    const char *at = mh_block_at(arena, block);
    for (size_t i = 0; i < mh_block_size(arena, block); i += 4093) {
        CHECK_EQ(mh_block_of(arena, at + i, &found, &offset), 0);
        CHECK(found == block && offset == i);
    }
    CHECK_EQ(mh_block_of(arena, at + mh_block_size(arena, block), &found, &offset), -ENOENT);
    CHECK_EQ(mh_block_of(arena, at - 1, &found, &offset), -ENOENT);
    CHECK_EQ(mh_block_of(arena, &offset, &found, &offset), -ENOENT);
    CHECK_EQ(mh_block_of(arena, NULL, &found, &offset), -ENOENT);
    mh_block_drop(arena, block);
    CHECK_EQ(mh_block_of(arena, at, &found, &offset), -ENOENT);
}

TEST(freed_memory_is_used_again_warm)
{
    begin();
    mh_block block = take(80 << 20);
    void *at = mh_block_at(arena, block);
    mh_block_drop(arena, block);
    mh_block again = take((80 << 20) - 5000);
    CHECK(mh_block_at(arena, again) == at);
    CHECK(again != block);
    CHECK(mh_block_at(arena, block) == NULL);
    mh_block_drop(arena, again);
}

/* A random walk over many sizes: no two blocks overlap, each keeps what was written at its ends, none is
 * left. */
TEST(random_sizes_never_overlap)
{
    begin();
    enum { MOST = 200 };
    static mh_block block[MOST];
    unsigned seed = 5;
    for (int i = 0; i < 20000; i++) {
        int k = rand_r(&seed) % MOST;
        if (block[k] != 0) {
            const char *at = mh_block_at(arena, block[k]);
            CHECK(memcmp(at, &block[k], 8) == 0);
            CHECK(memcmp(at + mh_block_size(arena, block[k]) - 8, &block[k], 8) == 0);
            mh_block_drop(arena, block[k]);
            block[k] = 0;
        } else {
            block[k] = take((size_t) 1 << rand_r(&seed) % 22 | (size_t) (rand_r(&seed) % 100000));
            memcpy(mh_block_at(arena, block[k]), &block[k], 8);
            memcpy((char *) mh_block_at(arena, block[k]) + mh_block_size(arena, block[k]) - 8, &block[k], 8);
        }
    }
    for (int k = 0; k < MOST; k++) {
        if (block[k] != 0) {
            mh_block_drop(arena, block[k]);
        }
    }
    CHECK_EQ(used(), 0);
}

/* In little address space: fill it with small blocks, free them, and one block that takes nearly all must
 * fit. */
TEST(neighbours_are_merged_when_space_runs_out)
{
    struct rlimit limit = {(rlim_t) 33 << 20, (rlim_t) 33 << 20};
    static mh_block block[20000];
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    begin();
    CHECK(arena->heap_pages * arena->page < 32u << 20);
    mh_arena_set_limit(arena, (uint64_t) 1 << 40);
    uint32_t count = 0;
    size_t bytes = 0;
    while (mh_block_alloc(arena, 5000 + 4096 * (count % 7), &block[count]) == 0) {
        bytes += mh_block_size(arena, block[count++]);
    }
    CHECK(count > 100);
    for (uint32_t i = 0; i < count; i++) {
        mh_block_drop(arena, block[(i * 7919u) % count]);
    }
    mh_block large;
    CHECK_EQ(mh_block_alloc(arena, bytes / 2, &large), 0);
    memset(mh_block_at(arena, large), 1, bytes / 2);
    mh_block_drop(arena, large);
    uint32_t again = 0;
    while (mh_block_alloc(arena, 5000 + 4096 * (again % 7), &block[again]) == 0) {
        again++;
    }
    CHECK(again >= count * 9 / 10);
}

TEST(the_limit_holds)
{
    begin();
    mh_block block, other;
    mh_arena_set_limit(arena, 1 << 20);
    CHECK_EQ(mh_block_alloc(arena, 2 << 20, &block), -ENOMEM);
    CHECK_EQ(mh_block_alloc(arena, 1 << 20, &block), 0);
    CHECK_EQ(mh_block_alloc(arena, 4096, &other), -ENOMEM);
    mh_block_drop(arena, block);
    CHECK_EQ(mh_block_alloc(arena, 4096, &other), 0); /* what is idle gives way */
    mh_block_drop(arena, other);
    mh_arena_set_limit(arena, 0);
    CHECK_EQ(mh_block_alloc(arena, 8 << 20, &block), 0);
    mh_block_drop(arena, block);
}

static long resident(void)
{
    struct stat status;
    CHECK_EQ(fstat(mh_arena_fd(arena), &status), 0);
    return (long) status.st_blocks * 512;
}

TEST(much_idle_memory_goes_back)
{
    begin();
    mh_block block[40];
    mh_arena_set_limit(arena, (uint64_t) 100 << 20);
    for (int i = 0; i < 40; i++) {
        block[i] = take(2 << 20);
        memset(mh_block_at(arena, block[i]), 1, 2 << 20);
    }
    CHECK(resident() >= 80l << 20);
    for (int i = 0; i < 40; i++) {
        mh_block_drop(arena, block[i]);
    }
    CHECK(resident() < 40l << 20); /* the greater of a quarter of the limit and 32 MiB, and the tables */
    CHECK_EQ(used(), 0);
    CHECK(arena->header->idle_pages * arena->page <= 32u << 20);
}

static void drop_too_many(void *arg)
{
    mh_block block = take(1);
    (void) arg;
    mh_block_drop(arena, block);
    mh_block_drop(arena, block);
}

TEST(a_drop_too_many_panics)
{
    begin();
    CHECK_EQ(t_wait(t_fork(drop_too_many, NULL), 5), -SIGABRT);
}

/* --- messages --- */

TEST(a_message_keeps_its_block)
{
    begin();
    mh_block block = take(10), got = 0;
    mh_parcel one = 0, two = 0;
    CHECK_EQ(mh_block_in_message(arena, block, 0, &one), 0);
    CHECK_EQ(mh_block_in_message(arena, block, 0, &two), 0);
    CHECK(one != two);
    mh_block_sent(arena, one);
    mh_block_drop(arena, block);
    CHECK_EQ(mh_arena_sweep(arena), 0);
    CHECK_EQ(mh_block_out_of_message(arena, one, &got), 0);
    CHECK(got == block);
    CHECK_EQ(mh_block_out_of_message(arena, one, &got), MH_E_LOST);
    mh_block_sent(arena, one);
    mh_block_drop(arena, block);
    CHECK_EQ(used(), 1);
    CHECK_EQ(mh_block_out_of_message(arena, two, &got), 0); /* a put that failed */
    mh_block_drop(arena, got);
    CHECK_EQ(used(), 0);
}

TEST(messages_nobody_can_take_are_released)
{
    begin();
    mh_block box = take(1), inner = take(1), block = take(1), gone = take(1), got;
    mh_parcel parcel[3];
    CHECK_EQ(mh_block_in_message(arena, block, inner, &parcel[0]), 0);
    CHECK_EQ(mh_block_in_message(arena, inner, box, &parcel[1]),
             0); /* a channel inside a channel's message */
    CHECK_EQ(mh_block_in_message(arena, block, 0, &parcel[2]), 0);
    for (int i = 0; i < 3; i++) {
        mh_block_sent(arena, parcel[i]);
    }
    mh_block_drop(arena, inner);
    mh_block_drop(arena, block);
    CHECK_EQ(used(), 4);
    mh_block_drop(arena, box);
    CHECK_EQ(used(), 2); /* block in the third message, and `gone` */
    CHECK_EQ(mh_block_out_of_message(arena, parcel[0], &got), MH_E_LOST);
    CHECK_EQ(mh_block_out_of_message(arena, parcel[1], &got), MH_E_LOST);
    CHECK_EQ(mh_block_out_of_message(arena, parcel[2], &got), 0);
    mh_block_drop(arena, got);
    mh_block_drop(arena, gone);
    CHECK_EQ(mh_block_in_message(arena, block, 0, &parcel[0]), MH_E_LOST);
    block = take(1);
    CHECK_EQ(mh_block_in_message(arena, block, gone, &parcel[0]), MH_E_LOST);
    mh_block_drop(arena, block);
    CHECK_EQ(used(), 0);
}

static void take_message(void *arg)
{
    const mh_parcel *parcel = arg;
    mh_block block;
    CHECK_EQ(mh_block_out_of_message(arena, *parcel, &block), 0);
    CHECK_STR_EQ(mh_block_at(arena, block), "hello");
    strcpy(mh_block_at(arena, block), "answer");
    mh_block_drop(arena, block);
}

TEST(a_message_crosses_processes)
{
    begin();
    mh_parcel *parcel = t_shared(sizeof *parcel);
    mh_block block = take(100);
    strcpy(mh_block_at(arena, block), "hello");
    CHECK_EQ(mh_block_in_message(arena, block, 0, parcel), 0);
    mh_block_sent(arena, *parcel);
    CHECK_EQ(t_wait(t_fork(take_message, parcel), 5), 0);
    CHECK_STR_EQ(mh_block_at(arena, block), "answer");
    mh_block_drop(arena, block);
    (void) mh_arena_sweep(arena);
    CHECK_EQ(used(), 0);
}

/* --- forks and places --- */

struct play {
    mh_block block;
    uint32_t place;
    t_barrier_t *meet;
};

static void inherit(void *arg)
{
    const struct play *play = arg;
    CHECK(mh_arena_place(arena) != MH_NO_PLACE);
    t_meet(play->meet); /* the parent drops ... */
    t_meet(play->meet); /* ... has dropped, and allocated */
    CHECK_STR_EQ(mh_block_at(arena, play->block), "mine too");
    mh_block_drop(arena, play->block);
    CHECK(mh_block_at(arena, play->block) == NULL);
    mh_block block = take(5);
    mh_block_drop(arena, block);
}

TEST(a_plain_fork_inherits_what_is_held)
{
    begin();
    struct play play = {.block = take(50), .meet = t_barrier(2)};
    strcpy(mh_block_at(arena, play.block), "mine too");
    pid_t child = t_fork(inherit, &play);
    t_meet(play.meet);
    mh_block_drop(arena, play.block);
    mh_block other = take(50);
    CHECK(mh_block_at(arena, other) != mh_block_at(arena, play.block));
    memset(mh_block_at(arena, other), 'x', 50);
    t_meet(play.meet);
    CHECK_EQ(t_wait(child, 5), 0);
    mh_block_drop(arena, other);
    (void) mh_arena_sweep(arena);
    CHECK_EQ(used(), 0);
}

static void inherit_nothing(void *arg)
{
    (void) arg;
    CHECK_EQ(mh_arena_place(arena), MH_NO_PLACE);
    mh_block block = take(5);
    CHECK(mh_arena_place(arena) != MH_NO_PLACE);
    CHECK_EQ(mh_arena_in_section(arena, mh_arena_place(arena)), 0);
    mh_block_drop(arena, block);
}

TEST(a_child_that_holds_nothing_takes_a_place_when_it_needs_one)
{
    begin();
    CHECK_EQ(t_wait(t_fork(inherit_nothing, NULL), 5), 0);
}

static void settle_there(void *arg)
{
    const struct play *play = arg;
    uint32_t before = mh_arena_place(arena);
    CHECK_EQ(mh_arena_settle(arena, play->place, getpid()), 0);
    CHECK_EQ(mh_arena_place(arena), play->place);
    CHECK_EQ(mh_arena_settle(arena, play->place, getpid()), 0);
    CHECK(before == MH_NO_PLACE || mh_arena_in_section(arena, before) == -ESRCH);
    t_meet(play->meet);
    t_meet(play->meet);
    CHECK_STR_EQ(mh_block_at(arena, play->block), "moved");
    mh_block_drop(arena, play->block);
}

TEST(a_reserved_place_becomes_the_childs)
{
    begin();
    struct play play = {.block = take(50), .meet = t_barrier(2)};
    strcpy(mh_block_at(arena, play.block), "moved");
    CHECK_EQ(mh_arena_reserve(arena, &play.place), 0);
    CHECK_EQ(mh_arena_in_section(arena, play.place), -ESRCH);
    pid_t child = t_fork(settle_there, &play);
    CHECK_EQ(mh_arena_settle(arena, play.place, child), 0);
    t_meet(play.meet);
    CHECK_EQ(mh_arena_settle(arena, play.place, child), 0);
    CHECK_EQ(mh_arena_in_section(arena, play.place), 0);
    mh_arena_unreserve(arena, play.place); /* it lives: nothing happens */
    CHECK_EQ(mh_arena_in_section(arena, play.place), 0);
    mh_block_drop(arena, play.block);
    CHECK_EQ(used(), 1);
    t_meet(play.meet);
    CHECK_EQ(t_wait(child, 5), 0);
    mh_arena_unreserve(arena, play.place);
    CHECK_EQ(mh_arena_in_section(arena, play.place), -ESRCH);
    CHECK_EQ(mh_arena_settle(arena, play.place, getpid()), MH_E_LOST);
    CHECK_EQ(mh_arena_settle(arena, play.place, child), MH_E_STATE);
    CHECK_EQ(mh_arena_settle(arena, MH_NO_PLACE, child), -EINVAL);
    CHECK_EQ(mh_arena_settle(arena, play.place, 0), -EINVAL);
    (void) mh_arena_sweep(arena);
    CHECK_EQ(used(), 0);
}

TEST(places_run_out_and_come_back)
{
    begin();
    static uint32_t place[MH_ARENA_PLACES];
    int count = 0, rc;
    uint32_t more = 7;
    mh_block block = take(1);
    while ((rc = mh_arena_reserve(arena, &more)) == 0) {
        place[count++] = more;
    }
    CHECK_EQ(rc, -EAGAIN);
    CHECK_EQ(count, MH_ARENA_PLACES - 1);
    CHECK_EQ(t_wait(t_fork(drop_too_many, NULL), 5),
             1); /* no place: its alloc says so, and the check fails */
    while (count > 0) {
        mh_arena_unreserve(arena, place[--count]);
    }
    CHECK_EQ(mh_arena_reserve(arena, &more), 0);
    mh_arena_unreserve(arena, more);
    mh_block_drop(arena, block); /* pinned by the fork that found no place: one hold is left */
    CHECK_EQ(used(), 1);
}

TEST(held_for_a_child_and_reconciled)
{
    begin();
    uint32_t place;
    mh_block block = take(1), other = take(1);
    CHECK_EQ(mh_arena_reserve(arena, &place), 0);
    CHECK_EQ(mh_block_hold_for(arena, block, place), 0);
    CHECK_EQ(mh_block_hold_for(arena, other, place), 0);
    mh_block_drop(arena, block);
    CHECK_EQ(used(), 2);
    CHECK_EQ(mh_arena_settle(arena, place, getpid()), 0); /* as the child would */
    CHECK_EQ(mh_block_hold(arena, block), 0);
    CHECK_EQ(mh_arena_reconcile(arena), 0);
    mh_block_drop(arena, block);
    mh_block third = take(1);
    CHECK_EQ(mh_block_hold_for(arena, third, place), 0);
    mh_block_drop(arena, other);
    CHECK_EQ(mh_block_hold_for(arena, third, place), 0);
    mh_block_drop(arena, third);
    CHECK_EQ(used(), 0);
}

static void never_claims(void *arg)
{
    const struct play *play = arg;
    CHECK_EQ(mh_arena_settle(arena, play->place, getpid()), 0);
    t_meet(play->meet);
    CHECK_EQ(mh_arena_reconcile(arena), 1);
    CHECK_EQ(used(), 0);
}

TEST(what_a_child_never_claims_goes)
{
    begin();
    struct play play = {.meet = t_barrier(2)};
    CHECK_EQ(mh_arena_reserve(arena, &play.place), 0);
    pid_t child = t_fork(never_claims, &play);
    mh_block block = take(1);
    CHECK_EQ(mh_block_hold_for(arena, block, play.place), 0);
    mh_block_drop(arena, block);
    CHECK_EQ(used(), 1);
    t_meet(play.meet);
    CHECK_EQ(t_wait(child, 5), 0);
}

static void hold_and_wait(void *arg)
{
    const struct play *play = arg;
    (void) take(1);
    (void) take(1 << 20);
    t_meet(play->meet);
    pause();
}

TEST(the_dead_are_swept)
{
    begin();
    struct play play = {.meet = t_barrier(2)};
    pid_t child = t_fork(hold_and_wait, &play);
    t_meet(play.meet);
    CHECK_EQ(mh_arena_sweep(arena), 0);
    CHECK_EQ(used(), 2);
    kill(child, SIGKILL);
    CHECK_EQ(waitid(P_PID, (id_t) child, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
    CHECK_EQ(mh_arena_sweep(arena), 2); /* a zombie is dead */
    CHECK_EQ(used(), 0);
    t_kill(child);
}

static void fork_and_vanish(void *arg)
{
    const struct play *play = arg;
    CHECK_EQ(mh_arena_settle(arena, play->place, getpid()), 0);
    pid_t child = fork();
    if (child == 0) {
        _exit(mh_block_at(arena, play->block) != NULL ? 0 : 1);
    }
    CHECK_EQ(t_wait(child, 5), 0);
}

TEST(grandchildren_inherit_too)
{
    begin();
    struct play play = {.block = take(1)};
    CHECK_EQ(mh_arena_reserve(arena, &play.place), 0);
    CHECK_EQ(t_wait(t_fork(fork_and_vanish, &play), 5), 0);
    mh_block_drop(arena, play.block);
    (void) mh_arena_sweep(arena);
    CHECK_EQ(used(), 0);
}

/* A fork that fails leaves a place reserved for nobody; its beacon says so. */
#define NO_LIMITS 3

static int fork_in_vain(void)
{
    struct rlimit none = {0, 0};
    if (geteuid() == 0 && setuid(65534) != 0) {
        return NO_LIMITS;
    }
    mh_block block = take(1);
    CHECK_EQ(setrlimit(RLIMIT_NPROC, &none), 0);
    for (int i = 0; i < 100; i++) {
        pid_t child = fork();
        if (child == 0) {
            _exit(0);
        }
        if (child > 0) {
            return NO_LIMITS;
        }
    }
    mh_block_drop(arena, block);
    (void) mh_arena_sweep(arena);
    CHECK_EQ(used(), 0);
    CHECK_EQ(arena->beacons, 0);
    return 0;
}

TEST(a_fork_that_fails_leaves_nothing)
{
    begin();
    pid_t child = fork();
    if (child == 0) {
        _exit(
            fork_in_vain()); /* not exit(): the leak checker cannot look at a process that changed its user */
    }
    int status = t_wait(child, 10);
    if (status == NO_LIMITS) {
        SKIP("the limit of processes does not hold here");
    }
    CHECK_EQ(status, 0);
}

TEST(many_forks_keep_descriptors_and_places)
{
    begin();
    mh_block block = take(1);
    for (int i = 0; i < 100; i++) {
        pid_t child = fork();
        if (child == 0) {
            _exit(0);
        }
        CHECK_EQ(t_wait(child, 5), 0);
    }
    CHECK(arena->beacons <= MH__ARENA_BEACONS);
    (void) mh_arena_sweep(arena);
    CHECK_EQ(arena->beacons, 0);
    uint32_t place;
    CHECK_EQ(mh_arena_reserve(arena, &place), 0);
    CHECK(place <= 2);
    mh_block_drop(arena, block);
    CHECK_EQ(used(), 0);
}

/* --- joining --- */

TEST(join_the_arena_one_is_in)
{
    begin();
    uint32_t place;
    mh_arena *same = NULL;
    CHECK_EQ(mh_arena_reserve(arena, &place), 0);
    CHECK_EQ(mh_arena_join(mh_arena_fd(arena), place, &same), 0);
    CHECK(same == arena);
    CHECK_EQ(mh_arena_place(arena), place);
    CHECK_EQ(mh_arena_join(mh_arena_fd(arena), MH_NO_PLACE, &same), 0);
    CHECK_EQ(mh_arena_place(arena), place);
    CHECK_EQ(mh_arena_join(mh_arena_fd(arena), MH_ARENA_PLACES, &same), -EINVAL);
    CHECK_EQ(mh_arena_join(mh_arena_fd(arena), 500, &same), MH_E_LOST);
}

TEST(join_what_is_no_arena)
{
    mh_segment *segment;
    CHECK_EQ(mh_segment_create(1 << 20, 0, &segment), 0);
    CHECK_EQ(mh_arena_join(mh_segment_fd(segment), MH_NO_PLACE, &arena), MH_E_CORRUPT);
    CHECK_EQ(mh_arena_join(-1, MH_NO_PLACE, &arena), -EBADF);
    CHECK(mh_arena_peek() == NULL);
    mh_segment *tiny;
    CHECK_EQ(mh_segment_create(1, 0x6d686131u, &tiny), 0); /* the right kind, all zero inside */
    CHECK_EQ(mh_arena_join(mh_segment_fd(tiny), MH_NO_PLACE, &arena), MH_E_CORRUPT);
    mh_segment *zeros;
    CHECK_EQ(mh_segment_create(64 << 20, 0x6d686131u, &zeros), 0);
    CHECK_EQ(mh_arena_join(mh_segment_fd(zeros), MH_NO_PLACE, &arena), MH_E_CORRUPT);
    begin();
    CHECK_EQ(mh_arena_join(mh_segment_fd(segment), MH_NO_PLACE, &arena), MH_E_STATE);
    mh_segment_close(segment);
    mh_segment_close(tiny);
    mh_segment_close(zeros);
}

/* Every way in which a table can lead outside of the mapping, or never end. */
TEST(join_a_torn_arena)
{
    mh_arena *torn, *joined = NULL;
    mh_block block[4];
    CHECK_EQ(mh__arena_make(4 << 20, 4 << 20, &torn), 0); /* this process is in none */
    for (size_t i = 0; i < 4; i++) {
        CHECK_EQ(mh_block_alloc(torn, 5000, &block[i]), 0);
    }
    mh_block_drop(torn, block[2]);
    mh_block_drop(torn, block[3]);
    uint64_t extent = mh_load_rlx(&torn->blocks[0].extent), freed = mh_load_rlx(&torn->blocks[2].extent);
    uint32_t top = torn->header->heap_top, *list = &torn->header->bin[1][mh__space_bin(2)], first = *list,
             next = torn->blocks[first].next;
#define REFUSED_WITH(place, value, before)                                              \
    do {                                                                                \
        place = (value);                                                                \
        CHECK_EQ(mh_arena_join(mh_arena_fd(torn), MH_NO_PLACE, &joined), MH_E_CORRUPT); \
        CHECK(mh_arena_peek() == NULL);                                                 \
        place = (before);                                                               \
    } while (0)
    REFUSED_WITH(torn->blocks[0].extent, mh__extent(top, 1), extent);
    REFUSED_WITH(torn->blocks[0].extent, mh__extent(0, 0), extent);
    REFUSED_WITH(torn->blocks[2].extent, mh__extent(0, UINT32_MAX), freed);
    REFUSED_WITH(torn->blocks[2].extent, mh__extent(0, 1), freed); /* in the wrong list */
    REFUSED_WITH(torn->header->heap_top, UINT32_MAX, top);
    REFUSED_WITH(*list, torn->header->block_top, first);
    REFUSED_WITH(*list, 0, first); /* a block in use */
    REFUSED_WITH(torn->blocks[first].next, first, next);
    REFUSED_WITH(torn->header->void_list, first, MH__ARENA_NONE);
    REFUSED_WITH(torn->header->parcel_list, torn->header->parcel_top, MH__ARENA_NONE);
    REFUSED_WITH(torn->header->block_top, torn->block_max + 1, 4);
    CHECK_EQ(mh_arena_join(mh_arena_fd(torn), MH_NO_PLACE, &joined), 0);
    CHECK_EQ(mh_arena_id(joined), mh_arena_id(torn));
    mh__arena_forget(torn);
}

/* This program again, told what to do by its environment. vfork runs no fork handlers, fork does. */
static void start_and_join(int by_fork)
{
    begin();
    uint32_t place;
    mh_block block = take(100), unclaimed = take(100);
    strcpy(mh_block_at(arena, block), "by exec");
    CHECK_EQ(mh_arena_reserve(arena, &place), 0);
    CHECK_EQ(mh_block_hold_for(arena, block, place), 0);
    CHECK_EQ(mh_block_hold_for(arena, unclaimed, place), 0);
    char text[64];
    int fd = dup(mh_arena_fd(arena)); /* without close-on-exec */
    snprintf(text, sizeof text, "%d %u %llu", fd, (unsigned) place, (unsigned long long) block);
    setenv("TEST_ARENA_JOIN", text, 1);
    pid_t child = by_fork ? fork() : vfork();
    if (child == 0) {
        execl("/proc/self/exe", "test_arena", "a_program_started_by_exec_joins", (char *) NULL);
        _exit(127);
    }
    unsetenv("TEST_ARENA_JOIN");
    CHECK_EQ(mh_arena_settle(arena, place, child), 0);
    CHECK_EQ(t_wait(child, 10), 0);
    CHECK_STR_EQ(mh_block_at(arena, block), "came back");
    mh_arena_unreserve(arena, place);
    mh_block_drop(arena, block);
    mh_block_drop(arena, unclaimed);
    CHECK_EQ(used(), 0);
    close(fd);
}

TEST(a_program_started_by_exec_joins)
{
    const char *told = getenv("TEST_ARENA_JOIN");
    if (told != NULL) {
        int fd;
        unsigned place;
        unsigned long long block;
        CHECK_EQ(sscanf(told, "%d %u %llu", &fd, &place, &block), 3);
        CHECK_EQ(mh_arena_join(fd, place, &arena), 0);
        CHECK_EQ(mh_arena_place(arena), place);
        for (uint32_t i = 0; i < MH_ARENA_PLACES;
             i++) { /* also where it was forked, and had a place as a copy of its parent */
            CHECK(i == place || mh_load_acq(&arena->places[i].who) != mh_os_self() ||
                  mh_load_acq(&arena->places[i].state) != MH__PLACE_TAKEN);
        }
        CHECK_STR_EQ(mh_block_at(arena, block), "by exec");
        CHECK_EQ(mh_block_hold(arena, block), 0);
        CHECK_EQ(mh_arena_reconcile(arena), 1);
        strcpy(mh_block_at(arena, block), "came back");
        mh_block_drop(arena, block);
        return;
    }
    start_and_join(0);
    start_and_join(1);
}

/* --- all at once --- */

static void churn(void *arg)
{
    unsigned seed = (unsigned) (uintptr_t) arg;
    mh_block block[8] = {0};
    for (int i = 0; i < 4000; i++) {
        int k = rand_r(&seed) % 8;
        if (block[k] == 0) {
            block[k] = take((size_t) (rand_r(&seed) % 60000 + 1));
            *(mh_block *) mh_block_at(arena, block[k]) = block[k];
        } else {
            CHECK(*(mh_block *) mh_block_at(arena, block[k]) == block[k]);
            CHECK_EQ(mh_block_hold(arena, block[k]), 0);
            mh_block_drop(arena, block[k]);
            mh_block_drop(arena, block[k]);
            block[k] = 0;
        }
    }
    for (int k = 0; k < 8; k++) {
        if (block[k] != 0) {
            mh_block_drop(arena, block[k]);
        }
    }
}

/* ---- who is inside of a section ---- */

enum { CROWD = MH__SEATS + 3 };

struct inside {
    mh_lock lock;
    t_barrier_t *meet;
};

static void be_inside(void *arg)
{
    struct inside *inside = arg;
    CHECK_EQ(mh__section_enter(&inside->lock), 0);
    t_meet(inside->meet);
    t_meet(inside->meet);
    mh__section_leave(&inside->lock);
}

static int inside_now(void)
{
    return mh_arena_in_section(arena, mh_arena_place(arena));
}

static uint32_t without_a_seat(void)
{
    return mh_load_acq(&arena->places[mh_arena_place(arena)].inside.others);
}

/* `crowd` new threads, each inside of a section of its own; this one has a seat already, and is not inside. */
static void crowd_in(int crowd, void (*while_they_are)(int crowd))
{
    struct inside inside[CROWD] = {0};
    pthread_t thread[CROWD];
    t_barrier_t *meet = t_barrier((unsigned) crowd + 1);
    for (int i = 0; i < crowd; i++) {
        inside[i].meet = meet;
        thread[i] = t_thread(be_inside, &inside[i]);
    }
    t_meet(meet);
    while_they_are(crowd);
    t_meet(meet);
    for (int i = 0; i < crowd; i++) {
        t_join(thread[i], 20);
    }
    CHECK_EQ(inside_now(), 0);
    CHECK_EQ(without_a_seat(), 0);
}

static void count_them(int crowd)
{
    int seats = MH__SEATS - 1;
    CHECK_EQ(inside_now(), crowd);
    CHECK_EQ(without_a_seat(), crowd > seats ? crowd - seats : 0);
}

TEST(every_thread_inside_of_a_section_is_counted)
{
    begin();
    mh_block_drop(arena, take(5));
    for (int round = 0; round < 5; round++) { /* the seats of those who ended are there again */
        crowd_in(1, count_them);
        crowd_in(CROWD, count_them);
    }
}

#ifndef __SANITIZE_THREAD__ /* which refuses to start threads there */
static void crowd_in_a_child(void *arg)
{
    (void) arg;
    mh_block_drop(arena, take(5)); /* it has a place, and this thread its old seat */
    CHECK_EQ(inside_now(), 0);
    crowd_in(MH__SEATS - 1, count_them);
}

static void fork_with_all_seats_taken(int crowd)
{
    count_them(crowd);
    CHECK_EQ(t_wait(t_fork(crowd_in_a_child, NULL), 20), 0);
}

TEST(a_forked_childs_seats_are_free)
{
    begin();
    mh_block_drop(arena, take(5));
    crowd_in(CROWD, fork_with_all_seats_taken);
}
#endif

/* The child does not exit: there the thread sanitizer would ask for the threads of its parent. */
static void fork_and_leave(void)
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        raise(SIGKILL);
    }
    CHECK_EQ(t_wait(child, 10), -SIGKILL);
}

TEST(threads_processes_and_forks_at_once)
{
    begin();
    pthread_t thread[3];
    pid_t child[2];
    for (uintptr_t i = 0; i < 2; i++) {
        child[i] = t_fork(churn, (void *) (i + 10));
    }
    for (uintptr_t i = 0; i < 3; i++) {
        thread[i] = t_thread(churn, (void *) (i + 1));
    }
    for (int i = 0; i < 20; i++) {
        fork_and_leave();
    }
    for (int i = 0; i < 3; i++) {
        t_join(thread[i], 20);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(t_wait(child[i], 20), 0);
    }
    (void) mh_arena_sweep(arena);
    CHECK_EQ(used(), 0);
}

/* Not a benchmark: that alloc and drop of a warm block is far from a system call's path. Best of many. */
TEST(alloc_and_drop_are_quick)
{
    if (t_scale() > 1) {
        SKIP("timings mean nothing here");
    }
    begin();
    double best = 1;
    for (int round = 0; round < 50; round++) {
        double start = t_now();
        mh_block block;
        for (int i = 0; i < 1000; i++) {
            CHECK_EQ(mh_block_alloc(arena, 100000, &block), 0);
            mh_block_drop(arena, block);
        }
        double spent = (t_now() - start) / 1000;
        best = spent < best ? spent : best;
    }
    printf("alloc and drop: %.0f ns\n", best * 1e9);
    CHECK(best < 1e-6);
}
