/* CancelToken over mh_cancel: a value that ends every wait which is handed it. Used once: there is no way back, so that
 * who looks late still sees it.
 */
#include "common.h"

struct ext_cancel {
    PyObject_HEAD
    mh_cancel word;
    PyObject *reason; /* str; NULL: none. Written once, before the request */
    PyObject *weakrefs;
};

mh_cancel *ext_cancel_word(ext_cancel *self)
{
    return self == NULL ? NULL : &self->word;
}

int ext_cancel_raise(PyObject *self, ext_cancel *cancel)
{
    PyObject *type = ext_ref(self, EXT_CANCELLED);
    if (type != NULL && cancel->reason != NULL) {
        PyErr_SetObject(type, cancel->reason);
    } else if (type != NULL) {
        PyErr_SetString(type, "cancelled by the CancelToken");
    }
    return EXT_RAISED;
}

static PyObject *cancel_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"CancelToken", 0, 0, 0, {NULL}};
    if (ext_args_tuple(&signature, args, kwargs, NULL) < 0) {
        return NULL;
    }
    ext_cancel *self = (ext_cancel *) type->tp_alloc(type, 0);
    if (self != NULL) {
        mh_cancel_init(&self->word, MH_PRIVATE);
    }
    return (PyObject *) self;
}

static void cancel_dealloc(ext_cancel *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *) self);
    }
    Py_XDECREF(self->reason);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *cancel_cancel(ext_cancel *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"cancel", 0, 1, 1, {"reason"}};
    PyObject *reason = NULL;
    if (ext_args(&signature, args, nargs, kwnames, &reason) < 0) {
        return NULL;
    }
    if (reason != NULL && reason != Py_None && !PyUnicode_Check(reason)) {
        ext_refuse(PyExc_TypeError, "MH-ARGUMENT", "reason must be a string or None, not %.200s",
                   Py_TYPE(reason)->tp_name);
        return NULL;
    }
    EXT_CRITICAL_BEGIN((PyObject *) self); /* the first reason is the reason */
    if (!mh_cancel_requested(&self->word)) {
        self->reason = reason == NULL || reason == Py_None ? NULL : Py_NewRef(reason);
        mh_cancel_request(&self->word);
    }
    EXT_CRITICAL_END;
    Py_RETURN_NONE;
}

static PyObject *cancel_cancelled(ext_cancel *self, PyObject *unused)
{
    (void) unused;
    return PyBool_FromLong(mh_cancel_requested(&self->word));
}

static PyObject *cancel_raise_if(ext_cancel *self, PyObject *unused)
{
    (void) unused;
    if (mh_cancel_requested(&self->word)) {
        (void) ext_cancel_raise((PyObject *) self, self);
        return NULL;
    }
    Py_RETURN_NONE;
}

static int wait_for_request(void *token, mh_deadline deadline, ext_waiting *waiting)
{
    (void) waiting;
    MH_ATOMIC(uint32_t) never = 0;
    int rc = 0;
    while (rc == 0 && !mh_cancel_requested(token)) {
        rc = mh_wait(&never, 0, deadline, token, MH_PRIVATE);
    }
    return mh_cancel_requested(token) ? 0 : rc;
}

static PyObject *cancel_wait(ext_cancel *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"wait", 0, 1, 1, {"timeout"}};
    PyObject *timeout = NULL;
    ext_until until = EXT_FOREVER;
    if (ext_args(&signature, args, nargs, kwnames, &timeout) < 0 || ext_deadline(timeout, &until.at) < 0) {
        return NULL;
    }
    if (mh_cancel_requested(&self->word)) {
        Py_RETURN_TRUE;
    }
    return ext_waited(ext_wait((PyObject *) self, wait_for_request, &self->word, until));
}

static PyObject *cancel_get_reason(ext_cancel *self, void *unused)
{
    (void) unused;
    bool there = mh_cancel_requested(&self->word) && self->reason != NULL;
    return Py_NewRef(there ? self->reason : Py_None);
}

static PyObject *cancel_repr(ext_cancel *self)
{
    if (!mh_cancel_requested(&self->word)) {
        return PyUnicode_FromFormat("<CancelToken at %p>", self);
    }
    return self->reason == NULL
               ? PyUnicode_FromFormat("<CancelToken at %p: cancelled>", self)
               : PyUnicode_FromFormat("<CancelToken at %p: cancelled, %R>", self, self->reason);
}

static PyMethodDef cancel_methods[] = {
    EXT_METHOD(
        "cancel", cancel_cancel, EXT_FASTCALL,
        "cancel($self, /, reason=None)\n--\n\n"
        "Cancel, for good: every wait that was or will be handed the token raises Cancelled, with the\n"
        "reason as its message. Any thread or signal handler may call it, again without effect."),
    EXT_METHOD("cancelled", cancel_cancelled, METH_NOARGS,
               "cancelled($self, /)\n--\n\nReturn whether cancel() was called."),
    EXT_METHOD(
        "raise_if_cancelled", cancel_raise_if, METH_NOARGS,
        "raise_if_cancelled($self, /)\n--\n\nRaise Cancelled where cancel() was called: for loops that "
        "compute."),
    EXT_METHOD(
        "wait", cancel_wait, EXT_FASTCALL,
        "wait($self, /, timeout=None)\n--\n\n"
        "Wait until cancel() is called, at most `timeout` seconds. Return whether it was: a sleep that can "
        "be cut short."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef cancel_getset[] = {
    {"reason", (getter) cancel_get_reason, NULL, PyDoc_STR("What the first cancel() gave, or None."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef cancel_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(ext_cancel, weakrefs), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot cancel_slots[] = {
    {Py_tp_doc, (void *) PyDoc_STR(
                    "CancelToken()\n--\n\n"
                    "Cancellation as a value. Hand it to any waits as `cancel=`; cancel() ends them all.")},
    {Py_tp_new, cancel_new},
    {Py_tp_dealloc, cancel_dealloc},
    {Py_tp_repr, cancel_repr},
    {Py_tp_methods, cancel_methods},
    {Py_tp_getset, cancel_getset},
    {Py_tp_members, cancel_members},
    {0, NULL},
};

static PyType_Spec cancel_spec = {
    .name = "manyhands.CancelToken",
    .basicsize = sizeof(ext_cancel),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = cancel_slots,
};

int ext_cancel_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, EXT_CANCEL_TYPE, &cancel_spec, NULL);
}
