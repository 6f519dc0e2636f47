/* ext/shared_rwlock.c - SharedRWLock and SharedRobustSemaphore: what knows who holds it, and is told of each one's death.
 *
 * As for locks, OwnerDiedError means not held: the reader or writer that is told MH_OWNER_DIED gives back what it got, and the
 * lock stays "not repaired" until a writer that came by recover() releases it. A semaphore guards no data, so its permits come
 * back silently, and are counted.
 */
#include "manyhands/robust_sem.h"
#include "manyhands/rwlock.h"
#include "shared.h"

#define RWLOCK_PLACES 1024 /* holders and waiters at once; more are refused with RuntimeError */

enum side { READ, WRITE, RECOVER };

static int wait_to_read(void *lock, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_rwlock_acquire_read(lock, deadline, waiting->cancel);
}

static int wait_to_write(void *lock, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_rwlock_acquire_write(lock, deadline, waiting->cancel);
}

static PyObject *refused(shared_object *self, int rc)
{
    bool writes = mh_rwlock_writer(self->at) == (int) PyThread_get_thread_native_id();
    if (rc == -EDEADLK && writes) {
        ext_refuse(PyExc_RuntimeError, "MH-RWLOCK",
                   "the calling thread writes already: an RWLock is not recursive");
    } else if (rc == -EDEADLK) {
        ext_refuse(PyExc_RuntimeError, "MH-RWLOCK",
                   "cannot upgrade: the calling thread reads; release_read() first, or acquire_write() "
                   "from the start");
    } else if (rc == MH_E_TOO_MANY) {
        ext_refuse(PyExc_RuntimeError, "MH-TOO-MANY", "more than %d holders and waiters of one RWLock",
                   RWLOCK_PLACES);
    } else {
        ext_raise_code((PyObject *) self, rc);
    }
    return NULL;
}

static PyObject *owner_died(shared_object *self, enum side side)
{
    if (side == READ) {
        mh_rwlock_release_read(self->at);
    } else {
        mh_rwlock_abandon(self->at);
    }
    return ext_raise((PyObject *) self, EXT_OWNER_DIED, NULL);
}

/* -EDEADLK is asked for without waiting, and so never looks like an error of the wait. */
static PyObject *acquire(shared_object *self, enum side side, ext_until until)
{
    int rc = side == READ ? mh_rwlock_acquire_read(self->at, MH_AT_ONCE, NULL)
                          : mh_rwlock_acquire_write(self->at, MH_AT_ONCE, NULL);
    if (rc == -ETIMEDOUT && until.at != MH_AT_ONCE) {
        rc = ext_wait((PyObject *) self, side == READ ? wait_to_read : wait_to_write, self->at, until);
    } else if (rc == -EINTR || rc == -ECANCELED) {
        rc = -ETIMEDOUT;
    }
    if (rc == MH_OWNER_DIED && side != RECOVER) {
        return owner_died(self, side);
    }
    if (rc >= 0) {
        ext_held_add((PyObject *) self);
    }
    return rc >= 0 || rc == -ETIMEDOUT || rc == EXT_RAISED ? ext_waited(rc) : refused(self, rc);
}

static PyObject *acquire_args(shared_object *self, enum side side, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    ext_until until = EXT_FOREVER;
    if ((nargs != 0 || kwnames != NULL) && shared_args((PyObject *) self, args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    return acquire(self, side, until);
}

static PyObject *acquire_read(shared_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return acquire_args(self, READ, args, nargs, kwnames);
}

static PyObject *acquire_write(shared_object *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames)
{
    return acquire_args(self, WRITE, args, nargs, kwnames);
}

static PyObject *recover(shared_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until;
    if (ext_wait_args((PyObject *) self, "recover", args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    return acquire(self, RECOVER, until);
}

static PyObject *release(shared_object *self, enum side side)
{
    int rc = side == READ ? mh_rwlock_try_release_read(self->at) : mh_rwlock_try_release_write(self->at);
    if (rc < 0) {
        ext_refuse(PyExc_RuntimeError, "MH-NOT-HELD", "cannot release: not held for %s by the calling thread",
                   side == READ ? "reading" : "writing");
        return NULL;
    }
    ext_held_remove((PyObject *) self);
    Py_RETURN_NONE;
}

static PyObject *release_read(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    return release(self, READ);
}

static PyObject *release_write(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    return release(self, WRITE);
}

static PyObject *rwlock_readers(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(mh_rwlock_readers(((shared_object *) self)->at));
}

static PyObject *rwlock_writer(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(mh_rwlock_writer(((shared_object *) self)->at) != 0);
}

static PyObject *rwlock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"SharedRWLock", 1, 1, 1, {"prefer"}};
    PyObject *prefer = NULL;
    unsigned flags = 0;
    if (ext_args_tuple(&signature, args, kwargs, &prefer) < 0) {
        return NULL;
    }
    if (PyUnicode_Check(prefer) && PyUnicode_CompareWithASCIIString(prefer, "readers") == 0) {
        flags = MH_RW_PREFER_READERS;
    } else if (PyUnicode_Check(prefer) && PyUnicode_CompareWithASCIIString(prefer, "writers") == 0) {
        flags = MH_RW_PREFER_WRITERS;
    } else if (prefer != Py_None) {
        return ext_refuse(PyExc_ValueError, "MH-ARGUMENT",
                          "prefer must be None, 'readers' or 'writers', not %R", prefer);
    }
    shared_object *self = shared_create(type, mh_rwlock_size(RWLOCK_PLACES));
    if (self != NULL) {
        (void) mh_rwlock_init(self->at, RWLOCK_PLACES, flags);
    }
    return (PyObject *) self;
}

static void rwlock_dealloc(PyObject *object)
{
    shared_object *self = (shared_object *) object;
    if (self->at != NULL) {
        ext_held_forget(object);
    }
    shared_dealloc(object);
}

static PyObject *rwlock_rebuild(PyTypeObject *type, PyObject *const *args, Py_ssize_t nargs)
{
    return shared_rebuild(type, args, nargs, mh_rwlock_size(RWLOCK_PLACES));
}

#define WAITS "($self, /, block=True, timeout=None, *, cancel=None)\n--\n\n"

static PyMethodDef rwlock_methods[] = {
    EXT_METHOD("acquire_read", acquire_read, EXT_FASTCALL,
               "acquire_read" WAITS "Acquire for reading: True, or False where time was up."),
    EXT_METHOD("acquire_write", acquire_write, EXT_FASTCALL,
               "acquire_write" WAITS "Acquire for writing, alone: True, or False where time was up."),
    EXT_METHOD("recover", recover, EXT_FASTCALL,
               "recover($self, /, timeout=None, *, cancel=None)\n--\n\n"
               "Acquire for writing, also where a writer died: what it guards may be half changed."),
    EXT_METHOD("release_read", release_read, METH_NOARGS,
               "release_read($self, /)\n--\n\nUndo one acquire_read() of the calling thread."),
    EXT_METHOD("release_write", release_write, METH_NOARGS,
               "release_write($self, /)\n--\n\nUndo acquire_write() or recover()."),
    EXT_METHOD("_rebuild", rwlock_rebuild, METH_FASTCALL | METH_CLASS,
               "_rebuild($type, fd, slab, offset, /)\n--\n\nThe same lock in another process."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef rwlock_getset[] = {
    {"place", shared_place, NULL, PyDoc_STR("(descriptor, slab id, offset): what another process needs."),
     NULL},
    {"readers", rwlock_readers, NULL, PyDoc_STR("How many threads read."), NULL},
    {"writing", rwlock_writer, NULL, PyDoc_STR("Whether a thread writes."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- semaphore ------------------------------------------------------------------------------------------------- */

static PyObject *sem_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"SharedRobustSemaphore", 1, 1, 1, {"value"}};
    PyObject *given = NULL;
    if (ext_args_tuple(&signature, args, kwargs, &given) < 0) {
        return NULL;
    }
    long value = PyLong_AsLong(given);
    if (value == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (value < 1 || value > MH_ROBUST_SEM_MAX) {
        return ext_refuse(PyExc_ValueError, "MH-ARGUMENT", "a robust semaphore has 1 to %d permits, not %ld",
                          MH_ROBUST_SEM_MAX, value);
    }
    shared_object *self = shared_create(type, mh_robust_sem_size((uint32_t) value));
    if (self != NULL) {
        (void) mh_robust_sem_init(self->at, (uint32_t) value);
    }
    return (PyObject *) self;
}

static int wait_sem(void *sem, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_robust_sem_acquire(sem, deadline, waiting->cancel);
}

static PyObject *sem_take(shared_object *self, ext_until until)
{
    int rc = mh_robust_sem_acquire(self->at, MH_AT_ONCE, NULL);
    if (rc == -ETIMEDOUT && until.at != MH_AT_ONCE) {
        rc = ext_wait((PyObject *) self, wait_sem, self->at, until);
    }
    return rc >= 0 || rc == -ETIMEDOUT || rc == EXT_RAISED ? ext_waited(rc) : refused(self, rc);
}

static PyObject *sem_acquire(shared_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until = EXT_FOREVER;
    if ((nargs != 0 || kwnames != NULL) && shared_args((PyObject *) self, args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    return sem_take(self, until);
}

static PyObject *sem_release(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    if (mh_robust_sem_release(self->at) < 0) {
        ext_refuse(PyExc_ValueError, "MH-NOT-HELD",
                   "this process has no permit of the semaphore: only who acquired one may release it");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *sem_enter(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    return sem_take(self, EXT_FOREVER);
}

static PyObject *sem_exit(shared_object *self, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return sem_release(self, NULL);
}

static PyObject *sem_value(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLong(mh_robust_sem_value(self->at));
}

static PyObject *sem_is_zero(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(mh_robust_sem_value(self->at) == 0);
}

static PyObject *sem_died(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(mh_robust_sem_died(((shared_object *) self)->at));
}

static PyObject *sem_most(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(((mh_robust_sem *) ((shared_object *) self)->at)->permits);
}

static PyObject *sem_rebuild(PyTypeObject *type, PyObject *const *args, Py_ssize_t nargs)
{
    return shared_rebuild(type, args, nargs, sizeof(mh_robust_sem));
}

static PyMethodDef sem_methods[] = {
    EXT_METHOD("acquire", sem_acquire, EXT_FASTCALL,
               "acquire" WAITS "Take one: True, or False where time was up."),
    EXT_METHOD("release", sem_release, METH_NOARGS,
               "release($self, /)\n--\n\nGive one back; ValueError where this process has none."),
    EXT_METHOD("__enter__", sem_enter, METH_NOARGS, "__enter__($self, /)\n--\n\nacquire()"),
    EXT_METHOD("__exit__", sem_exit, METH_FASTCALL, "__exit__($self, /, *args)\n--\n\nrelease()"),
    EXT_METHOD("_get_value", sem_value, METH_NOARGS, "_get_value($self, /)\n--\n\nThe value at this moment."),
    EXT_METHOD("_is_zero", sem_is_zero, METH_NOARGS, "_is_zero($self, /)\n--\n\nIs the value 0?"),
    EXT_METHOD("_rebuild", sem_rebuild, METH_FASTCALL | METH_CLASS,
               "_rebuild($type, fd, slab, offset, /)\n--\n\nThe same semaphore in another process."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef sem_getset[] = {
    {"place", shared_place, NULL, PyDoc_STR("(descriptor, slab id, offset): what another process needs."),
     NULL},
    {"maxvalue", sem_most, NULL, PyDoc_STR("How many permits there are."), NULL},
    {"died", sem_died, NULL, PyDoc_STR("How many permits came back from processes that died with them."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot rwlock_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "A reader-writer lock between processes."},
    {Py_tp_new, rwlock_new},
    {Py_tp_dealloc, rwlock_dealloc},
    {Py_tp_methods, rwlock_methods},
    {Py_tp_getset, rwlock_getset},
    {0, NULL},
};

static PyType_Slot sem_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "A semaphore between processes that knows its holders."},
    {Py_tp_new, sem_new},
    {Py_tp_dealloc, shared_dealloc},
    {Py_tp_methods, sem_methods},
    {Py_tp_getset, sem_getset},
    {0, NULL},
};

static PyType_Spec rwlock_spec = {"manyhands._core.SharedRWLock", sizeof(shared_object), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, rwlock_slots};
static PyType_Spec sem_spec = {"manyhands._core.SharedRobustSemaphore", sizeof(shared_object), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, sem_slots};

int ext_shared_rwlock_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, -1, &rwlock_spec, NULL) < 0
               ? -1
               : ext_add_type(module, state, -1, &sem_spec, NULL);
}
