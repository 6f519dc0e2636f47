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
 *   mh_thread_pause(&c.thread, MH_FOREVER, NULL); ... mh_thread_resume(&c.thread);
 *   mh_thread_terminate(&c.thread); mh_thread_join(&c.thread, MH_FOREVER, NULL);
 *
 * Cooperative, never asynchronous: a thread parks, or learns that it is to end, at mh_checkpoint() and
 * inside every wait of manyhands (which then returns -ECANCELED). Why: docs/design/0003-pausing.md.
 *
 * States:  NEW -start-> RUNNING -pause-> PAUSING -(parks)-> PAUSED -resume-> RUNNING;  from each of these
 *          -terminate-> TERMINATING;  from each but PAUSED -(run returns)-> FINISHED.
 *          RUNNING is also one that sleeps in a wait.
 *
 * Each verb may be called by any thread of the process, also by several at once. In a child made by fork()
 * only the thread that forked lives on, with no request pending: the others are FINISHED there, and joining
 * one says MH_E_LOST.
 */
#ifndef MANYHANDS_THREAD_H
#define MANYHANDS_THREAD_H

#include "deadline.h"
#include "error.h"
#include "wait.h"

MH_BEGIN_DECLS

enum mh_state { MH_NEW, MH_RUNNING, MH_PAUSING, MH_PAUSED, MH_TERMINATING, MH_FINISHED };

/* The thread takes no signals: they go to others of the process. */
#define MH_QUIET 1u

/* All-zero but for `run` is a new thread. It stays where it is, and alive, until it is joined (or disowned; or, where
 * it was detached, released). */
typedef struct mh_thread mh_thread;
struct mh_thread {
    int (*run)(mh_thread *self); /* set by the user; its value is the exit code */
    const char *name;            /* NULL or up to 15 bytes that the system shows */
    size_t stack_size;           /* 0: the system's */
    unsigned flags;              /* 0 or MH_QUIET */
    /* NULL, or what is called as the very last for a thread that was detached, and may free the struct */
    void (*release)(mh_thread *self);
    uintptr_t opaque[24]; /* private */
};

/* Start a thread that calls `thread->run(thread)`. 0; -EINVAL (no run, a flag that is none, or a stack size that the
 * system refuses); MH_E_STATE (started or adopted before); -EAGAIN (no more threads to be had; it may be started
 * later). A thread that leaves `run` by pthread_exit() ends like any other, with exit code -ECANCELED.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: the thread's stack | death:
 * nothing shared */
MH_API int mh_thread_start(mh_thread *thread);

/* How a thread takes part without having been made here (main, Python's threads): the calling thread is
 * `thread` until mh_thread_disown(), which it calls itself, before it ends. `run` and `stack_size` are not
 * looked at. 0; MH_E_STATE (`thread` is in use, or the calling thread is one of ours already). After disown
 * `thread` is FINISHED with exit code 0, whoever joins it goes on, and it may be adopted again once zeroed.
 * Disown panics where `thread` is not the calling thread, or was started here.
 * Safety: MT-owner PROC-local AS-unsafe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API int mh_thread_adopt(mh_thread *thread);
MH_API void mh_thread_disown(mh_thread *thread);

/* As mh_thread_disown(), by a thread that is about to end and has more to let go of, an interpreter's lock for one: who
 * sleeps in mh_thread_join() is woken by the thread's last act, its clean-up (mh_thread_at_end()), and so does not run into
 * what it still held. The struct may be freed before that, once it is FINISHED. What processor time it used
 * mh_thread_cpu_time() can tell until the system has done with the thread, and -ESRCH after that.
 * Safety: MT-owner PROC-local AS-unsafe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API void mh_thread_disown_at_end(mh_thread *thread);

/* Wait until it has ended and is gone. 0 (also for every later call); -ETIMEDOUT, -ECANCELED, -EINTR: it
 * goes on, join again; -EDEADLK (the calling thread itself); MH_E_STATE (never started); MH_E_LOST (it
 * lived in the process that forked this one; it was detached: MH_E_STATE). A paused thread does not end: resume or terminate it. The
 * destructors of thread-specific data run after `run`, and are waited for beyond the deadline. A thread
 * that is never joined keeps its stack.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death:
 * nothing shared */
MH_API int mh_thread_join(mh_thread *thread, mh_deadline deadline, mh_cancel *cancel);

/* Nobody will join it: when it has ended the system takes its stack back, and `release` is called, where there is one, by
 * the thread itself as the last that it does, or by this call where it has ended already. From then on the struct is the
 * caller's again, who therefore learns of the end by `release` or by means of his own, and asks nothing of the thread after
 * it. 0; MH_E_STATE (never started, adopted, being joined or joined, detached before); MH_E_LOST. A thread may detach
 * itself.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits: only itself, for its starter | cancellation: no | allocs: none |
 * death: nothing shared */
MH_API int mh_thread_detach(mh_thread *thread);

/* Ask it to park, and wait until it is parked: at mh_checkpoint() or inside a wait of manyhands, from which
 * it does not return before it is resumed. A thread that sleeps in such a wait already counts as parked at
 * once, outside of a shield. 0 it is parked, or was parked before; -ETIMEDOUT, -ECANCELED, -EINTR: not
 * parked yet, and the request stands: it parks when it comes to it, unless mh_thread_resume() takes the
 * request back; MH_E_STATE: it is not started, or ended, was terminated or resumed before it parked. The
 * calling thread itself: parks, and returns 0 when another thread has resumed it, or -ECANCELED when it was
 * terminated; `deadline` is not looked at; inside a shield it is MH_E_STATE, inside a hold -ETIMEDOUT, and it parks later. One
 * resume ends it,
 * however often it was paused.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death:
 * nothing shared */
MH_API int mh_thread_pause(mh_thread *thread, mh_deadline deadline, mh_cancel *cancel);

/* Wait for a pause that was asked for before, without asking again. As mh_thread_pause; MH_E_STATE also where
 * none is asked for, and for the calling thread itself.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death:
 * nothing shared */
MH_API int mh_thread_await_pause(mh_thread *thread, mh_deadline deadline, mh_cancel *cancel);

/* Let it go on; takes a pause back that has not been reached, too. 0; MH_E_STATE (no pause was asked for).
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API int mh_thread_resume(mh_thread *thread);

/* Ask it to end: mh_checkpoint() and every wait of manyhands return -ECANCELED to it from now on, at once
 * where it sleeps in one or is paused. Then it is up to `run` to return. 0 (also where it has been asked
 * before, or has ended); MH_E_STATE (never started).
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API int mh_thread_terminate(mh_thread *thread);

/* What it is at this instant.
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API enum mh_state mh_thread_state(const mh_thread *thread);

/* What `run` returned. 0; MH_E_STATE while it has not ended; MH_E_LOST as for join.
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API int mh_thread_exit_code(const mh_thread *thread, int *code);

/* The processor time that it has used, in ns; after its end, the whole. 0; MH_E_STATE (never started);
 * MH_E_LOST as for join; -ESRCH after mh_thread_disown_at_end().
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API int mh_thread_cpu_time(const mh_thread *thread, int64_t *ns);

/* That of the calling thread, whoever made it, in ns.
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API int64_t mh_thread_own_cpu_time(void);

/* The system's thread id; 0 before start. Stays what it was after the end, when the system may give it to
 * another.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits: only for a thread just started to run its first
 * instructions | cancellation: no | allocs: none | death: nothing shared */
MH_API int mh_thread_id(const mh_thread *thread);

/* Where it may run: numbers of processors. Set: 0; -EINVAL (none of them is there, or one is no number of a processor); MH_E_STATE
 * (not started, or ended). Get: how many there are, of which the first `room` are written to `cores`; MH_E_STATE. NULL is
 * the calling thread, whoever made it. A new thread begins where its starter may run.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death: nothing shared */
MH_API int mh_thread_set_cores(mh_thread *thread, const int *cores, size_t count);
MH_API int mh_thread_cores(const mh_thread *thread, int *cores, size_t room);

/* What is to be done when a thread ends, for what it has of its own. All-zero but for `run`; lies where the thread can reach
 * it until then, and `run` may free it. */
typedef struct mh_cleanup mh_cleanup;
struct mh_cleanup {
    void (*run)(mh_cleanup *cleanup); /* set by the user; on the thread that ends */
    mh_cleanup *next;                 /* private */
};

/* Have it done when the calling thread ends, the last given first: after `run` has returned (or pthread_exit()) and before
 * the thread is FINISHED; in threads that were made elsewhere when the system ends them, but not where main() returns or
 * the process exits. One that is given meanwhile is done as well. Not: take it back. 0; -EINVAL (no `run`), -EAGAIN,
 * -ENOMEM; -ENOENT (the calling thread has not given it, or it is done). A forked child has those of the thread that forked.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none of ours | death: nothing
 * shared */
MH_API int mh_thread_at_end(mh_cleanup *cleanup);
MH_API int mh_thread_not_at_end(mh_cleanup *cleanup);

/* The calling thread; NULL where it is neither started nor adopted here.
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API mh_thread *mh_thread_self(void);

/* Park here while a pause is asked for. -ECANCELED once the thread is to end, else 0; always 0 inside a
 * shield and in a thread that is not one of ours. Where nothing is pending: one load of thread-local
 * storage and one relaxed load.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits: while paused | cancellation: no | allocs: none |
 * death: nothing shared */
MH_API int mh_checkpoint(void);

/* Between these two nothing parks or ends the calling thread: for what must not be left half done. They
 * nest. What was asked for meanwhile holds from the next checkpoint or wait after the last leave. Panics on
 * a leave without its enter. A thread that is not one of ours needs no shield: nothing happens.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API void mh_shield_enter(void);
MH_API void mh_shield_leave(void);

/* Between these two the calling thread is not parked, but may be told to end: for one that holds what others
 * wait for. A sleep in between does not count as parked. They nest. What was asked for meanwhile holds from
 * the next checkpoint or wait after the last leave. Panics on a leave without its enter; nothing happens in
 * a thread that is not one of ours.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API void mh_hold_enter(void);
MH_API void mh_hold_leave(void);

MH_END_DECLS
#endif
