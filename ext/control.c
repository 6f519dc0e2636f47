/* Pause and termination: checkpoint(), shield(), and Control, by which a Thread object is paused, resumed and terminated. */
#include "control.h"

#include "manyhands/look.h"

/* What the running thread knows of itself. */
static _Thread_local struct {
    ext_control *control;     /* NULL where the thread is not adopted, or by C code */
    PyInterpreterState *home; /* of the control */
    unsigned shields;         /* shield()s that it is inside of */
    bool shielded;            /* ThreadExit was raised: the waits of its clean-up are left alone */
} current;

ext_control *ext_control_self(void)
{
    return current.control;
}

ext_control *ext_control_of(PyInterpreterState *home)
{
    return home == current.home ? current.control : NULL;
}

bool ext_shielded(void)
{
    return current.shields != 0;
}

bool ext_may_park(void)
{
    return current.shields == 0 && !ext_holding();
}

/* ---- for wait.c ---------------------------------------------------------------------------------------------- */

void ext_shield_enter(void)
{
    mh_shield_enter();
}

void ext_shield_leave(void)
{
    mh_shield_leave();
}

bool ext_exit_pending(void)
{
    return current.shielded && ext_control_exit_due(current.control);
}

int ext_deliver_exit(PyObject *self)
{
    ext_control *control = current.control;
    if (control != NULL) {
        unsigned requests = atomic_load_explicit(&control->requests, memory_order_relaxed);
        atomic_store_explicit(&control->delivered, requests, memory_order_relaxed);
        if (!current.shielded) {
            current.shielded = true;
            mh_shield_enter();
        }
        ext_monitor_drop((PyObject *) control, control);
    }
    ext_raise(self, EXT_THREAD_EXIT, NULL);
    return EXT_RAISED;
}

/* ---- checkpoint() -------------------------------------------------------------------------------------------- */

static int stop_here(void *unused, mh_deadline deadline, ext_waiting *waiting)
{
    (void) unused, (void) deadline, (void) waiting;
    return mh_checkpoint();
}

/* A thread that is neither asked to park nor to end has nothing to detach for. */
static bool asked(void)
{
    const mh_thread *thread = current.control != NULL ? &current.control->thread : mh_thread_self();
    return thread != NULL && mh_thread_state(thread) != MH_RUNNING;
}

PyObject *ext_checkpoint(PyObject *module, PyObject *unused)
{
    (void) unused;
    if (!asked() || (ext_control_exit_due(current.control) && ext_in_cleanup(module))) {
        Py_RETURN_NONE;
    }
    return ext_wait(module, stop_here, NULL, EXT_FOREVER) == EXT_RAISED ? NULL : Py_NewRef(Py_None);
}

/* What was asked for while the thread could not do it is asked for again. */
static void ask_again(void)
{
    ext_control *me = current.control;
    if (me != NULL && (mh_thread_state(&me->thread) == MH_PAUSING || ext_control_exit_due(me))) {
        (void) ext_monitor_hunt((PyObject *) me, me);
    }
}

void ext_shielded_enter(void)
{
    current.shields++;
    mh_shield_enter();
}

void ext_shielded_leave(void)
{
    mh_shield_leave();
    if (--current.shields == 0) {
        ask_again();
    }
}

void ext_control_let_go(ext_control *control)
{
    if (mh_thread_state(&control->thread) == MH_PAUSING) {
        PyObject *before = ext_error_take();
        (void) ext_monitor_hunt((PyObject *) control, control);
        if (before != NULL) {
            ext_error_put(before);
        }
    }
}

/* ---- shield() ------------------------------------------------------------------------------------------------ */

typedef struct ext_shielding {
    PyObject_HEAD
    unsigned long owner; /* ident of the thread inside, 0: none */
    unsigned depth;
} ext_shielding;

PyObject *ext_shield(PyObject *module, PyObject *unused)
{
    (void) unused;
    PyObject *type = ext_ref(module, EXT_SHIELD_TYPE);
    ext_shielding *self = type == NULL ? NULL : PyObject_New(ext_shielding, (PyTypeObject *) type);
    if (self != NULL) {
        self->owner = 0;
        self->depth = 0;
    }
    return (PyObject *) self;
}

static void shield_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *shield_enter(ext_shielding *self, PyObject *unused)
{
    (void) unused;
    unsigned long me = PyThread_get_thread_ident();
    if (self->depth != 0 && self->owner != me) {
        ext_refuse(PyExc_RuntimeError, "MH-STATE", "this shield is in use by another thread");
        return NULL;
    }
    self->owner = me;
    self->depth++;
    ext_shielded_enter();
    Py_RETURN_NONE;
}

static PyObject *shield_exit(ext_shielding *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void) args, (void) nargs;
    if (self->depth == 0 || self->owner != PyThread_get_thread_ident()) {
        ext_refuse(PyExc_RuntimeError, "MH-NOT-HELD", "the calling thread is not inside this shield");
        return NULL;
    }
    self->depth--;
    ext_shielded_leave();
    Py_RETURN_FALSE;
}

static PyMethodDef shield_methods[] = {
    EXT_METHOD("__enter__", shield_enter, METH_NOARGS,
               "__enter__($self, /)\n--\n\nFrom here on, no pause and no end."),
    EXT_METHOD("__exit__", shield_exit, METH_FASTCALL,
               "__exit__($self, /, *exc_info)\n--\n\nThe end of that."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot shield_slots[] = {
    {Py_tp_doc, (void *) PyDoc_STR("What shield() returns.")},
    {Py_tp_dealloc, shield_dealloc},
    {Py_tp_methods, shield_methods},
    {0, NULL},
};

static PyType_Spec shield_spec = {
    .name = "manyhands._core.Shield",
    .basicsize = sizeof(ext_shielding),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = shield_slots,
};

/* ---- Control ------------------------------------------------------------------------------------------------- */

static PyObject *control_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"Control", 0, 0, 0, {NULL}};
    if (ext_args_tuple(&signature, args, kwargs, NULL) < 0) {
        return NULL;
    }
    ext_ending *ending = ext_ending_new();
    ext_control *self = ending == NULL ? NULL : PyObject_New(ext_control, type);
    if (self == NULL && ending != NULL) {
        ext_ending_drop(ending);
    }
    if (self != NULL) {
        self->ending = ending;
        memset(&self->thread, 0, sizeof self->thread);
        atomic_init(&self->requests, 0);
        atomic_init(&self->delivered, 0);
        atomic_init(&self->ident, 0);
        atomic_init(&self->asked, 0);
        atomic_init(&self->hunted, false);
        self->next = NULL;
        self->until = 0;
        atomic_init(&self->adopted, false);
    }
    return (PyObject *) self;
}

static void control_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    ext_ending_drop(((ext_control *) self)->ending);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *not_running(const char *what)
{
    ext_refuse(PyExc_RuntimeError, "MH-STATE", "cannot %s a thread that is not running", what);
    return NULL;
}

/* The system's name of the calling thread. From 3.14 on Python gives it itself. */
static void show_name(PyObject *name)
{
#if PY_VERSION_HEX < 0x030e0000
    const char *text = PyUnicode_AsUTF8(name);
    if (text == NULL) {
        PyErr_Clear(); /* surrogates: it goes without */
    } else {
        mh_thread_show_name(text);
    }
#else
    (void) name;
#endif
}

static PyObject *control_adopt(ext_control *self, PyObject *name)
{
    if (current.control != NULL || atomic_exchange(&self->adopted, true)) {
        PyErr_SetString(PyExc_RuntimeError, "a control serves one thread, and a thread has one control");
        return NULL;
    }
    int rc = mh_thread_adopt(&self->thread);
    if (rc < 0) {
        ext_raise_code((PyObject *) self, rc);
        return NULL;
    }
    current.control = (ext_control *) Py_NewRef((PyObject *) self);
    current.home = PyInterpreterState_Get();
    current.shielded = false;
    ext_held_control(self);
    show_name(name);
    atomic_store_explicit(&self->ident, PyThread_get_thread_ident(), memory_order_relaxed);
    Py_RETURN_NONE;
}

static PyObject *control_disown(ext_control *self, PyObject *unused)
{
    (void) unused;
    if (current.control != self) {
        PyErr_SetString(PyExc_RuntimeError, "not the control of the calling thread");
        return NULL;
    }
    if (current.shielded) {
        current.shielded = false;
        mh_shield_leave();
    }
    ext_held_control(NULL);
    ext_monitor_drop((PyObject *) self, self);
    ext_ending_expect(self->ending);
    mh_thread_disown_at_end(&self->thread);
    current.control = NULL;
    Py_DECREF((PyObject *) self);
    Py_RETURN_NONE;
}

/* How long the first hunt gets before the next; doubles up to the second value. */
static const int64_t hunt_again_ns[2] = {200000000, 1600000000};

static int wait_for_pause(void *object, mh_deadline deadline, ext_waiting *waiting)
{
    ext_control *control = object;
    for (int64_t span = hunt_again_ns[0];; span = span < hunt_again_ns[1] ? span * 2 : span) {
        mh_deadline next = mh_in_ns(span);
        int rc = mh_thread_await_pause(&control->thread, next < deadline ? next : deadline, waiting->cancel);
        if (rc != -ETIMEDOUT || deadline <= next) {
            return rc;
        }
        ext_attach(waiting);
        (void) ext_monitor_hunt((PyObject *) control, control);
        ext_detach(waiting);
    }
}

/* The calling thread parks itself, unless it must not be parked here: then it is once it may. */
static int park_self(void *thread, mh_deadline deadline, ext_waiting *waiting)
{
    (void) waiting;
    int rc = mh_thread_pause(thread, deadline, NULL);
    return rc == -ECANCELED ? MH_E_STATE : rc;
}

static PyObject *pause_self(ext_control *self)
{
    if (!ext_may_park()) {
        mh_hold_enter();
        (void) mh_thread_pause(&self->thread, MH_AT_ONCE, NULL);
        mh_hold_leave();
        Py_RETURN_FALSE;
    }
    int rc = ext_wait((PyObject *) self, park_self, &self->thread, EXT_FOREVER);
    return rc == EXT_RAISED ? NULL : PyBool_FromLong(rc >= 0);
}

static PyObject *control_pause(ext_control *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until;
    if (ext_wait_args((PyObject *) self, "pause", args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    if (self == current.control) {
        return pause_self(self);
    }
    int rc = mh_thread_pause(&self->thread, MH_AT_ONCE, NULL);
    if (rc == -ETIMEDOUT) {
        (void) ext_monitor_hunt((PyObject *) self, self);
        rc = ext_wait((PyObject *) self, wait_for_pause, self, until);
        if (rc != -ETIMEDOUT && rc != EXT_RAISED) {
            ext_monitor_drop((PyObject *) self, self);
        }
    }
    return rc == EXT_RAISED ? NULL : PyBool_FromLong(rc >= 0);
}

static PyObject *control_resume(ext_control *self, PyObject *unused)
{
    (void) unused;
    if (mh_thread_resume(&self->thread) < 0 && mh_thread_state(&self->thread) <= MH_RUNNING) {
        ext_refuse(PyExc_RuntimeError, "MH-STATE", "cannot resume a thread that is not paused");
        return NULL;
    }
    if (!ext_control_exit_due(self)) {
        ext_monitor_drop((PyObject *) self, self);
    }
    Py_RETURN_NONE;
}

static PyObject *control_terminate(ext_control *self, PyObject *unused)
{
    (void) unused;
    atomic_store_explicit(&self->asked, mh_now(), memory_order_relaxed);
    atomic_fetch_add_explicit(&self->requests, 1, memory_order_relaxed);
    if (mh_thread_terminate(&self->thread) < 0) {
        return not_running("terminate");
    }
    if (mh_thread_state(&self->thread) != MH_FINISHED) {
        (void) ext_monitor_hunt((PyObject *) self, self);
    }
    Py_RETURN_NONE;
}

static int wait_for_end(void *thread, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_thread_join(thread, deadline, waiting->cancel);
}

/* What the core refuses is not for the control to say: the thread is the calling one, was never adopted, or lived before a
 * fork. */
static PyObject *control_join(ext_control *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until;
    if (ext_wait_args((PyObject *) self, "join", args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    int rc = mh_thread_join(&self->thread, MH_AT_ONCE, NULL);
    if (rc == -ETIMEDOUT && until.at != MH_AT_ONCE && ext_wait_is_hopeless(EXT_FOREVER)) {
        return NULL; /* whatever the time limit: it will not run again */
    }
    if (rc == -ETIMEDOUT && until.at != MH_AT_ONCE) {
        rc = ext_wait((PyObject *) self, wait_for_end, &self->thread, until);
    }
    if (rc < 0 && rc != -ETIMEDOUT && rc != EXT_RAISED) {
        Py_RETURN_NONE;
    }
    return ext_waited(rc);
}

static PyObject *control_get_state(ext_control *self, void *unused)
{
    static const char *const names[] = {
        [MH_NEW] = "new",       [MH_RUNNING] = "running",         [MH_PAUSING] = "pausing",
        [MH_PAUSED] = "paused", [MH_TERMINATING] = "terminating", [MH_FINISHED] = "finished",
    };
    (void) unused;
    return PyUnicode_InternFromString(names[mh_thread_state(&self->thread)]);
}

static PyObject *control_get_cpu_time(ext_control *self, void *unused)
{
    (void) unused;
    int64_t now = 0, ns = 0;
    int rc = mh_thread_cpu_time(&self->thread, &now);
    if (!ext_ending_cpu(self->ending,
                        &ns)) { /* after the look at the clock: the id may be another's by then */
        ns = rc < 0 ? 0 : now;  /* below 0: not started */
    }
    return PyFloat_FromDouble((double) ns / 1e9);
}

static PyObject *control_get_terminating(ext_control *self, void *unused)
{
    (void) unused;
    return PyBool_FromLong(atomic_load_explicit(&self->requests, memory_order_relaxed) != 0);
}

static PyMethodDef control_methods[] = {
    EXT_METHOD("adopt", control_adopt, METH_O,
               "adopt($self, name, /)\n--\n\nTake control of the calling thread, which the system is to show "
               "by that name."),
    EXT_METHOD("disown", control_disown, METH_NOARGS,
               "disown($self, /)\n--\n\nThe calling thread, which adopt() was called in, is about to end."),
    EXT_METHOD("pause", control_pause, EXT_FASTCALL,
               "pause($self, /, timeout=None, *, cancel=None)\n--\n\n"
               "Ask the thread to park and wait until it does, at most `timeout` seconds; the request stands "
               "after that.\n"
               "Return whether it is parked."),
    EXT_METHOD(
        "join", control_join, EXT_FASTCALL,
        "join($self, /, timeout=None, *, cancel=None)\n--\n\n"
        "Wait until the thread has disowned the control, at most `timeout` seconds. Return whether it has; "
        "None where the\nthread is the calling one, has not begun, or stayed behind at a fork."),
    EXT_METHOD("resume", control_resume, METH_NOARGS, "resume($self, /)\n--\n\nLet the thread go on."),
    EXT_METHOD("terminate", control_terminate, METH_NOARGS,
               "terminate($self, /)\n--\n\nAsk the thread to end: ThreadExit is raised in it."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef control_getset[] = {
    {"state", (getter) control_get_state, NULL, PyDoc_STR("The name of the thread's state."), NULL},
    {"cpu_time", (getter) control_get_cpu_time, NULL, PyDoc_STR("Seconds of processor time used so far."),
     NULL},
    {"terminating", (getter) control_get_terminating, NULL, PyDoc_STR("Whether terminate() was called."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot control_slots[] = {
    {Py_tp_doc,
     (void *) PyDoc_STR("Control()\n--\n\nHow one thread is paused, resumed and terminated by others.")},
    {Py_tp_new, control_new},
    {Py_tp_dealloc, control_dealloc},
    {Py_tp_methods, control_methods},
    {Py_tp_getset, control_getset},
    {0, NULL},
};

static PyType_Spec control_spec = {
    .name = "manyhands._core.Control",
    .basicsize = sizeof(ext_control),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = control_slots,
};

int ext_control_ready(PyObject *module, ext_state *state)
{
    if (ext_add_type(module, state, EXT_SHIELD_TYPE, &shield_spec, NULL) < 0) {
        return -1;
    }
    return ext_add_type(module, state, EXT_CONTROL_TYPE, &control_spec, NULL);
}
