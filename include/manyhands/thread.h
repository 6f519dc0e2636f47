/* manyhands/thread.h - threads that can be paused, resumed and terminated.
 *
 *   struct cook { mh_thread thread; int meals; };        // ours first
 *   static int cook_run(mh_thread *self) {
 *       struct cook *cook = (struct cook *) self;
 *       while (mh_checkpoint() == 0) cook->meals++;       // parks while paused; negative once terminated
 *       return 0;
 *   }
 *   struct cook c = { .thread.run = cook_run };
 *   mh_thread_start(&c.thread);
 *   mh_thread_pause(&c.thread, MH_FOREVER); ... mh_thread_resume(&c.thread);
 *   mh_thread_terminate(&c.thread); mh_thread_join(&c.thread, MH_FOREVER);
 *
 * Cooperative, never asynchronous: a thread parks, or learns that it is to end, at mh_checkpoint() and inside every wait
 * of manyhands (which then returns -ECANCELED).
 */
#ifndef MANYHANDS_THREAD_H
#define MANYHANDS_THREAD_H

#include "deadline.h"
#include "error.h"
#include "wait.h"

MH_BEGIN_DECLS

enum mh_state { MH_NEW, MH_RUNNING, MH_PAUSING, MH_PAUSED, MH_TERMINATING, MH_FINISHED };

typedef struct mh_thread mh_thread;
struct mh_thread {
    int (*run)(mh_thread *self); /* set by the user; its value is the exit code */
    const char *name;            /* NULL or up to 15 bytes that the system shows */
    size_t stack_size;           /* 0: the system's */
    uintptr_t opaque[24];        /* private */
};

/* How a thread takes part without having been made here (Python's threads, main): adopt the calling thread. */
MH_API int mh_thread_adopt(mh_thread *thread);
MH_API void mh_thread_disown(mh_thread *thread); /* by the adopted thread, before it ends */

MH_API int mh_thread_start(mh_thread *thread); /* 0, -EINVAL (no run), MH_E_STATE (started before), -EAGAIN */
/* 0, -ETIMEDOUT, -ECANCELED, -EINTR, -EDEADLK (itself), MH_E_STATE (never started). `code` by mh_thread_exit_code. */
MH_API int mh_thread_join(mh_thread *thread, mh_deadline deadline, mh_cancel *cancel);
/* Ask it to park, and wait until it is parked. 0, -ETIMEDOUT (the request stands), MH_E_STATE (not running), ... The calling
 * thread itself: parks until another resumes it. */
MH_API int mh_thread_pause(mh_thread *thread, mh_deadline deadline, mh_cancel *cancel);
MH_API int mh_thread_resume(mh_thread *thread);    /* 0, MH_E_STATE; also takes a pause back that has not been reached */
MH_API int mh_thread_terminate(mh_thread *thread); /* a request: 0, MH_E_STATE (never started); a paused thread goes on to end */
MH_API enum mh_state mh_thread_state(const mh_thread *thread);
MH_API int mh_thread_exit_code(const mh_thread *thread, int *code); /* 0; MH_E_STATE while it is not finished */
MH_API int mh_thread_cpu_time(const mh_thread *thread, int64_t *ns);
MH_API int mh_thread_id(const mh_thread *thread); /* the system's thread id, 0 before start */
MH_API mh_thread *mh_thread_self(void);           /* NULL where the calling thread is not one of ours */

/* Park here while a pause is asked for; -ECANCELED once the thread is to end, else 0. A few ns where nothing is pending. */
MH_API int mh_checkpoint(void);
/* Between these two nothing parks or ends the calling thread. They nest. */
MH_API void mh_shield_enter(void);
MH_API void mh_shield_leave(void);

MH_END_DECLS
#endif
