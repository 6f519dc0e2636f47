/* core/shm/segment.h - the header of every segment, as it lies in shared memory. */
#ifndef MH_SHM_SEGMENT_H
#define MH_SHM_SEGMENT_H

#include "core/os/atomic.h"
#include "manyhands/segment.h"

/* The kinds of segments that manyhands makes for itself; a user's own tags should not begin with these
 * letters. */
#define MH__KIND_SLAB 0x6d687331u    /* "mhs1" */
#define MH__KIND_ARENA 0x6d686131u   /* "mha1" */
#define MH__KIND_CHANNEL 0x6d686331u /* "mhc1" */

#define MH__SEGMENT_MAGIC UINT64_C(0x73646e61682d796d) /* "my-hands" on a little-endian machine */
#define MH__SEGMENT_ORDER 0x01020304u

/* `magic`, `order` and `layout` keep their places in every layout to come. `magic` is stored last. */
typedef struct mh__segment_header {
    _Atomic(uint64_t) magic;
    uint32_t order;
    uint32_t layout;
    uint32_t pointer_size;
    uint32_t kind;
    uint64_t total; /* bytes of the file */
    uint64_t user;  /* where the user's bytes begin; a multiple of the maker's page */
    uint64_t id;
    char library[16];
} mh__segment_header;

_Static_assert(sizeof(mh__segment_header) == 64, "layout of the segment header");

/* An identity for a thing in shared memory: unlike any other of this machine's running time, never 0. */
uint64_t mh__shm_new_id(void);

#endif
