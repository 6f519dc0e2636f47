/* What every thread of this interpreter is doing, and an exception for one of them.
 *
 * sys._current_frames() tells of the threads of all interpreters of the process. From 3.12 on those may have a GIL of their
 * own: to make a frame object of theirs, under our GIL and with our allocator, corrupts both. Hence a walk of our own. Without
 * a GIL all interpreters are stopped meanwhile and share an allocator, and on 3.11 they share the GIL: there it is sound. */
#include "common.h"

#if PY_VERSION_HEX < 0x030c0000 || defined Py_GIL_DISABLED
PyObject *ext_current_frames(PyObject *module, PyObject *unused)
{
    (void) module, (void) unused;
    PyObject *function = PySys_GetObject("_current_frames"); /* borrowed */
    if (function == NULL) {
        ext_refuse(PyExc_RuntimeError, "MH-SYSTEM", "sys._current_frames() is gone");
        return NULL;
    }
    return PyObject_CallNoArgs(function);
}
#else
static int add(PyObject *frames, PyThreadState *state)
{
    PyFrameObject *frame = state->thread_id == 0 ? NULL : PyThreadState_GetFrame(state);
    if (frame == NULL) { /* it runs no Python code */
        return 0;
    }
    PyObject *ident = PyLong_FromUnsignedLong(state->thread_id);
    int rc = ident == NULL ? -1 : PyDict_SetItem(frames, ident, (PyObject *) frame);
    Py_XDECREF(ident);
    Py_DECREF(frame);
    return rc;
}

/* The GIL keeps the threads of this interpreter, but for one that a foreign thread is about to add at the head of the list: it
 * is complete before the head names it, and runs no Python code yet. Nothing in the loop runs Python code (since
 * 3.12 collections begin between bytecodes only), so none of them goes meanwhile. */
PyObject *ext_current_frames(PyObject *module, PyObject *unused)
{
    (void) module, (void) unused;
    PyObject *frames = PyDict_New();
    PyThreadState *at = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    while (frames != NULL && at != NULL) {
        if (add(frames, at) < 0) {
            Py_CLEAR(frames);
        }
        at = PyThreadState_Next(at);
    }
    return frames;
}
#endif

PyObject *ext_raise_in(PyObject *module, PyObject *args)
{
    (void) module;
    unsigned long ident;
    PyObject *type;
    if (!PyArg_ParseTuple(args, "kO:_raise_in", &ident, &type)) {
        return NULL;
    }
    return PyBool_FromLong(PyThreadState_SetAsyncExc(ident, type) > 0);
}
