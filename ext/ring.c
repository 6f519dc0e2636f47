/* See ring.h. */
#include "ring.h"

static int resize(ext_ring *ring, size_t room)
{
    PyObject **items = PyMem_RawMalloc(room * sizeof *items);
    if (items == NULL) {
        return -1;
    }
    for (size_t i = 0; i < ring->count; i++) {
        items[i] = ext_ring_at(ring, i);
    }
    PyMem_RawFree(ring->items);
    *ring = (ext_ring){.items = items, .mask = room - 1, .count = ring->count};
    return 0;
}

int ext_ring_grow(ext_ring *ring)
{
    size_t room = ring->items == NULL ? EXT_RING_SMALLEST : (ring->mask + 1) * 2;
    return room > (size_t) PY_SSIZE_T_MAX / sizeof(PyObject *) ? -1 : resize(ring, room);
}

/* Half of it stays, so that a queue whose length swings does not copy at every turn. Failing does no harm. */
void ext_ring_shrink(ext_ring *ring)
{
    (void) resize(ring, (ring->mask + 1) / 4);
}

void ext_ring_clear(ext_ring *ring)
{
    ext_ring old = *ring;
    *ring = (ext_ring){0};
    for (size_t i = 0; i < old.count; i++) {
        Py_DECREF(ext_ring_at(&old, i));
    }
    PyMem_RawFree(old.items);
}
