/* ext/block.h - a stretch of an arena block as a Python object: exports the buffer, holds the block while it lives. */
#ifndef EXT_BLOCK_H
#define EXT_BLOCK_H

#include "common.h"
#include "manyhands/arena.h"

/* The arena of this process's tree; NULL with an exception. */
mh_arena *block_arena(void);

/* Is there an arena? Asked when a queue or pipe is made: a child that os.fork() makes later inherits this arena, where one
 * that it made for itself would mean nothing to anyone else. 0: there can be none (no memory, no descriptor for it). */
int block_arena_begin(void);

/* Raise what fits a code of the arena: MemoryError that says what to do, or OSError. Always returns NULL. */
PyObject *block_raise(int code, size_t size);
/* A Block over a stretch that the caller holds; takes over the hold, also on failure. */
PyObject *block_wrap(ext_state *state, mh_block block, size_t offset, size_t size, int readonly);
/* Where the stretch of a Block lies; NULL where `object` is none. The Block keeps it alive. */
char *block_stretch(ext_state *state, PyObject *object, mh_block *block, size_t *size);

/* memcpy(), detached from the GIL and by several threads where that is worth it. The caller holds both. */
void block_copy(void *to, const void *from, size_t size);

/* Methods of the module: block(size, zero=False, format=None, shape=None), _block_from(buffer, format, shape),
 * is_shared(buffer), _blocks_give(place, buffers), _blocks_take(records). */
PyObject *block_new(PyObject *module, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *block_from(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *block_is_shared(PyObject *module, PyObject *buffer);
PyObject *block_give(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
PyObject *block_take(PyObject *module, PyObject *records);
extern PyType_Spec block_spec;

#endif
