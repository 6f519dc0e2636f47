/* Where a thread is not to be ended: in a `finally`, an `__exit__`, a `__del__`. What the instructions of a code object are
 * is found out once, by _impl/cleanup.py, and kept: {address of the code: (code, marks)}. */
#include "control.h"

#define KEEP_AT_MOST 1024

/* The calling thread runs marks(), which is no place of its own program. */
static _Thread_local bool finding_out;

bool ext_is_finding_out(void)
{
    return finding_out;
}

static PyObject *find_out(PyObject *self, PyObject *code)
{
    PyObject *function = ext_ref(self, EXT_MARKS);
    finding_out = true;
    PyObject *marks = function == NULL ? NULL : PyObject_CallOneArg(function, code);
    finding_out = false;
    if (marks != NULL && !PyBytes_Check(marks)) {
        PyErr_SetString(PyExc_TypeError, "marks() must return bytes");
        Py_CLEAR(marks);
    }
    PyObject *pair = marks == NULL ? NULL : PyTuple_Pack(2, code, marks);
    Py_XDECREF(marks);
    return pair;
}

/* (code, marks): new reference. */
static PyObject *look_up(PyObject *self, PyObject *known, PyObject *code)
{
    PyObject *key = PyLong_FromVoidPtr(code);
    PyObject *pair = key == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(known, key));
    if (key != NULL && pair == NULL && !PyErr_Occurred()) {
        pair = find_out(self, code);
        if (PyDict_GET_SIZE(known) >= KEEP_AT_MOST) {
            PyDict_Clear(known);
        }
        if (pair != NULL && PyDict_SetItem(known, key, pair) < 0) {
            Py_CLEAR(pair);
        }
    }
    Py_XDECREF(key);
    return pair;
}

int ext_mark_at(PyObject *self, PyObject *code, Py_ssize_t offset)
{
    PyObject *before = ext_error_take();
    PyObject *known = ext_ref(self, EXT_KNOWN_CODE);
    PyObject *pair = known == NULL ? NULL : look_up(self, known, code);
    int mark = EXT_CLEANUP; /* unknown: better late than in the middle */
    if (pair == NULL) {
        PyErr_WriteUnraisable(code);
    } else {
        PyObject *marks = PyTuple_GET_ITEM(pair, 1);
        Py_ssize_t unit = offset / 2;
        mark = unit >= 0 && unit < PyBytes_GET_SIZE(marks) ? PyBytes_AS_STRING(marks)[unit] : 0;
        Py_DECREF(pair);
    }
    if (before != NULL) {
        ext_error_put(before);
    }
    return mark;
}

/* Called by the interpreter where an exception is lost, or where a `with` ends. */
static bool is_cleanup_function(PyCodeObject *code)
{
    return PyUnicode_CompareWithASCIIString(code->co_name, "__exit__") == 0 ||
           PyUnicode_CompareWithASCIIString(code->co_name, "__del__") == 0 ||
           PyUnicode_CompareWithASCIIString(code->co_name, "__aexit__") == 0;
}

static bool frame_in_cleanup(PyObject *self, PyFrameObject *frame)
{
    PyCodeObject *code = PyFrame_GetCode(frame);
    bool found = is_cleanup_function(code) ||
                 (PyBytes_GET_SIZE(code->co_exceptiontable) != 0 &&
                  (ext_mark_at(self, (PyObject *) code, PyFrame_GetLasti(frame)) & EXT_CLEANUP) != 0);
    Py_DECREF(code);
    return found;
}

bool ext_in_cleanup(PyObject *self)
{
    PyFrameObject *frame = (PyFrameObject *) Py_XNewRef((PyObject *) PyEval_GetFrame());
    bool found = false;
    while (frame != NULL) {
        found = frame_in_cleanup(self, frame);
        PyFrameObject *back = found ? NULL : PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    return found;
}

int ext_cleanup_ready(PyObject *module, ext_state *state)
{
    (void) module;
    Py_XSETREF(state->ref[EXT_KNOWN_CODE], PyDict_New());
    return state->ref[EXT_KNOWN_CODE] == NULL ? -1 : 0;
}
