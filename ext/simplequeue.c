/* queue.SimpleQueue: a ring, and a condition for those who wait.
 *
 * With the GIL the fields need no lock of their own: nothing between attach and detach runs Python code while they are half
 * changed, which also makes put() safe in destructors and signal handlers. A free-threaded build takes `guard`.
 */
#include "locks.h"
#include "ring.h"

typedef struct ext_simplequeue {
    PyObject_HEAD
    ext_ring ring;
    mh_lock guard; /* free-threaded builds only */
    mh_cond cond;
    PyObject *weakrefs;
} ext_simplequeue;

#define ENTER(self) ext_guard_enter(&(self)->guard)
#define LEAVE(self) ext_guard_leave(&(self)->guard)

static PyObject *sq_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"SimpleQueue", 0, 0, 0, {NULL}};
    ext_state *state = ext_state_of(type);
    if (state == NULL || ((PyObject *) type == state->ref[EXT_SIMPLE_QUEUE_TYPE] &&
                          ext_args_tuple(&signature, args, kwargs, NULL) < 0)) {
        return NULL;
    }
    ext_simplequeue *self = (ext_simplequeue *) type->tp_alloc(type, 0);
    if (self != NULL) {
        mh_lock_init(&self->guard, MH_PRIVATE);
        mh_cond_init(&self->cond, 0, MH_PRIVATE);
    }
    return (PyObject *) self;
}

static int sq_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void) self, (void) args, (void) kwargs;
    return 0;
}

static int sq_traverse(ext_simplequeue *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (size_t i = 0; i < self->ring.count; i++) {
        Py_VISIT(ext_ring_at(&self->ring, i));
    }
    return 0;
}

static int sq_clear(ext_simplequeue *self)
{
    ext_ring_clear(&self->ring);
    return 0;
}

static void sq_dealloc(ext_simplequeue *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *) self);
    }
    sq_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *put(ext_simplequeue *self, PyObject *item)
{
    ENTER(self);
    int rc = ext_ring_put(&self->ring, Py_NewRef(item));
    bool wanted = rc == 0 && mh_cond_waiting(&self->cond) != 0;
    LEAVE(self);
    if (rc < 0) {
        Py_DECREF(item);
        return PyErr_NoMemory();
    }
    if (wanted) {
        PyThreadState *kept = ext_wake_begin((PyObject *) self);
        mh_cond_notify(&self->cond, 1);
        ext_wake_end(kept);
    }
    Py_RETURN_NONE;
}

/* block and timeout are there for likeness with Queue.put(): this one never waits. */
static PyObject *sq_put(ext_simplequeue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"put", 1, 3, 3, {"item", "block", "timeout"}};
    PyObject *given[3] = {NULL, NULL, NULL};
    if (nargs == 1 && kwnames == NULL) {
        return put(self, args[0]);
    }
    return ext_args(&signature, args, nargs, kwnames, given) < 0 ? NULL : put(self, given[0]);
}

static PyObject *sq_put_nowait(ext_simplequeue *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames)
{
    static const ext_signature signature = {"put_nowait", 1, 1, 1, {"item"}};
    PyObject *item = NULL;
    return ext_args(&signature, args, nargs, kwnames, &item) < 0 ? NULL : put(self, item);
}

/* The oldest, or NULL without an exception; then, if `ticket` is given, with a place in the queue of those who wait. */
static PyObject *take(ext_simplequeue *self, mh_cond_ticket *ticket)
{
    PyObject *item = NULL;
    ENTER(self);
    if (self->ring.count != 0) {
        item = ext_ring_get(&self->ring);
    } else if (ticket != NULL) {
        mh_cond_prepare(&self->cond, ticket);
    }
    LEAVE(self);
    return item;
}

static PyObject *get(ext_simplequeue *self, ext_until until)
{
    mh_cond_ticket ticket;
    bool last = until.at == MH_AT_ONCE;
    for (;;) {
        PyObject *item = take(self, last ? NULL : &ticket);
        if (item != NULL) {
            return item;
        }
        if (last) {
            return ext_raise((PyObject *) self, EXT_EMPTY, NULL);
        }
        int rc = ext_cond_sleep((PyObject *) self, &self->cond, &ticket, until, NULL);
        if (rc == EXT_RAISED) {
            return NULL;
        }
        last = rc == -ETIMEDOUT;
    }
}

static PyObject *sq_get(ext_simplequeue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until = EXT_FOREVER;
    if ((nargs != 0 || kwnames != NULL) &&
        ext_get_args((PyObject *) self, args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    return get(self, until);
}

static PyObject *sq_get_nowait(ext_simplequeue *self, PyObject *unused)
{
    (void) unused;
    return get(self, (ext_until){MH_AT_ONCE, NULL});
}

static size_t length(ext_simplequeue *self)
{
    ENTER(self);
    size_t count = self->ring.count;
    LEAVE(self);
    return count;
}

static PyObject *sq_empty(ext_simplequeue *self, PyObject *unused)
{
    (void) unused;
    return PyBool_FromLong(length(self) == 0);
}

static PyObject *sq_qsize(ext_simplequeue *self, PyObject *unused)
{
    (void) unused;
    return PyLong_FromSize_t(length(self));
}

static PyObject *sq_sizeof(ext_simplequeue *self, PyObject *unused)
{
    (void) unused;
    return PyLong_FromSize_t((size_t) Py_TYPE(self)->tp_basicsize + ext_ring_bytes(&self->ring));
}

static PyMethodDef sq_methods[] = {
    EXT_METHOD("put", sq_put, EXT_FASTCALL,
               "put($self, /, item, block=True, timeout=None)\n--\n\n"
               "Put the item on the queue. Never waits; block and timeout are ignored."),
    EXT_METHOD("put_nowait", sq_put_nowait, EXT_FASTCALL,
               "put_nowait($self, /, item)\n--\n\nThe same as put(item)."),
    EXT_METHOD(
        "get", sq_get, EXT_FASTCALL,
        "get($self, /, block=True, timeout=None, *, cancel=None)\n--\n\n"
        "Remove and return the oldest item. Wait for one, at most `timeout` seconds, or not at all where\n"
        "block is false; queue.Empty where there is none. `cancel`: a CancelToken, which ends the wait with\n"
        "Cancelled."),
    EXT_METHOD("get_nowait", sq_get_nowait, METH_NOARGS,
               "get_nowait($self, /)\n--\n\nThe same as get(block=False)."),
    EXT_METHOD("empty", sq_empty, METH_NOARGS,
               "empty($self, /)\n--\n\nReturn whether the queue is empty just now."),
    EXT_METHOD("qsize", sq_qsize, METH_NOARGS, "qsize($self, /)\n--\n\nReturn the number of items just now."),
    EXT_METHOD("__sizeof__", sq_sizeof, METH_NOARGS,
               "__sizeof__($self, /)\n--\n\nBytes of memory, without those of the items."),
    EXT_METHOD("__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "See PEP 585."),
    {NULL, NULL, 0, NULL},
};

static PyMemberDef sq_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(ext_simplequeue, weakrefs), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot sq_slots[] = {
    {Py_tp_doc,
     (void *) PyDoc_STR(
         "SimpleQueue()\n--\n\nAn unbounded queue: put() never waits and may be called anywhere.")},
    {Py_tp_new, sq_new},
    {Py_tp_init, sq_init},
    {Py_tp_dealloc, sq_dealloc},
    {Py_tp_traverse, sq_traverse},
    {Py_tp_clear, sq_clear},
    {Py_tp_methods, sq_methods},
    {Py_tp_members, sq_members},
    {0, NULL},
};

static PyType_Spec sq_spec = {
    .name = "manyhands.queue.SimpleQueue",
    .basicsize = sizeof(ext_simplequeue),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = sq_slots,
};

int ext_simplequeue_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, EXT_SIMPLE_QUEUE_TYPE, &sq_spec, NULL);
}
