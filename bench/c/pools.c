/* bench/c/pools.c - the pool of threads: what a task costs that does nothing, from the first submit to the last end. */
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>

#ifdef HAVE_GLIB
#include <glib.h>
#endif

enum { WORKERS = 2 };

static int nothing(mh_task *task)
{
    (void) task;
    return 0;
}

double pool_ours(int count)
{
    mh_pool *pool;
    mh_task *tasks = calloc((size_t) count, sizeof *tasks);
    must(tasks != NULL, "memory");
    must(mh_pool_create(&(mh_pool_options){.workers = WORKERS}, &pool) == 0, "pool");
    mh_deadline begin = mh_now();
    for (int i = 0; i < count; i++) {
        tasks[i].run = nothing;
        must(mh_pool_submit(pool, &tasks[i]) == 0, "submit");
    }
    must(mh_pool_wait(pool, MH_FOREVER, NULL) == 0, "wait");
    double ns = per_operation(begin, count);
    must(mh_pool_destroy(pool) == 0, "destroy");
    free(tasks);
    return ns;
}

#ifdef HAVE_GLIB
static void nothing_glib(gpointer data, gpointer user)
{
    (void) data;
    (void) user;
}

double pool_glib(int count)
{
    GThreadPool *pool = g_thread_pool_new(nothing_glib, NULL, WORKERS, TRUE, NULL);
    must(pool != NULL, "GThreadPool");
    mh_deadline begin = mh_now();
    for (int i = 0; i < count; i++) {
        must(g_thread_pool_push(pool, pool, NULL), "push");
    }
    g_thread_pool_free(pool, FALSE, TRUE); /* the only way to wait for all of them */
    return per_operation(begin, count);
}
#endif

/* ---- a loop over numbers, cut by us and by hand ---- */

struct part {
    const double *data;
    int64_t first, end;
    pthread_mutex_t lock;
    double total;
};

static double sum_of(const double *data, int64_t first, int64_t end)
{
    double sum = 0;
    for (int64_t i = first; i < end; i++) {
        sum += data[i];
    }
    return sum;
}

static int add_part(int64_t first, int64_t end, void *arg)
{
    struct part *part = arg;
    double sum = sum_of(part->data, first, end);
    pthread_mutex_lock(&part->lock);
    part->total += sum;
    pthread_mutex_unlock(&part->lock);
    return 0;
}

static void *add_half(void *arg)
{
    struct part *part = arg;
    part->total = sum_of(part->data, part->first, part->end);
    return NULL;
}

static double *numbers(int count)
{
    double *data = malloc((size_t) count * sizeof *data);
    must(data != NULL, "memory");
    for (int i = 0; i < count; i++) {
        data[i] = 1;
    }
    return data;
}

double loop_ours(int count)
{
    mh_pool *pool;
    struct part part = {.data = numbers(count), .lock = PTHREAD_MUTEX_INITIALIZER};
    must(mh_pool_create(&(mh_pool_options){.workers = 1}, &pool) == 0, "pool"); /* and the caller: two */
    mh_deadline begin = mh_now();
    must(mh_parallel_for(pool, 0, count, 0, add_part, &part, MH_FOREVER, NULL) == 0, "loop");
    double ns = per_operation(begin, count);
    must(part.total == count, "the sum is wrong");
    must(mh_pool_destroy(pool) == 0, "destroy");
    free((void *) part.data);
    return ns;
}

double loop_posix(int count)
{
    struct part halves[2];
    pthread_t other;
    double *data = numbers(count);
    mh_deadline begin = mh_now();
    halves[0] = (struct part){.data = data, .first = 0, .end = count / 2};
    halves[1] = (struct part){.data = data, .first = count / 2, .end = count};
    must(pthread_create(&other, NULL, add_half, &halves[1]) == 0, "thread");
    add_half(&halves[0]);
    pthread_join(other, NULL);
    double ns = per_operation(begin, count);
    must(halves[0].total + halves[1].total == count, "the sum is wrong");
    free(data);
    return ns;
}
