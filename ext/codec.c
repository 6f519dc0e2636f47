/* ext/codec.c - the inline encoding; see codec.h. */
#include "codec.h"

#include <stdint.h>
#include <string.h>

#include "common.h"

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

static int append(codec_buffer *buffer, const wire_item *item)
{
    char *place = codec_extend(buffer, wire_size(item));
    if (place == NULL) {
        return -1;
    }
    wire_write(place, item);
    return 1;
}

static int append_sized(codec_buffer *buffer, char tag, const char *data, Py_ssize_t size)
{
    if (size > INT32_MAX) {
        return 0;
    }
    return append(buffer, &(wire_item){.tag = tag, .count = (uint32_t) size, .data = data});
}

static int encode_int(PyObject *value, codec_buffer *buffer)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow != 0) {
        return 0;
    }
    char tag = number >= INT8_MIN && number <= INT8_MAX ? 'b' : 'q';
    return append(buffer, &(wire_item){.tag = tag, .number = number});
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
    if (append(buffer, &(wire_item){.tag = '(', .count = (uint32_t) count}) < 0) {
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
        return append(buffer, &(wire_item){.tag = 'd', .real = PyFloat_AS_DOUBLE(value)});
    }
    if (value == Py_None || PyBool_Check(value)) {
        return append(buffer, &(wire_item){.tag = value == Py_None ? 'N' : value == Py_True ? 'T' : 'F'});
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

static PyObject *corrupt(void)
{
    ext_refuse(PyExc_ValueError, "MH-DAMAGED", "these bytes are not an encoded value");
    return NULL;
}

static PyObject *decode_at(wire_cursor *from, int depth);

static PyObject *decode_tuple(wire_cursor *from, Py_ssize_t count, int depth)
{
    if (depth == CODEC_DEPTH) {
        return corrupt();
    }
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

static PyObject *decode_at(wire_cursor *from, int depth)
{
    wire_item item;
    if (!wire_read(from, &item)) {
        return corrupt();
    }
    switch (item.tag) {
    case 'N':
        Py_RETURN_NONE;
    case 'T':
        Py_RETURN_TRUE;
    case 'F':
        Py_RETURN_FALSE;
    case 'b':
    case 'q':
        return PyLong_FromLongLong(item.number);
    case 'd':
        return PyFloat_FromDouble(item.real);
    case 's':
        return PyUnicode_DecodeUTF8(item.data, (Py_ssize_t) item.count, NULL);
    case 'y':
        return PyBytes_FromStringAndSize(item.data, (Py_ssize_t) item.count);
    default:
        return decode_tuple(from, (Py_ssize_t) item.count, depth);
    }
}

PyObject *codec_decode(const char *data, size_t size)
{
    wire_cursor from = {data, size};
    PyObject *value = decode_at(&from, 0);
    if (value != NULL && from.left != 0) {
        Py_DECREF(value);
        return corrupt();
    }
    return value;
}
