/* threading.Event over mh_event. */
#include "locks.h"

#include "manyhands/event.h"

typedef struct ext_event {
    PyObject_HEAD
    mh_event event;
    PyObject *cond; /* `_cond`, made when somebody asks for it; NULL until then */
    PyObject *dict;
    PyObject *weakrefs;
} ext_event;

static PyObject *event_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void) args, (void) kwargs;
    ext_event *self = (ext_event *) type->tp_alloc(type, 0);
    if (self != NULL) {
        mh_event_init(&self->event, MH_PRIVATE);
    }
    return (PyObject *) self;
}

static int event_init(ext_event *self, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"Event", 0, 0, 0, {NULL}};
    if (ext_args_tuple(&signature, args, kwargs, NULL) < 0) {
        return -1;
    }
    mh_event_clear(&self->event);
    return 0;
}

static int event_traverse(ext_event *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->cond);
    Py_VISIT(self->dict);
    return 0;
}

static int event_clear_refs(ext_event *self)
{
    Py_CLEAR(self->cond);
    Py_CLEAR(self->dict);
    return 0;
}

static void event_dealloc(ext_event *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *) self);
    }
    event_clear_refs(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *event_is_set(ext_event *self, PyObject *unused)
{
    (void) unused;
    return PyBool_FromLong(mh_event_is_set(&self->event));
}

static PyObject *event_isset(ext_event *self, PyObject *unused)
{
    if (ext_deprecated("isSet() is deprecated, use is_set() instead") < 0) {
        return NULL;
    }
    return event_is_set(self, unused);
}

static PyObject *event_set(ext_event *self, PyObject *unused)
{
    (void) unused;
#ifndef Py_GIL_DISABLED
    /* Set already: nobody waits, and the GIL orders what was written before. */
    if (mh_event_is_set(&self->event)) {
        Py_RETURN_NONE;
    }
#endif
    if (mh_event_has_waiters(&self->event)) {
        PyThreadState *kept = ext_wake_begin((PyObject *) self);
        mh_event_set(&self->event);
        ext_wake_end(kept);
    } else {
        mh_event_set(&self->event);
    }
    Py_RETURN_NONE;
}

static PyObject *event_clear(ext_event *self, PyObject *unused)
{
    (void) unused;
    mh_event_clear(&self->event);
    Py_RETURN_NONE;
}

static int wait_for_event(void *event, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_event_wait(event, deadline, waiting->cancel);
}

static PyObject *event_wait(ext_event *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"wait", 0, 1, 2, {"timeout", "cancel"}};
    PyObject *given[2] = {NULL, NULL};
    ext_until until;
    if (nargs != 0 || kwnames != NULL) {
        if (ext_args(&signature, args, nargs, kwnames, given) < 0) {
            return NULL;
        }
    }
    if (mh_event_is_set(&self->event)) {
        Py_RETURN_TRUE;
    }
    if (ext_until_args((PyObject *) self, given[0], given[1], &until) < 0) {
        return NULL;
    }
    if (ext_wait_is_hopeless(until)) {
        return NULL;
    }
    return ext_waited(ext_wait((PyObject *) self, wait_for_event, &self->event, until));
}

static PyObject *event_at_fork_reinit(ext_event *self, PyObject *unused)
{
    (void) unused;
    int set = mh_event_is_set(&self->event);
    mh_event_init(&self->event,
                  MH_PRIVATE); /* forgets waiters of the parent, keeps the flag, as the stdlib */
    if (set) {
        mh_event_set(&self->event);
    }
    return self->cond == NULL ? Py_NewRef(Py_None) : PyObject_CallMethod(self->cond, "_at_fork_reinit", NULL);
}

static PyObject *event_repr(ext_event *self)
{
    PyObject *name = ext_class_name((PyObject *) self, "threading");
    PyObject *text = name == NULL ? NULL
                                  : PyUnicode_FromFormat("<%U at %p: %s>", name, self,
                                                         mh_event_is_set(&self->event) ? "set" : "unset");
    Py_XDECREF(name);
    return text;
}

static PyObject *event_get_flag(ext_event *self, void *unused)
{
    (void) unused;
    return PyBool_FromLong(mh_event_is_set(&self->event));
}

static PyObject *event_get_cond(ext_event *self, void *unused)
{
    (void) unused;
    return ext_lazy_cond((PyObject *) self, &self->cond);
}

static PyMethodDef event_methods[] = {
    EXT_METHOD("is_set", event_is_set, METH_NOARGS,
               "is_set($self, /)\n--\n\nReturn whether the flag is set."),
    EXT_METHOD("isSet", event_isset, METH_NOARGS, "isSet($self, /)\n--\n\nDeprecated: is_set()."),
    EXT_METHOD("set", event_set, METH_NOARGS,
               "set($self, /)\n--\n\nSet the flag, and wake all who wait for it."),
    EXT_METHOD("clear", event_clear, METH_NOARGS,
               "clear($self, /)\n--\n\nReset the flag: wait() waits again."),
    EXT_METHOD("wait", event_wait, EXT_FASTCALL,
               "wait($self, /, timeout=None, *, cancel=None)\n--\n\n"
               "Wait until the flag is set, at most `timeout` seconds. Return True, or False after a "
               "time-out. `cancel`: a\n"
               "CancelToken, which ends the wait with Cancelled."),
    EXT_METHOD("_at_fork_reinit", event_at_fork_reinit, METH_NOARGS,
               "_at_fork_reinit($self, /)\n--\n\nWithout waiters again, in a forked child."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef event_getset[] = {
    {"_flag", (getter) event_get_flag, NULL, PyDoc_STR("Whether the flag is set."), NULL},
    {"_cond", (getter) event_get_cond, NULL, PyDoc_STR("A condition, for code that looks for one here."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef event_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(ext_event, weakrefs), Py_READONLY, NULL},
    {"__dictoffset__", Py_T_PYSSIZET, offsetof(ext_event, dict), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot event_slots[] = {
    {Py_tp_doc, (void *) PyDoc_STR("Event()\n--\n\nA flag that threads can wait for. It is clear at first.")},
    {Py_tp_new, event_new},
    {Py_tp_init, event_init},
    {Py_tp_dealloc, event_dealloc},
    {Py_tp_traverse, event_traverse},
    {Py_tp_clear, event_clear_refs},
    {Py_tp_repr, event_repr},
    {Py_tp_methods, event_methods},
    {Py_tp_getset, event_getset},
    {Py_tp_members, event_members},
    {0, NULL},
};

static PyType_Spec event_spec = {
    .name = "manyhands.threading.Event",
    .basicsize = sizeof(ext_event),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = event_slots,
};

/* ---- Started: the event that a Thread sets once it runs, which brings the Thread's control ------------------------ */

typedef struct ext_started {
    ext_event event;
    PyObject *control;
} ext_started;

static PyObject *started_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    ext_started *self = (ext_started *) event_new(type, args, kwargs);
    PyObject *control_type = self == NULL ? NULL : ext_ref((PyObject *) self, EXT_CONTROL_TYPE);
    if (self != NULL) {
        self->control = control_type == NULL ? NULL : PyObject_CallNoArgs(control_type);
        if (self->control == NULL) {
            Py_CLEAR(self);
        }
    }
    return (PyObject *) self;
}

static void started_dealloc(ext_started *self)
{
    PyObject *control = self->control; /* holds no other object: no part of a cycle */
    event_dealloc(&self->event);
    Py_XDECREF(control);
}

static PyMemberDef started_members[] = {
    {"control", Py_T_OBJECT_EX, offsetof(ext_started, control), Py_READONLY,
     PyDoc_STR("The thread's Control.")},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot started_slots[] = {
    {Py_tp_doc,
     (void *) PyDoc_STR("Started()\n--\n\nAn event, with the control of the thread that sets it.")},
    {Py_tp_new, started_new},
    {Py_tp_dealloc, started_dealloc},
    {Py_tp_members, started_members},
    {0, NULL},
};

static PyType_Spec started_spec = {
    .name = "manyhands._core.Started",
    .basicsize = sizeof(ext_started),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = started_slots,
};

static int add_started(PyObject *module, ext_state *state)
{
    PyObject *bases = PyTuple_Pack(1, state->ref[EXT_EVENT_TYPE]);
    int rc = bases == NULL ? -1 : ext_add_type(module, state, -1, &started_spec, bases);
    Py_XDECREF(bases);
    return rc;
}

int ext_event_ready(PyObject *module, ext_state *state)
{
    int rc = ext_add_type(module, state, EXT_EVENT_TYPE, &event_spec, NULL);
    return rc < 0 ? rc : add_started(module, state);
}
