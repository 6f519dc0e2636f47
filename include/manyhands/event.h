/* manyhands/event.h - a flag that can be waited for. A waiter that slept when set() came returns, even if
 * clear() follows before it runs.
 *
 *   static mh_event ready;                           // all-zero: process-shared, not set
 *   mh_event_wait(&ready, MH_FOREVER, NULL);         // one side
 *   data = 42; mh_event_set(&ready);                 // the other: whoever passes sees data
 */
#ifndef MANYHANDS_EVENT_H
#define MANYHANDS_EVENT_H

#include "deadline.h"
#include "error.h"
#include "wait.h"

MH_BEGIN_DECLS

typedef struct mh_event {
    MH_ATOMIC(uint32_t) word; /* bit table: core/sync/event.c */
    uint32_t flags;           /* MH_PRIVATE or 0 */
} mh_event;

/* Make it not set. Nobody may be waiting for it.
 * Safety: MT-owner PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API void mh_event_init(mh_event *event, unsigned flags);

/* Set it (release) and wake all who wait; clear it. Setting a set event, or clearing a clear one, changes
 * nothing.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: killed
 * between setting and waking, waiters go on after a slice */
MH_API void mh_event_set(mh_event *event);
MH_API void mh_event_clear(mh_event *event);

/* 1 where it is set, and then what was written before mh_event_set is seen; else 0.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API int mh_event_is_set(const mh_event *event);

/* 1 where somebody may be waiting for it. A hint, out of date when it is read.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API int mh_event_has_waiters(const mh_event *event);

/* Wait until it is set. 0 (it is, or was meanwhile; acquire), -ETIMEDOUT, -ECANCELED, -EINTR.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death: nobody
 * owns an event; a dead waiter is not missed */
MH_API int mh_event_wait(mh_event *event, mh_deadline deadline, mh_cancel *cancel);

MH_END_DECLS
#endif
