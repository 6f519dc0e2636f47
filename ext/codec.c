/* ext/codec.c - the inline encoding; see codec.h. */
#include "codec.h"

#include <stdint.h>
#include <string.h>

void codec_init(codec_buffer *buffer)
{
    buffer->data = buffer->fixed;
    buffer->size = 0;
    buffer->room = sizeof buffer->fixed;
}

void codec_fini(codec_buffer *buffer)
{
    if (buffer->data != buffer->fixed) {
        PyMem_RawFree(buffer->data);
    }
    codec_init(buffer);
}

static int grow(codec_buffer *buffer, size_t size)
{
    size_t room = buffer->room * 2 > buffer->size + size ? buffer->room * 2 : buffer->size + size;
    int fixed = buffer->data == buffer->fixed;
    char *data = PyMem_RawRealloc(fixed ? NULL : buffer->data, room);
    if (data == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (fixed) {
        memcpy(data, buffer->fixed, buffer->size);
    }
    buffer->data = data;
    buffer->room = room;
    return 0;
}

char *codec_extend(codec_buffer *buffer, size_t size)
{
    if (buffer->room - buffer->size < size && grow(buffer, size) < 0) {
        return NULL;
    }
    char *place = buffer->data + buffer->size;
    buffer->size += size;
    return place;
}

/* A tag, then `size` bytes of `data`. */
static int append(codec_buffer *buffer, char tag, const void *data, size_t size)
{
    char *place = codec_extend(buffer, 1 + size);
    if (place == NULL) {
        return -1;
    }
    *place = tag;
    if (size != 0) {
        memcpy(place + 1, data, size);
    }
    return 1;
}

static int append_sized(codec_buffer *buffer, char tag, const void *data, Py_ssize_t size)
{
    if (size > INT32_MAX) {
        return 0;
    }
    uint32_t length = (uint32_t) size;
    char *place = codec_extend(buffer, 5 + (size_t) size);
    if (place == NULL) {
        return -1;
    }
    *place = tag;
    memcpy(place + 1, &length, 4);
    memcpy(place + 5, data, (size_t) size);
    return 1;
}

static int encode_int(PyObject *value, codec_buffer *buffer)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow != 0) {
        return 0;
    }
    if (number >= INT8_MIN && number <= INT8_MAX) {
        int8_t small = (int8_t) number;
        return append(buffer, 'b', &small, 1);
    }
    int64_t wide = number;
    return append(buffer, 'q', &wide, 8);
}

static int encode_str(PyObject *value, codec_buffer *buffer)
{
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(value, &size);
    if (text == NULL) { /* lone surrogates: pickle knows what to do with them */
        if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    return append_sized(buffer, 's', text, size);
}

static int encode_at(PyObject *value, codec_buffer *buffer, int depth);

static int encode_tuple(PyObject *value, codec_buffer *buffer, int depth)
{
    Py_ssize_t count = PyTuple_GET_SIZE(value);
    if (count > CODEC_ITEMS || depth == CODEC_DEPTH) {
        return 0;
    }
    uint8_t items = (uint8_t) count;
    if (append(buffer, '(', &items, 1) < 0) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        int rc = encode_at(PyTuple_GET_ITEM(value, i), buffer, depth + 1);
        if (rc <= 0) {
            return rc;
        }
    }
    return 1;
}

static int encode_at(PyObject *value, codec_buffer *buffer, int depth)
{
    if (PyLong_CheckExact(value)) {
        return encode_int(value, buffer);
    }
    if (PyUnicode_CheckExact(value)) {
        return encode_str(value, buffer);
    }
    if (PyBytes_CheckExact(value)) {
        return append_sized(buffer, 'y', PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value));
    }
    if (PyTuple_CheckExact(value)) {
        return encode_tuple(value, buffer, depth);
    }
    if (PyFloat_CheckExact(value)) {
        double number = PyFloat_AS_DOUBLE(value);
        return append(buffer, 'd', &number, 8);
    }
    if (value == Py_None || PyBool_Check(value)) {
        return append(buffer, value == Py_None ? 'N' : value == Py_True ? 'T' : 'F', NULL, 0);
    }
    return 0;
}

int codec_encode(PyObject *value, codec_buffer *buffer)
{
    size_t before = buffer->size;
    int rc = encode_at(value, buffer, 0);
    if (rc <= 0) {
        buffer->size = before;
    }
    return rc;
}

/* What is left to decode. */
typedef struct cursor {
    const char *at;
    size_t left;
} cursor;

static PyObject *corrupt(void)
{
    PyErr_SetString(PyExc_ValueError, "these bytes are not an encoded value");
    return NULL;
}

/* The next `size` bytes, or NULL where there are fewer. */
static const char *take(cursor *from, size_t size)
{
    if (from->left < size) {
        return NULL;
    }
    const char *at = from->at;
    from->at += size;
    from->left -= size;
    return at;
}

static PyObject *decode_number(cursor *from, char tag)
{
    const char *at = take(from, tag == 'b' ? 1 : 8);
    if (at == NULL) {
        return corrupt();
    }
    if (tag == 'b') {
        return PyLong_FromLong(*(const int8_t *) at);
    }
    if (tag == 'q') {
        int64_t number;
        memcpy(&number, at, 8);
        return PyLong_FromLongLong(number);
    }
    double number;
    memcpy(&number, at, 8);
    return PyFloat_FromDouble(number);
}

static PyObject *decode_sized(cursor *from, char tag)
{
    uint32_t size;
    const char *at = take(from, 4);
    if (at == NULL) {
        return corrupt();
    }
    memcpy(&size, at, 4);
    at = take(from, size);
    if (at == NULL) {
        return corrupt();
    }
    return tag == 'y' ? PyBytes_FromStringAndSize(at, (Py_ssize_t) size)
                      : PyUnicode_DecodeUTF8(at, (Py_ssize_t) size, NULL);
}

static PyObject *decode_at(cursor *from, int depth);

static PyObject *decode_tuple(cursor *from, int depth)
{
    const char *at = take(from, 1);
    if (at == NULL || depth == CODEC_DEPTH || *(const uint8_t *) at > CODEC_ITEMS) {
        return corrupt();
    }
    Py_ssize_t count = *(const uint8_t *) at;
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple != NULL && i < count; i++) {
        PyObject *item = decode_at(from, depth + 1);
        if (item == NULL) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, i, item);
    }
    return tuple;
}

static PyObject *decode_at(cursor *from, int depth)
{
    const char *tag = take(from, 1);
    switch (tag == NULL ? '\0' : *tag) {
    case 'N':
        Py_RETURN_NONE;
    case 'T':
        Py_RETURN_TRUE;
    case 'F':
        Py_RETURN_FALSE;
    case 'b':
    case 'q':
    case 'd':
        return decode_number(from, *tag);
    case 's':
    case 'y':
        return decode_sized(from, *tag);
    case '(':
        return decode_tuple(from, depth);
    default:
        return corrupt();
    }
}

PyObject *codec_decode(const char *data, size_t size)
{
    cursor from = {data, size};
    PyObject *value = decode_at(&from, 0);
    if (value != NULL && from.left != 0) {
        Py_DECREF(value);
        return corrupt();
    }
    return value;
}
