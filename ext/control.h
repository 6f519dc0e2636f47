/* ext/control.h - the control of a Python thread, as control.c (what is asked) and monitor.c (how it is reached) see it. */
#ifndef MH_EXT_CONTROL_H
#define MH_EXT_CONTROL_H

#include "common.h"

#include "manyhands/thread.h"

/* The adopted thread keeps the object alive until it disowns it. A thread that never comes to its end (a daemon, when the
 * interpreter goes) therefore leaves valid memory behind. */
typedef struct ext_ending ext_ending; /* ending.c */
typedef struct ext_control {
    PyObject_HEAD
    mh_thread thread;
    ext_ending *ending;
    atomic_uint requests;   /* terminate() calls */
    atomic_uint delivered;  /* of these, raised as ThreadExit; written by the thread only */
    atomic_bool adopted;    /* for good: a control serves one thread */
    atomic_ulong ident;     /* Python's, from adoption on */
    _Atomic(int64_t) asked; /* when terminate() was called last */
    /* Below: monitor.c's, under its lock. */
    struct ext_control *next;
    atomic_bool hunted; /* on the list of those to be reached by events; holds a reference */
    int64_t until;      /* events for all code are on for it until then; 0: they are not */
} ext_control;

/* The control of the calling thread, or NULL. */
ext_control *ext_control_self(void);
/* The same, if it is of that interpreter. */
ext_control *ext_control_of(PyInterpreterState *home);

/* Was it asked to end since ThreadExit was last raised in it? */
static inline bool ext_control_exit_due(const ext_control *control)
{
    return control != NULL && atomic_load_explicit(&control->requests, memory_order_relaxed) !=
                                  atomic_load_explicit(&control->delivered, memory_order_relaxed);
}

/* Is the calling thread inside a shield() of its own? */
bool ext_shielded(void);
/* May it be parked here? If not, it will say when it may. */
bool ext_may_park(void);

/* ---- monitor.c: how a thread that runs Python code is reached --------------------------------------------------- */

/* Switch events on so that the thread comes by soon; `self` is any object of ours. -1 without an exception: this
 * interpreter offers no events (3.11), or other tools have taken them all. */
int ext_monitor_hunt(PyObject *self, ext_control *control);
/* It was reached, or need not be any more. */
void ext_monitor_drop(PyObject *self, ext_control *control);
/* In a forked child: nobody is left to be reached. */
void ext_monitor_after_fork(PyObject *module);
/* The module goes. */
void ext_monitor_forget(ext_state *state);

/* ---- ending.c: what is known of a thread once it is gone -------------------------------------------------------- */

ext_ending *ext_ending_new(void); /* NULL with an exception */
void ext_ending_drop(ext_ending *ending);
/* The calling thread, which is about to end, will tell it of its end. */
void ext_ending_expect(ext_ending *ending);
/* The processor time of the thread, if it is gone. */
bool ext_ending_cpu(ext_ending *ending, int64_t *ns);

/* ---- cleanup.c: where it may be ended ------------------------------------------------------------------------------ */

enum { EXT_BACK_EDGE = 1, EXT_CLEANUP = 2 }; /* as in _impl/cleanup.py */

/* What the instruction at `offset` bytes is. Exceptions that are set stay. */
int ext_mark_at(PyObject *self, PyObject *code, Py_ssize_t offset);
/* Is the calling thread busy finding that out? Then nothing is done to it. */
bool ext_is_finding_out(void);
/* Does any frame of the calling thread run a `finally`, an `__exit__` or a `__del__`? */
bool ext_in_cleanup(PyObject *self);

#endif
