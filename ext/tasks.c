/* TaskLine: the tasks of a thread executor, and the loop in which its workers take and run them. A task is its future.
 *
 * The engine (python/manyhands/futures/_thread.py) decides how many workers there are and what becomes of tasks with options;
 * what every task goes through is here: into the line, to a worker, through the function, its result set.
 *
 * `free`: workers that will look into the line before they do anything else, those that sleep among them. A task for which there is
 * none is a reason for another worker. A worker counts from the moment at which its task's result is set: who waits for it and
 * submits the next task must not make the pool grow, whoever of the two runs first. Only where the end of a task runs callbacks,
 * which may wait for another task, it counts after them.
 */
#include "future.h"
#include "locks.h"
#include "ring.h"

typedef struct ext_line {
    PyObject_HEAD
    ext_ring ring;
    mh_lock guard; /* free-threaded builds only: of the ring, free, closed */
    mh_cond cond;
    size_t free;
    char closed,
        held; /* closed: submit() asks engine.refuse() what to raise. held: engine.wait_gate() before each task */
    Py_ssize_t most;     /* workers */
    PyObject *engine;    /* whose methods are called: refuse, grow, wait_gate, limit_task, settle */
    PyObject *workers;   /* its dict of those that are alive and wanted */
    PyObject *unsettled; /* its dict of tasks without a result, in the order of their coming */
    PyObject *weakrefs;
} ext_line;

/* What the loop counts. The base of the engine's class of workers. */
typedef struct ext_worker {
    PyObject_HEAD
    char abandoned;              /* its task was taken away: the thread ends as soon as it can */
    long long tasks, wait, work; /* the last two in ns */
} ext_worker;

#define ENTER(self) ext_guard_enter(&(self)->guard)
#define LEAVE(self) ext_guard_leave(&(self)->guard)

/* ---- life ------------------------------------------------------------------------------------------------------ */

static int line_init(ext_line *self, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"TaskLine", 4, 4, 4, {"engine", "workers", "unsettled", "most"}};
    PyObject *given[4] = {NULL, NULL, NULL, NULL};
    if (ext_args_tuple(&signature, args, kwargs, given) < 0) {
        return -1;
    }
    Py_ssize_t most = PyNumber_AsSsize_t(given[3], PyExc_OverflowError);
    if (most == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (!PyDict_Check(given[1]) || !PyDict_Check(given[2]) || self->engine != NULL) {
        PyErr_SetString(PyExc_TypeError, "TaskLine(engine, workers: dict, unsettled: dict, most), once");
        return -1;
    }
    self->engine = Py_NewRef(given[0]);
    self->workers = Py_NewRef(given[1]);
    self->unsettled = Py_NewRef(given[2]);
    self->most = most;
    return 0;
}

static PyObject *line_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    ext_line *self = (ext_line *) type->tp_alloc(type, 0);
    if (self != NULL) {
        mh_lock_init(&self->guard, MH_PRIVATE);
        mh_cond_init(&self->cond, 0, MH_PRIVATE);
        if (line_init(self, args, kwargs) < 0) {
            Py_CLEAR(self);
        }
    }
    return (PyObject *) self;
}

static int line_traverse(ext_line *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->engine);
    Py_VISIT(self->workers);
    Py_VISIT(self->unsettled);
    for (size_t i = 0; i < self->ring.count; i++) {
        Py_VISIT(ext_ring_at(&self->ring, i));
    }
    return 0;
}

/* Of a cycle that nobody refers to; the dicts stay, which methods count on. */
static int line_clear(ext_line *self)
{
    PyObject *engine = self->engine;
    self->engine = Py_NewRef(Py_None);
    Py_XDECREF(engine);
    ext_ring_clear(&self->ring);
    return 0;
}

static void line_dealloc(ext_line *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *) self);
    }
    line_clear(self);
    Py_CLEAR(self->engine);
    Py_CLEAR(self->workers);
    Py_CLEAR(self->unsettled);
    type->tp_free(self);
    Py_DECREF(type);
}

static int call_engine(ext_line *self, const char *name, PyObject *const *more, size_t count)
{
    PyObject *args[4] = {self->engine};
    for (size_t i = 0; i < count; i++) {
        args[i + 1] = more[i];
    }
    PyObject *done = ext_call_method(name, args, count + 1);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* ---- into the line ----------------------------------------------------------------------------------------------- */

enum put { PUT_REFUSED, PUT, PUT_GROW };

/* `always`: also where the line is closed. -1: no memory. */
static int put(ext_line *self, PyObject *item, bool always)
{
    bool wanted = false;
    int rc = PUT_REFUSED;
    ENTER(self);
    if (always || !self->closed) {
        rc = ext_ring_put(&self->ring, Py_NewRef(item)) < 0 ? -1
             : self->ring.count > self->free                ? PUT_GROW
                                                            : PUT;
        wanted = rc > 0 && mh_cond_waiting(&self->cond) != 0;
    }
    LEAVE(self);
    if (rc < 0) {
        Py_DECREF(item);
        PyErr_NoMemory();
    }
    if (wanted) {
        PyThreadState *kept = ext_wake_begin((PyObject *) self);
        mh_cond_notify(&self->cond, 1);
        ext_wake_end(kept);
    }
    return rc;
}

static int grow(ext_line *self)
{
    return PyDict_GET_SIZE(self->workers) < self->most ? call_engine(self, "grow", NULL, 0) : 0;
}

static int forget(ext_line *self, PyObject *future)
{
#if PY_VERSION_HEX >= 0x030d0000
    return PyDict_Pop(self->unsettled, future, NULL) < 0 ? -1 : 0;
#else
    if (PyDict_DelItem(self->unsettled, future) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
            return -1;
        }
        PyErr_Clear();
    }
    return 0;
#endif
}

static PyObject *new_future(ext_line *self, PyObject *const *call, PyObject *options)
{
    PyTypeObject *type = (PyTypeObject *) ext_ref((PyObject *) self, EXT_NEW_FUTURE);
    PyObject *task = type == NULL ? NULL : PyTuple_Pack(3, call[0], call[1], call[2]);
    ext_future *future = task == NULL ? NULL : (ext_future *) type->tp_new(type, NULL, NULL);
    if (future == NULL) {
        Py_XDECREF(task);
        return NULL;
    }
    future->call = task;
    future->engine = Py_NewRef(self->engine);
    future->options = options == NULL || options == Py_None ? NULL : Py_NewRef(options);
    return (PyObject *) future;
}

/* Into the line, and a worker for it. 0, -1; 1: the line is closed. */
static int take_in(ext_line *self, PyObject *future)
{
    if (PyDict_SetItem(self->unsettled, future, Py_None) < 0) {
        return -1;
    }
    int rc = put(self, future, false);
    if (rc == PUT_GROW) {
        return grow(self);
    }
    if (rc != PUT && forget(self, future) < 0) {
        return -1;
    }
    return rc == PUT ? 0 : rc < 0 ? -1 : 1;
}

static PyObject *line_submit(ext_line *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"submit", 3, 4, 4, {"fn", "args", "kwargs", "options"}};
    PyObject *given[4] = {NULL, NULL, NULL, NULL};
    if (ext_args(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    if (!PyTuple_Check(given[1]) || !PyDict_Check(given[2])) {
        PyErr_SetString(PyExc_TypeError, "submit(fn, args: tuple, kwargs: dict)");
        return NULL;
    }
    PyObject *future = self->closed ? NULL : new_future(self, given, given[3]);
    int rc = future != NULL ? take_in(self, future) : self->closed ? 1 : -1;
    if (rc == 1 && call_engine(self, "refuse", NULL, 0) == 0) {
        PyErr_SetString(PyExc_RuntimeError, "cannot schedule new futures after shutdown");
    }
    if (rc != 0) {
        Py_CLEAR(future);
    }
    return future;
}

static PyObject *line_put(ext_line *self, PyObject *item)
{
    int rc = put(self, item, true);
    if (rc < 0 || (rc == PUT_GROW && item != Py_None && grow(self) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- a worker's life --------------------------------------------------------------------------------------------- */

typedef struct service {
    ext_line *line;
    ext_worker *worker;
    PyObject *run;         /* called with a task's call; None: the task's function is called itself */
    long long most;        /* tasks; 0: any number */
    mh_deadline age, idle; /* `idle`: ns, or MH_FOREVER */
    mh_deadline since;     /* the last look at the clock */
    bool free;             /* counted among the line's free workers */
} service;

static void count_free(service *of, bool is)
{
    if (of->free != is) {
        ENTER(of->line);
        of->line->free += is ? 1 : (size_t) -1;
        of->free = is;
        LEAVE(of->line);
    }
}

/* The oldest, if there is one: the worker is not free then. Else with a place among those who wait. */
static PyObject *take(service *of, mh_cond_ticket *ticket)
{
    ext_line *self = of->line;
    PyObject *item = NULL;
    ENTER(self);
    if (self->ring.count != 0) {
        item = ext_ring_get(&self->ring);
        self->free -= of->free;
        of->free = false;
    } else {
        mh_cond_prepare(&self->cond, ticket);
        self->free += !of->free;
        of->free = true;
    }
    LEAVE(self);
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

static PyObject *run(const service *of, ext_future *future)
{
    PyObject *call = future->call == NULL ? NULL : Py_NewRef(future->call), *value = NULL;
    if (call == NULL || !PyTuple_Check(call) || PyTuple_GET_SIZE(call) != 3) {
        PyErr_SetString(PyExc_RuntimeError, "this task has no call");
    } else {
        ext_shielded_leave();
        value = of->run != Py_None ? PyObject_CallOneArg(of->run, call)
                                   : PyObject_Call(PyTuple_GET_ITEM(call, 0), PyTuple_GET_ITEM(call, 1),
                                                   PyTuple_GET_ITEM(call, 2));
        ext_shielded_enter();
    }
    Py_XDECREF(call);
    return value;
}

/* The result of a task without options. What callbacks raise beyond Exception ends the worker, as in the standard library. */
static int settle_plain(service *of, ext_future *future, bool worked, PyObject *value)
{
    PyObject *call = future->call;
    if (forget(of->line, (PyObject *) future) < 0) {
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
    return call_engine(of->line, "settle", args, 3);
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
        return call_engine(of->line, "limit_task", args, 1) < 0 ? -1 : 1;
    }
    enum ext_future_state state = ext_future_state_of(future);
    if (rc == 0 && (state == EXT_F_CANCELLED || state == EXT_F_NOTIFIED)) {
        return forget(of->line, (PyObject *) future) < 0 ? -1 : ext_future_note_cancel(future);
    }
    return rc;
}

static bool is_future(ext_line *line, PyObject *item)
{
    PyObject *type = ext_ref((PyObject *) line, EXT_FUTURE_TYPE);
    return type != NULL && PyObject_TypeCheck(item, (PyTypeObject *) type);
}

/* One task of the line. 1: go on; 0: the worker is to leave; -1. */
static int serve_task(service *of, ext_future *future)
{
    mh_deadline now = mh_now();
    of->worker->wait += now - of->since;
    of->since = now;
    if (of->line->held && call_engine(of->line, "wait_gate", NULL, 0) < 0) {
        return -1;
    }
    int rc = begin(of, future);
    if (rc <= 0) {
        return rc < 0 ? -1 : 1;
    }
    rc = carry_out(of, future);
    now = mh_now();
    of->worker->work += now - of->since;
    of->since = now;
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

static PyObject *line_serve(ext_line *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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

static PyObject *line_help(ext_line *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
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

/* ---- looks ------------------------------------------------------------------------------------------------------- */

static PyObject *line_qsize(ext_line *self, PyObject *unused)
{
    (void) unused;
    ENTER(self);
    size_t count = self->ring.count;
    LEAVE(self);
    return PyLong_FromSize_t(count);
}

static PyObject *line_empty(ext_line *self, PyObject *unused)
{
    (void) unused;
    ENTER(self);
    size_t count = self->ring.count;
    LEAVE(self);
    return PyBool_FromLong(count == 0);
}

static PyObject *line_free_workers(ext_line *self, PyObject *unused)
{
    (void) unused;
    ENTER(self);
    size_t count = self->free;
    LEAVE(self);
    return PyLong_FromSize_t(count);
}

static PyMethodDef line_methods[] = {
    EXT_METHOD("submit", line_submit, EXT_FASTCALL,
               "submit($self, /, fn, args, kwargs, options=None)\n--\n\n"
               "Take one task in and return its future; engine.refuse() where the line is closed."),
    EXT_METHOD(
        "put", line_put, METH_O,
        "put($self, item, /)\n--\n\n"
        "A future that is to be run again, also where the line is closed; None: a worker's serve() returns."),
    EXT_METHOD(
        "serve", line_serve, EXT_FASTCALL,
        "serve($self, /, worker, run, tasks=None, age=None, idle=None)\n--\n\n"
        "Run tasks in the calling thread, which is shielded. Return 0: it has run as many as it may, is too\n"
        "old, or was abandoned; 1: there was None in the line; 2: nothing came for `idle` seconds."),
    EXT_METHOD("help", line_help, EXT_FASTCALL,
               "help($self, /, worker, future, run=None)\n--\n\nRun this task here and now, if nobody has "
               "begun it."),
    EXT_METHOD("qsize", line_qsize, METH_NOARGS, "qsize($self, /)\n--\n\nReturn how many wait."),
    EXT_METHOD("empty", line_empty, METH_NOARGS, "empty($self, /)\n--\n\nReturn whether none waits."),
    EXT_METHOD("free_workers", line_free_workers, METH_NOARGS,
               "free_workers($self, /)\n--\n\nReturn how many workers wait for a task, or are about to."),
    {NULL, NULL, 0, NULL},
};

static PyMemberDef line_members[] = {
    {"closed", Py_T_BOOL, offsetof(ext_line, closed), 0, NULL},
    {"held", Py_T_BOOL, offsetof(ext_line, held), 0, NULL},
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(ext_line, weakrefs), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot line_slots[] = {
    {Py_tp_doc, (void *) PyDoc_STR("TaskLine(engine, workers, unsettled, most)\n--\n\n"
                                   "The tasks of a thread executor, on their way to its workers.")},
    {Py_tp_new, line_new},
    {Py_tp_dealloc, line_dealloc},
    {Py_tp_traverse, line_traverse},
    {Py_tp_clear, line_clear},
    {Py_tp_methods, line_methods},
    {Py_tp_members, line_members},
    {0, NULL},
};

static PyType_Spec line_spec = {
    .name = "manyhands._core.TaskLine",
    .basicsize = sizeof(ext_line),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = line_slots,
};

static PyMemberDef worker_members[] = {
    {"abandoned", Py_T_BOOL, offsetof(ext_worker, abandoned), 0, NULL},
    {"tasks", Py_T_LONGLONG, offsetof(ext_worker, tasks), 0, NULL},
    {"wait_ns", Py_T_LONGLONG, offsetof(ext_worker, wait), 0, NULL},
    {"work_ns", Py_T_LONGLONG, offsetof(ext_worker, work), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static void worker_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot worker_slots[] = {
    {Py_tp_doc, (void *) PyDoc_STR("What a worker of a TaskLine has done.")},
    {Py_tp_dealloc, worker_dealloc},
    {Py_tp_members, worker_members},
    {0, NULL},
};

static PyType_Spec worker_spec = {
    .name = "manyhands._core.TaskWorker",
    .basicsize = sizeof(ext_worker),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = worker_slots,
};

int ext_tasks_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, EXT_TASK_WORKER_TYPE, &worker_spec, NULL) < 0 ||
                   ext_add_type(module, state, -1, &line_spec, NULL) < 0
               ? -1
               : 0;
}
