/* manyhands/event.h - a flag that can be waited for. A waiter that slept when set() came returns, even if clear()
 * follows before it runs. */
#ifndef MANYHANDS_EVENT_H
#define MANYHANDS_EVENT_H

#include "deadline.h"
#include "error.h"
#include "wait.h"

MH_BEGIN_DECLS

typedef struct mh_event {
    MH_ATOMIC(uint32_t) word; /* bit 0 set, bit 1 waiters, the rest counts set() calls */
    uint32_t flags;
} mh_event;

MH_API void mh_event_init(mh_event *event, unsigned flags);
MH_API void mh_event_set(mh_event *event);
MH_API void mh_event_clear(mh_event *event);
MH_API int mh_event_is_set(const mh_event *event);
/* 0, -ETIMEDOUT, -ECANCELED, -EINTR */
MH_API int mh_event_wait(mh_event *event, mh_deadline deadline, mh_cancel *cancel);

MH_END_DECLS
#endif
