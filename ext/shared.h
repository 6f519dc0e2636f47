/* ext/shared.h - what all process-shared primitives have in common: a place in a slab. */
#ifndef EXT_SHARED_H
#define EXT_SHARED_H

#include "common.h"
#include "manyhands/slab.h"

typedef struct shared_slab shared_slab; /* a slab mapped in this process, counted by its objects */

typedef struct shared_object { /* the head of every shared type */
    PyObject_HEAD
    shared_slab *slab;
    size_t offset, size;
    void *at;       /* the primitive itself, in shared memory */
    int travelled;  /* its handle left this process: the slot is never used again */
    int created;    /* here, so that dealloc gives the slot back */
    PyObject *keep; /* where `slab` is NULL: whose memory it is */
} shared_object;

/* While it is set, shared_create() and shared_rebuild() put the object there and not into a slab (named.c). */
typedef struct shared_target {
    PyObject *keep;
    char *base;
    size_t offset, size; /* there is so much room, or so large is what is there */
    size_t used;         /* by the object; 0: none was made */
} shared_target;
extern _Thread_local shared_target *shared_into;

/* A new object of `type` over `size` fresh zero bytes of shared memory; NULL with an exception. */
shared_object *shared_create(PyTypeObject *type, size_t size);

/* `block=True, timeout=None, *, cancel=None` of the process-shared primitives: not blocking is MH_AT_ONCE, whatever the
 * time-out. */
int shared_args(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, ext_until *until);

void shared_dealloc(PyObject *object);
/* place: (descriptor, slab id, offset), what another process needs. */
PyObject *shared_place(PyObject *object, void *closure);
/* _rebuild(fd, slab id, offset): class method. `size` 0: the whole rest of the slab may be read. */
PyObject *shared_rebuild(PyTypeObject *type, PyObject *const *args, Py_ssize_t count, size_t size);

#endif
