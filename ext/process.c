/* ext/process.c - ProcessControl: pause, resume, state, CPU time and memory of a child; and this process's place in the
 * arena. Python's multiprocessing starts and reaps the child; the core only watches and signals it. */
#include "manyhands/process.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "block.h"
#include "message.h"

typedef struct control_object {
    PyObject_HEAD
    mh_process process;
    int adopted;
} control_object;

static PyObject *control_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    const ext_signature signature = {"ProcessControl", 2, 2, 2, {"pid", "place"}};
    PyObject *given[2];
    if (ext_args_tuple(&signature, args, kwargs, given) < 0) {
        return NULL;
    }
    long pid = PyLong_AsLong(given[0]);
    unsigned long place = given[1] == Py_None ? MH_NO_PLACE : PyLong_AsUnsignedLong(given[1]);
    control_object *self = PyErr_Occurred() ? NULL : (control_object *) type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    int rc = mh_process_adopt(&self->process, (int) pid, (uint32_t) place);
    if (rc < 0) {
        Py_DECREF(self);
        ext_raise_code(NULL, rc);
        return NULL;
    }
    self->adopted = 1;
    return (PyObject *) self;
}

static void control_dealloc(control_object *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (self->adopted) {
        mh_process_fini(&self->process);
    }
    type->tp_free((PyObject *) self);
    Py_DECREF(type);
}

static PyObject *state_error(int rc, const char *text)
{
    if (rc == MH_E_STATE) {
        ext_refuse(PyExc_ValueError, "MH-STATE", "%s", text);
    } else if (rc != EXT_RAISED) {
        ext_raise_code(NULL, rc);
    }
    return NULL;
}

static int wait_pause(void *process, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_process_pause(process, deadline, waiting->cancel);
}

static PyObject *control_pause(control_object *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames)
{
    ext_until until;
    if (ext_wait_args((PyObject *) self, "pause", args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    int rc = ext_wait((PyObject *) self, wait_pause, &self->process, until);
    if (rc < 0 && rc != -ETIMEDOUT) {
        return state_error(rc, "the process has ended: it cannot be paused");
    }
    return PyBool_FromLong(rc >= 0);
}

static int wait_join(void *process, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_process_join(process, deadline, ext_token(waiting));
}

static PyObject *control_join(control_object *self, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    ext_until until;
    if (ext_wait_args((PyObject *) self, "join", args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    int rc = wait_join(&self->process, MH_AT_ONCE, NULL);
    if (rc == -ETIMEDOUT && until.at != MH_AT_ONCE) {
        rc = ext_wait((PyObject *) self, wait_join, &self->process, until);
    }
    if (rc < 0 && rc != -ETIMEDOUT) {
        return state_error(rc, "the process was not started here");
    }
    return PyBool_FromLong(rc >= 0);
}

static PyObject *control_resume(control_object *self, PyObject *Py_UNUSED(ignored))
{
    int rc = mh_process_resume(&self->process);
    if (rc < 0 && rc != MH_E_STATE) {
        return state_error(rc, "");
    }
    Py_RETURN_NONE;
}

static PyObject *control_terminate(control_object *self, PyObject *Py_UNUSED(ignored))
{
    int rc = mh_process_terminate(&self->process);
    return rc < 0 ? state_error(rc, "the process was not started here") : Py_NewRef(Py_None);
}

static PyObject *control_kill(control_object *self, PyObject *Py_UNUSED(ignored))
{
    int rc = mh_process_kill(&self->process);
    return rc < 0 ? state_error(rc, "the process was not started here") : Py_NewRef(Py_None);
}

static PyObject *control_fileno(control_object *self, PyObject *Py_UNUSED(ignored))
{
    int fd = mh_process_sentinel(&self->process);
    return fd < 0 ? state_error(fd, "the process was not started here") : PyLong_FromLong(fd);
}

static PyObject *control_state(control_object *self, PyObject *Py_UNUSED(ignored))
{
    static const char *const names[] = {"new", "running", "pausing", "paused", "terminating", "finished"};
    return PyUnicode_FromString(names[mh_process_state(&self->process)]);
}

static PyObject *control_cpu_time(control_object *self, PyObject *Py_UNUSED(ignored))
{
    int64_t ns = 0;
    int rc = mh_process_cpu_time(&self->process, &ns);
    return rc < 0 ? state_error(rc, "the CPU time of this process is not known any more")
                  : PyFloat_FromDouble((double) ns / 1e9);
}

static PyObject *control_memory(control_object *self, PyObject *Py_UNUSED(ignored))
{
    uint64_t bytes = 0;
    int rc = mh_process_memory(&self->process, &bytes);
    return rc < 0 && rc != MH_E_STATE && rc != -ESRCH ? state_error(rc, "")
                                                      : PyLong_FromUnsignedLongLong(bytes);
}

static PyMethodDef control_methods[] = {
    EXT_METHOD("pause", control_pause, EXT_FASTCALL,
               "pause($self, /, timeout=None, *, cancel=None)\n--\n\nStop it; False where time was up."),
    EXT_METHOD("join", control_join, EXT_FASTCALL,
               "join($self, /, timeout=None, *, cancel=None)\n--\n\n"
               "Wait until it has ended; False where time was up. Its exit status is left to be taken."),
    EXT_METHOD("resume", control_resume, METH_NOARGS, "resume($self, /)\n--\n\nLet it go on."),
    EXT_METHOD(
        "terminate", control_terminate, METH_NOARGS,
        "terminate($self, /)\n--\n\nSIGTERM, and let it go on. Never for another that has its id by now."),
    EXT_METHOD("kill", control_kill, METH_NOARGS, "kill($self, /)\n--\n\nSIGKILL, in the same way."),
    EXT_METHOD(
        "fileno", control_fileno, METH_NOARGS,
        "fileno($self, /)\n--\n\nIts pidfd: readable once it has ended. OSError where the kernel has none."),
    EXT_METHOD("state", control_state, METH_NOARGS, "state($self, /)\n--\n\nnew, running, ... finished."),
    EXT_METHOD("cpu_time", control_cpu_time, METH_NOARGS,
               "cpu_time($self, /)\n--\n\nSeconds, user and system."),
    EXT_METHOD("memory", control_memory, METH_NOARGS,
               "memory($self, /)\n--\n\nBytes (PSS); 0 once it has ended."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot control_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "ProcessControl(pid, place)\n--\n\nThe core's handle of a child."},
    {Py_tp_new, control_new},
    {Py_tp_dealloc, control_dealloc},
    {Py_tp_methods, control_methods},
    {0, NULL},
};

static PyType_Spec control_spec = {"manyhands._core.ProcessControl", sizeof(control_object), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, control_slots};

/* ---- die with the parent ------------------------------------------------------------------------------------------ */

static PyObject *lifeline(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    int fd = -1;
    int rc = mh_process_lifeline(&fd);
    return rc < 0 ? state_error(rc, "") : PyLong_FromLong(fd);
}

static PyObject *die_with(PyObject *Py_UNUSED(module), PyObject *fd)
{
    long number = PyLong_AsLong(fd);
    if (number == -1 && PyErr_Occurred()) {
        return NULL;
    }
    int rc = number < 0 || number > INT_MAX ? -EBADF : mh_process_die_with((int) number);
    return rc < 0 ? state_error(rc, "") : Py_NewRef(Py_None);
}

/* The attribute is the process's, so whoever sets it keeps others from doing so meanwhile. */
static PyObject *adopt_orphans(PyObject *Py_UNUSED(module), PyObject *whether)
{
    int wanted = PyObject_IsTrue(whether);
    if (wanted < 0) {
        return NULL;
    }
    int before = mh_process_adopt_orphans(wanted);
    return before < 0 ? state_error(before, "") : PyBool_FromLong(before);
}

/* ---- the arena --------------------------------------------------------------------------------------------------- */

static PyObject *arena_reserve(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    uint32_t place;
    mh_arena *arena = block_arena();
    int rc = arena == NULL ? EXT_RAISED : mh_arena_reserve(arena, &place);
    if (rc == -EAGAIN) {
        Py_RETURN_NONE; /* more processes than places: this one goes without, and its buffers are copied */
    }
    return rc < 0 ? state_error(rc, "") : PyLong_FromUnsignedLong(place);
}

static PyObject *arena_unreserve(PyObject *Py_UNUSED(module), PyObject *place)
{
    unsigned long number = PyLong_AsUnsignedLong(place);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (mh_arena_peek() != NULL) {
        mh_arena_unreserve(mh_arena_peek(), (uint32_t) number);
    }
    Py_RETURN_NONE;
}

/* settle(place, pid): pid 0 is this process. A place that was lost meanwhile is no error: another is taken when needed. */
static PyObject *arena_settle(PyObject *Py_UNUSED(module), PyObject *args)
{
    unsigned int place;
    int pid;
    if (!PyArg_ParseTuple(args, "Ii:arena_settle", &place, &pid)) {
        return NULL;
    }
    int rc = mh_arena_peek() == NULL
                 ? 0
                 : mh_arena_settle(mh_arena_peek(), place, pid == 0 ? (int) getpid() : pid);
    return rc < 0 && rc != MH_E_LOST && rc != MH_E_STATE ? state_error(rc, "") : Py_NewRef(Py_None);
}

static PyObject *arena_fd(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    mh_arena *arena = block_arena();
    return arena == NULL ? NULL : PyLong_FromLong(mh_arena_fd(arena));
}

static PyObject *arena_join(PyObject *Py_UNUSED(module), PyObject *args)
{
    int fd;
    unsigned int place;
    mh_arena *arena;
    if (!PyArg_ParseTuple(args, "iI:arena_join", &fd, &place)) {
        return NULL;
    }
    int rc = mh_arena_join(fd, place, &arena);
    if (rc == MH_E_LOST) {
        rc = mh_arena_join(fd, MH_NO_PLACE, &arena);
    }
    return rc < 0 && rc != MH_E_STATE ? state_error(rc, "") : Py_NewRef(Py_None);
}

static PyObject *arena_usage(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    uint32_t blocks = 0;
    uint64_t bytes = 0;
    if (mh_arena_peek() != NULL) {
        mh_arena_usage(mh_arena_peek(), &blocks, &bytes);
    }
    return Py_BuildValue("IK", blocks, (unsigned long long) bytes);
}

static PyObject *arena_sweep(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLong(mh_arena_peek() == NULL ? 0 : mh_arena_sweep(mh_arena_peek()));
}

static PyMethodDef process_functions[] = {
    EXT_METHOD(
        "lifeline", lifeline, METH_NOARGS,
        "lifeline($module, /)\n--\n\nA descriptor for one child that hangs up when this process ends."),
    EXT_METHOD("die_with", die_with, METH_O,
               "die_with($module, fd, /)\n--\n\nBe killed when the parent whose lifeline this is ends."),
    EXT_METHOD("adopt_orphans", adopt_orphans, METH_O,
               "adopt_orphans($module, whether, /)\n--\n\nBe the parent of descendants whose own has ended; "
               "what was set before."),
    EXT_METHOD(
        "arena_reserve", arena_reserve, METH_NOARGS,
        "arena_reserve($module, /)\n--\n\nA place for a child about to start; None where all are taken."),
    EXT_METHOD("arena_unreserve", arena_unreserve, METH_O,
               "arena_unreserve($module, place, /)\n--\n\nIt did not start."),
    EXT_METHOD("arena_settle", arena_settle, METH_VARARGS,
               "arena_settle($module, place, pid, /)\n--\n\nThe process at `place` is `pid`; 0: this one."),
    EXT_METHOD("arena_fd", arena_fd, METH_NOARGS,
               "arena_fd($module, /)\n--\n\nThe arena's descriptor, for a child."),
    EXT_METHOD("arena_join", arena_join, METH_VARARGS,
               "arena_join($module, fd, place, /)\n--\n\nJoin the parent's arena."),
    EXT_METHOD("arena_usage", arena_usage, METH_NOARGS,
               "arena_usage($module, /)\n--\n\n(blocks in use, their bytes)"),
    EXT_METHOD(
        "arena_sweep", arena_sweep, METH_NOARGS,
        "arena_sweep($module, /)\n--\n\nFree what only dead processes hold; how many blocks that were."),
    EXT_METHOD(
        "block", block_new, EXT_FASTCALL,
        "block($module, /, size, zero=False, format=None, shape=None)\n--\n\nA new Block of `size` bytes."),
    EXT_METHOD("_block_from", block_from, METH_FASTCALL,
               "_block_from($module, buffer, format, shape, /)\n--\n\nA Block of that form, over a Block or "
               "a copy."),
    EXT_METHOD("is_shared", block_is_shared, METH_O,
               "is_shared($module, buffer, /)\n--\n\n"
               "Does the memory of this buffer lie where all processes of this program can share it?"),
    EXT_METHOD(
        "_blocks_give", block_give, METH_FASTCALL,
        "_blocks_give($module, place, buffers, /)\n--\n\nRecords of buffers, held for the child at `place`."),
    EXT_METHOD("_blocks_take", block_take, METH_O,
               "_blocks_take($module, records, /)\n--\n\nThe Blocks of these records, in the child."),
    EXT_METHOD("_share", message_share, METH_FASTCALL,
               "_share($module, function, /, *args)\n--\n\nCall it; what it pickles goes to processes of "
               "this tree."),
    {NULL, NULL, 0, NULL},
};

int ext_process_ready(PyObject *module, ext_state *state)
{
    return PyModule_AddFunctions(module, process_functions) < 0 ||
                   ext_add_type(module, state, -1, &control_spec, NULL) < 0 ||
                   ext_add_type(module, state, EXT_BLOCK_TYPE, &block_spec, NULL) < 0
               ? -1
               : 0;
}
