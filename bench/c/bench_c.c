/* bench/c/bench_c.c - the C half of the benchmarks: ours against what the C library and the kernel offer.
 *
 *   bench_c [--rounds N] [--only GLOB] [--list]
 *
 * One JSON line for each row: {"name", "peer", "ours_ns": [...], "peer_ns": [...]}: nanoseconds per
 * operation, one sample a round. Ours and its peer take turns within one run, and change places every
 * round, so that a machine that slows down or speeds up does it to both. Whoever works takes the time:
 * start-up and the way back are not in it, except in the rows that are about them.
 */
#include "bench.h"

#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MESSAGE = 64, MOST_ROUNDS = 1000 };

void must(int held, const char *what)
{
    if (!held) {
        fprintf(stderr, "bench_c: %s\n", what);
        exit(1);
    }
}

double per_operation(mh_deadline begin, int count)
{
    return (double) (mh_now() - begin) / count;
}

static void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED, "mmap");
    return memory;
}

/* ---- one thread: lock and unlock, nobody else there ---- */

static double lock_alone(unsigned flags, int count)
{
    mh_lock *lock = shared_memory(sizeof *lock);
    mh_lock_init(lock, flags);
    mh_deadline begin = mh_now();
    for (int i = 0; i < count; i++) {
        must(mh_lock_acquire(lock, MH_FOREVER, NULL) == 0, "lock");
        mh_lock_release(lock);
    }
    double ns = per_operation(begin, count);
    munmap(lock, sizeof *lock);
    return ns;
}

static double mutex_alone(int robust, int count)
{
    pthread_mutex_t *mutex = shared_memory(sizeof *mutex);
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    if (robust) {
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    }
    must(pthread_mutex_init(mutex, &attributes) == 0, "mutex");
    mh_deadline begin = mh_now();
    for (int i = 0; i < count; i++) {
        must(pthread_mutex_lock(mutex) == 0, "mutex lock");
        pthread_mutex_unlock(mutex);
    }
    double ns = per_operation(begin, count);
    pthread_mutex_destroy(mutex);
    pthread_mutexattr_destroy(&attributes);
    munmap(mutex, sizeof *mutex);
    return ns;
}

static double lock_private(int count)
{
    return lock_alone(MH_PRIVATE, count);
}

static double mutex_private(int count)
{
    return mutex_alone(0, count);
}

static double lock_shared(int count)
{
    return lock_alone(0, count);
}

static double mutex_robust(int count)
{
    return mutex_alone(1, count);
}

static double sem_ours(int count)
{
    mh_sem sem;
    must(mh_sem_init(&sem, 1, 0, MH_PRIVATE) == 0, "sem");
    mh_deadline begin = mh_now();
    for (int i = 0; i < count; i++) {
        must(mh_sem_acquire(&sem, MH_FOREVER, NULL) == 0, "acquire");
        mh_sem_post(&sem, 1);
    }
    return per_operation(begin, count);
}

static double sem_posix(int count)
{
    sem_t sem;
    must(sem_init(&sem, 0, 1) == 0, "sem_t");
    mh_deadline begin = mh_now();
    for (int i = 0; i < count; i++) {
        must(sem_wait(&sem) == 0, "sem_wait");
        sem_post(&sem);
    }
    double ns = per_operation(begin, count);
    sem_destroy(&sem);
    return ns;
}

/* ---- two threads: one lock between them, or a ball that goes to and fro ---- */

struct side {
    int (*work)(void *subject, int side, int count);
    void *subject;
    int number, count;
    pthread_barrier_t *start;
    double ns;
};

static void *side_run(void *argument)
{
    struct side *side = argument;
    take_core(side->number);
    pthread_barrier_wait(side->start);
    mh_deadline begin = mh_now();
    must(side->work(side->subject, side->number, side->count) == 0, "a worker failed");
    side->ns = per_operation(begin, side->count);
    return NULL;
}

double two_sides(int (*work)(void *, int, int), void *subject, int count)
{
    pthread_barrier_t start;
    struct side sides[2];
    pthread_t threads[2];
    pthread_barrier_init(&start, NULL, 2);
    for (int i = 0; i < 2; i++) {
        sides[i] = (struct side){work, subject, i, count, &start, 0};
        must(pthread_create(&threads[i], NULL, side_run, &sides[i]) == 0, "thread");
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_barrier_destroy(&start);
    return (sides[0].ns + sides[1].ns) / 2;
}

struct pair {
    mh_lock lock;
    pthread_mutex_t mutex;
    long value;
    mh_sem ball[2];
    sem_t posix_ball[2];
};

static double run_pair(int (*work)(void *, int, int), int count)
{
    struct pair pair = {.value = 0};
    mh_lock_init(&pair.lock, MH_PRIVATE);
    pthread_mutex_init(&pair.mutex, NULL);
    for (unsigned i = 0; i < 2; i++) {
        must(mh_sem_init(&pair.ball[i], 0, 0, MH_PRIVATE) == 0, "sem");
        sem_init(&pair.posix_ball[i], 0, 0);
    }
    double ns = two_sides(work, &pair, count);
    for (int i = 0; i < 2; i++) {
        sem_destroy(&pair.posix_ball[i]);
    }
    pthread_mutex_destroy(&pair.mutex);
    return ns;
}

static int fight_for_lock(void *subject, int side, int count)
{
    struct pair *pair = subject;
    (void) side;
    for (int i = 0; i < count; i++) {
        if (mh_lock_acquire(&pair->lock, MH_FOREVER, NULL) != 0) {
            return -1;
        }
        pair->value++;
        mh_lock_release(&pair->lock);
    }
    return 0;
}

static int fight_for_mutex(void *subject, int side, int count)
{
    struct pair *pair = subject;
    (void) side;
    for (int i = 0; i < count; i++) {
        if (pthread_mutex_lock(&pair->mutex) != 0) {
            return -1;
        }
        pair->value++;
        pthread_mutex_unlock(&pair->mutex);
    }
    return 0;
}

static int play_ours(void *subject, int side, int count)
{
    struct pair *pair = subject;
    for (int i = 0; i < count; i++) {
        if (side == 0) {
            mh_sem_post(&pair->ball[1], 1);
        }
        if (mh_sem_acquire(&pair->ball[side], MH_FOREVER, NULL) != 0) {
            return -1;
        }
        if (side == 1) {
            mh_sem_post(&pair->ball[0], 1);
        }
    }
    return 0;
}

static int play_posix(void *subject, int side, int count)
{
    struct pair *pair = subject;
    for (int i = 0; i < count; i++) {
        if (side == 0) {
            sem_post(&pair->posix_ball[1]);
        }
        if (sem_wait(&pair->posix_ball[side]) != 0) {
            return -1;
        }
        if (side == 1) {
            sem_post(&pair->posix_ball[0]);
        }
    }
    return 0;
}

static double lock_fight(int count)
{
    return run_pair(fight_for_lock, count);
}

static double mutex_fight(int count)
{
    return run_pair(fight_for_mutex, count);
}

static double sem_pingpong(int count)
{
    return run_pair(play_ours, count);
}

static double sem_pingpong_posix(int count)
{
    return run_pair(play_posix, count);
}

/* ---- two processes: small messages by channel and by pipe ---- */

struct line { /* one direction; ours or a pipe */
    mh_channel *channel;
    int pipe[2];
};

static void line_open(struct line *line, int ours)
{
    line->channel = NULL;
    if (ours) {
        must(mh_channel_create(&(mh_channel_options){.max_items = 1024}, &line->channel) == 0, "channel");
    } else {
        must(pipe(line->pipe) == 0, "pipe");
    }
}

static void line_close(struct line *line)
{
    if (line->channel != NULL) {
        mh_channel_destroy(line->channel);
        return;
    }
    close(line->pipe[0]);
    close(line->pipe[1]);
}

static void line_send(struct line *line, const char *text)
{
    if (line->channel != NULL) {
        must(mh_channel_put(line->channel, &(mh_part){text, MESSAGE}, 1, 0, MH_FOREVER, NULL) == 0, "put");
    } else {
        must(write(line->pipe[1], text, MESSAGE) == MESSAGE, "write");
    }
}

static void line_receive(struct line *line, mh_message *message, char *text)
{
    if (line->channel != NULL) {
        must(mh_channel_get(line->channel, message, MH_FOREVER, NULL) == 0 && message->size == MESSAGE,
             "get");
        return;
    }
    for (size_t got = 0; got < MESSAGE;) {
        ssize_t part = read(line->pipe[0], text + got, MESSAGE - got);
        must(part > 0, "read");
        got += (size_t) part;
    }
}

void reap(pid_t child)
{
    int status;
    while (waitpid(child, &status, 0) < 0) {
        must(errno == EINTR, "waitpid");
    }
    must(status == 0, "the other process failed");
}

/* The receiver takes the time, from the first message to the last. */
static double stream(int ours, int count)
{
    struct line line;
    mh_message message = {0};
    char text[MESSAGE] = "a small message";
    line_open(&line, ours);
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        for (int i = 0; i <= count; i++) {
            line_send(&line, text);
        }
        _exit(0);
    }
    line_receive(&line, &message, text);
    mh_deadline begin = mh_now();
    for (int i = 0; i < count; i++) {
        line_receive(&line, &message, text);
    }
    double ns = per_operation(begin, count);
    reap(child);
    mh_message_fini(&message);
    line_close(&line);
    return ns;
}

static double round_trip(int ours, int count)
{
    struct line there, back;
    mh_message message = {0};
    char text[MESSAGE] = "a small message";
    line_open(&there, ours);
    line_open(&back, ours);
    pid_t child = fork();
    must(child >= 0, "fork");
    mh_deadline begin = 0;
    take_core(child == 0);
    for (int i = 0; i <= count; i++) {
        if (i == 1) {
            begin = mh_now();
        }
        if (child != 0) {
            line_send(&there, text);
        }
        line_receive(child != 0 ? &back : &there, &message, text);
        if (child == 0) {
            line_send(&back, text);
        }
    }
    double ns = per_operation(begin, count);
    if (child == 0) {
        _exit(0);
    }
    reap(child);
    mh_message_fini(&message);
    line_close(&there);
    line_close(&back);
    return ns;
}

static double channel_stream(int count)
{
    return stream(1, count);
}

static double pipe_stream(int count)
{
    return stream(0, count);
}

static double channel_round_trip(int count)
{
    return round_trip(1, count);
}

static double pipe_round_trip(int count)
{
    return round_trip(0, count);
}

/* ---- which cores ---- */

static cpu_set_t allowed; /* when the row began */
static int cores_apart;

static int nth_core(int n)
{
    for (int core = 0; core < CPU_SETSIZE; core++) {
        if (CPU_ISSET(core, &allowed) && n-- == 0) {
            return core;
        }
    }
    return -1;
}

static void stay_on(int core)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    must(core >= 0 && sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
}

void take_core(int side)
{
    if (cores_apart) {
        stay_on(nth_core(side));
    }
}

static void arrange_cores(int cores)
{
    must(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "sched_getaffinity");
    cores_apart = cores == 2;
    if (cores == 1) {
        stay_on(nth_core(CPU_COUNT(&allowed) - 1));
    }
}

/* ---- begin and end of a thread, of a process ---- */

static int thread_nothing(mh_thread *self)
{
    (void) self;
    return 0;
}

static double thread_ours(int count)
{
    mh_deadline begin = mh_now();
    for (int i = 0; i < count; i++) {
        mh_thread thread = {.run = thread_nothing};
        must(mh_thread_start(&thread) == 0 && mh_thread_join(&thread, MH_FOREVER, NULL) == 0, "thread");
    }
    return per_operation(begin, count);
}

static void *pthread_nothing(void *argument)
{
    return argument;
}

static double thread_posix(int count)
{
    mh_deadline begin = mh_now();
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        must(pthread_create(&thread, NULL, pthread_nothing, NULL) == 0, "pthread_create");
        pthread_join(thread, NULL);
    }
    return per_operation(begin, count);
}

static int process_nothing(mh_process *self)
{
    (void) self;
    return 0;
}

static double process_ours(int count)
{
    mh_deadline begin = mh_now();
    for (int i = 0; i < count; i++) {
        mh_process process = {.run = process_nothing};
        must(mh_process_start(&process) == 0 && mh_process_join(&process, MH_FOREVER, NULL) == 0, "process");
        mh_process_fini(&process);
    }
    return per_operation(begin, count);
}

static double process_posix(int count)
{
    mh_deadline begin = mh_now();
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        must(child >= 0, "fork");
        if (child == 0) {
            _exit(0);
        }
        reap(child);
    }
    return per_operation(begin, count);
}

/* ---- rows ---- */

static const struct row {
    const char *name, *peer;
    double (*ours)(int count), (*theirs)(int count); /* theirs NULL: the peer was not there at the build */
    int count;                                       /* operations in a sample */
    int cores; /* 1: all on one core; 2: each side on its own; 0: as it comes */
} rows[] = {
    {"c/lock", "pthread_mutex", lock_private, mutex_private, 200000, 0},
    {"c/lock-mtx", "C11 mtx_t", lock_counted, lock_mtx, 200000, 0},
    {"c/lock-nsync", "nsync_mu", lock_counted, lock_nsync, 200000, 0},
    {"c/lock-shared", "pthread_mutex robust, process-shared", lock_shared, mutex_robust, 200000, 0},
    {"c/lock-contended", "pthread_mutex", lock_fight, mutex_fight, 1000000, 0},
    {"c/lock-contended-mtx", "C11 mtx_t", lock_pair_ours, lock_pair_mtx, 1000000, 0},
    {"c/lock-contended-nsync", "nsync_mu", lock_pair_ours, lock_pair_nsync, 1000000, 0},
    {"c/lock-contended-all", "pthread_mutex", lock_all_ours, lock_all_posix, 1000000, 0},
    {"c/lock-crowd", "pthread_mutex", lock_crowd_ours, lock_crowd_posix, 1000000, 0},
    {"c/sem", "sem_t", sem_ours, sem_posix, 200000, 0},
    {"c/sem-contended", "sem_t", sem_all_ours, sem_all_posix, 200000, 0},
    {"c/sem-pingpong", "sem_t", sem_pingpong, sem_pingpong_posix, 1000, 0},
    {"c/sem-pingpong-1core", "sem_t", sem_pingpong, sem_pingpong_posix, 1000, 1},
    {"c/sem-pingpong-2cores", "sem_t", sem_pingpong, sem_pingpong_posix, 1000, 2},
    {"c/rwlock-read", "pthread_rwlock", rwlock_read_ours, rwlock_read_posix, 200000, 0},
    {"c/rwlock-read-nsync", "nsync_mu", rwlock_read_ours, read_nsync, 200000, 0},
    {"c/rwlock-write", "pthread_rwlock", rwlock_write_ours, rwlock_write_posix, 200000, 0},
    {"c/rwlock-contended", "pthread_rwlock", rwlock_all_ours, rwlock_all_posix, 200000, 0},
    {"c/cond-pingpong", "pthread_cond", cond_ours, cond_posix, 1000, 0},
    {"c/cond-pingpong-1core", "pthread_cond", cond_ours, cond_posix, 1000, 1},
    {"c/cond-pingpong-2cores", "pthread_cond", cond_ours, cond_posix, 1000, 2},
    {"c/barrier", "pthread_barrier", barrier_ours, barrier_posix, 1000, 0},
    {"c/barrier-2cores", "pthread_barrier", barrier_ours, barrier_posix, 1000, 2},
    {"c/channel-threads", "GAsyncQueue", belt_ours, belt_glib, 50000, 0},
    {"c/channel-ring", "Concurrency Kit's ring, which never sleeps", belt_ours, belt_ck, 50000, 0},
    {"c/channel-8-pipe", "pipe", channel_8, pipe_8, 200000, 0},
    {"c/channel", "pipe", channel_stream, pipe_stream, 200000, 0},
    {"c/channel-64k", "pipe", channel_64k, pipe_64k, 1000, 0},
    {"c/channel-1m", "pipe", channel_1m, pipe_1m, 50, 0},
    {"c/channel-8", "POSIX message queue", stream_channel_8, stream_mq_8, 20000, 0},
    {"c/channel-1k", "POSIX message queue", stream_channel_1k, stream_mq_1k, 20000, 0},
    {"c/channel-pingpong", "two pipes", channel_round_trip, pipe_round_trip, 5000, 0},
    {"c/channel-pingpong-1core", "two pipes", channel_round_trip, pipe_round_trip, 5000, 1},
    {"c/channel-pingpong-2cores", "two pipes", channel_round_trip, pipe_round_trip, 1000, 2},
    {"c/pool-task", "GThreadPool", pool_ours, pool_glib, 50000, 0},
    {"c/parallel-for", "a thread for one half", loop_ours, loop_posix, 1000000, 0},
    {"c/thread-start-join", "pthread_create", thread_ours, thread_posix, 100, 0},
    {"c/process-start-join", "fork", process_ours, process_posix, 10, 0},
};

static void print_samples(const char *key, const double *samples, int count)
{
    printf(", \"%s\": [", key);
    for (int i = 0; i < count; i++) {
        printf("%s%.1f", i > 0 ? ", " : "", samples[i]);
    }
    printf("]");
}

/* In a process of one thread the C library leaves the atomic instructions out of its mutex. Who needs a lock has two:
 * an idle one stands by, for both sides. */
static void *stand_by(void *never)
{
    (void) sem_wait(never);
    return NULL;
}

static void have_two_threads(void)
{
    static sem_t never;
    pthread_t idle;
    must(sem_init(&never, 0, 0) == 0, "sem_t");
    must(pthread_create(&idle, NULL, stand_by, &never) == 0, "thread");
}

static void run_row(const struct row *row, int rounds)
{
    static double ours[MOST_ROUNDS], theirs[MOST_ROUNDS];
    int warm = row->count / 10 + 1;
    row->ours(warm);
    row->theirs(warm);
    for (int i = 0; i < rounds; i++) {
        if (i % 2 == 0) {
            ours[i] = row->ours(row->count);
        }
        theirs[i] = row->theirs(row->count);
        if (i % 2 != 0) {
            ours[i] = row->ours(row->count);
        }
    }
    printf("{\"name\": \"%s\", \"peer\": \"%s\"", row->name, row->peer);
    print_samples("ours_ns", ours, rounds);
    print_samples("peer_ns", theirs, rounds);
    printf("}\n");
    fflush(stdout);
}

/* In a process of its own: what it learns about cores, and where it runs, is for this row alone. */
static void run_apart(const struct row *row, int rounds)
{
    fflush(stdout);
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        arrange_cores(row->cores);
        have_two_threads();
        run_row(row, rounds);
        _exit(0);
    }
    reap(child);
}

static int usage(void)
{
    fprintf(stderr, "usage: bench_c [--rounds 1..%d] [--only GLOB] [--list]\n", MOST_ROUNDS);
    return 2;
}

int main(int argc, char **argv)
{
    const char *only = "*";
    int rounds = 9, list = 0, ran = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            list = 1;
        } else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
            only = argv[++i];
        } else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
            rounds = atoi(argv[++i]);
        } else {
            return usage();
        }
    }
    if (rounds < 1 || rounds > MOST_ROUNDS) {
        return usage();
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (fnmatch(only, rows[i].name, 0) != 0) {
            continue;
        }
        ran++;
        if (rows[i].theirs == NULL) {
            fprintf(stderr, "bench_c: %s is left out: its peer %s was not there when this was built\n",
                    rows[i].name, rows[i].peer);
        } else if (list) {
            printf("%s\t%s\n", rows[i].name, rows[i].peer);
        } else {
            run_apart(&rows[i], rounds);
        }
    }
    if (ran == 0) {
        fprintf(stderr, "bench_c: no row is called '%s'\n", only);
    }
    return ran > 0 ? 0 : 1;
}
