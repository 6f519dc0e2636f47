/* ext/wire.h - the inline encoding without Python: one item read, one item written. What the bytes mean is in codec.h.
 *
 * Reading trusts nothing: an item that was read lies wholly within the bytes. Here, and not in codec.c, so that
 * tests/fuzz runs this very code on bytes of every kind.
 */
#ifndef EXT_WIRE_H
#define EXT_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CODEC_ITEMS 32
#define CODEC_DEPTH 4

typedef struct wire_cursor { /* what is left to read */
    const char *at;
    size_t left;
} wire_cursor;

typedef struct wire_item {
    char tag;
    uint32_t count;   /* '(': items that follow; 's', 'y': bytes at `data` */
    int64_t number;   /* 'b', 'q' */
    double real;      /* 'd' */
    const char *data; /* 's', 'y' */
} wire_item;

/* The next `size` bytes, or NULL where there are fewer. */
static inline const char *wire_take(wire_cursor *from, size_t size)
{
    if (from->left < size) {
        return NULL;
    }
    const char *at = from->at;
    from->at += size;
    from->left -= size;
    return at;
}

/* 1, or 0 where no item begins there. */
static inline int wire_read(wire_cursor *from, wire_item *item)
{
    const char *at = wire_take(from, 1);
    item->tag = at == NULL ? '\0' : *at;
    switch (item->tag) {
    case 'N':
    case 'T':
    case 'F':
        return 1;
    case 'b':
        at = wire_take(from, 1);
        item->number = at == NULL ? 0 : *(const int8_t *) at;
        return at != NULL;
    case 'q':
    case 'd':
        at = wire_take(from, 8);
        if (at != NULL) {
            memcpy(item->tag == 'q' ? (void *) &item->number : (void *) &item->real, at, 8);
        }
        return at != NULL;
    case 's':
    case 'y':
        at = wire_take(from, 4);
        if (at == NULL) {
            return 0;
        }
        memcpy(&item->count, at, 4);
        item->data = wire_take(from, item->count);
        return item->data != NULL;
    case '(':
        at = wire_take(from, 1);
        item->count = at == NULL ? 0 : *(const uint8_t *) at;
        return at != NULL && item->count <= CODEC_ITEMS;
    default:
        return 0;
    }
}

/* Bytes that wire_write() writes. */
static inline size_t wire_size(const wire_item *item)
{
    switch (item->tag) {
    case 'b':
    case '(':
        return 2;
    case 'q':
    case 'd':
        return 9;
    case 's':
    case 'y':
        return 5 + (size_t) item->count;
    default:
        return 1;
    }
}

static inline void wire_write(char *to, const wire_item *item)
{
    to[0] = item->tag;
    switch (item->tag) {
    case 'b':
        to[1] = (char) item->number;
        break;
    case '(':
        to[1] = (char) item->count;
        break;
    case 'q':
        memcpy(to + 1, &item->number, 8);
        break;
    case 'd':
        memcpy(to + 1, &item->real, 8);
        break;
    case 's':
    case 'y':
        memcpy(to + 1, &item->count, 4);
        if (item->count != 0) {
            memcpy(to + 5, item->data, item->count);
        }
        break;
    default:
        break;
    }
}

#endif
