/* Arguments of METH_FASTCALL | METH_KEYWORDS methods, and of tp_new and tp_init. */
#include "common.h"

static int too_many(const ext_signature *s, Py_ssize_t given)
{
    PyErr_Format(PyExc_TypeError, "%s() takes %s %d positional argument%s (%zd given)", s->function,
                 s->required == s->positional ? "exactly" : "at most", s->positional,
                 s->positional == 1 ? "" : "s", given);
    return -1;
}

static int index_of(const ext_signature *s, PyObject *name)
{
    for (int i = 0; i < s->count; i++) {
        if (PyUnicode_CompareWithASCIIString(name, s->names[i]) == 0) {
            return i;
        }
    }
    return -1;
}

static int put_keyword(const ext_signature *s, PyObject *name, PyObject *value, unsigned *given,
                       PyObject **out)
{
    int i = PyUnicode_Check(name) ? index_of(s, name) : -1;
    if (i < 0) {
        PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%S'", s->function, name);
        return -1;
    }
    if (*given & (1u << i)) {
        PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%U'", s->function, name);
        return -1;
    }
    *given |= 1u << i;
    out[i] = value;
    return 0;
}

static int check_required(const ext_signature *s, unsigned given)
{
    for (int i = 0; i < s->required; i++) {
        if (!(given & (1u << i))) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", s->function, s->names[i]);
            return -1;
        }
    }
    return 0;
}

static int put_positional(const ext_signature *s, PyObject *const *args, Py_ssize_t nargs, unsigned *given,
                          PyObject **out)
{
    if (nargs > s->positional) {
        return too_many(s, nargs);
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        out[i] = args[i];
        *given |= 1u << i;
    }
    return 0;
}

int ext_args(const ext_signature *s, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
             PyObject **out)
{
    unsigned given = 0;
    if (put_positional(s, args, nargs, &given, out) < 0) {
        return -1;
    }
    Py_ssize_t keywords = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t k = 0; k < keywords; k++) {
        if (put_keyword(s, PyTuple_GET_ITEM(kwnames, k), args[nargs + k], &given, out) < 0) {
            return -1;
        }
    }
    return check_required(s, given);
}

int ext_args_tuple(const ext_signature *s, PyObject *args, PyObject *kwargs, PyObject **out)
{
    unsigned given = 0;
    Py_ssize_t nargs = PyTuple_GET_SIZE(args);
    if (nargs > s->positional) {
        return too_many(s, nargs);
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        out[i] = PyTuple_GET_ITEM(args, i);
        given |= 1u << i;
    }
    PyObject *name, *value;
    Py_ssize_t position = 0;
    while (kwargs != NULL && PyDict_Next(kwargs, &position, &name, &value)) {
        if (put_keyword(s, name, value, &given, out) < 0) {
            return -1;
        }
    }
    return check_required(s, given);
}

PyObject *ext_call_method(const char *name, PyObject *const *args, size_t nargs)
{
    PyObject *key = PyUnicode_InternFromString(name);
    if (key == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_VectorcallMethod(key, args, nargs, NULL);
    Py_DECREF(key);
    return result;
}

/* The class lies in manyhands.NAME and stands for the stdlib's NAME; a subclass elsewhere prints its own module. */
PyObject *ext_class_name(PyObject *self, const char *module)
{
    static const char package[] = "manyhands.";
    PyObject *type = (PyObject *) Py_TYPE(self);
    PyObject *own = PyObject_GetAttrString(type, "__module__");
    PyObject *name = PyObject_GetAttrString(type, "__qualname__");
    PyObject *result = NULL;
    if (own != NULL && name != NULL) {
        const char *text = PyUnicode_Check(own) ? PyUnicode_AsUTF8(own) : NULL;
        size_t skip = sizeof package - 1;
        bool ours = text != NULL && strncmp(text, package, skip) == 0 && strcmp(text + skip, module) == 0;
        if (ours) {
            result = PyUnicode_FromFormat("%s.%S", module, name);
        } else if (!PyErr_Occurred()) {
            result = PyUnicode_FromFormat("%S.%S", own, name);
        }
    }
    Py_XDECREF(own);
    Py_XDECREF(name);
    return result;
}

int ext_overrides(PyTypeObject *type, PyTypeObject *base, const char *name)
{
    if (type == base) {
        return 0;
    }
    PyObject *mine = PyObject_GetAttrString((PyObject *) type, name);
    PyObject *theirs = mine == NULL ? NULL : PyObject_GetAttrString((PyObject *) base, name);
    int rc = theirs == NULL ? -1 : mine != theirs;
    Py_XDECREF(mine);
    Py_XDECREF(theirs);
    return rc;
}
