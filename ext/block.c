/* ext/block.c - the type Block; see block.h. */
#include "block.h"

typedef struct block_object {
    PyObject_HEAD
    mh_block block;
    char *data;
    Py_ssize_t size;
    int readonly;
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
    return (PyObject *) self;
}

PyObject *block_new(PyObject *module, PyObject *size)
{
    Py_ssize_t bytes = PyLong_AsSsize_t(size);
    if (bytes < 0) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_ValueError, "a block of %zd bytes cannot be; give 0 or more", bytes);
        }
        return NULL;
    }
    mh_arena *arena = block_arena();
    mh_block block;
    if (arena == NULL) {
        return NULL;
    }
    int rc = mh_block_alloc(arena, bytes > 0 ? (size_t) bytes : 1, &block);
    if (rc == -ENOMEM) {
        return PyErr_Format(PyExc_MemoryError, "no %zd bytes of shared memory are left", bytes);
    }
    if (rc < 0) {
        ext_raise_code(NULL, rc);
        return NULL;
    }
    return block_wrap(PyModule_GetState(module), block, 0, (size_t) bytes, 0);
}

static void block_dealloc(PyObject *object)
{
    block_object *self = (block_object *) object;
    PyTypeObject *type = Py_TYPE(object);
    mh_arena *arena;
    if (self->block != 0 && mh_arena_get(&arena) == 0) {
        mh_block_drop(arena, self->block);
    }
    type->tp_free(object);
    Py_DECREF(type);
}

static int block_getbuffer(PyObject *object, Py_buffer *view, int flags)
{
    block_object *self = (block_object *) object;
    return PyBuffer_FillInfo(view, object, self->data, self->size, self->readonly, flags);
}

static Py_ssize_t block_length(PyObject *object)
{
    return ((block_object *) object)->size;
}

static PyType_Slot block_slots[] = {
    {Py_tp_doc, "Memory of the process tree's arena: a buffer that other processes of the tree can share."},
    {Py_tp_dealloc, block_dealloc},
    {Py_bf_getbuffer, block_getbuffer},
    {Py_sq_length, block_length},
    {0, NULL},
};

PyType_Spec block_spec = {
    .name = "manyhands._core.Block",
    .basicsize = sizeof(block_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = block_slots,
};
