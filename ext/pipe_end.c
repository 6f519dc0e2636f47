/* ext/pipe_end.c - PipeEnd: the shared-memory half of a Connection made by Pipe(). */
#include "block.h"
#include "manyhands/pipe.h"
#include "message.h"

typedef struct end_object {
    PyObject_HEAD
    mh_pipe *pipe;
    _Atomic(mh_message *) spare; /* a message buffer between two receives */
} end_object;

static PyObject *raise_code(int rc)
{
    switch (rc) {
    case EXT_RAISED:
        break;
    case MH_E_CLOSED:
        PyErr_SetNone(PyExc_EOFError);
        break;
    case MH_E_LOST:
        PyErr_SetString(PyExc_OSError, "got end of file during message");
        break;
    default:
        ext_raise_code(NULL, rc);
    }
    return NULL;
}

static int check_open(end_object *self)
{
    if (self->pipe == NULL) {
        PyErr_SetString(PyExc_OSError, "handle is closed");
        return -1;
    }
    return 0;
}

/* ---- send ------------------------------------------------------------------------------------------------------ */

typedef struct send_args {
    mh_pipe *pipe;
    const mh_part *parts;
    size_t count;
    uint32_t tag;
} send_args;

static int wait_send(void *object, mh_deadline deadline, ext_waiting *waiting)
{
    send_args *args = object;
    return mh_pipe_send(args->pipe, args->parts, args->count, args->tag, deadline, ext_token(waiting));
}

static int send_parts(end_object *self, send_args *args, ext_until until)
{
    int rc = wait_send(args, MH_AT_ONCE, NULL);
    return rc == -ETIMEDOUT ? ext_wait((PyObject *) self, wait_send, args, until) : rc;
}

/* `NAME, *, cancel=None` */
static int one_arg(end_object *self, const char *function, const char *name, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames, PyObject **value, ext_cancel **cancel)
{
    const ext_signature signature = {function, 1, 1, 2, {name, "cancel"}};
    PyObject *given[2] = {NULL, NULL};
    *cancel = NULL;
    if (nargs == 1 && kwnames == NULL) {
        *value = args[0];
        return 0;
    }
    if (ext_args(&signature, args, nargs, kwnames, given) < 0) {
        return -1;
    }
    *value = given[0];
    return ext_cancel_arg((PyObject *) self, given[1], cancel);
}

static PyObject *end_send(end_object *self, PyObject *const *given, Py_ssize_t nargs, PyObject *kwnames)
{
    message_out message;
    PyObject *value;
    ext_until until = EXT_FOREVER;
    ext_state *state = ext_state_of(Py_TYPE(self));
    if (one_arg(self, "send", "obj", given, nargs, kwnames, &value, &until.cancel) < 0 ||
        check_open(self) < 0 || state == NULL ||
        message_pack(state, value, mh_pipe_is_outside(self->pipe), &message) < 0) {
        return NULL;
    }
    send_args args = {self->pipe, message.part, message.parts, message.tag};
    int rc = send_parts(self, &args, until);
    if (rc < 0) {
        message_unsent(&message);
        return raise_code(rc);
    }
    message_sent(&message);
    Py_RETURN_NONE;
}

static PyObject *end_send_bytes(end_object *self, PyObject *const *given, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_buffer view;
    PyObject *buffer;
    ext_until until = EXT_FOREVER;
    if (one_arg(self, "send_bytes", "buffer", given, nargs, kwnames, &buffer, &until.cancel) < 0 ||
        check_open(self) < 0 || PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    mh_part part = {view.buf, (size_t) view.len};
    send_args args = {self->pipe, &part, 1, MESSAGE_RAW};
    int rc = view.len >= 65536 ? ext_wait((PyObject *) self, wait_send, &args, until)
                               : send_parts(self, &args, until);
    PyBuffer_Release(&view);
    if (rc < 0) {
        return raise_code(rc);
    }
    Py_RETURN_NONE;
}

/* ---- receive --------------------------------------------------------------------------------------------------- */

typedef struct receive_args {
    mh_pipe *pipe;
    mh_message *message;
} receive_args;

static int wait_receive(void *object, mh_deadline deadline, ext_waiting *waiting)
{
    receive_args *args = object;
    return mh_pipe_receive(args->pipe, args->message, deadline, ext_token(waiting));
}

static void free_message(mh_message *message)
{
    if (message != NULL) {
        mh_message_fini(message);
        PyMem_RawFree(message);
    }
}

typedef PyObject *(*opener)(ext_state *state, const char *data, size_t size, uint32_t tag);

/* Receive and open messages until one is not void. */
static PyObject *receive(end_object *self, opener open, PyObject *const *given, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    static const ext_signature signature = {"recv", 0, 0, 1, {"cancel"}};
    PyObject *cancel = NULL;
    ext_until until = EXT_FOREVER;
    ext_state *state = ext_state_of(Py_TYPE(self));
    if (ext_args(&signature, given, nargs, kwnames, &cancel) < 0 ||
        ext_cancel_arg((PyObject *) self, cancel, &until.cancel) < 0 || check_open(self) < 0 ||
        state == NULL) {
        return NULL;
    }
    mh_message *message = atomic_exchange(&self->spare, NULL);
    if (message == NULL && (message = PyMem_RawCalloc(1, sizeof *message)) == NULL) {
        return PyErr_NoMemory();
    }
    receive_args args = {self->pipe, message};
    PyObject *value = NULL;
    int rc;
    do {
        rc = wait_receive(&args, MH_AT_ONCE, NULL);
        if (rc == -ETIMEDOUT) {
            rc = ext_wait((PyObject *) self, wait_receive, &args, until);
        }
        value = rc < 0 ? NULL : open(state, message->data, message->size, message_tag(message->tag, 1));
    } while (rc >= 0 && value == NULL && !PyErr_Occurred());
    if (message->room >
        ((size_t) 1 << 20)) { /* a large message's memory is not kept for the next small one */
        free_message(message);
    } else {
        free_message(atomic_exchange(&self->spare, message));
    }
    return rc < 0 ? raise_code(rc) : value;
}

static PyObject *end_recv(end_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return receive(self, message_unpack, args, nargs, kwnames);
}

static PyObject *end_recv_bytes(end_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return receive(self, message_bytes, args, nargs, kwnames);
}

static int wait_poll(void *pipe, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_pipe_poll(pipe, deadline, waiting->cancel);
}

static PyObject *end_poll(end_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until;
    if (ext_wait_args((PyObject *) self, "poll", args, nargs, kwnames, &until) < 0 || check_open(self) < 0) {
        return NULL;
    }
    int rc = mh_pipe_poll(self->pipe, MH_AT_ONCE, NULL);
    if (rc == -ETIMEDOUT && until.at != MH_AT_ONCE) {
        rc = ext_wait((PyObject *) self, wait_poll, self->pipe, until);
    }
    return rc >= 0 || rc == -ETIMEDOUT ? PyBool_FromLong(rc >= 0) : raise_code(rc);
}

/* ---- descriptors ----------------------------------------------------------------------------------------------- */

static PyObject *end_send_fd(end_object *self, PyObject *number)
{
    long fd = PyLong_AsLong(number);
    if ((fd == -1 && PyErr_Occurred()) || check_open(self) < 0) {
        return NULL;
    }
    int rc = mh_pipe_send_fd(self->pipe, (int) fd);
    return rc < 0 ? raise_code(rc) : Py_NewRef(Py_None);
}

typedef struct fd_args {
    mh_pipe *pipe;
    int fd;
} fd_args;

static int wait_fd(void *object, mh_deadline deadline, ext_waiting *waiting)
{
    fd_args *args = object;
    return mh_pipe_receive_fd(args->pipe, &args->fd, deadline, ext_token(waiting));
}

static PyObject *end_recv_fd(end_object *self, PyObject *Py_UNUSED(ignored))
{
    if (check_open(self) < 0) {
        return NULL;
    }
    fd_args args = {self->pipe, -1};
    int rc = ext_wait((PyObject *) self, wait_fd, &args, EXT_FOREVER);
    if (rc == MH_E_STATE) {
        ext_refuse(PyExc_RuntimeError, "MH-TRAVEL",
                   "a message comes before the descriptor: receive it first");
        return NULL;
    }
    return rc < 0 ? raise_code(rc) : PyLong_FromLong(args.fd);
}

/* ---- the rest -------------------------------------------------------------------------------------------------- */

static PyObject *end_close(end_object *self, PyObject *Py_UNUSED(ignored))
{
    mh_pipe *pipe = self->pipe;
    self->pipe = NULL;
    if (pipe != NULL) {
        mh_pipe_close(pipe);
    }
    Py_RETURN_NONE;
}

static PyObject *end_handle(end_object *self, PyObject *Py_UNUSED(ignored))
{
    int segment, socket, side, duplex;
    if (check_open(self) < 0) {
        return NULL;
    }
    mh_pipe_handle(self->pipe, &segment, &socket, &side, &duplex);
    return Py_BuildValue("iiii", segment, socket, side, duplex);
}

static PyObject *end_share_outside(end_object *self, PyObject *Py_UNUSED(ignored))
{
    if (check_open(self) < 0) {
        return NULL;
    }
    mh_pipe_share_outside(self->pipe);
    Py_RETURN_NONE;
}

static PyObject *end_socket(PyObject *self, void *Py_UNUSED(closure))
{
    int segment, socket, side, duplex;
    if (check_open((end_object *) self) < 0) {
        return NULL;
    }
    mh_pipe_handle(((end_object *) self)->pipe, &segment, &socket, &side, &duplex);
    return PyLong_FromLong(socket);
}

static PyObject *end_select_fd(end_object *self, PyObject *Py_UNUSED(ignored))
{
    if (check_open(self) < 0) {
        return NULL;
    }
    int fd = mh_pipe_select_fd(self->pipe);
    return fd < 0 ? raise_code(fd) : PyLong_FromLong(fd);
}

static PyObject *wrap(PyTypeObject *type, mh_pipe *pipe)
{
    end_object *self = (end_object *) type->tp_alloc(type, 0);
    if (self == NULL) {
        mh_pipe_close(pipe);
        return NULL;
    }
    self->pipe = pipe;
    mh_pipe_set_taker(pipe, message_take);
    mh_pipe_set_weigher(pipe, message_weigh);
    return (PyObject *) self;
}

static PyObject *end_attach(PyTypeObject *type, PyObject *args)
{
    int segment, socket, side, duplex;
    mh_pipe *pipe;
    if (!PyArg_ParseTuple(args, "iiii:_attach", &segment, &socket, &side, &duplex)) {
        return NULL;
    }
    int rc = mh_pipe_attach(segment, socket, side, duplex, &pipe);
    return rc < 0 ? raise_code(rc) : wrap(type, pipe);
}

static PyObject *end_pair(PyTypeObject *type, PyObject *duplex)
{
    mh_pipe *ends[2];
    int both = PyObject_IsTrue(duplex);
    int rc = both < 0 ? EXT_RAISED : mh_pipe_create(both, ends);
    if (rc < 0) {
        return raise_code(rc);
    }
    if (!block_arena_begin()) {
        mh_pipe_share_outside(ends[0]);
    }
    PyObject *first = wrap(type, ends[0]), *second = wrap(type, ends[1]);
    PyObject *pair = first == NULL || second == NULL ? NULL : PyTuple_Pack(2, first, second);
    Py_XDECREF(first);
    Py_XDECREF(second);
    return pair;
}

static void end_dealloc(end_object *self)
{
    PyTypeObject *type = Py_TYPE(self);
    free_message(atomic_exchange(&self->spare, NULL));
    if (self->pipe != NULL) {
        mh_pipe_close(self->pipe);
    }
    type->tp_free((PyObject *) self);
    Py_DECREF(type);
}

static PyMethodDef end_methods[] = {
    EXT_METHOD("send", end_send, EXT_FASTCALL, "send($self, /, obj, *, cancel=None)\n--\n\nSend an object."),
    EXT_METHOD("send_bytes", end_send_bytes, EXT_FASTCALL,
               "send_bytes($self, /, buffer, *, cancel=None)\n--\n\nSend the bytes of a buffer."),
    EXT_METHOD("recv", end_recv, EXT_FASTCALL,
               "recv($self, /, *, cancel=None)\n--\n\nThe next object; EOFError at the end."),
    EXT_METHOD("recv_bytes", end_recv_bytes, EXT_FASTCALL,
               "recv_bytes($self, /, *, cancel=None)\n--\n\nThe next message as bytes."),
    EXT_METHOD("poll", end_poll, EXT_FASTCALL,
               "poll($self, /, timeout=None, *, cancel=None)\n--\n\nIs there a message, or the end?"),
    EXT_METHOD("send_fd", end_send_fd, METH_O, "send_fd($self, fd, /)\n--\n\nSend a descriptor."),
    EXT_METHOD("recv_fd", end_recv_fd, METH_NOARGS, "recv_fd($self, /)\n--\n\nThe next descriptor; waits."),
    EXT_METHOD("close", end_close, METH_NOARGS, "close($self, /)\n--\n\nClose this end in this process."),
    EXT_METHOD("handle", end_handle, METH_NOARGS,
               "handle($self, /)\n--\n\n(segment fd, socket fd, side, duplex)"),
    EXT_METHOD("select_fd", end_select_fd, METH_NOARGS,
               "select_fd($self, /)\n--\n\nA descriptor to select on."),
    EXT_METHOD("share_outside", end_share_outside, METH_NOARGS,
               "share_outside($self, /)\n--\n\nA process outside of this one's tree is to have an end: no "
               "message refers to shared memory from now on."),
    EXT_METHOD("_attach", end_attach, METH_VARARGS | METH_CLASS,
               "_attach($type, segment, socket, side, duplex, /)\n--\n\nThe same end in another process."),
    EXT_METHOD("_pair", end_pair, METH_O | METH_CLASS, "_pair($type, duplex, /)\n--\n\nTwo connected ends."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef end_getset[] = {
    {"socket_fd", end_socket, NULL, PyDoc_STR("The socket's descriptor."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot end_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "One end of a pipe in shared memory."},
    {Py_tp_dealloc, end_dealloc},
    {Py_tp_methods, end_methods},
    {Py_tp_getset, end_getset},
    {0, NULL},
};

static PyType_Spec end_spec = {
    "manyhands._core.PipeEnd", sizeof(end_object), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION, end_slots};

int ext_pipe_end_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, -1, &end_spec, NULL);
}
