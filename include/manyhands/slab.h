/* manyhands/slab.h - many small shared objects in one descriptor: 64-byte slots in a segment. A handle is
 * (slab, offset). */
#ifndef MANYHANDS_SLAB_H
#define MANYHANDS_SLAB_H

#include "segment.h"

MH_BEGIN_DECLS

typedef struct mh_slab mh_slab;

/* A slab of this process with room for `size` bytes of objects (address space; pages cost only once touched). */
MH_API int mh_slab_create(size_t size, mh_slab **slab);
MH_API int mh_slab_attach(int fd, mh_slab **slab);
MH_API void mh_slab_close(mh_slab *slab);
/* A run of slots for `size` bytes, all zero. -ENOMEM where the slab is full. Only the creating process allocates. */
MH_API int mh_slab_alloc(mh_slab *slab, size_t size, size_t *offset);
/* Give a run back. It is used again only if `travelled` is 0 (its handle never left the process) and no fork happened since. */
MH_API void mh_slab_free(mh_slab *slab, size_t offset, size_t size, int travelled);
MH_API void *mh_slab_at(mh_slab *slab, size_t offset, size_t size); /* NULL where that lies outside */
MH_API int mh_slab_fd(const mh_slab *slab);
MH_API uint64_t mh_slab_id(const mh_slab *slab); /* the same in every process that maps it */

MH_END_DECLS
#endif
