/* concurrent.futures.Future, cheap: its state lies in fields, and the condition, the waiters and the callbacks of the standard
 * library's are made when somebody asks for them.
 *
 * `manyhands.futures.Future` is a subclass of this type and of the standard library's class, whose module functions (wait,
 * as_completed) lock `_condition`, look at `_state` and append to `_waiters`. So: as long as nobody has seen the condition, a
 * change is one step under the GIL (free-threaded builds: in a critical section of the future); from the moment at which it
 * is handed out, every change takes its lock. Who waits for a result waits for `done`, an event, in either case.
 *
 * What is never fast is left to the standard library's methods, over the attributes that this type has as theirs: how an
 * unexpected change is told of, and how the future prints itself.
 */
#include "future.h"
#include "locks.h"

static const char *const state_names[] = {"PENDING", "RUNNING", "CANCELLED", "CANCELLED_AND_NOTIFIED",
                                          "FINISHED"};

static bool is_done(const ext_future *self)
{
    return ext_future_state_of(self) >= EXT_F_CANCELLED;
}

static void set_state(ext_future *self, enum ext_future_state state)
{
    /* release: the result before it; pairs with ext_future_state_of() */
    atomic_store_explicit(&self->state, (unsigned char) state, memory_order_release);
}

/* What a field holds, or NULL. New reference. */
static PyObject *field(ext_future *self, PyObject **place)
{
    PyObject *value;
    (void) self;
    EXT_CRITICAL_BEGIN(self);
    value = Py_XNewRef(*place);
    EXT_CRITICAL_END;
    return value;
}

/* Takes the reference. */
static void set_field(ext_future *self, PyObject **place, PyObject *value)
{
    PyObject *old;
    (void) self;
    EXT_CRITICAL_BEGIN(self);
    old = *place;
    *place = value;
    EXT_CRITICAL_END;
    Py_XDECREF(old);
}

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

/* ---- changes --------------------------------------------------------------------------------------------------- */

/* What a step did. Below 0: an exception is set. */
enum { REFUSED = 0, MADE = 1, TELL = 2, NOTIFY = 4 };

/* Look at the state and change it. Runs no Python code, allocates no object. */
typedef int (*step)(ext_future *self, PyObject *arg);

static int call0(PyObject *object, const char *name)
{
    PyObject *done = ext_call_method(name, &object, 1);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* waiter.add_result(self), and so on, for each who waits in wait() or as_completed(). */
static int tell_waiters(ext_future *self, const char *verb)
{
    PyObject *waiters = field(self, &self->waiters);
    int rc = 0;
    for (Py_ssize_t i = 0; waiters != NULL && rc == 0 && i < PyList_GET_SIZE(waiters); i++) {
        PyObject *args[] = {PySequence_GetItem(waiters, i), (PyObject *) self};
        PyObject *done = args[0] == NULL ? NULL : ext_call_method(verb, args, 2);
        Py_XDECREF(args[0]);
        Py_XDECREF(done);
        rc = done == NULL ? -1 : 0;
    }
    Py_XDECREF(waiters);
    return rc;
}

/* Someone has seen the condition: under its lock. */
static int change_locked(ext_future *self, PyObject *condition, step make, PyObject *arg, const char *verb)
{
    if (call0(condition, "acquire") < 0) {
        return -1;
    }
    int rc;
    EXT_CRITICAL_BEGIN(self);
    rc = make(self, arg);
    EXT_CRITICAL_END;
    int failed = rc > 0 && rc & TELL ? tell_waiters(self, verb) : 0;
    if (failed == 0 && rc > 0 && rc & NOTIFY) {
        failed = call0(condition, "notify_all");
    }
    PyObject *error = ext_error_take();
    failed = call0(condition, "release") < 0 || failed < 0 ? -1 : 0;
    if (error != NULL) {
        ext_error_put(error);
    }
    return failed < 0 ? -1 : rc;
}

/* `verb`: what the waiters are told by a step that returns TELL. */
static int change(ext_future *self, step make, PyObject *arg, const char *verb)
{
    PyObject *condition;
    int rc = 0;
    EXT_CRITICAL_BEGIN(self);
    condition = Py_XNewRef(self->condition);
    if (condition == NULL) {
        rc = make(self, arg); /* nobody can have put a waiter */
    }
    EXT_CRITICAL_END;
    if (condition != NULL) {
        rc = change_locked(self, condition, make, arg, verb);
        Py_DECREF(condition);
    }
    return rc;
}

static int finish_step(ext_future *self, PyObject **place, PyObject *value)
{
    if (is_done(self)) {
        return REFUSED;
    }
    PyObject *old = *place; /* of a future that a program has put together by hand */
    *place = Py_NewRef(value);
    set_state(self, EXT_F_FINISHED);
    Py_XDECREF(old); /* may run code: the change is complete */
    return MADE | TELL | NOTIFY;
}

static int result_step(ext_future *self, PyObject *value)
{
    return finish_step(self, &self->result, value);
}

static int exception_step(ext_future *self, PyObject *value)
{
    return finish_step(self, &self->exception, value);
}

static int cancel_step(ext_future *self, PyObject *unused)
{
    (void) unused;
    if (ext_future_state_of(self) != EXT_F_PENDING) {
        return REFUSED;
    }
    set_state(self, EXT_F_CANCELLED);
    return MADE | NOTIFY;
}

static int cancel_running_step(ext_future *self, PyObject *unused)
{
    (void) unused;
    if (ext_future_state_of(self) != EXT_F_RUNNING) {
        return REFUSED;
    }
    set_state(self, EXT_F_NOTIFIED);
    return MADE | TELL | NOTIFY;
}

static int run_step(ext_future *self, PyObject *unused)
{
    (void) unused;
    switch (ext_future_state_of(self)) {
    case EXT_F_PENDING:
        set_state(self, EXT_F_RUNNING);
        return MADE;
    case EXT_F_CANCELLED:
        set_state(self, EXT_F_NOTIFIED);
        return TELL;
    default:
        return REFUSED;
    }
}

static int note_cancel_step(ext_future *self, PyObject *unused)
{
    return ext_future_state_of(self) == EXT_F_CANCELLED ? run_step(self, unused) : REFUSED;
}

static int begin_step(ext_future *self, PyObject *worker)
{
    if (self->worker != NULL || is_done(self)) {
        return REFUSED;
    }
    self->worker = Py_NewRef(worker);
    self->runs++;
    set_state(self, EXT_F_RUNNING);
    return MADE;
}

static int give_back_step(ext_future *self, PyObject *worker)
{
    if (self->worker != worker) {
        return REFUSED;
    }
    self->worker = NULL;
    Py_DECREF(worker); /* the caller has it as well */
    return MADE;
}

/* `list`: for the first one, since a step makes nothing. */
typedef struct adding {
    PyObject *callback, *list;
} adding;

static int add_step(ext_future *self, PyObject *arg)
{
    adding *more = (adding *) arg;
    if (is_done(self)) {
        return REFUSED;
    }
    if (self->callbacks == NULL) {
        self->callbacks = more->list;
        more->list = NULL;
    }
    return PyList_Append(self->callbacks, more->callback) < 0 ? -1 : MADE;
}

/* ---- what others are told ---------------------------------------------------------------------------------------- */

/* Exceptions of callbacks are logged, as by the standard library. */
static int call_back(ext_future *self, PyObject *callback)
{
    PyObject *done = PyObject_CallOneArg(callback, (PyObject *) self);
    if (done == NULL && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyObject *error = ext_error_take();
        PyObject *log = ext_ref((PyObject *) self, EXT_CALLBACK_FAILED);
        done = log == NULL ? NULL : PyObject_CallFunctionObjArgs(log, (PyObject *) self, error, NULL);
        Py_XDECREF(error);
    }
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int call_callbacks(ext_future *self)
{
    PyObject *callbacks = field(self, &self->callbacks);
    int rc = 0;
    for (Py_ssize_t i = 0; callbacks != NULL && rc == 0 && i < PyList_GET_SIZE(callbacks); i++) {
        PyObject *callback = PySequence_GetItem(callbacks, i);
        rc = callback == NULL ? -1 : call_back(self, callback);
        Py_XDECREF(callback);
    }
    Py_XDECREF(callbacks);
    return rc;
}

static void wake(ext_future *self)
{
    if (mh_event_has_waiters(&self->done)) {
        PyThreadState *kept = ext_wake_begin((PyObject *) self);
        mh_event_set(&self->done);
        ext_wake_end(kept);
    } else {
        mh_event_set(&self->done);
    }
}

int ext_future_tell(ext_future *self)
{
    wake(self);
    return call_callbacks(self); /* none are added once it is done */
}

bool ext_future_has_callbacks(ext_future *self)
{
    bool has;
    EXT_CRITICAL_BEGIN(self);
    has = self->callbacks != NULL;
    EXT_CRITICAL_END;
    return has;
}

int ext_future_begin(ext_future *self, PyObject *worker)
{
    return change(self, begin_step, worker, NULL);
}

int ext_future_give_back(ext_future *self, PyObject *worker)
{
    return change(self, give_back_step, worker, NULL);
}

int ext_future_finish(ext_future *self, bool worked, PyObject *value)
{
    return worked ? change(self, result_step, value, "add_result")
                  : change(self, exception_step, value, "add_exception");
}

int ext_future_note_cancel(ext_future *self)
{
    return change(self, note_cancel_step, NULL, "add_cancelled") < 0 ? -1 : 0;
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
    if (rc == REFUSED) {
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
    int rc = change(self, run_step, NULL, "add_cancelled");
    if (rc == REFUSED) {
        return by_stdlib(self, "set_running_or_notify_cancel", NULL);
    }
    return rc < 0 ? NULL : PyBool_FromLong(rc == MADE);
}

/* Cancelled by `make`, or before. */
static PyObject *cancel_by(ext_future *self, step make)
{
    int rc = change(self, make, NULL, "add_cancelled");
    if (rc > 0 && ext_future_tell(self) < 0) {
        rc = -1;
    }
    enum ext_future_state state = ext_future_state_of(self);
    return rc < 0 ? NULL : PyBool_FromLong(state == EXT_F_CANCELLED || state == EXT_F_NOTIFIED);
}

static PyObject *future_cancel(ext_future *self, PyObject *unused)
{
    (void) unused;
    return cancel_by(self, cancel_step);
}

static PyObject *future_cancel_running(ext_future *self, PyObject *unused)
{
    (void) unused;
    int rc = change(self, cancel_running_step, NULL, "add_cancelled");
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
    return PyBool_FromLong(is_done(self));
}

static PyObject *future_add_done_callback(ext_future *self, PyObject *const *args, Py_ssize_t nargs,
                                          PyObject *kwnames)
{
    static const ext_signature signature = {"add_done_callback", 1, 1, 1, {"fn"}};
    adding more = {NULL, NULL};
    if (ext_args(&signature, args, nargs, kwnames, &more.callback) < 0 ||
        (more.list = PyList_New(0)) == NULL) {
        return NULL;
    }
    int rc = change(self, add_step, (PyObject *) &more, NULL);
    Py_XDECREF(more.list);
    if (rc == REFUSED) {
        rc = call_back(self, more.callback);
    }
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *future_invoke_callbacks(ext_future *self, PyObject *unused)
{
    (void) unused;
    return call_callbacks(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *future_begin(ext_future *self, PyObject *worker)
{
    int rc = ext_future_begin(self, worker);
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

static PyObject *future_take_away(ext_future *self, PyObject *unused)
{
    (void) unused;
    PyObject *worker = field(self, &self->worker);
    int rc = worker == NULL ? REFUSED : ext_future_give_back(self, worker);
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
    PyObject *args[] = {field(self, &self->engine), (PyObject *) self, limited};
    PyObject *done = args[0] == NULL ? Py_NewRef(Py_None) : ext_call_method("help", args, 3);
    Py_XDECREF(args[0]);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int wait_until_done(ext_future *self, ext_until until)
{
    if (is_done(self)) {
        return 0;
    }
    if (ask_for_help(self, until) < 0) {
        return -1;
    }
    while (!is_done(self)) {
        if (ext_wait_is_hopeless(until)) {
            return -1;
        }
        int rc = ext_wait((PyObject *) self, wait_for_event, &self->done, until);
        if (rc == -ETIMEDOUT && !is_done(self)) {
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

static void raise_exception(PyObject *error)
{
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
    PyObject *error = field(self, &self->exception);
    if (error != NULL && error != Py_None) {
        raise_exception(error);
        Py_DECREF(error);
        return NULL;
    }
    Py_XDECREF(error);
    PyObject *result = field(self, &self->result);
    return result == NULL ? Py_NewRef(Py_None) : result;
}

static PyObject *future_exception(ext_future *self, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kwnames)
{
    if (wait_for_outcome(self, "exception", args, nargs, kwnames) < 0) {
        return NULL;
    }
    PyObject *error = field(self, &self->exception);
    return error == NULL ? Py_NewRef(Py_None) : error;
}

/* ---- attributes, as the standard library's module functions and other programs know them --------------------------- */

static PyObject *make_condition(ext_future *self)
{
    PyObject *condition = field(self, &self->condition);
    if (condition != NULL) {
        return condition;
    }
    PyObject *type = ext_ref((PyObject *) self, EXT_CONDITION_TYPE);
    PyObject *made = type == NULL ? NULL : PyObject_CallNoArgs(type);
    if (made == NULL) {
        return NULL;
    }
    EXT_CRITICAL_BEGIN(self);
    if (self->condition == NULL) {
        self->condition = Py_NewRef(made);
    }
    condition = Py_NewRef(self->condition);
    EXT_CRITICAL_END;
    Py_DECREF(made);
    return condition;
}

static PyObject *get_condition(ext_future *self, void *unused)
{
    (void) unused;
    return make_condition(self);
}

/* The list at `place`, made where there is none. Who has it may change it: under the condition's lock, and so do we. */
static PyObject *get_list(ext_future *self, PyObject **place)
{
    PyObject *condition = make_condition(self), *made = condition == NULL ? NULL : PyList_New(0), *list;
    Py_XDECREF(condition);
    if (made == NULL) {
        return NULL;
    }
    EXT_CRITICAL_BEGIN(self);
    if (*place == NULL) {
        *place = Py_NewRef(made);
    }
    list = Py_NewRef(*place);
    EXT_CRITICAL_END;
    Py_DECREF(made);
    return list;
}

static PyObject *get_waiters(ext_future *self, void *unused)
{
    (void) unused;
    return get_list(self, &self->waiters);
}

static PyObject *get_callbacks(ext_future *self, void *unused)
{
    (void) unused;
    return get_list(self, &self->callbacks);
}

static PyObject *get_state(ext_future *self, void *unused)
{
    (void) unused;
    return PyUnicode_InternFromString(state_names[ext_future_state_of(self)]);
}

/* The field at that offset; NULL reads as None. */
static PyObject **place_of(ext_future *self, void *offset)
{
    return (PyObject **) ((char *) self + (uintptr_t) offset);
}

static PyObject *get_reference(ext_future *self, void *offset)
{
    PyObject *value = field(self, place_of(self, offset));
    return value == NULL ? Py_NewRef(Py_None) : value;
}

static int undeletable(PyObject *value)
{
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "attributes of a Future cannot be deleted");
        return -1;
    }
    return 0;
}

static int set_condition(ext_future *self, PyObject *value, void *unused)
{
    (void) unused;
    if (undeletable(value) < 0) {
        return -1;
    }
    set_field(self, &self->condition, Py_NewRef(value));
    return 0;
}

static int set_list(ext_future *self, PyObject **place, PyObject *value)
{
    if (undeletable(value) < 0) {
        return -1;
    }
    if (!PyList_Check(value)) {
        PyErr_Format(PyExc_TypeError, "a list, not %.200s", Py_TYPE(value)->tp_name);
        return -1;
    }
    PyObject *condition = make_condition(self);
    if (condition == NULL) {
        return -1;
    }
    Py_DECREF(condition);
    set_field(self, place, Py_NewRef(value));
    return 0;
}

static int set_waiters(ext_future *self, PyObject *value, void *unused)
{
    (void) unused;
    return set_list(self, &self->waiters, value);
}

static int set_callbacks(ext_future *self, PyObject *value, void *unused)
{
    (void) unused;
    return set_list(self, &self->callbacks, value);
}

static int set_state_name(ext_future *self, PyObject *value, void *unused)
{
    (void) unused;
    if (undeletable(value) < 0) {
        return -1;
    }
    for (size_t i = 0; PyUnicode_Check(value) && i < sizeof state_names / sizeof state_names[0]; i++) {
        if (PyUnicode_CompareWithASCIIString(value, state_names[i]) == 0) {
            set_state(self, (enum ext_future_state) i);
            if (i >= EXT_F_CANCELLED) {
                wake(self);
            } else {
                mh_event_clear(&self->done);
            }
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "not a state of a Future: %R", value);
    return -1;
}

static int set_reference(ext_future *self, PyObject *value, void *offset)
{
    if (undeletable(value) < 0) {
        return -1;
    }
    set_field(self, place_of(self, offset), value == Py_None ? NULL : Py_NewRef(value));
    return 0;
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

#define GETSET(name, get, set) {name, (getter) (get), (setter) (set), NULL, NULL}
#define REFERENCE(name, field) \
    {name, (getter) get_reference, (setter) set_reference, NULL, (void *) offsetof(ext_future, field)}

static PyGetSetDef future_getset[] = {
    GETSET("_condition", get_condition, set_condition),
    GETSET("_state", get_state, set_state_name),
    GETSET("_waiters", get_waiters, set_waiters),
    GETSET("_done_callbacks", get_callbacks, set_callbacks),
    REFERENCE("_result", result),
    REFERENCE("_exception", exception),
    REFERENCE("_engine", engine),
    REFERENCE("_call", call),
    REFERENCE("_options", options),
    REFERENCE("_worker", worker),
    REFERENCE("_ended", ended),
    REFERENCE("_alarm", alarm),
    {NULL, NULL, NULL, NULL, NULL},
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
    {Py_tp_getset, future_getset},
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
