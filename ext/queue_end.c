/* ext/queue_end.c - QueueEnd: what a queue's `_reader` and `_writer` stand on. It does what PipeEnd does, on a channel. */
#include "block.h"
#include "mpqueue.h"

/* ---- the channel ------------------------------------------------------------------------------------------------- */

queue_shared *queue_share(mh_channel *channel)
{
    queue_shared *shared = PyMem_RawCalloc(1, sizeof *shared);
    if (shared == NULL) {
        mh_channel_destroy(channel);
        PyErr_NoMemory();
        return NULL;
    }
    shared->channel = channel;
    shared->takes = mh_channel_set_taker(channel, message_take) == 0;
    mh_channel_set_weigher(channel, message_weigh);
    atomic_init(&shared->holders, 1);
    return shared;
}

void queue_hold(queue_shared *shared)
{
    atomic_fetch_add(&shared->holders, 1);
}

static void free_message(mh_message *message)
{
    if (message != NULL) {
        mh_message_fini(message);
        PyMem_RawFree(message);
    }
}

void queue_drop(queue_shared *shared)
{
    if (atomic_fetch_sub(&shared->holders, 1) == 1) {
        free_message(atomic_exchange(&shared->spare, NULL));
        mh_channel_destroy(shared->channel);
        PyMem_RawFree(shared);
    }
}

mh_message *queue_borrow(queue_shared *shared)
{
    mh_message *message = atomic_exchange(&shared->spare, NULL);
    if (message == NULL) {
        message = PyMem_RawCalloc(1, sizeof *message);
        if (message == NULL) {
            PyErr_NoMemory();
        }
    }
    return message;
}

void queue_give_back(queue_shared *shared, mh_message *message)
{
    if (message->room >
        ((size_t) 1 << 20)) { /* a large message's memory is not kept for the next small one */
        free_message(message);
    } else {
        free_message(atomic_exchange(&shared->spare, message));
    }
}

/* ---- in and out -------------------------------------------------------------------------------------------------- */

typedef struct put_args {
    mh_channel *channel;
    const mh_part *part;
    size_t parts;
    uint32_t tag;
} put_args;

static int wait_put(void *object, mh_deadline deadline, ext_waiting *waiting)
{
    put_args *args = object;
    return mh_channel_put(args->channel, args->part, args->parts, args->tag, deadline, ext_token(waiting));
}

static int put_parts(PyObject *self, put_args *args, ext_until until)
{
    int rc = wait_put(args, MH_AT_ONCE, NULL);
    return rc == -ETIMEDOUT && until.at != MH_AT_ONCE ? ext_wait(self, wait_put, args, until) : rc;
}

int queue_put_message(PyObject *self, mh_channel *channel, message_out *message, ext_until until)
{
    put_args args = {channel, message->part, message->parts, message->tag};
    int rc = put_parts(self, &args, until);
    if (rc < 0) {
        message_unsent(message);
    } else {
        message_sent(message);
    }
    return rc;
}

typedef struct get_args {
    mh_channel *channel;
    mh_message *message;
    size_t most, *done; /* most 0: a single get */
} get_args;

static int wait_get(void *object, mh_deadline deadline, ext_waiting *waiting)
{
    get_args *args = object;
    if (args->most != 0) {
        return mh_channel_get_many(args->channel, args->message, args->most, deadline, ext_token(waiting),
                                   args->done);
    }
    return mh_channel_get(args->channel, args->message, deadline, ext_token(waiting));
}

int queue_take(PyObject *self, mh_channel *channel, mh_message *message, size_t most, size_t *done,
               ext_until until)
{
    get_args args = {channel, message, most, done};
    int rc = wait_get(&args, MH_AT_ONCE, NULL);
    return rc == -ETIMEDOUT && until.at != MH_AT_ONCE ? ext_wait(self, wait_get, &args, until) : rc;
}

PyObject *queue_given_up(PyObject *self, const mh_message *message, int batch)
{
    const char *data = message->data;
    uint32_t size = (uint32_t) message->size, tag = message->tag;
    if (batch) {
        memcpy(&size, data, 4);
        memcpy(&tag, data + 4, 4);
        data += 8;
    }
    PyObject *type = ext_ref(self, EXT_POISON);
    PyObject *error =
        type == NULL ? NULL
                     : PyObject_CallFunction(type, "Iy#I", message->given_up, data, (Py_ssize_t) size, tag);
    if (error != NULL) {
        PyErr_SetObject(type, error);
        Py_DECREF(error);
    }
    return NULL;
}

int queue_take_one(PyObject *self, queue_shared *shared, queue_opener opener, ext_until until,
                   PyObject **value)
{
    ext_state *state = ext_state_of(Py_TYPE(self));
    mh_message *message = state == NULL ? NULL : queue_borrow(shared);
    int rc = EXT_RAISED;
    *value = NULL;
    if (message == NULL) {
        return rc;
    }
    for (;;) {
        rc = queue_take(self, shared->channel, message, 0, NULL, until);
        if (rc >= 0 && message->given_up != 0) {
            (void) queue_given_up(self, message, 0);
            break;
        }
        *value = rc < 0
                     ? NULL
                     : opener(state, message->data, message->size, message_tag(message->tag, shared->takes));
        if (rc < 0 || *value != NULL || PyErr_Occurred()) {
            break;
        }
        (void) mh_channel_task_done(shared->channel); /* void: nobody else will be done with it */
    }
    queue_give_back(shared, message);
    return rc;
}

/* ---- QueueEnd ---------------------------------------------------------------------------------------------------- */

typedef struct end_object {
    PyObject_HEAD
    queue_shared *shared; /* NULL: closed */
} end_object;

static PyObject *raise_code(end_object *self, int rc, int putting)
{
    switch (rc) {
    case EXT_RAISED:
        return NULL;
    case MH_E_CLOSED: /* by shutdown() */
        PyErr_SetNone(putting ? PyExc_BrokenPipeError : PyExc_EOFError);
        return NULL;
    case -ENOMEM:
    case -EMSGSIZE:
        ext_refuse(PyExc_MemoryError, "MH-QUEUE-LIMIT",
                   "the queue has reached its limit of bytes: nobody takes what is put");
        return NULL;
    default:
        ext_raise_code((PyObject *) self, rc);
        return NULL;
    }
}

/* The channel, held while a call works on it: another thread may close the end. */
static queue_shared *enter(end_object *self)
{
    queue_shared *shared;
    EXT_CRITICAL_BEGIN(self);
    shared = self->shared;
    if (shared != NULL) {
        queue_hold(shared);
    }
    EXT_CRITICAL_END;
    if (shared == NULL) {
        PyErr_SetString(PyExc_OSError, "handle is closed");
    }
    return shared;
}

/* `NAME, *, cancel=None`, or without NAME where `value` is NULL. */
static int end_args(end_object *self, const char *function, const char *name, PyObject *const *args,
                    Py_ssize_t nargs, PyObject *kwnames, PyObject **value, ext_until *until)
{
    const ext_signature with = {function, 1, 1, 2, {name, "cancel"}},
                        without = {function, 0, 0, 1, {"cancel"}};
    PyObject *given[2] = {NULL, NULL};
    *until = EXT_FOREVER;
    if (ext_args(value != NULL ? &with : &without, args, nargs, kwnames, given) < 0) {
        return -1;
    }
    if (value != NULL) {
        *value = given[0];
    }
    return ext_cancel_arg((PyObject *) self, given[value != NULL], &until->cancel);
}

static PyObject *end_send(end_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    message_out message;
    PyObject *value;
    ext_until until;
    ext_state *state = ext_state_of(Py_TYPE(self));
    if (state == NULL || end_args(self, "send", "obj", args, nargs, kwnames, &value, &until) < 0) {
        return NULL;
    }
    queue_shared *shared = enter(self);
    if (shared == NULL) {
        return NULL;
    }
    int rc = message_pack(state, value, mh_channel_is_outside(shared->channel), &message);
    rc = rc < 0 ? EXT_RAISED : queue_put_message((PyObject *) self, shared->channel, &message, until);
    queue_drop(shared);
    return rc < 0 ? raise_code(self, rc, 1) : Py_NewRef(Py_None);
}

static PyObject *end_send_bytes(end_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_buffer view;
    PyObject *buffer;
    ext_until until;
    if (end_args(self, "send_bytes", "buffer", args, nargs, kwnames, &buffer, &until) < 0 ||
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    queue_shared *shared = enter(self);
    int rc = EXT_RAISED;
    if (shared != NULL) {
        mh_part part = {view.buf, (size_t) view.len};
        put_args put = {shared->channel, &part, 1, MESSAGE_RAW};
        rc = put_parts((PyObject *) self, &put, until);
        queue_drop(shared);
    }
    PyBuffer_Release(&view);
    return rc < 0 ? raise_code(self, rc, 1) : Py_NewRef(Py_None);
}

static PyObject *receive(end_object *self, const char *function, queue_opener opener, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until;
    PyObject *value = NULL;
    if (end_args(self, function, NULL, args, nargs, kwnames, NULL, &until) < 0) {
        return NULL;
    }
    queue_shared *shared = enter(self);
    int rc = shared == NULL ? EXT_RAISED : queue_take_one((PyObject *) self, shared, opener, until, &value);
    if (shared != NULL) {
        queue_drop(shared);
    }
    return rc < 0 ? raise_code(self, rc, 0) : value;
}

static PyObject *end_recv(end_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return receive(self, "recv", message_unpack, args, nargs, kwnames);
}

static PyObject *end_recv_bytes(end_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return receive(self, "recv_bytes", message_bytes, args, nargs, kwnames);
}

static int wait_poll(void *channel, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_channel_poll(channel, deadline, ext_token(waiting));
}

static PyObject *end_poll(end_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until;
    if (ext_wait_args((PyObject *) self, "poll", args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    queue_shared *shared = enter(self);
    if (shared == NULL) {
        return NULL;
    }
    int rc = mh_channel_poll(shared->channel, MH_AT_ONCE, NULL);
    if (rc == -ETIMEDOUT && until.at != MH_AT_ONCE) {
        rc = ext_wait((PyObject *) self, wait_poll, shared->channel, until);
    }
    queue_drop(shared);
    return rc >= 0 || rc == -ETIMEDOUT ? PyBool_FromLong(rc >= 0) : raise_code(self, rc, 0);
}

static PyObject *end_close(end_object *self, PyObject *Py_UNUSED(ignored))
{
    queue_shared *shared;
    EXT_CRITICAL_BEGIN(self);
    shared = self->shared;
    self->shared = NULL;
    EXT_CRITICAL_END;
    if (shared != NULL) {
        queue_drop(shared);
    }
    Py_RETURN_NONE;
}

static PyObject *end_select_fd(end_object *self, PyObject *Py_UNUSED(ignored))
{
    queue_shared *shared = enter(self);
    if (shared == NULL) {
        return NULL;
    }
    int fd = mh_channel_select_fd(shared->channel);
    queue_drop(shared);
    return fd < 0 ? raise_code(self, fd, 0) : PyLong_FromLong(fd);
}

static PyObject *end_socket(end_object *self, void *Py_UNUSED(closure))
{
    queue_shared *shared = enter(self);
    if (shared == NULL) {
        return NULL;
    }
    int fd = mh_channel_bell_fd(shared->channel);
    queue_drop(shared);
    return PyLong_FromLong(fd);
}

static PyObject *end_set_writers(end_object *self, PyObject *args)
{
    int fd;
    queue_shared *shared = PyArg_ParseTuple(args, "i:set_writers", &fd) ? enter(self) : NULL;
    if (shared == NULL) {
        return NULL;
    }
    int rc = mh_channel_set_writers(shared->channel, fd);
    queue_drop(shared);
    return rc < 0 ? raise_code(self, rc, 0) : Py_NewRef(Py_None);
}

static PyObject *end_writers(end_object *self, void *Py_UNUSED(closure))
{
    queue_shared *shared = enter(self);
    if (shared == NULL) {
        return NULL;
    }
    int fd = mh_channel_writers_fd(shared->channel);
    queue_drop(shared);
    return PyLong_FromLong(fd);
}

static PyObject *end_ring(end_object *self, PyObject *Py_UNUSED(ignored))
{
    queue_shared *shared = enter(self);
    if (shared == NULL) {
        return NULL;
    }
    mh_channel_ring(shared->channel);
    queue_drop(shared);
    Py_RETURN_NONE;
}

static PyObject *end_handle(end_object *self, PyObject *Py_UNUSED(ignored))
{
    queue_shared *shared = enter(self);
    if (shared == NULL) {
        return NULL;
    }
    int fd = mh_channel_fd(shared->channel), bell = mh_channel_bell_fd(shared->channel);
    queue_drop(shared);
    return Py_BuildValue("ii", fd, bell);
}

static PyObject *end_share_outside(end_object *self, PyObject *Py_UNUSED(ignored))
{
    queue_shared *shared = enter(self);
    if (shared == NULL) {
        return NULL;
    }
    mh_channel_share_outside(shared->channel);
    queue_drop(shared);
    Py_RETURN_NONE;
}

static PyObject *wrap(PyTypeObject *type, queue_shared *shared)
{
    end_object *self = (end_object *) type->tp_alloc(type, 0);
    if (self != NULL) {
        queue_hold(shared);
        self->shared = shared;
    }
    return (PyObject *) self;
}

PyObject *queue_end_of(ext_state *state, queue_shared *shared)
{
    return wrap((PyTypeObject *) state->ref[EXT_QUEUE_END_TYPE], shared);
}

/* Two ends of one channel, which is taken over. */
static PyObject *two_ends(PyTypeObject *type, mh_channel *channel)
{
    queue_shared *shared = queue_share(channel);
    if (shared == NULL) {
        return NULL;
    }
    PyObject *first = wrap(type, shared), *second = wrap(type, shared), *pair = NULL;
    queue_drop(shared);
    if (first != NULL && second != NULL) {
        pair = PyTuple_Pack(2, first, second);
    }
    Py_XDECREF(first);
    Py_XDECREF(second);
    return pair;
}

static PyObject *end_pair(PyTypeObject *type, PyObject *Py_UNUSED(ignored))
{
    const mh_channel_options options = {.flags = MH_CHANNEL_BLOCK};
    mh_channel *channel;
    int rc = mh_channel_create(&options, &channel);
    if (rc < 0) {
        return raise_code(NULL, rc, 0);
    }
    if (!block_arena_begin()) {
        mh_channel_share_outside(channel);
    }
    return two_ends(type, channel);
}

static PyObject *end_attach(PyTypeObject *type, PyObject *args)
{
    int fd, bell;
    mh_channel *channel;
    if (!PyArg_ParseTuple(args, "ii:_attach", &fd, &bell)) {
        return NULL;
    }
    int rc = mh_channel_attach2(fd, bell, &channel);
    return rc < 0 ? raise_code(NULL, rc, 0) : two_ends(type, channel);
}

static void end_dealloc(end_object *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (self->shared != NULL) {
        queue_drop(self->shared);
    }
    type->tp_free((PyObject *) self);
    Py_DECREF(type);
}

static PyMethodDef end_methods[] = {
    EXT_METHOD("send", end_send, EXT_FASTCALL, "send($self, /, obj, *, cancel=None)\n--\n\nPut an object."),
    EXT_METHOD("send_bytes", end_send_bytes, EXT_FASTCALL,
               "send_bytes($self, /, buffer, *, cancel=None)\n--\n\nPut the bytes of a buffer."),
    EXT_METHOD("recv", end_recv, EXT_FASTCALL,
               "recv($self, /, *, cancel=None)\n--\n\nThe next object; EOFError after shutdown()."),
    EXT_METHOD("recv_bytes", end_recv_bytes, EXT_FASTCALL,
               "recv_bytes($self, /, *, cancel=None)\n--\n\nThe next message as bytes."),
    EXT_METHOD("poll", end_poll, EXT_FASTCALL,
               "poll($self, /, timeout=None, *, cancel=None)\n--\n\nIs there a message, or the end?"),
    EXT_METHOD("close", end_close, METH_NOARGS, "close($self, /)\n--\n\nLet go of it in this process."),
    EXT_METHOD(
        "set_writers", end_set_writers, METH_VARARGS,
        "set_writers($self, fd, /)\n--\n\nEnd of file is when this reading end of a pipe hangs up; it is "
        "taken over."),
    EXT_METHOD("ring", end_ring, METH_NOARGS, "ring($self, /)\n--\n\nWhoever waits looks again."),
    EXT_METHOD("handle", end_handle, METH_NOARGS, "handle($self, /)\n--\n\n(fd, bell)"),
    EXT_METHOD("select_fd", end_select_fd, METH_NOARGS,
               "select_fd($self, /)\n--\n\nA descriptor to select on."),
    EXT_METHOD("share_outside", end_share_outside, METH_NOARGS,
               "share_outside($self, /)\n--\n\nA process outside of this one's tree is to have an end: no "
               "message refers to shared memory from now on."),
    EXT_METHOD("_attach", end_attach, METH_VARARGS | METH_CLASS,
               "_attach($type, fd, bell, /)\n--\n\nTwo ends of a queue of another process."),
    EXT_METHOD(
        "_pair", end_pair, METH_NOARGS | METH_CLASS,
        "_pair($type, /)\n--\n\nTwo ends of a new queue, whose put() waits where its bytes are used up."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef end_getset[] = {
    {"writers_fd", (getter) end_writers, NULL, PyDoc_STR("What set_writers() was given; -1: nothing."), NULL},
    {"socket_fd", (getter) end_socket, NULL, PyDoc_STR("Its descriptor; not yet rung."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot end_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "A queue as one end of a connection."},
    {Py_tp_dealloc, end_dealloc},
    {Py_tp_methods, end_methods},
    {Py_tp_getset, end_getset},
    {0, NULL},
};

static PyType_Spec end_spec = {
    "manyhands._core.QueueEnd", sizeof(end_object), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION, end_slots};

int ext_queue_end_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, EXT_QUEUE_END_TYPE, &end_spec, NULL);
}
