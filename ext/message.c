/* ext/message.c - Python objects as messages; see message.h. */
#include "message.h"

#include <stdint.h>
#include <string.h>

#include "block.h"

#define TO_BLOCK 32768 /* bytes from which a payload goes to a block of the arena instead of the ring */

static void add_part(message_out *out, const void *data, size_t size)
{
    out->part[out->parts++] = (mh_part){data, size};
}

/* ---- packing ------------------------------------------------------------------------------------------------- */

static message_block *records_in(message_out *out)
{
    return (message_block *) (void *) (out->head.data + sizeof(message_head));
}

/* A record for `block`, which a new parcel keeps alive; the caller's own hold, if any, is not touched. */
static int add_block(message_out *out, mh_arena *arena, mh_block block, message_block record)
{
    int rc = mh_block_in_message(arena, block, 0, &record.parcel);
    if (rc < 0) {
        return rc;
    }
    if (codec_extend(&out->head, sizeof record) == NULL) {
        PyErr_Clear();
        if (mh_block_out_of_message(arena, record.parcel, &block) == 0) {
            mh_block_drop(arena, block);
        }
        return -ENOMEM;
    }
    records_in(out)[out->block_count++] = record;
    return 0;
}

/* `size` bytes into a new block, which then belongs to the message alone. */
static int add_copy(message_out *out, mh_arena *arena, const void *data, message_block record)
{
    mh_block block;
    int rc = mh_block_alloc(arena, record.size == 0 ? 1 : record.size, &block);
    if (rc < 0) {
        return rc;
    }
    block_copy(mh_block_at(arena, block), data, record.size);
    record.is_copy = 1;
    rc = add_block(out, arena, block, record);
    mh_block_drop(arena, block);
    return rc;
}

/* A buffer that pickle hands over: where it lies in the arena already it is not copied. */
static int add_buffer(message_out *out, mh_arena *arena, const Py_buffer *view)
{
    mh_block block;
    size_t offset;
    message_block record = {.size = (uint64_t) view->len, .readonly = (uint32_t) view->readonly};
    if (mh_block_of(arena, view->buf, &block, &offset) == 0) {
        record.offset = offset;
        return add_block(out, arena, block, record);
    }
    return add_copy(out, arena, view->buf, record);
}

static void begin_blocks(message_out *out)
{
    codec_fini(&out->head);
    codec_extend(&out->head, sizeof(message_head)); /* fits the fixed part */
}

static void end_blocks(message_out *out, uint32_t tag)
{
    message_head head = {out->block_count, mh_arena_id(mh_arena_peek())};
    memcpy(out->head.data, &head, sizeof head);
    out->tag = tag;
    add_part(out, out->head.data, out->head.size);
}

/* 0; -1 with an exception; another negative code: there is no block to be had. */
static int pack_bytes(message_out *out, PyObject *value)
{
    mh_arena *arena = block_arena();
    if (arena == NULL) {
        return -1;
    }
    begin_blocks(out);
    message_block record = {.size = (uint64_t) PyBytes_GET_SIZE(value), .readonly = 1};
    int rc = add_copy(out, arena, PyBytes_AS_STRING(value), record);
    if (rc == 0) {
        end_blocks(out, MESSAGE_BYTES);
    }
    return rc;
}

static int pack_buffers(message_out *out, mh_arena *arena, PyObject *buffers)
{
    int rc = 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(buffers); i++) {
        Py_buffer view;
        PyObject *raw = PyObject_CallMethod(PyList_GET_ITEM(buffers, i), "raw", NULL);
        rc = raw == NULL || PyObject_GetBuffer(raw, &view, PyBUF_SIMPLE) < 0 ? -1 : 0;
        if (rc == 0) {
            rc = add_buffer(out, arena, &view);
            PyBuffer_Release(&view);
        }
        Py_XDECREF(raw);
    }
    return rc;
}

/* The pickle and its buffers, the large ones in blocks. */
static int pack_blocks(message_out *out, PyObject *pickle, PyObject *buffers)
{
    mh_arena *arena = block_arena();
    if (arena == NULL) {
        return -1;
    }
    begin_blocks(out);
    int rc = pack_buffers(out, arena, buffers);
    message_block record = {.size = (uint64_t) PyBytes_GET_SIZE(pickle), .readonly = 1, .is_pickle = 1};
    int large = record.size >= TO_BLOCK;
    if (rc == 0 && large) {
        rc = add_copy(out, arena, PyBytes_AS_STRING(pickle), record);
    }
    if (rc == 0) {
        end_blocks(out, MESSAGE_BLOCKS);
    }
    if (rc == 0 && !large) {
        add_part(out, PyBytes_AS_STRING(pickle), (size_t) record.size);
    }
    return rc;
}

/* What the calling thread pickles goes to processes of this tree, buffers beside it: atomics can travel. */
static _Thread_local int sharing;

int message_is_sharing(void)
{
    return sharing > 0;
}

PyObject *message_share(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs < 1) {
        return PyErr_Format(PyExc_TypeError, "_share(function, *args)");
    }
    sharing++;
    PyObject *result = PyObject_Vectorcall(args[0], args + 1, (size_t) nargs - 1, NULL);
    sharing--;
    return result;
}

/* dumps(value) -> (pickle, [buffers]); dumps(value, True) -> pickle with all inside */
static int pack_pickle(ext_state *state, message_out *out, PyObject *value)
{
    sharing++;
    PyObject *pair = PyObject_CallOneArg(state->ref[EXT_DUMPS], value);
    sharing--;
    if (pair == NULL) {
        return -1;
    }
    PyObject *buffers = PyTuple_GET_ITEM(pair, 1);
    out->pickle = Py_NewRef(PyTuple_GET_ITEM(pair, 0));
    int rc = 0;
    if (PyList_GET_SIZE(buffers) != 0 || PyBytes_GET_SIZE(out->pickle) >= TO_BLOCK) {
        rc = pack_blocks(out, out->pickle, buffers);
    } else {
        out->tag = MESSAGE_PICKLE;
        add_part(out, PyBytes_AS_STRING(out->pickle), (size_t) PyBytes_GET_SIZE(out->pickle));
    }
    Py_DECREF(pair);
    return rc;
}

/* No block could be had (no place in the arena, or no memory left for it): all in the ring, if that has room. */
static int pack_in_ring(ext_state *state, message_out *out, PyObject *value)
{
    message_unsent(out);
    out->parts = 0;
    out->pickle = PyObject_CallFunctionObjArgs(state->ref[EXT_DUMPS], value, Py_True, NULL);
    if (out->pickle == NULL) {
        return -1;
    }
    out->tag = MESSAGE_PICKLE;
    add_part(out, PyBytes_AS_STRING(out->pickle), (size_t) PyBytes_GET_SIZE(out->pickle));
    return 0;
}

/* 1 where the value is of the inline kind and small. */
static int pack_inline(message_out *out, PyObject *value)
{
    int rc = codec_encode(value, &out->head);
    if (rc > 0 && out->head.size < TO_BLOCK) {
        out->tag = MESSAGE_INLINE;
        add_part(out, out->head.data, out->head.size);
        return 1;
    }
    out->head.size = 0;
    return rc < 0 ? -1 : 0;
}

int message_pack(ext_state *state, PyObject *value, int whole, message_out *out)
{
    out->parts = 0;
    out->tag = MESSAGE_RAW;
    out->pickle = NULL;
    out->block_count = 0;
    codec_init(&out->head);
    int large = PyBytes_CheckExact(value) && PyBytes_GET_SIZE(value) >= TO_BLOCK;
    int rc = large ? 0 : pack_inline(out, value);
    if (rc == 0 && whole) {
        rc = pack_in_ring(state, out, value);
    } else if (rc == 0) {
        rc = large ? pack_bytes(out, value) : pack_pickle(state, out, value);
    }
    if (rc < -1) {
        rc = pack_in_ring(state, out, value);
    }
    if (rc < 0) {
        message_unsent(out);
    }
    return rc < 0 ? -1 : 0;
}

void message_sent(message_out *out)
{
    for (uint32_t i = 0; i < out->block_count; i++) {
        mh_block_sent(mh_arena_peek(), records_in(out)[i].parcel);
    }
    out->block_count = 0;
    codec_fini(&out->head);
    Py_CLEAR(out->pickle);
}

void message_unsent(message_out *out)
{
    mh_block block;
    for (uint32_t i = 0; i < out->block_count; i++) {
        if (mh_block_out_of_message(mh_arena_peek(), records_in(out)[i].parcel, &block) == 0) {
            mh_block_drop(mh_arena_peek(), block);
        }
    }
    out->block_count = 0;
    codec_fini(&out->head);
    Py_CLEAR(out->pickle);
}

/* ---- unpacking ----------------------------------------------------------------------------------------------- */

static PyObject *corrupt(void)
{
    ext_refuse(PyExc_ValueError, "MH-DAMAGED",
               "a message in this channel does not hold what its header promises");
    return NULL;
}

/* How many records of blocks such a message begins with; 0 also where it is damaged. */
static size_t count_records(const void *data, size_t size, uint32_t tag, message_head *head)
{
    if ((tag != MESSAGE_BLOCKS && tag != MESSAGE_BYTES) || size < sizeof *head) {
        return 0;
    }
    memcpy(head, data, sizeof *head);
    return head->count > (size - sizeof *head) / sizeof(message_block) ? 0 : (size_t) head->count;
}

uint64_t message_weigh(const void *data, size_t size, uint32_t tag)
{
    message_head head;
    uint64_t weight = 0;
    for (size_t i = 0, count = count_records(data, size, tag, &head); i < count; i++) {
        message_block record;
        memcpy(&record, (const char *) data + sizeof head + i * sizeof record, sizeof record);
        weight += record.is_copy ? record.size : 0;
    }
    return weight;
}

void message_take(void *data, size_t size, uint32_t tag)
{
    mh_arena *arena = mh_arena_peek();
    message_head head;
    size_t count = arena == NULL ? 0 : count_records(data, size, tag, &head);
    if (count == 0 || head.arena != mh_arena_id(arena)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        message_block record;
        char *at = (char *) data + sizeof head + i * sizeof record;
        mh_block block;
        memcpy(&record, at, sizeof record);
        record.parcel = mh_block_out_of_message(arena, record.parcel, &block) == 0 ? block : 0;
        memcpy(at, &record, sizeof record);
    }
}

/* The records at the head of a message; their number in `count`. NULL with an exception: the message is too short, or
 * its blocks are not this tree's. */
static const char *records_of(const char *data, size_t size, const mh_arena *arena, size_t *count)
{
    message_head head;
    if (size < sizeof head) {
        corrupt();
        return NULL;
    }
    memcpy(&head, data, sizeof head);
    if (head.count > (size - sizeof head) / sizeof(message_block)) {
        corrupt();
        return NULL;
    }
    if (head.arena != mh_arena_id(arena)) {
        ext_refuse(PyExc_RuntimeError, "MH-OTHER-TREE",
                   "this message lies in the shared memory of another tree of processes; "
                   "send it once more, now that this process has the queue or connection");
        return NULL;
    }
    *count = (size_t) head.count;
    return data + sizeof head;
}

/* The stretch of a record as a Block; what the parcel held this process holds now. NULL without exception: void. */
static PyObject *take_block(ext_state *state, mh_arena *arena, const message_block *record, int taken)
{
    mh_block block = record->parcel;
    int rc = taken ? block == 0 ? MH_E_LOST : 0 : mh_block_out_of_message(arena, record->parcel, &block);
    if (rc < 0) {
        if (rc != MH_E_LOST) {
            ext_raise_code(NULL, rc);
        }
        return NULL;
    }
    size_t room = mh_block_size(arena, block);
    if (record->offset > room || record->size > room - record->offset) {
        mh_block_drop(arena, block);
        return corrupt();
    }
    return block_wrap(state, block, (size_t) record->offset, (size_t) record->size, (int) record->readonly);
}

static PyObject *fresh_bytes(const char *data, size_t size)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t) size);
    if (bytes != NULL) {
        mh_memory_fresh(PyBytes_AS_STRING(bytes), size);
        block_copy(PyBytes_AS_STRING(bytes), data, size);
    }
    return bytes;
}

static PyObject *bytes_of(PyObject *block)
{
    Py_buffer view;
    if (PyObject_GetBuffer(block, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *bytes = fresh_bytes(view.buf, (size_t) view.len);
    PyBuffer_Release(&view);
    return bytes;
}

static PyObject *unpack_bytes(ext_state *state, const char *data, size_t size, int taken)
{
    size_t count;
    mh_arena *arena = block_arena();
    const char *records = arena == NULL ? NULL : records_of(data, size, arena, &count);
    if (records == NULL || count != 1) {
        return records == NULL ? NULL : corrupt();
    }
    message_block record;
    memcpy(&record, records, sizeof record);
    PyObject *block = take_block(state, arena, &record, taken);
    PyObject *bytes = block == NULL ? NULL : bytes_of(block);
    Py_XDECREF(block);
    return bytes;
}

/* state->ref[EXT_LOADS](pickle, buffers) */
static PyObject *unpickle(ext_state *state, const char *data, size_t size, PyObject *buffers)
{
    PyObject *view = PyMemoryView_FromMemory((char *) (uintptr_t) data, (Py_ssize_t) size, PyBUF_READ);
    if (view == NULL) {
        return NULL;
    }
    PyObject *value = PyObject_CallFunctionObjArgs(state->ref[EXT_LOADS], view, buffers, NULL);
    Py_DECREF(view);
    return value;
}

static PyObject *unpack_blocks(ext_state *state, const char *data, size_t size, int taken)
{
    size_t count;
    mh_arena *arena = block_arena();
    const char *records = arena == NULL ? NULL : records_of(data, size, arena, &count);
    PyObject *buffers = records == NULL ? NULL : PyList_New(0);
    PyObject *pickle = NULL, *value = NULL;
    if (buffers == NULL) {
        return NULL;
    }
    int failed = 0;
    for (size_t i = 0; i < count; i++) { /* every record, also after a failure: their holds end here */
        message_block record;
        memcpy(&record, records + i * sizeof record, sizeof record);
        PyObject *block = take_block(state, arena, &record, taken);
        if (block != NULL && record.is_pickle) {
            Py_XSETREF(pickle, Py_NewRef(block));
        } else if (block != NULL) {
            failed |= PyList_Append(buffers, block) < 0;
        }
        failed |= block == NULL;
        Py_XDECREF(block);
    }
    failed |= PyErr_Occurred() != NULL;
    size_t head = sizeof(message_head) + count * sizeof(message_block);
    if (!failed && pickle != NULL) {
        value = PyObject_CallFunctionObjArgs(state->ref[EXT_LOADS], pickle, buffers, NULL);
    } else if (!failed) {
        value = unpickle(state, data + head, size - head, buffers);
    }
    Py_XDECREF(pickle);
    Py_DECREF(buffers);
    return value;
}

PyObject *message_unpack(ext_state *state, const char *data, size_t size, uint32_t tag)
{
    int taken = (tag & MESSAGE_TAKEN) != 0;
    switch (tag & ~MESSAGE_TAKEN) {
    case MESSAGE_INLINE:
        return codec_decode(data, size);
    case MESSAGE_RAW:
    case MESSAGE_PICKLE:
        return unpickle(state, data, size, Py_None);
    case MESSAGE_BLOCKS:
        return unpack_blocks(state, data, size, taken);
    case MESSAGE_BYTES:
        return unpack_bytes(state, data, size, taken);
    default:
        return corrupt();
    }
}

PyObject *message_bytes(ext_state *state, const char *data, size_t size, uint32_t tag)
{
    if ((tag & ~MESSAGE_TAKEN) == MESSAGE_RAW || (tag & ~MESSAGE_TAKEN) == MESSAGE_PICKLE) {
        return fresh_bytes(data, size);
    }
    PyObject *value = message_unpack(state, data, size, tag);
    PyObject *bytes =
        value == NULL ? NULL : PyObject_CallFunctionObjArgs(state->ref[EXT_DUMPS], value, Py_True, NULL);
    Py_XDECREF(value);
    return bytes;
}
