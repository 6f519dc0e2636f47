/* ext/block.c - the type Block; see block.h. */
#include "block.h"

#include <string.h>

#define WITHOUT_GIL (1 << 18) /* bytes from which memory is filled and copied detached */
#define DIMENSIONS 64         /* as in a memoryview */

typedef struct block_object {
    PyObject_HEAD
    mh_block block;
    char *data;
    Py_ssize_t size;
    int readonly, dimensions;
    Py_ssize_t itemsize;
    Py_ssize_t *shape; /* and the strides behind it; NULL: one dimension of bytes */
    char *format;      /* "B" where NULL */
} block_object;

mh_arena *block_arena(void)
{
    mh_arena *arena;
    int rc = mh_arena_get(&arena);
    if (rc < 0) {
        ext_raise_code(NULL, rc);
        return NULL;
    }
    return arena;
}

int block_arena_begin(void)
{
    mh_arena *arena;
    return mh_arena_get(&arena) == 0;
}

PyObject *block_raise(int code, size_t size)
{
    if (code == -ENOMEM) {
        return ext_refuse(
            PyExc_MemoryError, "MH-SHARED-MEMORY",
            "no %zu bytes of shared memory are left: three quarters of the free memory, or of the "
            "cgroup's limit, is what all blocks may take together; let go of arrays, or send less "
            "at a time",
            size);
    }
    if (code == -EAGAIN) {
        return ext_refuse(PyExc_BlockingIOError, "MH-TOO-MANY",
                          "%d processes of this program use shared memory already: no more can",
                          MH_ARENA_PLACES);
    }
    ext_raise_code(NULL, code);
    return NULL;
}

PyObject *block_wrap(ext_state *state, mh_block block, size_t offset, size_t size, int readonly)
{
    mh_arena *arena = block_arena();
    PyTypeObject *type = (PyTypeObject *) state->ref[EXT_BLOCK_TYPE];
    block_object *self = arena == NULL ? NULL : (block_object *) type->tp_alloc(type, 0);
    if (self == NULL) {
        if (arena != NULL) {
            mh_block_drop(arena, block);
        }
        return NULL;
    }
    self->block = block;
    self->data = (char *) mh_block_at(arena, block) + offset;
    self->size = (Py_ssize_t) size;
    self->readonly = readonly;
    self->itemsize = 1;
    return (PyObject *) self;
}

char *block_stretch(ext_state *state, PyObject *object, mh_block *block, size_t *size)
{
    if (!Py_IS_TYPE(object, (PyTypeObject *) state->ref[EXT_BLOCK_TYPE])) {
        return NULL;
    }
    block_object *self = (block_object *) object;
    *block = self->block;
    *size = (size_t) self->size;
    return self->data;
}

static void fill_zero(char *data, size_t size)
{
    if (size < WITHOUT_GIL) {
        memset(data, 0, size);
        return;
    }
    Py_BEGIN_ALLOW_THREADS memset(data, 0, size);
    Py_END_ALLOW_THREADS
}

void block_copy(void *to, const void *from, size_t size)
{
    if (size < WITHOUT_GIL) {
        memcpy(to, from, size);
        return;
    }
    Py_BEGIN_ALLOW_THREADS mh_memory_copy(to, from, size);
    Py_END_ALLOW_THREADS
}

/* ---- shape --------------------------------------------------------------------------------------------------- */

/* The dimensions of `shape` and their strides, last one first, for items of self->itemsize. The product must be the size. */
static int set_shape(block_object *self, PyObject *shape)
{
    PyObject *items = PySequence_Fast(shape, "a shape is a sequence of numbers");
    Py_ssize_t count = items == NULL ? -1 : PySequence_Fast_GET_SIZE(items);
    if (count < 0 || count > DIMENSIONS) {
        Py_XDECREF(items);
        return count < 0 ? -1 : (ext_refuse(PyExc_ValueError, "MH-ARGUMENT", "more than 64 dimensions"), -1);
    }
    self->dimensions = (int) count;
    self->shape = PyMem_Malloc(sizeof(Py_ssize_t) * 2 * (size_t) (count + 1));
    if (self->shape == NULL) {
        PyErr_NoMemory();
    }
    Py_ssize_t stride = self->itemsize;
    for (Py_ssize_t i = count; self->shape != NULL && i-- > 0;) {
        self->shape[i] = PyNumber_AsSsize_t(PySequence_Fast_GET_ITEM(items, i), PyExc_OverflowError);
        self->shape[count + i] = stride;
        if (self->shape[i] < 0 && !PyErr_Occurred()) {
            ext_refuse(PyExc_ValueError, "MH-ARGUMENT", "a dimension cannot be negative");
        }
        if (PyErr_Occurred() || __builtin_mul_overflow(stride, self->shape[i], &stride)) {
            stride = -1;
            break;
        }
    }
    Py_DECREF(items);
    if (!PyErr_Occurred() && stride != self->size) {
        ext_refuse(PyExc_ValueError, "MH-ARGUMENT", "that shape does not make %zd bytes", self->size);
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* Items of `format` (NULL or None: bytes) in `shape` (NULL or None: one dimension). */
static int set_form(block_object *self, PyObject *format, PyObject *shape)
{
    if (format != NULL && format != Py_None) {
        const char *text = PyUnicode_AsUTF8(format);
        self->itemsize = text == NULL ? -1 : PyBuffer_SizeFromFormat(text);
        size_t length = text == NULL ? 0 : strlen(text) + 1;
        self->format = self->itemsize < 0 ? NULL : PyMem_Malloc(length);
        if (self->format == NULL) {
            return PyErr_Occurred() ? -1 : (PyErr_NoMemory(), -1);
        }
        memcpy(self->format, text, length);
    }
    if (shape != NULL && shape != Py_None) {
        return set_shape(self, shape);
    }
    if (self->itemsize == 1) {
        return 0;
    }
    if (self->itemsize == 0 || self->size % self->itemsize != 0) {
        ext_refuse(PyExc_ValueError, "MH-ARGUMENT", "%zd bytes are no whole number of items", self->size);
        return -1;
    }
    PyObject *flat = Py_BuildValue("(n)", self->size / self->itemsize);
    int rc = flat == NULL ? -1 : set_shape(self, flat);
    Py_XDECREF(flat);
    return rc;
}

/* ---- making -------------------------------------------------------------------------------------------------- */

static PyObject *new_block(ext_state *state, size_t size)
{
    mh_arena *arena = block_arena();
    mh_block block;
    if (arena == NULL) {
        return NULL;
    }
    int rc = mh_block_alloc(arena, size > 0 ? size : 1, &block);
    return rc < 0 ? block_raise(rc, size) : block_wrap(state, block, 0, size, 0);
}

PyObject *block_new(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"block", 1, 4, 4, {"size", "zero", "format", "shape"}};
    PyObject *given[4] = {NULL, NULL, NULL, NULL};
    if (ext_args(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    Py_ssize_t bytes = PyNumber_AsSsize_t(given[0], PyExc_OverflowError);
    int zero = given[1] == NULL || PyErr_Occurred() ? 0 : PyObject_IsTrue(given[1]);
    if (bytes < 0 || zero < 0) {
        if (!PyErr_Occurred()) {
            ext_refuse(PyExc_ValueError, "MH-ARGUMENT", "a block of %zd bytes cannot be; give 0 or more",
                       bytes);
        }
        return NULL;
    }
    block_object *self = (block_object *) new_block(PyModule_GetState(module), (size_t) bytes);
    if (self != NULL && set_form(self, given[2], given[3]) < 0) {
        Py_CLEAR(self);
    }
    if (self != NULL && zero) {
        fill_zero(self->data, (size_t) bytes);
    }
    return (PyObject *) self;
}

/* The Block itself again, where pickle has handed over one; a copy of any other buffer. */
static block_object *same_or_copy(ext_state *state, PyObject *buffer)
{
    mh_block block;
    size_t size;
    Py_buffer view;
    char *data = block_stretch(state, buffer, &block, &size);
    if (data != NULL) {
        int rc = mh_block_hold(mh_arena_peek(), block);
        return (block_object *) (rc < 0 ? block_raise(rc, size)
                                        : block_wrap(
                                              state, block,
                                              (size_t) (data - (char *) mh_block_at(mh_arena_peek(), block)),
                                              size, ((block_object *) buffer)->readonly));
    }
    if (PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    block_object *self = (block_object *) new_block(state, (size_t) view.len);
    if (self != NULL) {
        block_copy(self->data, view.buf, (size_t) view.len);
    }
    PyBuffer_Release(&view);
    return self;
}

PyObject *block_from(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 3) {
        return PyErr_Format(PyExc_TypeError, "_block_from(buffer, format, shape)");
    }
    block_object *self = same_or_copy(PyModule_GetState(module), args[0]);
    if (self != NULL && set_form(self, args[1], args[2]) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *) self;
}

PyObject *block_is_shared(PyObject *Py_UNUSED(module), PyObject *buffer)
{
    Py_buffer view;
    mh_block block;
    size_t offset;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_FULL_RO) < 0) {
        return NULL;
    }
    mh_arena *arena = mh_arena_peek();
    int shared = arena != NULL && mh_block_of(arena, view.buf, &block, &offset) == 0;
    PyBuffer_Release(&view);
    return PyBool_FromLong(shared);
}

/* ---- to a child that is being started -------------------------------------------------------------------------- */

/* (block, offset, size, readonly) of a buffer, copied into a block where it lies elsewhere; that block is held for `place`. */
static PyObject *give_one(ext_state *state, mh_arena *arena, uint32_t place, PyObject *buffer)
{
    Py_buffer view;
    mh_block block;
    size_t offset = 0;
    PyObject *record = NULL, *copied = NULL;
    PyObject *raw = PyObject_CallMethod(buffer, "raw", NULL);
    if (raw == NULL || PyObject_GetBuffer(raw, &view, PyBUF_SIMPLE) < 0) {
        Py_XDECREF(raw);
        return NULL;
    }
    if (mh_block_of(arena, view.buf, &block, &offset) < 0) {
        copied = new_block(state, (size_t) view.len);
        if (copied != NULL) {
            block = ((block_object *) copied)->block;
            block_copy(((block_object *) copied)->data, view.buf, (size_t) view.len);
        }
    }
    if (!PyErr_Occurred()) {
        int rc = mh_block_hold_for(arena, block, place);
        record = rc < 0 ? block_raise(rc, (size_t) view.len)
                        : Py_BuildValue("(Knni)", (unsigned long long) block, (Py_ssize_t) offset, view.len,
                                        view.readonly);
    }
    PyBuffer_Release(&view);
    Py_DECREF(raw);
    Py_XDECREF(copied); /* the child's place holds it from here on */
    return record;
}

PyObject *block_give(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    mh_arena *arena = block_arena();
    if (arena == NULL || nargs != 2 || !PyList_Check(args[1])) {
        return arena == NULL ? NULL : PyErr_Format(PyExc_TypeError, "_blocks_give(place, buffers)");
    }
    unsigned long place = PyLong_AsUnsignedLong(args[0]);
    PyObject *records = PyErr_Occurred() ? NULL : PyList_New(0);
    for (Py_ssize_t i = 0; records != NULL && i < PyList_GET_SIZE(args[1]); i++) {
        PyObject *record =
            give_one(PyModule_GetState(module), arena, (uint32_t) place, PyList_GET_ITEM(args[1], i));
        if (record == NULL || PyList_Append(records, record) < 0) {
            Py_CLEAR(records);
        }
        Py_XDECREF(record);
    }
    return records;
}

static PyObject *take_one(ext_state *state, mh_arena *arena, PyObject *record)
{
    unsigned long long block;
    Py_ssize_t offset, size;
    int readonly;
    if (!PyArg_ParseTuple(record, "Knni", &block, &offset, &size, &readonly)) {
        return NULL;
    }
    int rc = mh_block_hold(arena, block);
    if (rc < 0) {
        return block_raise(rc, (size_t) size);
    }
    size_t room = mh_block_size(arena, block);
    if (offset < 0 || size < 0 || (size_t) offset > room || (size_t) size > room - (size_t) offset) {
        mh_block_drop(arena, block);
        return ext_refuse(PyExc_ValueError, "MH-DAMAGED", "no %zd bytes lie at %zd of that block", size,
                          offset);
    }
    return block_wrap(state, block, (size_t) offset, (size_t) size, readonly);
}

PyObject *block_take(PyObject *module, PyObject *records)
{
    mh_arena *arena = block_arena();
    if (arena == NULL || !PyList_Check(records)) {
        return arena == NULL ? NULL : PyErr_Format(PyExc_TypeError, "_blocks_take(records)");
    }
    PyObject *blocks = PyList_New(0);
    for (Py_ssize_t i = 0; blocks != NULL && i < PyList_GET_SIZE(records); i++) {
        PyObject *record = PyList_GET_ITEM(records, i);
        PyObject *block = PyTuple_Check(record) ? take_one(PyModule_GetState(module), arena, record)
                                                : PyErr_Format(PyExc_TypeError, "a record is a tuple");
        if (block == NULL || PyList_Append(blocks, block) < 0) {
            Py_CLEAR(blocks);
        }
        Py_XDECREF(block);
    }
    return blocks;
}

/* ---- the type ------------------------------------------------------------------------------------------------ */

static void block_dealloc(PyObject *object)
{
    block_object *self = (block_object *) object;
    PyTypeObject *type = Py_TYPE(object);
    mh_arena *arena;
    if (self->block != 0 && mh_arena_get(&arena) == 0) {
        mh_block_drop(arena, self->block);
    }
    PyMem_Free(self->shape);
    PyMem_Free(self->format);
    type->tp_free(object);
    Py_DECREF(type);
}

static int block_getbuffer(PyObject *object, Py_buffer *view, int flags)
{
    block_object *self = (block_object *) object;
    if (PyBuffer_FillInfo(view, object, self->data, self->size, self->readonly, flags) < 0) {
        return -1;
    }
    if (self->shape == NULL) {
        if (self->format != NULL && (flags & PyBUF_FORMAT) == PyBUF_FORMAT) {
            view->format = self->format;
        }
        return 0;
    }
    if ((flags & PyBUF_F_CONTIGUOUS) == PyBUF_F_CONTIGUOUS && self->dimensions > 1) {
        PyBuffer_Release(view);
        ext_refuse(PyExc_BufferError, "MH-ARGUMENT",
                   "the last dimension of a Block is the one that lies close together");
        return -1;
    }
    /* Without PyBUF_ND the consumer sees the bytes. */
    if ((flags & PyBUF_ND) == PyBUF_ND) {
        view->ndim = self->dimensions;
        view->itemsize = self->itemsize;
        view->shape = self->shape;
        view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? self->shape + self->dimensions : NULL;
        if ((flags & PyBUF_FORMAT) == PyBUF_FORMAT) {
            view->format = self->format;
        }
    }
    return 0;
}

static Py_ssize_t block_length(PyObject *object)
{
    block_object *self = (block_object *) object;
    if (self->shape == NULL) {
        return self->size;
    }
    if (self->dimensions == 0) {
        ext_refuse(PyExc_TypeError, "MH-ARGUMENT", "a single item has no length");
        return -1;
    }
    return self->shape[0];
}

/* An index of as many numbers as there are dimensions, as in a memoryview. */
static PyObject *block_item(PyObject *self, PyObject *index)
{
    PyObject *view = PyMemoryView_FromObject(self);
    PyObject *item = view == NULL ? NULL : PyObject_GetItem(view, index);
    Py_XDECREF(view);
    return item;
}

static int block_set_item(PyObject *self, PyObject *index, PyObject *value)
{
    PyObject *view = PyMemoryView_FromObject(self);
    int rc = view == NULL    ? -1
             : value == NULL ? PyObject_DelItem(view, index)
                             : PyObject_SetItem(view, index, value);
    Py_XDECREF(view);
    return rc;
}

static PyObject *block_shape(PyObject *object, void *Py_UNUSED(closure))
{
    block_object *self = (block_object *) object;
    if (self->shape == NULL) {
        return Py_BuildValue("(n)", self->size);
    }
    PyObject *shape = PyTuple_New(self->dimensions);
    for (int i = 0; shape != NULL && i < self->dimensions; i++) {
        PyObject *number = PyLong_FromSsize_t(self->shape[i]);
        if (number == NULL) {
            Py_CLEAR(shape);
        } else {
            PyTuple_SET_ITEM(shape, i, number);
        }
    }
    return shape;
}

static PyObject *block_format(PyObject *object, void *Py_UNUSED(closure))
{
    block_object *self = (block_object *) object;
    return PyUnicode_FromString(self->format == NULL ? "B" : self->format);
}

static PyObject *block_nbytes(PyObject *object, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(((block_object *) object)->size);
}

/* Protocol 5 hands the buffer over where it lies; older ones carry the bytes. */
static PyObject *block_reduce(PyObject *self, PyObject *protocol)
{
    ext_state *state = ext_state_of(Py_TYPE(self));
    long number = PyLong_AsLong(protocol);
    PyObject *module = state == NULL || PyErr_Occurred() ? NULL : PyType_GetModule(Py_TYPE(self));
    PyObject *make = module == NULL ? NULL : PyObject_GetAttrString(module, "_block_from");
    PyObject *buffer = make == NULL  ? NULL
                       : number >= 5 ? PyPickleBuffer_FromObject(self)
                                     : PyBytes_FromObject(self);
    PyObject *shape = buffer == NULL ? NULL : block_shape(self, NULL);
    PyObject *reduced =
        shape == NULL ? NULL
                      : Py_BuildValue("O(ONN)", make, buffer, block_format(self, NULL), Py_NewRef(shape));
    Py_XDECREF(make);
    Py_XDECREF(buffer);
    Py_XDECREF(shape);
    return reduced;
}

static PyObject *block_repr(PyObject *self)
{
    PyObject *shape = block_shape(self, NULL), *format = block_format(self, NULL);
    PyObject *text = shape == NULL || format == NULL
                         ? NULL
                         : PyUnicode_FromFormat("<manyhands.shared.Block format=%R shape=%R>", format, shape);
    Py_XDECREF(shape);
    Py_XDECREF(format);
    return text;
}

static PyMethodDef block_methods[] = {
    EXT_METHOD("__reduce_ex__", block_reduce, METH_O,
               "__reduce_ex__($self, protocol, /)\n--\n\nHow it is pickled: from protocol 5 on the buffer "
               "stays where it is."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef block_getset[] = {
    {"shape", block_shape, NULL, PyDoc_STR("How many items in each dimension."), NULL},
    {"format", block_format, NULL, PyDoc_STR("What an item is, as in the struct module."), NULL},
    {"nbytes", block_nbytes, NULL, PyDoc_STR("Its size in bytes."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot block_slots[] = {
    {Py_tp_doc,
     "Memory that all processes of this program can share: a buffer with a format and a shape.\n\n"
     "Made by manyhands.shared.block(). What takes buffers takes it without a copy: numpy.asarray(block),\n"
     "memoryview(block). It crosses queues, pipes and pools, and the start of a process, without being "
     "copied,\n"
     "and lives as long as anyone has it."},
    {Py_tp_dealloc, block_dealloc},
    {Py_tp_repr, block_repr},
    {Py_tp_methods, block_methods},
    {Py_tp_getset, block_getset},
    {Py_bf_getbuffer, block_getbuffer},
    {Py_sq_length, block_length},
    {Py_mp_length, block_length},
    {Py_mp_subscript, block_item},
    {Py_mp_ass_subscript, block_set_item},
    {0, NULL},
};

PyType_Spec block_spec = {
    .name = "manyhands.shared.Block",
    .basicsize = sizeof(block_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = block_slots,
};
