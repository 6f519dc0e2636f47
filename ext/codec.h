/* ext/codec.h - the inline encoding: small plain values as bytes, without pickle.
 *
 * None, bool, int (64-bit), float, str, bytes and tuples of these (at most CODEC_ITEMS items, CODEC_DEPTH deep); exact
 * types only, so that what comes out is what went in. Measured: it is worth more than the choice of queue.
 *
 *   N T F          None, True, False
 *   b i8           int of -128..127            q i64   any other int of 64 bits
 *   d f64          float, the machine's eight bytes
 *   s u32 utf-8    str                         y u32 bytes
 *   ( u8 item ...  tuple
 *
 * Integers lie in the machine's byte order: both ends are on one machine.
 */
#ifndef EXT_CODEC_H
#define EXT_CODEC_H

#include <Python.h>

#include "wire.h"

typedef struct codec_buffer { /* bytes that grow; begins in `fixed` */
    char *data;
    size_t size, room;
    char fixed[512];
} codec_buffer;

void codec_init(codec_buffer *buffer);
void codec_fini(codec_buffer *buffer);
/* Room for `size` more bytes, counted as used; NULL with MemoryError. */
char *codec_extend(codec_buffer *buffer, size_t size);

/* Append `value`. 1: done; 0: not of the inline kind, buffer as before; -1: exception set. */
int codec_encode(PyObject *value, codec_buffer *buffer);
/* The value of exactly these bytes; ValueError where they are not an encoding. */
PyObject *codec_decode(const char *data, size_t size);

#endif
