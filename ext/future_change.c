/* How a future changes, and who is told: for its methods, and for the executors that run it.
 *
 * As long as nobody has seen the condition, a change is one step under the GIL (free-threaded builds: in a critical section of
 * the future); from the moment at which it is handed out, every change takes its lock.
 */
#include "future.h"
#include "locks.h"

void ext_future_set_state(ext_future *self, enum ext_future_state state)
{
    /* release: the result before it; pairs with ext_future_state_of() */
    atomic_store_explicit(&self->state, (unsigned char) state, memory_order_release);
}

/* What a field holds, or NULL. New reference. */
PyObject *ext_future_field(ext_future *self, PyObject **place)
{
    PyObject *value;
    (void) self;
    EXT_CRITICAL_BEGIN(self);
    value = Py_XNewRef(*place);
    EXT_CRITICAL_END;
    return value;
}

/* Takes the reference. */
void ext_future_set_field(ext_future *self, PyObject **place, PyObject *value)
{
    PyObject *old;
    (void) self;
    EXT_CRITICAL_BEGIN(self);
    old = *place;
    *place = value;
    EXT_CRITICAL_END;
    Py_XDECREF(old);
}

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
    PyObject *waiters = ext_future_field(self, &self->waiters);
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
    if (ext_future_is_done(self)) {
        return REFUSED;
    }
    PyObject *old = *place; /* of a future that a program has put together by hand */
    *place = Py_NewRef(value);
    ext_future_set_state(self, EXT_F_FINISHED);
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
    ext_future_set_state(self, EXT_F_CANCELLED);
    return MADE | NOTIFY;
}

static int cancel_running_step(ext_future *self, PyObject *unused)
{
    (void) unused;
    if (ext_future_state_of(self) != EXT_F_RUNNING) {
        return REFUSED;
    }
    ext_future_set_state(self, EXT_F_NOTIFIED);
    return MADE | TELL | NOTIFY;
}

static int run_step(ext_future *self, PyObject *unused)
{
    (void) unused;
    switch (ext_future_state_of(self)) {
    case EXT_F_PENDING:
        ext_future_set_state(self, EXT_F_RUNNING);
        return MADE;
    case EXT_F_CANCELLED:
        ext_future_set_state(self, EXT_F_NOTIFIED);
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
    if (self->worker != NULL || ext_future_is_done(self)) {
        return REFUSED;
    }
    self->worker = Py_NewRef(worker);
    self->runs++;
    ext_future_set_state(self, EXT_F_RUNNING);
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
    if (ext_future_is_done(self)) {
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
int ext_future_call_back(ext_future *self, PyObject *callback)
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

int ext_future_call_callbacks(ext_future *self)
{
    PyObject *callbacks = ext_future_field(self, &self->callbacks);
    int rc = 0;
    for (Py_ssize_t i = 0; callbacks != NULL && rc == 0 && i < PyList_GET_SIZE(callbacks); i++) {
        PyObject *callback = PySequence_GetItem(callbacks, i);
        rc = callback == NULL ? -1 : ext_future_call_back(self, callback);
        Py_XDECREF(callback);
    }
    Py_XDECREF(callbacks);
    return rc;
}

void ext_future_wake(ext_future *self)
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
    ext_future_wake(self);
    return ext_future_call_callbacks(self); /* none are added once it is done */
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

int ext_future_cancel(ext_future *self)
{
    return change(self, cancel_step, NULL, "add_cancelled");
}

int ext_future_cancel_running(ext_future *self)
{
    return change(self, cancel_running_step, NULL, "add_cancelled");
}

int ext_future_run(ext_future *self, bool *runs)
{
    int rc = change(self, run_step, NULL, "add_cancelled");
    *runs = rc == MADE;
    return rc;
}

int ext_future_add_callback(ext_future *self, PyObject *callback)
{
    adding more = {callback, PyList_New(0)};
    if (more.list == NULL) {
        return -1;
    }
    int rc = change(self, add_step, (PyObject *) &more, NULL);
    Py_XDECREF(more.list);
    return rc;
}
