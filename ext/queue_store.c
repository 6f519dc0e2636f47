/* The store of a queue: ring, list, heap, or whatever a subclass or a user put there. See queue.h.
 *
 * The mutex guards it, but users hold the mutex, too, and may release it, or call _put() without it: where there is no GIL, a
 * critical section keeps the ring whole then, as the GIL does elsewhere.
 */
#include "queue.h"

int ext_queue_base_init(ext_queue *self)
{
    PyObject *queue = NULL;
    if (self->kind != EXT_FIFO) {
        queue = PyList_New(0);
        if (queue == NULL) {
            return -1;
        }
    }
    Py_XSETREF(self->queue, queue);
    ext_ring_clear(&self->ring);
    return 0;
}

Py_ssize_t ext_queue_base_size(ext_queue *self)
{
    return self->queue == NULL ? (Py_ssize_t) self->ring.count : PyObject_Size(self->queue);
}

static int call_discarding(PyObject *result)
{
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int heap_put(ext_queue *self, PyObject *item)
{
    PyObject *push = ext_ref((PyObject *) self, EXT_HEAPPUSH);
    return push == NULL ? -1 : call_discarding(PyObject_CallFunctionObjArgs(push, self->queue, item, NULL));
}

static int base_put(ext_queue *self, PyObject *item)
{
    if (self->queue == NULL) {
        if (ext_ring_put(&self->ring, item) < 0) {
            PyErr_NoMemory();
            return -1;
        }
        Py_INCREF(item);
        return 0;
    }
    if (self->kind == EXT_PRIORITY) {
        return heap_put(self, item);
    }
    if (self->kind == EXT_LIFO && PyList_CheckExact(self->queue)) {
        return PyList_Append(self->queue, item);
    }
    PyObject *args[] = {self->queue, item};
    return call_discarding(ext_call_method("append", args, 2));
}

int ext_queue_base_put(ext_queue *self, PyObject *item)
{
    int rc;
    EXT_CRITICAL_BEGIN(self);
    rc = base_put(self, item);
    EXT_CRITICAL_END;
    return rc;
}

static PyObject *list_pop(PyObject *list)
{
    Py_ssize_t last = PyList_GET_SIZE(list) - 1;
    if (last < 0) {
        PyErr_SetString(PyExc_IndexError, "pop from empty list");
        return NULL;
    }
    PyObject *item = Py_NewRef(PyList_GET_ITEM(list, last));
    if (PyList_SetSlice(list, last, last + 1, NULL) < 0) {
        Py_CLEAR(item);
    }
    return item;
}

static PyObject *base_get(ext_queue *self)
{
    if (self->queue == NULL) {
        if (self->ring.count == 0) {
            PyErr_SetString(PyExc_IndexError, "pop from an empty deque");
            return NULL;
        }
        return ext_ring_get(&self->ring);
    }
    if (self->kind == EXT_PRIORITY) {
        PyObject *pop = ext_ref((PyObject *) self, EXT_HEAPPOP);
        return pop == NULL ? NULL : PyObject_CallOneArg(pop, self->queue);
    }
    if (self->kind == EXT_LIFO && PyList_CheckExact(self->queue)) {
        return list_pop(self->queue);
    }
    return ext_call_method(self->kind == EXT_FIFO ? "popleft" : "pop", &self->queue, 1);
}

PyObject *ext_queue_base_get(ext_queue *self)
{
    PyObject *item;
    EXT_CRITICAL_BEGIN(self);
    item = base_get(self);
    EXT_CRITICAL_END;
    return item;
}

Py_ssize_t ext_queue_size(ext_queue *self)
{
    if (!(self->own & EXT_OWN_QSIZE)) {
        return ext_queue_base_size(self);
    }
    PyObject *args[] = {(PyObject *) self};
    PyObject *result = ext_call_method("_qsize", args, 1);
    Py_ssize_t size = result == NULL ? -1 : PyNumber_AsSsize_t(result, NULL);
    Py_XDECREF(result);
    if (size < 0 && !PyErr_Occurred()) {
        size = 0;
    }
    return size;
}

int ext_queue_put(ext_queue *self, PyObject *item)
{
    if (!(self->own & EXT_OWN_PUT)) {
        return ext_queue_base_put(self, item);
    }
    PyObject *args[] = {(PyObject *) self, item};
    return call_discarding(ext_call_method("_put", args, 2));
}

PyObject *ext_queue_get(ext_queue *self)
{
    if (!(self->own & EXT_OWN_GET)) {
        return ext_queue_base_get(self);
    }
    PyObject *args[] = {(PyObject *) self};
    return ext_call_method("_get", args, 1);
}

static PyObject *deque_of(ext_queue *self)
{
    PyObject *type = ext_ref((PyObject *) self, EXT_DEQUE);
    PyObject *list = type == NULL ? NULL : PyList_New((Py_ssize_t) self->ring.count);
    for (size_t i = 0; list != NULL && i < self->ring.count; i++) {
        PyList_SET_ITEM(list, (Py_ssize_t) i, Py_NewRef(ext_ring_at(&self->ring, i)));
    }
    PyObject *deque = list == NULL ? NULL : PyObject_CallOneArg(type, list);
    Py_XDECREF(list);
    return deque;
}

/* The deque instead of the ring; borrowed. */
static PyObject *expose(ext_queue *self)
{
    if (self->queue == NULL) {
        PyObject *deque = deque_of(self);
        if (deque != NULL) {
            self->queue = deque;
            ext_ring_clear(&self->ring); /* the deque holds every item: nothing dies here */
        }
    }
    return self->queue;
}

PyObject *ext_queue_expose(ext_queue *self)
{
    PyObject *queue;
    EXT_CRITICAL_BEGIN(self);
    queue = Py_XNewRef(expose(self));
    EXT_CRITICAL_END;
    return queue;
}
