/* inject_sweep(): see inject.h. */
#include "tests/core/fault/inject.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "manyhands/error.h"
#include "tests/core/harness.h"

#define MOST 2000 /* no scenario makes so many calls: a loop that never ends would */

struct run {
    int (*scenario)(void);
    long n;
    struct inventory left;
    int failed; /* the error that came back; 0: none */
};

static void one_run(void *argument)
{
    struct run *run = argument;
    inject_at(run->n);
    errno = 77;
    run->failed = run->scenario();
    CHECK_EQ(errno, 77);
    CHECK(run->failed <= 0);
    const char *call = inject_fired();
    CHECK(run->failed == 0 || call != NULL); /* no error without a fault */
    if (run->failed < 0 && strcmp(mh_error_name(run->failed), "?") == 0) {
        FAIL("%s: an error that has no name: %d", call, run->failed);
    }
    inject_at(0);
    CHECK_EQ(run->scenario(), 0); /* what failed can be had again */
    run->left = inject_inventory();
    if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD) {
        FAIL("%s: a child is left behind", call != NULL ? call : "no fault");
    }
}

static void in_child(struct run *run, const char *what)
{
    pid_t child = t_fork(one_run, run);
    int status = t_wait(child, 10 * t_scale());
    if (status != 0) {
        const char *call = inject_fired();
        FAIL("%s, call %ld (%s): the child ended with %d", what, run->n, call != NULL ? call : "none",
             status);
    }
}

void inject_sweep(int (*scenario)(void))
{
    struct run *run = t_shared(sizeof *run);
    long came_back = 0, overcome = 0;
    inject_begin();
    run->scenario = scenario;
    in_child(run, "without a fault");
    struct inventory clean = run->left;
    for (run->n = 1; run->n < MOST; run->n++) {
        in_child(run, "with a fault");
        const char *call = inject_fired();
        if (call == NULL) {
            break;
        }
        came_back += run->failed < 0;
        overcome += run->failed == 0;
        if (run->left.blocks != clean.blocks || run->left.maps != clean.maps ||
            run->left.descriptors != clean.descriptors) {
            FAIL("call %ld (%s, rc %d): left behind: %ld blocks, %ld mappings, %ld descriptors", run->n, call,
                 run->failed, run->left.blocks - clean.blocks, run->left.maps - clean.maps,
                 run->left.descriptors - clean.descriptors);
        }
    }
    CHECK(run->n < MOST);
    printf("    %ld faults: %ld came back as errors, %ld were overcome\n", came_back + overcome, came_back,
           overcome);
    fflush(stdout);
}
