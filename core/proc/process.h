/* core/proc/process.h - what lies in mh_process.opaque, and the helpers that the files of this folder
 * share. */
#ifndef MH_PROC_PROCESS_H
#define MH_PROC_PROCESS_H

#include "core/os/atomic.h"
#include "core/os/os.h"
#include "manyhands/lock.h"
#include "manyhands/process.h"

/* life: NEW -> STARTING -> STARTED. STARTING -> NEW where the start failed. Never back after that.
 *
 * ask: what pause and resume want of the child.
 *   bit 0      ASK_PAUSE    somebody pauses it, and has not reached it yet
 *   bit 1      ASK_PAUSED   it is stopped, outside of every section; excludes bit 0
 *   bits 2-31  number of the request: grows with every change, so that a pauser sees when its own is over
 * Changed under `lock` only, together with the signals that belong to the change: a SIGSTOP is never sent
 * for a request that was taken back, nor a SIGCONT against one that was granted. Read without it (release
 * store, acquire load), and slept on by the pausers.
 *   0 -> PAUSE          first mh_process_pause; the one that made it drives it, others wait for it
 *   PAUSE -> PAUSED     the driver found it stopped and outside
 *   PAUSE -> 0          resume, terminate, the driver's deadline, the child's end
 *   PAUSED -> 0         resume, terminate
 */
enum { LIFE_NEW, LIFE_STARTING, LIFE_STARTED };
#define ASK_PAUSE 1u
#define ASK_PAUSED 2u
#define ASK_STATE 3u
#define ASK_STEP 4u

/* ended: ALIVE -> one of the others, once, under `lock`. The release store publishes status and cpu. */
enum { ENDED_ALIVE, ENDED_KNOWN, ENDED_UNKNOWN };

struct proc {
    MH_ATOMIC(uint32_t) life;
    MH_ATOMIC(uint32_t) ask;
    MH_ATOMIC(uint32_t) ended;
    MH_ATOMIC(uint32_t) terminating;
    mh_lock lock; /* ask with its signals; reaping */
    int pid;
    int pidfd; /* -1 where the kernel has none */
    uint32_t place;
    uint32_t own; /* we started it, so we collect its status; an adopted child's is left to its maker */
    uint64_t start;
    int64_t cpu; /* taken just before it was reaped; -1: not known */
    int status;
    int parent; /* the process in which these fields mean something */
};

_Static_assert(sizeof(struct proc) <= sizeof((mh_process *) 0)->opaque, "grow mh_process.opaque");

static inline struct proc *mh__proc(const mh_process *process)
{
    return (struct proc *) (uintptr_t) process->opaque;
}

/* 1 where it has ended (its status is collected, or known to be lost); 0 while it lives. */
int mh__proc_ended(struct proc *p);
/* 0 where the calling process may ask for it; MH_E_STATE: never started; -ECHILD: it is the child of
 * another process (we are that child itself, or its sibling, in a copy that fork() made). */
int mh__proc_check(const struct proc *p);
/* -ESRCH where it has ended: never a signal for whoever has its id next. */
int mh__proc_signal(struct proc *p, int signal);
/* Take back a pause, asked for or reached, and let the child go on. 1 where there was one. The lock is
 * held. */
int mh__proc_let_go(struct proc *p);

/* Take a private lock whatever happens to the calling thread: no pause, end or signal comes between. */
void mh__hold(mh_lock *lock);

/* Sleep until `fd` is readable (-1: never), with the rules of every wait: 0, -ETIMEDOUT, -ECANCELED,
 * -EINTR. */
int mh__wait_fd(int fd, mh_deadline deadline, mh_cancel *cancel);

/* A descriptor that hangs up when this process ends, for one child; the caller closes it after the start. */
int mh__lifeline(int *fd);

#endif
