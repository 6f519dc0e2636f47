/* tests/core/crash/crash_channel.c - a participant of a channel or pipe is killed at every trace point, and
 * at a sample of single instructions. Afterwards nothing that was committed is lost or doubled, counts are
 * exact, and the others go on.
 *
 * Every scenario runs again and again, each time dying one point later, until it gets through alive.
 */
#include <stdio.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/debug/trace.h"
#include "crash_die.h"
#include "core/os/atomic.h"
#include "core/shm/pipe_end.h"
#include "manyhands/channel.h"
#include "manyhands/pipe.h"
#include "tests/core/harness.h"

#define COUNT 12

/* This process ends, as the system's killer would end it, at the n-th trace point from now (1: the next; 0:
 * never). Only points that are named `only` count, unless that is NULL. */
struct killer {
    unsigned left;
    const char *only;
};

static void kill_self(const char *name, uint64_t number, void *arg)
{
    struct killer *killer = arg;

    (void) number;
    if ((!killer->only || strcmp(killer->only, name) == 0) && --killer->left == 0) {
        crash_die(name);
    }
}

static void die_at(unsigned n, const char *only)
{
    static struct killer killer;
    killer = (struct killer){n, only};
    mh__trace_set(n ? kill_self : NULL, &killer);
}

struct scene {
    mh_channel *ch;
    mh_pipe *ends[2];
    unsigned die_at;
    const char *only;
    int many;       /* messages per call */
    uint32_t *done; /* shared: messages whose call returned */
};

/* Message `number`: its size grows so that the window must, too. */
static size_t size_of(unsigned number)
{
    return 8 + number % COUNT * 2500;
}

static void fill(unsigned char *data, unsigned number)
{
    size_t size = size_of(number);
    memset(data, (int) (number * 37 + 1), size);
    memcpy(data, &number, sizeof number);
}

static void check(const unsigned char *data, size_t size, unsigned number)
{
    unsigned found;

    memcpy(&found, data, sizeof found);
    CHECK_EQ(found, number);
    CHECK_EQ(size, size_of(number));
    for (size_t i = sizeof found; i < size; i++) {
        if (data[i] != (unsigned char) (number * 37 + 1)) {
            FAIL("message %u is not whole at byte %zu", number, i);
        }
    }
}

static int put(mh_channel *ch, unsigned first, unsigned count)
{
    static unsigned char data[COUNT][40000];
    mh_part parts[COUNT];
    size_t done;

    for (unsigned i = 0; i < count; i++) {
        fill(data[i], first + i);
        parts[i] = (mh_part){data[i], size_of(first + i)};
    }
    return mh_channel_put_many(ch, parts, count, 0, mh_in_ms(5000), NULL, &done);
}

static void produce(void *arg)
{
    struct scene *scene = arg;

    die_at(scene->die_at, scene->only);
    for (unsigned i = 0; i < COUNT; i += (unsigned) scene->many) {
        CHECK_EQ(put(scene->ch, i, (unsigned) scene->many), 0);
        *scene->done += (unsigned) scene->many;
    }
    die_at(0, NULL);
}

/* Take all that is there: messages first, first + 1, ...; how many. */
static unsigned drain(mh_channel *ch, unsigned first)
{
    mh_message message = {0};
    unsigned taken = 0;

    while (mh_channel_get(ch, &message, MH_AT_ONCE, NULL) == 0) {
        check(message.data, message.size, first + taken);
        taken++;
    }
    mh_message_fini(&message);
    return taken;
}

/* The channel works: one message in and out. */
static void check_works(mh_channel *ch)
{
    CHECK_EQ(mh_channel_valid(ch), 0);
    CHECK_EQ(put(ch, 0, 1), 0);
    CHECK_EQ(drain(ch, 0), 1);
    CHECK_EQ(mh_channel_items(ch), 0);
}

static void kill_producers(int many, int select)
{
    struct scene scene = {.many = many, .done = t_shared(sizeof(uint32_t))};
    int status = -SIGKILL;

    for (scene.die_at = 1; status != 0; scene.die_at++) {
        uint64_t items;
        unsigned taken;

        CHECK_EQ(mh_channel_create(&(mh_channel_options){0}, &scene.ch), 0);
        CHECK(!select || mh_channel_select_fd(scene.ch) >= 0);
        *scene.done = 0;
        status = t_wait(t_fork(produce, &scene), 10);
        CHECK(status == 0 || status == -SIGKILL);
        CHECK_EQ(mh_channel_valid(scene.ch), 0);
        items = mh_channel_items(scene.ch);
        taken = drain(scene.ch, 0);
        CHECK_EQ(items, taken);
        CHECK(taken >= *scene.done && taken <= *scene.done + (unsigned) many);
        check_works(scene.ch);
        CHECK_EQ(mh_channel_lost(scene.ch), 0);
        mh_channel_destroy(scene.ch);
    }
    CHECK(scene.die_at > COUNT / (unsigned) many * 5); /* there were points to die at */
    CHECK_EQ(*scene.done, COUNT);
}

TEST_LIMIT(producers_die_everywhere, 60)
{
    kill_producers(1, 0);
}

TEST_LIMIT(producers_of_batches_die_everywhere, 60)
{
    kill_producers(4, 0);
}

TEST_LIMIT(ringing_producers_die_everywhere, 60)
{
    kill_producers(1, 1);
}

static void consume(void *arg)
{
    struct scene *scene = arg;
    mh_message message = {0};
    size_t done;

    die_at(scene->die_at, scene->only);
    while (*scene->done < COUNT &&
           mh_channel_get_many(scene->ch, &message, (size_t) scene->many, MH_AT_ONCE, NULL, &done) == 0) {
        *scene->done += (unsigned) done;
    }
    die_at(0, NULL);
}

static void kill_consumers(int many, int select)
{
    struct scene scene = {.many = many, .done = t_shared(sizeof(uint32_t))};
    int status = -SIGKILL;

    for (scene.die_at = 1; status != 0; scene.die_at++) {
        unsigned before, gone;

        CHECK_EQ(mh_channel_create(&(mh_channel_options){0}, &scene.ch), 0);
        CHECK(!select || mh_channel_select_fd(scene.ch) >= 0);
        *scene.done = 0;
        CHECK_EQ(put(scene.ch, 0, COUNT), 0);
        status = t_wait(t_fork(consume, &scene), 10);
        CHECK(status == 0 || status == -SIGKILL);
        CHECK_EQ(mh_channel_valid(scene.ch), 0);
        before = (unsigned) mh_channel_items(scene.ch);
        gone = COUNT - before;
        /* What is gone was returned to the dead, or was in its hands: at most one call's worth. */
        CHECK(gone >= *scene.done && gone - *scene.done <= (unsigned) many);
        /* Where it died inside the take, that is counted; where it died after it, it had been given. */
        CHECK(mh_channel_lost(scene.ch) == 0 || mh_channel_lost(scene.ch) == gone - *scene.done);
        CHECK_EQ(drain(scene.ch, gone), before);
        check_works(scene.ch);
        mh_channel_destroy(scene.ch);
    }
    CHECK(scene.die_at > COUNT / (unsigned) many * 4);
    CHECK_EQ(*scene.done, COUNT);
}

TEST_LIMIT(consumers_die_everywhere, 60)
{
    kill_consumers(1, 0);
}

TEST_LIMIT(consumers_of_batches_die_everywhere, 60)
{
    kill_consumers(5, 0);
}

TEST_LIMIT(silencing_consumers_die_everywhere, 60)
{
    kill_consumers(1, 1);
}

static void enter_head(void *arg)
{
    struct scene *scene = arg;
    die_at(scene->die_at, NULL);
    (void) mh_channel_lost(scene->ch);
    die_at(0, NULL);
}

/* A consumer dies with one message taken; then one repairer after the other dies, a step later each time. The
 * message is counted once. */
TEST_LIMIT(repairers_die_everywhere, 60)
{
    struct scene scene = {.many = 1, .done = t_shared(sizeof(uint32_t))};
    struct scene second;
    int status = -SIGKILL;

    second = scene;
    for (second.die_at = 1; status != 0; second.die_at++) {
        CHECK_EQ(mh_channel_create(&(mh_channel_options){0}, &scene.ch), 0);
        CHECK_EQ(put(scene.ch, 0, COUNT), 0);
        for (unsigned round = 1; round <= 2; round++) {
            scene.die_at = 1;
            scene.only = "ring.get.committed";
            *scene.done = 0;
            CHECK_EQ(t_wait(t_fork(consume, &scene), 10), -SIGKILL);
            second.ch = scene.ch;
            status = t_wait(t_fork(enter_head, &second), 10);
            CHECK(status == 0 || status == -SIGKILL);
            CHECK_EQ(mh_channel_lost(scene.ch), round);
        }
        CHECK_EQ(drain(scene.ch, 2), COUNT - 2);
        check_works(scene.ch);
        CHECK_EQ(mh_channel_lost(scene.ch), 2);
        mh_channel_destroy(scene.ch);
    }
    CHECK(second.die_at > 5);
}

static void close_it(void *arg)
{
    struct scene *scene = arg;
    die_at(scene->die_at, NULL);
    mh_channel_close(scene->ch, 1);
    die_at(0, NULL);
}

/* A large channel is closed with all that is in it: this also shrinks it. */
TEST_LIMIT(closers_die_everywhere, 60)
{
    struct scene scene = {.many = 1};
    int status = -SIGKILL;
    unsigned char *data = calloc(1, 6 << 20);

    for (scene.die_at = 1; status != 0; scene.die_at++) {
        mh_message message = {0};

        CHECK_EQ(mh_channel_create(&(mh_channel_options){0}, &scene.ch), 0);
        CHECK_EQ(mh_channel_put(scene.ch, &(mh_part){data, 6 << 20}, 1, 0, MH_AT_ONCE, NULL), 0);
        status = t_wait(t_fork(close_it, &scene), 10);
        CHECK(status == 0 || status == -SIGKILL);
        CHECK_EQ(mh_channel_valid(scene.ch), 0);
        mh_channel_close(scene.ch, 1);
        CHECK_EQ(mh_channel_get(scene.ch, &message, MH_AT_ONCE, NULL), MH_E_CLOSED);
        CHECK_EQ(mh_channel_items(scene.ch), 0);
        CHECK_EQ(mh_channel_lost(scene.ch), 0);
        mh_channel_destroy(scene.ch);
    }
    CHECK(scene.die_at > 6);
    free(data);
}

static void get_one(void *arg)
{
    struct scene *scene = arg;
    mh_message message = {0};

    die_at(scene->die_at, scene->only);
    CHECK_EQ(mh_channel_get(scene->ch, &message, MH_FOREVER, NULL), 0);
    *scene->done += 1;
}

/* Two wait; the one that a put wakes is killed before it takes. The other must not sleep on beside the
 * message. */
TEST(a_woken_consumer_that_dies_strands_nobody)
{
    struct scene first = {.done = t_shared(sizeof(uint32_t)), .die_at = 1, .only = "gate.woken"}, second;
    pid_t doomed, other;

    CHECK_EQ(mh_channel_create(&(mh_channel_options){0}, &first.ch), 0);
    second = first;
    second.die_at = 0;
    doomed = t_fork(get_one, &first);
    CHECK_EVENTUALLY(t_sleeps(doomed));
    other = t_fork(get_one, &second);
    CHECK_EVENTUALLY(t_sleeps(other));
    CHECK_EQ(put(first.ch, 0, 1), 0);
    CHECK_EQ(t_wait(other, 10), 0);
    CHECK_EQ(*first.done, 1);
    CHECK_EQ(t_wait(doomed, 10), -SIGKILL);
    CHECK_EQ(mh_channel_items(first.ch), 0);
    mh_channel_destroy(first.ch);
}

static void put_one(void *arg)
{
    struct scene *scene = arg;
    die_at(scene->die_at, scene->only);
    (void) put(scene->ch, 0, 1);
}

/* A producer is killed between its commit and the wake. */
TEST(a_wake_that_never_comes_strands_nobody)
{
    static const char *points[] = {"ring.put.committed", "put.left", "gate.opened"};
    struct scene scene = {.done = t_shared(sizeof(uint32_t)), .die_at = 1}, waiter;

    for (unsigned i = 0; i < 3; i++) {
        pid_t sleeper;

        CHECK_EQ(mh_channel_create(&(mh_channel_options){0}, &scene.ch), 0);
        waiter = scene;
        waiter.die_at = 0;
        scene.only = points[i];
        *scene.done = 0;
        sleeper = t_fork(get_one, &waiter);
        CHECK_EVENTUALLY(t_sleeps(sleeper));
        CHECK_EQ(t_wait(t_fork(put_one, &scene), 10), -SIGKILL);
        CHECK_EQ(t_wait(sleeper, 10), 0);
        CHECK_EQ(*scene.done, 1);
        mh_channel_destroy(scene.ch);
    }
}

/* ---- pipe
 * ---------------------------------------------------------------------------------------------------- */

#define LARGE (3u * MH__PIPE_PIECE + 5) /* fits into the ring, in four pieces */

static void send_three(void *arg)
{
    struct scene *scene = arg;
    static unsigned char data[LARGE];
    static const size_t size[3] = {10, LARGE, 11};

    die_at(scene->die_at, NULL);
    for (unsigned i = 0; i < 3; i++) {
        memset(data, (int) i + 1, size[i]);
        CHECK_EQ(mh_pipe_send(scene->ends[0], &(mh_part){data, size[i]}, 1, i, mh_in_ms(5000), NULL), 0);
        *scene->done += 1;
    }
    die_at(0, NULL);
}

static void check_received(const mh_message *message)
{
    static const size_t size[4] = {10, LARGE, 11, 12};
    CHECK(message->tag < 4);
    CHECK_EQ(message->size, size[message->tag]);
    for (size_t i = 0; i < message->size; i++) {
        if (((unsigned char *) message->data)[i] != message->tag + 1) {
            FAIL("message %u is not whole at byte %zu", message->tag, i);
        }
    }
}

/* Receive until message 3; returns how many of 0, 1, 2 came. They come in order. */
static unsigned receive_rest(mh_pipe *end, unsigned first)
{
    mh_message message = {0};
    unsigned next = first;

    for (;;) {
        CHECK_EQ(mh_pipe_receive(end, &message, mh_in_ms(5000), NULL), 0);
        check_received(&message);
        if (message.tag == 3) {
            break;
        }
        CHECK(message.tag >= next);
        next = message.tag + 1;
    }
    mh_message_fini(&message);
    return next;
}

static void send_last(mh_pipe *end)
{
    unsigned char data[12];
    memset(data, 4, sizeof data);
    CHECK_EQ(mh_pipe_send(end, &(mh_part){data, sizeof data}, 1, 3, mh_in_ms(5000), NULL), 0);
}

TEST_LIMIT(senders_die_everywhere, 60)
{
    struct scene scene = {.done = t_shared(sizeof(uint32_t))};
    int status = -SIGKILL;

    for (scene.die_at = 1; status != 0; scene.die_at++) {
        unsigned came;

        CHECK_EQ(mh_pipe_create(1, scene.ends), 0);
        CHECK(scene.die_at % 2 || mh_pipe_select_fd(scene.ends[1]) >= 0);
        *scene.done = 0;
        status = t_wait(t_fork(send_three, &scene), 10);
        CHECK(status == 0 || status == -SIGKILL);
        CHECK_EQ(mh_pipe_valid(scene.ends[1]), 0);
        send_last(scene.ends[0]); /* another holder of the end goes on */
        came = receive_rest(scene.ends[1], 0);
        CHECK(came == *scene.done || came == *scene.done + 1);
        CHECK_EQ(mh_pipe_valid(scene.ends[1]), 0);
        mh_pipe_close(scene.ends[0]);
        mh_pipe_close(scene.ends[1]);
    }
    CHECK(scene.die_at > 30);
}

static void receive_three(void *arg)
{
    struct scene *scene = arg;
    mh_message message = {0};

    die_at(scene->die_at, NULL);
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQ(mh_pipe_receive(scene->ends[1], &message, mh_in_ms(5000), NULL), 0);
        check_received(&message);
        CHECK_EQ(message.tag, i);
        *scene->done += 1;
    }
    die_at(0, NULL);
}

TEST_LIMIT(receivers_die_everywhere, 60)
{
    struct scene scene = {.done = t_shared(sizeof(uint32_t))};
    int status = -SIGKILL;

    for (scene.die_at = 1; status != 0; scene.die_at++) {
        struct scene sender;

        CHECK_EQ(mh_pipe_create(1, scene.ends), 0);
        CHECK(scene.die_at % 2 || mh_pipe_select_fd(scene.ends[1]) >= 0);
        sender = scene;
        sender.die_at = 0;
        *scene.done = 0;
        send_three(&sender);
        *scene.done = 0;
        status = t_wait(t_fork(receive_three, &scene), 10);
        CHECK(status == 0 || status == -SIGKILL);
        send_last(scene.ends[0]);
        /* another holder of the end goes on, at most one message is gone with the dead */
        CHECK(receive_rest(scene.ends[1], *scene.done) >= *scene.done);
        CHECK_EQ(mh_pipe_valid(scene.ends[1]), 0);
        mh_pipe_close(scene.ends[0]);
        mh_pipe_close(scene.ends[1]);
    }
    CHECK(scene.die_at > 20);
}

/* ---- single instructions
 * ----------------------------------------------------------------------------------- */

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
struct stepped {
    mh_channel *ch;
    mh_message message; /* with room already: no allocation under the tracer */
    int gets;
    MH_ATOMIC(uint32_t) *ended; /* shared: the call has returned */
};

/* Run `child` one instruction at a time, at most `steps` of them, then kill it. How many it took until the call had
 * returned, or `steps` where it was under way still. */
static unsigned kill_after(pid_t child, unsigned steps, const struct stepped *stepped)
{
    unsigned took = 0;
    int status;

    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(WIFSTOPPED(status));
    for (; took < steps && !mh_load_rlx(stepped->ended); took++) {
        CHECK_EQ(ptrace(PTRACE_SINGLESTEP, child, NULL, NULL), 0);
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK(WIFSTOPPED(status));
    }
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(waitpid(child, &status, 0), child);
    return took;
}

/* A child that puts (gets) one message, under a tracer from its first instruction on. */
static pid_t traced(struct stepped *stepped)
{
    static unsigned char data[512];
    pid_t child;
    int rc;

    fill(data, 0);
    mh_store_rel(stepped->ended, 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void) mh_channel_valid(stepped->ch); /* learns what a new process must, out of the tracer's way */
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
            _exit(T_SKIPPED);
        }
        raise(SIGSTOP);
        rc = stepped->gets
                 ? mh_channel_get(stepped->ch, &stepped->message, MH_AT_ONCE, NULL)
                 : mh_channel_put(stepped->ch, &(mh_part){data, size_of(0)}, 1, 0, MH_AT_ONCE, NULL);
        mh_store_rel(stepped->ended, rc == 0 ? 1 : 2);
        for (;;) {
            (void) pause();
        }
    }
    return child;
}

/* One call, killed after so many instructions: whatever came of it, the channel is right and works. *took as above; 1
 * where the call had committed. */
static int kill_once(struct stepped *stepped, unsigned steps, unsigned *took)
{
    mh_channel *ch = stepped->ch;
    uint64_t lost = mh_channel_lost(ch);
    unsigned items;

    CHECK(!stepped->gets || put(ch, 0, 1) == 0);
    *took = kill_after(traced(stepped), steps, stepped);
    CHECK(mh_load_rlx(stepped->ended) < 2);
    CHECK_EQ(mh_channel_valid(ch), 0);
    items = (unsigned) mh_channel_items(ch);
    CHECK(items <= 1);
    CHECK(mh_channel_lost(ch) - lost <= (stepped->gets && items == 0));
    CHECK_EQ(drain(ch, 0), items);
    check_works(ch);
    return items != (unsigned) stepped->gets;
}

/* All over the call, and then at each instruction around the commit, which is found by halving. */
static void kill_at_instructions(int gets)
{
    struct stepped stepped = {.gets = gets, .ended = t_shared(sizeof(uint32_t))};
    const unsigned points = 100 / (unsigned) t_scale(), around = 10;
    unsigned all, took, before = 0, after;

    CHECK_EQ(mh_channel_create(&(mh_channel_options){0}, &stepped.ch), 0);
    CHECK_EQ(mh_channel_put(stepped.ch, NULL, 0, 0, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_channel_get(stepped.ch, &stepped.message, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(kill_once(&stepped, UINT32_MAX, &all), 1);
    CHECK_EQ(kill_once(&stepped, 0, &took), 0);
    for (unsigned i = 1; i < points; i++) {
        (void) kill_once(&stepped, all / points * i, &took);
    }
    for (after = all; after - before > 1;) {
        unsigned middle = before + (after - before) / 2;
        *(kill_once(&stepped, middle, &took) ? &after : &before) = middle;
    }
    for (unsigned at = before > around ? before - around : 0; at < before + around; at++) {
        (void) kill_once(&stepped, at, &took);
    }
    printf("    %u instructions, the commit is number %u\n", all, after);
    mh_message_fini(&stepped.message);
    mh_channel_destroy(stepped.ch);
}

TEST_LIMIT(killed_at_any_instruction_of_a_put, 60)
{
    kill_at_instructions(0);
}

TEST_LIMIT(killed_at_any_instruction_of_a_get, 60)
{
    kill_at_instructions(1);
}
#endif
