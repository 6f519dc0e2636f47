/* manyhands/wait.h - the one wait primitive, and cancel tokens. Everything in manyhands that blocks is built on it.
 *
 *   while (mh_load(word) == seen) {
 *       int rc = mh_wait(&word, seen, deadline, cancel, MH_PRIVATE);
 *       if (rc < 0) return rc;               // timed out, cancelled or interrupted
 *   }
 *
 * Private waits sleep to their deadline. Shared waits never trust a single wake (its sender may be killed between
 * commit and wake): they return 0 now and then - after 50 ms, doubling to 1 s - for the caller to look again.
 */
#ifndef MANYHANDS_WAIT_H
#define MANYHANDS_WAIT_H

#include "base.h"
#include "deadline.h"

MH_BEGIN_DECLS

/* A cancel token. Any number of waits may watch it; once requested, each of them ends with -ECANCELED, and so does
 * every later one until it is reset. All-zero is valid (shared, not requested). */
typedef struct mh_cancel {
    MH_ATOMIC(uint32_t) word; /* bit 0: requested; bit 1: somebody waits */
    uint32_t flags;           /* MH_PRIVATE or 0 */
} mh_cancel;

MH_API void mh_cancel_init(mh_cancel *token, unsigned flags);
MH_API void mh_cancel_request(mh_cancel *token);
MH_API void mh_cancel_reset(mh_cancel *token);
MH_API int mh_cancel_requested(const mh_cancel *token);

/* Sleep until `*word` differs from `expected`, a wake, the deadline, or a request on `cancel` (may be NULL).
 * Returns 0 (look again: also spuriously), -ETIMEDOUT, -ECANCELED, -EINTR (see mh_on_interrupt).
 * `flags`: MH_PRIVATE or 0. */
MH_API int mh_wait(MH_ATOMIC(uint32_t) *word, uint32_t expected, mh_deadline deadline, mh_cancel *cancel,
                   unsigned flags);

/* Wake up to `count` (INT32_MAX: all) sleepers on `word`. */
MH_API void mh_wake(MH_ATOMIC(uint32_t) *word, int count, unsigned flags);

/* What a signal does to the waits of the calling thread. `hook(arg)` is called, while nothing is locked, when a signal
 * interrupted a wait and after every `every_ns` of sleep (0: only on signals; needed where another thread may take
 * the signal). It returns 0 to wait on, with the same deadline and the same place in every queue, or a negative
 * code with which the wait ends. Without a hook (NULL) a signal ends the wait with -EINTR.
 * The settings are the thread's own; a new thread and a forked child's thread have none / the forking thread's. */
typedef int (*mh_interrupt_hook)(void *arg);
MH_API void mh_on_interrupt(mh_interrupt_hook hook, void *arg, int64_t every_ns);

MH_END_DECLS
#endif
