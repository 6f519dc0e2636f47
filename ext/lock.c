/* threading.Lock over mh_lock. */
#include "locks.h"

PyObject *ext_lock_new(ext_state *state)
{
    ext_lock *self = PyObject_New(ext_lock, (PyTypeObject *) state->ref[EXT_LOCK_TYPE]);
    if (self != NULL) {
        mh_lock_init(&self->lock, MH_PRIVATE);
        self->held = (ext_held){0};
        atomic_init(&self->due, NULL);
        self->weakrefs = NULL;
    }
    return (PyObject *) self;
}

#if PY_VERSION_HEX >= 0x030d0000
static PyObject *lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) != 0 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        PyErr_SetString(PyExc_TypeError, "Lock() takes no arguments");
        return NULL;
    }
    ext_state *state = ext_state_of(type);
    return state == NULL ? NULL : ext_lock_new(state);
}
#endif

PyObject *ext_allocate_lock(PyObject *module, PyObject *unused)
{
    (void) unused;
    return ext_lock_new(PyModule_GetState(module));
}

static void lock_dealloc(ext_lock *self)
{
    PyTypeObject *type = Py_TYPE(self);
    ext_held_give(&self->held);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *) self);
    }
    PyObject_Free(self);
    Py_DECREF(type);
}

int ext_wait_for_lock(void *lock, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_lock_acquire(lock, deadline, waiting->cancel);
}

int ext_take_lock(PyObject *self, mh_lock *lock)
{
    if (mh_lock_try_acquire(lock) >= 0) {
        return 0;
    }
    int rc = ext_wait_hold(self, ext_wait_for_lock, lock);
    return rc == EXT_RAISED ? rc : 0;
}

PyObject *ext_lock_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_lock *self = (ext_lock *) op;
    ext_until until = EXT_FOREVER;
    if ((nargs != 0 || kwnames != NULL) && ext_lock_args(op, args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    if (mh_lock_try_acquire(&self->lock) < 0) {
        if (until.at == MH_AT_ONCE) {
            Py_RETURN_FALSE;
        }
        int rc = ext_wait_is_hopeless(until) ? EXT_RAISED
                                             : ext_wait(op, ext_wait_for_lock, &self->lock, until);
        if (rc < 0) {
            return ext_waited(rc);
        }
    }
    ext_held_take(&self->held, op);
    Py_RETURN_TRUE;
}

static int release(ext_lock *self)
{
    ext_held_give(&self->held);
    ext_word *due = ext_take_due(&self->due);
    if (due == NULL && !mh_lock_has_waiters(&self->lock)) {
        return mh_lock_try_release(&self->lock);
    }
    PyThreadState *kept = ext_wake_begin((PyObject *) self);
    int rc = mh_lock_try_release(&self->lock);
    ext_wake_due(due);
    ext_wake_end(kept);
    return rc;
}

PyObject *ext_lock_release(PyObject *op, PyObject *unused)
{
    (void) unused;
    int rc = release((ext_lock *) op);
    if (rc < 0) {
        PyErr_SetString(PyExc_RuntimeError, "release unlocked lock");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *lock_enter(PyObject *self, PyObject *unused)
{
    (void) unused;
    return ext_lock_acquire(self, NULL, 0, NULL);
}

static PyObject *lock_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void) args, (void) nargs;
    return ext_lock_release(self, NULL);
}

static PyObject *lock_locked(ext_lock *self, PyObject *unused)
{
    (void) unused;
    return PyBool_FromLong(mh_lock_is_locked(&self->lock));
}

static PyObject *lock_at_fork_reinit(ext_lock *self, PyObject *unused)
{
    (void) unused;
    ext_held_give(&self->held);
    ext_wake_due(ext_take_due(&self->due)); /* where it is called in no child after all */
    mh_lock_init(&self->lock, MH_PRIVATE);
    Py_RETURN_NONE;
}

static PyObject *lock_repr(ext_lock *self)
{
    return PyUnicode_FromFormat("<%s %s object at %p>",
                                mh_lock_is_locked(&self->lock) ? "locked" : "unlocked",
                                Py_TYPE(self)->tp_name, self);
}

#define ACQUIRE_DOC                                                                                        \
    "($self, /, blocking=True, timeout=-1, *, cancel=None)\n--\n\n"                                        \
    "Lock the lock. Without arguments wait as long as it takes. Return True, or False where blocking is\n" \
    "false or the timeout (in seconds) has passed and another thread holds the lock. `cancel`: a\n"        \
    "CancelToken, which ends the wait with Cancelled."
#define RELEASE_DOC      \
    "($self, /)\n--\n\n" \
    "Unlock the lock, which any thread may do. RuntimeError where it is not locked."
#define LOCKED_DOC "($self, /)\n--\n\nReturn whether the lock is locked."

static PyMethodDef lock_methods[] = {
    EXT_METHOD("acquire", ext_lock_acquire, EXT_FASTCALL, "acquire" ACQUIRE_DOC),
    EXT_METHOD("release", ext_lock_release, METH_NOARGS, "release" RELEASE_DOC),
    EXT_METHOD("locked", lock_locked, METH_NOARGS, "locked" LOCKED_DOC),
    EXT_METHOD("__enter__", lock_enter, METH_NOARGS, "__enter__($self, /)\n--\n\nLock the lock."),
    EXT_METHOD("__exit__", lock_exit, METH_FASTCALL, "__exit__($self, /, *exc_info)\n--\n\nUnlock the lock."),
    EXT_METHOD("acquire_lock", ext_lock_acquire, EXT_FASTCALL, "acquire_lock" ACQUIRE_DOC),
    EXT_METHOD("release_lock", ext_lock_release, METH_NOARGS, "release_lock" RELEASE_DOC),
    EXT_METHOD("locked_lock", lock_locked, METH_NOARGS, "locked_lock" LOCKED_DOC),
    EXT_METHOD("_at_fork_reinit", lock_at_fork_reinit, METH_NOARGS,
               "_at_fork_reinit($self, /)\n--\n\nUnlocked again, in a forked child."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef lock_getset[] = {
    {"owner", ext_held_get_owner, NULL,
     PyDoc_STR("The ident of the thread that acquired the lock and has not released it, or None."),
     (void *) offsetof(ext_lock, held)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef lock_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(ext_lock, weakrefs), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_doc,
     (void *) PyDoc_STR("Lock()\n--\n\n"
                        "A lock that any thread may release. `with lock:` holds it for the block.")},
#if PY_VERSION_HEX >= 0x030d0000
    {Py_tp_new, lock_new},
#endif
    {Py_tp_dealloc, lock_dealloc},
    {Py_tp_repr, lock_repr},
    {Py_tp_methods, lock_methods},
    {Py_tp_getset, lock_getset},
    {Py_tp_members, lock_members},
    {0, NULL},
};

/* Final, as the stdlib's. Before 3.13 `threading.Lock` is a function, and the type cannot be called. */
#if PY_VERSION_HEX >= 0x030d0000
#define LOCK_FLAGS Py_TPFLAGS_DEFAULT
#else
#define LOCK_FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION)
#endif

static PyType_Spec lock_spec = {
    .name = "manyhands.threading.Lock",
    .basicsize = sizeof(ext_lock),
    .flags = LOCK_FLAGS,
    .slots = lock_slots,
};

int ext_lock_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, EXT_LOCK_TYPE, &lock_spec, NULL);
}
