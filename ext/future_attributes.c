/* The attributes of a future as the standard library's module functions and other programs know them: a condition and lists,
 * which are made when somebody asks for them, and the state's name.
 */
#include "future.h"

static const char *const state_names[] = {"PENDING", "RUNNING", "CANCELLED", "CANCELLED_AND_NOTIFIED",
                                          "FINISHED"};

static PyObject *make_condition(ext_future *self)
{
    PyObject *condition = ext_future_field(self, &self->condition);
    if (condition != NULL) {
        return condition;
    }
    PyObject *type = ext_ref((PyObject *) self, EXT_CONDITION_TYPE);
    PyObject *made = type == NULL ? NULL : PyObject_CallNoArgs(type);
    if (made == NULL) {
        return NULL;
    }
    EXT_CRITICAL_BEGIN(self);
    if (self->condition == NULL) {
        self->condition = Py_NewRef(made);
    }
    condition = Py_NewRef(self->condition);
    EXT_CRITICAL_END;
    Py_DECREF(made);
    return condition;
}

static PyObject *get_condition(ext_future *self, void *unused)
{
    (void) unused;
    return make_condition(self);
}

/* The list at `place`, made where there is none. Who has it may change it: under the condition's lock, and so do we. */
static PyObject *get_list(ext_future *self, PyObject **place)
{
    PyObject *condition = make_condition(self), *made = condition == NULL ? NULL : PyList_New(0), *list;
    Py_XDECREF(condition);
    if (made == NULL) {
        return NULL;
    }
    EXT_CRITICAL_BEGIN(self);
    if (*place == NULL) {
        *place = Py_NewRef(made);
    }
    list = Py_NewRef(*place);
    EXT_CRITICAL_END;
    Py_DECREF(made);
    return list;
}

static PyObject *get_waiters(ext_future *self, void *unused)
{
    (void) unused;
    return get_list(self, &self->waiters);
}

static PyObject *get_callbacks(ext_future *self, void *unused)
{
    (void) unused;
    return get_list(self, &self->callbacks);
}

static PyObject *get_state(ext_future *self, void *unused)
{
    (void) unused;
    return PyUnicode_InternFromString(state_names[ext_future_state_of(self)]);
}

/* The field at that offset; NULL reads as None. */
static PyObject **place_of(ext_future *self, void *offset)
{
    return (PyObject **) ((char *) self + (uintptr_t) offset);
}

static PyObject *get_reference(ext_future *self, void *offset)
{
    PyObject *value = ext_future_field(self, place_of(self, offset));
    return value == NULL ? Py_NewRef(Py_None) : value;
}

static int undeletable(PyObject *value)
{
    if (value == NULL) {
        ext_refuse(PyExc_AttributeError, "MH-ARGUMENT", "attributes of a Future cannot be deleted");
        return -1;
    }
    return 0;
}

static int set_condition(ext_future *self, PyObject *value, void *unused)
{
    (void) unused;
    if (undeletable(value) < 0) {
        return -1;
    }
    ext_future_set_field(self, &self->condition, Py_NewRef(value));
    return 0;
}

static int set_list(ext_future *self, PyObject **place, PyObject *value)
{
    if (undeletable(value) < 0) {
        return -1;
    }
    if (!PyList_Check(value)) {
        PyErr_Format(PyExc_TypeError, "a list, not %.200s", Py_TYPE(value)->tp_name);
        return -1;
    }
    PyObject *condition = make_condition(self);
    if (condition == NULL) {
        return -1;
    }
    Py_DECREF(condition);
    ext_future_set_field(self, place, Py_NewRef(value));
    return 0;
}

static int set_waiters(ext_future *self, PyObject *value, void *unused)
{
    (void) unused;
    return set_list(self, &self->waiters, value);
}

static int set_callbacks(ext_future *self, PyObject *value, void *unused)
{
    (void) unused;
    return set_list(self, &self->callbacks, value);
}

static int set_state_name(ext_future *self, PyObject *value, void *unused)
{
    (void) unused;
    if (undeletable(value) < 0) {
        return -1;
    }
    for (size_t i = 0; PyUnicode_Check(value) && i < sizeof state_names / sizeof state_names[0]; i++) {
        if (PyUnicode_CompareWithASCIIString(value, state_names[i]) == 0) {
            ext_future_set_state(self, (enum ext_future_state) i);
            if (i >= EXT_F_CANCELLED) {
                ext_future_wake(self);
            } else {
                mh_event_clear(&self->done);
            }
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError, "not a state of a Future: %R", value);
    return -1;
}

static int set_reference(ext_future *self, PyObject *value, void *offset)
{
    if (undeletable(value) < 0) {
        return -1;
    }
    ext_future_set_field(self, place_of(self, offset), value == Py_None ? NULL : Py_NewRef(value));
    return 0;
}

#define GETSET(name, get, set) {name, (getter) (get), (setter) (set), NULL, NULL}
#define REFERENCE(name, field) \
    {name, (getter) get_reference, (setter) set_reference, NULL, (void *) offsetof(ext_future, field)}

PyGetSetDef ext_future_attributes[] = {
    GETSET("_condition", get_condition, set_condition),
    GETSET("_state", get_state, set_state_name),
    GETSET("_waiters", get_waiters, set_waiters),
    GETSET("_done_callbacks", get_callbacks, set_callbacks),
    REFERENCE("_result", result),
    REFERENCE("_exception", exception),
    REFERENCE("_engine", engine),
    REFERENCE("_call", call),
    REFERENCE("_options", options),
    REFERENCE("_worker", worker),
    REFERENCE("_ended", ended),
    REFERENCE("_alarm", alarm),
    {NULL, NULL, NULL, NULL, NULL},
};
