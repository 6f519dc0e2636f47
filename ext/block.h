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
/* A Block over a stretch that the caller holds; takes over the hold, also on failure. */
PyObject *block_wrap(ext_state *state, mh_block block, size_t offset, size_t size, int readonly);
/* Methods of the module: block(size). */
PyObject *block_new(PyObject *module, PyObject *size);
extern PyType_Spec block_spec;

#endif
