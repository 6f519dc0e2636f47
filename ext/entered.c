/* ext/entered.c - Entered: what `with` needs, of an object that stands over another. `with lock:` of a class in Python costs
 * two calls of Python, which take longer than the lock; here the two callables lie in the object, and C calls them. */
#include "common.h"

typedef struct entered {
    PyObject_HEAD
    PyObject *enter, *leave; /* NULL: _enters() was not called */
    int told;                /* `leave` is told of the exception */
} entered;

static PyObject *entered_enters(entered *self, PyObject *const *args, Py_ssize_t nargs)
{
    int told = nargs == 3 ? PyObject_IsTrue(args[2]) : 0;
    if (nargs != 3 || told < 0) {
        return nargs == 3 ? NULL : PyErr_Format(PyExc_TypeError, "_enters(enter, leave, told)");
    }
    Py_XSETREF(self->enter, Py_NewRef(args[0]));
    Py_XSETREF(self->leave, Py_NewRef(args[1]));
    self->told = told;
    Py_RETURN_NONE;
}

static PyObject *checked(entered *self, PyObject *callable)
{
    if (callable == NULL) {
        ext_refuse(PyExc_RuntimeError, "MH-STATE", "%s.__init__() was not called", Py_TYPE(self)->tp_name);
    }
    return callable;
}

static PyObject *entered_enter(entered *self, PyObject *Py_UNUSED(ignored))
{
    return checked(self, self->enter) == NULL ? NULL : PyObject_CallNoArgs(self->enter);
}

/* What it returns is not asked for: an exception goes on. */
static PyObject *entered_exit(entered *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (checked(self, self->leave) == NULL) {
        return NULL;
    }
    PyObject *said = PyObject_Vectorcall(self->leave, args, self->told ? (size_t) nargs : 0, NULL);
    Py_XDECREF(said);
    return said == NULL ? NULL : Py_NewRef(Py_None);
}

static int entered_traverse(entered *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->enter);
    Py_VISIT(self->leave);
    return 0;
}

static int entered_clear(entered *self)
{
    Py_CLEAR(self->enter);
    Py_CLEAR(self->leave);
    return 0;
}

static void entered_dealloc(entered *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void) entered_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef entered_methods[] = {
    EXT_METHOD("_enters", entered_enters, METH_FASTCALL,
               "_enters($self, enter, leave, told, /)\n--\n\nWhat `with` calls; `told`: leave() is told of "
               "the exception."),
    EXT_METHOD("__enter__", entered_enter, METH_NOARGS, "__enter__($self, /)\n--\n\nAcquire it."),
    EXT_METHOD("__exit__", entered_exit, METH_FASTCALL, "__exit__($self, /, *args)\n--\n\nRelease it."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot entered_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "An object that `with` takes."},
    {Py_tp_dealloc, entered_dealloc},
    {Py_tp_traverse, entered_traverse},
    {Py_tp_clear, entered_clear},
    {Py_tp_methods, entered_methods},
    {0, NULL},
};

static PyType_Spec entered_spec = {"manyhands._core.Entered", sizeof(entered), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                   entered_slots};

int ext_entered_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, -1, &entered_spec, NULL);
}
