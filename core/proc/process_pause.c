/* core/proc/process_pause.c - stop a process, but never inside of a shared section. See
 * docs/design/0003-pausing.md.
 *
 * SIGSTOP stops all its threads wherever they are. One that is stopped between the enter and the leave of a
 * section of shared memory holds a lock that everybody else waits for. So: stop it, wait until it stands,
 * read how many sections it is in. None: done. Else let it run a moment and try again, each time a little
 * later. Entering a section counts before it locks and leaving counts after it unlocked, so a count of zero
 * in a process that stands means that it holds nothing.
 */
#include "core/proc/process.h"
#include "manyhands/arena.h"

#include <errno.h>
#include <signal.h>

#define LOOK_MIN_NS 20000
#define LOOK_MAX_NS 2000000
#define RETRY_MIN_NS 50000
#define RETRY_MAX_NS 10000000

/* Every change of the request: a new number, the new state, and the pausers that sleep on it look again.
 * Lock held. */
static uint32_t change(struct proc *p, uint32_t state)
{
    uint32_t ask = ((mh_load_rlx(&p->ask) & ~ASK_STATE) + ASK_STEP) | state;
    mh_store_rel(&p->ask, ask); /* pairs with the acquires of pausers and of mh_process_state */
    mh_wake(&p->ask, INT32_MAX, MH_PRIVATE);
    return ask;
}

int mh__proc_let_go(struct proc *p)
{
    if ((mh_load_rlx(&p->ask) & ASK_STATE) == 0) {
        return 0;
    }
    (void) change(p, 0);
    (void) mh__proc_signal(p, SIGCONT);
    return 1;
}

static int in_section(const struct proc *p)
{
    mh_arena *arena;
    if (p->place == UINT32_MAX || mh_arena_get(&arena) < 0) {
        return 0;
    }
    int count = mh_arena_in_section(arena, p->place);
    return count > 0 ? count : 0; /* negative: nobody is there, so nobody is inside */
}

/* Sleep, unless request `ask` is taken back. 0, or why the pauser is to give up. */
static int nap(struct proc *p, uint32_t ask, int64_t ns, mh_deadline deadline, mh_cancel *cancel)
{
    mh_deadline end = mh_in_ns(ns);
    int rc = mh_wait(&p->ask, ask, end < deadline ? end : deadline, cancel, MH_PRIVATE);
    return rc == -ETIMEDOUT && mh_now() < deadline ? 0 : rc;
}

/* The signal of a step, sent only while the request is still ours. */
static int signal_for(struct proc *p, uint32_t ask, int signal)
{
    mh__hold(&p->lock);
    int rc = mh_load_rlx(&p->ask) == ask ? mh__proc_signal(p, signal) : MH_E_STATE;
    mh_lock_release(&p->lock);
    return rc == -ESRCH ? MH_E_STATE : rc;
}

static int wait_until_it_stands(struct proc *p, uint32_t ask, mh_deadline deadline, mh_cancel *cancel)
{
    for (int64_t look = LOOK_MIN_NS;; look = look < LOOK_MAX_NS ? look * 2 : look) {
        if (mh__proc_ended(p) || mh_load_acq(&p->ask) != ask) {
            return MH_E_STATE;
        }
        if (mh_os_is_stopped(p->pid) == 1) {
            return 0;
        }
        int rc = nap(p, ask, look, deadline, cancel);
        if (rc < 0) {
            return rc;
        }
    }
}

/* It stands. 0: paused; 1: it is inside and runs again; MH_E_STATE: the request was taken back meanwhile. */
static int grant_or_let_run(struct proc *p, uint32_t ask)
{
    int rc = MH_E_STATE;
    mh__hold(&p->lock);
    if (mh_load_rlx(&p->ask) == ask) {
        rc = in_section(p) != 0;
        if (rc == 0) {
            (void) change(p, ASK_PAUSED);
        } else {
            (void) mh__proc_signal(p, SIGCONT);
        }
    }
    mh_lock_release(&p->lock);
    return rc;
}

static int drive(struct proc *p, uint32_t ask, mh_deadline deadline, mh_cancel *cancel)
{
    for (int64_t retry = RETRY_MIN_NS;; retry = retry < RETRY_MAX_NS ? retry * 2 : retry) {
        int rc = signal_for(p, ask, SIGSTOP);
        if (rc == 0) {
            rc = wait_until_it_stands(p, ask, deadline, cancel);
        }
        if (rc == 0) {
            rc = grant_or_let_run(p, ask);
        }
        if (rc <= 0) {
            return rc;
        }
        rc = nap(p, ask, retry, deadline, cancel);
        if (rc < 0) {
            return rc;
        }
    }
}

/* Another thread drives: wait for what comes of it. */
static int follow(struct proc *p, uint32_t ask, mh_deadline deadline, mh_cancel *cancel)
{
    while (mh_load_acq(&p->ask) == ask) {
        int rc = mh_wait(&p->ask, ask, deadline, cancel, MH_PRIVATE);
        if (rc < 0) {
            return rc;
        }
    }
    return (mh_load_acq(&p->ask) & ASK_STATE) == ASK_PAUSED ? 0 : MH_E_STATE;
}

int mh_process_pause(mh_process *process, mh_deadline deadline, mh_cancel *cancel)
{
    struct proc *p = mh__proc(process);
    int rc = mh__proc_check(p);
    if (rc < 0) {
        return rc;
    }
    if (mh__proc_ended(p)) {
        return MH_E_STATE;
    }
    mh__hold(&p->lock);
    int ending = mh_load_rlx(&p->terminating) != 0 || mh_load_rlx(&p->ended) != ENDED_ALIVE;
    uint32_t ask = mh_load_rlx(&p->ask), before = ask & ASK_STATE;
    if (before == 0 && !ending) {
        ask = change(p, ASK_PAUSE);
    }
    mh_lock_release(&p->lock);
    if (ending) {
        return MH_E_STATE;
    }
    if (before == ASK_PAUSED) {
        return 0;
    }
    if (before == ASK_PAUSE) {
        return follow(p, ask, deadline, cancel);
    }
    rc = drive(p, ask, deadline, cancel);
    if (rc < 0) { /* never left standing half-way: it may be inside */
        mh__hold(&p->lock);
        if (mh_load_rlx(&p->ask) == ask) {
            (void) mh__proc_let_go(p);
        }
        mh_lock_release(&p->lock);
    }
    return rc;
}

int mh_process_resume(mh_process *process)
{
    struct proc *p = mh__proc(process);
    int rc = mh__proc_check(p);
    if (rc < 0) {
        return rc;
    }
    mh__hold(&p->lock);
    rc = mh__proc_let_go(p) ? 0 : MH_E_STATE;
    mh_lock_release(&p->lock);
    return rc;
}
