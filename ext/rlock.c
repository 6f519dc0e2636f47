/* threading.RLock: mh_lock, and the owner by Python's thread ident (see locks.h). */
#include "locks.h"

/* The stdlib's factory ignored arguments, then warned of them (3.13), then refused them (3.15). */
static int check_arguments(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) == 0 && (kwargs == NULL || PyDict_GET_SIZE(kwargs) == 0)) {
        return 0;
    }
    ext_state *state = ext_state_of(type);
    if (state == NULL || (PyObject *) type != state->ref[EXT_RLOCK_TYPE]) {
        return state == NULL ? -1 : 0; /* a subclass's __init__ may want them */
    }
#if PY_VERSION_HEX >= 0x030f0000
    PyErr_SetString(PyExc_TypeError, "RLock() takes no arguments");
    return -1;
#elif PY_VERSION_HEX >= 0x030d0000
    return ext_deprecated("Passing arguments to RLock is deprecated and will be removed in 3.15");
#else
    return 0;
#endif
}

static PyObject *rlock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (check_arguments(type, args, kwargs) < 0) {
        return NULL;
    }
    ext_rlock *self = (ext_rlock *) type->tp_alloc(type, 0);
    if (self != NULL) {
        mh_lock_init(&self->lock, MH_PRIVATE);
        atomic_init(&self->owner, 0);
    }
    return (PyObject *) self;
}

static int rlock_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void) self, (void) args, (void) kwargs;
    return 0;
}

static void rlock_dealloc(ext_rlock *self)
{
    PyTypeObject *type = Py_TYPE(self);
    ext_held_give(&self->held);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *) self);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

/* Others only look at it, where they print the lock: no order is asked for. */
static unsigned long depth_of(ext_rlock *self)
{
    return atomic_load_explicit(&self->depth, memory_order_relaxed);
}

static void set_depth(ext_rlock *self, unsigned long depth)
{
    atomic_store_explicit(&self->depth, depth, memory_order_relaxed);
}

static void own(ext_rlock *self, unsigned long owner, unsigned long depth)
{
    set_depth(self, depth);
    atomic_store_explicit(&self->owner, owner, memory_order_relaxed);
}

static ext_word *let_go(ext_rlock *self)
{
    own(self, 0, 0);
    ext_held_give(&self->held);
    ext_word *due = ext_take_due(&self->due);
    mh_lock_try_release(&self->lock);
    return due;
}

static int enter_again(ext_rlock *self)
{
    unsigned long depth = depth_of(self);
    if (depth == ULONG_MAX) {
        PyErr_SetString(PyExc_OverflowError, "Internal lock count overflowed");
        return -1;
    }
    set_depth(self, depth + 1);
    return 0;
}

PyObject *ext_rlock_acquire(PyObject *op, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_rlock *self = (ext_rlock *) op;
    ext_until until = EXT_FOREVER;
    if ((nargs != 0 || kwnames != NULL) && ext_lock_args(op, args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    unsigned long me = ext_ident();
    if (atomic_load_explicit(&self->owner, memory_order_relaxed) == me) {
        return enter_again(self) < 0 ? NULL : Py_NewRef(Py_True);
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
    own(self, me, 1);
    ext_held_take(&self->held, op);
    Py_RETURN_TRUE;
}

static PyObject *not_owned(void)
{
    PyErr_SetString(PyExc_RuntimeError, "cannot release un-acquired lock");
    return NULL;
}

PyObject *ext_rlock_release(PyObject *op, PyObject *unused)
{
    (void) unused;
    ext_rlock *self = (ext_rlock *) op;
    if (!ext_rlock_owned(self)) {
        return not_owned();
    }
    unsigned long depth = depth_of(self) - 1;
    set_depth(self, depth);
    if (depth == 0) {
        ext_word *due = let_go(self);
        if (due != NULL) {
            PyThreadState *kept = ext_wake_begin(op);
            ext_wake_due(due);
            ext_wake_end(kept);
        }
    }
    Py_RETURN_NONE;
}

unsigned long ext_rlock_leave(ext_rlock *self, ext_word **due)
{
    unsigned long depth = depth_of(self);
    *due = let_go(self);
    return depth;
}

int ext_rlock_return(PyObject *self, ext_rlock *lock, unsigned long depth)
{
    int rc = ext_take_lock(self, &lock->lock);
    own(lock, ext_ident(), depth);
    ext_held_take(&lock->held, (PyObject *) lock);
    return rc;
}

static PyObject *rlock_enter(PyObject *self, PyObject *unused)
{
    (void) unused;
    return ext_rlock_acquire(self, NULL, 0, NULL);
}

static PyObject *rlock_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void) args, (void) nargs;
    return ext_rlock_release(self, NULL);
}

static PyObject *rlock_locked(ext_rlock *self, PyObject *unused)
{
    (void) unused;
    return PyBool_FromLong(mh_lock_is_locked(&self->lock));
}

static PyObject *rlock_is_owned(ext_rlock *self, PyObject *unused)
{
    (void) unused;
    return PyBool_FromLong(ext_rlock_owned(self));
}

static PyObject *rlock_recursion_count(ext_rlock *self, PyObject *unused)
{
    (void) unused;
    return PyLong_FromUnsignedLong(ext_rlock_owned(self) ? depth_of(self) : 0);
}

/* Any thread may, as in the stdlib: Condition's callers have checked the ownership before. */
static PyObject *rlock_release_save(ext_rlock *self, PyObject *unused)
{
    (void) unused;
    if (depth_of(self) == 0) {
        return not_owned();
    }
    unsigned long owner = atomic_load_explicit(&self->owner, memory_order_relaxed);
    ext_word *due;
    unsigned long depth = ext_rlock_leave(self, &due);
    ext_wake_due(due);
    return Py_BuildValue("kk", depth, owner);
}

static PyObject *rlock_acquire_restore(ext_rlock *self, PyObject *saved)
{
    unsigned long depth, owner;
    if (!PyTuple_Check(saved)) {
        PyErr_SetString(PyExc_TypeError,
                        "_acquire_restore() argument 1 must be what _release_save() returned");
        return NULL;
    }
    if (!PyArg_ParseTuple(saved, "kk:_acquire_restore", &depth, &owner)) {
        return NULL;
    }
    int rc = ext_take_lock((PyObject *) self, &self->lock);
    own(self, owner, depth);
    ext_held_take(&self->held, (PyObject *) self);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *rlock_at_fork_reinit(ext_rlock *self, PyObject *unused)
{
    (void) unused;
    ext_held_give(&self->held);
    ext_wake_due(ext_take_due(&self->due));
    mh_lock_init(&self->lock, MH_PRIVATE);
    own(self, 0, 0);
    Py_RETURN_NONE;
}

static PyObject *rlock_repr(ext_rlock *self)
{
    return PyUnicode_FromFormat(
        "<%s %s object owner=%lu count=%lu at %p>", mh_lock_is_locked(&self->lock) ? "locked" : "unlocked",
        Py_TYPE(self)->tp_name, atomic_load_explicit(&self->owner, memory_order_relaxed), depth_of(self),
        self);
}

static PyMethodDef rlock_methods[] = {
    EXT_METHOD("acquire", ext_rlock_acquire, EXT_FASTCALL,
               "acquire($self, /, blocking=True, timeout=-1, *, cancel=None)\n--\n\n"
               "Lock the lock, or, where the calling thread holds it, lock it once more. Return True, or "
               "False where\n"
               "blocking is false or the timeout (in seconds) has passed and another thread holds the lock.\n"
               "`cancel`: a CancelToken, which ends the wait with Cancelled."),
    EXT_METHOD("release", ext_rlock_release, METH_NOARGS,
               "release($self, /)\n--\n\n"
               "Undo one acquire(). RuntimeError where the calling thread does not hold the lock."),
    EXT_METHOD("locked", rlock_locked, METH_NOARGS,
               "locked($self, /)\n--\n\nReturn whether any thread holds the lock."),
    EXT_METHOD("__enter__", rlock_enter, METH_NOARGS, "__enter__($self, /)\n--\n\nLock the lock."),
    EXT_METHOD("__exit__", rlock_exit, METH_FASTCALL,
               "__exit__($self, /, *exc_info)\n--\n\nUndo one acquire()."),
    EXT_METHOD("_is_owned", rlock_is_owned, METH_NOARGS,
               "_is_owned($self, /)\n--\n\nReturn whether the calling thread holds the lock."),
    EXT_METHOD(
        "_recursion_count", rlock_recursion_count, METH_NOARGS,
        "_recursion_count($self, /)\n--\n\nReturn how often the calling thread has acquired the lock."),
    EXT_METHOD("_release_save", rlock_release_save, METH_NOARGS,
               "_release_save($self, /)\n--\n\nRelease every level; return what _acquire_restore() takes."),
    EXT_METHOD("_acquire_restore", rlock_acquire_restore, METH_O,
               "_acquire_restore($self, state, /)\n--\n\nAcquire the lock as _release_save() found it."),
    EXT_METHOD("_at_fork_reinit", rlock_at_fork_reinit, METH_NOARGS,
               "_at_fork_reinit($self, /)\n--\n\nUnlocked again, in a forked child."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef rlock_getset[] = {
    {"owner", ext_held_get_owner, NULL, PyDoc_STR("The ident of the thread that holds the lock, or None."),
     (void *) offsetof(ext_rlock, held)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef rlock_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(ext_rlock, weakrefs), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot rlock_slots[] = {
    {Py_tp_doc,
     (void *) PyDoc_STR("RLock()\n--\n\n"
                        "A lock that the thread which holds it may acquire again; it releases it as often.")},
    {Py_tp_new, rlock_new},
    {Py_tp_init, rlock_init},
    {Py_tp_dealloc, rlock_dealloc},
    {Py_tp_repr, rlock_repr},
    {Py_tp_methods, rlock_methods},
    {Py_tp_getset, rlock_getset},
    {Py_tp_members, rlock_members},
    {0, NULL},
};

static PyType_Spec rlock_spec = {
    .name = "manyhands.threading.RLock",
    .basicsize = sizeof(ext_rlock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = rlock_slots,
};

int ext_rlock_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, EXT_RLOCK_TYPE, &rlock_spec, NULL);
}
