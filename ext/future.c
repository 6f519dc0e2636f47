/* concurrent.futures.Future, cheap: its state lies in fields, and the condition, the waiters and the callbacks of the standard
 * library's are made when somebody asks for them.
 *
 * `manyhands.futures.Future` is a subclass of this type and of the standard library's class, whose module functions (wait,
 * as_completed) lock `_condition`, look at `_state` and append to `_waiters` (future_attributes.c). How a change comes about
 * that they agree with stands in future_change.c. Who waits for a result waits for `done`, an event, in any case.
 *
 * What is never fast is left to the standard library's methods, over the attributes that this type has as theirs: how an
 * unexpected change is told of, and how the future prints itself.
 */
#include "future.h"

/* ---- life ------------------------------------------------------------------------------------------------------ */

static PyObject *future_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void) args, (void) kwargs;
    ext_future *self = (ext_future *) type->tp_alloc(type, 0);
    if (self != NULL) {
        mh_event_init(&self->done, MH_PRIVATE);
        self->number = -1;
    }
    return (PyObject *) self;
}

static int future_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"Future", 0, 0, 0, {NULL}};
    (void) self;
    return ext_args_tuple(&signature, args, kwargs, NULL);
}

#define REFERENCES 11

static void references(ext_future *self, PyObject **places[REFERENCES])
{
    PyObject **all[] = {&self->result,    &self->exception, &self->condition, &self->waiters,
                        &self->callbacks, &self->engine,    &self->call,      &self->options,
                        &self->worker,    &self->ended,     &self->alarm};
    memcpy(places, all, sizeof all);
}

static int future_traverse(ext_future *self, visitproc visit, void *arg)
{
    PyObject **places[REFERENCES];
    references(self, places);
    Py_VISIT(Py_TYPE(self));
    for (int i = 0; i < REFERENCES; i++) {
        Py_VISIT(*places[i]);
    }
    return 0;
}

static int future_clear(ext_future *self)
{
    PyObject **places[REFERENCES];
    references(self, places);
    for (int i = 0; i < REFERENCES; i++) {
        Py_CLEAR(*places[i]);
    }
    return 0;
}

static void future_dealloc(ext_future *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    future_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- methods ----------------------------------------------------------------------------------------------------- */

/* The standard library's method of that name, over our attributes: it finds the same and raises its own exception. */
static PyObject *by_stdlib(ext_future *self, const char *name, PyObject *value)
{
    PyObject *type = ext_ref((PyObject *) self, EXT_STD_FUTURE);
    PyObject *method = type == NULL ? NULL : PyObject_GetAttrString(type, name);
    PyObject *done = method == NULL ? NULL
                                    : PyObject_CallFunctionObjArgs(method, (PyObject *) self, value, NULL);
    Py_XDECREF(method);
    return done;
}

static PyObject *finish(ext_future *self, bool worked, PyObject *value)
{
    int rc = ext_future_finish(self, worked, value);
    if (rc == 0) {
        return by_stdlib(self, worked ? "set_result" : "set_exception", value);
    }
    return rc < 0 || ext_future_tell(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *future_set_result(ext_future *self, PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *kwnames)
{
    static const ext_signature signature = {"set_result", 1, 1, 1, {"result"}};
    PyObject *value = NULL;
    return ext_args(&signature, args, nargs, kwnames, &value) < 0 ? NULL : finish(self, true, value);
}

static PyObject *future_set_exception(ext_future *self, PyObject *const *args, Py_ssize_t nargs,
                                      PyObject *kwnames)
{
    static const ext_signature signature = {"set_exception", 1, 1, 1, {"exception"}};
    PyObject *value = NULL;
    return ext_args(&signature, args, nargs, kwnames, &value) < 0 ? NULL : finish(self, false, value);
}

static PyObject *future_run(ext_future *self, PyObject *unused)
{
    (void) unused;
    bool runs;
    int rc = ext_future_run(self, &runs);
    if (rc == 0) {
        return by_stdlib(self, "set_running_or_notify_cancel", NULL);
    }
    return rc < 0 ? NULL : PyBool_FromLong(runs);
}

static PyObject *future_cancel(ext_future *self, PyObject *unused)
{
    (void) unused;
    int rc = ext_future_cancel(self);
    if (rc > 0 && ext_future_tell(self) < 0) {
        rc = -1;
    }
    enum ext_future_state state = ext_future_state_of(self);
    return rc < 0 ? NULL : PyBool_FromLong(state == EXT_F_CANCELLED || state == EXT_F_NOTIFIED);
}

static PyObject *future_cancel_running(ext_future *self, PyObject *unused)
{
    (void) unused;
    int rc = ext_future_cancel_running(self);
    return rc < 0 || (rc > 0 && ext_future_tell(self) < 0) ? NULL : PyBool_FromLong(rc > 0);
}

static PyObject *future_cancelled(ext_future *self, PyObject *unused)
{
    (void) unused;
    enum ext_future_state state = ext_future_state_of(self);
    return PyBool_FromLong(state == EXT_F_CANCELLED || state == EXT_F_NOTIFIED);
}

static PyObject *future_running(ext_future *self, PyObject *unused)
{
    (void) unused;
    return PyBool_FromLong(ext_future_state_of(self) == EXT_F_RUNNING);
}

static PyObject *future_done(ext_future *self, PyObject *unused)
{
    (void) unused;
    return PyBool_FromLong(ext_future_is_done(self));
}

static PyObject *future_add_done_callback(ext_future *self, PyObject *const *args, Py_ssize_t nargs,
                                          PyObject *kwnames)
{
    static const ext_signature signature = {"add_done_callback", 1, 1, 1, {"fn"}};
    PyObject *callback = NULL;
    if (ext_args(&signature, args, nargs, kwnames, &callback) < 0) {
        return NULL;
    }
    int rc = ext_future_add_callback(self, callback);
    if (rc == 0) {
        rc = ext_future_call_back(self, callback);
    }
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *future_invoke_callbacks(ext_future *self, PyObject *unused)
{
    (void) unused;
    return ext_future_call_callbacks(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *future_begin(ext_future *self, PyObject *worker)
{
    int rc = ext_future_begin(self, worker);
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

static PyObject *future_take_away(ext_future *self, PyObject *unused)
{
    (void) unused;
    PyObject *worker = ext_future_field(self, &self->worker);
    int rc = worker == NULL ? 0 : ext_future_give_back(self, worker);
    if (rc > 0) {
        return worker;
    }
    Py_XDECREF(worker);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- result ------------------------------------------------------------------------------------------------------ */

static int wait_for_event(void *event, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_event_wait(event, deadline, waiting->cancel);
}

/* Before a wait: its executor may let the calling thread run the task, or take results in, which nobody else would do. */
static int ask_for_help(ext_future *self, ext_until until)
{
    PyObject *limited = until.at == MH_FOREVER ? Py_False : Py_True;
    PyObject *args[] = {ext_future_field(self, &self->engine), (PyObject *) self, limited};
    PyObject *done = args[0] == NULL ? Py_NewRef(Py_None) : ext_call_method("help", args, 3);
    Py_XDECREF(args[0]);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int wait_until_done(ext_future *self, ext_until until)
{
    if (ext_future_is_done(self)) {
        return 0;
    }
    if (ask_for_help(self, until) < 0) {
        return -1;
    }
    while (!ext_future_is_done(self)) {
        if (ext_wait_is_hopeless(until)) {
            return -1;
        }
        int rc = ext_wait((PyObject *) self, wait_for_event, &self->done, until);
        if (rc == -ETIMEDOUT && !ext_future_is_done(self)) {
            PyErr_SetNone(PyExc_TimeoutError);
            return -1;
        }
        if (rc == EXT_RAISED) {
            return -1;
        }
    }
    return 0;
}

/* 0: it is done, and was not cancelled. */
static int wait_for_outcome(ext_future *self, const char *function, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames)
{
    ext_until until = EXT_FOREVER;
    if ((nargs != 0 || kwnames != NULL) &&
        ext_wait_args((PyObject *) self, function, args, nargs, kwnames, &until) < 0) {
        return -1;
    }
    if (wait_until_done(self, until) < 0) {
        return -1;
    }
    if (ext_future_state_of(self) != EXT_F_FINISHED) {
        ext_raise((PyObject *) self, EXT_CANCELLED_ERROR, NULL);
        return -1;
    }
    return 0;
}

/* Ctrl-C reaches the workers of a terminal's group as well. What one of them makes of it may be here before the calling
 * thread has looked at its own: that one is raised, alone. */
static void raise_exception(PyObject *error)
{
    if (PyErr_CheckSignals() < 0) {
        return;
    }
    if (PyExceptionInstance_Check(error)) {
        PyErr_SetObject((PyObject *) Py_TYPE(error), error);
    } else if (PyExceptionClass_Check(error)) {
        PyErr_SetNone(error);
    } else {
        PyErr_SetString(PyExc_TypeError, "exceptions must derive from BaseException");
    }
}

static PyObject *future_result(ext_future *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (wait_for_outcome(self, "result", args, nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *error = ext_future_field(self, &self->exception);
    if (error != NULL && error != Py_None) {
        raise_exception(error);
        Py_DECREF(error);
        return NULL;
    }
    Py_XDECREF(error);
    PyObject *result = ext_future_field(self, &self->result);
    return result == NULL ? Py_NewRef(Py_None) : result;
}

static PyObject *future_exception(ext_future *self, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kwnames)
{
    if (wait_for_outcome(self, "exception", args, nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *error = ext_future_field(self, &self->exception);
    return error == NULL ? Py_NewRef(Py_None) : error;
}

/* ---- the type -------------------------------------------------------------------------------------------------- */

static PyMethodDef future_methods[] = {
    EXT_METHOD("cancel", future_cancel, METH_NOARGS,
               "cancel($self, /)\n--\n\nCancel it, if it has not begun. Return whether it is cancelled."),
    EXT_METHOD("cancelled", future_cancelled, METH_NOARGS,
               "cancelled($self, /)\n--\n\nReturn whether it was cancelled."),
    EXT_METHOD("running", future_running, METH_NOARGS,
               "running($self, /)\n--\n\nReturn whether it is being run."),
    EXT_METHOD("done", future_done, METH_NOARGS,
               "done($self, /)\n--\n\nReturn whether it has ended, or was cancelled."),
    EXT_METHOD(
        "result", future_result, EXT_FASTCALL,
        "result($self, /, timeout=None, *, cancel=None)\n--\n\n"
        "Return what the call returned, or raise what it raised. TimeoutError after `timeout` seconds,\n"
        "CancelledError where it was cancelled. `cancel`: a CancelToken, which ends the wait with "
        "Cancelled."),
    EXT_METHOD(
        "exception", future_exception, EXT_FASTCALL,
        "exception($self, /, timeout=None, *, cancel=None)\n--\n\n"
        "Return the exception that the call raised, None where it returned. Waits and raises as result()."),
    EXT_METHOD("add_done_callback", future_add_done_callback, EXT_FASTCALL,
               "add_done_callback($self, /, fn)\n--\n\n"
               "Call fn(self) once it is done; at once where it is. Exceptions of fn are logged."),
    EXT_METHOD("set_running_or_notify_cancel", future_run, METH_NOARGS,
               "set_running_or_notify_cancel($self, /)\n--\n\n"
               "For executors: return True where it is to be run, False where it was cancelled."),
    EXT_METHOD("set_result", future_set_result, EXT_FASTCALL,
               "set_result($self, /, result)\n--\n\nFor executors: what the call returned."),
    EXT_METHOD("set_exception", future_set_exception, EXT_FASTCALL,
               "set_exception($self, /, exception)\n--\n\nFor executors: what the call raised."),
    EXT_METHOD("_invoke_callbacks", future_invoke_callbacks, METH_NOARGS,
               "_invoke_callbacks($self, /)\n--\n\nCall the callbacks."),
    EXT_METHOD("_begin", future_begin, METH_O,
               "_begin($self, worker, /)\n--\n\nReturn whether `worker` is to run it; it is running then."),
    EXT_METHOD("_take_away", future_take_away, METH_NOARGS,
               "_take_away($self, /)\n--\n\nTake it from its worker, which is returned; None: it has none."),
    EXT_METHOD("_cancel_running", future_cancel_running, METH_NOARGS,
               "_cancel_running($self, /)\n--\n\nCancel it where it is running; return whether it was."),
    {NULL, NULL, 0, NULL},
};

static PyMemberDef future_members[] = {
    {"_runs", Py_T_INT, offsetof(ext_future, runs), 0, NULL},
    {"_number", Py_T_INT, offsetof(ext_future, number), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot future_slots[] = {
    {Py_tp_doc, (void *) PyDoc_STR("Future()\n--\n\nThe result of a call that is made elsewhere.")},
    {Py_tp_new, future_new},
    {Py_tp_init, future_init},
    {Py_tp_dealloc, future_dealloc},
    {Py_tp_traverse, future_traverse},
    {Py_tp_clear, future_clear},
    {Py_tp_methods, future_methods},
    {Py_tp_getset, ext_future_attributes},
    {Py_tp_members, future_members},
    {0, NULL},
};

static PyType_Spec future_spec = {
    .name = "manyhands._core.FutureBase",
    .basicsize = sizeof(ext_future),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = future_slots,
};

int ext_future_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, EXT_FUTURE_TYPE, &future_spec, NULL);
}
