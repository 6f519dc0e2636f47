/* TaskLine: the tasks of a thread executor, on their way to its workers. A task is its future.
 *
 * The engine (python/manyhands/futures/_thread.py) decides how many workers there are and what becomes of tasks with options.
 * How a task gets into the line is here; how a worker takes and runs it, in task_loop.c.
 */
#include "tasks.h"

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

int ext_line_call_engine(ext_line *self, const char *name, PyObject *const *more, size_t count)
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
    EXT_LINE_ENTER(self);
    if (always || !self->closed) {
        rc = ext_ring_put(&self->ring, Py_NewRef(item)) < 0 ? -1
             : self->ring.count > self->free                ? PUT_GROW
                                                            : PUT;
        wanted = rc > 0 && mh_cond_waiting(&self->cond) != 0;
    }
    EXT_LINE_LEAVE(self);
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
    return PyDict_GET_SIZE(self->workers) < self->most ? ext_line_call_engine(self, "grow", NULL, 0) : 0;
}

int ext_line_forget(ext_line *self, PyObject *future)
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

static PyObject *pack(PyObject *fn, PyObject *kwargs, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *call = PyTuple_New(EXT_CALL_ARGS + nargs);
    if (call != NULL) {
        PyTuple_SET_ITEM(call, EXT_CALL_FN, Py_NewRef(fn));
        PyTuple_SET_ITEM(call, EXT_CALL_KWARGS, Py_NewRef(kwargs));
        for (Py_ssize_t i = 0; i < nargs; i++) {
            PyTuple_SET_ITEM(call, EXT_CALL_ARGS + i, Py_NewRef(args[i]));
        }
    }
    return call;
}

/* Takes the reference to the call. */
static PyObject *new_future(ext_line *self, PyObject *call, PyObject *options)
{
    PyTypeObject *type = (PyTypeObject *) ext_ref((PyObject *) self, EXT_NEW_FUTURE);
    ext_future *future = type == NULL ? NULL : (ext_future *) type->tp_new(type, NULL, NULL);
    if (future == NULL) {
        Py_DECREF(call);
        return NULL;
    }
    future->call = call;
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
    if (rc != PUT && ext_line_forget(self, future) < 0) {
        return -1;
    }
    return rc == PUT ? 0 : rc < 0 ? -1 : 1;
}

/* The future of that call, whose reference it takes; NULL is no memory. */
static PyObject *submit(ext_line *self, PyObject *call, PyObject *options)
{
    PyObject *future = call == NULL ? NULL : new_future(self, call, options);
    int rc = future == NULL ? -1 : self->closed ? 1 : take_in(self, future);
    if (rc == 1 && ext_line_call_engine(self, "refuse", NULL, 0) == 0) {
        PyErr_SetString(PyExc_RuntimeError, "cannot schedule new futures after shutdown");
    }
    if (rc != 0) {
        Py_CLEAR(future);
    }
    return future;
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
    PyObject *const *items = ((PyTupleObject *) given[1])->ob_item;
    return submit(self, pack(given[0], given[2], items, PyTuple_GET_SIZE(given[1])), given[3]);
}

static PyObject *line_put(ext_line *self, PyObject *item)
{
    int rc = put(self, item, true);
    if (rc < 0 || (rc == PUT_GROW && item != Py_None && grow(self) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- looks ------------------------------------------------------------------------------------------------------- */

static PyObject *line_qsize(ext_line *self, PyObject *unused)
{
    (void) unused;
    EXT_LINE_ENTER(self);
    size_t count = self->ring.count;
    EXT_LINE_LEAVE(self);
    return PyLong_FromSize_t(count);
}

static PyObject *line_empty(ext_line *self, PyObject *unused)
{
    (void) unused;
    EXT_LINE_ENTER(self);
    size_t count = self->ring.count;
    EXT_LINE_LEAVE(self);
    return PyBool_FromLong(count == 0);
}

static PyObject *line_free_workers(ext_line *self, PyObject *unused)
{
    (void) unused;
    EXT_LINE_ENTER(self);
    size_t count = self->free;
    EXT_LINE_LEAVE(self);
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
        "serve", ext_line_serve, EXT_FASTCALL,
        "serve($self, /, worker, run, tasks=None, age=None, idle=None)\n--\n\n"
        "Run tasks in the calling thread, which is shielded. Return 0: it has run as many as it may, is too\n"
        "old, or was abandoned; 1: there was None in the line; 2: nothing came for `idle` seconds."),
    EXT_METHOD("help", ext_line_help, EXT_FASTCALL,
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

/* ---- what executors inherit --------------------------------------------------------------------------------------- */

/* The values behind the positional arguments, by name; None where there are none. */
static PyObject *keywords(PyObject *const *values, PyObject *names)
{
    if (names == NULL || PyTuple_GET_SIZE(names) == 0) {
        return Py_NewRef(Py_None);
    }
    PyObject *all = PyDict_New();
    for (Py_ssize_t i = 0; all != NULL && i < PyTuple_GET_SIZE(names); i++) {
        if (PyDict_SetItem(all, PyTuple_GET_ITEM(names, i), values[i]) < 0) {
            Py_CLEAR(all);
        }
    }
    return all;
}

static PyObject *submitter_submit(ext_submitter *self, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kwnames)
{
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "submit() missing 1 required positional argument: 'fn'");
        return NULL;
    }
    if (self->line == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "submit() before __init__() of the executor was called");
        return NULL;
    }
    PyObject *kwargs = keywords(args + nargs, kwnames);
    PyObject *call = kwargs == NULL ? NULL : pack(args[0], kwargs, args + 1, nargs - 1);
    Py_XDECREF(kwargs);
    return submit(self->line, call, NULL);
}

static int submitter_set_line(ext_submitter *self, PyObject *line, void *unused)
{
    (void) unused;
    PyObject *type = ext_ref((PyObject *) self, EXT_TASK_LINE_TYPE);
    if (type == NULL) {
        return -1;
    }
    if (line == NULL || !PyObject_TypeCheck(line, (PyTypeObject *) type)) {
        PyErr_SetString(PyExc_TypeError, "_line must be a TaskLine");
        return -1;
    }
    PyObject *old = (PyObject *) self->line;
    self->line = (ext_line *) Py_NewRef(line);
    Py_XDECREF(old);
    return 0;
}

static int submitter_traverse(ext_submitter *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->line);
    return 0;
}

static int submitter_clear(ext_submitter *self)
{
    Py_CLEAR(self->line);
    return 0;
}

static void submitter_dealloc(ext_submitter *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    submitter_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef submitter_methods[] = {
    EXT_METHOD("submit", submitter_submit, EXT_FASTCALL,
               "submit($self, fn, /, *args, **kwargs)\n--\n\n"
               "Have `fn(*args, **kwargs)` run by a worker; the `Future` of its result."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef submitter_attributes[] = {
    {"_line", NULL, (setter) submitter_set_line, "Where `submit` puts its tasks.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot submitter_slots[] = {
    {Py_tp_doc, (void *) PyDoc_STR("An executor whose tasks go into a TaskLine.")},
    {Py_tp_dealloc, submitter_dealloc},
    {Py_tp_traverse, submitter_traverse},
    {Py_tp_clear, submitter_clear},
    {Py_tp_methods, submitter_methods},
    {Py_tp_getset, submitter_attributes},
    {0, NULL},
};

static PyType_Spec submitter_spec = {
    .name = "manyhands._core.Submitter",
    .basicsize = sizeof(ext_submitter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = submitter_slots,
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
                   ext_add_type(module, state, EXT_TASK_LINE_TYPE, &line_spec, NULL) < 0 ||
                   ext_add_type(module, state, -1, &submitter_spec, NULL) < 0
               ? -1
               : 0;
}
