/* manyhands/process.h - processes, with the verbs of threads.
 *
 *   struct cook { mh_process process; int id; };
 *   static int cook_run(mh_process *self) { ...; return 0; } // in the child; returns the exit status
 *   struct cook c = { .process.run = cook_run, .id = 7 };
 *   mh_process_start(&c.process);
 *   mh_process_pause(&c.process, MH_FOREVER, NULL); ... mh_process_resume(&c.process);
 *   mh_process_join(&c.process, mh_in_ms(1000), NULL);
 *   if (mh_process_exit_code(&c.process, &code) == 0) ...;    // what run returned; minus a signal that killed it
 *   mh_process_fini(&c.process);
 *
 * Pausing (SIGSTOP) never leaves a process stopped inside a shared section of manyhands. Liveness is by
 * pidfd, which a recycled process id cannot deceive. See docs/design/0003-pausing.md.
 *
 * Each verb may be called by any thread of the process that started or adopted it, also by several at once.
 * In another process (the child itself, its siblings: fork copies the struct) they say -ECHILD; state, id
 * and sentinel still answer.
 */
#ifndef MANYHANDS_PROCESS_H
#define MANYHANDS_PROCESS_H

#include "thread.h"

MH_BEGIN_DECLS

#define MH_PROCESS_DIE_WITH_PARENT 1u /* SIGKILL when the parent process ends, however it ends */
#define MH_PROCESS_GROUP 2u           /* it leads a process group of its own: see mh_process_signal_group() */
#define MH_PROCESS_SESSION 4u         /* a session of its own, without a terminal, and so a group, too */

/* In the child `to` is what `from` is here; all of a list are meant at once, so that two can be exchanged. */
typedef struct mh_redirect {
    int from, to;
} mh_redirect;

/* All-zero but for `run` or `argv` is a new process. */
typedef struct mh_process mh_process;
struct mh_process {
    int (*run)(mh_process *self); /* set by the user: fork and run this ... */
    char *const *argv;   /* ... or, where run is NULL: start this program (argv[0] is looked up in PATH) */
    char *const *envp;   /* NULL: the caller's */
    const int *keep_fds; /* descriptors that the program inherits under the same number, beside 0 1 2 */
    size_t keep_fd_count;
    const mh_redirect *redirects; /* descriptors under other numbers, for both kinds: {fd, 1} is its stdout */
    size_t redirect_count;        /* up to 64 */
    const char *cwd;              /* NULL, or the directory that it starts in */
    unsigned flags;
    uintptr_t opaque[24]; /* private */
};

/* Start it. `run`: fork; the child has a copy of this process's memory, one thread (the calling one, no
 * longer an mh_thread), a place in the arena, and ends with the value of run (its low 8 bits) after
 * flushing stdout and stderr, without atexit handlers. stdout is flushed before the fork. `argv`: fork and
 * exec; signals are at their defaults. A `run` whose redirects, directory or group cannot be had ends with 127; a
 * program is not started then. 0; -EINVAL (neither run nor argv, unknown flags, a descriptor that is none); MH_E_STATE
 * (started before); what fork or exec said (-EAGAIN, -ENOMEM, -ENOENT, -EACCES ...) or the arena (-EAGAIN:
 * no place left): then it may be started again.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits: for exec to begin | cancellation: no | allocs:
 * descriptors, an arena where there was none | death: MH_PROCESS_DIE_WITH_PARENT ends the child with this
 * process; an exec() here counts as an end */
MH_API int mh_process_start(mh_process *process);

/* Make a started process, by whatever means, one of ours; its status is left to whoever started it (no
 * zombie is reaped). `place`: its place in the arena, or UINT32_MAX: none, and pausing does not look
 * whether it is inside of a section. 0; -EINVAL (no process id, or this process); -ESRCH (there is none);
 * MH_E_STATE (the struct is in use).
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: a descriptor | death: nothing
 * shared */
MH_API int mh_process_adopt(mh_process *process, int pid, uint32_t place);

/* Let go of its descriptor, and of the zombie where it has ended; a living child lives on, unwatched. The
 * struct is zero then, up to `opaque`, and can be started again. Nothing happens to one that was not
 * started.
 * Safety: MT-owner PROC-local AS-unsafe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API void mh_process_fini(mh_process *process);

/* Wait until it has ended, and collect its status. 0 (also for every later call); -ETIMEDOUT, -ECANCELED,
 * -EINTR: it goes on; MH_E_STATE (never started); -ECHILD (not of this process). A cancellation is seen
 * within 50 ms.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death: 0 for
 * the joiners */
MH_API int mh_process_join(mh_process *process, mh_deadline deadline, mh_cancel *cancel);

/* Stop it (SIGSTOP), outside of every shared section, and wait until it stands. 0 it stands, or stood
 * before; -ETIMEDOUT, -ECANCELED, -EINTR: it runs on, and the request is taken back; MH_E_STATE: it is not
 * started, or ended, was terminated or resumed meanwhile; -EPERM; -ECHILD. A SIGCONT from elsewhere is not
 * noticed.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death: where
 * the pauser is killed half-way, the child may be left stopped, inside a section too, until someone sends
 * it SIGCONT */
MH_API int mh_process_pause(mh_process *process, mh_deadline deadline, mh_cancel *cancel);

/* Let it go on (SIGCONT); takes a pause back that has not been reached, too. 0; MH_E_STATE (no pause was
 * asked for); -ECHILD.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API int mh_process_resume(mh_process *process);

/* Ask it to end (SIGTERM), and let it go on where it is paused or stopped; kill: end it (SIGKILL), wherever
 * it is. 0 (also where it has ended); MH_E_STATE (never started); -EPERM; -ECHILD.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: none | death: others find locks
 * with a dead owner */
MH_API int mh_process_terminate(mh_process *process);
MH_API int mh_process_kill(mh_process *process);

/* Send it a signal, or its group (MH_PROCESS_GROUP, MH_PROCESS_SESSION; all that it started, unless they left the group, also
 * after its own end). 0: nothing but a test whether there is anybody. 0; -ESRCH (it has ended; nobody is left in the
 * group; or the leader has, on Linux before 6.9; a child with a session of its own that has not run yet); -EINVAL (no such signal; it leads no group); -EPERM; MH_E_STATE (never
 * started); -ECHILD. A SIGSTOP of your own may stop it inside a shared section, which mh_process_pause() does not.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: none | death: others find locks with a dead
 * owner */
MH_API int mh_process_signal(mh_process *process, int signal);
MH_API int mh_process_signal_group(mh_process *process, int signal);

/* Wait until one of several has ended, and collect its status: a death watch for a supervisor. *which is its index: the
 * first in the list where more than one has. Leave it out of the next list. 0; -ETIMEDOUT, -ECANCELED, -EINTR; -EINVAL (no
 * processes); MH_E_STATE, -ECHILD: one of them cannot be waited for; -EMFILE, -ENOMEM.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits | cancellation: yes | allocs: a descriptor for as long as it
 * waits | death: 0 */
MH_API int mh_process_join_any(mh_process *const *processes, size_t count, mh_deadline deadline,
                               mh_cancel *cancel, size_t *which);

/* What it is at this instant; MH_FINISHED also where somebody else took its status.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API enum mh_state mh_process_state(mh_process *process);

/* Exit status 0..255, or minus the signal number. 0; MH_E_STATE while it lives or was never started;
 * -ECHILD: it has ended, and its status is not to be had: somebody else took it (a waitpid elsewhere,
 * SIGCHLD ignored) and the kernel does not tell twice, or it is not a child of this process.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API int mh_process_exit_code(mh_process *process, int *code);

/* The processor time that the process has used, user + system, without its children, in ns; after its end,
 * the whole. 0; MH_E_STATE (never started); -ECHILD: as for the exit code. Memory in bytes, shared pages
 * divided by their users (PSS). 0; MH_E_STATE (not started, or ended).
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API int mh_process_cpu_time(mh_process *process, int64_t *ns);
MH_API int mh_process_memory(mh_process *process, uint64_t *bytes);

/* The system's process id; 0 before start. A descriptor that is readable once it has ended, until fini;
 * MH_E_STATE before start, -ENOSYS where the kernel has no pidfd.
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API int mh_process_id(const mh_process *process);
MH_API int mh_process_sentinel(const mh_process *process);

/* For children that are started in other ways. lifeline, in the parent: a descriptor for one child, which hangs
 * up when this process ends, however it ends; close it once the child is started. die_with, in the child, with
 * that descriptor: from now on this process is killed (SIGKILL) when it hangs up, at once where it has; it must
 * stay open, and a later exec() ends the tie. 0; -EINVAL (no place for the answer); what the system said
 * (-EMFILE, -EBADF ...).
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: descriptors | death: see above */
MH_API int mh_process_lifeline(int *fd);
MH_API int mh_process_die_with(int fd);

/* Be the parent of descendants whose own parent has ended, in place of init: they are waited for here, as children
 * are. It holds for the process, with all its threads, and not for its children. 1 or 0 as it was before; -EINVAL (no
 * such thing in this kernel).
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API int mh_process_adopt_orphans(int whether);

/* 1 while that process lives (a zombie does not), else 0. `start`: from mh_process_start_time, 0: not
 * checked. When it began, in clock ticks since boot: with the id, its identity; 0 where there is none.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API int mh_process_alive(int pid, uint64_t start);
MH_API uint64_t mh_process_start_time(int pid);

MH_END_DECLS
#endif
