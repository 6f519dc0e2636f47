/* Exceptions: which classes the core raises, and how codes of libmanyhands become exceptions. */
#include "common.h"

static int take(ext_state *state, enum ext_ref which, PyObject *module, const char *name)
{
    PyObject *value = PyObject_GetAttrString(module, name);
    if (value == NULL) {
        return -1;
    }
    Py_XSETREF(state->ref[which], value);
    return 0;
}

/* `manyhands.errors` imports nothing that may be substituted, and the package imports it before the core. */
int ext_errors_ready(PyObject *module, ext_state *state)
{
    (void) module;
    PyObject *errors = PyImport_ImportModule("manyhands.errors");
    if (errors == NULL) {
        return -1;
    }
    int rc = take(state, EXT_OWNER_DIED, errors, "OwnerDiedError") < 0 ||
             take(state, EXT_POISON, errors, "PoisonError") < 0 ||
             take(state, EXT_SEGMENT_ERROR, errors, "SegmentError") < 0 ||
             take(state, EXT_THREAD_EXIT, errors, "ThreadExit") < 0 ||
             take(state, EXT_CANCELLED, errors, "Cancelled") < 0;
    Py_DECREF(errors);
    return rc ? -1 : 0;
}

PyObject *ext_raise(PyObject *self, enum ext_ref which, const char *text)
{
    PyObject *exception = ext_ref(self, which);
    if (exception != NULL && text != NULL) {
        PyErr_SetString(exception, text);
    } else if (exception != NULL) {
        PyErr_SetNone(exception);
    }
    return NULL;
}

/* The error is the thing, the line below it is not: one that cannot be made is left out. */
static void add_note(const char *code)
{
    PyObject *error = ext_error_take();
    PyObject *note = PyUnicode_FromFormat("%s: python -m manyhands explain %s", code, code);
    PyObject *added = note == NULL ? NULL : PyObject_CallMethod(error, "add_note", "O", note);
    if (added == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(added);
    Py_XDECREF(note);
    ext_error_put(error);
}

PyObject *ext_refuse(PyObject *type, const char *code, const char *format, ...)
{
    va_list words;
    va_start(words, format);
    PyErr_FormatV(type, format, words);
    va_end(words);
    add_note(code);
    return NULL;
}

int ext_raise_code(PyObject *self, int code)
{
    switch (code) {
    case -ECANCELED:
        ext_raise(self, EXT_THREAD_EXIT, NULL);
        break;
    case -ENOMEM:
        PyErr_NoMemory();
        break;
    case -EOVERFLOW:
        PyErr_SetString(PyExc_OverflowError, mh_strerror(code));
        break;
    default:
        if (code > -4096) {
            PyObject *args = Py_BuildValue("is", -code, mh_strerror(code));
            if (args != NULL) {
                PyErr_SetObject(PyExc_OSError, args);
                Py_DECREF(args);
            }
        } else {
            ext_refuse(PyExc_RuntimeError, "MH-LIBRARY", "%s: %s", mh_error_name(code), mh_strerror(code));
        }
    }
    return EXT_RAISED;
}

int ext_deprecated(const char *text)
{
    return PyErr_WarnEx(PyExc_DeprecationWarning, text, 1);
}

#if PY_VERSION_HEX >= 0x030c0000
PyObject *ext_error_take(void)
{
    return PyErr_GetRaisedException();
}

void ext_error_put(PyObject *error)
{
    PyErr_SetRaisedException(error);
}
#else
PyObject *ext_error_take(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
        Py_DECREF(traceback);
    }
    Py_DECREF(type);
    return value;
}

void ext_error_put(PyObject *error)
{
    PyErr_Restore(Py_NewRef((PyObject *) Py_TYPE(error)), error, PyException_GetTraceback(error));
}
#endif
