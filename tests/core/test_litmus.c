/* Litmus tests of memory order: what the release-acquire pairs of the library promise, tried on this processor.
 *
 * Two threads run a few lines each on the same cell, over and over on fresh cells at as nearly the same time as they can.
 * An outcome that the order forbids must never be seen. A pair that is too weak may still pass here, on a processor that
 * is stricter than the language; that is why each pair is argued in a comment as well, and why `weak_pairs_show` prints
 * whether this machine shows the reordering that the fence of the library forbids.
 */
#include <manyhands/manyhands.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/os/atomic.h"
#include "tests/core/harness.h"

enum { CELLS = 200, BATCHES = 2000 };

struct cell {
    _Alignas(64) _Atomic(uint32_t) x;
    _Alignas(64) _Atomic(uint32_t) y;
    long plain; /* TSan sees where it is reached without an order */
    int saw_left, saw_right;
    mh_lock lock;
    mh_sem sem;
    mh_event event;
    mh_cancel cancel;
};

struct litmus {
    void (*left)(struct cell *cell), (*right)(struct cell *cell);
    struct cell *cells;
    int batches;
    _Alignas(64) _Atomic(uint32_t) arrived;
};

/* Sleepers wake microseconds apart, which is as long as a whole batch takes: spin. */
static void meet(struct litmus *litmus, uint32_t round)
{
    mh_add_acq_rel(&litmus->arrived, 1);
    for (int spins = 0; mh_load_acq(&litmus->arrived) < 2 * round; spins++) {
        if (spins > 20000) {
            (void) sched_yield();
        }
    }
}

static void make_anew(struct cell *cells)
{
    memset(cells, 0, CELLS * sizeof *cells);
    for (int i = 0; i < CELLS; i++) {
        mh_lock_init(&cells[i].lock, MH_PRIVATE);
        CHECK_EQ(mh_sem_init(&cells[i].sem, 0, 0, MH_PRIVATE), 0);
        mh_event_init(&cells[i].event, MH_PRIVATE);
        mh_cancel_init(&cells[i].cancel, MH_PRIVATE);
        cells[i].saw_left = cells[i].saw_right = -1;
    }
}

static void right_side(void *argument)
{
    struct litmus *litmus = argument;
    for (int batch = 0; batch < litmus->batches; batch++) {
        meet(litmus, 2 * (uint32_t) batch + 1);
        for (int i = 0; i < CELLS; i++) {
            litmus->right(&litmus->cells[i]);
        }
        meet(litmus, 2 * (uint32_t) batch + 2);
    }
}

/* How many cells ended as `forbidden` says. */
static long run(void (*left)(struct cell *), void (*right)(struct cell *),
                int (*forbidden)(const struct cell *))
{
    struct litmus litmus = {left, right, aligned_alloc(64, CELLS * sizeof(struct cell)), BATCHES / t_scale(),
                            0};
    long count = 0;
    CHECK(litmus.cells != NULL);
    pthread_t other = t_thread(right_side, &litmus);
    for (int batch = 0; batch < litmus.batches; batch++) {
        make_anew(litmus.cells);
        meet(&litmus, 2 * (uint32_t) batch + 1);
        for (int i = 0; i < CELLS; i++) {
            left(&litmus.cells[i]);
        }
        meet(&litmus, 2 * (uint32_t) batch + 2);
        for (int i = 0; i < CELLS; i++) {
            count += forbidden(&litmus.cells[i]);
        }
    }
    t_join(other, 60);
    free(litmus.cells);
    return count;
}

/* saw_right: -1 the message had not come; else what was found behind it */
static int message_without_its_word(const struct cell *cell)
{
    return cell->saw_right == 0;
}

/* ---- the atomics ---- */

static void publish(struct cell *cell)
{
    cell->plain = 1;
    mh_store_rel(&cell->x, 1);
}

static void look_for_it(struct cell *cell)
{
    if (mh_load_acq(&cell->x) == 1) {
        cell->saw_right = (int) cell->plain;
    }
}

TEST_LIMIT(message_passing_by_release_and_acquire, 60)
{
    CHECK_EQ(run(publish, look_for_it, message_without_its_word), 0);
}

static void publish_by_cas(struct cell *cell)
{
    uint32_t none = 0;
    cell->plain = 1;
    CHECK(mh_cas_rel(&cell->x, &none, 1));
}

static void take_by_cas(struct cell *cell)
{
    uint32_t there = 1;
    if (mh_cas_acq(&cell->x, &there, 2)) {
        cell->saw_right = (int) cell->plain;
    }
}

TEST_LIMIT(message_passing_by_compare_and_swap, 60)
{
    CHECK_EQ(run(publish_by_cas, take_by_cas, message_without_its_word), 0);
}

/* Each announces itself, and then looks for the other: what a waiter and a waker do. At least one must see the other. */
static void announce_left(struct cell *cell)
{
    mh_store_rlx(&cell->x, 1);
    mh_fence_seq();
    cell->saw_left = (int) mh_load_rlx(&cell->y);
}

static void announce_right(struct cell *cell)
{
    mh_store_rlx(&cell->y, 1);
    mh_fence_seq();
    cell->saw_right = (int) mh_load_rlx(&cell->x);
}

static int neither_saw(const struct cell *cell)
{
    return cell->saw_left == 0 && cell->saw_right == 0;
}

TEST_LIMIT(store_buffering_with_the_full_fence, 60)
{
    CHECK_EQ(run(announce_left, announce_right, neither_saw), 0);
}

static void unfenced_left(struct cell *cell)
{
    mh_store_rel(&cell->x, 1);
    cell->saw_left = (int) mh_load_acq(&cell->y);
}

static void unfenced_right(struct cell *cell)
{
    mh_store_rel(&cell->y, 1);
    cell->saw_right = (int) mh_load_acq(&cell->x);
}

/* No assertion: whether it is seen is the processor's and the scheduler's matter. */
TEST_LIMIT(weak_pairs_show, 60)
{
    long seen = run(unfenced_left, unfenced_right, neither_saw);
    printf("    without the fence %ld of %d cells had neither side see the other\n", seen,
           CELLS * (BATCHES / t_scale()));
}

/* Neither may see what the other stores only after its own look. */
static void look_then_store_left(struct cell *cell)
{
    cell->saw_left = (int) mh_load_acq(&cell->x);
    mh_store_rel(&cell->y, 1);
}

static void look_then_store_right(struct cell *cell)
{
    cell->saw_right = (int) mh_load_acq(&cell->y);
    mh_store_rel(&cell->x, 1);
}

static int both_saw(const struct cell *cell)
{
    return cell->saw_left == 1 && cell->saw_right == 1;
}

TEST_LIMIT(load_buffering, 60)
{
    CHECK_EQ(run(look_then_store_left, look_then_store_right, both_saw), 0);
}

/* Two stores to one word are seen in one order. */
static void store_twice(struct cell *cell)
{
    mh_store_rlx(&cell->x, 1);
    mh_store_rlx(&cell->x, 2);
}

static void read_twice(struct cell *cell)
{
    cell->saw_left = (int) mh_load_rlx(&cell->x);
    cell->saw_right = (int) mh_load_rlx(&cell->x);
}

static int went_back(const struct cell *cell)
{
    return cell->saw_right < cell->saw_left;
}

TEST_LIMIT(coherence, 60)
{
    CHECK_EQ(run(store_twice, read_twice, went_back), 0);
}

/* ---- what is built on them ---- */

static void publish_under_lock(struct cell *cell)
{
    CHECK_EQ(mh_lock_acquire(&cell->lock, MH_FOREVER, NULL), 0);
    cell->plain = 1;
    mh_store_rlx(&cell->x, 1); /* relaxed: the lock alone orders it */
    mh_lock_release(&cell->lock);
}

static void look_under_lock(struct cell *cell)
{
    if (mh_lock_try_acquire(&cell->lock) == 0) {
        if (mh_load_rlx(&cell->x) == 1) {
            cell->saw_right = (int) cell->plain;
        }
        mh_lock_release(&cell->lock);
    }
}

TEST_LIMIT(message_passing_by_lock, 60)
{
    CHECK_EQ(run(publish_under_lock, look_under_lock, message_without_its_word), 0);
}

static void post(struct cell *cell)
{
    cell->plain = 1;
    mh_sem_post(&cell->sem, 1);
}

static void take_permit(struct cell *cell)
{
    if (mh_sem_acquire(&cell->sem, MH_AT_ONCE, NULL) == 0) {
        cell->saw_right = (int) cell->plain;
    }
}

TEST_LIMIT(message_passing_by_semaphore, 60)
{
    CHECK_EQ(run(post, take_permit, message_without_its_word), 0);
}

static void set_event(struct cell *cell)
{
    cell->plain = 1;
    mh_event_set(&cell->event);
}

static void look_at_event(struct cell *cell)
{
    if (mh_event_is_set(&cell->event)) {
        cell->saw_right = (int) cell->plain;
    }
}

TEST_LIMIT(message_passing_by_event, 60)
{
    CHECK_EQ(run(set_event, look_at_event, message_without_its_word), 0);
}

static void request(struct cell *cell)
{
    cell->plain = 1;
    mh_cancel_request(&cell->cancel);
}

static void look_at_request(struct cell *cell)
{
    if (mh_cancel_requested(&cell->cancel)) {
        cell->saw_right = (int) cell->plain;
    }
}

TEST_LIMIT(message_passing_by_cancel_token, 60)
{
    CHECK_EQ(run(request, look_at_request, message_without_its_word), 0);
}

/* A sleeper and a waker: with a wake that the waker skips where it sees nobody, one that is lost would hang this. */
static void wait_for_event(struct cell *cell)
{
    CHECK_EQ(mh_event_wait(&cell->event, mh_in_ms(20000), NULL), 0);
    cell->saw_right = (int) cell->plain;
}

TEST_LIMIT(no_wake_is_lost_between_announcing_and_looking, 60)
{
    CHECK_EQ(run(set_event, wait_for_event, message_without_its_word), 0);
}

/* ---- one object, many messages ---- */

enum { MESSAGES = 20000 };
static long written[MESSAGES];

static void produce(void *argument)
{
    for (uint32_t i = 0; i < MESSAGES; i++) {
        written[i] = (long) i + 1;
        CHECK_EQ(mh_channel_put(argument, &(mh_part){&i, sizeof i}, 1, 0, MH_FOREVER, NULL), 0);
    }
}

TEST_LIMIT(message_passing_by_channel, 60)
{
    mh_channel *channel;
    mh_message message = {0};
    CHECK_EQ(mh_channel_create(&(mh_channel_options){.max_items = 64, .flags = MH_PRIVATE}, &channel), 0);
    pthread_t other = t_thread(produce, channel);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        CHECK_EQ(mh_channel_get(channel, &message, MH_FOREVER, NULL), 0);
        CHECK_EQ(written[i], (long) i + 1);
    }
    t_join(other, 20);
    mh_message_fini(&message);
    mh_channel_destroy(channel);
}

static struct {
    mh_rwlock lock;
    long first, second;
} pair;

static void write_pairs(void *argument)
{
    (void) argument;
    for (long i = 1; i <= MESSAGES; i++) {
        CHECK_EQ(mh_rwlock_acquire_write(&pair.lock, MH_FOREVER, NULL), 0);
        pair.first = i;
        pair.second = -i;
        mh_rwlock_release_write(&pair.lock);
    }
}

TEST_LIMIT(readers_see_all_of_a_write_or_nothing, 60)
{
    CHECK_EQ(mh_rwlock_init(&pair.lock, 0, MH_PRIVATE), 0);
    pthread_t other = t_thread(write_pairs, NULL);
    for (long last = 0; last < MESSAGES;) {
        CHECK_EQ(mh_rwlock_acquire_read(&pair.lock, MH_FOREVER, NULL), 0);
        CHECK_EQ(pair.first + pair.second, 0);
        CHECK(pair.first >= last);
        last = pair.first;
        mh_rwlock_release_read(&pair.lock);
    }
    t_join(other, 20);
}
