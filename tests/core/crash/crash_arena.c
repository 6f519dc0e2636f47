/* tests/core/crash/crash_arena.c - a process is killed at every trace point of the arena in turn. Afterwards
 * the survivor goes on: what it holds is there, whatever the dead one had is free after one sweep, and the
 * arena is whole. */
#include "tests/core/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena_check.h"
#include "core/debug/trace.h"
#include "crash_die.h"
#include "manyhands/arena.h"

#define KEPT 6
#define SENT 4
#define MOST_POINTS 3000

static mh_arena *arena;
static mh_block kept[KEPT]; /* the survivor's own */

/* What the victim has done so far, in memory that outlives it. */
static struct diary {
    uint64_t target; /* the point to die at */
    uint32_t taking, taken;
    uint32_t posted, sent;
    mh_parcel given[SENT];  /* by the survivor */
    mh_parcel mailed[SENT]; /* by the victim: storing one here is the commit of its message */
    uint32_t place;
    char point[60][32]; /* where victims died, each name once */
} *diary;

static void note_point(const char *name)
{
    int i = 0;
    while (i < 59 && diary->point[i][0] != '\0' && strcmp(diary->point[i], name) != 0) {
        i++;
    }
    snprintf(diary->point[i], sizeof diary->point[i], "%s", name);
}

/* Was there a victim that died there? A test that never comes to the point it is about proves nothing. */
static int died_at(const char *name)
{
    for (int i = 0; i < 60; i++) {
        if (strcmp(diary->point[i], name) == 0) {
            return 1;
        }
    }
    printf("nobody died at \"%s\"\n", name);
    return 0;
}

static void die_at(const char *name, uint64_t number, void *arg)
{
    (void) arg;
    if (number != diary->target) {
        return;
    }
    note_point(name);
    crash_die(name);
}

static mh_block take(size_t size)
{
    mh_block block = 0;
    CHECK_EQ(mh_block_alloc(arena, size, &block), 0);
    memset(mh_block_at(arena, block), 0x5a, 64);
    return block;
}

static void begin(void)
{
    CHECK_EQ(mh_arena_get(&arena), 0);
    diary = t_shared(sizeof *diary);
    for (int i = 0; i < KEPT; i++) {
        kept[i] = take((size_t) 3000 << i);
        memcpy(mh_block_at(arena, kept[i]), &kept[i], sizeof kept[i]);
    }
}

static void check_kept(void)
{
    for (int i = 0; i < KEPT; i++) {
        CHECK(mh_block_at(arena, kept[i]) != NULL);
        CHECK(memcmp(mh_block_at(arena, kept[i]), &kept[i], sizeof kept[i]) == 0);
    }
}

/* The survivor goes on working, on memory that is nobody else's. */
static void work_on(void)
{
    mh_block block[8];
    for (int i = 0; i < 8; i++) {
        block[i] = take((size_t) 1000 << i);
    }
    for (int i = 0; i < 8; i++) {
        mh_block_drop(arena, block[i]);
    }
}

static void check_survivor(uint32_t places)
{
    check_kept();
    work_on();
    (void) mh_arena_sweep(arena);
    check_arena(arena);
    check_kept();
    CHECK_EQ(blocks_used(arena), KEPT);
    CHECK_EQ(parcels_used(arena), 0);
    CHECK_EQ(places_taken(arena), places);
}

/* Run `victim` in a child that dies at point `target`. 1: it did; 0: it came to its end before. */
static int run_victim(void (*victim)(void), uint64_t target)
{
    diary->target = target;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        mh__trace_set(die_at, NULL);
        victim();
        mh__trace_set(NULL, NULL);
        _exit(0);
    }
    int status = t_wait(child, 10);
    CHECK(status == 0 || status == -SIGKILL);
    return status != 0;
}

static void at_every_point(void (*before)(void), void (*victim)(void), void (*after)(void))
{
    uint64_t target = 0;
    for (;; target++) {
        if (before != NULL) {
            before();
        }
        int died = run_victim(victim, target);
        if (after != NULL) {
            after();
        }
        check_survivor(1);
        if (!died) {
            break;
        }
        CHECK(target < MOST_POINTS);
    }
    printf("%d points\n", (int) target);
    CHECK(target > 10);
}

/* --- blocks --- */

static void use_blocks(void)
{
    mh_block small = take(3000), large = take(5 << 20), mine = take(40000);
    CHECK_EQ(mh_block_hold(arena, small), 0);
    mh_block_drop(arena, small);
    mh_block_drop(arena, large);
    mh_block half = take((2 << 20) + 1);
    mh_block_drop(arena, small);
    (void) take(3000);
    CHECK_EQ(mh_block_hold(arena, kept[0]), 0); /* inherited: the survivor holds it, too */
    mh_block_drop(arena, kept[0]);
    mh_block_drop(arena, half);
    (void) mine;
}

TEST_LIMIT(alloc_hold_drop, 60)
{
    begin();
    at_every_point(NULL, use_blocks, NULL);
    CHECK(died_at("alloc: bit set") && died_at("space: committed"));
    CHECK(died_at("drop: bit cleared") && died_at("space: freed") && died_at("space: carved"));
}

/* A victim that dies with blocks, and another that dies while it sweeps them, or repairs the lock that the
 * first held. The second is there before the first dies, for a fork takes the lock, too, and would repair it.
 * */
static void sweep_and_use(void)
{
    (void) mh_arena_sweep(arena);
    mh_block_drop(arena, take(3000));
}

/* 0: the second came to its end; else it died. */
static int second_dies(uint64_t first_target, uint64_t target)
{
    t_barrier_t *meet = t_barrier(2);
    pid_t second = fork();
    CHECK(second >= 0);
    if (second == 0) {
        t_meet(meet);
        mh__trace_set(die_at, NULL);
        sweep_and_use();
        mh__trace_set(NULL, NULL);
        _exit(0);
    }
    CHECK_EQ(run_victim(use_blocks, first_target), 1);
    diary->target = target;
    t_meet(meet);
    int status = t_wait(second, 10);
    CHECK(status == 0 || status == -SIGKILL);
    return status;
}

TEST_LIMIT(a_second_death_while_the_first_is_mended, 120)
{
    begin();
    int pairs = 0;
    for (uint64_t first_target = 0;; first_target += 2) { /* every other point, so that it stays short */
        if (!run_victim(use_blocks, first_target)) {
            break;
        }
        check_survivor(1);
        for (uint64_t target = 0; second_dies(first_target, target) != 0; target++, pairs++) {
            check_survivor(1);
        }
        check_survivor(1);
    }
    printf("%d pairs\n", pairs);
    CHECK(died_at("repair: begun") && died_at("rebuild: lists") && died_at("sweep: bits cleared"));
    CHECK(died_at("sweep: before a place"));
}

/* --- little memory: splitting, merging, giving back --- */

static void fill_and_mix(void)
{
    static mh_block block[400];
    int count = 0;
    while (count < 400 &&
           mh_block_alloc(arena, (size_t) 100000 + (size_t) (count % 5) * 30000, &block[count]) == 0) {
        count++;
    }
    for (int i = 0; i < count; i++) {
        mh_block_drop(arena, block[i]);
    }
}

static void victim_merges(void)
{
    mh_block between = take(160000); /* what is below it becomes a gap */
    mh_block whole = take(8 << 20);
    mh_block part = take(100000);
    mh_block_drop(arena, between);
    mh_block_drop(arena, whole);
    mh_block_drop(arena, take(1 << 20));
    mh_block_drop(arena, part);
}

TEST_LIMIT(merging, 120)
{
    struct rlimit limit = {(rlim_t) 33 << 20, (rlim_t) 33 << 20};
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    begin();
    mh_arena_set_limit(arena, (uint64_t) 1 << 40);
    fill_and_mix();
    check_survivor(1);
    at_every_point(fill_and_mix, victim_merges, NULL);
    CHECK(died_at("space: merging") && died_at("rebuild: gap") && died_at("rebuild: lists"));
}

/* All of the heap in blocks of one size, and free: whatever is smaller must come from a split. */
static void fill_evenly(void)
{
    static mh_block block[64];
    int count = 0;
    while (count < 64 && mh_block_alloc(arena, 1 << 20, &block[count]) == 0) {
        count++;
    }
    CHECK(count < 64);
    while (count > 0) {
        mh_block_drop(arena, block[--count]);
    }
}

static void victim_splits(void)
{
    mh_block block[6];
    for (int i = 0; i < 6; i++) {
        block[i] = take((size_t) 400000 + (size_t) i * 70000);
    }
    for (int i = 0; i < 6; i += 2) {
        mh_block_drop(arena, block[i]);
    }
}

TEST_LIMIT(splitting, 120)
{
    struct rlimit limit = {(rlim_t) 33 << 20, (rlim_t) 33 << 20};
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    begin();
    mh_arena_set_limit(arena, (uint64_t) 1 << 40);
    at_every_point(fill_evenly, victim_splits, NULL);
    CHECK(died_at("space: shrunk") && died_at("space: rest has its extent") && died_at("space: split"));
}

static void victim_gives_back(void)
{
    mh_block block[3];
    for (int i = 0; i < 3; i++) {
        block[i] = take(20 << 20);
    }
    for (int i = 0; i < 3; i++) {
        mh_block_drop(arena, block[i]);
    }
    (void) take(1 << 20);
}

TEST_LIMIT(giving_back, 60)
{
    begin();
    mh_arena_set_limit(arena, (uint64_t) 100 << 20);
    at_every_point(NULL, victim_gives_back, NULL);
    CHECK(died_at("relieve: taken out") && died_at("relieve: cold"));
}

/* --- messages --- */

static void give_messages(void)
{
    diary->taking = diary->taken = diary->posted = diary->sent = 0;
    for (int i = 0; i < SENT; i++) {
        mh_block block = take(1000);
        memset(mh_block_at(arena, block), 'a' + i, 100);
        CHECK_EQ(mh_block_in_message(arena, block, 0, &diary->given[i]), 0);
        mh_block_sent(arena, diary->given[i]);
        mh_block_drop(arena, block);
    }
}

static void exchange_messages(void)
{
    for (uint32_t i = 0; i < SENT; i++) {
        mh_block block, own = take(5000);
        diary->taking = i + 1;
        CHECK_EQ(mh_block_out_of_message(arena, diary->given[i], &block), 0);
        diary->taken = i + 1;
        CHECK_EQ(((char *) mh_block_at(arena, block))[99], 'a' + (int) i);
        mh_block_drop(arena, block);
        memset(mh_block_at(arena, own), 'A' + (int) i, 100);
        mh_parcel parcel;
        CHECK_EQ(mh_block_in_message(arena, own, 0, &parcel), 0);
        mh__trace_point("message: before its commit");
        diary->mailed[i] = parcel;
        diary->posted = i + 1;
        mh__trace_point("message: after its commit");
        mh_block_sent(arena, parcel);
        diary->sent = i + 1;
        mh_block_drop(arena, own);
    }
}

static void check_messages(void)
{
    mh_block block;
    if (diary->target % 2 == 0) {
        (void) mh_arena_sweep(arena); /* before or after the messages are taken: both must do */
    }
    for (uint32_t i = 0; i < SENT; i++) {
        int rc = mh_block_out_of_message(arena, diary->given[i], &block);
        CHECK(rc == 0 || rc == MH_E_LOST);
        CHECK_EQ(rc == MH_E_LOST && i >= diary->taking, 0); /* only what it had in hand is lost */
        CHECK_EQ(rc == 0 && i < diary->taken, 0);           /* and nothing comes twice */
        if (rc == 0) {
            CHECK_EQ(((char *) mh_block_at(arena, block))[99], 'a' + (int) i);
            mh_block_drop(arena, block);
        }
    }
    for (uint32_t i = 0; i < diary->posted; i++) {
        int rc = mh_block_out_of_message(arena, diary->mailed[i], &block);
        CHECK(rc == 0 || (rc == MH_E_LOST && i >= diary->sent));
        if (rc == 0) {
            CHECK_EQ(((char *) mh_block_at(arena, block))[99], 'A' + (int) i);
            mh_block_drop(arena, block);
        }
    }
}

TEST_LIMIT(messages, 60)
{
    begin();
    at_every_point(give_messages, exchange_messages, check_messages);
    CHECK(died_at("parcel: posted") && died_at("message: before its commit") &&
          died_at("message: after its commit"));
    CHECK(died_at("parcel: released") && died_at("claim: bit set"));
}

/* The receiver of a channel inside a message is killed: the messages in it go with the last one who could
 * take them. */
static void box_in_box(void)
{
    mh_block outer = take(1), inner = take(1), block = take(9000);
    mh_parcel parcel;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(mh_block_in_message(arena, block, inner, &parcel), 0);
        mh_block_sent(arena, parcel);
    }
    mh_block_drop(arena, block);
    CHECK_EQ(mh_block_in_message(arena, inner, outer, &parcel), 0);
    mh_block_sent(arena, parcel);
    mh_block_drop(arena, inner);
    mh_block_drop(arena, outer);
}

TEST_LIMIT(mailboxes, 60)
{
    begin();
    at_every_point(NULL, box_in_box, NULL);
}

/* --- places --- */

static void reserve_for_victim(void)
{
    CHECK_EQ(mh_arena_reserve(arena, &diary->place), 0);
    CHECK_EQ(mh_block_hold_for(arena, kept[1], diary->place), 0);
}

static void settle_and_reserve(void)
{
    uint32_t place;
    CHECK_EQ(mh_arena_settle(arena, diary->place, getpid()), 0);
    mh_block block = take(1000);
    CHECK_EQ(mh_block_hold(arena, kept[1]), 0);
    CHECK_EQ(mh_arena_reserve(arena, &place), 0);
    CHECK_EQ(mh_block_hold_for(arena, block, place), 0);
    mh_block_drop(arena, block);
    (void) mh_arena_reconcile(arena);
    mh_arena_unreserve(arena, place);
}

/* Reservations of the dead stand for a while, on purpose: make them old. */
static void age_reservations(void)
{
    mh_arena_unreserve(arena, diary->place);
    for (uint32_t i = 0; i < MH_ARENA_PLACES; i++) {
        if (mh_load_acq(&arena->places[i].state) == MH__PLACE_RESERVED) {
            arena->places[i].since -= 2 * MH__ARENA_GRACE;
        }
    }
}

TEST_LIMIT(reserve_and_settle, 60)
{
    begin();
    at_every_point(reserve_for_victim, settle_and_reserve, age_reservations);
    CHECK(died_at("settle: taken") && died_at("settle: moved") && died_at("reserve: reserved"));
}

/* The victim forks, and either it or its child dies at the point. */
static void fork_in_victim(void)
{
    mh_block block = take(2000);
    pid_t child = fork();
    if (child == 0) {
        CHECK(mh_block_at(arena, block) != NULL);
        mh_block_drop(arena, block);
        _exit(0);
    }
    int status;
    while (waitpid(child, &status, 0) < 0) {
        CHECK_EQ(errno, EINTR);
    }
    mh_block_drop(arena, block);
}

TEST_LIMIT(forks, 60)
{
    begin();
    at_every_point(NULL, fork_in_victim, age_reservations);
}

/* A child that is killed in fork() itself, before it could settle: its parent finds out by the beacon. */
static pid_t survivor;

static void die_in_child(const char *name, uint64_t number, void *arg)
{
    (void) arg;
    (void) number;
    if (getpid() == survivor || diary->taking++ != diary->target) {
        return;
    }
    note_point(name);
    crash_die(name);
}

TEST_LIMIT(a_child_killed_before_it_settles, 60)
{
    int status = -SIGKILL;
    begin();
    survivor = getpid();
    for (diary->target = 0; status != 0; diary->target++) {
        diary->taking = 0;
        mh__trace_set(die_in_child, NULL);
        pid_t child = fork();
        if (child == 0) {
            _exit(0);
        }
        mh__trace_set(NULL, NULL);
        status = t_wait(child, 5);
        check_survivor(1);
        CHECK_EQ(arena->beacons, 0);
    }
    CHECK(died_at("settle: before the commit") && died_at("settle: taken") && died_at("settle: moved"));
}

/* A child that is slow to settle: meanwhile its parent drops the block and takes what is free. The bits that
 * were set before the fork are all that keeps the block for the child. */
static t_barrier_t *slow;

static void wait_in_child(const char *name, uint64_t number, void *arg)
{
    (void) number;
    (void) arg;
    if (getpid() == survivor || strcmp(name, "fork: child before it settles") != 0) {
        return;
    }
    t_meet(slow);
    t_meet(slow);
}

TEST_LIMIT(a_parent_that_drops_before_its_child_settles, 20)
{
    begin();
    survivor = getpid();
    slow = t_barrier(2);
    mh_block block = take(50000), other[4];
    strcpy(mh_block_at(arena, block), "for the child");
    mh__trace_set(wait_in_child, NULL);
    pid_t child = fork();
    if (child == 0) {
        const char *text = mh_block_at(arena, block);
        _exit(text != NULL && strcmp(text, "for the child") == 0 ? 0 : 1);
    }
    mh__trace_set(NULL, NULL);
    t_meet(slow);
    mh_block_drop(arena, block);
    (void) mh_arena_sweep(arena); /* nor may this take a place from a child that is only slow */
    for (int i = 0; i < 4; i++) {
        other[i] = take(50000);
        memset(mh_block_at(arena, other[i]), 'x', 50000);
    }
    t_meet(slow);
    CHECK_EQ(t_wait(child, 5), 0);
    for (int i = 0; i < 4; i++) {
        mh_block_drop(arena, other[i]);
    }
    check_survivor(1);
}

/* --- at random --- */

static void churn_for_ever(unsigned seed)
{
    mh_block block[6] = {0};
    for (;;) {
        int k = rand_r(&seed) % 6;
        mh_parcel parcel;
        if (block[k] == 0) {
            block[k] = take((size_t) (rand_r(&seed) % 300000 + 1));
        } else if (rand_r(&seed) % 3 == 0) {
            CHECK_EQ(mh_block_in_message(arena, block[k], 0, &parcel), 0);
            mh_block_drop(arena, block[k]);
            CHECK_EQ(mh_block_out_of_message(arena, parcel, &block[k]), 0);
        } else {
            CHECK_EQ(((char *) mh_block_at(arena, block[k]))[63], 0x5a);
            mh_block_drop(arena, block[k]);
            block[k] = 0;
        }
    }
}

TEST_LIMIT(random_kills, 300)
{
    const char *wanted = getenv("T_SOAK"); /* rounds */
    int rounds = wanted != NULL ? atoi(wanted) : 60;
    unsigned seed = 3;
    begin();
    for (int i = 0; i < rounds; i++) {
        pid_t child[2];
        for (int k = 0; k < 2; k++) {
            child[k] = fork();
            CHECK(child[k] >= 0);
            if (child[k] == 0) {
                churn_for_ever((unsigned) (i * 2 + k));
            }
        }
        double end = t_now() + (double) (rand_r(&seed) % 3000) * 1e-6;
        while (t_now() < end) {
            work_on();
        }
        for (int k = 0; k < 2; k++) {
            kill(child[k], SIGKILL);
            CHECK_EQ(t_wait(child[k], 5), -SIGKILL);
        }
        check_survivor(1);
    }
}
