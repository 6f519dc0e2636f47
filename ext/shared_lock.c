/* ext/shared_lock.c - SharedLock and SharedRLock: the locks behind multiprocessing's Lock and RLock.
 *
 * A dead owner is reported by OwnerDiedError, and then the lock is not held (mh_lock_abandon); recover() takes it.
 * `count` and `thread` are this process's memory of its own holds, as in the standard library's SemLock: a Lock is
 * owned by a process, but a condition must know whether this very thread holds it.
 */
#include "shared_lock.h"

#include <unistd.h>

#include "manyhands/lock.h"
#include "manyhands/wait.h"

static int owner_of(const shared_lock *self)
{
    return self->recursive ? mh_rlock_owner(self->head.at) : mh_lock_owner(self->head.at);
}

/* This process, as a Lock names its owner. */
static int own_name(void)
{
    static atomic_uint asked; /* generation + 1 */
    static atomic_int name;
    unsigned now = ext_generation() + 1;
    if (atomic_load_explicit(&asked, memory_order_acquire) != now) {
        atomic_store_explicit(&name, (int) getpid(), memory_order_relaxed);
        atomic_store_explicit(&asked, now,
                              memory_order_release); /* pairs with the load: the name is this process's */
    }
    return atomic_load_explicit(&name, memory_order_relaxed);
}

/* Does a thread of this process? A forked child has the count of its parent, and nothing in hand. */
static int holds(shared_lock *self)
{
    return self->count > 0 && self->generation == ext_generation() &&
           owner_of(self) == (self->recursive ? self->owner : own_name());
}

/* For each acquire, and therefore without a system call: getpid() took four times as long as all the rest. */
static inline void note_owner(shared_lock *self)
{
    self->thread = &ext_mine;
    self->generation = ext_generation();
    if (self->recursive) {
        self->owner = owner_of(self);
    }
}

int shared_lock_is_mine(shared_lock *self)
{
    if (self->recursive) {
        return mh_rlock_is_owned(self->head.at);
    }
    return holds(self) && self->thread == &ext_mine;
}

static int try_lock(shared_lock *self)
{
    return self->recursive ? mh_rlock_try_acquire(self->head.at) : mh_lock_try_acquire(self->head.at);
}

static int wait_lock(void *lock, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_lock_acquire(lock, deadline, waiting->cancel);
}

static int wait_rlock(void *lock, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_rlock_acquire(lock, deadline, waiting->cancel);
}

static void abandon(shared_lock *self)
{
    if (self->recursive) {
        mh_rlock_abandon(self->head.at);
    } else {
        mh_lock_abandon(self->head.at);
    }
}

static void note_acquired(shared_lock *self)
{
    self->count = self->recursive ? (int) mh_rlock_depth(self->head.at) : 1;
    note_owner(self);
    ext_held_take(&self->held, (PyObject *) self);
}

/* 1 acquired, 0 time-out, -1 exception; `recover`: also from a dead owner. */
static int take(shared_lock *self, ext_until until, int recover)
{
    int rc = try_lock(self);
    if (rc == -EBUSY && until.at == MH_AT_ONCE) {
        return 0;
    }
    if (rc == -EBUSY) {
        rc = ext_wait((PyObject *) self, self->recursive ? wait_rlock : wait_lock, self->head.at, until);
    }
    if (rc == -ETIMEDOUT) {
        return 0;
    }
    if (rc < 0) {
        if (rc != EXT_RAISED) {
            ext_raise_code((PyObject *) self, rc);
        }
        return -1;
    }
    if (rc == MH_OWNER_DIED && !recover) {
        abandon(self);
        ext_raise((PyObject *) self, EXT_OWNER_DIED, NULL);
        return -1;
    }
    note_acquired(self);
    return 1;
}

static PyObject *answer(int rc)
{
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

static PyObject *lock_acquire(shared_lock *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until = EXT_FOREVER;
    if ((nargs != 0 || kwnames != NULL) && shared_args((PyObject *) self, args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    return answer(take(self, until, 0));
}

static PyObject *lock_recover(shared_lock *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until;
    if (ext_wait_args((PyObject *) self, "recover", args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    return answer(take(self, until, 1));
}

/* ---- the wake that a notify() left to the release ------------------------------------------------------------- */

int shared_lock_owes(const shared_lock *self)
{
    return atomic_load_explicit(&self->due, memory_order_relaxed) != NULL;
}

void shared_lock_owe(shared_lock *self, shared_word *word)
{
    shared_lock_pay(
        atomic_exchange(&self->due, word)); /* without a GIL, of two threads that notify at once */
}

shared_word *shared_lock_take_due(shared_lock *self)
{
    return shared_lock_owes(self) ? atomic_exchange(&self->due, NULL) : NULL;
}

void shared_lock_pay(shared_word *word)
{
    if (word != NULL) {
        mh_wake(word, 1, 0);
    }
}

static int give_recursive(shared_lock *self)
{
    shared_word *owed = NULL; /* taken before the release: after it, another holder's may be there */
    if (!shared_lock_is_mine(self)) {
        PyErr_SetString(PyExc_AssertionError, "attempt to release recursive lock not owned by thread");
        return -1;
    }
    if (--self->count == 0) {
        ext_held_give(&self->held);
        owed = shared_lock_take_due(self);
    }
    mh_rlock_release(self->head.at);
    shared_lock_pay(owed);
    return 0;
}

static int give(shared_lock *self)
{
    if (self->recursive) {
        return give_recursive(self);
    }
    int before = self->count;
    self->count = 0; /* before the release: afterwards another thread of this process may have it */
    ext_held_give(&self->held);
    shared_word *owed = shared_lock_take_due(self);
    int rc = mh_lock_try_release(self->head.at);
    shared_lock_pay(owed);
    if (rc < 0) {
        self->count = before;
        PyErr_SetString(PyExc_ValueError, "semaphore or lock released too many times");
        return -1;
    }
    return 0;
}

static PyObject *lock_release(shared_lock *self, PyObject *Py_UNUSED(ignored))
{
    if (give(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *lock_enter(shared_lock *self, PyObject *Py_UNUSED(ignored))
{
    return answer(take(self, EXT_FOREVER, 0));
}

static PyObject *lock_exit(shared_lock *self, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return lock_release(self, NULL);
}

static int is_locked(shared_lock *self)
{
    return self->recursive ? mh_rlock_is_locked(self->head.at) : mh_lock_is_locked(self->head.at);
}

static PyObject *lock_is_mine(shared_lock *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(shared_lock_is_mine(self));
}

static PyObject *lock_count(shared_lock *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(holds(self) ? self->count : 0);
}

static PyObject *lock_value(shared_lock *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(!is_locked(self));
}

static PyObject *lock_is_zero(shared_lock *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(is_locked(self));
}

static PyObject *lock_owner(shared_lock *self, void *Py_UNUSED(closure))
{
    int owner = owner_of(self);
    if (owner == 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromLong(owner);
}

/* ---- for conditions ------------------------------------------------------------------------------------------ */

void shared_lock_let_go(shared_lock *self, uint32_t *depth)
{
    self->count = 0;
    ext_held_give(&self->held);
    shared_word *owed = shared_lock_take_due(self);
    *depth = 1;
    if (self->recursive) {
        (void) mh_rlock_release_all(self->head.at, depth); /* it is ours: the caller has asked */
    } else {
        mh_lock_release(self->head.at);
    }
    shared_lock_pay(owed);
}

typedef struct regain {
    shared_lock *lock;
    uint32_t depth;
} regain;

static int wait_regain(void *object, mh_deadline deadline, ext_waiting *Py_UNUSED(waiting))
{
    regain *what = object;
    return what->lock->recursive ? mh_rlock_acquire_depth(what->lock->head.at, what->depth, deadline, NULL)
                                 : mh_lock_acquire(what->lock->head.at, deadline, NULL);
}

int shared_lock_regain(shared_lock *self, uint32_t depth)
{
    regain what = {self, depth};
    int rc = ext_wait_hold((PyObject *) self, wait_regain, &what);
    self->count = (int) depth;
    note_owner(self);
    ext_held_take(&self->held, (PyObject *) self);
    return rc;
}

static void lock_dealloc(PyObject *self)
{
    ext_held_give(&((shared_lock *) self)->held);
    shared_dealloc(self);
}

/* ---- types --------------------------------------------------------------------------------------------------- */

static PyObject *lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    const ext_signature signature = {"SharedLock", 0, 0, 0, {NULL}};
    if (ext_args_tuple(&signature, args, kwargs, NULL) < 0) {
        return NULL;
    }
    return (PyObject *) shared_create(type, sizeof(mh_lock));
}

static PyObject *rlock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    const ext_signature signature = {"SharedRLock", 0, 0, 0, {NULL}};
    if (ext_args_tuple(&signature, args, kwargs, NULL) < 0) {
        return NULL;
    }
    shared_lock *self = (shared_lock *) shared_create(type, sizeof(mh_rlock));
    if (self != NULL) {
        self->recursive = 1;
    }
    return (PyObject *) self;
}

static PyObject *lock_rebuild(PyTypeObject *type, PyObject *const *args, Py_ssize_t nargs)
{
    return shared_rebuild(type, args, nargs, sizeof(mh_lock));
}

static PyObject *rlock_rebuild(PyTypeObject *type, PyObject *const *args, Py_ssize_t nargs)
{
    shared_lock *self = (shared_lock *) shared_rebuild(type, args, nargs, sizeof(mh_rlock));
    if (self != NULL) {
        self->recursive = 1;
    }
    return (PyObject *) self;
}

#define LOCK_METHODS(rebuild)                                                                             \
    EXT_METHOD("acquire", lock_acquire, EXT_FASTCALL,                                                     \
               "acquire($self, /, block=True, timeout=None, *, cancel=None)\n--\n\n"                      \
               "Take the lock: True, or False where `timeout` seconds passed. OwnerDiedError where its "  \
               "owner died."),                                                                            \
        EXT_METHOD("release", lock_release, METH_NOARGS, "release($self, /)\n--\n\nGive the lock back."), \
        EXT_METHOD("recover", lock_recover, EXT_FASTCALL,                                                 \
                   "recover($self, /, timeout=None, *, cancel=None)\n--\n\n"                              \
                   "Take the lock, also where its owner died: what it guards may be half changed."),      \
        EXT_METHOD("__enter__", lock_enter, METH_NOARGS, "__enter__($self, /)\n--\n\nacquire()"),         \
        EXT_METHOD("__exit__", lock_exit, METH_FASTCALL, "__exit__($self, /, *args)\n--\n\nrelease()"),   \
        EXT_METHOD("_is_mine", lock_is_mine, METH_NOARGS,                                                 \
                   "_is_mine($self, /)\n--\n\nDoes this thread hold it?"),                                \
        EXT_METHOD("_count", lock_count, METH_NOARGS,                                                     \
                   "_count($self, /)\n--\n\nHow often this process holds it."),                           \
        EXT_METHOD("_get_value", lock_value, METH_NOARGS,                                                 \
                   "_get_value($self, /)\n--\n\n1 where it is free, else 0."),                            \
        EXT_METHOD("_is_zero", lock_is_zero, METH_NOARGS,                                                 \
                   "_is_zero($self, /)\n--\n\nDoes anybody hold it?"),                                    \
        EXT_METHOD("_rebuild", rebuild, METH_FASTCALL | METH_CLASS,                                       \
                   "_rebuild($type, fd, slab, offset, /)\n--\n\nThe same lock in another process."),      \
    {                                                                                                     \
        NULL, NULL, 0, NULL                                                                               \
    }

static PyMethodDef lock_methods[] = {LOCK_METHODS(lock_rebuild)};
static PyMethodDef rlock_methods[] = {LOCK_METHODS(rlock_rebuild)};

static PyGetSetDef lock_getset[] = {
    {"place", shared_place, NULL, PyDoc_STR("(descriptor, slab id, offset): what another process needs."),
     NULL},
    {"owner", (getter) lock_owner, NULL, PyDoc_STR("The owner's process id, or None."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "A lock between processes."},
    {Py_tp_new, lock_new},
    {Py_tp_dealloc, lock_dealloc},
    {Py_tp_methods, lock_methods},
    {Py_tp_getset, lock_getset},
    {0, NULL},
};

static PyType_Slot rlock_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "A recursive lock between processes."},
    {Py_tp_new, rlock_new},
    {Py_tp_dealloc, lock_dealloc},
    {Py_tp_methods, rlock_methods},
    {Py_tp_getset, lock_getset},
    {0, NULL},
};

static PyType_Spec lock_spec = {"manyhands._core.SharedLock", sizeof(shared_lock), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, lock_slots};
static PyType_Spec rlock_spec = {"manyhands._core.SharedRLock", sizeof(shared_lock), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, rlock_slots};

int ext_shared_lock_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, EXT_SHARED_LOCK_TYPE, &lock_spec, NULL) < 0 ||
                   ext_add_type(module, state, EXT_SHARED_RLOCK_TYPE, &rlock_spec, NULL) < 0
               ? -1
               : 0;
}
