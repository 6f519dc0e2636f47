/* A supervisor that restarts a worker that crashes.
 *
 * The worker takes jobs from a channel and answers on another. Some jobs kill it. The supervisor learns of the
 * death at once, starts another worker, and goes on; after too many deaths it gives up. A job that was being
 * done when its worker died is lost, and the last line counts those: answers + deaths = jobs.
 *
 * Build: cc supervisor.c $(pkg-config --cflags --libs manyhands)
 */
#include <manyhands/manyhands.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { JOBS = 20, BAD = 7, MOST_DEATHS = 5 };

struct worker {
    mh_process process;
    mh_channel *jobs, *answers;
};

static int work(mh_process *self)
{
    struct worker *worker = (struct worker *) self;
    mh_message message = {0};
    int rc;
    while ((rc = mh_channel_get(worker->jobs, &message, MH_FOREVER, NULL)) == 0) {
        int job, answer;
        memcpy(&job, message.data, sizeof job);
        if (job % BAD == 0) {
            raise(SIGKILL); /* a crash that nothing in this process can catch */
        }
        answer = job * job;
        mh_channel_put(worker->answers, &(mh_part){&answer, sizeof answer}, 1, 0, MH_FOREVER, NULL);
    }
    mh_message_fini(&message);
    return rc == MH_E_CLOSED ? 0 : 1; /* closed and empty: all is done */
}

/* One life of the worker: its exit status, or minus the signal that killed it. */
static int live(mh_channel *jobs, mh_channel *answers)
{
    struct worker worker = {
        .process = {.run = work, .flags = MH_PROCESS_DIE_WITH_PARENT}, .jobs = jobs, .answers = answers};
    int code = 1;
    if (mh_process_start(&worker.process) == 0 && mh_process_join(&worker.process, MH_FOREVER, NULL) == 0) {
        mh_process_exit_code(&worker.process, &code);
    }
    mh_process_fini(&worker.process);
    return code;
}

static int supervise(mh_channel *jobs, mh_channel *answers)
{
    for (int deaths = 0; deaths < MOST_DEATHS; deaths++) {
        int code = live(jobs, answers);
        if (code == 0) {
            return deaths;
        }
        printf("the worker ended with %d: another takes its place\n", code);
    }
    return -1;
}

int main(void)
{
    mh_channel *jobs, *answers;
    mh_message message = {0};
    int count = 0;
    if (mh_channel_create(&(mh_channel_options){.max_items = JOBS}, &jobs) < 0 ||
        mh_channel_create(&(mh_channel_options){.max_items = JOBS}, &answers) < 0) {
        fputs("no channel\n", stderr);
        return 1;
    }
    for (int job = 1; job <= JOBS; job++) {
        mh_channel_put(jobs, &(mh_part){&job, sizeof job}, 1, 0, MH_FOREVER, NULL);
    }
    mh_channel_close(jobs, 0); /* no more are put; those that are there are still taken */
    int deaths = supervise(jobs, answers);
    while (mh_channel_get(answers, &message, MH_AT_ONCE, NULL) == 0) {
        count++;
    }
    printf("%d answers + %d deaths = %d jobs\n", count, deaths, JOBS);
    mh_message_fini(&message);
    mh_channel_destroy(jobs);
    mh_channel_destroy(answers);
    return deaths == JOBS / BAD && count + deaths == JOBS ? 0 : 1;
}
