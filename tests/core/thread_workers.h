/* tests/core/thread_workers.h - threads that do what a script says; for test_thread*.c. */
#ifndef MH_TESTS_THREAD_WORKERS_H
#define MH_TESTS_THREAD_WORKERS_H

#include "core/os/atomic.h"
#include "core/os/os.h"
#include "manyhands/thread.h"
#include "tests/core/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A gate opens once. Waiting at it is a wait of ours; looking at it (gate_is_open) is none. */
struct gate {
    MH_ATOMIC(uint32_t) word;
};

static inline void gate_open(struct gate *gate)
{
    mh_store_rel(&gate->word, 1);
    mh_wake(&gate->word, INT32_MAX, MH_PRIVATE);
}

static inline int gate_is_open(struct gate *gate)
{
    return mh_load_acq(&gate->word) != 0;
}

static inline mh_deadline soon(void)
{
    return mh_in_ms((int64_t) (t_patience * 1000) * t_scale());
}

static inline int gate_pass_until(struct gate *gate, mh_deadline end)
{
    while (!gate_is_open(gate)) {
        int rc = mh_wait(&gate->word, 0, end, NULL, MH_PRIVATE);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static inline int gate_pass(struct gate *gate)
{
    return gate_pass_until(gate, MH_FOREVER);
}

/* A worker that does what `script` says, and has whatever the scripts need. */
struct worker {
    mh_thread thread;
    int (*script)(struct worker *worker);
    struct gate begun, go, done;
    MH_ATOMIC(uint32_t) count;
    struct worker *other;
    mh_cancel *cancel;
    int result;
};

static inline int worker_run(mh_thread *self)
{
    struct worker *worker = (struct worker *) self;
    gate_open(&worker->begun);
    int code = worker->script(worker);
    gate_open(&worker->done);
    return code;
}

static inline void start_on(struct worker *worker, int (*script)(struct worker *), struct worker *other)
{
    memset(worker, 0, sizeof *worker);
    worker->thread.run = worker_run;
    worker->script = script;
    worker->other = other;
    CHECK_EQ(mh_thread_start(&worker->thread), 0);
    CHECK_EQ(gate_pass_until(&worker->begun, soon()), 0);
}

static inline void start(struct worker *worker, int (*script)(struct worker *))
{
    start_on(worker, script, NULL);
}

static inline int end(struct worker *worker)
{
    int code = -1;
    CHECK_EQ(mh_thread_join(&worker->thread, soon(), NULL), 0);
    CHECK_EQ(mh_thread_exit_code(&worker->thread, &code), 0);
    CHECK_EQ(mh_thread_state(&worker->thread), MH_FINISHED);
    return code;
}

/* It is asleep in the system: parked, or in a wait. */
static inline int sleeps(struct worker *worker)
{
    return t_thread_sleeps(getpid(), mh_thread_id(&worker->thread));
}

static inline int state(struct worker *worker)
{
    return (int) mh_thread_state(&worker->thread);
}

/* ---- scripts ---- */

static inline int seven(struct worker *worker)
{
    (void) worker;
    return 7;
}

static inline int wait_at_gate(struct worker *worker)
{
    worker->result = gate_pass(&worker->go);
    return 0;
}

/* Works without ever looking, until it is told to look (go). */
static inline int busy_then_check(struct worker *worker)
{
    while (!gate_is_open(&worker->go)) {
        mh_os_pause();
    }
    worker->result = mh_checkpoint();
    return 0;
}

static inline int busy_then_end(struct worker *worker)
{
    while (!gate_is_open(&worker->go)) {
        mh_os_pause();
    }
    return 3;
}

static inline int count_at_checkpoints(struct worker *worker)
{
    int rc;
    while ((rc = mh_checkpoint()) == 0) {
        mh_add_rlx(&worker->count, 1);
    }
    worker->result = rc;
    return 5;
}

static inline int join_other(struct worker *worker)
{
    worker->result = mh_thread_join(&worker->other->thread, MH_FOREVER, NULL);
    return 0;
}

static inline void check_stands_still(struct worker *worker)
{
    uint32_t count = mh_load_acq(&worker->count);
    CHECK_EQ(state(worker), MH_PAUSED);
    CHECK_EVENTUALLY(sleeps(worker));
    CHECK_EQ(mh_load_acq(&worker->count), count);
}

#endif
