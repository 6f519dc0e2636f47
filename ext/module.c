/* The module manyhands._core: its state, and the table of type families. */
#include "control.h"
#include "named.h"

static int (*const families[])(PyObject *, ext_state *) = {
    ext_named_ready,       ext_wait_ready,        ext_cleanup_ready,     ext_errors_ready,
    ext_cancel_ready,      ext_lock_ready,        ext_rlock_ready,       ext_cond_ready,
    ext_sem_ready,         ext_event_ready,       ext_barrier_ready,     ext_rwlock_ready,
    ext_queue_ready,       ext_simplequeue_ready, ext_control_ready,     ext_signals_ready,
    ext_shared_lock_ready, ext_shared_sync_ready, ext_shared_cond_ready, ext_mpqueue_ready,
    ext_queue_end_ready,   ext_pipe_end_ready,    ext_process_ready,     ext_shared_rwlock_ready,
    ext_observe_ready,     ext_atomic_ready,      ext_entered_ready,     ext_synced_ready,
    ext_future_ready,      ext_tasks_ready,
};

ext_state *ext_state_of(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &ext_module);
    return module == NULL ? NULL : PyModule_GetState(module);
}

ext_state *ext_state_for(PyObject *self)
{
    return PyModule_Check(self) ? PyModule_GetState(self) : ext_state_of(Py_TYPE(self));
}

PyObject *ext_ref(PyObject *self, enum ext_ref which)
{
    ext_state *state = ext_state_for(self);
    if (state == NULL) {
        return NULL;
    }
    if (state->ref[which] == NULL) {
        ext_refuse(PyExc_RuntimeError, "MH-LIBRARY",
                   "manyhands._core is not bound to the package, or is being unloaded");
    }
    return state->ref[which];
}

int ext_add_type(PyObject *module, ext_state *state, int which, PyType_Spec *spec, PyObject *bases)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, bases);
    if (type == NULL) {
        return -1;
    }
    int rc = PyModule_AddType(module, (PyTypeObject *) type);
    if (rc == 0 && which >= 0) {
        Py_XSETREF(state->ref[which], Py_NewRef(type));
    }
    Py_DECREF(type);
    return rc;
}

/* Names that the package binds because C must not import a module whose name may be substituted. */
static const struct {
    const char *name;
    enum ext_ref which;
} bindable[] = {
    {"BrokenBarrierError", EXT_BROKEN_BARRIER},
    {"CancelledError", EXT_CANCELLED_ERROR},
    {"Empty", EXT_EMPTY},
    {"Future", EXT_NEW_FUTURE},
    {"callback_failed", EXT_CALLBACK_FAILED},
    {"std_Future", EXT_STD_FUTURE},
    {"Full", EXT_FULL},
    {"ShutDown", EXT_SHUT_DOWN},
    {"deadlock", EXT_DEADLOCK},
    {"marks", EXT_MARKS},
    {"dumps", EXT_DUMPS},
    {"loads", EXT_LOADS},
};

static PyObject *module_bind(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    ext_state *state = PyModule_GetState(module);
    if (nargs != 2 || !PyUnicode_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "_bind(name, object)");
        return NULL;
    }
    for (size_t i = 0; i < sizeof bindable / sizeof bindable[0]; i++) {
        if (PyUnicode_CompareWithASCIIString(args[0], bindable[i].name) == 0) {
            Py_XSETREF(state->ref[bindable[i].which], Py_NewRef(args[1]));
            Py_RETURN_NONE;
        }
    }
    PyErr_Format(PyExc_ValueError, "nothing to bind under the name %R", args[0]);
    return NULL;
}

static PyMethodDef module_methods[] = {
    EXT_METHOD(
        "checkpoint", ext_checkpoint, METH_NOARGS,
        "checkpoint($module, /)\n--\n\n"
        "Park here while a pause of the calling thread is asked for; raise ThreadExit once it is to end."),
    EXT_METHOD("shield", ext_shield, METH_NOARGS,
               "shield($module, /)\n--\n\n"
               "A context in which the calling thread is neither parked nor ended: `with shield(): ...`."),
    EXT_METHOD("_waits", ext_waits, METH_NOARGS,
               "_waits($module, /)\n--\n\n"
               "Return (ident, key, object, seconds, owner's key or 0) for each wait, newest first."),
    EXT_METHOD("_current_frames", ext_current_frames, METH_NOARGS,
               "_current_frames($module, /)\n--\n\n"
               "Return {ident: frame} for each thread of this interpreter that runs Python code."),
    EXT_METHOD("_raise_in", ext_raise_in, METH_VARARGS,
               "_raise_in($module, ident, type, /)\n--\n\n"
               "Raise an exception of the type in a thread of this interpreter, at its next bytecode; False: "
               "no such thread."),
    EXT_METHOD("_unlink", ext_unlink, METH_O,
               "_unlink($module, name, /)\n--\n\nTake the name of a segment of shared memory away."),
    EXT_METHOD("signals_put_off", ext_signals_put_off, METH_NOARGS,
               "signals_put_off($module, /)\n--\n\n"
               "A context for what is to be started whole or not at all: handlers of SIGINT, SIGTERM, "
               "SIGHUP, SIGQUIT, "
               "SIGALRM, SIGUSR1 and SIGUSR2 run when it ends, or before it begins; in a child forked "
               "within, at once. "
               "Not for what may wait long. May be nested; nothing is done in any thread but the first, "
               "since Python "
               "runs handlers in that one alone."),
    EXT_METHOD("_signals_come", ext_signals_come, METH_NOARGS,
               "_signals_come($module, /)\n--\n\n"
               "In a child that was forked within signals_put_off(), and does not return there: its end."),
    EXT_METHOD("_held", ext_held_list, METH_NOARGS,
               "_held($module, /)\n--\n\nReturn (ident of the thread, lock) for each lock that is held."),
    EXT_METHOD("_bind", module_bind, METH_FASTCALL,
               "_bind($module, name, value, /)\n--\n\n"
               "Hand the core a class of the standard library that it raises."),
    {NULL, NULL, 0, NULL},
};

/* What threading.Lock is before 3.13. It calls itself Lock, since it is pickled by its name. */
static PyMethodDef lock_method =
    EXT_METHOD("Lock", ext_allocate_lock, METH_NOARGS, "Lock($module, /)\n--\n\nReturn a new Lock.");

static int add_allocate_lock(PyObject *module)
{
    PyObject *function = PyCFunction_NewEx(&lock_method, module, NULL);
    int rc = function == NULL ? -1 : PyModule_AddObjectRef(module, "allocate_lock", function);
    Py_XDECREF(function);
    return rc;
}

static int module_exec(PyObject *module)
{
    ext_state *state = PyModule_GetState(module);
    atomic_flag_clear(&state->blocked_guard);
    state->importer = PyThread_get_thread_ident();
    state->main_interpreter = PyInterpreterState_GetID(PyInterpreterState_Get()) == 0;
    if (!state->main_interpreter) {
        atomic_store_explicit(&ext_several_interpreters, true, memory_order_relaxed);
    }
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        if (families[i](module, state) < 0) {
            return -1;
        }
    }
    return add_allocate_lock(module);
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    ext_state *state = PyModule_GetState(module);
    for (int i = 0; i < EXT_REF_COUNT; i++) {
        Py_VISIT(state->ref[i]);
    }
    return 0;
}

static int module_clear(PyObject *module)
{
    ext_state *state = PyModule_GetState(module);
    ext_monitor_forget(state);
    for (int i = 0; i < EXT_REF_COUNT; i++) {
        Py_CLEAR(state->ref[i]);
    }
    return 0;
}

static void module_free(void *module)
{
    module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030d0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

struct PyModuleDef ext_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "manyhands._core",
    .m_doc = "The compiled core of manyhands. Internal: use manyhands.threading, .queue, .multiprocessing, "
             ".futures.",
    .m_size = sizeof(ext_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&ext_module);
}
