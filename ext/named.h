/* ext/named.h - what is found by name. */
#ifndef EXT_NAMED_H
#define EXT_NAMED_H

#include "common.h"

/* Raise what a code says of the segment of that name: an OSError with the name, SegmentError, MemoryError. NULL. */
PyObject *named_raise(PyObject *self, PyObject *name, int code);

/* _core._unlink(name) */
PyObject *ext_unlink(PyObject *module, PyObject *name);

#endif
