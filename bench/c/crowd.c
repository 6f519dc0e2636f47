/* bench/c/crowd.c - locks that several threads want at once, and locks of other libraries: nsync, C11's mtx_t. */
#include "bench.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <threads.h>
#include <unistd.h>

#ifdef HAVE_NSYNC
#include <nsync.h>
#endif

enum { MOST_THREADS = 64, READS = 7 };

/* What all threads of a crowd use; one of them is the subject of a row. */
struct crowd {
    void (*work)(struct crowd *crowd, int count);
    int count;
    pthread_barrier_t start;
    mh_deadline begin[MOST_THREADS], end[MOST_THREADS];
    _Atomic(int) next;
    long value;
    mh_lock lock;
    mh_rwlock rwlock;
    mh_sem sem;
    pthread_mutex_t mutex;
    pthread_rwlock_t posix_rwlock;
    sem_t posix_sem;
    mtx_t mtx;
#ifdef HAVE_NSYNC
    nsync_mu mu;
#endif
};

static void crowd_init(struct crowd *crowd, void (*work)(struct crowd *, int), int count)
{
    memset(crowd, 0, sizeof *crowd);
    crowd->work = work;
    crowd->count = count;
    mh_lock_init(&crowd->lock, MH_PRIVATE);
    must(mh_rwlock_init(&crowd->rwlock, 0, MH_PRIVATE) == 0, "rwlock");
    must(mh_sem_init(&crowd->sem, 1, 0, MH_PRIVATE) == 0, "sem");
    pthread_mutex_init(&crowd->mutex, NULL);
    pthread_rwlock_init(&crowd->posix_rwlock, NULL);
    sem_init(&crowd->posix_sem, 0, 1);
    must(mtx_init(&crowd->mtx, mtx_plain) == thrd_success, "mtx_t");
}

static void *member(void *argument)
{
    struct crowd *crowd = argument;
    int number = crowd->next++;
    pthread_barrier_wait(&crowd->start);
    crowd->begin[number] = mh_now();
    crowd->work(crowd, crowd->count);
    crowd->end[number] = mh_now();
    return NULL;
}

/* From the first one's begin to the last one's end. A mean of each one's own time would count those who wait for their
 * turn until another has done all its work as if they had been fast. */
static double all_together(const struct crowd *crowd, int threads)
{
    mh_deadline begin = crowd->begin[0], end = crowd->end[0];
    for (int i = 1; i < threads; i++) {
        begin = crowd->begin[i] < begin ? crowd->begin[i] : begin;
        end = crowd->end[i] > end ? crowd->end[i] : end;
    }
    return (double) (end - begin) / threads / crowd->count;
}

/* Nanoseconds between two operations of the whole crowd. */
static double run_crowd(void (*work)(struct crowd *, int), int threads, int count)
{
    static struct crowd crowd;
    pthread_t thread[MOST_THREADS];
    crowd_init(&crowd, work, count / threads + 1);
    pthread_barrier_init(&crowd.start, NULL, (unsigned) threads);
    for (int i = 0; i < threads; i++) {
        must(pthread_create(&thread[i], NULL, member, &crowd) == 0, "thread");
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
    }
    pthread_barrier_destroy(&crowd.start);
    mtx_destroy(&crowd.mtx);
    return all_together(&crowd, threads);
}

static double run_alone(void (*work)(struct crowd *, int), int count)
{
    static struct crowd crowd;
    crowd_init(&crowd, work, count);
    mh_deadline begin = mh_now();
    work(&crowd, count);
    return per_operation(begin, count);
}

static int all_cores(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 2 ? 2 : cores > MOST_THREADS / 2 ? MOST_THREADS / 2 : (int) cores;
}

/* ---- the works: an operation is acquire, count, release */

static void use_lock(struct crowd *crowd, int count)
{
    for (int i = 0; i < count; i++) {
        must(mh_lock_acquire(&crowd->lock, MH_FOREVER, NULL) == 0, "lock");
        crowd->value++;
        mh_lock_release(&crowd->lock);
    }
}

static void use_mutex(struct crowd *crowd, int count)
{
    for (int i = 0; i < count; i++) {
        must(pthread_mutex_lock(&crowd->mutex) == 0, "mutex");
        crowd->value++;
        pthread_mutex_unlock(&crowd->mutex);
    }
}

static void use_mtx(struct crowd *crowd, int count)
{
    for (int i = 0; i < count; i++) {
        must(mtx_lock(&crowd->mtx) == thrd_success, "mtx");
        crowd->value++;
        mtx_unlock(&crowd->mtx);
    }
}

static void use_sem(struct crowd *crowd, int count)
{
    for (int i = 0; i < count; i++) {
        must(mh_sem_acquire(&crowd->sem, MH_FOREVER, NULL) == 0, "sem");
        crowd->value++;
        mh_sem_post(&crowd->sem, 1);
    }
}

static void use_posix_sem(struct crowd *crowd, int count)
{
    for (int i = 0; i < count; i++) {
        must(sem_wait(&crowd->posix_sem) == 0, "sem_wait");
        crowd->value++;
        sem_post(&crowd->posix_sem);
    }
}

static void use_rwlock(struct crowd *crowd, int count)
{
    for (int i = 0; i < count; i++) {
        if (i % (READS + 1) != 0) {
            must(mh_rwlock_acquire_read(&crowd->rwlock, MH_FOREVER, NULL) == 0, "read");
            mh_rwlock_release_read(&crowd->rwlock);
        } else {
            must(mh_rwlock_acquire_write(&crowd->rwlock, MH_FOREVER, NULL) == 0, "write");
            crowd->value++;
            mh_rwlock_release_write(&crowd->rwlock);
        }
    }
}

static void use_posix_rwlock(struct crowd *crowd, int count)
{
    for (int i = 0; i < count; i++) {
        if (i % (READS + 1) != 0) {
            must(pthread_rwlock_rdlock(&crowd->posix_rwlock) == 0, "read");
        } else {
            must(pthread_rwlock_wrlock(&crowd->posix_rwlock) == 0, "write");
            crowd->value++;
        }
        pthread_rwlock_unlock(&crowd->posix_rwlock);
    }
}

#ifdef HAVE_NSYNC
static void use_mu(struct crowd *crowd, int count)
{
    for (int i = 0; i < count; i++) {
        nsync_mu_lock(&crowd->mu);
        crowd->value++;
        nsync_mu_unlock(&crowd->mu);
    }
}

static void use_mu_to_read(struct crowd *crowd, int count)
{
    for (int i = 0; i < count; i++) {
        nsync_mu_rlock(&crowd->mu);
        nsync_mu_runlock(&crowd->mu);
    }
}

double lock_nsync(int count)
{
    return run_alone(use_mu, count);
}

double read_nsync(int count)
{
    return run_alone(use_mu_to_read, count);
}

double lock_pair_nsync(int count)
{
    return run_crowd(use_mu, 2, count);
}
#endif

double lock_counted(int count)
{
    return run_alone(use_lock, count);
}

double lock_mtx(int count)
{
    return run_alone(use_mtx, count);
}

double lock_pair_ours(int count)
{
    return run_crowd(use_lock, 2, count);
}

double lock_pair_mtx(int count)
{
    return run_crowd(use_mtx, 2, count);
}

double lock_crowd_ours(int count)
{
    return run_crowd(use_lock, 2 * all_cores(), count);
}

double lock_crowd_posix(int count)
{
    return run_crowd(use_mutex, 2 * all_cores(), count);
}

double lock_all_ours(int count)
{
    return run_crowd(use_lock, all_cores(), count);
}

double lock_all_posix(int count)
{
    return run_crowd(use_mutex, all_cores(), count);
}

double sem_all_ours(int count)
{
    return run_crowd(use_sem, all_cores(), count);
}

double sem_all_posix(int count)
{
    return run_crowd(use_posix_sem, all_cores(), count);
}

double rwlock_all_ours(int count)
{
    return run_crowd(use_rwlock, all_cores(), count);
}

double rwlock_all_posix(int count)
{
    return run_crowd(use_posix_rwlock, all_cores(), count);
}
