/* manyhands/slab.h - many small shared objects in one descriptor: 64-byte slots in a segment. A handle is
 * (slab, offset).
 *
 * Which slots are free is known only to the process that made the slab; the others map it and use what they
 * are told of. A freed run is zeroed and used again only where no one else can know it: its handle never left
 * the process, and no fork happened since it was allocated. The rest is given back with the slab.
 *
 *   mh_slab *slab;
 *   size_t at;
 *   mh_slab_create(1 << 20, &slab);
 *   mh_slab_alloc(slab, sizeof(mh_lock), &at);                  // all zero: an unlocked lock
 *   mh_lock *lock = mh_slab_at(slab, at, sizeof(mh_lock));      // tell others mh_slab_fd(slab) and `at`
 *   mh_slab_free(slab, at, sizeof(mh_lock), 1);                 // 1: somebody else was told
 *   mh_slab_close(slab);
 */
#ifndef MANYHANDS_SLAB_H
#define MANYHANDS_SLAB_H

#include "segment.h"

MH_BEGIN_DECLS

#define MH_SLOT 64 /* bytes; every run begins and ends at a multiple of it */

typedef struct mh_slab mh_slab;

/* A slab of this process with room for `size` bytes of objects (address space; pages cost only once touched).
 * 0; -EINVAL (size 0 or absurd); -ENOMEM, -EMFILE, -ENFILE, -EFBIG.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: yes | death:
 * freed by the system with its last user */
MH_API int mh_slab_create(size_t size, mh_slab **slab);

/* Map the slab of another process. The descriptor is duplicated. Errors as mh_segment_attach.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits | cancellation: no | allocs: yes | death:
 * nothing changes */
MH_API int mh_slab_attach(int fd, mh_slab **slab);

/* Unmap. Every object in it is out of reach for this process from here on. NULL: nothing happens.
 * Safety: MT-owner PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API void mh_slab_close(mh_slab *slab);

/* A run of slots for `size` bytes, all zero. 0; -EINVAL (size 0); -ENOMEM (no such run is free); MH_E_STATE
 * (not the process that created the slab: an attached one, or a forked child, which makes a slab of its own).
 * Safety: MT-safe PROC-local AS-unsafe FORK-child | waits for other threads in it | cancellation: no |
 * allocs: none | death: the slab of a dead process is never allocated from again */
MH_API int mh_slab_alloc(mh_slab *slab, size_t size, size_t *offset);

/* Give a run back, with the size it was allocated with. It is used again only if `travelled` is 0 (its handle
 * never left the process) and no fork happened since it was allocated. In a process that did not create the
 * slab: nothing happens. Panics where that run was not allocated.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits for other threads in it | cancellation: no | allocs:
 * none | death: nothing changes */
MH_API void mh_slab_free(mh_slab *slab, size_t offset, size_t size, int travelled);

/* Where a handle lies in this process; NULL where it is not a multiple of MH_SLOT or the bytes lie outside.
 * And: the slab's descriptor; its identity, the same in every process that maps it; how many runs this
 * process has allocated and not freed (0: it may be closed).
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API void *mh_slab_at(mh_slab *slab, size_t offset, size_t size);
MH_API int mh_slab_fd(const mh_slab *slab);
MH_API uint64_t mh_slab_id(const mh_slab *slab);
MH_API size_t mh_slab_live(const mh_slab *slab);

MH_END_DECLS
#endif
