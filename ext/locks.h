/* ext/locks.h - the layouts of Lock, RLock and Condition, for the types that are built on them. */
#ifndef MH_EXT_LOCKS_H
#define MH_EXT_LOCKS_H

#include "common.h"

#include "manyhands/cond.h"
#include "manyhands/lock.h"

/* What a notified waiter sleeps on. The wake waits for the release of the lock that the waiter needs, at which it is due: it
 * would only run into the lock before. Set by notify(), taken by whoever releases. */
typedef MH_ATOMIC(uint32_t) ext_word;
typedef _Atomic(ext_word *) ext_due;

typedef struct ext_lock {
    PyObject_HEAD
    mh_lock lock;
    ext_held held;
    ext_due due;
    PyObject *weakrefs;
} ext_lock;

/* The owner is Python's thread ident, not the system's thread id: it stays the same in a forked child, which may
 * therefore release what the forking thread held. */
typedef struct ext_rlock {
    PyObject_HEAD
    mh_lock lock;
    atomic_ulong owner; /* 0: none. Written by the owner only */
    atomic_ulong depth; /* written by the owner only */
    ext_held held;
    ext_due due;
    PyObject *weakrefs;
} ext_rlock;

/* How a condition takes and leaves its lock. */
enum ext_cond_kind {
    EXT_COND_BARE,   /* __init__ was not called */
    EXT_COND_LOCK,   /* exactly our Lock */
    EXT_COND_RLOCK,  /* exactly our RLock */
    EXT_COND_METHODS /* through self._is_owned(), self._release_save(), self._acquire_restore() */
};

typedef struct ext_cond {
    PyObject_HEAD
    PyObject *lock;
    enum ext_cond_kind kind;
    mh_cond cond;
    PyObject *dict;
    PyObject *weakrefs;
} ext_cond;

/* A new Lock. */
PyObject *ext_lock_new(ext_state *state);
/* A new Condition over `lock`, which is our Lock. */
PyObject *ext_cond_new(ext_state *state, PyObject *lock);
/* What `*place`, a field of `self`, holds; where it is NULL, a new Condition(Lock()) first. New reference. */
PyObject *ext_lazy_cond(PyObject *self, PyObject **place);

/* The methods, for those who know the type. */
PyObject *ext_lock_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_lock_release(PyObject *op, PyObject *unused);
PyObject *ext_rlock_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *ext_rlock_release(PyObject *op, PyObject *unused);

static inline bool ext_rlock_owned(const ext_rlock *self)
{
    return atomic_load_explicit(&self->owner, memory_order_relaxed) == ext_ident();
}

/* The waiter of every wait for a private mh_lock: by it the list of waits knows a lock (blocked.h). */
int ext_wait_for_lock(void *lock, mh_deadline deadline, ext_waiting *waiting);

/* The wake that is due; NULL: none. */
static inline ext_word *ext_take_due(ext_due *due)
{
    return atomic_load_explicit(due, memory_order_relaxed) == NULL ? NULL : atomic_exchange(due, NULL);
}

static inline void ext_wake_due(ext_word *word)
{
    if (word != NULL) {
        mh_wake(word, 1, MH_PRIVATE);
    }
}

/* Let go of a Lock; -EPERM where it is not locked. `due`: the wake that the caller owes. */
static inline int ext_lock_drop_owing(ext_lock *self, ext_word **due)
{
    ext_held_give(&self->held);
    *due = ext_take_due(&self->due);
    return mh_lock_try_release(&self->lock);
}

static inline int ext_lock_drop(ext_lock *self)
{
    ext_word *due;
    int rc = ext_lock_drop_owing(self, &due);
    ext_wake_due(due);
    return rc;
}

/* Take a lock whatever signals come; 0, or EXT_RAISED: held all the same, and a handler's exception is set. `self` is the
 * object on whose behalf. */
int ext_take_lock(PyObject *self, mh_lock *lock);

/* A lock of free-threaded builds around a few ns, in the place of the GIL: not worth detaching for. Shielded, so that a thread
 * never parks attached. */
static inline void ext_guard_enter(mh_lock *guard)
{
#ifdef Py_GIL_DISABLED
    if (mh_lock_try_acquire(guard) < 0) {
        ext_shield_enter();
        while (mh_lock_acquire(guard, MH_FOREVER, NULL) < 0) {
        }
        ext_shield_leave();
    }
#else
    (void) guard;
#endif
}

static inline void ext_guard_leave(mh_lock *guard)
{
#ifdef Py_GIL_DISABLED
    mh_lock_release(guard);
#else
    (void) guard;
#endif
}

/* Let go of every level of an RLock that the caller owns, who then owes the wake; take it back as deep, result as
 * ext_take_lock(). */
unsigned long ext_rlock_leave(ext_rlock *self, ext_word **due);
int ext_rlock_return(PyObject *self, ext_rlock *lock, unsigned long depth);

/* Wait in `cond` between mh_cond_prepare() (while the condition's lock is held; then release it) and the notification. `due`: a
 * wake that is owed, for when the GIL is free; or NULL. 0 notified, -ETIMEDOUT, EXT_RAISED. */
int ext_cond_sleep(PyObject *self, mh_cond *cond, mh_cond_ticket *ticket, ext_until until, ext_word *due);

#endif
