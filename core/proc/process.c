/* core/proc/process.c - start, join, end. Pausing is in process_pause.c, the pipe of die-with-parent in
 * lifeline.c. */
#include "core/proc/process.h"
#include "core/shm/arena.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(mh_redirect) == 2 * sizeof(int), "a list of them is a list of pairs");

#define NO_PLACE UINT32_MAX
#define SLICE_MIN_NS 1000000
#define SLICE_MAX_NS 50000000

void mh__hold(mh_lock *lock)
{
    mh_shield_enter();
    while (mh_lock_acquire(lock, MH_FOREVER, NULL) < 0) {
        /* -EINTR: a signal's hook wants the wait to end. This one is short; the hook runs again in the next
         * wait. */
    }
    mh_shield_leave();
}

/* ---- start ---- */

static int reserve_place(uint32_t *place)
{
    mh_arena *arena;
    int rc = mh_arena_get(&arena);
    return rc < 0 ? rc : mh_arena_reserve(arena, place);
}

/* Of a child that did not come to be, or that has ended. */
static void give_back_place(const struct proc *p)
{
    mh_arena *arena;
    if (p->place == NO_PLACE || mh_arena_get(&arena) < 0) {
        return;
    }
    if (p->pid > 0 && p->start != 0) {
        mh__arena_unreserve_gone(arena, p->place, p->pid, p->start);
    } else {
        mh_arena_unreserve(arena, p->place);
    }
}

static int settle_here(uint32_t place)
{
    mh_arena *arena;
    int rc = mh_arena_get(&arena);
    return rc < 0 ? rc : mh_arena_settle(arena, place, mh_os_pid());
}

static void settle_child(const struct proc *p)
{
    mh_arena *arena;
    if (mh_arena_get(&arena) == 0) {
        (void) mh__arena_settle_child(arena, p->place, p->pid, p->start);
    }
}

/* In the forked child. What the run function printed must come out, and atexit handlers are the parent's:
 * flush and go. */
static _Noreturn void child(mh_process *process, struct proc *p, struct mh_os_child *changes)
{
    mh__tls()->control = NULL; /* this thread's pauser stayed behind in the parent */
    p->pid = mh_os_pid();
    p->pidfd = -1;
    p->start = mh_os_start_time(p->pid); /* known since mh_os_pid() */
    if (mh_os_become(changes) < 0 || settle_here(p->place) < 0) {
        mh_os_exit(127);
    }
    mh_store_rel(&p->life, LIFE_STARTED); /* nobody to pair with: the only thread here */
    int code = process->run(process);
    (void) fflush(stdout);
    (void) fflush(stderr);
    mh_os_exit(code & 0xff);
}

static int start_function(mh_process *process, struct proc *p, struct mh_os_child *changes)
{
    int rc = reserve_place(&p->place);
    if (rc < 0) {
        return rc;
    }
    (void) fflush(stdout); /* or the child prints it once more */
    int pid = mh_os_fork();
    if (pid == 0) {
        child(process, p, changes);
    }
    if (pid < 0) {
        give_back_place(p);
        p->place = NO_PLACE;
    }
    return pid;
}

static int start_program(const mh_process *process, const struct mh_os_child *changes)
{
    if (process->keep_fd_count > 0 && process->keep_fds == NULL) {
        return -EINVAL;
    }
    return mh_os_spawn(&(struct mh_os_spawn){process->argv, process->envp, process->keep_fds,
                                             process->keep_fd_count, *changes});
}

static void note_child(struct proc *p, int pid)
{
    p->pid = pid;
    p->start = mh_os_start_time(pid);
    p->pidfd = mh_os_pidfd(pid);
    p->parent = mh_os_pid();
    p->cpu = -1;
    if (p->pidfd == -ESRCH) {
        mh_store_rel(&p->ended,
                     ENDED_UNKNOWN); /* reaped by somebody else already; pairs with mh__proc_ended */
    }
    if (p->pidfd < 0) {
        p->pidfd = -1;
    }
    if (p->own && p->place != NO_PLACE) {
        settle_child(p); /* it does so itself, too; whoever comes first */
    }
}

static int begin(struct proc *p)
{
    uint32_t fresh = LIFE_NEW;
    if (!mh_cas_acq(&p->life, &fresh, LIFE_STARTING)) {
        return MH_E_STATE;
    }
    mh_lock_init(&p->lock, MH_PRIVATE);
    p->place = NO_PLACE;
    p->pidfd = -1;
    p->own = 1;
    return 0;
}

#define FLAGS (MH_PROCESS_DIE_WITH_PARENT | MH_PROCESS_GROUP | MH_PROCESS_SESSION)

static int check_request(const mh_process *process)
{
    if ((process->flags & ~FLAGS) || process->redirect_count > MH_OS_MOST_REDIRECTS ||
        (process->redirect_count > 0 && process->redirects == NULL)) {
        return -EINVAL;
    }
    for (size_t i = 0; i < process->redirect_count; i++) {
        if (process->redirects[i].from < 0 || process->redirects[i].to < 0) {
            return -EINVAL;
        }
    }
    return 0;
}

static int start(mh_process *process, struct proc *p, int lifeline)
{
    struct mh_os_child changes = {
        .cwd = process->cwd,
        .redirect = process->redirects != NULL ? &process->redirects->from : NULL,
        .redirect_count = process->redirect_count,
        .group = process->flags & MH_PROCESS_SESSION ? 2 : (process->flags & MH_PROCESS_GROUP) != 0,
        .die_with = lifeline,
    };
    int rc = process->run != NULL ? start_function(process, p, &changes) : start_program(process, &changes);
    if (rc > 0 && changes.group == 1) {
        (void) mh_os_own_group(rc); /* it does so itself, too; whoever comes first */
    }
    return rc;
}

int mh_process_start(mh_process *process)
{
    struct proc *p = mh__proc(process);
    int lifeline = -1;
    int rc = begin(p);
    if (rc < 0) {
        return rc;
    }
    rc = check_request(process);
    if (rc == 0 && process->flags & MH_PROCESS_DIE_WITH_PARENT) {
        rc = mh__lifeline(&lifeline);
    }
    if (rc == 0) {
        rc = start(process, p, lifeline);
    }
    if (lifeline >= 0) {
        mh_os_close(lifeline);
    }
    if (rc < 0) {
        mh_store_rel(&p->life, LIFE_NEW); /* pairs with the next begin() */
        return rc;
    }
    note_child(p, rc);
    mh_store_rel(&p->life, LIFE_STARTED); /* pairs with mh__proc_check */
    return 0;
}

int mh_process_adopt(mh_process *process, int pid, uint32_t place)
{
    struct proc *p = mh__proc(process);
    if (pid <= 0 || pid == mh_os_pid()) {
        return -EINVAL;
    }
    int rc = begin(p);
    if (rc < 0) {
        return rc;
    }
    note_child(p, pid);
    p->own = 0;
    p->place = place;
    if (mh_load_rlx(&p->ended) != ENDED_ALIVE || (p->pidfd < 0 && !mh_process_alive(pid, p->start))) {
        mh_store_rlx(&p->ended, ENDED_ALIVE);
        mh_store_rel(&p->life, LIFE_NEW); /* pairs with the next begin() */
        return -ESRCH;
    }
    mh_store_rel(&p->life, LIFE_STARTED); /* pairs with mh__proc_check */
    return 0;
}

int mh__proc_check(const struct proc *p)
{
    if (mh_load_acq(&p->life) != LIFE_STARTED) {
        return MH_E_STATE;
    }
    return p->parent == mh_os_pid() ? 0 : -ECHILD;
}

/* ---- the end ---- */

static void note_end(struct proc *p, uint32_t how)
{
    mh_store_rel(&p->ended, how); /* pairs with the acquire in mh__proc_ended */
    (void) mh__proc_let_go(p);    /* no signal goes out any more; the pausers are told */
    if (p->own) {
        give_back_place(p);
    }
}

/* Collect the status. Without a pidfd, waitid is also the only way to see that it ended. */
static int collect(struct proc *p)
{
    int status = 0;
    int64_t cpu = -1;
    int gone = p->pidfd >= 0 ? mh_os_pidfd_wait(p->pidfd, MH_AT_ONCE) == 0
                             : !mh_process_alive(p->pid, p->start);
    int rc = gone ? mh_os_reap(p->pid, 1, &status) : 0;
    if (rc == 1) {
        if (mh_os_process_cpu(p->pid, &cpu) == 0) {
            p->cpu = cpu;
        }
        if (p->own) {
            rc = mh_os_reap(p->pid, 0, &status);
        }
    }
    if (rc == 1) {
        p->status = status;
        note_end(p, ENDED_KNOWN);
        return 1;
    }
    if (!gone) {
        return 0;
    }
    note_end(p, mh_os_pidfd_status(p->pidfd, &p->status) == 0 ? ENDED_KNOWN : ENDED_UNKNOWN);
    return 1;
}

int mh__proc_ended(struct proc *p)
{
    if (mh_load_acq(&p->ended) != ENDED_ALIVE) {
        return 1;
    }
    mh__hold(&p->lock);
    int ended = mh_load_rlx(&p->ended) != ENDED_ALIVE || collect(p);
    mh_lock_release(&p->lock);
    return ended;
}

/* Old kernels without pidfd: look again and again. */
static int join_by_looking(struct proc *p, mh_deadline deadline, mh_cancel *cancel)
{
    for (int64_t slice = SLICE_MIN_NS;; slice = slice < SLICE_MAX_NS ? slice * 2 : slice) {
        if (mh__proc_ended(p)) {
            return 0;
        }
        mh_deadline end = mh_in_ns(slice);
        int rc = mh__wait_fd(-1, end < deadline ? end : deadline, cancel);
        if (rc < 0 && (rc != -ETIMEDOUT || mh_now() >= deadline)) {
            return mh__proc_ended(p) ? 0 : rc;
        }
    }
}

int mh_process_join(mh_process *process, mh_deadline deadline, mh_cancel *cancel)
{
    struct proc *p = mh__proc(process);
    int rc = mh__proc_check(p);
    if (rc < 0) {
        return rc;
    }
    if (mh__proc_ended(p)) {
        return 0;
    }
    if (p->pidfd < 0) {
        return join_by_looking(p, deadline, cancel);
    }
    rc = mh__wait_fd(p->pidfd, deadline, cancel);
    return mh__proc_ended(p) ? 0 : rc;
}

int mh_process_exit_code(mh_process *process, int *code)
{
    struct proc *p = mh__proc(process);
    int rc = mh__proc_check(p);
    if (rc < 0) {
        return rc;
    }
    if (!mh__proc_ended(p)) {
        return MH_E_STATE;
    }
    if (mh_load_acq(&p->ended) != ENDED_KNOWN) {
        return -ECHILD;
    }
    *code = p->status;
    return 0;
}

void mh_process_fini(mh_process *process)
{
    struct proc *p = mh__proc(process);
    if (mh_load_acq(&p->life) != LIFE_STARTED) {
        return;
    }
    if (mh__proc_check(p) == 0) {
        (void) mh__proc_ended(p); /* leaves no zombie where it has ended */
    }
    if (p->pidfd >= 0) {
        mh_os_close(p->pidfd);
    }
    memset(p, 0, sizeof *p);
}

/* ---- signals ---- */

int mh__proc_signal(struct proc *p, int signal)
{
    if (mh_load_acq(&p->ended) != ENDED_ALIVE) {
        return -ESRCH;
    }
    if (p->pidfd >= 0) {
        return mh_os_pidfd_signal(p->pidfd, signal);
    }
    return mh_process_alive(p->pid, p->start) ? mh_os_signal(p->pid, signal) : -ESRCH;
}

static int ask_to_end(struct proc *p, int signal)
{
    int rc = mh__proc_check(p);
    if (rc < 0) {
        return rc;
    }
    mh__hold(&p->lock);
    mh_store_rel(&p->terminating, 1); /* pairs with mh_process_state */
    rc = mh__proc_signal(p, signal);
    (void) mh__proc_let_go(p);
    if (signal != SIGKILL) {
        (void) mh__proc_signal(p, SIGCONT); /* stopped by somebody else, it would never see the request */
    }
    mh_lock_release(&p->lock);
    return rc == -ESRCH ? 0 : rc;
}

int mh_process_terminate(mh_process *process)
{
    return ask_to_end(mh__proc(process), SIGTERM);
}

int mh_process_kill(mh_process *process)
{
    return ask_to_end(mh__proc(process), SIGKILL);
}

/* ---- what it is and uses ---- */

enum mh_state mh_process_state(mh_process *process)
{
    struct proc *p = mh__proc(process);
    int rc = mh__proc_check(p);
    if (rc == MH_E_STATE) {
        return MH_NEW;
    }
    if (rc == -ECHILD) {
        return mh_process_alive(p->pid, p->start) ? MH_RUNNING : MH_FINISHED;
    }
    if (mh__proc_ended(p)) {
        return MH_FINISHED;
    }
    if (mh_load_acq(&p->terminating)) {
        return MH_TERMINATING;
    }
    switch (mh_load_acq(&p->ask) & ASK_STATE) {
    case ASK_PAUSE:
        return MH_PAUSING;
    case ASK_PAUSED:
        return MH_PAUSED;
    default:
        return MH_RUNNING;
    }
}

int mh_process_cpu_time(mh_process *process, int64_t *ns)
{
    struct proc *p = mh__proc(process);
    int64_t used = -1;
    int rc = mh__proc_check(p);
    if (rc < 0) {
        return rc;
    }
    mh__hold(&p->lock); /* so that nobody of ours reaps it, and its id goes to another, in between */
    rc = mh_load_rlx(&p->ended) != ENDED_ALIVE ? 0 : mh_os_process_cpu(p->pid, &used);
    if (mh_load_rlx(&p->ended) != ENDED_ALIVE) {
        used = p->cpu;
    }
    mh_lock_release(&p->lock);
    if (rc < 0) {
        return rc;
    }
    if (used < 0) {
        return -ECHILD;
    }
    *ns = used;
    return 0;
}

int mh_process_memory(mh_process *process, uint64_t *bytes)
{
    struct proc *p = mh__proc(process);
    uint64_t used;
    int rc = mh__proc_check(p);
    if (rc < 0) {
        return rc;
    }
    if (mh__proc_ended(p)) {
        return MH_E_STATE;
    }
    rc = mh_os_process_memory(p->pid, &used);
    if (mh__proc_ended(p)) { /* and the id may be another's by now */
        return MH_E_STATE;
    }
    if (rc == 0) {
        *bytes = used;
    }
    return rc;
}

int mh_process_id(const mh_process *process)
{
    const struct proc *p = mh__proc(process);
    return mh_load_acq(&p->life) == LIFE_STARTED ? p->pid : 0;
}

int mh_process_sentinel(const mh_process *process)
{
    const struct proc *p = mh__proc(process);
    if (mh_load_acq(&p->life) != LIFE_STARTED) {
        return MH_E_STATE;
    }
    return p->pidfd >= 0 ? p->pidfd : -ENOSYS;
}

int mh_process_alive(int pid, uint64_t start)
{
    return pid > 0 && mh_os_alive((uint64_t) (uint32_t) pid | start << 32);
}

uint64_t mh_process_start_time(int pid)
{
    return mh_os_start_time(pid);
}
