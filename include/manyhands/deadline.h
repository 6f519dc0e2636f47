/* manyhands/deadline.h - time: one clock, absolute instants.
 *
 * A deadline is an instant of CLOCK_MONOTONIC in nanoseconds. There are no relative time-outs: a loop that
 * waits again after an interruption passes the same deadline and is never late.
 *
 *   mh_deadline end = mh_in_ms(500);
 *   while ((rc = mh_lock_acquire(&lock, end, NULL)) == -EINTR) {
 *       handle_signals();
 *   }
 */
#ifndef MANYHANDS_DEADLINE_H
#define MANYHANDS_DEADLINE_H

#include "base.h"

typedef int64_t mh_deadline;

#define MH_FOREVER INT64_MAX         /* no deadline */
#define MH_AT_ONCE ((mh_deadline) 0) /* an instant long past: try once, never sleep */

MH_BEGIN_DECLS

/* The present instant, in ns.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API mh_deadline mh_now(void);

/* The instant `ns` (or `ms`) from now, saturating at MH_FOREVER; a negative one is MH_AT_ONCE.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API mh_deadline mh_in_ns(int64_t ns);
MH_API mh_deadline mh_in_ms(int64_t ms);

MH_END_DECLS
#endif
