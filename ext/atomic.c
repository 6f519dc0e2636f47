/* ext/atomic.c - AtomicInt and AtomicFlag: an mh_number each, in a block of the arena.
 *
 * A block is a page at least, so numbers share one: this process keeps a hold of one block in which there is room, and each
 * number holds it, too. Which slot is next is a number in the block itself, for forked processes go on with the same one. A
 * slot is never used again; the block goes when the last of its numbers does, wherever that is.
 */

#include "block.h"
#include "manyhands/number.h"
#include "message.h"

#define SLOT 64 /* a cache line each */

typedef struct atomic_object {
    PyObject_HEAD
    mh_block block; /* held */
    mh_number *at;
} atomic_object;

static _Atomic(uint64_t)
    roomy; /* a held block with room, perhaps; 0: none. Whoever takes it out owns the hold */

/* A slot of `block`; NULL: there is none left. Slot 0 counts them. */
static mh_number *slot_in(mh_arena *arena, mh_block block)
{
    char *data = mh_block_at(arena, block);
    int64_t next;
    if (mh_number_add((mh_number *) (void *) data, 1, &next) < 0 ||
        (size_t) next >= mh_block_size(arena, block) / SLOT) {
        return NULL;
    }
    return (mh_number *) (void *) (data + next * SLOT);
}

/* The block is kept for the next number, or let go of where another is kept already. */
static void keep(mh_arena *arena, mh_block block)
{
    mh_block old = atomic_exchange(&roomy, block);
    if (old != 0) {
        mh_block_drop(arena, old);
    }
}

/* A slot, and one hold of its block, which is the caller's. 0 or a code of the arena. */
static int new_slot(mh_arena *arena, mh_block *block, mh_number **at)
{
    *at = NULL;
    *block = atomic_exchange(&roomy, 0);
    if (*block != 0 && (*at = slot_in(arena, *block)) == NULL) {
        mh_block_drop(arena, *block);
    }
    if (*at == NULL) {
        int rc = mh_block_alloc(arena, SLOT, block);
        if (rc < 0) {
            return rc;
        }
        mh_number_init(mh_block_at(arena, *block), 0, 0);
        *at = slot_in(arena, *block);
    }
    int rc = mh_block_hold(arena, *block);
    keep(arena, *block);
    return rc;
}

static atomic_object *wrap(PyTypeObject *type, mh_block block, mh_number *at)
{
    atomic_object *self = (atomic_object *) type->tp_alloc(type, 0);
    if (self == NULL) {
        mh_block_drop(mh_arena_peek(), block);
        return NULL;
    }
    self->block = block;
    self->at = at;
    return self;
}

static PyObject *make(PyTypeObject *type, int64_t value)
{
    mh_arena *arena = block_arena();
    mh_block block;
    mh_number *at;
    int rc = arena == NULL ? EXT_RAISED : new_slot(arena, &block, &at);
    if (rc < 0) {
        return rc == EXT_RAISED ? NULL : block_raise(rc, SLOT);
    }
    mh_number_init(at, value, 0);
    return (PyObject *) wrap(type, block, at);
}

static void atomic_dealloc(PyObject *object)
{
    atomic_object *self = (atomic_object *) object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->block != 0) {
        mh_block_drop(mh_arena_peek(), self->block);
    }
    type->tp_free(object);
    Py_DECREF(type);
}

/* ---- to another process -------------------------------------------------------------------------------------- */

static PyObject *atomic_reduce(PyObject *object, PyObject *Py_UNUSED(protocol))
{
    atomic_object *self = (atomic_object *) object;
    ext_state *state = ext_state_of(Py_TYPE(object));
    if (state == NULL) {
        return NULL;
    }
    if (!message_is_sharing()) {
        return ext_refuse(
            PyExc_RuntimeError, "MH-TRAVEL",
            "%s can be sent to processes of this program alone: through queues, pipes and pools of "
            "manyhands.multiprocessing, or as an argument of a process",
            Py_TYPE(object)->tp_name);
    }
    PyObject *make_again = NULL, *stretch = NULL, *buffer = NULL, *module = PyType_GetModule(Py_TYPE(object));
    mh_arena *arena = mh_arena_peek();
    int rc = mh_block_hold(arena, self->block);
    if (rc < 0) {
        return block_raise(rc, SLOT);
    }
    stretch = block_wrap(state, self->block,
                         (size_t) ((char *) self->at - (char *) mh_block_at(arena, self->block)), SLOT, 0);
    buffer = stretch == NULL ? NULL : PyPickleBuffer_FromObject(stretch);
    make_again = buffer == NULL || module == NULL ? NULL : PyObject_GetAttrString(module, "_atomic_from");
    PyObject *reduced =
        make_again == NULL ? NULL : Py_BuildValue("O(OO)", make_again, (PyObject *) Py_TYPE(object), buffer);
    Py_XDECREF(make_again);
    Py_XDECREF(stretch);
    Py_XDECREF(buffer);
    return reduced;
}

/* _atomic_from(type, stretch): the number that lies in a Block. */
static PyObject *atomic_from(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    ext_state *state = PyModule_GetState(module);
    mh_block block;
    size_t size;
    if (nargs != 2 || ((PyTypeObject *) args[0] != (PyTypeObject *) state->ref[EXT_ATOMIC_INT_TYPE] &&
                       (PyTypeObject *) args[0] != (PyTypeObject *) state->ref[EXT_ATOMIC_FLAG_TYPE])) {
        return PyErr_Format(PyExc_TypeError, "_atomic_from(type, stretch)");
    }
    char *data = block_stretch(state, args[1], &block, &size);
    if (data == NULL || size < SLOT || (uintptr_t) data % SLOT != 0) {
        return ext_refuse(PyExc_RuntimeError, "MH-DAMAGED",
                          "this number has left the memory that it is shared in");
    }
    int rc = mh_block_hold(mh_arena_peek(), block);
    return rc < 0 ? block_raise(rc, size)
                  : (PyObject *) wrap((PyTypeObject *) args[0], block, (mh_number *) (void *) data);
}

/* ---- AtomicInt ----------------------------------------------------------------------------------------------- */

/* A number of 64 bits; NULL: `otherwise`. 0, or -1 with an exception. */
static int number_of(PyObject *value, int64_t otherwise, int64_t *number)
{
    PyObject *index = value == NULL ? NULL : PyNumber_Index(value);
    *number = otherwise;
    if (index == NULL) {
        return value == NULL ? 0 : -1;
    }
    *number = PyLong_AsLongLong(index);
    Py_DECREF(index);
    return *number == -1 && PyErr_Occurred() ? -1 : 0;
}

static PyObject *int_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"AtomicInt", 0, 1, 1, {"value"}};
    PyObject *given = NULL;
    int64_t value;
    if (ext_args_tuple(&signature, args, kwargs, &given) < 0 || number_of(given, 0, &value) < 0) {
        return NULL;
    }
    return make(type, value);
}

static PyObject *int_value(PyObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(mh_number_get(((atomic_object *) self)->at));
}

static int int_set_value(PyObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    int64_t number;
    if (value == NULL) {
        ext_refuse(PyExc_AttributeError, "MH-ARGUMENT", "the value cannot be deleted");
        return -1;
    }
    if (number_of(value, 0, &number) < 0) {
        return -1;
    }
    (void) mh_number_exchange(((atomic_object *) self)->at, number);
    return 0;
}

static int add(PyObject *self, int64_t by, int64_t *sum)
{
    if (mh_number_add(((atomic_object *) self)->at, by, sum) < 0) {
        ext_refuse(PyExc_OverflowError, "MH-ARGUMENT",
                   "the sum does not fit 64 bits; the number is as it was");
        return -1;
    }
    return 0;
}

static PyObject *int_add(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"add", 0, 1, 1, {"n"}};
    PyObject *given = nargs == 1 ? args[0] : NULL;
    int64_t by, sum;
    if (((nargs > 1 || kwnames != NULL) && ext_args(&signature, args, nargs, kwnames, &given) < 0) ||
        number_of(given, 1, &by) < 0 || add(self, by, &sum) < 0) {
        return NULL;
    }
    return PyLong_FromLongLong(sum);
}

static PyObject *int_exchange(PyObject *self, PyObject *value)
{
    int64_t number;
    return number_of(value, 0, &number) < 0
               ? NULL
               : PyLong_FromLongLong(mh_number_exchange(((atomic_object *) self)->at, number));
}

static PyObject *int_compare_exchange(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                                      PyObject *kwnames)
{
    static const ext_signature signature = {"compare_exchange", 2, 2, 2, {"expected", "value"}};
    PyObject *given[2];
    int64_t expected, value;
    if (ext_args(&signature, args, nargs, kwnames, given) < 0 || number_of(given[0], 0, &expected) < 0 ||
        number_of(given[1], 0, &value) < 0) {
        return NULL;
    }
    return PyBool_FromLong(mh_number_compare_exchange(((atomic_object *) self)->at, &expected, value));
}

typedef struct wait_args {
    mh_number *at;
    int64_t seen, found;
} wait_args;

static int wait_number(void *object, mh_deadline deadline, ext_waiting *waiting)
{
    wait_args *args = object;
    return mh_number_wait(args->at, args->seen, &args->found, deadline, ext_token(waiting));
}

static int wait_until(PyObject *self, wait_args *args, ext_until until)
{
    int rc = wait_number(args, MH_AT_ONCE, NULL);
    return rc == -ETIMEDOUT && until.at != MH_AT_ONCE ? ext_wait(self, wait_number, args, until) : rc;
}

static PyObject *int_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"wait", 1, 2, 3, {"seen", "timeout", "cancel"}};
    PyObject *given[3] = {NULL, NULL, NULL};
    wait_args wait = {.at = ((atomic_object *) self)->at};
    ext_until until;
    if (ext_args(&signature, args, nargs, kwnames, given) < 0 || number_of(given[0], 0, &wait.seen) < 0 ||
        ext_until_args(self, given[1], given[2], &until) < 0) {
        return NULL;
    }
    PyObject *in_time = ext_waited(wait_until(self, &wait, until));
    if (in_time != Py_True) {
        Py_XDECREF(in_time);
        return in_time == NULL ? NULL : Py_NewRef(Py_None);
    }
    Py_DECREF(in_time);
    return PyLong_FromLongLong(wait.found);
}

static PyObject *int_number(PyObject *self)
{
    return int_value(self, NULL);
}

static int int_bool(PyObject *self)
{
    return mh_number_get(((atomic_object *) self)->at) != 0;
}

static PyObject *int_inplace(PyObject *self, PyObject *by, int sign)
{
    int64_t number;
    if (!PyIndex_Check(by)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    if (number_of(by, 0, &number) < 0) {
        return NULL;
    }
    if (sign < 0 && number == INT64_MIN) {
        ext_refuse(PyExc_OverflowError, "MH-ARGUMENT",
                   "the sum does not fit 64 bits; the number is as it was");
        return NULL;
    }
    return add(self, sign * number, NULL) < 0 ? NULL : Py_NewRef(self);
}

static PyObject *int_iadd(PyObject *self, PyObject *by)
{
    return int_inplace(self, by, 1);
}

static PyObject *int_isub(PyObject *self, PyObject *by)
{
    return int_inplace(self, by, -1);
}

static PyObject *int_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<AtomicInt %lld>", (long long) mh_number_get(((atomic_object *) self)->at));
}

static PyMethodDef int_methods[] = {
    EXT_METHOD(
        "add", int_add, EXT_FASTCALL,
        "add($self, /, n=1)\n--\n\nAdd, and return the sum. OverflowError past 64 bits: nothing was added."),
    EXT_METHOD("exchange", int_exchange, METH_O,
               "exchange($self, value, /)\n--\n\nSet, and return what it was before."),
    EXT_METHOD("compare_exchange", int_compare_exchange, EXT_FASTCALL,
               "compare_exchange($self, /, expected, value)\n--\n\n"
               "Set it to `value` if it is `expected`; return whether it was."),
    EXT_METHOD("wait", int_wait, EXT_FASTCALL,
               "wait($self, /, seen, timeout=None, *, cancel=None)\n--\n\n"
               "Wait until it is something else than `seen`, and return that; None where `timeout` seconds "
               "passed first.\n"
               "`cancel`: a CancelToken, which ends the wait with Cancelled."),
    EXT_METHOD("__reduce_ex__", atomic_reduce, METH_O,
               "__reduce_ex__($self, protocol, /)\n--\n\nIts place, for processes of this program."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef int_getset[] = {
    {"value", int_value, int_set_value, PyDoc_STR("The number at this moment; can be set."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot int_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "AtomicInt(value=0)\n--\n\n"
                                     "A number of 64 bits that threads and processes change in one step, "
                                     "without a lock.\n\n"
                                     "It goes through queues, pipes, pools and to new processes, and stays "
                                     "the same number everywhere.\n"
                                     "`n += 1` is one step, too; `n.value = n.value + 1` is three."},
    {Py_tp_new, int_new},
    {Py_tp_dealloc, atomic_dealloc},
    {Py_tp_repr, int_repr},
    {Py_tp_methods, int_methods},
    {Py_tp_getset, int_getset},
    {Py_nb_int, int_number},
    {Py_nb_index, int_number},
    {Py_nb_bool, int_bool},
    {Py_nb_inplace_add, int_iadd},
    {Py_nb_inplace_subtract, int_isub},
    {0, NULL},
};

static PyType_Spec int_spec = {"manyhands.shared.AtomicInt", sizeof(atomic_object), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, int_slots};

/* ---- AtomicFlag ---------------------------------------------------------------------------------------------- */

static PyObject *flag_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"AtomicFlag", 0, 1, 1, {"value"}};
    PyObject *given = NULL;
    if (ext_args_tuple(&signature, args, kwargs, &given) < 0) {
        return NULL;
    }
    int value = given == NULL ? 0 : PyObject_IsTrue(given);
    return value < 0 ? NULL : make(type, value);
}

static PyObject *flag_is_set(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(mh_number_get(((atomic_object *) self)->at) != 0);
}

static PyObject *flag_set(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    int64_t expected = 0;
    return PyBool_FromLong(mh_number_compare_exchange(((atomic_object *) self)->at, &expected, 1));
}

static PyObject *flag_clear(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    int64_t expected = 1;
    return PyBool_FromLong(mh_number_compare_exchange(((atomic_object *) self)->at, &expected, 0));
}

static PyObject *flag_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    wait_args wait = {.at = ((atomic_object *) self)->at};
    ext_until until;
    if (ext_wait_args(self, "wait", args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    return ext_waited(wait_until(self, &wait, until));
}

static PyObject *flag_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<AtomicFlag %s>",
                                mh_number_get(((atomic_object *) self)->at) != 0 ? "set" : "clear");
}

static PyMethodDef flag_methods[] = {
    EXT_METHOD("is_set", flag_is_set, METH_NOARGS, "is_set($self, /)\n--\n\nIs it set at this moment?"),
    EXT_METHOD("set", flag_set, METH_NOARGS,
               "set($self, /)\n--\n\nSet it; True if it was clear. Of several who set it at once exactly one "
               "gets True."),
    EXT_METHOD("clear", flag_clear, METH_NOARGS, "clear($self, /)\n--\n\nClear it; True if it was set."),
    EXT_METHOD("wait", flag_wait, EXT_FASTCALL,
               "wait($self, /, timeout=None, *, cancel=None)\n--\n\n"
               "Wait until it is set; False where `timeout` seconds passed first. `cancel`: a CancelToken, "
               "which ends\n"
               "the wait with Cancelled."),
    EXT_METHOD("__reduce_ex__", atomic_reduce, METH_O,
               "__reduce_ex__($self, protocol, /)\n--\n\nIts place, for processes of this program."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot flag_slots[] = {
    {Py_tp_doc,
     (void *) (uintptr_t) "AtomicFlag(value=False)\n--\n\n"
                          "A flag that threads and processes set and clear in one step, and can wait for.\n\n"
                          "It goes through queues, pipes, pools and to new processes, and stays the same "
                          "flag everywhere."},
    {Py_tp_new, flag_new},
    {Py_tp_dealloc, atomic_dealloc},
    {Py_tp_repr, flag_repr},
    {Py_tp_methods, flag_methods},
    {Py_nb_bool, int_bool},
    {0, NULL},
};

static PyType_Spec flag_spec = {"manyhands.shared.AtomicFlag", sizeof(atomic_object), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, flag_slots};

static PyMethodDef functions[] = {
    EXT_METHOD("_atomic_from", atomic_from, METH_FASTCALL,
               "_atomic_from($module, type, stretch, /)\n--\n\nThe number that lies in a Block."),
    {NULL, NULL, 0, NULL},
};

int ext_atomic_ready(PyObject *module, ext_state *state)
{
    return PyModule_AddFunctions(module, functions) < 0 ||
                   ext_add_type(module, state, EXT_ATOMIC_INT_TYPE, &int_spec, NULL) < 0 ||
                   ext_add_type(module, state, EXT_ATOMIC_FLAG_TYPE, &flag_spec, NULL) < 0
               ? -1
               : 0;
}
