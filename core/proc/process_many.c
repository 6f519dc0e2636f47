/* core/proc/process_many.c - several at once: the group that a process leads, and the first of many to end. */
#include <errno.h>

#include "core/proc/process.h"

/* Signals to one, and to its group. The lock: nobody of ours reaps it, and its id goes to another, in between. */
static int signal_to(struct proc *p, int signal, int (*how)(struct proc *p, int signal))
{
    int rc = mh__proc_check(p);
    if (rc < 0) {
        return rc;
    }
    mh__hold(&p->lock);
    rc = how(p, signal);
    mh_lock_release(&p->lock);
    return rc;
}

int mh_process_signal(mh_process *process, int signal)
{
    return signal_to(mh__proc(process), signal, mh__proc_signal);
}

/* A pidfd means the group also once its leader is reaped. Without one, or before Linux 6.9, the group's number is safe only
 * as long as the leader is ours: after that it may be another's. */
static int signal_group(struct proc *p, int signal)
{
    int rc = p->pidfd >= 0 ? mh_os_pidfd_signal_group(p->pidfd, signal) : -EINVAL;
    if (rc != -EINVAL && rc != -ENOSYS) {
        return rc;
    }
    return mh_load_rlx(&p->ended) == ENDED_ALIVE ? mh_os_signal_group(p->pid, signal) : -ESRCH;
}

int mh_process_signal_group(mh_process *process, int signal)
{
    if (!(process->flags & (MH_PROCESS_GROUP | MH_PROCESS_SESSION)) || signal < 0 || signal > 64) {
        return -EINVAL;
    }
    return signal_to(mh__proc(process), signal, signal_group);
}

/* ---- the first to end ---- */

/* 1 and its index, 0 where all live; MH_E_STATE, -ECHILD where one of them cannot be waited for. */
static int look(mh_process *const *processes, size_t count, size_t *which)
{
    for (size_t i = 0; i < count; i++) {
        struct proc *p = mh__proc(processes[i]);
        int rc = mh__proc_check(p);
        if (rc < 0) {
            return rc;
        }
        if (mh__proc_ended(p)) {
            *which = i;
            return 1;
        }
    }
    return 0;
}

/* -ENOSYS: one of them has no descriptor to wait for. */
static int set_of(mh_process *const *processes, size_t count, int *set)
{
    int rc = mh_os_poll_set();
    if (rc < 0) {
        return rc;
    }
    *set = rc;
    rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        int fd = mh__proc(processes[i])->pidfd;
        rc = fd < 0 ? -ENOSYS : mh_os_poll_add(*set, fd);
    }
    if (rc < 0) {
        mh_os_close(*set);
    }
    return rc;
}

int mh_process_join_any(mh_process *const *processes, size_t count, mh_deadline deadline, mh_cancel *cancel,
                        size_t *which)
{
    enum { SLICE = 20000000 };
    int set = -1, rc = count == 0 ? -EINVAL : look(processes, count, which);
    if (rc != 0) {
        return rc < 0 ? rc : 0;
    }
    rc = set_of(processes, count, &set);
    if (rc < 0 && rc != -ENOSYS) {
        return rc;
    }
    int blind = rc < 0;
    for (;;) {
        mh_deadline until = blind && mh_in_ns(SLICE) < deadline ? mh_in_ns(SLICE) : deadline;
        int waited = mh__wait_fd(blind ? -1 : set, until, cancel);
        rc = look(processes, count, which);
        if (rc == 0 && waited < 0 && (waited != -ETIMEDOUT || until >= deadline)) {
            rc = waited;
        }
        if (rc != 0) {
            break;
        }
    }
    if (!blind) {
        mh_os_close(set);
    }
    return rc < 0 ? rc : 0;
}
