/* ext/blocked.h - who waits for what, just now: one record for each wait, on the waiter's own stack, in a list of the
 * module's state. It costs two list operations where a thread goes to sleep, and nothing where it does not. */
#ifndef MH_EXT_BLOCKED_H
#define MH_EXT_BLOCKED_H

#include <stdbool.h>

#include "manyhands/deadline.h"
#include "manyhands/lock.h"

struct ext_state;

typedef struct ext_blocked {
    struct ext_blocked *next, *prev;
    struct ext_state *state; /* NULL: not in the list */
    PyObject *what;          /* borrowed of the waiter, whose call keeps it alive */
    const mh_lock *lock;     /* that it waits for; NULL: for something else */
    unsigned long ident;     /* Python's name of the thread */
    int key;                 /* its name in the words of locks, see mh_lock_owner() */
    mh_deadline since;
    bool forever;
} ext_blocked;

/* Into the list, and out of it; both attached. `lock` may be NULL. */
void ext_blocked_enter(ext_blocked *me, PyObject *what, const mh_lock *lock, mh_deadline deadline);
void ext_blocked_leave(ext_blocked *me);

/* In a forked child: of the records only the caller's own are left. */
void ext_blocked_after_fork(struct ext_state *state);

/* If the wait that was entered last closes a ring of waits for locks, hand the ring to what the package bound as
 * "deadlock". 0, or -1 with the exception that it raised. Without such a binding nothing is looked at. */
int ext_deadlock_check(const ext_blocked *me, bool may_raise);

/* _core._waits() */
PyObject *ext_waits(PyObject *module, PyObject *unused);

#endif
