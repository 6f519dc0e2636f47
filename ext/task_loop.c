/* What a worker of a TaskLine does: take a task, run it, set its result.
 *
 * `free`: workers that will look into the line before they do anything else, those that sleep among them. A task for which there is
 * none is a reason for another worker. A worker counts from the moment at which its task's result is set: who waits for it and
 * submits the next task must not make the pool grow, whoever of the two runs first. Only where the end of a task runs callbacks,
 * which may wait for another task, it counts after them.
 */
#include "tasks.h"

typedef struct service {
    ext_line *line;
    ext_worker *worker;
    PyObject *run;         /* run(fn, args, kwargs or None); None: the task's function is called itself */
    long long most;        /* tasks; 0: any number */
    mh_deadline age, idle; /* `idle`: ns, or MH_FOREVER */
    mh_deadline since;     /* the last look at the clock */
    bool free;             /* counted among the line's free workers */
    bool slept;            /* before the task came */
} service;

static void count_free(service *of, bool is)
{
    if (of->free != is) {
        EXT_LINE_ENTER(of->line);
        of->line->free += is ? 1 : (size_t) -1;
        of->free = is;
        EXT_LINE_LEAVE(of->line);
    }
}

/* The oldest, if there is one: the worker is not free then. Else with a place among those who wait. */
static PyObject *take(service *of, mh_cond_ticket *ticket)
{
    ext_line *self = of->line;
    PyObject *item = NULL;
    EXT_LINE_ENTER(self);
    if (self->ring.count != 0) {
        item = ext_ring_get(&self->ring);
        self->free -= of->free;
        of->free = false;
    } else {
        mh_cond_prepare(&self->cond, ticket);
        self->free += !of->free;
        of->free = true;
    }
    EXT_LINE_LEAVE(self);
    return item;
}

/* NULL without an exception: nothing came for as long as the worker may be idle. */
static PyObject *next(service *of)
{
    mh_cond_ticket ticket;
    mh_deadline until = MH_FOREVER;
    bool first = true, late = false;
    for (;;) {
        PyObject *item = take(of, &ticket);
        if (item != NULL) {
            return item;
        }
        if (late) {
            mh_cond_forget(&of->line->cond, &ticket);
            return NULL;
        }
        if (first && of->idle != MH_FOREVER) {
            until = mh_in_ns(of->idle);
        }
        first = false;
        of->slept = true;
        int rc =
            ext_cond_sleep((PyObject *) of->line, &of->line->cond, &ticket, (ext_until){until, NULL}, NULL);
        if (rc == EXT_RAISED) {
            return NULL;
        }
        late = rc == -ETIMEDOUT;
    }
}

static bool spent(const service *of)
{
    return (of->most > 0 && of->worker->tasks >= of->most) || (of->age != MH_FOREVER && mh_now() > of->age);
}

static PyObject *call_it(PyObject *call)
{
    PyObject *const *items = ((PyTupleObject *) call)->ob_item, *kwargs = items[EXT_CALL_KWARGS];
    return PyObject_VectorcallDict(items[EXT_CALL_FN], items + EXT_CALL_ARGS,
                                   (size_t) (PyTuple_GET_SIZE(call) - EXT_CALL_ARGS),
                                   kwargs == Py_None ? NULL : kwargs);
}

/* run(fn, args, kwargs) */
static PyObject *hand_over(PyObject *run, PyObject *call)
{
    PyObject *args = PyTuple_GetSlice(call, EXT_CALL_ARGS, PyTuple_GET_SIZE(call));
    PyObject *value = args == NULL
                          ? NULL
                          : PyObject_CallFunctionObjArgs(run, PyTuple_GET_ITEM(call, EXT_CALL_FN), args,
                                                         PyTuple_GET_ITEM(call, EXT_CALL_KWARGS), NULL);
    Py_XDECREF(args);
    return value;
}

static PyObject *run(const service *of, ext_future *future)
{
    PyObject *call = future->call == NULL ? NULL : Py_NewRef(future->call), *value = NULL;
    if (call == NULL || !PyTuple_Check(call) || PyTuple_GET_SIZE(call) < EXT_CALL_ARGS) {
        PyErr_SetString(PyExc_RuntimeError, "this task has no call");
    } else {
        ext_shielded_leave();
        value = of->run != Py_None ? hand_over(of->run, call) : call_it(call);
        ext_shielded_enter();
    }
    Py_XDECREF(call);
    return value;
}

/* The result of a task without options. What callbacks raise beyond Exception ends the worker, as in the standard library. */
static int settle_plain(service *of, ext_future *future, bool worked, PyObject *value)
{
    PyObject *call = future->call;
    if (ext_line_forget(of->line, (PyObject *) future) < 0) {
        return -1;
    }
    future->call = NULL; /* the worker's alone: it has begun the task */
    Py_XDECREF(call);
    int rc = ext_future_finish(future, worked, value);
    if (rc > 0) {
        count_free(of, !ext_future_has_callbacks(future));
        rc = ext_future_tell(future);
    }
    return rc;
}

static int settle(service *of, ext_future *future, bool worked, PyObject *value)
{
    if (future->options == NULL) {
        return settle_plain(of, future, worked, value);
    }
    PyObject *args[] = {(PyObject *) future, worked ? Py_True : Py_False, value};
    return ext_line_call_engine(of->line, "settle", args, 3);
}

/* Run it and set its result. 1; 0: it was taken away meanwhile, and the thread is to end; -1 with an exception. */
static int carry_out(service *of, ext_future *future)
{
    PyObject *value = run(of, future);
    bool worked = value != NULL;
    if (!worked) {
        value = ext_error_take();
    }
    int rc = ext_future_give_back(future, (PyObject *) of->worker);
    if (rc > 0) {
        rc = settle(of, future, worked, value) < 0 ? -1 : 1;
    }
    Py_XDECREF(value);
    return rc;
}

/* As engine.begin() would: 1, 0 where it is not to be run, -1. */
static int begin(service *of, ext_future *future)
{
    int rc = ext_future_begin(future, (PyObject *) of->worker);
    if (rc > 0 && future->options != NULL) {
        PyObject *args[] = {(PyObject *) future};
        return ext_line_call_engine(of->line, "limit_task", args, 1) < 0 ? -1 : 1;
    }
    enum ext_future_state state = ext_future_state_of(future);
    if (rc == 0 && (state == EXT_F_CANCELLED || state == EXT_F_NOTIFIED)) {
        return ext_line_forget(of->line, (PyObject *) future) < 0 ? -1 : ext_future_note_cancel(future);
    }
    return rc;
}

static bool is_future(ext_line *line, PyObject *item)
{
    PyObject *type = ext_ref((PyObject *) line, EXT_FUTURE_TYPE);
    return type != NULL && PyObject_TypeCheck(item, (PyTypeObject *) type);
}

/* The time since the last look at the clock. */
static void count_up(service *of, long long *total)
{
    mh_deadline now = mh_now();
    *total += now - of->since;
    of->since = now;
}

/* One task of the line. 1: go on; 0: the worker is to leave; -1. */
static int serve_task(service *of, ext_future *future)
{
    if (of->slept) { /* a task that was there already costs no look at the clock */
        count_up(of, &of->worker->wait);
        of->slept = false;
    }
    if (of->line->held && ext_line_call_engine(of->line, "wait_gate", NULL, 0) < 0) {
        return -1;
    }
    int rc = begin(of, future);
    if (rc <= 0) {
        return rc < 0 ? -1 : 1;
    }
    rc = carry_out(of, future);
    count_up(of, &of->worker->work);
    of->worker->tasks++;
    return of->worker->abandoned ? 0 : rc;
}

enum why { SPENT, ASKED, IDLE }; /* why serve() returns */

static int serve(service *of)
{
    of->since = mh_now();
    while (!spent(of)) {
        PyObject *item = next(of);
        if (item == NULL) {
            return PyErr_Occurred() ? -1 : IDLE;
        }
        bool task = is_future(of->line, item);
        int rc = task ? serve_task(of, (ext_future *) item) : 0;
        Py_DECREF(item);
        if (rc <= 0) {
            return rc < 0 ? -1 : task ? SPENT : ASKED;
        }
    }
    return SPENT;
}

static bool is_worker(ext_line *self, PyObject *worker)
{
    PyObject *type = ext_ref((PyObject *) self, EXT_TASK_WORKER_TYPE);
    if (type != NULL && !PyObject_TypeCheck(worker, (PyTypeObject *) type)) {
        PyErr_Format(PyExc_TypeError, "a TaskWorker, not %.200s", Py_TYPE(worker)->tp_name);
        return false;
    }
    return type != NULL;
}

/* A limit in seconds; NULL or None is none. */
static int limit_of(PyObject *value, int64_t *ns)
{
    *ns = MH_FOREVER;
    return value == NULL || value == Py_None ? 0 : ext_seconds(value, ns);
}

PyObject *ext_line_serve(ext_line *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"serve", 2, 5, 5, {"worker", "run", "tasks", "age", "idle"}};
    PyObject *given[5] = {NULL, NULL, NULL, NULL, NULL};
    service of = {.line = self};
    int64_t age;
    if (ext_args(&signature, args, nargs, kwnames, given) < 0 || !is_worker(self, given[0]) ||
        limit_of(given[3], &age) < 0 || limit_of(given[4], &of.idle) < 0) {
        return NULL;
    }
    of.most = given[2] == NULL || given[2] == Py_None ? 0 : PyLong_AsLongLong(given[2]);
    if (of.most == -1 && PyErr_Occurred()) {
        return NULL;
    }
    of.age = age == MH_FOREVER ? MH_FOREVER : mh_in_ns(age);
    of.worker = (ext_worker *) given[0];
    of.run = given[1];
    int why = serve(&of);
    count_free(&of, false);
    return why < 0 ? NULL : PyLong_FromLong(why);
}

PyObject *ext_line_help(ext_line *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"help", 2, 3, 3, {"worker", "future", "run"}};
    PyObject *given[3] = {NULL, NULL, NULL};
    if (ext_args(&signature, args, nargs, kwnames, given) < 0 || !is_worker(self, given[0])) {
        return NULL;
    }
    if (!is_future(self, given[1])) {
        PyErr_Format(PyExc_TypeError, "a Future, not %.200s", Py_TYPE(given[1])->tp_name);
        return NULL;
    }
    service of = {
        .line = self, .worker = (ext_worker *) given[0], .run = given[2] != NULL ? given[2] : Py_None};
    int rc = begin(&of, (ext_future *) given[1]);
    if (rc > 0) {
        ext_shielded_enter();
        rc = carry_out(&of, (ext_future *) given[1]);
        ext_shielded_leave();
    }
    count_free(&of, false); /* it goes on with the task that waited */
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}
