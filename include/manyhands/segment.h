/* manyhands/segment.h - shared memory. Anonymous segments (a sealed memfd, mode 0600, never left behind) travel by
 * descriptor; named ones live in /dev/shm until they are unlinked. A header (magic, layout version, pointer size,
 * total size) is checked by whoever maps one. */
#ifndef MANYHANDS_SEGMENT_H
#define MANYHANDS_SEGMENT_H

#include "base.h"
#include "error.h"

MH_BEGIN_DECLS

typedef struct mh_segment mh_segment; /* one mapping in this process */

/* `size`: bytes for the user (the header comes on top). `kind`: the user's own tag, checked on attach; 0: none. */
MH_API int mh_segment_create(size_t size, uint32_t kind, mh_segment **segment);
/* Address space for `size` bytes whose pages cost memory only once touched; halves `size` until the system agrees,
 * never below `least`. */
MH_API int mh_segment_reserve(size_t size, size_t least, uint32_t kind, mh_segment **segment);
MH_API int mh_segment_create_named(const char *name, size_t size, uint32_t kind, mh_segment **segment); /* -EEXIST */
MH_API int mh_segment_open(const char *name, uint32_t kind, mh_segment **segment); /* -ENOENT, MH_E_LAYOUT, MH_E_CORRUPT */
/* Map a segment received as a descriptor, which is duplicated. */
MH_API int mh_segment_attach(int fd, uint32_t kind, mh_segment **segment);
MH_API void mh_segment_close(mh_segment *segment); /* unmap; the memory lives while anyone else has it */
MH_API int mh_segment_unlink(const char *name);
MH_API void *mh_segment_base(mh_segment *segment); /* page-aligned first user byte */
MH_API size_t mh_segment_size(const mh_segment *segment);
MH_API int mh_segment_fd(const mh_segment *segment);
/* Give the pages of a range back to the system; it reads as zeros afterwards. */
MH_API int mh_segment_discard(mh_segment *segment, size_t offset, size_t size);

MH_END_DECLS
#endif
