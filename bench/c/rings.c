/* bench/c/rings.c - between two threads: a private channel, GLib's GAsyncQueue, a ring of Concurrency Kit. Between two
 * processes: large messages, by channel and by pipe. */
#include "bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef HAVE_GLIB
#include <glib.h>
#endif
#ifdef HAVE_CK
#include <ck_pr.h>
#include <ck_ring.h>
#endif

enum { ROOM = 1024 };

/* ---- two threads: a pointer is the message */

struct belt {
    void (*put)(struct belt *belt, void *thing);
    int count;
    mh_channel *channel;
#ifdef HAVE_GLIB
    GAsyncQueue *queue;
#endif
#ifdef HAVE_CK
    ck_ring_t ring;
    ck_ring_buffer_t buffer[ROOM];
#endif
};

static void *producer(void *argument)
{
    struct belt *belt = argument;
    for (int i = 0; i <= belt->count; i++) {
        belt->put(belt, belt);
    }
    return NULL;
}

/* The receiver takes the time, from the first message to the last. */
static double run_belt(struct belt *belt, void *(*get)(struct belt *) )
{
    pthread_t thread;
    must(pthread_create(&thread, NULL, producer, belt) == 0, "thread");
    must(get(belt) == belt, "get");
    mh_deadline begin = mh_now();
    for (int i = 0; i < belt->count; i++) {
        must(get(belt) == belt, "get");
    }
    double ns = per_operation(begin, belt->count);
    pthread_join(thread, NULL);
    return ns;
}

static void put_ours(struct belt *belt, void *thing)
{
    must(mh_channel_put(belt->channel, &(mh_part){&thing, sizeof thing}, 1, 0, MH_FOREVER, NULL) == 0, "put");
}

static void *get_ours(struct belt *belt)
{
    void *thing;
    mh_message message = {.data = &thing, .room = sizeof thing};
    must(mh_channel_get(belt->channel, &message, MH_FOREVER, NULL) == 0 && message.data == &thing, "get");
    return thing;
}

double belt_ours(int count)
{
    struct belt belt = {.put = put_ours, .count = count};
    must(mh_channel_create(&(mh_channel_options){.max_items = ROOM, .flags = MH_PRIVATE}, &belt.channel) == 0,
         "channel");
    double ns = run_belt(&belt, get_ours);
    mh_channel_destroy(belt.channel);
    return ns;
}

#ifdef HAVE_GLIB
static void put_glib(struct belt *belt, void *thing)
{
    g_async_queue_push(belt->queue, thing);
}

static void *get_glib(struct belt *belt)
{
    return g_async_queue_pop(belt->queue);
}

double belt_glib(int count)
{
    struct belt belt = {.put = put_glib, .count = count, .queue = g_async_queue_new()};
    double ns = run_belt(&belt, get_glib);
    g_async_queue_unref(belt.queue);
    return ns;
}
#endif

#ifdef HAVE_CK
/* It never sleeps: whoever finds it full or empty looks again, and gives the core away now and then. */
static void put_ck(struct belt *belt, void *thing)
{
    for (int tries = 1; !ck_ring_enqueue_spsc(&belt->ring, belt->buffer, thing); tries++) {
        tries % 1000 == 0 ? (void) sched_yield() : ck_pr_stall();
    }
}

static void *get_ck(struct belt *belt)
{
    void *thing;
    for (int tries = 1; !ck_ring_dequeue_spsc(&belt->ring, belt->buffer, &thing); tries++) {
        tries % 1000 == 0 ? (void) sched_yield() : ck_pr_stall();
    }
    return thing;
}

double belt_ck(int count)
{
    struct belt belt = {.put = put_ck, .count = count};
    ck_ring_init(&belt.ring, ROOM);
    return run_belt(&belt, get_ck);
}
#endif

/* ---- two processes: large messages */

static void write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t part = write(fd, bytes, size);
        must(part > 0, "write");
        bytes += part;
        size -= (size_t) part;
    }
}

static void read_all(int fd, char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t part = read(fd, bytes, size);
        must(part > 0, "read");
        bytes += part;
        size -= (size_t) part;
    }
}

/* Bounded as a pipe is, if not as tightly. With 16 MB, the producer is that far ahead wherever the consumer does not get a
 * core in time, and what is measured is fresh pages and cold caches: on one core 64 KB take 20 µs instead of 7. */
static double large_channel(size_t size, int count)
{
    char *bytes = calloc(1, size);
    mh_message message = {0};
    mh_channel *channel;
    mh_channel_options options = {.max_bytes = 2u << 20, .flags = MH_CHANNEL_BLOCK};
    must(bytes != NULL && mh_channel_create(&options, &channel) == 0, "channel");
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        for (int i = 0; i <= count; i++) {
            must(mh_channel_put(channel, &(mh_part){bytes, size}, 1, 0, MH_FOREVER, NULL) == 0, "put");
        }
        _exit(0);
    }
    mh_deadline begin = 0;
    for (int i = 0; i <= count; i++) {
        must(mh_channel_get(channel, &message, MH_FOREVER, NULL) == 0 && message.size == size, "get");
        begin = i == 0 ? mh_now() : begin;
    }
    double ns = per_operation(begin, count);
    reap(child);
    mh_message_fini(&message);
    mh_channel_destroy(channel);
    free(bytes);
    return ns;
}

static double large_pipe(size_t size, int count)
{
    char *bytes = calloc(1, size);
    int ends[2];
    must(bytes != NULL && pipe(ends) == 0, "pipe");
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        for (int i = 0; i <= count; i++) {
            write_all(ends[1], bytes, size);
        }
        _exit(0);
    }
    mh_deadline begin = 0;
    for (int i = 0; i <= count; i++) {
        read_all(ends[0], bytes, size);
        begin = i == 0 ? mh_now() : begin;
    }
    double ns = per_operation(begin, count);
    reap(child);
    close(ends[0]);
    close(ends[1]);
    free(bytes);
    return ns;
}

double channel_8(int count)
{
    return large_channel(8, count);
}

double pipe_8(int count)
{
    return large_pipe(8, count);
}

double channel_64k(int count)
{
    return large_channel(64 << 10, count);
}

double pipe_64k(int count)
{
    return large_pipe(64 << 10, count);
}

double channel_1m(int count)
{
    return large_channel(1 << 20, count);
}

double pipe_1m(int count)
{
    return large_pipe(1 << 20, count);
}
