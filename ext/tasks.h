/* ext/tasks.h - the layouts of TaskLine and TaskWorker, and what one file of theirs asks of the other. */
#ifndef MH_EXT_TASKS_H
#define MH_EXT_TASKS_H

#include "future.h"
#include "locks.h"
#include "ring.h"

typedef struct ext_line {
    PyObject_HEAD
    ext_ring ring;
    mh_lock guard; /* free-threaded builds only: of the ring, free, closed */
    mh_cond cond;
    size_t free;
    char closed,
        held; /* closed: submit() asks engine.refuse() what to raise. held: engine.wait_gate() before each task */
    Py_ssize_t most;     /* workers */
    PyObject *engine;    /* whose methods are called: refuse, grow, wait_gate, limit_task, settle */
    PyObject *workers;   /* its dict of those that are alive and wanted */
    PyObject *unsettled; /* its dict of tasks without a result, in the order of their coming */
    PyObject *weakrefs;
} ext_line;

/* What the loop counts. The base of the engine's class of workers. */
typedef struct ext_worker {
    PyObject_HEAD
    char abandoned;              /* its task was taken away: the thread ends as soon as it can */
    long long tasks, wait, work; /* the last two in ns */
} ext_worker;

/* What an executor over a TaskLine inherits: its `submit`. */
typedef struct ext_submitter {
    PyObject_HEAD
    ext_line *line; /* NULL: its __init__ has not come so far */
} ext_submitter;

/* A call as a task keeps it, one tuple: the function, its dict of keyword arguments or None, its arguments. The collector
 * counts every container, and a task is all that many programs make. */
enum { EXT_CALL_FN, EXT_CALL_KWARGS, EXT_CALL_ARGS };

#define EXT_LINE_ENTER(self) ext_guard_enter(&(self)->guard)
#define EXT_LINE_LEAVE(self) ext_guard_leave(&(self)->guard)

/* engine.NAME(...) with up to three arguments: 0, or -1 with an exception. */
int ext_line_call_engine(ext_line *self, const char *name, PyObject *const *more, size_t count);
/* Out of the dict of tasks without a result, where it may be no more. */
int ext_line_forget(ext_line *self, PyObject *future);

/* The methods that a worker calls (task_loop.c). */
PyObject *ext_line_serve(ext_line *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_line_help(ext_line *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

#endif
