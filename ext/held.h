/* ext/held.h - which locks each thread holds: for parking (a thread that holds one is not parked), for `owner` and for dump().
 *
 * A lock that is held is in the list of the thread that acquired it. That costs a few stores where a lock is acquired and
 * released, and no lock of its own under a GIL: a lock changes hands, in these words, only in attached threads. */
#ifndef MH_EXT_HELD_H
#define MH_EXT_HELD_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

struct ext_control;
typedef struct ext_holder ext_holder;

typedef struct ext_held {
    struct ext_held *next, *prev;
    ext_holder *holder; /* NULL: nobody */
    PyObject *what;     /* borrowed: the lock, which leaves the list before it goes */
} ext_held;

/* The calling thread has acquired `what`. / It is not held any more; by any thread, and nothing where it was not. The second
 * comes before the release in the core: then no other thread can have entered itself in between. */
void ext_held_take(ext_held *held, PyObject *what);
void ext_held_give(ext_held *held);

/* The same for what several threads hold at once: one record for each time. `give` undoes one `add` of the calling thread;
 * `forget` all that there are, of all threads. */
void ext_held_add(PyObject *what);
void ext_held_remove(PyObject *what);
void ext_held_forget(PyObject *what);

/* Does the calling thread hold anything? */
bool ext_holding(void);

/* Python's ident of the thread that acquired it, as an int, or None. */
PyObject *ext_held_owner(const ext_held *held);

/* The control of the calling thread begins and ends to serve it. NULL: ends. */
void ext_held_control(struct ext_control *control);

/* In a forked child: the other threads are not here. */
void ext_held_after_fork(void);

/* _core._held(): [(ident, lock)], for this interpreter. */
PyObject *ext_held_list(PyObject *module, PyObject *unused);

#endif
