/* manyhands/segment.h - shared memory. Anonymous segments (a sealed memfd, mode 0600, never left behind)
 * travel by descriptor; named ones live in /dev/shm until they are unlinked. A header (magic, layout version,
 * pointer size, total size) is checked by whoever maps one.
 *
 *   mh_segment *seg;
 *   int rc = mh_segment_create(sizeof(struct board), 0, &seg);
 *   struct board *board = mh_segment_base(seg);        // all zero
 *   ... fork, or send mh_segment_fd(seg) to another process, which calls mh_segment_attach ...
 *   mh_segment_close(seg);
 */
#ifndef MANYHANDS_SEGMENT_H
#define MANYHANDS_SEGMENT_H

#include "base.h"
#include "error.h"

MH_BEGIN_DECLS

typedef struct mh_segment mh_segment; /* one mapping in this process */

/* What the header of a segment says of itself; read without mapping it, also where its layout is not ours. */
typedef struct mh_segment_info {
    uint32_t layout;       /* MH_LAYOUT of the library that made it */
    uint32_t pointer_size; /* bytes of a pointer there */
    uint32_t foreign;      /* 1: made on a machine of the other byte order (all other fields are converted) */
    uint32_t kind;         /* the maker's tag */
    uint64_t total;        /* bytes with the header */
    uint64_t id;           /* unlike that of any other segment, the same in every process */
    char library[16];      /* version of the library that made it, such as "0.1.0" */
} mh_segment_info;

/* Make an anonymous segment with room for `size` bytes, all zero, and a header on top. `kind` is the user's
 * own tag, checked on attach; 0: none. Pages cost memory once they are touched.
 * 0; -EINVAL (size 0, or past what an address can reach); -ENOMEM, -EMFILE, -ENFILE; -EFBIG past RLIMIT_FSIZE
 * (no signal is sent).
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: yes | death:
 * freed by the system with its last user */
MH_API int mh_segment_create(size_t size, uint32_t kind, mh_segment **segment);

/* The same for address space that may never be used: `size` is halved until the system agrees (RLIMIT_AS,
 * RLIMIT_FSIZE), never below `least`. mh_segment_size says what it became. Errors as for create, those of the
 * last attempt.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: yes | death: as
 * for create */
MH_API int mh_segment_reserve(size_t size, size_t least, uint32_t kind, mh_segment **segment);

/* Make a segment that others find by name: 1 to 250 bytes, printable ASCII without '/', not beginning with
 * '.'. Mode 0600. It stays until mh_segment_unlink. All of it is taken from /dev/shm at once. -EEXIST; -EINVAL
 * (name); -ENOSPC; -EOPNOTSUPP (its file system cannot promise memory); else as for create.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits | cancellation: no | allocs: yes | death: the
 * name and the bytes stay until someone unlinks it */
MH_API int mh_segment_create_named(const char *name, size_t size, uint32_t kind, mh_segment **segment);

/* Map a named segment. -ENOENT; -EAGAIN (its maker is still at it, or was killed at it); -EACCES (or another
 * user's, who could cut it short at any time); -ENOSPC (it has holes, and /dev/shm is full); -EINVAL (name); MH_E_LAYOUT (made by another layout, pointer size or byte order: mh_segment_inspect_named says
 * which); MH_E_CORRUPT (not a segment, or its size or kind is not what it should be); -ENOMEM. Nothing in it
 * is trusted before its header agrees with the size that the system reports.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits | cancellation: no | allocs: yes | death:
 * nothing changes */
MH_API int mh_segment_open(const char *name, uint32_t kind, mh_segment **segment);

/* Map a segment received as a descriptor, which is duplicated. -EBADF; else as for open.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits | cancellation: no | allocs: yes | death:
 * nothing changes */
MH_API int mh_segment_attach(int fd, uint32_t kind, mh_segment **segment);

/* Read a segment's header, of whatever layout. 0; MH_E_CORRUPT (not a segment); -EBADF / -ENOENT, -EINVAL,
 * -EACCES.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API int mh_segment_inspect(int fd, mh_segment_info *info);
MH_API int mh_segment_inspect_named(const char *name, mh_segment_info *info);

/* Why a segment with that header cannot be mapped by this program, in words that name both versions: "made by
 * manyhands 0.2.0 (layout 2, ...), this is manyhands 0.1.0 (layout 1, ...)", cut off at `room` bytes. MH_E_LAYOUT;
 * 0 where it can: `text` is empty then.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API int mh_segment_mismatch(const mh_segment_info *info, char *text, size_t room);

/* Unmap, close the descriptor. The memory lives while anyone else has it. NULL: nothing happens.
 * Safety: MT-owner PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API void mh_segment_close(mh_segment *segment);

/* Take a name away; those who have it mapped keep it. 0, -ENOENT, -EINVAL, -EACCES.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API int mh_segment_unlink(const char *name);

/* First user byte (page-aligned), number of user bytes, the descriptor (it stays the segment's), and the
 * identity.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API void *mh_segment_base(mh_segment *segment);
MH_API size_t mh_segment_size(const mh_segment *segment);
MH_API int mh_segment_fd(const mh_segment *segment);
MH_API uint64_t mh_segment_id(const mh_segment *segment);

/* Give the whole pages of a range of user bytes back to the system; they read as zeros afterwards. What lies
 * on a page that reaches beyond the range stays. 0; -EINVAL (outside); -EOPNOTSUPP (this memory cannot give
 * pages back).
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: some
 * pages of the range are given back, some not */
MH_API int mh_segment_discard(mh_segment *segment, size_t offset, size_t size);

MH_END_DECLS
#endif
