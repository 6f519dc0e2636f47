/* ext/shared_sync.c - SharedSemaphore, SharedEvent, SharedBarrier. */
#include "manyhands/barrier.h"
#include "manyhands/event.h"
#include "manyhands/sem.h"
#include "shared.h"

#define SHARED_MEMBERS(rebuild)                                 \
    EXT_METHOD("_rebuild", rebuild, METH_FASTCALL | METH_CLASS, \
               "_rebuild($type, fd, slab, offset, /)\n--\n\nThe same object in another process.")

static PyObject *done(int rc)
{
    if (rc == EXT_RAISED) {
        return NULL;
    }
    if (rc < 0 && rc != -ETIMEDOUT) {
        ext_raise_code(NULL, rc);
        return NULL;
    }
    return PyBool_FromLong(rc >= 0);
}

/* ---- semaphore ------------------------------------------------------------------------------------------------ */

static PyObject *sem_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    const ext_signature signature = {"SharedSemaphore", 2, 2, 2, {"value", "maxvalue"}};
    PyObject *given[2];
    if (ext_args_tuple(&signature, args, kwargs, given) < 0) {
        return NULL;
    }
    long value = PyLong_AsLong(given[0]), most = PyLong_AsLong(given[1]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (value < 0 || most < 0 || value > (long) MH_SEM_MAX || most > (long) MH_SEM_MAX) {
        return ext_refuse(PyExc_ValueError, "MH-ARGUMENT", "the value of a semaphore is 0 to %u, not %ld",
                          MH_SEM_MAX, value);
    }
    shared_object *self = shared_create(type, sizeof(mh_sem));
    if (self != NULL && mh_sem_init(self->at, (uint32_t) value, (uint32_t) most, 0) < 0) {
        Py_DECREF(self);
        return ext_refuse(PyExc_ValueError, "MH-ARGUMENT", "a semaphore of at most %ld cannot begin with %ld",
                          most, value);
    }
    return (PyObject *) self;
}

static int wait_sem(void *sem, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_sem_acquire(sem, deadline, waiting->cancel);
}

static int take(shared_object *self, ext_until until)
{
    int rc = mh_sem_try_acquire(self->at);
    if (rc == -EBUSY) {
        return until.at == MH_AT_ONCE ? -ETIMEDOUT : ext_wait((PyObject *) self, wait_sem, self->at, until);
    }
    return rc;
}

static PyObject *sem_acquire(shared_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until = EXT_FOREVER;
    if ((nargs != 0 || kwnames != NULL) && shared_args((PyObject *) self, args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    return done(take(self, until));
}

static PyObject *sem_release(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    if (mh_sem_try_post(self->at, 1) < 0) {
        PyErr_SetString(PyExc_ValueError, "semaphore or lock released too many times");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *sem_enter(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    return done(take(self, EXT_FOREVER));
}

static PyObject *sem_exit(shared_object *self, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return sem_release(self, NULL);
}

static PyObject *sem_value(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLong(mh_sem_value(self->at));
}

static PyObject *sem_is_zero(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(mh_sem_value(self->at) == 0);
}

static PyObject *sem_most(PyObject *self, void *Py_UNUSED(closure))
{
    uint32_t most = ((mh_sem *) ((shared_object *) self)->at)->max;
    return PyLong_FromUnsignedLong(most == 0 ? MH_SEM_MAX : most);
}

static PyObject *sem_rebuild(PyTypeObject *type, PyObject *const *args, Py_ssize_t nargs)
{
    return shared_rebuild(type, args, nargs, sizeof(mh_sem));
}

static PyMethodDef sem_methods[] = {
    EXT_METHOD("acquire", sem_acquire, EXT_FASTCALL,
               "acquire($self, /, block=True, timeout=None, *, cancel=None)\n--\n\nTake one: True, or False "
               "where time was up."),
    EXT_METHOD("release", sem_release, METH_NOARGS,
               "release($self, /)\n--\n\nGive one; ValueError past the maximum."),
    EXT_METHOD("__enter__", sem_enter, METH_NOARGS, "__enter__($self, /)\n--\n\nacquire()"),
    EXT_METHOD("__exit__", sem_exit, METH_FASTCALL, "__exit__($self, /, *args)\n--\n\nrelease()"),
    EXT_METHOD("_get_value", sem_value, METH_NOARGS, "_get_value($self, /)\n--\n\nThe value at this moment."),
    EXT_METHOD("_is_zero", sem_is_zero, METH_NOARGS, "_is_zero($self, /)\n--\n\nIs the value 0?"),
    SHARED_MEMBERS(sem_rebuild),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef sem_getset[] = {
    {"place", shared_place, NULL, PyDoc_STR("(descriptor, slab id, offset): what another process needs."),
     NULL},
    {"maxvalue", sem_most, NULL, PyDoc_STR("The largest value."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- event ----------------------------------------------------------------------------------------------------- */

static PyObject *event_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    return (PyObject *) shared_create(type, sizeof(mh_event));
}

static PyObject *event_is_set(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(mh_event_is_set(self->at));
}

static PyObject *event_set(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    mh_event_set(self->at);
    Py_RETURN_NONE;
}

static PyObject *event_clear(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    mh_event_clear(self->at);
    Py_RETURN_NONE;
}

static int wait_event(void *event, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_event_wait(event, deadline, waiting->cancel);
}

static PyObject *event_wait(shared_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until;
    if (ext_wait_args((PyObject *) self, "wait", args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    if (mh_event_is_set(self->at)) {
        Py_RETURN_TRUE;
    }
    return until.at == MH_AT_ONCE ? PyBool_FromLong(0)
                                  : done(ext_wait((PyObject *) self, wait_event, self->at, until));
}

static PyObject *event_rebuild(PyTypeObject *type, PyObject *const *args, Py_ssize_t nargs)
{
    return shared_rebuild(type, args, nargs, sizeof(mh_event));
}

static PyMethodDef event_methods[] = {
    EXT_METHOD("is_set", event_is_set, METH_NOARGS, "is_set($self, /)\n--\n\nIs the flag set?"),
    EXT_METHOD("set", event_set, METH_NOARGS, "set($self, /)\n--\n\nSet the flag; who waits goes on."),
    EXT_METHOD("clear", event_clear, METH_NOARGS, "clear($self, /)\n--\n\nClear the flag."),
    EXT_METHOD("wait", event_wait, EXT_FASTCALL,
               "wait($self, /, timeout=None, *, cancel=None)\n--\n\nWait until the flag is set: True, or "
               "False where time was up."),
    SHARED_MEMBERS(event_rebuild),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef place_getset[] = {
    {"place", shared_place, NULL, PyDoc_STR("(descriptor, slab id, offset): what another process needs."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- barrier --------------------------------------------------------------------------------------------------- */

typedef struct barrier_object {
    shared_object head;
    PyObject *action; /* run by the last to arrive; NULL: nothing */
    int64_t timeout;  /* ns, where wait() is given none; negative: for ever */
} barrier_object;

static PyObject *barrier_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    const ext_signature signature = {"SharedBarrier", 1, 1, 1, {"parties"}};
    PyObject *given;
    if (ext_args_tuple(&signature, args, kwargs, &given) < 0) {
        return NULL;
    }
    long parties = PyLong_AsLong(given);
    if (parties == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (parties < 1 || parties > 65536) {
        return ext_refuse(PyExc_ValueError, "MH-ARGUMENT", "a barrier is for 1 to 65536 parties, not %ld",
                          parties);
    }
    shared_object *self = shared_create(type, mh_barrier_size((uint32_t) parties));
    if (self != NULL) {
        mh_barrier_init(self->at, (uint32_t) parties, 0);
        ((barrier_object *) self)->timeout = -1;
    }
    return (PyObject *) self;
}

static PyObject *barrier_defaults(barrier_object *self, PyObject *args)
{
    PyObject *action, *timeout;
    int64_t ns = -1;
    if (!PyArg_ParseTuple(args, "OO:_defaults", &action, &timeout) ||
        (timeout != Py_None && ext_seconds(timeout, &ns) < 0)) {
        return NULL;
    }
    Py_XSETREF(self->action, action == Py_None ? NULL : Py_NewRef(action));
    self->timeout = timeout == Py_None ? -1 : ns < 0 ? 0 : ns;
    Py_RETURN_NONE;
}

static int barrier_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((barrier_object *) self)->action);
    return 0;
}

static int barrier_clear(PyObject *self)
{
    Py_CLEAR(((barrier_object *) self)->action);
    return 0;
}

static void barrier_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    barrier_clear(self);
    shared_dealloc(self);
}

typedef struct barrier_wait_args {
    mh_barrier *barrier;
    PyObject *action;
    ext_waiting *waiting;
    uint32_t index;
} barrier_wait_args;

/* Called by the core, detached. */
static int run_action(void *object)
{
    barrier_wait_args *args = object;
    ext_attach(args->waiting);
    PyObject *result = PyObject_CallNoArgs(args->action);
    if (result == NULL) {
        ext_waiting_raised(args->waiting);
    }
    int rc = result == NULL ? -EINTR : 0;
    Py_XDECREF(result);
    ext_detach(args->waiting);
    return rc;
}

static int wait_barrier(void *object, mh_deadline deadline, ext_waiting *waiting)
{
    barrier_wait_args *args = object;
    args->waiting = waiting;
    return mh_barrier_wait(args->barrier, args->action == NULL ? NULL : run_action, args, deadline,
                           waiting->cancel, &args->index);
}

static int barrier_until(barrier_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                         ext_until *until)
{
    static const ext_signature signature = {"wait", 0, 1, 2, {"timeout", "cancel"}};
    PyObject *given[2] = {Py_None, NULL};
    *until = EXT_FOREVER;
    if (self->timeout >= 0) {
        until->at = mh_in_ns(self->timeout);
    }
    if (nargs == 0 && kwnames == NULL) {
        return 0;
    }
    if (ext_args(&signature, args, nargs, kwnames, given) < 0 ||
        (given[0] != Py_None && ext_deadline(given[0], &until->at) < 0)) {
        return -1;
    }
    return ext_cancel_arg((PyObject *) self, given[1], &until->cancel);
}

static PyObject *barrier_wait(barrier_object *self, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    mh_barrier *barrier = self->head.at;
    barrier_wait_args what = {barrier, self->action, NULL, 0};
    ext_until until;
    if (barrier_until(self, args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    int rc;
    if (what.action == NULL && barrier->parties == 1) { /* never waits: no need to detach */
        rc = mh_barrier_wait(barrier, NULL, NULL, until.at, NULL, &what.index);
    } else {
        rc = ext_wait((PyObject *) self, wait_barrier, &what, until);
    }
    if (rc == MH_E_BROKEN || rc == -ETIMEDOUT) {
        return ext_raise((PyObject *) self, EXT_BROKEN_BARRIER, NULL);
    }
    if (rc < 0) {
        return rc == EXT_RAISED ? NULL : done(rc);
    }
    return PyLong_FromUnsignedLong(what.index);
}

static PyObject *barrier_reset(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    mh_barrier_reset(self->at);
    Py_RETURN_NONE;
}

static PyObject *barrier_abort(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    mh_barrier_abort(self->at);
    Py_RETURN_NONE;
}

static PyObject *barrier_parties(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(((mh_barrier *) ((shared_object *) self)->at)->parties);
}

static PyObject *barrier_waiting(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(mh_barrier_waiting(((shared_object *) self)->at));
}

static PyObject *barrier_broken(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(mh_barrier_is_broken(((shared_object *) self)->at));
}

static PyObject *barrier_rebuild(PyTypeObject *type, PyObject *const *args, Py_ssize_t nargs)
{
    barrier_object *self = (barrier_object *) shared_rebuild(type, args, nargs, sizeof(mh_barrier));
    if (self != NULL) {
        self->timeout = -1;
    }
    return (PyObject *) self;
}

static PyMethodDef barrier_methods[] = {
    EXT_METHOD(
        "wait", barrier_wait, EXT_FASTCALL,
        "wait($self, /, timeout=None, *, cancel=None)\n--\n\nWait for the others; this party's number."),
    EXT_METHOD("_defaults", barrier_defaults, METH_VARARGS,
               "_defaults($self, action, timeout, /)\n--\n\nWhat the last to arrive runs, and how long "
               "wait() waits."),
    EXT_METHOD("reset", barrier_reset, METH_NOARGS, "reset($self, /)\n--\n\nWhole and empty again."),
    EXT_METHOD("abort", barrier_abort, METH_NOARGS, "abort($self, /)\n--\n\nBreak it."),
    SHARED_MEMBERS(barrier_rebuild),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef barrier_getset[] = {
    {"place", shared_place, NULL, PyDoc_STR("(descriptor, slab id, offset): what another process needs."),
     NULL},
    {"parties", barrier_parties, NULL, PyDoc_STR("How many have to come."), NULL},
    {"n_waiting", barrier_waiting, NULL, PyDoc_STR("How many are there."), NULL},
    {"broken", barrier_broken, NULL, PyDoc_STR("True where it is broken."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- types ----------------------------------------------------------------------------------------------------- */

#define SHARED_TYPE(name, title, doc, make, methods, getset)                              \
    static PyType_Slot name##_slots[] = {                                                 \
        {Py_tp_doc, (void *) (uintptr_t) doc},                                            \
        {Py_tp_new, make},                                                                \
        {Py_tp_dealloc, shared_dealloc},                                                  \
        {Py_tp_methods, methods},                                                         \
        {Py_tp_getset, getset},                                                           \
        {0, NULL},                                                                        \
    };                                                                                    \
    static PyType_Spec name##_spec = {"manyhands._core." title, sizeof(shared_object), 0, \
                                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, name##_slots};

SHARED_TYPE(sem, "SharedSemaphore", "A semaphore between processes.", sem_new, sem_methods, sem_getset)
SHARED_TYPE(event, "SharedEvent", "An event between processes.", event_new, event_methods, place_getset)

static PyType_Slot barrier_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "A barrier between processes."},
    {Py_tp_new, barrier_new},
    {Py_tp_dealloc, barrier_dealloc},
    {Py_tp_traverse, barrier_traverse},
    {Py_tp_clear, barrier_clear},
    {Py_tp_methods, barrier_methods},
    {Py_tp_getset, barrier_getset},
    {0, NULL},
};

static PyType_Spec barrier_spec = {"manyhands._core.SharedBarrier", sizeof(barrier_object), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
                                   barrier_slots};

int ext_shared_sync_ready(PyObject *module, ext_state *state)
{
    PyType_Spec *const specs[] = {&sem_spec, &event_spec, &barrier_spec};
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        if (ext_add_type(module, state, -1, specs[i], NULL) < 0) {
            return -1;
        }
    }
    return 0;
}
