/* ext/synced.c - what multiprocessing's Value and Array stand on: SharedBuffer, their memory, and the types SyncedBase,
 * SyncedValue and SyncedArray, which read and write one number of it under its lock.
 *
 * A number is read without taking the lock, where it is free (mh_rlock_read). The quick way holds the core's lock for a few instructions, in which no Python code runs; so the lock's own notes (who of
 * this process has it) are left alone. Whatever it is not made for - a lock of another kind, one that is taken, an item that
 * is no plain number, a slice - goes the long way: the lock's acquire(), the ctypes object, the lock's release().
 */
#include <string.h>

#include "manyhands/lock.h"
#include "shared_lock.h"

/* ---- SharedBuffer ---------------------------------------------------------------------------------------------- */

static int size_of(PyObject *value, Py_ssize_t *size)
{
    *size = PyNumber_AsSsize_t(value, PyExc_OverflowError);
    if (*size < 0 && !PyErr_Occurred()) {
        ext_refuse(PyExc_ValueError, "MH-ARGUMENT", "a size cannot be negative");
    }
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *buffer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"SharedBuffer", 1, 1, 1, {"size"}};
    PyObject *given = NULL;
    Py_ssize_t size;
    if (ext_args_tuple(&signature, args, kwargs, &given) < 0 || size_of(given, &size) < 0) {
        return NULL;
    }
    return (PyObject *) shared_create(type, size > 0 ? (size_t) size : 1);
}

static PyObject *buffer_rebuild(PyTypeObject *type, PyObject *const *args, Py_ssize_t nargs)
{
    Py_ssize_t size;
    if (nargs != 4) {
        return PyErr_Format(PyExc_TypeError,
                            "_rebuild() takes a descriptor, a slab id, an offset and a size");
    }
    return size_of(args[3], &size) < 0 ? NULL : shared_rebuild(type, args, 3, size > 0 ? (size_t) size : 1);
}

static int buffer_get(PyObject *object, Py_buffer *view, int flags)
{
    shared_object *self = (shared_object *) object;
    return PyBuffer_FillInfo(view, object, self->at, (Py_ssize_t) self->size, 0, flags);
}

static PyMethodDef buffer_methods[] = {
    EXT_METHOD("_rebuild", buffer_rebuild, METH_FASTCALL | METH_CLASS,
               "_rebuild($type, fd, slab, offset, size, /)\n--\n\nThe same memory in another process."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef buffer_getset[] = {
    {"place", shared_place, NULL, PyDoc_STR("(descriptor, slab id, offset): what another process needs."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot buffer_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "SharedBuffer(size)\n--\n\nZeroed memory that child processes share."},
    {Py_tp_new, buffer_new},
    {Py_tp_dealloc, shared_dealloc},
    {Py_tp_methods, buffer_methods},
    {Py_tp_getset, buffer_getset},
    {Py_bf_getbuffer, buffer_get},
    {0, NULL},
};

static PyType_Spec buffer_spec = {"manyhands._core.SharedBuffer", sizeof(shared_object), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, buffer_slots};

/* ---- SyncedBase ------------------------------------------------------------------------------------------------ */

typedef struct synced {
    PyObject_HEAD
    PyObject *obj, *lock;
    shared_lock *core; /* of `lock`, where it is ours; else NULL */
    PyObject *core_kept;
    Py_buffer view;       /* of `obj` while `kind` is not 0 */
    Py_ssize_t count;     /* items of the view */
    unsigned shift;       /* an item has 1 << shift bytes */
    char kind;            /* b h i q: signed, B H I Q: unsigned, by their size; f d ? c; 0: no plain number */
    const mh_rlock *past; /* the lock that a number may be read past; NULL: that is not for this one */
} synced;

/* What an item of the view is. */
static char kind_of(const Py_buffer *view)
{
    const char *format = view->format == NULL ? "B" : view->format;
    format += *format == '<' || *format == '@' || *format == '=';
    if (format[0] == 0 || format[1] != 0) {
        return 0;
    }
    if (strchr("fd?c", *format) != NULL) {
        return *format;
    }
    int is_signed = strchr("bhilq", *format) != NULL;
    if (!is_signed && strchr("BHILQ", *format) == NULL) {
        return 0;
    }
    switch (view->itemsize) {
    case 1:
        return is_signed ? 'b' : 'B';
    case 2:
        return is_signed ? 'h' : 'H';
    case 4:
        return is_signed ? 'i' : 'I';
    default:
        return is_signed ? 'q' : 'Q';
    }
}

/* Looked up once, since a division or a pointer more is a tenth of what reading a number takes. */
static void note_layout(synced *self)
{
    self->count = self->view.len / self->view.itemsize;
    self->shift = self->view.itemsize == 1   ? 0
                  : self->view.itemsize == 2 ? 1
                  : self->view.itemsize == 4 ? 2
                                             : 3;
    /* Only of a recursive one, as it is unless the user gave another. */
    self->past = self->core->recursive ? self->core->head.at : NULL;
}

static void forget(synced *self)
{
    self->past = NULL;
    if (self->kind != 0) {
        PyBuffer_Release(&self->view);
        self->kind = 0;
    }
    self->core = NULL;
    Py_CLEAR(self->core_kept);
    Py_CLEAR(self->obj);
    Py_CLEAR(self->lock);
}

/* _bind(obj, lock, core, plain): `core`: the lock in there, or None. `plain`: items may be read past the ctypes object. */
static PyObject *synced_bind(synced *self, PyObject *const *args, Py_ssize_t nargs)
{
    ext_state *state = ext_state_of(Py_TYPE(self));
    if (nargs != 4 || state == NULL) {
        return state == NULL ? NULL : PyErr_Format(PyExc_TypeError, "_bind(obj, lock, core, plain)");
    }
    int plain = PyObject_IsTrue(args[3]);
    if (plain < 0) {
        return NULL;
    }
    forget(self);
    self->obj = Py_NewRef(args[0]);
    self->lock = Py_NewRef(args[1]);
    if (Py_IS_TYPE(args[2], (PyTypeObject *) state->ref[EXT_SHARED_LOCK_TYPE]) ||
        Py_IS_TYPE(args[2], (PyTypeObject *) state->ref[EXT_SHARED_RLOCK_TYPE])) {
        self->core_kept = Py_NewRef(args[2]);
        self->core = (shared_lock *) args[2];
    }
    if (plain && self->core != NULL) {
        if (PyObject_GetBuffer(self->obj, &self->view, PyBUF_FORMAT | PyBUF_ND | PyBUF_WRITABLE) < 0) {
            return NULL;
        }
        self->kind = self->view.ndim > 1 ? 0 : kind_of(&self->view);
        if (self->kind == 0) {
            PyBuffer_Release(&self->view);
        } else {
            note_layout(self);
        }
    }
    Py_RETURN_NONE;
}

/* 1: it is taken, for the quick way. 0: the long way. */
static inline int quick(synced *self)
{
    if (self->kind == 0) {
        return 0;
    }
    int rc = self->core->recursive ? mh_rlock_try_acquire(self->core->head.at)
                                   : mh_lock_try_acquire(self->core->head.at);
    if (rc == 0) {
        return 1;
    }
    if (rc > 0) { /* its owner died: acquire() will say so */
        if (self->core->recursive) {
            mh_rlock_abandon(self->core->head.at);
        } else {
            mh_lock_abandon(self->core->head.at);
        }
    }
    return 0;
}

static inline void done(synced *self)
{
    if (self->core->recursive) {
        mh_rlock_release(self->core->head.at);
    } else {
        mh_lock_release(self->core->head.at);
    }
}

/* The number at `at`, without taking the lock, where nobody has it; 0: not read. */
static inline int peek(const synced *self, const void *at, uint64_t *bits)
{
    return self->past != NULL && mh_rlock_read(self->past, at, (size_t) 1 << self->shift, bits) == 0;
}

/* A number as it lies in memory. */
typedef union number {
    int8_t b;
    uint8_t B;
    int16_t h;
    uint16_t H;
    int32_t i;
    uint32_t I;
    int64_t q;
    uint64_t Q;
    float f;
    double d;
} number;

static PyObject *number_object(char kind, number value)
{
    switch (kind) {
    case 'b':
        return PyLong_FromLong(value.b);
    case 'B':
        return PyLong_FromLong(value.B);
    case 'h':
        return PyLong_FromLong(value.h);
    case 'H':
        return PyLong_FromLong(value.H);
    case 'i':
        return PyLong_FromLong(value.i);
    case 'I':
        return PyLong_FromUnsignedLong(value.I);
    case 'q':
        return PyLong_FromLongLong(value.q);
    case 'Q':
        return PyLong_FromUnsignedLongLong(value.Q);
    case 'f':
        return PyFloat_FromDouble((double) value.f);
    case 'd':
        return PyFloat_FromDouble(value.d);
    case '?':
        return PyBool_FromLong(value.B != 0);
    default:
        return PyBytes_FromStringAndSize((const char *) &value.B, 1);
    }
}

/* 1: `value` is what ctypes would store for `object`. 0: ask ctypes, which may raise. */
static int number_from(char kind, PyObject *object, number *value)
{
    if (kind == 'f' || kind == 'd') {
        if (!PyFloat_CheckExact(object)) {
            return 0;
        }
        if (kind == 'd') {
            value->d = PyFloat_AS_DOUBLE(object);
        } else {
            value->f = (float) PyFloat_AS_DOUBLE(object);
        }
        return 1;
    }
    if (kind == '?' || kind == 'c' || !PyLong_CheckExact(object)) {
        return 0;
    }
    uint64_t bits = PyLong_AsUnsignedLongLongMask(object); /* of an int it cannot fail; ctypes wraps, too */
    switch (kind) {
    case 'b':
    case 'B':
        value->B = (uint8_t) bits;
        break;
    case 'h':
    case 'H':
        value->H = (uint16_t) bits;
        break;
    case 'i':
    case 'I':
        value->I = (uint32_t) bits;
        break;
    default:
        value->Q = bits;
    }
    return 1;
}

/* Numbers lie aligned: a load or store of one is one instruction, also for those who read without the lock. */
static inline number load(const synced *self, const char *at)
{
    number value = {.Q = 0};
    switch (self->view.itemsize) {
    case 1:
        value.B = *(const volatile uint8_t *) at;
        break;
    case 2:
        value.H = *(const volatile uint16_t *) (const void *) at;
        break;
    case 4:
        value.I = *(const volatile uint32_t *) (const void *) at;
        break;
    default:
        value.Q = *(const volatile uint64_t *) (const void *) at;
    }
    return value;
}

static inline void store(const synced *self, char *at, number value)
{
    switch (self->view.itemsize) {
    case 1:
        *(volatile uint8_t *) at = value.B;
        break;
    case 2:
        *(volatile uint16_t *) (void *) at = value.H;
        break;
    case 4:
        *(volatile uint32_t *) (void *) at = value.I;
        break;
    default:
        *(volatile uint64_t *) (void *) at = value.Q;
    }
}

static PyObject *call(PyObject *object, const char *method)
{
    return PyObject_CallMethod(object, method, NULL);
}

static int long_begin(synced *self)
{
    if (self->lock == NULL) {
        ext_refuse(PyExc_RuntimeError, "MH-STATE", "SynchronizedBase.__init__() was not called");
        return -1;
    }
    PyObject *taken = call(self->lock, "acquire");
    Py_XDECREF(taken);
    return taken == NULL ? -1 : 0;
}

/* The lock is given back, also with an exception, which stays. -1: that failed. */
static int long_end(synced *self)
{
    PyObject *error = ext_error_take();
    PyObject *given = call(self->lock, "release");
    Py_XDECREF(given);
    if (given == NULL) {
        Py_XDECREF(error);
        return -1;
    }
    if (error != NULL) {
        ext_error_put(error);
    }
    return 0;
}

/* obj[key], or obj.value where `key` is NULL, under the lock. */
static PyObject *long_get(synced *self, PyObject *key)
{
    if (long_begin(self) < 0) {
        return NULL;
    }
    PyObject *item = key == NULL ? PyObject_GetAttrString(self->obj, "value")
                                 : PyObject_GetItem(self->obj, key);
    if (long_end(self) < 0) {
        Py_CLEAR(item);
    }
    return item;
}

/* The number at `at`, which is obj[key], or obj.value where `key` is NULL. */
static PyObject *get(synced *self, const char *at, PyObject *key)
{
    number value = {.Q = 0};
    if (!peek(self, at, &value.Q)) {
        if (!quick(self)) {
            return long_get(self, key);
        }
        value = load(self, at);
        done(self);
    }
    return number_object(self->kind, value);
}

static int long_set(synced *self, PyObject *key, PyObject *value)
{
    if (long_begin(self) < 0) {
        return -1;
    }
    int rc = key == NULL     ? PyObject_SetAttrString(self->obj, "value", value)
             : value == NULL ? PyObject_DelItem(self->obj, key)
                             : PyObject_SetItem(self->obj, key, value);
    return long_end(self) < 0 ? -1 : rc;
}

static int synced_traverse(synced *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->obj);
    Py_VISIT(self->lock);
    Py_VISIT(self->core_kept);
    return 0;
}

static int synced_clear(synced *self)
{
    forget(self);
    return 0;
}

static void synced_dealloc(synced *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    forget(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef synced_methods[] = {
    EXT_METHOD("_bind", synced_bind, METH_FASTCALL,
               "_bind($self, obj, lock, core, plain, /)\n--\n\nWhat it reads, and under which lock."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot synced_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "A ctypes object in shared memory, and its lock."},
    {Py_tp_dealloc, synced_dealloc},
    {Py_tp_traverse, synced_traverse},
    {Py_tp_clear, synced_clear},
    {Py_tp_methods, synced_methods},
    {0, NULL},
};

#define SYNCED_FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC)
static PyType_Spec synced_spec = {"manyhands._core.SyncedBase", sizeof(synced), 0, SYNCED_FLAGS,
                                  synced_slots};

/* ---- SyncedValue ----------------------------------------------------------------------------------------------- */

static PyObject *value_get(PyObject *object, void *Py_UNUSED(closure))
{
    return get((synced *) object, ((synced *) object)->view.buf, NULL);
}

static int value_set(PyObject *object, PyObject *given, void *Py_UNUSED(closure))
{
    synced *self = (synced *) object;
    number value = {.Q = 0};
    if (given == NULL) {
        PyErr_SetString(PyExc_AttributeError, "can't delete attribute");
        return -1;
    }
    if (!number_from(self->kind, given, &value) || !quick(self)) {
        return long_set(self, NULL, given);
    }
    store(self, self->view.buf, value);
    done(self);
    return 0;
}

static PyGetSetDef value_getset[] = {
    {"value", value_get, value_set, PyDoc_STR("The value, read and written under the lock."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot value_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "One value in shared memory, and its lock."},
    {Py_tp_dealloc, synced_dealloc},
    {Py_tp_traverse, synced_traverse},
    {Py_tp_clear, synced_clear},
    {Py_tp_getset, value_getset},
    {0, NULL},
};

static PyType_Spec value_spec = {"manyhands._core.SyncedValue", sizeof(synced), 0, SYNCED_FLAGS, value_slots};

/* ---- SyncedArray ----------------------------------------------------------------------------------------------- */

/* Where the item of `key` lies; NULL: the long way, which also raises. */
static char *item_at(synced *self, PyObject *key)
{
    if (self->kind == 0 || !PyLong_CheckExact(key)) {
        return NULL;
    }
    Py_ssize_t index = PyLong_AsSsize_t(key);
    if (index == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return NULL;
    }
    index += index < 0 ? self->count : 0;
    return index < 0 || index >= self->count ? NULL : (char *) self->view.buf + (index << self->shift);
}

static PyObject *array_item(PyObject *object, PyObject *key)
{
    synced *self = (synced *) object;
    const char *at = item_at(self, key);
    return at == NULL ? long_get(self, key) : get(self, at, key);
}

static int array_set_item(PyObject *object, PyObject *key, PyObject *given)
{
    synced *self = (synced *) object;
    number value = {.Q = 0};
    char *at = item_at(self, key);
    if (at == NULL || given == NULL || !number_from(self->kind, given, &value) || !quick(self)) {
        return long_set(self, key, given);
    }
    store(self, at, value);
    done(self);
    return 0;
}

static Py_ssize_t array_length(PyObject *object)
{
    synced *self = (synced *) object;
    return self->obj == NULL ? 0 : PyObject_Size(self->obj);
}

static PyType_Slot array_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "An array in shared memory, and its lock."},
    {Py_tp_dealloc, synced_dealloc},
    {Py_tp_traverse, synced_traverse},
    {Py_tp_clear, synced_clear},
    {Py_mp_subscript, array_item},
    {Py_mp_ass_subscript, array_set_item},
    {Py_mp_length, array_length},
    {0, NULL},
};

static PyType_Spec array_spec = {"manyhands._core.SyncedArray", sizeof(synced), 0, SYNCED_FLAGS, array_slots};

int ext_synced_ready(PyObject *module, ext_state *state)
{
    PyObject *base = NULL;
    int rc = ext_add_type(module, state, -1, &buffer_spec, NULL) < 0 ||
                     ext_add_type(module, state, EXT_SYNCED_TYPE, &synced_spec, NULL) < 0
                 ? -1
                 : 0;
    if (rc == 0) {
        base = PyTuple_Pack(1, state->ref[EXT_SYNCED_TYPE]);
        rc = base == NULL || ext_add_type(module, state, -1, &value_spec, base) < 0 ||
                     ext_add_type(module, state, -1, &array_spec, base) < 0
                 ? -1
                 : 0;
    }
    Py_XDECREF(base);
    return rc;
}
