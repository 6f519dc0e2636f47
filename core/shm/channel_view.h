/* core/shm/channel_view.h - what a process has of a channel. */
#ifndef MH_SHM_CHANNEL_VIEW_H
#define MH_SHM_CHANNEL_VIEW_H

#include <errno.h>

#include "core/shm/channel_ring.h"

struct mh_channel {
    struct mh__view view;
    int blocks;    /* a put that finds no bytes left waits; else it fails with -ENOMEM */
    size_t mapped; /* bytes of private memory, from view.ring on; 0: in view.segment */
};

/* A batch's buffer grows up to this for what is there; beyond it, for the first message only. */
#define MH__BATCH_ROOM (1u << 20)

/* Bytes of a message in a batch. */
static inline size_t mh__packed(uint32_t size)
{
    return 8 + (((size_t) size + 7) & ~(size_t) 7);
}

/* The sum of the parts: 0, or -EMSGSIZE where it is more than a record can say. */
static inline int mh__parts_size(const mh_part *parts, size_t count, uint32_t *size)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        if (parts[i].size > UINT32_MAX || (sum += parts[i].size) > UINT32_MAX - MH__UNIT) {
            return -EMSGSIZE;
        }
    }
    *size = (uint32_t) sum;
    return 0;
}

#endif
