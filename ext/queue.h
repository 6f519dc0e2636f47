/* ext/queue.h - Queue, LifoQueue and PriorityQueue: the layout, and the store behind them (queue_store.c).
 *
 * Items lie in a C ring (Queue) or in a list (the other two). Where somebody asks for the attribute `queue` of a Queue, the
 * ring is turned into the deque that the stdlib has there, for good. A subclass that redefines _init(), _qsize(), _put() or
 * _get() has them called, with the mutex held.
 */
#ifndef MH_EXT_QUEUE_H
#define MH_EXT_QUEUE_H

#include "locks.h"
#include "ring.h"

enum ext_queue_kind { EXT_FIFO, EXT_LIFO, EXT_PRIORITY };

enum { /* what a subclass redefines */
       EXT_OWN_QSIZE = 1,
       EXT_OWN_PUT = 2,
       EXT_OWN_GET = 4,
       EXT_OWN_STORE = EXT_OWN_QSIZE | EXT_OWN_PUT | EXT_OWN_GET,
       EXT_OWN_INIT = 8,
       EXT_OWN_PUBLIC_PUT = 16,
       EXT_OWN_PUBLIC_GET = 32,
};

typedef struct ext_queue {
    PyObject_HEAD
    ext_lock *mutex; /* this and the conditions: made with the object, never replaced */
    ext_cond *not_empty, *not_full, *all_tasks_done;
    ext_ring ring;
    PyObject *queue; /* NULL: the items are in the ring */
    PyObject *maxsize;
    _Atomic(Py_ssize_t) limit; /* 0: none */
    Py_ssize_t unfinished;
    enum ext_queue_kind kind;
    unsigned own;
    char is_shutdown;
    PyObject *dict;
    PyObject *weakrefs;
} ext_queue;

/* Does no operation on the store run Python code? */
static inline bool ext_queue_pure(const ext_queue *self)
{
    return (self->own & EXT_OWN_STORE) == 0 &&
           (self->queue == NULL || (self->kind == EXT_LIFO && PyList_CheckExact(self->queue)));
}

/* All of these want the queue entered (see queue.c). The base_ ones are the methods that subclasses redefine, the
 * others call what is defined. */
int ext_queue_base_init(ext_queue *self);
Py_ssize_t ext_queue_base_size(ext_queue *self);
int ext_queue_base_put(ext_queue *self, PyObject *item);
PyObject *ext_queue_base_get(ext_queue *self);
Py_ssize_t ext_queue_size(ext_queue *self);
int ext_queue_put(ext_queue *self, PyObject *item);
PyObject *ext_queue_get(ext_queue *self);

/* The attribute `queue`; makes the deque. New reference. */
PyObject *ext_queue_expose(ext_queue *self);

#endif
