/* threading.Condition over mh_cond: first in, first out, exactly n woken.
 *
 * The lock may be anything with acquire() and release(). Over our own Lock and RLock everything runs in C; over other
 * locks, and where a subclass redefines them, ownership and the lock's state go through the three methods that the
 * stdlib uses: _is_owned(), _release_save(), _acquire_restore().
 *
 * A wait is: take a place in the queue while the lock is held, release the lock, sleep, attach, take the lock back. The lock
 * is taken back after attaching, never before: a thread that waits for the GIL must not hold a lock that the
 * thread with the GIL wants.
 */
#include "locks.h"

#define LOCK(self) ((ext_lock *) (self)->lock)
#define RLOCK(self) ((ext_rlock *) (self)->lock)

static int bare(void)
{
    ext_refuse(PyExc_RuntimeError, "MH-STATE", "Condition.__init__() was not called");
    return -1;
}

/* ---- construction -------------------------------------------------------------------------------------------- */

static PyObject *cond_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void) args, (void) kwargs;
    ext_cond *self = (ext_cond *) type->tp_alloc(type, 0);
    if (self != NULL) {
        mh_cond_init(&self->cond, 0, MH_PRIVATE);
    }
    return (PyObject *) self;
}

PyObject *ext_cond_new(ext_state *state, PyObject *lock)
{
    ext_cond *self = (ext_cond *) cond_new((PyTypeObject *) state->ref[EXT_CONDITION_TYPE], NULL, NULL);
    if (self != NULL) {
        self->lock = Py_NewRef(lock);
        self->kind = EXT_COND_LOCK;
    }
    return (PyObject *) self;
}

PyObject *ext_lazy_cond(PyObject *self, PyObject **place)
{
    ext_state *state = ext_state_of(Py_TYPE(self));
    PyObject *result = NULL;
    if (state == NULL) {
        return NULL;
    }
    EXT_CRITICAL_BEGIN(self);
    if (*place == NULL) {
        PyObject *lock = ext_lock_new(state);
        *place = lock == NULL ? NULL : ext_cond_new(state, lock);
        Py_XDECREF(lock);
    }
    result = Py_XNewRef(*place);
    EXT_CRITICAL_END;
    return result;
}

static int redefines(ext_state *state, PyTypeObject *type)
{
    static const char *const names[] = {"_is_owned", "_release_save", "_acquire_restore"};
    PyTypeObject *base = (PyTypeObject *) state->ref[EXT_CONDITION_TYPE];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int rc = ext_overrides(type, base, names[i]);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int kind_of(ext_state *state, PyTypeObject *type, PyObject *lock, enum ext_cond_kind *kind)
{
    int rc = redefines(state, type);
    bool lock_is_ours = (PyObject *) Py_TYPE(lock) == state->ref[EXT_LOCK_TYPE];
    bool rlock_is_ours = (PyObject *) Py_TYPE(lock) == state->ref[EXT_RLOCK_TYPE];
    *kind = rc != 0         ? EXT_COND_METHODS
            : lock_is_ours  ? EXT_COND_LOCK
            : rlock_is_ours ? EXT_COND_RLOCK
                            : EXT_COND_METHODS;
    return rc < 0 ? -1 : 0;
}

/* As the stdlib's, refuse with AttributeError what has no acquire() or release(). */
static int check_lock(PyObject *lock)
{
    PyObject *acquire = PyObject_GetAttrString(lock, "acquire");
    PyObject *release = acquire == NULL ? NULL : PyObject_GetAttrString(lock, "release");
    int rc = release == NULL ? -1 : 0;
    Py_XDECREF(acquire);
    Py_XDECREF(release);
    return rc;
}

static int cond_init(ext_cond *self, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"Condition", 0, 1, 1, {"lock"}};
    PyObject *given = NULL;
    enum ext_cond_kind kind;
    ext_state *state = ext_state_of(Py_TYPE(self));
    if (state == NULL || ext_args_tuple(&signature, args, kwargs, &given) < 0) {
        return -1;
    }
    if (mh_cond_waiting(&self->cond) != 0) {
        ext_refuse(PyExc_RuntimeError, "MH-STATE", "Condition.__init__() called while threads wait");
        return -1;
    }
    PyObject *lock = given == NULL || given == Py_None ? PyObject_CallNoArgs(state->ref[EXT_RLOCK_TYPE])
                                                       : Py_NewRef(given);
    if (lock == NULL || check_lock(lock) < 0 || kind_of(state, Py_TYPE(self), lock, &kind) < 0) {
        Py_XDECREF(lock);
        return -1;
    }
    self->kind = EXT_COND_METHODS; /* never a fast kind with the other kind's lock */
    Py_XSETREF(self->lock, lock);
    self->kind = kind;
    return 0;
}

static int cond_traverse(ext_cond *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->lock);
    Py_VISIT(self->dict);
    return 0;
}

static int cond_clear(ext_cond *self)
{
    self->kind = EXT_COND_BARE;
    Py_CLEAR(self->lock);
    Py_CLEAR(self->dict);
    return 0;
}

static void cond_dealloc(ext_cond *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *) self);
    }
    cond_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- the lock behind ----------------------------------------------------------------------------------------- */

static PyObject *call_lock(ext_cond *self, const char *name, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    PyObject *method = PyObject_GetAttrString(self->lock, name);
    PyObject *result = method == NULL ? NULL : PyObject_Vectorcall(method, args, (size_t) nargs, kwnames);
    Py_XDECREF(method);
    return result;
}

static PyObject *cond_acquire(ext_cond *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    switch (self->kind) {
    case EXT_COND_LOCK:
        return ext_lock_acquire(self->lock, args, nargs, kwnames);
    case EXT_COND_RLOCK:
        return ext_rlock_acquire(self->lock, args, nargs, kwnames);
    case EXT_COND_METHODS:
        return call_lock(self, "acquire", args, nargs, kwnames);
    default:
        return bare(), NULL;
    }
}

static PyObject *cond_release(ext_cond *self, PyObject *unused)
{
    (void) unused;
    switch (self->kind) {
    case EXT_COND_LOCK:
        return ext_lock_release(self->lock, NULL);
    case EXT_COND_RLOCK:
        return ext_rlock_release(self->lock, NULL);
    case EXT_COND_METHODS:
        return call_lock(self, "release", NULL, 0, NULL);
    default:
        return bare(), NULL;
    }
}

static PyObject *cond_enter(ext_cond *self, PyObject *unused)
{
    (void) unused;
    return self->kind == EXT_COND_METHODS ? call_lock(self, "__enter__", NULL, 0, NULL)
                                          : cond_acquire(self, NULL, 0, NULL);
}

static PyObject *cond_exit(ext_cond *self, PyObject *const *args, Py_ssize_t nargs)
{
    return self->kind == EXT_COND_METHODS ? call_lock(self, "__exit__", args, nargs, NULL)
                                          : cond_release(self, NULL);
}

static PyObject *cond_locked(ext_cond *self, PyObject *unused)
{
    (void) unused;
    return self->lock == NULL ? (bare(), NULL) : call_lock(self, "locked", NULL, 0, NULL);
}

/* The lock's own attribute, or NULL without an exception where it has none. */
static PyObject *lock_attribute(ext_cond *self, const char *name)
{
    PyObject *value = PyObject_GetAttrString(self->lock, name);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
    }
    return value;
}

/* Is a lock without _is_owned() held by anybody? As the stdlib asks it. */
static PyObject *probe(ext_cond *self)
{
    PyObject *argument = Py_False;
    PyObject *got = call_lock(self, "acquire", &argument, 1, NULL);
    int free_before = got == NULL ? -1 : PyObject_IsTrue(got);
    Py_XDECREF(got);
    if (free_before < 0) {
        return NULL;
    }
    if (free_before) {
        PyObject *released = call_lock(self, "release", NULL, 0, NULL);
        if (released == NULL) {
            return NULL;
        }
        Py_DECREF(released);
    }
    return PyBool_FromLong(!free_before);
}

static PyObject *cond_is_owned(ext_cond *self, PyObject *unused)
{
    (void) unused;
    if (self->lock == NULL) {
        return bare(), NULL;
    }
    PyObject *method = lock_attribute(self, "_is_owned");
    if (method == NULL) {
        return PyErr_Occurred() ? NULL : probe(self);
    }
    PyObject *result = PyObject_CallNoArgs(method);
    Py_DECREF(method);
    return result;
}

static PyObject *cond_release_save(ext_cond *self, PyObject *unused)
{
    (void) unused;
    if (self->lock == NULL) {
        return bare(), NULL;
    }
    PyObject *method = lock_attribute(self, "_release_save");
    if (method == NULL) {
        return PyErr_Occurred() ? NULL : call_lock(self, "release", NULL, 0, NULL);
    }
    PyObject *result = PyObject_CallNoArgs(method);
    Py_DECREF(method);
    return result;
}

static PyObject *cond_acquire_restore(ext_cond *self, PyObject *saved)
{
    if (self->lock == NULL) {
        return bare(), NULL;
    }
    PyObject *method = lock_attribute(self, "_acquire_restore");
    if (method == NULL) {
        return PyErr_Occurred() ? NULL : call_lock(self, "acquire", NULL, 0, NULL);
    }
    PyObject *result = PyObject_CallOneArg(method, saved);
    Py_DECREF(method);
    return result;
}

static int owned_by_method(ext_cond *self)
{
    PyObject *answer = PyObject_CallMethod((PyObject *) self, "_is_owned", NULL);
    int rc = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return rc;
}

static int check_owned(ext_cond *self, const char *complaint)
{
    int owned;
    switch (self->kind) {
    case EXT_COND_LOCK:
        owned = mh_lock_is_locked(&LOCK(self)->lock);
        break;
    case EXT_COND_RLOCK:
        owned = ext_rlock_owned(RLOCK(self));
        break;
    case EXT_COND_METHODS:
        owned = owned_by_method(self);
        break;
    default:
        return bare();
    }
    if (owned == 0) {
        PyErr_SetString(PyExc_RuntimeError, complaint);
    }
    return owned > 0 ? 0 : -1;
}

/* ---- waiting ------------------------------------------------------------------------------------------------- */

struct sleeper {
    mh_cond *cond;
    mh_cond_ticket *ticket;
    ext_word *due;
    bool begun;
};

static int commit(void *arg, mh_deadline deadline, ext_waiting *waiting)
{
    struct sleeper *sleeper = arg;
    sleeper->begun = true;
    ext_wake_due(sleeper->due);
    return mh_cond_commit(sleeper->cond, sleeper->ticket, deadline, waiting->cancel);
}

int ext_cond_sleep(PyObject *self, mh_cond *cond, mh_cond_ticket *ticket, ext_until until, ext_word *due)
{
    struct sleeper sleeper = {.cond = cond, .ticket = ticket, .due = due};
    int rc = ext_wait_is_hopeless(until) ? EXT_RAISED : ext_wait(self, commit, &sleeper, until);
    if (!sleeper.begun) { /* the thread is to end, say: it must not stay in line */
        mh_cond_forget(cond, ticket);
        ext_wake_due(due);
    }
    return rc;
}

static int wait_with_lock(ext_cond *self, mh_cond_ticket *ticket, ext_until until)
{
    ext_lock *lock = LOCK(self);
    ext_word *due;
    (void) ext_lock_drop_owing(lock, &due);
    int rc = ext_cond_sleep((PyObject *) self, &self->cond, ticket, until, due);
    rc = ext_take_lock((PyObject *) self, &lock->lock) < 0 ? EXT_RAISED : rc;
    ext_held_take(&lock->held, (PyObject *) lock);
    return rc;
}

static int wait_with_rlock(ext_cond *self, mh_cond_ticket *ticket, ext_until until)
{
    ext_rlock *lock = RLOCK(self);
    ext_word *due;
    unsigned long depth = ext_rlock_leave(lock, &due);
    int rc = ext_cond_sleep((PyObject *) self, &self->cond, ticket, until, due);
    return ext_rlock_return((PyObject *) self, lock, depth) < 0 ? EXT_RAISED : rc;
}

static int wait_with_methods(ext_cond *self, mh_cond_ticket *ticket, ext_until until)
{
    PyObject *saved = PyObject_CallMethod((PyObject *) self, "_release_save", NULL);
    if (saved == NULL) {
        mh_cond_forget(&self->cond, ticket);
        return EXT_RAISED;
    }
    int rc = ext_cond_sleep((PyObject *) self, &self->cond, ticket, until, NULL);
    PyObject *error = ext_error_take();
    PyObject *done = PyObject_CallMethod((PyObject *) self, "_acquire_restore", "(O)", saved);
    Py_DECREF(saved);
    if (done == NULL) {
        Py_XDECREF(error); /* the later exception wins, as in a `finally` */
        return EXT_RAISED;
    }
    Py_DECREF(done);
    if (error != NULL) {
        ext_error_put(error);
    }
    return rc;
}

/* 0 notified, -ETIMEDOUT, EXT_RAISED. The lock is held before and after. */
static int wait_until(ext_cond *self, ext_until until)
{
    mh_cond_ticket ticket;
    if (check_owned(self, "cannot wait on un-acquired lock") < 0) {
        return EXT_RAISED;
    }
    int rc = mh_cond_prepare(&self->cond, &ticket);
    if (rc < 0) {
        return ext_raise_code((PyObject *) self, rc);
    }
    PyObject *lock = Py_NewRef(self->lock); /* whatever a second __init__ does meanwhile */
    switch (self->kind) {
    case EXT_COND_LOCK:
        rc = wait_with_lock(self, &ticket, until);
        break;
    case EXT_COND_RLOCK:
        rc = wait_with_rlock(self, &ticket, until);
        break;
    default:
        rc = wait_with_methods(self, &ticket, until);
        break;
    }
    Py_DECREF(lock);
    return rc;
}

static PyObject *cond_wait(ext_cond *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until;
    if (ext_wait_args((PyObject *) self, "wait", args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    return ext_waited(wait_until(self, until));
}

/* self.wait(seconds), or self.wait(seconds, cancel=token), of a subclass that has its own. */
static int wait_by_method(ext_cond *self, ext_until until)
{
    mh_deadline now = mh_now();
    if (until.at != MH_FOREVER && until.at <= now) {
        return 0;
    }
    PyObject *seconds = until.at == MH_FOREVER ? Py_NewRef(Py_None)
                                               : PyFloat_FromDouble((double) (until.at - now) / 1e9);
    PyObject *wait = seconds == NULL ? NULL : PyObject_GetAttrString((PyObject *) self, "wait");
    PyObject *names = wait == NULL || until.cancel == NULL ? NULL : Py_BuildValue("(s)", "cancel");
    PyObject *args[2] = {seconds, (PyObject *) until.cancel};
    PyObject *result = wait == NULL || (names == NULL && until.cancel != NULL)
                           ? NULL
                           : PyObject_Vectorcall(wait, args, 1, names);
    Py_XDECREF(seconds);
    Py_XDECREF(wait);
    Py_XDECREF(names);
    Py_XDECREF(result);
    return result == NULL ? -1 : 1;
}

/* One more round of wait_for(). 1: waited, 0: time is up, -1. */
static int wait_round(ext_cond *self, int own_wait, ext_until until)
{
    if (own_wait != 0) {
        return wait_by_method(self, until);
    }
    int rc = wait_until(self, until);
    return rc == EXT_RAISED ? -1 : rc != -ETIMEDOUT;
}

static PyObject *cond_wait_for(ext_cond *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"wait_for", 1, 2, 3, {"predicate", "timeout", "cancel"}};
    PyObject *given[3] = {NULL, NULL, NULL};
    ext_until until;
    ext_state *state = ext_state_of(Py_TYPE(self));
    if (state == NULL || ext_args(&signature, args, nargs, kwnames, given) < 0 ||
        ext_until_args((PyObject *) self, given[1], given[2], &until) < 0) {
        return NULL;
    }
    int own_wait = ext_overrides(Py_TYPE(self), (PyTypeObject *) state->ref[EXT_CONDITION_TYPE], "wait");
    int more = own_wait < 0 ? -1 : 1;
    for (;;) {
        PyObject *result = more < 0 ? NULL : PyObject_CallNoArgs(given[0]);
        int truth = result == NULL ? -1 : PyObject_IsTrue(result);
        if (truth != 0 || !more) {
            if (truth < 0) {
                Py_CLEAR(result);
            }
            return result;
        }
        Py_DECREF(result);
        more = wait_round(self, own_wait, until);
    }
}

/* ---- notifying ----------------------------------------------------------------------------------------------- */

/* One waiter, whose lock is ours: it is woken when the lock is released. False: nothing was done. */
static bool notify_at_release(ext_cond *self, uint32_t count)
{
    ext_due *due = self->kind == EXT_COND_LOCK    ? &LOCK(self)->due
                   : self->kind == EXT_COND_RLOCK ? &RLOCK(self)->due
                                                  : NULL;
    if (count != 1 || due == NULL || atomic_load_explicit(due, memory_order_relaxed) != NULL) {
        return false;
    }
    ext_word *before = atomic_exchange(due, mh_cond_notify_later(&self->cond));
    ext_wake_due(before); /* without a GIL, of two at once */
    return true;
}

static int notify(ext_cond *self, uint32_t count)
{
    if (check_owned(self, "cannot notify on un-acquired lock") < 0) {
        return -1;
    }
    if (count == UINT32_MAX) {
        mh_cond_notify_all(&self->cond);
    } else if (count != 0 && mh_cond_waiting(&self->cond) != 0 && !notify_at_release(self, count)) {
        mh_cond_notify(&self->cond, count);
    }
    return 0;
}

static PyObject *cond_notify(ext_cond *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"notify", 0, 1, 1, {"n"}};
    PyObject *given = NULL;
    uint32_t count = 1;
    if ((nargs != 0 || kwnames != NULL) && ext_args(&signature, args, nargs, kwnames, &given) < 0) {
        return NULL;
    }
    if (given != NULL) {
        Py_ssize_t n = PyNumber_AsSsize_t(given, NULL);
        if (n == -1 && PyErr_Occurred()) {
            return NULL;
        }
        count = n <= 0 ? 0 : n >= (Py_ssize_t) UINT32_MAX ? UINT32_MAX : (uint32_t) n;
    }
    return notify(self, count) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *cond_notify_all(ext_cond *self, PyObject *unused)
{
    (void) unused;
    return notify(self, UINT32_MAX) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *cond_notifyall(ext_cond *self, PyObject *unused)
{
    (void) unused;
    if (ext_deprecated("notifyAll() is deprecated, use notify_all() instead") < 0) {
        return NULL;
    }
    return PyObject_CallMethod((PyObject *) self, "notify_all", NULL);
}

/* ---- the rest ------------------------------------------------------------------------------------------------ */

static PyObject *cond_at_fork_reinit(ext_cond *self, PyObject *unused)
{
    (void) unused;
    if (self->lock == NULL) {
        return bare(), NULL;
    }
    mh_cond_init(&self->cond, 0, MH_PRIVATE); /* the parent's waiters are not here */
    return call_lock(self, "_at_fork_reinit", NULL, 0, NULL);
}

static PyObject *cond_repr(ext_cond *self)
{
    return PyUnicode_FromFormat("<Condition(%S, %u)>", self->lock == NULL ? Py_None : self->lock,
                                (unsigned) mh_cond_waiting(&self->cond));
}

static PyObject *cond_get_waiters(ext_cond *self, void *unused)
{
    (void) unused;
    PyObject *none = PyTuple_Pack(1, Py_None);
    PyObject *waiters = none == NULL ? NULL
                                     : PySequence_Repeat(none, (Py_ssize_t) mh_cond_waiting(&self->cond));
    Py_XDECREF(none);
    return waiters;
}

static PyMethodDef cond_methods[] = {
    EXT_METHOD("acquire", cond_acquire, EXT_FASTCALL,
               "acquire($self, /, *args, **kwargs)\n--\n\nThe lock's acquire()."),
    EXT_METHOD("release", cond_release, METH_NOARGS, "release($self, /)\n--\n\nThe lock's release()."),
    EXT_METHOD("locked", cond_locked, METH_NOARGS, "locked($self, /)\n--\n\nThe lock's locked()."),
    EXT_METHOD("__enter__", cond_enter, METH_NOARGS, "__enter__($self, /)\n--\n\nAcquire the lock."),
    EXT_METHOD("__exit__", cond_exit, METH_FASTCALL,
               "__exit__($self, /, *exc_info)\n--\n\nRelease the lock."),
    EXT_METHOD(
        "wait", cond_wait, EXT_FASTCALL,
        "wait($self, /, timeout=None, *, cancel=None)\n--\n\n"
        "Release the lock, wait until notified, at most `timeout` seconds, and take the lock back.\n"
        "Return True, or False after a time-out. RuntimeError where the caller does not hold the lock."),
    EXT_METHOD("wait_for", cond_wait_for, EXT_FASTCALL,
               "wait_for($self, /, predicate, timeout=None, *, cancel=None)\n--\n\n"
               "Wait until predicate() is true, at most `timeout` seconds; return its last value."),
    EXT_METHOD("notify", cond_notify, EXT_FASTCALL,
               "notify($self, /, n=1)\n--\n\n"
               "Wake the n threads that have waited longest; fewer where fewer wait."),
    EXT_METHOD("notify_all", cond_notify_all, METH_NOARGS,
               "notify_all($self, /)\n--\n\nWake all threads that wait."),
    EXT_METHOD("notifyAll", cond_notifyall, METH_NOARGS,
               "notifyAll($self, /)\n--\n\nDeprecated: notify_all()."),
    EXT_METHOD("_is_owned", cond_is_owned, METH_NOARGS,
               "_is_owned($self, /)\n--\n\nReturn whether the calling thread holds the lock, as far as the "
               "lock can say."),
    EXT_METHOD("_release_save", cond_release_save, METH_NOARGS,
               "_release_save($self, /)\n--\n\nRelease the lock; return what _acquire_restore() takes."),
    EXT_METHOD("_acquire_restore", cond_acquire_restore, METH_O,
               "_acquire_restore($self, state, /)\n--\n\nAcquire the lock as _release_save() found it."),
    EXT_METHOD("_at_fork_reinit", cond_at_fork_reinit, METH_NOARGS,
               "_at_fork_reinit($self, /)\n--\n\nUnlocked and without waiters, in a forked child."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef cond_getset[] = {
    {"_waiters", (getter) cond_get_waiters, NULL, PyDoc_STR("One None for each thread that waits."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef cond_members[] = {
    {"_lock", Py_T_OBJECT_EX, offsetof(ext_cond, lock), Py_READONLY, PyDoc_STR("The lock.")},
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(ext_cond, weakrefs), Py_READONLY, NULL},
    {"__dictoffset__", Py_T_PYSSIZET, offsetof(ext_cond, dict), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot cond_slots[] = {
    {Py_tp_doc,
     (void *) PyDoc_STR("Condition(lock=None)\n--\n\n"
                        "A condition variable over `lock`, or over a new RLock. First come, first woken.")},
    {Py_tp_new, cond_new},
    {Py_tp_init, cond_init},
    {Py_tp_dealloc, cond_dealloc},
    {Py_tp_traverse, cond_traverse},
    {Py_tp_clear, cond_clear},
    {Py_tp_repr, cond_repr},
    {Py_tp_methods, cond_methods},
    {Py_tp_getset, cond_getset},
    {Py_tp_members, cond_members},
    {0, NULL},
};

static PyType_Spec cond_spec = {
    .name = "manyhands.threading.Condition",
    .basicsize = sizeof(ext_cond),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = cond_slots,
};

int ext_cond_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, EXT_CONDITION_TYPE, &cond_spec, NULL);
}
