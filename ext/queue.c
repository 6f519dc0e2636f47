/* queue.Queue, LifoQueue and PriorityQueue.
 *
 * `mutex` guards the store, and user code may hold it (`with q.mutex: q.queue.clear()`). Every operation enters the queue:
 * it takes the mutex, unless the GIL makes that needless. It is needless where the mutex is free and the operation runs no
 * Python code: a thread that takes the mutex in the middle of it (in the core, detached) cannot look at the queue before it has
 * the GIL, which is not before the operation is over. Free-threaded builds always take it.
 */
#include "queue.h"

/* ---- enter and leave ----------------------------------------------------------------------------------------- */

static inline bool needless(const ext_queue *self)
{
#ifdef Py_GIL_DISABLED
    (void) self;
    return false;
#else
    return ext_queue_pure(self) && !mh_lock_is_locked(&self->mutex->lock);
#endif
}

/* 1: the mutex was taken, 0: needless, -1: an exception is set. Time limits are not for the mutex, a token is. */
static inline int enter(ext_queue *self, ext_cancel *cancel)
{
    if (needless(self)) {
        return 0;
    }
    if (mh_lock_try_acquire(&self->mutex->lock) < 0 &&
        ext_wait((PyObject *) self, ext_wait_for_lock, &self->mutex->lock, (ext_until){MH_FOREVER, cancel}) <
            0) {
        return -1;
    }
    ext_held_take(&self->mutex->held, (PyObject *) self->mutex);
    return 1;
}

static inline void leave(ext_queue *self, int held)
{
    if (held > 0) {
        ext_lock_drop(self->mutex); /* user code may have released it, as it may the stdlib's */
    }
}

/* Leave, and wake one who waits in `cond`. Where the mutex is held it is woken before: it cannot go on yet. */
static inline void leave_and_notify(ext_queue *self, int held, ext_cond *cond)
{
    bool wanted = mh_cond_waiting(&cond->cond) != 0;
    if (wanted && held > 0) {
        mh_cond_notify(&cond->cond, 1);
    }
    leave(self, held);
    if (wanted && held == 0) {
        PyThreadState *kept = ext_wake_begin((PyObject *) self);
        mh_cond_notify(&cond->cond, 1);
        ext_wake_end(kept);
    }
}

/* Leave, wait for a notification, enter again. 0, -ETIMEDOUT, EXT_RAISED; entered in every case. */
static int sleep_on(ext_queue *self, ext_cond *cond, ext_until until, int *held)
{
    mh_cond_ticket ticket;
    int rc = mh_cond_prepare(&cond->cond, &ticket);
    if (rc < 0) {
        return ext_raise_code((PyObject *) self, rc);
    }
    leave(self, *held);
    rc = ext_cond_sleep((PyObject *) self, &cond->cond, &ticket, until, NULL);
    *held = !needless(self);
    if (!*held) {
        return rc;
    }
    rc = ext_take_lock((PyObject *) self, &self->mutex->lock) < 0 ? EXT_RAISED : rc;
    ext_held_take(&self->mutex->held, (PyObject *) self->mutex);
    return rc;
}

/* The bound; another thread may set it at any moment, and orders nothing by it. */
static Py_ssize_t limit_now(const ext_queue *self)
{
    return atomic_load_explicit(&self->limit, memory_order_relaxed);
}

static void set_limit(ext_queue *self, Py_ssize_t limit)
{
    atomic_store_explicit(&self->limit, limit, memory_order_relaxed);
}

/* ---- put and get --------------------------------------------------------------------------------------------- */

static int shut_down(ext_queue *self)
{
    ext_raise((PyObject *) self, EXT_SHUT_DOWN, NULL);
    return -1;
}

/* Wait while the queue is full. Entered before and after. */
static int make_room(ext_queue *self, ext_until until, int *held)
{
    bool late = until.at == MH_AT_ONCE;
    for (;;) {
        Py_ssize_t size = ext_queue_size(self);
        Py_ssize_t limit = limit_now(self);
        if (size < limit || limit == 0) {
            return size < 0 ? -1 : 0;
        }
        if (late) {
            ext_raise((PyObject *) self, EXT_FULL, NULL);
            return -1;
        }
        int rc = sleep_on(self, self->not_full, until, held);
        if (rc == EXT_RAISED) {
            return -1;
        }
        if (self->is_shutdown) {
            return shut_down(self);
        }
        late = rc == -ETIMEDOUT;
    }
}

static PyObject *put(ext_queue *self, PyObject *item, ext_until until)
{
    int held = enter(self, until.cancel);
    if (held < 0) {
        return NULL;
    }
    int rc = self->is_shutdown ? shut_down(self) : 0;
    if (rc == 0 && limit_now(self) > 0) {
        rc = make_room(self, until, &held);
    }
    if (rc == 0) {
        rc = ext_queue_put(self, item);
    }
    if (rc < 0) {
        leave(self, held);
        return NULL;
    }
    self->unfinished++;
    leave_and_notify(self, held, self->not_empty);
    Py_RETURN_NONE;
}

/* Wait while the queue is empty. Entered before and after. */
static int wait_for_item(ext_queue *self, ext_until until, int *held)
{
    bool late = until.at == MH_AT_ONCE;
    for (;;) {
        Py_ssize_t size = ext_queue_size(self);
        if (size != 0) {
            return size < 0 ? -1 : 0;
        }
        if (self->is_shutdown) {
            return shut_down(self);
        }
        if (late) {
            ext_raise((PyObject *) self, EXT_EMPTY, NULL);
            return -1;
        }
        int rc = sleep_on(self, self->not_empty, until, held);
        if (rc == EXT_RAISED) {
            return -1;
        }
        late = rc == -ETIMEDOUT;
    }
}

static PyObject *get(ext_queue *self, ext_until until)
{
    PyObject *item = NULL;
    int held = enter(self, until.cancel);
    if (held < 0) {
        return NULL;
    }
    if (wait_for_item(self, until, &held) == 0) {
        item = ext_queue_get(self);
    }
    if (item != NULL) {
        leave_and_notify(self, held, self->not_full);
    } else {
        leave(self, held);
    }
    return item;
}

static PyObject *queue_put(ext_queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"put", 1, 3, 4, {"item", "block", "timeout", "cancel"}};
    PyObject *given[4] = {NULL, NULL, NULL, NULL};
    ext_until until = EXT_FOREVER;
    if (nargs == 1 && kwnames == NULL) {
        return put(self, args[0], until);
    }
    if (ext_args(&signature, args, nargs, kwnames, given) < 0 ||
        ext_cancel_arg((PyObject *) self, given[3], &until.cancel) < 0) {
        return NULL;
    }
    if (limit_now(self) > 0 && ext_queue_deadline(given[1], given[2], &until.at) < 0) {
        return NULL; /* an unbounded queue never looks at them */
    }
    return put(self, given[0], until);
}

static PyObject *queue_get(ext_queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until = EXT_FOREVER;
    if ((nargs != 0 || kwnames != NULL) &&
        ext_get_args((PyObject *) self, args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    return get(self, until);
}

static const ext_until at_once = {MH_AT_ONCE, NULL};

/* self.put(item, block=False) and self.get(block=False) where a subclass redefines those. */
static PyObject *by_method(ext_queue *self, const char *name, PyObject *item)
{
    PyObject *method = PyObject_GetAttrString((PyObject *) self, name);
    PyObject *block = PyUnicode_InternFromString("block");
    PyObject *names = block == NULL ? NULL : PyTuple_Pack(1, block);
    PyObject *args[2] = {item, Py_False};
    PyObject *result = NULL;
    if (method != NULL && names != NULL) {
        result = PyObject_Vectorcall(method, item == NULL ? args + 1 : args, item == NULL ? 0 : 1, names);
    }
    Py_XDECREF(method);
    Py_XDECREF(block);
    Py_XDECREF(names);
    return result;
}

static PyObject *queue_put_nowait(ext_queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"put_nowait", 1, 1, 1, {"item"}};
    PyObject *item = NULL;
    if (ext_args(&signature, args, nargs, kwnames, &item) < 0) {
        return NULL;
    }
    return self->own & EXT_OWN_PUBLIC_PUT ? by_method(self, "put", item) : put(self, item, at_once);
}

static PyObject *queue_get_nowait(ext_queue *self, PyObject *unused)
{
    (void) unused;
    return self->own & EXT_OWN_PUBLIC_GET ? by_method(self, "get", NULL) : get(self, at_once);
}

/* ---- tasks, size, shutdown ----------------------------------------------------------------------------------- */

static PyObject *queue_task_done(ext_queue *self, PyObject *unused)
{
    (void) unused;
    int held = enter(self, NULL);
    if (held < 0) {
        return NULL;
    }
    bool too_often = self->unfinished <= 0;
    if (!too_often && --self->unfinished == 0) {
        mh_cond_notify_all(&self->all_tasks_done->cond);
    }
    leave(self, held);
    if (too_often) {
        PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *queue_join(ext_queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"join", 0, 0, 1, {"cancel"}};
    PyObject *given = NULL;
    ext_until until = EXT_FOREVER;
    if (ext_args(&signature, args, nargs, kwnames, &given) < 0 ||
        ext_cancel_arg((PyObject *) self, given, &until.cancel) < 0) {
        return NULL;
    }
    int rc = 0, held = enter(self, until.cancel);
    if (held < 0) {
        return NULL;
    }
    while (self->unfinished != 0 && rc != EXT_RAISED) {
        rc = sleep_on(self, self->all_tasks_done, until, &held);
    }
    leave(self, held);
    return rc == EXT_RAISED ? NULL : Py_NewRef(Py_None);
}

static Py_ssize_t size_now(ext_queue *self)
{
    int held = enter(self, NULL);
    if (held < 0) {
        return -1;
    }
    Py_ssize_t size = ext_queue_size(self);
    leave(self, held);
    return size;
}

static PyObject *queue_qsize(ext_queue *self, PyObject *unused)
{
    (void) unused;
    Py_ssize_t size = size_now(self);
    return size < 0 ? NULL : PyLong_FromSsize_t(size);
}

static PyObject *queue_empty(ext_queue *self, PyObject *unused)
{
    (void) unused;
    Py_ssize_t size = size_now(self);
    return size < 0 ? NULL : PyBool_FromLong(size == 0);
}

static PyObject *queue_full(ext_queue *self, PyObject *unused)
{
    (void) unused;
    Py_ssize_t size = size_now(self), limit = limit_now(self);
    return size < 0 ? NULL : PyBool_FromLong(limit > 0 && size >= limit);
}

/* Take every item out, as get() and task_done() would. `dropped` gets the items of a ring, to be released by the caller
 * after it has left the queue: their destructors may use it. */
static int drain(ext_queue *self, ext_ring *dropped)
{
    if (self->queue == NULL && (self->own & EXT_OWN_STORE) == 0) {
        EXT_CRITICAL_BEGIN(self);
        *dropped = self->ring;
        self->ring = (ext_ring){0};
        EXT_CRITICAL_END;
        Py_ssize_t count = (Py_ssize_t) dropped->count;
        self->unfinished = self->unfinished > count ? self->unfinished - count : 0;
        return 0;
    }
    for (;;) {
        Py_ssize_t size = ext_queue_size(self);
        PyObject *item = size > 0 ? ext_queue_get(self) : NULL;
        if (item == NULL) {
            return size == 0 ? 0 : -1;
        }
        Py_DECREF(item);
        self->unfinished -= self->unfinished > 0;
    }
}

static PyObject *queue_shutdown(ext_queue *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"shutdown", 0, 1, 1, {"immediate"}};
    PyObject *given = NULL;
    ext_ring dropped = {0};
    if (ext_args(&signature, args, nargs, kwnames, &given) < 0) {
        return NULL;
    }
    int immediate = given == NULL ? 0 : PyObject_IsTrue(given);
    int held = immediate < 0 ? -1 : enter(self, NULL);
    if (held < 0) {
        return NULL;
    }
    self->is_shutdown = 1;
    int rc = immediate ? drain(self, &dropped) : 0;
    if (immediate) {
        mh_cond_notify_all(&self->all_tasks_done->cond);
    }
    mh_cond_notify_all(&self->not_empty->cond);
    mh_cond_notify_all(&self->not_full->cond);
    leave(self, held);
    ext_ring_clear(&dropped);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- what subclasses redefine: called with the mutex held, and so entering nothing ------------------------------ */

static PyObject *queue_base_init(ext_queue *self, PyObject *maxsize)
{
    (void) maxsize;
    return ext_queue_base_init(self) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *queue_base_qsize(ext_queue *self, PyObject *unused)
{
    (void) unused;
    Py_ssize_t size = ext_queue_base_size(self);
    return size < 0 ? NULL : PyLong_FromSsize_t(size);
}

static PyObject *queue_base_put(ext_queue *self, PyObject *item)
{
    return ext_queue_base_put(self, item) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *queue_base_get(ext_queue *self, PyObject *unused)
{
    (void) unused;
    return ext_queue_base_get(self);
}

static PyObject *queue_sizeof(ext_queue *self, PyObject *unused)
{
    (void) unused;
    return PyLong_FromSize_t((size_t) Py_TYPE(self)->tp_basicsize + ext_ring_bytes(&self->ring));
}

/* ---- attributes ---------------------------------------------------------------------------------------------- */

/* The mutex, unless the calling thread has it already; others wait for it meanwhile. */
static int enter_for_attribute(ext_queue *self)
{
    if (mh_lock_owner(&self->mutex->lock) == (int) PyThread_get_thread_native_id()) {
        return 0;
    }
    return ext_take_lock((PyObject *) self, &self->mutex->lock) < 0 ? -1 : 1;
}

static PyObject *queue_get_queue(ext_queue *self, void *unused)
{
    (void) unused;
    int held = enter_for_attribute(self);
    PyObject *queue = held < 0 ? NULL : ext_queue_expose(self);
    leave(self, held < 0 ? 1 : held);
    return queue;
}

static int queue_set_queue(ext_queue *self, PyObject *value, void *unused)
{
    (void) unused;
    if (value == NULL) {
        ext_refuse(PyExc_AttributeError, "MH-ARGUMENT", "queue cannot be deleted");
        return -1;
    }
    int held = enter_for_attribute(self);
    PyObject *old = NULL;
    ext_ring ring = {0};
    if (held >= 0) {
        EXT_CRITICAL_BEGIN(self);
        old = self->queue;
        ring = self->ring;
        self->queue = Py_NewRef(value);
        self->ring = (ext_ring){0};
        EXT_CRITICAL_END;
    }
    leave(self, held < 0 ? 1 : held);
    Py_XDECREF(old);
    ext_ring_clear(&ring);
    return held < 0 ? -1 : 0;
}

static PyObject *queue_get_maxsize(ext_queue *self, void *unused)
{
    (void) unused;
    PyObject *maxsize;
    EXT_CRITICAL_BEGIN(self);
    maxsize = Py_NewRef(self->maxsize);
    EXT_CRITICAL_END;
    return maxsize;
}

/* Anything that compares with 0 and with a length may bound a queue; what is more than any length, or not, is no bound. */
static int limit_of(PyObject *value, Py_ssize_t *limit)
{
    if (PyLong_Check(value) || PyIndex_Check(value)) {
        Py_ssize_t n = PyNumber_AsSsize_t(value, NULL); /* clips */
        *limit = n > 0 ? n : 0;
        return n == -1 && PyErr_Occurred() ? -1 : 0;
    }
    double d = PyFloat_AsDouble(value);
    if (d == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    Py_ssize_t whole = d < 1e15 ? (Py_ssize_t) d : 0;
    *limit = d > 0 && d < 1e15 ? whole + ((double) whole < d) : 0;
    return 0;
}

static int queue_set_maxsize(ext_queue *self, PyObject *value, void *unused)
{
    (void) unused;
    Py_ssize_t limit;
    if (value == NULL) {
        ext_refuse(PyExc_AttributeError, "MH-ARGUMENT", "maxsize cannot be deleted");
        return -1;
    }
    if (limit_of(value, &limit) < 0) {
        return -1;
    }
    PyObject *old;
    EXT_CRITICAL_BEGIN(self);
    old = self->maxsize;
    self->maxsize = Py_NewRef(value);
    set_limit(self, limit);
    EXT_CRITICAL_END;
    Py_DECREF(old);
    return 0;
}

/* ---- construction -------------------------------------------------------------------------------------------- */

static int find_own(ext_queue *self, ext_state *state)
{
    static const struct {
        const char *name;
        unsigned bit;
    } table[] = {
        {"_qsize", EXT_OWN_QSIZE}, {"_put", EXT_OWN_PUT},       {"_get", EXT_OWN_GET},
        {"_init", EXT_OWN_INIT},   {"put", EXT_OWN_PUBLIC_PUT}, {"get", EXT_OWN_PUBLIC_GET},
    };
    static const enum ext_ref bases[] = {EXT_QUEUE_TYPE, EXT_LIFO_QUEUE_TYPE, EXT_PRIORITY_QUEUE_TYPE};
    PyTypeObject *base = (PyTypeObject *) state->ref[bases[self->kind]];
    for (size_t i = 0; i < sizeof table / sizeof table[0] && Py_TYPE(self) != base; i++) {
        int rc = ext_overrides(Py_TYPE(self), base, table[i].name);
        if (rc < 0) {
            return -1;
        }
        self->own |= rc ? table[i].bit : 0;
    }
    return 0;
}

static bool derives(PyTypeObject *type, ext_state *state, enum ext_ref which)
{
    return state->ref[which] != NULL && PyType_IsSubtype(type, (PyTypeObject *) state->ref[which]);
}

static int furnish(ext_queue *self, ext_state *state)
{
    PyTypeObject *type = Py_TYPE(self);
    self->kind = derives(type, state, EXT_LIFO_QUEUE_TYPE)       ? EXT_LIFO
                 : derives(type, state, EXT_PRIORITY_QUEUE_TYPE) ? EXT_PRIORITY
                                                                 : EXT_FIFO;
    self->mutex = (ext_lock *) ext_lock_new(state);
    ext_cond **conds[] = {&self->not_empty, &self->not_full, &self->all_tasks_done};
    for (size_t i = 0; i < 3 && self->mutex != NULL; i++) {
        *conds[i] = (ext_cond *) ext_cond_new(state, (PyObject *) self->mutex);
    }
    self->maxsize = PyLong_FromLong(0);
    if (self->mutex == NULL || self->not_empty == NULL || self->not_full == NULL ||
        self->all_tasks_done == NULL || self->maxsize == NULL || ext_queue_base_init(self) < 0) {
        return -1;
    }
    return find_own(self, state);
}

static PyObject *queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void) args, (void) kwargs;
    ext_state *state = ext_state_of(type);
    ext_queue *self = state == NULL ? NULL : (ext_queue *) type->tp_alloc(type, 0);
    if (self != NULL && furnish(self, state) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *) self;
}

static int queue_init(ext_queue *self, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"Queue", 0, 1, 1, {"maxsize"}};
    PyObject *maxsize = NULL;
    if (ext_args_tuple(&signature, args, kwargs, &maxsize) < 0 ||
        (maxsize != NULL && queue_set_maxsize(self, maxsize, NULL) < 0)) {
        return -1;
    }
    self->unfinished = 0;
    self->is_shutdown = 0;
    if (!(self->own & EXT_OWN_INIT)) {
        return ext_queue_base_size(self) == 0 ? 0 : ext_queue_base_init(self);
    }
    PyObject *call[] = {(PyObject *) self, self->maxsize};
    PyObject *result = ext_call_method("_init", call, 2);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int queue_traverse(ext_queue *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (size_t i = 0; i < self->ring.count; i++) {
        Py_VISIT(ext_ring_at(&self->ring, i));
    }
    Py_VISIT(self->queue);
    Py_VISIT((PyObject *) self->not_empty);
    Py_VISIT((PyObject *) self->not_full);
    Py_VISIT((PyObject *) self->all_tasks_done);
    Py_VISIT(self->maxsize);
    Py_VISIT(self->dict);
    return 0;
}

/* What methods rely on stays until the end; cycles through a condition's __dict__ are cut there. */
static int queue_clear(ext_queue *self)
{
    ext_ring_clear(&self->ring);
    if (self->kind == EXT_FIFO) {
        Py_CLEAR(self->queue);
    } else if (self->queue != NULL) {
        PyObject *empty = PyList_New(0);
        if (empty == NULL) {
            PyErr_Clear();
        } else {
            Py_XSETREF(self->queue, empty);
        }
    }
    Py_CLEAR(self->dict);
    return 0;
}

static void queue_dealloc(ext_queue *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *) self);
    }
    ext_ring_clear(&self->ring);
    Py_CLEAR(self->queue);
    Py_CLEAR(self->dict);
    Py_XDECREF((PyObject *) self->not_empty);
    Py_XDECREF((PyObject *) self->not_full);
    Py_XDECREF((PyObject *) self->all_tasks_done);
    Py_XDECREF((PyObject *) self->mutex);
    Py_XDECREF(self->maxsize);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- types --------------------------------------------------------------------------------------------------- */

static PyMethodDef queue_methods[] = {
    EXT_METHOD(
        "put", queue_put, EXT_FASTCALL,
        "put($self, /, item, block=True, timeout=None, *, cancel=None)\n--\n\n"
        "Put the item into the queue. Where the queue is full wait, at most `timeout` seconds, or not "
        "at all\n"
        "where block is false; queue.Full where there was no room. ShutDown after shutdown(). `cancel`: a\n"
        "CancelToken, which ends the wait with Cancelled."),
    EXT_METHOD(
        "get", queue_get, EXT_FASTCALL,
        "get($self, /, block=True, timeout=None, *, cancel=None)\n--\n\n"
        "Remove and return an item. Where the queue is empty wait, at most `timeout` seconds, or not at all\n"
        "where block is false; queue.Empty where there was none. ShutDown after shutdown(), once it is "
        "empty. `cancel`: a CancelToken, which ends the wait with Cancelled."),
    EXT_METHOD("put_nowait", queue_put_nowait, EXT_FASTCALL,
               "put_nowait($self, /, item)\n--\n\nThe same as put(item, block=False)."),
    EXT_METHOD("get_nowait", queue_get_nowait, METH_NOARGS,
               "get_nowait($self, /)\n--\n\nThe same as get(block=False)."),
    EXT_METHOD("task_done", queue_task_done, METH_NOARGS,
               "task_done($self, /)\n--\n\n"
               "Say that the work on one item is done. ValueError where that was said more often than items "
               "were put."),
    EXT_METHOD(
        "join", queue_join, EXT_FASTCALL,
        "join($self, /, *, cancel=None)\n--\n\n"
        "Wait until task_done() was called for every item that was put. `cancel`: a CancelToken, which ends\n"
        "the wait with Cancelled."),
    EXT_METHOD("qsize", queue_qsize, METH_NOARGS,
               "qsize($self, /)\n--\n\nReturn the number of items just now."),
    EXT_METHOD("empty", queue_empty, METH_NOARGS,
               "empty($self, /)\n--\n\nReturn whether the queue is empty just now."),
    EXT_METHOD("full", queue_full, METH_NOARGS,
               "full($self, /)\n--\n\nReturn whether the queue is full just now."),
    EXT_METHOD("shutdown", queue_shutdown, EXT_FASTCALL,
               "shutdown($self, /, immediate=False)\n--\n\n"
               "Make every put() raise ShutDown, and get() once the queue is empty; with `immediate` it is "
               "emptied now."),
    EXT_METHOD("_init", queue_base_init, METH_O,
               "_init($self, maxsize, /)\n--\n\nMake the store; redefine it in a subclass."),
    EXT_METHOD("_qsize", queue_base_qsize, METH_NOARGS,
               "_qsize($self, /)\n--\n\nThe number of items in the store."),
    EXT_METHOD("_put", queue_base_put, METH_O, "_put($self, item, /)\n--\n\nPut the item into the store."),
    EXT_METHOD("_get", queue_base_get, METH_NOARGS, "_get($self, /)\n--\n\nTake an item out of the store."),
    EXT_METHOD("__sizeof__", queue_sizeof, METH_NOARGS,
               "__sizeof__($self, /)\n--\n\nBytes of memory, without those of the items, the mutex and the "
               "conditions."),
    EXT_METHOD("__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "See PEP 585."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef queue_getset[] = {
    {"queue", (getter) queue_get_queue, (setter) queue_set_queue,
     PyDoc_STR("The store; hold `mutex` to use it."), NULL},
    {"maxsize", (getter) queue_get_maxsize, (setter) queue_set_maxsize,
     PyDoc_STR("The bound; 0 or less: none."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef queue_members[] = {
    {"mutex", Py_T_OBJECT_EX, offsetof(ext_queue, mutex), Py_READONLY,
     PyDoc_STR("Held while the queue changes.")},
    {"not_empty", Py_T_OBJECT_EX, offsetof(ext_queue, not_empty), Py_READONLY,
     PyDoc_STR("Notified when an item comes.")},
    {"not_full", Py_T_OBJECT_EX, offsetof(ext_queue, not_full), Py_READONLY,
     PyDoc_STR("Notified when an item goes.")},
    {"all_tasks_done", Py_T_OBJECT_EX, offsetof(ext_queue, all_tasks_done), Py_READONLY,
     PyDoc_STR("Notified when the last task is done.")},
    {"unfinished_tasks", Py_T_PYSSIZET, offsetof(ext_queue, unfinished), 0,
     PyDoc_STR("Items put and not yet done.")},
    {"is_shutdown", Py_T_BOOL, offsetof(ext_queue, is_shutdown), 0,
     PyDoc_STR("Whether shutdown() was called.")},
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(ext_queue, weakrefs), Py_READONLY, NULL},
    {"__dictoffset__", Py_T_PYSSIZET, offsetof(ext_queue, dict), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_doc, (void *) PyDoc_STR("Queue(maxsize=0)\n--\n\n"
                                   "A queue for any number of producers and consumers, first in first out.")},
    {Py_tp_new, queue_new},
    {Py_tp_init, queue_init},
    {Py_tp_dealloc, queue_dealloc},
    {Py_tp_traverse, queue_traverse},
    {Py_tp_clear, queue_clear},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {Py_tp_members, queue_members},
    {0, NULL},
};

static PyType_Slot lifo_slots[] = {
    {Py_tp_doc,
     (void *) PyDoc_STR("LifoQueue(maxsize=0)\n--\n\nA queue that hands out the newest item first.")},
    {0, NULL},
};

static PyType_Slot priority_slots[] = {
    {Py_tp_doc,
     (void *) PyDoc_STR("PriorityQueue(maxsize=0)\n--\n\nA queue that hands out the least item first.")},
    {0, NULL},
};

#define QUEUE_FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC)

static PyType_Spec queue_spec = {.name = "manyhands.queue.Queue",
                                 .basicsize = sizeof(ext_queue),
                                 .flags = QUEUE_FLAGS,
                                 .slots = queue_slots};
static PyType_Spec lifo_spec = {.name = "manyhands.queue.LifoQueue",
                                .basicsize = sizeof(ext_queue),
                                .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                                .slots = lifo_slots};
static PyType_Spec priority_spec = {.name = "manyhands.queue.PriorityQueue",
                                    .basicsize = sizeof(ext_queue),
                                    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                                    .slots = priority_slots};

static int take(ext_state *state, enum ext_ref which, const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    PyObject *value = module == NULL ? NULL : PyObject_GetAttrString(module, name);
    Py_XDECREF(module);
    Py_XSETREF(state->ref[which], value);
    return value == NULL ? -1 : 0;
}

int ext_queue_ready(PyObject *module, ext_state *state)
{
    if (take(state, EXT_DEQUE, "collections", "deque") < 0 ||
        take(state, EXT_HEAPPUSH, "heapq", "heappush") < 0 ||
        take(state, EXT_HEAPPOP, "heapq", "heappop") < 0 ||
        ext_add_type(module, state, EXT_QUEUE_TYPE, &queue_spec, NULL) < 0) {
        return -1;
    }
    PyObject *base = state->ref[EXT_QUEUE_TYPE];
    if (ext_add_type(module, state, EXT_LIFO_QUEUE_TYPE, &lifo_spec, base) < 0) {
        return -1;
    }
    return ext_add_type(module, state, EXT_PRIORITY_QUEUE_TYPE, &priority_spec, base);
}
