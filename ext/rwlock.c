/* threading.RWLock over mh_rwlock: many readers or one writer. New in manyhands; the stdlib has none.
 *
 * `lock.read` and `lock.write` are its two sides as lock objects: what takes a lock (a `with`, a Condition) takes them.
 */
#include "common.h"

#include "manyhands/rwlock.h"

typedef struct ext_rwlock {
    PyObject_HEAD
    mh_rwlock lock;
    unsigned flags;
    PyObject *dict;
    PyObject *weakrefs;
} ext_rwlock;

typedef struct ext_rwside {
    PyObject_HEAD
    ext_rwlock *owner;
    bool write;
} ext_rwside;

static PyObject *rwlock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void) args, (void) kwargs;
    ext_rwlock *self = (ext_rwlock *) type->tp_alloc(type, 0);
    if (self != NULL) {
        self->flags = MH_PRIVATE;
        mh_rwlock_init(&self->lock, 0, self->flags);
    }
    return (PyObject *) self;
}

static int parse_prefer(PyObject *value, unsigned *flags)
{
    *flags = MH_PRIVATE;
    if (value == NULL || value == Py_None) {
        return 0;
    }
    if (PyUnicode_Check(value) && PyUnicode_CompareWithASCIIString(value, "readers") == 0) {
        *flags |= MH_RW_PREFER_READERS;
    } else if (PyUnicode_Check(value) && PyUnicode_CompareWithASCIIString(value, "writers") == 0) {
        *flags |= MH_RW_PREFER_WRITERS;
    } else {
        ext_refuse(PyExc_ValueError, "MH-ARGUMENT", "prefer must be None, 'readers' or 'writers', not %R",
                   value);
        return -1;
    }
    return 0;
}

static int rwlock_init(ext_rwlock *self, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"RWLock", 0, 1, 1, {"prefer"}};
    PyObject *prefer = NULL;
    unsigned flags;
    if (ext_args_tuple(&signature, args, kwargs, &prefer) < 0 || parse_prefer(prefer, &flags) < 0) {
        return -1;
    }
    if (mh_rwlock_readers(&self->lock) != 0 || mh_rwlock_writer(&self->lock) != 0) {
        ext_refuse(PyExc_RuntimeError, "MH-STATE", "RWLock.__init__() called while the lock is held");
        return -1;
    }
    self->flags = flags;
    mh_rwlock_init(&self->lock, 0, flags);
    return 0;
}

static int rwlock_traverse(ext_rwlock *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->dict);
    return 0;
}

static int rwlock_clear(ext_rwlock *self)
{
    Py_CLEAR(self->dict);
    return 0;
}

static void rwlock_dealloc(ext_rwlock *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *) self);
    }
    if (mh_rwlock_readers(&self->lock) != 0 || mh_rwlock_writer(&self->lock) != 0) {
        ext_held_forget((PyObject *) self);
    }
    rwlock_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- acquire and release ------------------------------------------------------------------------------------- */

static int wait_to_read(void *lock, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_rwlock_acquire_read(lock, deadline, waiting->cancel);
}

static int wait_to_write(void *lock, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_rwlock_acquire_write(lock, deadline, waiting->cancel);
}

static PyObject *refused(ext_rwlock *self, int rc)
{
    bool writes = mh_rwlock_writer(&self->lock) == (int) PyThread_get_thread_native_id();
    if (rc == -EDEADLK && writes) {
        ext_refuse(PyExc_RuntimeError, "MH-RWLOCK",
                   "the calling thread writes already: an RWLock is not recursive");
    } else if (rc == -EDEADLK) {
        ext_refuse(PyExc_RuntimeError, "MH-RWLOCK",
                   "cannot upgrade: the calling thread reads, and two that do so would wait for each other; "
                   "release_read() first, or acquire_write() from the start");
    } else if (rc == MH_E_TOO_MANY) {
        ext_refuse(PyExc_RuntimeError, "MH-TOO-MANY", "too many readers at once");
    } else {
        ext_raise_code((PyObject *) self, rc);
    }
    return NULL;
}

/* -EDEADLK is asked for without waiting, and so never looks like an error of the wait. */
static PyObject *acquire(ext_rwlock *self, bool write, ext_until until)
{
    int rc = write ? mh_rwlock_acquire_write(&self->lock, MH_AT_ONCE, NULL)
                   : mh_rwlock_acquire_read(&self->lock, MH_AT_ONCE, NULL);
    if (rc == -ETIMEDOUT && until.at != MH_AT_ONCE) {
        rc = ext_wait((PyObject *) self, write ? wait_to_write : wait_to_read, &self->lock, until);
    } else if (rc == -EINTR || rc == -ECANCELED) {
        rc = -ETIMEDOUT;
    }
    if (rc >= 0) {
        ext_held_add((PyObject *) self);
    }
    if (rc >= 0 || rc == -ETIMEDOUT || rc == EXT_RAISED) {
        return ext_waited(rc);
    }
    return refused(self, rc);
}

static PyObject *release(ext_rwlock *self, bool write)
{
    int rc = write ? mh_rwlock_try_release_write(&self->lock) : mh_rwlock_try_release_read(&self->lock);
    if (rc < 0) {
        ext_refuse(PyExc_RuntimeError, "MH-NOT-HELD", "%s",
                   write ? "cannot release: not held for writing by the calling thread"
                         : "cannot release: not held for reading by the calling thread");
        return NULL;
    }
    ext_held_remove((PyObject *) self);
    Py_RETURN_NONE;
}

static PyObject *acquire_args(ext_rwlock *self, bool write, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    ext_until until = EXT_FOREVER;
    if (ext_lock_args((PyObject *) self, args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    return acquire(self, write, until);
}

static PyObject *rwlock_acquire_read(ext_rwlock *self, PyObject *const *args, Py_ssize_t nargs,
                                     PyObject *kwnames)
{
    return acquire_args(self, false, args, nargs, kwnames);
}

static PyObject *rwlock_acquire_write(ext_rwlock *self, PyObject *const *args, Py_ssize_t nargs,
                                      PyObject *kwnames)
{
    return acquire_args(self, true, args, nargs, kwnames);
}

static PyObject *rwlock_release_read(ext_rwlock *self, PyObject *unused)
{
    (void) unused;
    return release(self, false);
}

static PyObject *rwlock_release_write(ext_rwlock *self, PyObject *unused)
{
    (void) unused;
    return release(self, true);
}

static PyObject *rwlock_at_fork_reinit(ext_rwlock *self, PyObject *unused)
{
    (void) unused;
    ext_held_forget((PyObject *) self);
    mh_rwlock_init(&self->lock, 0, self->flags);
    Py_RETURN_NONE;
}

/* ---- the two sides ------------------------------------------------------------------------------------------- */

static PyObject *side(ext_rwlock *self, bool write)
{
    PyObject *type = ext_ref((PyObject *) self, EXT_RWSIDE_TYPE);
    if (type == NULL) {
        return NULL;
    }
    ext_rwside *made = PyObject_New(ext_rwside, (PyTypeObject *) type);
    if (made != NULL) {
        made->owner = (ext_rwlock *) Py_NewRef((PyObject *) self);
        made->write = write;
    }
    return (PyObject *) made;
}

static PyObject *rwlock_get_read(ext_rwlock *self, void *unused)
{
    (void) unused;
    return side(self, false);
}

static PyObject *rwlock_get_write(ext_rwlock *self, void *unused)
{
    (void) unused;
    return side(self, true);
}

static PyObject *rwlock_get_readers(ext_rwlock *self, void *unused)
{
    (void) unused;
    return PyLong_FromUnsignedLong(mh_rwlock_readers(&self->lock));
}

static PyObject *rwlock_get_writing(ext_rwlock *self, void *unused)
{
    (void) unused;
    return PyBool_FromLong(mh_rwlock_writer(&self->lock) != 0);
}

static PyObject *rwlock_repr(ext_rwlock *self)
{
    PyObject *name = ext_class_name((PyObject *) self, "threading");
    unsigned readers = (unsigned) mh_rwlock_readers(&self->lock);
    bool writing = mh_rwlock_writer(&self->lock) != 0;
    PyObject *text = name == NULL ? NULL
                                  : PyUnicode_FromFormat("<%U at %p: readers=%u%s>", name, self, readers,
                                                         writing ? " writing" : "");
    Py_XDECREF(name);
    return text;
}

static void side_dealloc(ext_rwside *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_DECREF((PyObject *) self->owner);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *side_acquire(ext_rwside *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return acquire_args(self->owner, self->write, args, nargs, kwnames);
}

static PyObject *side_release(ext_rwside *self, PyObject *unused)
{
    (void) unused;
    return release(self->owner, self->write);
}

static PyObject *side_locked(ext_rwside *self, PyObject *unused)
{
    (void) unused;
    bool writing = mh_rwlock_writer(&self->owner->lock) != 0;
    return PyBool_FromLong(self->write ? writing : mh_rwlock_readers(&self->owner->lock) != 0);
}

/* For conditions. Whether the caller is one of the readers the lock does not say: that somebody reads must do. */
static PyObject *side_is_owned(ext_rwside *self, PyObject *unused)
{
    (void) unused;
    bool mine = mh_rwlock_writer(&self->owner->lock) == (int) PyThread_get_thread_native_id();
    return PyBool_FromLong(self->write ? mine : mh_rwlock_readers(&self->owner->lock) != 0);
}

static PyObject *side_enter(ext_rwside *self, PyObject *unused)
{
    (void) unused;
    return acquire(self->owner, self->write, EXT_FOREVER);
}

static PyObject *side_exit(ext_rwside *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void) args, (void) nargs;
    return release(self->owner, self->write);
}

#define ACQUIRE_ARGS "($self, /, blocking=True, timeout=-1, *, cancel=None)\n--\n\n"

static PyMethodDef rwlock_methods[] = {
    EXT_METHOD("acquire_read", rwlock_acquire_read, EXT_FASTCALL,
               "acquire_read" ACQUIRE_ARGS
               "Acquire for reading, beside other readers. Return whether it was acquired."),
    EXT_METHOD("acquire_write", rwlock_acquire_write, EXT_FASTCALL,
               "acquire_write" ACQUIRE_ARGS "Acquire for writing, alone. Return whether it was acquired.\n"
               "RuntimeError where the calling thread reads or writes already: that could never end."),
    EXT_METHOD("release_read", rwlock_release_read, METH_NOARGS,
               "release_read($self, /)\n--\n\nUndo one acquire_read() of the calling thread."),
    EXT_METHOD("release_write", rwlock_release_write, METH_NOARGS,
               "release_write($self, /)\n--\n\nUndo acquire_write()."),
    EXT_METHOD("_at_fork_reinit", rwlock_at_fork_reinit, METH_NOARGS,
               "_at_fork_reinit($self, /)\n--\n\nFree again, in a forked child."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef rwlock_getset[] = {
    {"read", (getter) rwlock_get_read, NULL, PyDoc_STR("The reading side, a lock: `with lock.read:`."), NULL},
    {"write", (getter) rwlock_get_write, NULL, PyDoc_STR("The writing side, a lock: `with lock.write:`."),
     NULL},
    {"readers", (getter) rwlock_get_readers, NULL, PyDoc_STR("How many threads read."), NULL},
    {"writing", (getter) rwlock_get_writing, NULL, PyDoc_STR("Whether a thread writes."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef rwlock_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(ext_rwlock, weakrefs), Py_READONLY, NULL},
    {"__dictoffset__", Py_T_PYSSIZET, offsetof(ext_rwlock, dict), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot rwlock_slots[] = {
    {Py_tp_doc,
     (void *) PyDoc_STR("RWLock(prefer=None)\n--\n\n"
                        "Many readers or one writer. In order of arrival, or with prefer='readers' or\n"
                        "'writers' those first. `with lock.read:`, `with lock.write:`.")},
    {Py_tp_new, rwlock_new},
    {Py_tp_init, rwlock_init},
    {Py_tp_dealloc, rwlock_dealloc},
    {Py_tp_traverse, rwlock_traverse},
    {Py_tp_clear, rwlock_clear},
    {Py_tp_repr, rwlock_repr},
    {Py_tp_methods, rwlock_methods},
    {Py_tp_getset, rwlock_getset},
    {Py_tp_members, rwlock_members},
    {0, NULL},
};

static PyMethodDef side_methods[] = {
    EXT_METHOD("acquire", side_acquire, EXT_FASTCALL,
               "acquire" ACQUIRE_ARGS "Acquire this side of the lock."),
    EXT_METHOD("release", side_release, METH_NOARGS,
               "release($self, /)\n--\n\nRelease this side of the lock."),
    EXT_METHOD("locked", side_locked, METH_NOARGS,
               "locked($self, /)\n--\n\nReturn whether any thread holds this side."),
    EXT_METHOD("_is_owned", side_is_owned, METH_NOARGS,
               "_is_owned($self, /)\n--\n\nFor conditions: whether the caller writes, or somebody reads."),
    EXT_METHOD("__enter__", side_enter, METH_NOARGS,
               "__enter__($self, /)\n--\n\nAcquire this side of the lock."),
    EXT_METHOD("__exit__", side_exit, METH_FASTCALL,
               "__exit__($self, /, *exc_info)\n--\n\nRelease this side."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot side_slots[] = {
    {Py_tp_doc, (void *) PyDoc_STR("One side of an RWLock, as a lock.")},
    {Py_tp_dealloc, side_dealloc},
    {Py_tp_methods, side_methods},
    {0, NULL},
};

static PyType_Spec rwlock_spec = {
    .name = "manyhands.threading.RWLock",
    .basicsize = sizeof(ext_rwlock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = rwlock_slots,
};

static PyType_Spec side_spec = {
    .name = "manyhands.threading.RWLockSide",
    .basicsize = sizeof(ext_rwside),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = side_slots,
};

int ext_rwlock_ready(PyObject *module, ext_state *state)
{
    if (ext_add_type(module, state, EXT_RWSIDE_TYPE, &side_spec, NULL) < 0) {
        return -1;
    }
    return ext_add_type(module, state, EXT_RWLOCK_TYPE, &rwlock_spec, NULL);
}
