/* Time-outs: Python's seconds to the core's absolute instants. */
#include "common.h"

#include <math.h>

static int too_large(void)
{
    PyErr_SetString(PyExc_OverflowError, "timeout value is too large");
    return -1;
}

static int from_double(double seconds, int64_t *ns)
{
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "Invalid value NaN (not a number)");
        return -1;
    }
    if (seconds > EXT_TIMEOUT_MAX) {
        return too_large();
    }
    double scaled = ceil(seconds * 1e9);
    *ns = scaled < -9.2e18 ? INT64_MIN : (int64_t) scaled;
    return 0;
}

static int from_int(PyObject *value, int64_t *ns)
{
    int overflow;
    long long seconds = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (seconds == -1 && overflow == 0 && PyErr_Occurred()) {
        return -1;
    }
    if (overflow > 0 || seconds > (long long) EXT_TIMEOUT_MAX) {
        return too_large();
    }
    *ns = overflow < 0 || seconds < -(long long) EXT_TIMEOUT_MAX ? INT64_MIN : seconds * 1000000000;
    return 0;
}

int ext_seconds(PyObject *value, int64_t *ns)
{
    if (PyFloat_Check(value)) {
        return from_double(PyFloat_AS_DOUBLE(value), ns);
    }
    if (PyLong_Check(value)) {
        return from_int(value, ns);
    }
    PyNumberMethods *number = Py_TYPE(value)->tp_as_number;
    if (number != NULL && number->nb_index == NULL && number->nb_float != NULL) {
        double seconds = PyFloat_AsDouble(value);
        return seconds == -1.0 && PyErr_Occurred() ? -1 : from_double(seconds, ns);
    }
    PyObject *index = PyNumber_Index(value); /* says "'str' object cannot be interpreted as an integer" */
    int rc = index == NULL ? -1 : from_int(index, ns);
    Py_XDECREF(index);
    return rc;
}

int ext_deadline(PyObject *timeout, mh_deadline *deadline)
{
    int64_t ns;
    if (timeout == NULL || timeout == Py_None) {
        *deadline = MH_FOREVER;
        return 0;
    }
    if (ext_seconds(timeout, &ns) < 0) {
        return -1;
    }
    *deadline = ns <= 0 ? MH_AT_ONCE : mh_in_ns(ns);
    return 0;
}

int ext_cancel_arg(PyObject *self, PyObject *value, ext_cancel **cancel)
{
    *cancel = NULL;
    if (value == NULL || value == Py_None) {
        return 0;
    }
    PyObject *type = ext_ref(self, EXT_CANCEL_TYPE);
    if (type == NULL) {
        return -1;
    }
    if ((PyObject *) Py_TYPE(value) != type) {
        ext_refuse(PyExc_TypeError, "MH-ARGUMENT", "cancel must be a CancelToken or None, not %.200s",
                   Py_TYPE(value)->tp_name);
        return -1;
    }
    *cancel = (ext_cancel *) value;
    return 0;
}

int ext_until_args(PyObject *self, PyObject *timeout, PyObject *cancel, ext_until *until)
{
    return ext_deadline(timeout, &until->at) < 0 ? -1 : ext_cancel_arg(self, cancel, &until->cancel);
}

int ext_wait_args(PyObject *self, const char *function, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames, ext_until *until)
{
    const ext_signature signature = {function, 0, 1, 2, {"timeout", "cancel"}};
    PyObject *given[2] = {NULL, NULL};
    *until = EXT_FOREVER;
    if (nargs == 0 && kwnames == NULL) {
        return 0;
    }
    return ext_args(&signature, args, nargs, kwnames, given) < 0
               ? -1
               : ext_until_args(self, given[0], given[1], until);
}

static int value_error(const char *text)
{
    PyErr_SetString(PyExc_ValueError, text);
    return -1;
}

int ext_lock_args(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                  ext_until *until)
{
    static const ext_signature signature = {"acquire", 0, 2, 3, {"blocking", "timeout", "cancel"}};
    PyObject *given[3] = {NULL, NULL, NULL};
    int64_t ns = -1000000000;
    if (ext_args(&signature, args, nargs, kwnames, given) < 0 ||
        ext_cancel_arg(self, given[2], &until->cancel) < 0) {
        return -1;
    }
    int blocking = given[0] == NULL ? 1 : PyObject_IsTrue(given[0]);
    if (blocking < 0 || (given[1] != NULL && ext_seconds(given[1], &ns) < 0)) {
        return -1;
    }
    bool unset = ns == -1000000000;
    if (!blocking && !unset) {
        return value_error("can't specify a timeout for a non-blocking call");
    }
    if (ns < 0 && !unset) {
        return ns == INT64_MIN ? too_large() : value_error("timeout value must be a non-negative number");
    }
    until->at = !blocking || ns == 0 ? MH_AT_ONCE : unset ? MH_FOREVER : mh_in_ns(ns);
    return 0;
}

int ext_sem_args(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, ext_until *until)
{
    static const ext_signature signature = {"acquire", 0, 2, 3, {"blocking", "timeout", "cancel"}};
    PyObject *given[3] = {NULL, NULL, NULL};
    if (ext_args(&signature, args, nargs, kwnames, given) < 0 ||
        ext_cancel_arg(self, given[2], &until->cancel) < 0) {
        return -1;
    }
    int blocking = given[0] == NULL ? 1 : PyObject_IsTrue(given[0]);
    if (blocking < 0) {
        return -1;
    }
    bool timed = given[1] != NULL && given[1] != Py_None;
    if (!blocking && timed) {
        return value_error("can't specify timeout for non-blocking acquire");
    }
    until->at = MH_AT_ONCE;
    return blocking ? ext_deadline(given[1], &until->at) : 0;
}

int ext_queue_deadline(PyObject *block, PyObject *timeout, mh_deadline *deadline)
{
    int64_t ns;
    int blocking = block == NULL ? 1 : PyObject_IsTrue(block);
    *deadline = blocking ? MH_FOREVER : MH_AT_ONCE;
    if (blocking <= 0 || timeout == NULL || timeout == Py_None) {
        return blocking < 0 ? -1 : 0;
    }
    if (ext_seconds(timeout, &ns) < 0) {
        return -1;
    }
    if (ns < 0) {
        return value_error("'timeout' must be a non-negative number");
    }
    *deadline = ns == 0 ? MH_AT_ONCE : mh_in_ns(ns);
    return 0;
}

int ext_get_args(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, ext_until *until)
{
    static const ext_signature signature = {"get", 0, 2, 3, {"block", "timeout", "cancel"}};
    PyObject *given[3] = {NULL, NULL, NULL};
    if (ext_args(&signature, args, nargs, kwnames, given) < 0 ||
        ext_cancel_arg(self, given[2], &until->cancel) < 0) {
        return -1;
    }
    return ext_queue_deadline(given[0], given[1], &until->at);
}
