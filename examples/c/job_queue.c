/* A job queue between two programs: one hands out jobs, the other - started by exec, it shares no memory with the first
 * but the two channels - takes them and sends back the results. Bounded: who produces too fast waits for room.
 *
 * A channel travels as a descriptor. Here the child inherits it; between programs that are no relatives a socket would
 * carry it. Here both programs are this file: called with two numbers it is the worker.
 *
 * Build: cc job_queue.c $(pkg-config --cflags --libs manyhands)
 */
#include <manyhands/manyhands.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JOBS = 1000, ROOM = 8 };

struct job {
    int number, from, upto;
};

struct result {
    int number;
    long primes;
};

static void must(int rc, const char *what)
{
    if (rc < 0) {
        fprintf(stderr, "WRONG: %s: %s\n", what, mh_strerror(rc));
        exit(1);
    }
}

static long count_primes(int from, int upto)
{
    long count = 0;
    for (int n = from < 2 ? 2 : from; n < upto; n++) {
        int d = 2;
        while (d * d <= n && n % d != 0) {
            d++;
        }
        count += d * d > n;
    }
    return count;
}

/* The other program: until the jobs are closed and none is left. */
static int worker(mh_channel *jobs, mh_channel *results)
{
    mh_message message = {0};
    int rc;
    while ((rc = mh_channel_get(jobs, &message, mh_in_ms(20000), NULL)) == 0) {
        struct job job;
        memcpy(&job, message.data, sizeof job);
        struct result result = {job.number, count_primes(job.from, job.upto)};
        must(mh_channel_put(results, &(mh_part){&result, sizeof result}, 1, 0, mh_in_ms(20000), NULL),
             "a result");
    }
    mh_message_fini(&message);
    mh_channel_destroy(jobs);
    mh_channel_destroy(results);
    return rc == MH_E_CLOSED ? 0 : 1;
}

struct producer {
    mh_thread thread;
    mh_channel *jobs;
};

static int produce(mh_thread *self)
{
    mh_channel *jobs = ((struct producer *) self)->jobs;
    for (int i = 0; i < JOBS; i++) {
        struct job job = {i, i * 20, i * 20 + 20};
        must(mh_channel_put(jobs, &(mh_part){&job, sizeof job}, 1, 0, mh_in_ms(20000), NULL), "a job");
    }
    mh_channel_close(jobs, 0); /* what is in there is still taken */
    return 0;
}

static long collect(mh_channel *results)
{
    static char seen[JOBS];
    mh_message message = {0};
    long primes = 0;
    for (int i = 0; i < JOBS; i++) {
        struct result result;
        must(mh_channel_get(results, &message, mh_in_ms(20000), NULL), "no result came");
        memcpy(&result, message.data, sizeof result);
        must(seen[result.number]++ == 0 ? 0 : -1, "a result came twice");
        primes += result.primes;
    }
    mh_message_fini(&message);
    return primes;
}

int main(int argc, char **argv)
{
    mh_channel *jobs, *results;
    if (argc == 3) {
        must(mh_channel_attach(atoi(argv[1]), &jobs), "the jobs");
        must(mh_channel_attach(atoi(argv[2]), &results), "the results");
        return worker(jobs, results);
    }
    mh_channel_options options = {.max_items = ROOM};
    must(mh_channel_create(&options, &jobs), "no channel");
    must(mh_channel_create(&options, &results), "no channel");

    int fds[2] = {mh_channel_fd(jobs), mh_channel_fd(results)};
    char first[16], second[16];
    snprintf(first, sizeof first, "%d", fds[0]);
    snprintf(second, sizeof second, "%d", fds[1]);
    char *words[] = {argv[0], first, second, NULL};
    mh_process workers[2] = {
        {.argv = words, .keep_fds = fds, .keep_fd_count = 2, .flags = MH_PROCESS_DIE_WITH_PARENT}};
    workers[1] = workers[0];
    for (int i = 0; i < 2; i++) {
        must(mh_process_start(&workers[i]), "a worker did not start");
    }
    struct producer producer = {.thread.run = produce, .jobs = jobs};
    must(mh_thread_start(&producer.thread), "no thread");
    long primes = collect(results);
    printf("%d jobs through a queue of %d: %ld primes below %d\n", JOBS, ROOM, primes, JOBS * 20);
    must(primes == count_primes(0, JOBS * 20) ? 0 : -1, "the sum");

    must(mh_thread_join(&producer.thread, mh_in_ms(20000), NULL), "the producer");
    for (int i = 0; i < 2; i++) {
        int code = 1;
        must(mh_process_join(&workers[i], mh_in_ms(20000), NULL), "a worker did not end");
        must(mh_process_exit_code(&workers[i], &code) == 0 && code == 0 ? 0 : -1, "a worker failed");
        mh_process_fini(&workers[i]);
    }
    mh_channel_destroy(jobs);
    mh_channel_destroy(results);
    return 0;
}
