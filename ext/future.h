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

static inline bool ext_future_is_done(const ext_future *self)
{
    return ext_future_state_of(self) >= EXT_F_CANCELLED;
}

/* ---- fields (future_change.c) ---- */

/* What the field at `place` holds, or NULL. New reference. */
PyObject *ext_future_field(ext_future *self, PyObject **place);
/* Takes the reference. */
void ext_future_set_field(ext_future *self, PyObject **place, PyObject *value);
/* As it is: nobody is told. */
void ext_future_set_state(ext_future *self, enum ext_future_state state);
/* The attributes that other programs know (future_attributes.c). */
extern PyGetSetDef ext_future_attributes[];

/* ---- changes (future_change.c): above 0 where it was made, 0 where the state does not allow it, -1 with an exception ---- */

/* Before it has begun. The caller owes ext_future_tell() where it was made. */
int ext_future_cancel(ext_future *self);
/* Where it is running; the caller owes ext_future_tell(). */
int ext_future_cancel_running(ext_future *self);
/* As set_running_or_notify_cancel(): `runs`, or it was cancelled before. */
int ext_future_run(ext_future *self, bool *runs);
/* For when it is done; 0: it is. */
int ext_future_add_callback(ext_future *self, PyObject *callback);
/* For `worker` to run: 1, and the future is running and its worker's; 0: it was cancelled, is done, or another has it. -1 with
 * an exception. */
int ext_future_begin(ext_future *self, PyObject *worker);
/* After the run, before the result is set: 1 where it is still its worker's, who has it no more; 0: it was taken away. */
int ext_future_give_back(ext_future *self, PyObject *worker);
/* Set the result, or the exception: 1; 0 where it is done already. The caller owes ext_future_tell() then. */
int ext_future_finish(ext_future *self, bool worked, PyObject *value);
/* It was cancelled before it began: who waits in wait() and as_completed() is told, once. 0 or -1. */
int ext_future_note_cancel(ext_future *self);

/* ---- what others are told (future_change.c) ---- */

/* Does somebody run when it is told that the future is done? */
bool ext_future_has_callbacks(ext_future *self);
/* Wake those who wait and call the callbacks. */
int ext_future_tell(ext_future *self);
/* The two parts of it. What a callback raises is logged, but for what is no Exception: -1. */
void ext_future_wake(ext_future *self);
int ext_future_call_callbacks(ext_future *self);
/* One callback. */
int ext_future_call_back(ext_future *self, PyObject *callback);

#endif
