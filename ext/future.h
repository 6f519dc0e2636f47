/* ext/future.h - the layout of Future, and what executors do with one. */
#ifndef MH_EXT_FUTURE_H
#define MH_EXT_FUTURE_H

#include "common.h"

#include "manyhands/event.h"

enum ext_future_state { EXT_F_PENDING, EXT_F_RUNNING, EXT_F_CANCELLED, EXT_F_NOTIFIED, EXT_F_FINISHED };

typedef struct ext_future {
    PyObject_HEAD
    atomic_uchar state; /* ext_future_state. Written under the condition's lock, where there is a condition */
    mh_event done;
    PyObject *result, *exception;
    PyObject *condition; /* `_condition`, made for whoever asks; from then on its lock guards every change */
    PyObject *waiters, *callbacks;                              /* lists; NULL: none so far */
    PyObject *engine, *call, *options, *worker, *ended, *alarm; /* of the executor; NULL is None */
    int runs, number;
} ext_future;

static inline enum ext_future_state ext_future_state_of(const ext_future *self)
{
    return (enum ext_future_state) atomic_load_explicit(&self->state, memory_order_acquire);
}

/* For `worker` to run: 1, and the future is running and its worker's; 0: it was cancelled, is done, or another has it. -1 with
 * an exception. */
int ext_future_begin(ext_future *self, PyObject *worker);
/* After the run, before the result is set: 1 where it is still its worker's, who has it no more; 0: it was taken away. */
int ext_future_give_back(ext_future *self, PyObject *worker);
/* Set the result, or the exception: 1; 0 where it is done already. The caller owes ext_future_tell() then. */
int ext_future_finish(ext_future *self, bool worked, PyObject *value);
/* Does somebody run when it is told that the future is done? */
bool ext_future_has_callbacks(ext_future *self);
/* Wake those who wait and call the callbacks. */
int ext_future_tell(ext_future *self);
/* It was cancelled before it began: who waits in wait() and as_completed() is told, once. */
int ext_future_note_cancel(ext_future *self);

#endif
