/* ext/ring.h - a growing ring of references: the store of Queue and SimpleQueue, without their locks. */
#ifndef MH_EXT_RING_H
#define MH_EXT_RING_H

#include <Python.h>

#include <stdbool.h>

typedef struct ext_ring {
    PyObject **items; /* `mask` + 1 of them, a power of two; NULL while nothing was put */
    size_t mask, head, count;
} ext_ring;

#define EXT_RING_SMALLEST 16

/* Append, taking the reference; -1 where memory is out (no exception is set, the reference stays the caller's). Runs no
 * Python code. */
int ext_ring_grow(ext_ring *ring);
void ext_ring_shrink(ext_ring *ring);

static inline int ext_ring_put(ext_ring *ring, PyObject *item)
{
    if ((ring->items == NULL || ring->count > ring->mask) && ext_ring_grow(ring) < 0) {
        return -1;
    }
    ring->items[(ring->head + ring->count++) & ring->mask] = item;
    return 0;
}

/* Take the oldest; there must be one. The reference becomes the caller's. */
static inline PyObject *ext_ring_get(ext_ring *ring)
{
    PyObject *item = ring->items[ring->head];
    ring->head = (ring->head + 1) & ring->mask;
    ring->count--;
    if (ring->mask >= 1024 && ring->count < ring->mask / 8) {
        ext_ring_shrink(ring);
    }
    return item;
}

/* The memory behind it. */
static inline size_t ext_ring_bytes(const ext_ring *ring)
{
    return ring->items == NULL ? 0 : (ring->mask + 1) * sizeof *ring->items;
}

static inline PyObject *ext_ring_at(const ext_ring *ring, size_t i)
{
    return ring->items[(ring->head + i) & ring->mask];
}

/* Drop every item and the memory. Runs Python code, after the ring is empty. */
void ext_ring_clear(ext_ring *ring);

#endif
