/* tests/core/process_workers.h - children that do what a script says; for test_process*.c. */
#ifndef MH_TESTS_PROCESS_WORKERS_H
#define MH_TESTS_PROCESS_WORKERS_H

#include "core/os/atomic.h"
#include "core/os/os.h"
#include "core/sync/section.h"
#include "manyhands/arena.h"
#include "manyhands/lock.h"
#include "manyhands/process.h"
#include "tests/core/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a test and its children share. */
struct board {
    MH_ATOMIC(uint32_t) begun, go, count, stop, pid;
    mh_lock lock;
};

struct worker {
    mh_process process;
    int (*script)(struct worker *worker);
    struct board *board;
    int value;
};

static inline void raise_flag(MH_ATOMIC(uint32_t) *word)
{
    mh_store_rel(word, 1);
    mh_wake(word, INT32_MAX, 0);
}

static inline int await_flag_until(MH_ATOMIC(uint32_t) *word, mh_deadline end)
{
    while (mh_load_acq(word) == 0) {
        int rc = mh_wait(word, 0, end, NULL, 0);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static inline int await_flag(MH_ATOMIC(uint32_t) *word)
{
    return await_flag_until(word, MH_FOREVER);
}

static inline mh_deadline soon(void)
{
    return mh_in_ms((int64_t) (t_patience * 1000) * t_scale());
}

static inline int worker_run(mh_process *self)
{
    struct worker *worker = (struct worker *) self;
    raise_flag(&worker->board->begun);
    return worker->script(worker);
}

static inline void start_with(struct worker *worker, int (*script)(struct worker *), struct board *board,
                              unsigned flags)
{
    memset(worker, 0, sizeof *worker);
    worker->process.run = worker_run;
    worker->process.flags = flags;
    worker->script = script;
    worker->board = board;
    mh_store_rel(&board->begun, 0);
    CHECK_EQ(mh_process_start(&worker->process), 0);
    CHECK_EQ(await_flag_until(&board->begun, soon()), 0);
}

static inline struct board *start(struct worker *worker, int (*script)(struct worker *))
{
    struct board *board = t_shared(sizeof *board);
    start_with(worker, script, board, 0);
    return board;
}

static inline int end(struct worker *worker)
{
    int code = -99;
    CHECK_EQ(mh_process_join(&worker->process, soon(), NULL), 0);
    CHECK_EQ(mh_process_state(&worker->process), MH_FINISHED);
    CHECK_EQ(mh_process_exit_code(&worker->process, &code), 0);
    mh_process_fini(&worker->process);
    return code;
}

static inline int state(struct worker *worker)
{
    return (int) mh_process_state(&worker->process);
}

static inline int pid_of(struct worker *worker)
{
    return mh_process_id(&worker->process);
}

/* ---- scripts ---- */

static inline int seven(struct worker *worker)
{
    return worker->value + 7;
}

static inline int until_go(struct worker *worker)
{
    return await_flag(&worker->board->go) == 0 ? 0 : 1;
}

static inline int count_up(struct worker *worker)
{
    while (mh_load_rlx(&worker->board->stop) == 0) {
        mh_add_rlx(&worker->board->count, 1);
    }
    return 4;
}

static inline void done(struct worker *worker)
{
    CHECK_EQ(mh_process_kill(&worker->process), 0);
    CHECK_EQ(end(worker), -SIGKILL);
}

#endif
