/* threading.Barrier over mh_barrier. A barrier of one party has nobody to wait for and never detaches. */
#include "common.h"

#include "manyhands/barrier.h"

#define MAX_PARTIES 1000000 /* each has a place of 8 bytes */

typedef struct ext_barrier {
    PyObject_HEAD
    mh_barrier *barrier; /* raw memory; NULL until __init__ */
    long parties;
    PyObject *action;
    PyObject *timeout;
    PyObject *dict;
    PyObject *weakrefs;
} ext_barrier;

static PyObject *barrier_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void) args, (void) kwargs;
    return type->tp_alloc(type, 0);
}

static mh_barrier *make(long parties)
{
    mh_barrier *barrier = PyMem_RawCalloc(1, mh_barrier_size((uint32_t) parties));
    if (barrier == NULL || mh_barrier_init(barrier, (uint32_t) parties, MH_PRIVATE) < 0) {
        PyMem_RawFree(barrier);
        PyErr_NoMemory();
        return NULL;
    }
    return barrier;
}

static int parse_parties(PyObject *value, long *parties)
{
    long n = PyLong_AsLong(value);
    if (n == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (n < 1) {
        PyErr_SetString(PyExc_ValueError, "parties must be > 0");
        return -1;
    }
    if (n > MAX_PARTIES) {
        ext_refuse(PyExc_OverflowError, "MH-ARGUMENT", "a barrier has at most %d parties", MAX_PARTIES);
        return -1;
    }
    *parties = n;
    return 0;
}

static int barrier_init(ext_barrier *self, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"Barrier", 1, 3, 3, {"parties", "action", "timeout"}};
    PyObject *given[3] = {NULL, NULL, NULL};
    long parties;
    if (ext_args_tuple(&signature, args, kwargs, given) < 0 || parse_parties(given[0], &parties) < 0) {
        return -1;
    }
    if (self->barrier != NULL) {
        ext_refuse(PyExc_RuntimeError, "MH-STATE", "Barrier.__init__() called twice");
        return -1;
    }
    mh_barrier *barrier = make(parties);
    if (barrier == NULL) {
        return -1;
    }
    self->parties = parties;
    Py_XSETREF(self->action, given[1] == NULL ? Py_NewRef(Py_None) : Py_NewRef(given[1]));
    Py_XSETREF(self->timeout, given[2] == NULL ? Py_NewRef(Py_None) : Py_NewRef(given[2]));
    self->barrier = barrier;
    return 0;
}

static int barrier_traverse(ext_barrier *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->action);
    Py_VISIT(self->timeout);
    Py_VISIT(self->dict);
    return 0;
}

static int barrier_clear(ext_barrier *self)
{
    Py_CLEAR(self->action);
    Py_CLEAR(self->timeout);
    Py_CLEAR(self->dict);
    return 0;
}

static void barrier_dealloc(ext_barrier *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *) self);
    }
    barrier_clear(self);
    PyMem_RawFree(self->barrier);
    type->tp_free(self);
    Py_DECREF(type);
}

static bool bare(ext_barrier *self)
{
    if (self->barrier == NULL) {
        ext_refuse(PyExc_RuntimeError, "MH-STATE", "Barrier.__init__() was not called");
    }
    return self->barrier == NULL;
}

static PyObject *broken(ext_barrier *self)
{
    return ext_raise((PyObject *) self, EXT_BROKEN_BARRIER, NULL);
}

/* ---- wait ---------------------------------------------------------------------------------------------------- */

struct meeting {
    ext_barrier *self;
    ext_waiting *waiting;
    uint32_t index;
};

static bool has_action(const ext_barrier *self)
{
    return self->action != NULL && self->action != Py_None;
}

static int call_action(ext_barrier *self)
{
    PyObject *result = PyObject_CallNoArgs(self->action);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Run by the core in the last party to arrive, before the others go on. */
static int run_action(void *arg)
{
    struct meeting *meeting = arg;
    ext_attach(meeting->waiting);
    int rc = call_action(meeting->self);
    if (rc < 0) {
        ext_waiting_raised(meeting->waiting);
    }
    ext_detach(meeting->waiting);
    return rc < 0 ? -EINTR : 0;
}

static int meet(void *arg, mh_deadline deadline, ext_waiting *waiting)
{
    struct meeting *meeting = arg;
    meeting->waiting = waiting;
    int (*action)(void *) = has_action(meeting->self) ? run_action : NULL;
    return mh_barrier_wait(meeting->self->barrier, action, meeting, deadline, waiting->cancel,
                           &meeting->index);
}

static PyObject *wait_alone(ext_barrier *self)
{
    if (mh_barrier_is_broken(self->barrier)) {
        return broken(self);
    }
    if (has_action(self) && call_action(self) < 0) {
        mh_barrier_abort(self->barrier);
        return NULL;
    }
    return PyLong_FromLong(0);
}

static PyObject *barrier_wait(ext_barrier *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"wait", 0, 1, 2, {"timeout", "cancel"}};
    PyObject *given[2] = {NULL, NULL};
    ext_until until;
    if (bare(self) ||
        ((nargs != 0 || kwnames != NULL) && ext_args(&signature, args, nargs, kwnames, given) < 0)) {
        return NULL;
    }
    if (given[0] == NULL || given[0] == Py_None) {
        given[0] = self->timeout;
    }
    if (ext_until_args((PyObject *) self, given[0], given[1], &until) < 0) {
        return NULL;
    }
    if (self->parties == 1) {
        return wait_alone(self);
    }
    struct meeting meeting = {.self = self};
    int rc = ext_wait((PyObject *) self, meet, &meeting, until);
    if (rc == EXT_RAISED) {
        return NULL;
    }
    return rc < 0 ? broken(self) : PyLong_FromUnsignedLong(meeting.index);
}

static PyObject *barrier_reset(ext_barrier *self, PyObject *unused)
{
    (void) unused;
    if (bare(self)) {
        return NULL;
    }
    mh_barrier_reset(self->barrier);
    Py_RETURN_NONE;
}

static PyObject *barrier_abort(ext_barrier *self, PyObject *unused)
{
    (void) unused;
    if (bare(self)) {
        return NULL;
    }
    mh_barrier_abort(self->barrier);
    Py_RETURN_NONE;
}

/* ---- attributes ---------------------------------------------------------------------------------------------- */

static PyObject *barrier_parties(ext_barrier *self, void *unused)
{
    (void) unused;
    return bare(self) ? NULL : PyLong_FromLong(self->parties);
}

static PyObject *barrier_n_waiting(ext_barrier *self, void *unused)
{
    (void) unused;
    return bare(self) ? NULL : PyLong_FromUnsignedLong(mh_barrier_waiting(self->barrier));
}

static PyObject *barrier_broken(ext_barrier *self, void *unused)
{
    (void) unused;
    return bare(self) ? NULL : PyBool_FromLong(mh_barrier_is_broken(self->barrier));
}

static PyObject *barrier_repr(ext_barrier *self)
{
    PyObject *name = ext_class_name((PyObject *) self, "threading");
    PyObject *text = NULL;
    if (name != NULL && self->barrier == NULL) {
        text = PyUnicode_FromFormat("<%U at %p>", name, self);
    } else if (name != NULL && mh_barrier_is_broken(self->barrier)) {
        text = PyUnicode_FromFormat("<%U at %p: broken>", name, self);
    } else if (name != NULL) {
        text = PyUnicode_FromFormat("<%U at %p: waiters=%u/%ld>", name, self,
                                    (unsigned) mh_barrier_waiting(self->barrier), self->parties);
    }
    Py_XDECREF(name);
    return text;
}

static PyMethodDef barrier_methods[] = {
    EXT_METHOD("wait", barrier_wait, EXT_FASTCALL,
               "wait($self, /, timeout=None, *, cancel=None)\n--\n\n"
               "Wait until all parties are here. Return a number from 0 to parties - 1, another for each.\n"
               "BrokenBarrierError where the barrier is or gets broken: by abort(), reset(), a time-out,\n"
               "an exception in the action, or a party that leaves."),
    EXT_METHOD(
        "reset", barrier_reset, METH_NOARGS,
        "reset($self, /)\n--\n\nMake the barrier whole and empty; those who wait get BrokenBarrierError."),
    EXT_METHOD("abort", barrier_abort, METH_NOARGS,
               "abort($self, /)\n--\n\nBreak the barrier, for those who wait and for those who will."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef barrier_getset[] = {
    {"parties", (getter) barrier_parties, NULL, PyDoc_STR("How many must come."), NULL},
    {"n_waiting", (getter) barrier_n_waiting, NULL, PyDoc_STR("How many wait now."), NULL},
    {"broken", (getter) barrier_broken, NULL, PyDoc_STR("Whether the barrier is broken."), NULL},
    {"_parties", (getter) barrier_parties, NULL, PyDoc_STR("As parties."), NULL},
    {"_count", (getter) barrier_n_waiting, NULL, PyDoc_STR("As n_waiting."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef barrier_members[] = {
    {"_action", Py_T_OBJECT_EX, offsetof(ext_barrier, action), Py_READONLY,
     PyDoc_STR("What the last to arrive calls.")},
    {"_timeout", Py_T_OBJECT_EX, offsetof(ext_barrier, timeout), Py_READONLY,
     PyDoc_STR("The default time-out.")},
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(ext_barrier, weakrefs), Py_READONLY, NULL},
    {"__dictoffset__", Py_T_PYSSIZET, offsetof(ext_barrier, dict), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot barrier_slots[] = {
    {Py_tp_doc,
     (void *) PyDoc_STR("Barrier(parties, action=None, timeout=None)\n--\n\n"
                        "A meeting point of a fixed number of threads, again and again. One of them calls\n"
                        "`action` before they go on; `timeout` is the default of wait().")},
    {Py_tp_new, barrier_new},
    {Py_tp_init, barrier_init},
    {Py_tp_dealloc, barrier_dealloc},
    {Py_tp_traverse, barrier_traverse},
    {Py_tp_clear, barrier_clear},
    {Py_tp_repr, barrier_repr},
    {Py_tp_methods, barrier_methods},
    {Py_tp_getset, barrier_getset},
    {Py_tp_members, barrier_members},
    {0, NULL},
};

static PyType_Spec barrier_spec = {
    .name = "manyhands.threading.Barrier",
    .basicsize = sizeof(ext_barrier),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = barrier_slots,
};

int ext_barrier_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, EXT_BARRIER_TYPE, &barrier_spec, NULL);
}
