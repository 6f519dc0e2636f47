/* manyhands/process.h - processes, with the verbs of threads.
 *
 *   struct cook { mh_process process; int id; };
 *   static int cook_run(mh_process *self) { ...; return 0; }      // in the child; its value is the exit status
 *   struct cook c = { .process.run = cook_run, .id = 7 };
 *   mh_process_start(&c.process);
 *
 * Pausing (SIGSTOP) never leaves a process stopped inside a shared section of manyhands. Liveness is by pidfd, which
 * a recycled process id cannot deceive.
 */
#ifndef MANYHANDS_PROCESS_H
#define MANYHANDS_PROCESS_H

#include "thread.h"

MH_BEGIN_DECLS

#define MH_PROCESS_DIE_WITH_PARENT 1u /* SIGKILL when the parent process ends, however it ends */

typedef struct mh_process mh_process;
struct mh_process {
    int (*run)(mh_process *self); /* set by the user: fork and run this ... */
    char *const *argv;            /* ... or, where run is NULL: start this program (argv[0] is looked up in PATH) */
    char *const *envp;            /* NULL: the caller's */
    const int *keep_fds;          /* descriptors that the program inherits under the same number, beside 0 1 2 */
    size_t keep_fd_count;
    unsigned flags;
    uintptr_t opaque[24]; /* private */
};

MH_API int mh_process_start(mh_process *process);
/* Make a started child of this process (by whatever means) one of ours. `place`: its place in the arena, or UINT32_MAX. */
MH_API int mh_process_adopt(mh_process *process, int pid, uint32_t place);
MH_API void mh_process_fini(mh_process *process); /* let go of descriptors; does not touch a living child */
MH_API int mh_process_join(mh_process *process, mh_deadline deadline, mh_cancel *cancel);
MH_API int mh_process_pause(mh_process *process, mh_deadline deadline, mh_cancel *cancel);
MH_API int mh_process_resume(mh_process *process);
MH_API int mh_process_terminate(mh_process *process); /* SIGTERM (and SIGCONT where paused) */
MH_API int mh_process_kill(mh_process *process);      /* SIGKILL */
MH_API enum mh_state mh_process_state(mh_process *process);
/* Exit status 0..255, or minus the signal number. MH_E_STATE while it lives. */
MH_API int mh_process_exit_code(mh_process *process, int *code);
MH_API int mh_process_cpu_time(mh_process *process, int64_t *ns); /* user + system, of the process alone */
MH_API int mh_process_memory(mh_process *process, uint64_t *bytes); /* PSS */
MH_API int mh_process_id(const mh_process *process);
MH_API int mh_process_sentinel(const mh_process *process); /* a descriptor that is readable once it has ended */

/* 1 while that process lives (a zombie does not), 0 else. start: from mh_process_start_time, 0: not checked. */
MH_API int mh_process_alive(int pid, uint64_t start);
MH_API uint64_t mh_process_start_time(int pid); /* clock ticks since boot; 0 where unknown */

MH_END_DECLS
#endif
