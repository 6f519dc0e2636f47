/* ext/mpqueue.c - MessageQueue: multiprocessing's Queue on a channel. No feeder thread: put() is the whole of it. */
#include <unistd.h>

#include "block.h"
#include "mpqueue.h"
#include "named.h"

typedef struct queue_object {
    PyObject_HEAD
    queue_shared *shared; /* with the ends of it */
    mh_channel *channel;  /* the one in there */
    PyObject *weakrefs;
    Py_ssize_t maxsize;
    unsigned long long name; /* the same in every process that has this queue */
    char closed;             /* here; the others go on */
    Py_buffer claims;        /* where gets say what they take; .obj NULL: nowhere */
} queue_object;

static _Atomic(unsigned) queues_made;

static int check_open(queue_object *self)
{
    if (self->channel == NULL) {
        ext_refuse(PyExc_RuntimeError, "MH-STATE", "Queue.__init__() was not called");
        return -1;
    }
    if (self->closed) {
        PyErr_Format(PyExc_ValueError, "Queue %R is closed", self);
        return -1;
    }
    return 0;
}

static PyObject *raise_code(queue_object *self, int rc)
{
    switch (rc) {
    case EXT_RAISED:
        return NULL;
    case MH_E_CLOSED:
        return ext_raise((PyObject *) self, EXT_SHUT_DOWN, NULL);
    case -ENOMEM:
    case -EMSGSIZE:
        ext_refuse(PyExc_MemoryError, "MH-QUEUE-LIMIT",
                   "the queue has reached its limit of bytes: nobody takes what is put");
        return NULL;
    default:
        ext_raise_code(NULL, rc);
        return NULL;
    }
}

/* ---- put ------------------------------------------------------------------------------------------------------- */

/* 0, -ETIMEDOUT, or -1 with an exception */
static int put_one(queue_object *self, PyObject *value, ext_until until)
{
    message_out message;
    ext_state *state = ext_state_of(Py_TYPE(self));
    if (state == NULL || message_pack(state, value, mh_channel_is_outside(self->channel), &message) < 0) {
        return -1;
    }
    int rc = queue_put_message((PyObject *) self, self->channel, &message, until);
    if (rc < 0 && rc != -ETIMEDOUT) {
        raise_code(self, rc);
        return -1;
    }
    return rc;
}

/* `given` is block=True, timeout=None, cancel=None. */
static int until_of(queue_object *self, PyObject *const *given, ext_until *until)
{
    int blocking = given[0] == NULL ? 1 : PyObject_IsTrue(given[0]);
    until->at = MH_AT_ONCE;
    if (blocking < 0 || ext_cancel_arg((PyObject *) self, given[2], &until->cancel) < 0) {
        return -1;
    }
    return blocking ? ext_deadline(given[1], &until->at) : 0;
}

static PyObject *queue_put(queue_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    const ext_signature signature = {"put", 1, 3, 4, {"obj", "block", "timeout", "cancel"}};
    PyObject *given[4] = {NULL, NULL, NULL, NULL};
    ext_until until;
    if (ext_args(&signature, args, nargs, kwnames, given) < 0 || until_of(self, given + 1, &until) < 0 ||
        check_open(self) < 0) {
        return NULL;
    }
    int rc = put_one(self, given[0], until);
    if (rc == -ETIMEDOUT) {
        return ext_raise((PyObject *) self, EXT_FULL, NULL);
    }
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- put_many: runs of inline messages go in under one lock ------------------------------------------------------ */

#define RUN 64

typedef struct run_args {
    mh_channel *channel;
    mh_part part[RUN];
    size_t count, done;
} run_args;

static int wait_run(void *object, mh_deadline deadline, ext_waiting *waiting)
{
    run_args *run = object;
    size_t done = 0;
    int rc = mh_channel_put_many(run->channel, run->part + run->done, run->count - run->done, MESSAGE_INLINE,
                                 deadline, ext_token(waiting), &done);
    run->done += done;
    return rc;
}

static int put_run(queue_object *self, run_args *run, ext_until until)
{
    int rc = wait_run(run, MH_AT_ONCE, NULL);
    return rc == -ETIMEDOUT && until.at != MH_AT_ONCE ? ext_wait((PyObject *) self, wait_run, run, until)
                                                      : rc;
}

/* Encode items from `*next` on, as long as they are of the inline kind. */
static int fill_run(run_args *run, codec_buffer *buffer, PyObject *items, Py_ssize_t *next)
{
    size_t start[RUN + 1] = {0};
    run->count = run->done = 0;
    buffer->size = 0;
    int rc = 1;
    while (rc > 0 && run->count < RUN && *next < PySequence_Fast_GET_SIZE(items) && buffer->size < 16384) {
        rc = codec_encode(PySequence_Fast_GET_ITEM(items, *next), buffer);
        if (rc > 0) {
            start[++run->count] = buffer->size;
            ++*next;
        }
    }
    for (size_t i = 0; i < run->count; i++) { /* the buffer moves no more */
        run->part[i] = (mh_part){buffer->data + start[i], start[i + 1] - start[i]};
    }
    return rc;
}

/* How many went in; -1 with an exception where none did. */
static Py_ssize_t put_items(queue_object *self, PyObject *items, ext_until until, int *full)
{
    codec_buffer buffer;
    run_args run = {.channel = self->channel};
    Py_ssize_t next = 0, put = 0;
    int rc = 0;
    codec_init(&buffer);
    while (rc == 0 && next < PySequence_Fast_GET_SIZE(items)) {
        rc = fill_run(&run, &buffer, items, &next) < 0 ? -1 : 0;
        if (rc == 0 && run.count != 0) {
            rc = put_run(self, &run, until);
            put += (Py_ssize_t) run.done;
            if (rc < 0 && rc != -ETIMEDOUT) {
                raise_code(self, rc);
            }
        } else if (rc == 0) {
            rc = put_one(self, PySequence_Fast_GET_ITEM(items, next++), until);
            put += rc == 0;
        }
    }
    codec_fini(&buffer);
    *full = rc == -ETIMEDOUT;
    return rc == 0 || *full ? put : -1;
}

static PyObject *queue_put_many(queue_object *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    const ext_signature signature = {"put_many", 1, 3, 4, {"objs", "block", "timeout", "cancel"}};
    PyObject *given[4] = {NULL, NULL, NULL, NULL};
    ext_until until;
    if (ext_args(&signature, args, nargs, kwnames, given) < 0 || until_of(self, given + 1, &until) < 0 ||
        check_open(self) < 0) {
        return NULL;
    }
    PyObject *items = PySequence_Fast(given[0], "put_many() takes an iterable");
    if (items == NULL) {
        return NULL;
    }
    int full;
    Py_ssize_t total = PySequence_Fast_GET_SIZE(items), put = put_items(self, items, until, &full);
    Py_DECREF(items);
    if (full && put == 0 && total != 0) {
        return ext_raise((PyObject *) self, EXT_FULL, NULL);
    }
    return put < 0 ? NULL : PyLong_FromSsize_t(put);
}

/* ---- get ------------------------------------------------------------------------------------------------------- */

static PyObject *get_one(queue_object *self, ext_until until)
{
    PyObject *value;
    int rc = queue_take_one((PyObject *) self, self->shared, message_unpack, until, &value);
    if (rc == -ETIMEDOUT) {
        return ext_raise((PyObject *) self, EXT_EMPTY, NULL);
    }
    return rc < 0 ? raise_code(self, rc) : value;
}

static PyObject *queue_get(queue_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    const ext_signature signature = {"get", 0, 2, 3, {"block", "timeout", "cancel"}};
    PyObject *given[3] = {NULL, NULL, NULL};
    ext_until until;
    if (ext_args(&signature, args, nargs, kwnames, given) < 0 || until_of(self, given, &until) < 0 ||
        check_open(self) < 0) {
        return NULL;
    }
    return get_one(self, until);
}

/* The exception of a message that cannot be unpacked, with the others of its batch, which are out of the queue, in
 * `received`. */
static void raise_with(PyObject *kept[3], PyObject *received)
{
    PyErr_NormalizeException(&kept[0], &kept[1], &kept[2]);
    if (PyObject_SetAttrString(kept[1], "received", received) < 0) {
        PyErr_WriteUnraisable(received);
    }
    PyErr_Restore(kept[0], kept[1], kept[2]);
}

/* The objects of a batch, each {size, tag, bytes, padding}. Every message is unpacked, so that none keeps its blocks; the
 * first exception is raised after the last. */
static PyObject *unpack_batch(ext_state *state, const queue_shared *shared, const mh_message *batch,
                              size_t count)
{
    PyObject *list = PyList_New(0), *kept[3] = {NULL, NULL, NULL};
    const char *at = batch->data;
    for (size_t i = 0; list != NULL && i < count; i++) {
        uint32_t size, tag;
        memcpy(&size, at, 4);
        memcpy(&tag, at + 4, 4);
        PyObject *value = message_unpack(state, at + 8, size, message_tag(tag, shared->takes));
        int rc = value == NULL ? 0 : PyList_Append(list, value);
        Py_XDECREF(value);
        if (value == NULL && !PyErr_Occurred()) {
            (void) mh_channel_task_done(shared->channel); /* void, see queue_take_one */
        }
        if (PyErr_Occurred() || rc < 0) {
            if (kept[0] == NULL) {
                PyErr_Fetch(&kept[0], &kept[1], &kept[2]);
            } else {
                PyErr_WriteUnraisable(NULL);
            }
        }
        at += 8 + ((size_t) size + 7) / 8 * 8;
    }
    if (kept[0] != NULL) {
        raise_with(kept, list);
        Py_CLEAR(list);
    }
    return list;
}

static PyObject *queue_get_many(queue_object *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    const ext_signature signature = {"get_many", 1, 3, 4, {"most", "block", "timeout", "cancel"}};
    PyObject *given[4] = {NULL, NULL, NULL, NULL};
    ext_until until;
    if (ext_args(&signature, args, nargs, kwnames, given) < 0 || until_of(self, given + 1, &until) < 0 ||
        check_open(self) < 0) {
        return NULL;
    }
    Py_ssize_t most = PyLong_AsSsize_t(given[0]);
    if (most < 1) {
        return PyErr_Occurred()
                   ? NULL
                   : ext_refuse(PyExc_ValueError, "MH-ARGUMENT", "get_many() takes 1 or more, not %zd", most);
    }
    ext_state *state = ext_state_of(Py_TYPE(self));
    mh_message *message = state == NULL ? NULL : queue_borrow(self->shared);
    if (message == NULL) {
        return NULL;
    }
    size_t done = 0;
    int rc = queue_take((PyObject *) self, self->channel, message, (size_t) most, &done, until);
    PyObject *list = rc < 0                   ? NULL
                     : message->given_up != 0 ? queue_given_up((PyObject *) self, message, 1)
                                              : unpack_batch(state, self->shared, message, done);
    queue_give_back(self->shared, message);
    if (rc == -ETIMEDOUT) {
        return ext_raise((PyObject *) self, EXT_EMPTY, NULL);
    }
    return rc < 0 ? raise_code(self, rc) : list;
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

static PyObject *queue_qsize(queue_object *self, PyObject *Py_UNUSED(ignored))
{
    return self->channel == NULL ? PyLong_FromLong(0)
                                 : PyLong_FromUnsignedLongLong(mh_channel_items(self->channel));
}

static PyObject *queue_empty(queue_object *self, PyObject *Py_UNUSED(ignored))
{
    return check_open(self) < 0 ? NULL : PyBool_FromLong(mh_channel_items(self->channel) == 0);
}

static PyObject *queue_full(queue_object *self, PyObject *Py_UNUSED(ignored))
{
    if (check_open(self) < 0) {
        return NULL;
    }
    return PyBool_FromLong(self->maxsize > 0 && mh_channel_items(self->channel) >= (uint64_t) self->maxsize);
}

static PyObject *queue_close(queue_object *self, PyObject *Py_UNUSED(ignored))
{
    self->closed = 1;
    Py_RETURN_NONE;
}

static PyObject *queue_fileno(queue_object *self, PyObject *Py_UNUSED(ignored))
{
    if (check_open(self) < 0) {
        return NULL;
    }
    int fd = mh_channel_select_fd(self->channel);
    return fd < 0 ? raise_code(self, fd) : PyLong_FromLong(fd);
}

static PyObject *queue_handle(queue_object *self, PyObject *Py_UNUSED(ignored))
{
    if (check_open(self) < 0) {
        return NULL;
    }
    int bell = mh_channel_bell_fd(self->channel);
    return Py_BuildValue("iiKn", mh_channel_fd(self->channel), bell, self->name, self->maxsize);
}

/* Take the channel over. */
static int settle(queue_object *self, mh_channel *channel)
{
    self->shared = queue_share(channel);
    self->channel = self->shared == NULL ? NULL : channel;
    return self->shared == NULL ? -1 : 0;
}

/* A new channel, to take over. */
static mh_channel *create(Py_ssize_t maxsize, int redeliver, uint32_t deliveries)
{
    mh_channel_options options = {.max_items = (uint64_t) maxsize,
                                  .flags = redeliver ? MH_CHANNEL_REDELIVER : 0,
                                  .deliveries = deliveries};
    mh_channel *channel;
    int rc = mh_channel_create(&options, &channel);
    if (rc < 0) {
        ext_raise_code(NULL, rc);
        return NULL;
    }
    if (!block_arena_begin()) {
        mh_channel_share_outside(channel);
    }
    return channel;
}

static PyObject *queue_attach(queue_object *self, PyObject *args)
{
    int fd, bell, rc;
    unsigned long long name;
    Py_ssize_t maxsize;
    if (!PyArg_ParseTuple(args, "iiKn:_attach", &fd, &bell, &name, &maxsize)) {
        return NULL;
    }
    mh_channel *channel = NULL;
    rc = self->channel != NULL ? MH_E_STATE : mh_channel_attach2(fd, bell, &channel);
    if (rc < 0) {
        return raise_code(self, rc);
    }
    if (settle(self, channel) < 0) {
        return NULL;
    }
    self->name = name;
    self->maxsize = maxsize;
    Py_RETURN_NONE;
}

/* ---- by name --------------------------------------------------------------------------------------------------- */

/* 0: `channel` is this queue's; -1 with an exception. Programs that find it by name have no memory in common. */
static int settle_named(queue_object *self, PyObject *name, int rc, mh_channel *channel, Py_ssize_t maxsize)
{
    if (rc < 0) {
        named_raise((PyObject *) self, name, rc);
        return -1;
    }
    mh_channel_share_outside(channel);
    if (settle(self, channel) < 0) {
        return -1;
    }
    self->maxsize = maxsize;
    return 0;
}

static PyObject *queue_create_named(queue_object *self, PyObject *args)
{
    PyObject *name;
    Py_ssize_t maxsize, max_bytes;
    if (!PyArg_ParseTuple(args, "Unn:_create_named", &name, &maxsize, &max_bytes)) {
        return NULL;
    }
    const char *text = PyUnicode_AsUTF8(name);
    if (text == NULL) {
        return NULL;
    }
    if (maxsize < 0 || max_bytes < 1 || self->channel != NULL) {
        return ext_refuse(PyExc_ValueError, "MH-ARGUMENT", "a named queue has room for 1 byte or more");
    }
    mh_channel_options options = {
        .max_items = (uint64_t) maxsize, .max_bytes = (uint64_t) max_bytes, .flags = MH_CHANNEL_BLOCK};
    mh_channel *channel = NULL;
    int rc = mh_channel_create_named(text, &options, &channel);
    return settle_named(self, name, rc, channel, maxsize) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *queue_open_named(queue_object *self, PyObject *name)
{
    const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    if (text == NULL || self->channel != NULL) {
        return PyErr_Occurred() ? NULL
                                : ext_refuse(PyExc_TypeError, "MH-ARGUMENT", "a name is a str, not %R", name);
    }
    mh_channel *channel = NULL;
    int rc = mh_channel_open(text, &channel);
    return settle_named(self, name, rc, channel, 0) < 0 ? NULL : Py_NewRef(Py_None);
}

/* The word `place` of a table of 64-bit words. */
static MH_ATOMIC(uint64_t) *claim_word(Py_buffer *table, Py_ssize_t place)
{
    if (place < 0 || place >= table->len / 8 || ((uintptr_t) table->buf & 7) != 0) {
        PyErr_Format(PyExc_ValueError, "the table of claims has no aligned word %zd", place);
        return NULL;
    }
    return (MH_ATOMIC(uint64_t) *) table->buf + place;
}

static PyObject *queue_claim(queue_object *self, PyObject *args)
{
    PyObject *table;
    Py_ssize_t place;
    Py_buffer view;
    if (check_open(self) < 0 || !PyArg_ParseTuple(args, "On:_claim", &table, &place) ||
        PyObject_GetBuffer(table, &view, PyBUF_WRITABLE) < 0) {
        return NULL;
    }
    MH_ATOMIC(uint64_t) *word = claim_word(&view, place);
    if (word == NULL) {
        PyBuffer_Release(&view);
        return NULL;
    }
    /* Who reads the claims takes a message for there that was not gone when its taker died: it must be whole then. */
    (void) mh_channel_set_taker(self->channel, NULL);
    self->shared->takes = 0;
    mh_channel_set_claim(self->channel, word);
    PyBuffer_Release(&self->claims);
    self->claims = view;
    Py_RETURN_NONE;
}

static PyObject *queue_make_end(queue_object *self, PyObject *Py_UNUSED(ignored))
{
    ext_state *state = ext_state_of(Py_TYPE(self));
    return state == NULL || check_open(self) < 0 ? NULL : queue_end_of(state, self->shared);
}

static PyObject *queue_share_outside(queue_object *self, PyObject *Py_UNUSED(ignored))
{
    if (check_open(self) < 0) {
        return NULL;
    }
    mh_channel_share_outside(self->channel);
    Py_RETURN_NONE;
}

static PyObject *queue_shutdown(queue_object *self, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    const ext_signature signature = {"shutdown", 0, 1, 1, {"immediate"}};
    PyObject *given = NULL;
    if (ext_args(&signature, args, nargs, kwnames, &given) < 0 || check_open(self) < 0) {
        return NULL;
    }
    int immediate = given == NULL ? 0 : PyObject_IsTrue(given);
    if (immediate < 0) {
        return NULL;
    }
    mh_channel_close(self->channel, immediate);
    Py_RETURN_NONE;
}

static PyObject *queue_is_shutdown(queue_object *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->channel != NULL && mh_channel_is_closed(self->channel));
}

static PyObject *queue_taken(queue_object *self, PyObject *Py_UNUSED(ignored))
{
    return check_open(self) < 0 ? NULL : PyLong_FromUnsignedLong(mh_channel_taken(self->channel));
}

/* ---- what is done ------------------------------------------------------------------------------------------------ */

static PyObject *queue_task_done(queue_object *self, PyObject *Py_UNUSED(ignored))
{
    int rc = self->channel == NULL ? check_open(self) : mh_channel_task_done(self->channel);
    if (rc == -EPERM) {
        return PyErr_Format(PyExc_ValueError, "task_done() called too many times");
    }
    if (rc < 0) {
        return PyErr_Occurred() ? NULL : raise_code(self, rc);
    }
    Py_RETURN_NONE;
}

static int wait_join(void *object, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_channel_join(object, deadline, ext_token(waiting));
}

static PyObject *queue_join(queue_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until;
    if (ext_wait_args((PyObject *) self, "_join", args, nargs, kwnames, &until) < 0 ||
        (self->channel == NULL && check_open(self) < 0)) {
        return NULL;
    }
    int rc = wait_join(self->channel, MH_AT_ONCE, NULL);
    if (rc == -ETIMEDOUT && until.at != MH_AT_ONCE) {
        rc = ext_wait((PyObject *) self, wait_join, self->channel, until);
    }
    return rc < 0 && rc != -ETIMEDOUT ? raise_code(self, rc) : PyBool_FromLong(rc == 0);
}

static PyObject *queue_load(PyObject *type, PyObject *args)
{
    Py_buffer data;
    unsigned tag;
    ext_state *state = ext_state_of((PyTypeObject *) type);
    if (state == NULL || !PyArg_ParseTuple(args, "y*I:_load", &data, &tag)) {
        return NULL;
    }
    PyObject *value = message_unpack(state, data.buf, (size_t) data.len, tag);
    PyBuffer_Release(&data);
    if (value == NULL && !PyErr_Occurred()) {
        ext_refuse(PyExc_ValueError, "MH-DAMAGED",
                   "the producer was killed inside put(): there is no object");
    }
    return value;
}

static PyObject *queue_unfinished(queue_object *self, PyObject *Py_UNUSED(ignored))
{
    return self->channel == NULL ? PyLong_FromLong(0)
                                 : PyLong_FromUnsignedLongLong(mh_channel_unfinished(self->channel));
}

static int queue_init(queue_object *self, PyObject *args, PyObject *kwargs)
{
    const ext_signature signature = {"MessageQueue", 0, 1, 2, {"maxsize", "redeliver"}};
    PyObject *given[2] = {NULL, NULL};
    if (ext_args_tuple(&signature, args, kwargs, given) < 0) {
        return -1;
    }
    Py_ssize_t maxsize = given[0] == NULL ? 0 : PyLong_AsSsize_t(given[0]);
    int redeliver = given[1] == NULL ? 0 : PyObject_IsTrue(given[1]);
    unsigned long deliveries = 0; /* redeliver=True: without an end */
    if (redeliver > 0 && !PyBool_Check(given[1])) {
        deliveries = PyLong_AsUnsignedLong(given[1]);
        if (!PyErr_Occurred() && deliveries > UINT32_MAX) {
            ext_refuse(PyExc_OverflowError, "MH-ARGUMENT", "redeliver is True, or a number of deliveries");
        }
    }
    if (PyErr_Occurred() || maxsize < 0 || redeliver < 0 || self->channel != NULL) {
        if (!PyErr_Occurred()) {
            ext_refuse(PyExc_ValueError, "MH-STATE", "%s",
                       self->channel != NULL ? "__init__() was called before" : "maxsize is 0 or more");
        }
        return -1;
    }
    mh_channel *channel = create(maxsize, redeliver, (uint32_t) deliveries);
    if (channel == NULL || settle(self, channel) < 0) {
        return -1;
    }
    self->maxsize = maxsize;
    self->name = ((unsigned long long) getpid() << 32) | atomic_fetch_add(&queues_made, 1);
    return 0;
}

static void queue_dealloc(queue_object *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *) self);
    }
    if (self->shared != NULL) {
        queue_drop(self->shared);
    }
    PyBuffer_Release(&self->claims);
    type->tp_free((PyObject *) self);
    Py_DECREF(type);
}

static int queue_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((queue_object *) self)->claims.obj);
    return 0;
}

static PyMethodDef queue_methods[] = {
    EXT_METHOD("put", queue_put, EXT_FASTCALL,
               "put($self, /, obj, block=True, timeout=None, *, cancel=None)\n--\n\n"
               "Put an object in; once this returns it is there, whatever becomes of this process. "
               "queue.Full where there is "
               "no room within `timeout` seconds; what pickling raises where it cannot be pickled."),
    EXT_METHOD(
        "put_many", queue_put_many, EXT_FASTCALL,
        "put_many($self, /, objs, block=True, timeout=None, *, cancel=None)\n--\n\n"
        "Put several in, in order; how many went in before the time was up. queue.Full where none did."),
    EXT_METHOD("get", queue_get, EXT_FASTCALL,
               "get($self, /, block=True, timeout=None, *, cancel=None)\n--\n\n"
               "Take the oldest object. queue.Empty where there is none within `timeout` seconds."),
    EXT_METHOD("get_many", queue_get_many, EXT_FASTCALL,
               "get_many($self, /, most, block=True, timeout=None, *, cancel=None)\n--\n\n"
               "Wait for one object, then take what is there, at most `most`. A list. queue.Empty where "
               "there is none. Where one of them cannot be unpickled its exception is raised once, and "
               "has the others in its attribute `received`."),
    EXT_METHOD("qsize", queue_qsize, METH_NOARGS,
               "qsize($self, /)\n--\n\nHow many objects are in it; exact."),
    EXT_METHOD("empty", queue_empty, METH_NOARGS, "empty($self, /)\n--\n\nIs there none?"),
    EXT_METHOD("full", queue_full, METH_NOARGS, "full($self, /)\n--\n\nAre there maxsize?"),
    EXT_METHOD("close", queue_close, METH_NOARGS, "close($self, /)\n--\n\nThis process uses it no more."),
    EXT_METHOD(
        "shutdown", queue_shutdown, EXT_FASTCALL,
        "shutdown($self, /, immediate=False)\n--\n\nFor all processes: put() raises queue.ShutDown from "
        "now on, get() does once it is empty; immediate: what is in it is thrown away."),
    EXT_METHOD("fileno", queue_fileno, METH_NOARGS,
               "fileno($self, /)\n--\n\nA descriptor that is readable while objects are there, for select "
               "and asyncio."),
    EXT_METHOD(
        "_task_done", queue_task_done, METH_NOARGS,
        "_task_done($self, /)\n--\n\nThe caller is done with one object. ValueError where it has none."),
    EXT_METHOD("_join", queue_join, EXT_FASTCALL,
               "_join($self, /, timeout=None, *, cancel=None)\n--\n\n"
               "Wait until all that was put is done; whether it is."),
    EXT_METHOD("_load", queue_load, METH_VARARGS | METH_CLASS,
               "_load($type, data, tag, /)\n--\n\nThe object of an item that was given up."),
    EXT_METHOD("_unfinished", queue_unfinished, METH_NOARGS,
               "_unfinished($self, /)\n--\n\nHow many objects were put and are not done."),
    EXT_METHOD("_handle", queue_handle, METH_NOARGS, "_handle($self, /)\n--\n\n(fd, bell, name, maxsize)"),
    EXT_METHOD("_attach", queue_attach, METH_VARARGS,
               "_attach($self, fd, bell, name, maxsize, /)\n--\n\nBe that queue."),
    EXT_METHOD("_create_named", queue_create_named, METH_VARARGS,
               "_create_named($self, name, maxsize, max_bytes, /)\n--\n\nBe a new one with that name."),
    EXT_METHOD("_open_named", queue_open_named, METH_O,
               "_open_named($self, name, /)\n--\n\nBe the one of that name."),
    EXT_METHOD("_end", queue_make_end, METH_NOARGS,
               "_end($self, /)\n--\n\nA QueueEnd, which does for a connection what PipeEnd does."),
    EXT_METHOD(
        "_share_outside", queue_share_outside, METH_NOARGS,
        "_share_outside($self, /)\n--\n\nA process outside of this one's tree is to have it: no message "
        "refers to shared memory from now on."),
    EXT_METHOD(
        "_claim", queue_claim, METH_VARARGS,
        "_claim($self, table, place, /)\n--\n\nFrom now on each get here says in the 64-bit word `place` of "
        "`table` what it takes, before it does: the number of the first in the low half, how many in the "
        "high."),
    EXT_METHOD("_taken", queue_taken, METH_NOARGS,
               "_taken($self, /)\n--\n\nHow many objects were taken so far, modulo 2**32."),
    {NULL, NULL, 0, NULL},
};

static PyMemberDef queue_members[] = {
    {"_closed", Py_T_BOOL, offsetof(queue_object, closed), Py_READONLY,
     PyDoc_STR("Was close() called here?")},
    {"_maxsize", Py_T_PYSSIZET, offsetof(queue_object, maxsize), Py_READONLY,
     PyDoc_STR("maxsize; 0: no limit.")},
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(queue_object, weakrefs), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef queue_getset[] = {
    {"is_shutdown", (getter) queue_is_shutdown, NULL, PyDoc_STR("Was shutdown() called, by any process?"),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "MessageQueue(maxsize=0, *, redeliver=False)\n--\n\n"
                                     "A queue of objects between processes. redeliver: an object is its "
                                     "taker's until _task_done(), and comes again should that one die."},
    {Py_tp_init, queue_init},
    {Py_tp_dealloc, queue_dealloc},
    {Py_tp_traverse, queue_traverse},
    {Py_tp_methods, queue_methods},
    {Py_tp_members, queue_members},
    {Py_tp_getset, queue_getset},
    {0, NULL},
};

static PyType_Spec queue_spec = {"manyhands._core.MessageQueue", sizeof(queue_object), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, queue_slots};

int ext_mpqueue_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, -1, &queue_spec, NULL);
}
