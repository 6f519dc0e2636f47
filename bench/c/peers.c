/* bench/c/peers.c - ours beside pthread_rwlock, pthread_cond, pthread_barrier and POSIX message queues. */
#include "bench.h"

#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- reader-writer lock: one thread, nobody else there ---- */

double rwlock_read_ours(int count)
{
    mh_rwlock lock;
    must(mh_rwlock_init(&lock, 0, MH_PRIVATE) == 0, "rwlock");
    mh_deadline begin = mh_now();
    for (int i = 0; i < count; i++) {
        must(mh_rwlock_acquire_read(&lock, MH_FOREVER, NULL) == 0, "read");
        mh_rwlock_release_read(&lock);
    }
    return per_operation(begin, count);
}

double rwlock_write_ours(int count)
{
    mh_rwlock lock;
    must(mh_rwlock_init(&lock, 0, MH_PRIVATE) == 0, "rwlock");
    mh_deadline begin = mh_now();
    for (int i = 0; i < count; i++) {
        must(mh_rwlock_acquire_write(&lock, MH_FOREVER, NULL) == 0, "write");
        mh_rwlock_release_write(&lock);
    }
    return per_operation(begin, count);
}

static double rwlock_posix(int (*acquire)(pthread_rwlock_t *), int count)
{
    pthread_rwlock_t lock;
    must(pthread_rwlock_init(&lock, NULL) == 0, "pthread_rwlock");
    mh_deadline begin = mh_now();
    for (int i = 0; i < count; i++) {
        must(acquire(&lock) == 0, "pthread_rwlock");
        pthread_rwlock_unlock(&lock);
    }
    double ns = per_operation(begin, count);
    pthread_rwlock_destroy(&lock);
    return ns;
}

double rwlock_read_posix(int count)
{
    return rwlock_posix(pthread_rwlock_rdlock, count);
}

double rwlock_write_posix(int count)
{
    return rwlock_posix(pthread_rwlock_wrlock, count);
}

/* ---- two threads: whose turn it is, told by a condition; meeting at a barrier ---- */

struct game {
    int turn;
    mh_lock lock;
    mh_cond cond;
    mh_barrier barrier;
    pthread_mutex_t mutex;
    pthread_cond_t posix_cond;
    pthread_barrier_t posix_barrier;
};

static double run_game(int (*play)(void *, int, int), int count)
{
    struct game game = {.turn = 0};
    mh_lock_init(&game.lock, MH_PRIVATE);
    mh_cond_init(&game.cond, 0, MH_PRIVATE);
    must(mh_barrier_init(&game.barrier, 2, MH_PRIVATE) == 0, "barrier");
    pthread_mutex_init(&game.mutex, NULL);
    pthread_cond_init(&game.posix_cond, NULL);
    pthread_barrier_init(&game.posix_barrier, NULL, 2);
    double ns = two_sides(play, &game, count);
    pthread_barrier_destroy(&game.posix_barrier);
    pthread_cond_destroy(&game.posix_cond);
    pthread_mutex_destroy(&game.mutex);
    return ns;
}

static int take_turns(void *subject, int side, int count)
{
    struct game *game = subject;
    for (int i = 0; i < count; i++) {
        if (mh_lock_acquire(&game->lock, MH_FOREVER, NULL) != 0) {
            return -1;
        }
        while (game->turn != side) {
            if (mh_cond_wait(&game->cond, &game->lock, MH_FOREVER, NULL) != 0) {
                return -1;
            }
        }
        game->turn = !side;
        mh_lock_release(&game->lock);
        mh_cond_notify(&game->cond, 1);
    }
    return 0;
}

static int take_turns_posix(void *subject, int side, int count)
{
    struct game *game = subject;
    for (int i = 0; i < count; i++) {
        pthread_mutex_lock(&game->mutex);
        while (game->turn != side) {
            pthread_cond_wait(&game->posix_cond, &game->mutex);
        }
        game->turn = !side;
        pthread_mutex_unlock(&game->mutex);
        pthread_cond_signal(&game->posix_cond);
    }
    return 0;
}

static int meet(void *subject, int side, int count)
{
    struct game *game = subject;
    (void) side;
    for (int i = 0; i < count; i++) {
        if (mh_barrier_wait(&game->barrier, NULL, NULL, MH_FOREVER, NULL, &(uint32_t){0}) < 0) {
            return -1;
        }
    }
    return 0;
}

static int meet_posix(void *subject, int side, int count)
{
    struct game *game = subject;
    (void) side;
    for (int i = 0; i < count; i++) {
        pthread_barrier_wait(&game->posix_barrier);
    }
    return 0;
}

double cond_ours(int count)
{
    return run_game(take_turns, count);
}

double cond_posix(int count)
{
    return run_game(take_turns_posix, count);
}

double barrier_ours(int count)
{
    return run_game(meet, count);
}

double barrier_posix(int count)
{
    return run_game(meet_posix, count);
}

/* ---- two processes: a stream of messages; the receiver takes the time ---- */

enum { MOST = 1024 };

static double stream_channel(size_t size, int count)
{
    static const char text[MOST];
    mh_channel *channel;
    mh_message message = {0};
    mh_deadline begin = 0;
    must(mh_channel_create(&(mh_channel_options){.max_items = 1024}, &channel) == 0, "channel");
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        for (int i = 0; i <= count; i++) {
            must(mh_channel_put(channel, &(mh_part){text, size}, 1, 0, MH_FOREVER, NULL) == 0, "put");
        }
        _exit(0);
    }
    for (int i = 0; i <= count; i++) {
        must(mh_channel_get(channel, &message, MH_FOREVER, NULL) == 0 && message.size == size, "get");
        begin = i == 0 ? mh_now() : begin;
    }
    double ns = per_operation(begin, count);
    reap(child);
    mh_message_fini(&message);
    mh_channel_destroy(channel);
    return ns;
}

/* Room for ten messages: what an unprivileged user may have. */
static double stream_mq(size_t size, int count)
{
    char text[MOST] = {0}, name[64];
    struct mq_attr attributes = {.mq_maxmsg = 10, .mq_msgsize = (long) size};
    mh_deadline begin = 0;
    snprintf(name, sizeof name, "/manyhands-bench-%d", (int) getpid());
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
    must(queue != (mqd_t) -1, "mq_open");
    mq_unlink(name);
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        for (int i = 0; i <= count; i++) {
            must(mq_send(queue, text, size, 0) == 0, "mq_send");
        }
        _exit(0);
    }
    for (int i = 0; i <= count; i++) {
        must(mq_receive(queue, text, size, NULL) == (ssize_t) size, "mq_receive");
        begin = i == 0 ? mh_now() : begin;
    }
    double ns = per_operation(begin, count);
    reap(child);
    mq_close(queue);
    return ns;
}

double stream_channel_8(int count)
{
    return stream_channel(8, count);
}

double stream_mq_8(int count)
{
    return stream_mq(8, count);
}

double stream_channel_1k(int count)
{
    return stream_channel(MOST, count);
}

double stream_mq_1k(int count)
{
    return stream_mq(MOST, count);
}
