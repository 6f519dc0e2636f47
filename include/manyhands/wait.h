/* manyhands/wait.h - the one wait primitive, and cancel tokens. Everything in manyhands that blocks is built
 * on it.
 *
 *   while (mh_load(word) == seen) {
 *       int rc = mh_wait(&word, seen, deadline, cancel, MH_PRIVATE);
 *       if (rc < 0) return rc;               // timed out, cancelled or interrupted
 *   }
 *
 * Private waits sleep to their deadline. Shared waits never trust a single wake (its sender may be killed
 * between commit and wake): they return 0 now and then - after 50 ms, doubling to 1 s - for the caller to
 * look again.
 *
 * What ends a wait, in every function of manyhands that takes a deadline and a cancel token:
 *   -ETIMEDOUT   the deadline is past. MH_AT_ONCE never sleeps.
 *   -ECANCELED   the token was requested, or the thread is to terminate (manyhands/thread.h)
 *   -EINTR       a signal came, and the thread has no interrupt hook; or whatever negative code its hook
 *                returned
 * None of them costs another waiter its wake.
 */
#ifndef MANYHANDS_WAIT_H
#define MANYHANDS_WAIT_H

#include "base.h"
#include "deadline.h"

MH_BEGIN_DECLS

/* A cancel token. Any number of waits may watch it; once requested, each of them ends with -ECANCELED, and
 * so does every later one that has to sleep, until it is reset. All-zero is valid (shared, not
 * requested). */
typedef struct mh_cancel {
    MH_ATOMIC(uint32_t) word; /* bit table: core/sync/cancel.h */
    uint32_t flags;           /* MH_PRIVATE or 0 */
} mh_cancel;

/* Make it not requested, used by one process only (MH_PRIVATE) or by several (0). Nobody may be waiting on
 * it.
 * Safety: MT-owner PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API void mh_cancel_init(mh_cancel *token, unsigned flags);

/* Request: every wait that watches the token ends, also those which run only after a reset that follows at
 * once. May be called again. What was written before is seen by whoever is cancelled. Reset: later waits
 * sleep again.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: a
 * requester killed before its wake is noticed by shared waits within a slice */
MH_API void mh_cancel_request(mh_cancel *token);
MH_API void mh_cancel_reset(mh_cancel *token);

/* 1 while it is requested, else 0.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API int mh_cancel_requested(const mh_cancel *token);

/* Sleep until `*word` differs from `expected`, a wake, the deadline, or a request on `cancel` (may be NULL;
 * none is noticed where the word differs already). `flags`: MH_PRIVATE or 0. The comparison and the
 * beginning of the sleep are one step with respect to mh_wake on the same word. Returns 0 (look again: also
 * spuriously), -ETIMEDOUT, -ECANCELED, -EINTR (see above). Orders no memory: load the word again with
 * acquire. A paused thread returns once it is resumed.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death: shared
 * waits look again after a slice, private ones have nobody who can die alone */
MH_API int mh_wait(MH_ATOMIC(uint32_t) *word, uint32_t expected, mh_deadline deadline, mh_cancel *cancel,
                   unsigned flags);

/* Wake up to `count` (INT32_MAX: all) sleepers on `word`; store to it before. `flags` as the sleepers' own.
 * The memory of the word may be gone by now: nothing is read from it.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API void mh_wake(MH_ATOMIC(uint32_t) *word, int count, unsigned flags);

/* What a signal does to the waits of the calling thread. `hook(arg)` is called, while nothing is locked,
 * when a signal interrupted a wait, and by a wait that goes on `every_ns` after its beginning or the last call
 * (0: only on signals; needed where another thread may take the signal). It returns 0 to wait on, with the same
 * deadline and the same place in
 * every queue, or a negative code with which the wait ends. Without a hook (NULL) a signal ends the wait
 * with -EINTR. The settings are the thread's own; a new thread has none, a forked child's thread those of
 * the thread that forked. Short internal waits (for a lock inside a channel, say) do not call it.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
typedef int (*mh_interrupt_hook)(void *arg);
MH_API void mh_on_interrupt(mh_interrupt_hook hook, void *arg, int64_t every_ns);

/* Who decides whether a wait of the calling thread ends because the thread is to terminate. `hook(arg)` is
 * called, while nothing is locked, before such a wait would return -ECANCELED. It returns 0 to wait on as if
 * shielded, or a negative code to let it end with -ECANCELED. Without a hook (NULL) every wait ends. It is
 * the thread's own, as that of mh_on_interrupt.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API void mh_on_terminate(mh_interrupt_hook hook, void *arg);

MH_END_DECLS
#endif
