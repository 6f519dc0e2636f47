/* ext/monitor.h - what the module keeps to reach threads that run Python code; see monitor.c. */
#ifndef MH_EXT_MONITOR_H
#define MH_EXT_MONITOR_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdatomic.h>
#include <stddef.h>

/* A code object that has events of its own. */
typedef struct ext_wire {
    PyObject *code;
    unsigned events;
} ext_wire;

typedef struct ext_monitor {
#ifdef Py_GIL_DISABLED
    PyMutex mutex;
#endif
    int tool; /* our place among the tools of sys.monitoring; 0: not asked yet, -1: there is none */
    unsigned all, trips, end;   /* events: for all code, for tripwires, for the end */
    atomic_uint events;         /* those that are on for all code; changed under the mutex */
    struct ext_control *hunted; /* list, by `next` */
    atomic_uint calls;          /* of callbacks by threads that are not hunted */
    atomic_uint paid; /* the same since the last hunt, in units of LOOK_EVERY, while only wires are on */
    ext_wire *wires;
    size_t wires_count, wires_room;
} ext_monitor;

#endif
