/* manyhands/arena.h - the process tree's shared blocks: who takes part, and who holds what.
 *
 * One arena per tree of processes, made by the root and handed to every child. It has a table of participants (a
 * place each: process id, start time, in-section count) and pooled blocks of memory with a holder bit per place. A
 * block is free once nobody holds it; the bits of dead participants are swept.
 */
#ifndef MANYHANDS_ARENA_H
#define MANYHANDS_ARENA_H

#include "segment.h"

MH_BEGIN_DECLS

#define MH_ARENA_PLACES 1024

typedef struct mh_arena mh_arena;
typedef uint64_t mh_block; /* handle of a block: the same in every process of the tree; 0: none */

/* The arena of this process: made on first use in the root, inherited or joined in a child. */
MH_API int mh_arena_get(mh_arena **arena);
/* Child made by exec: join the parent's arena, at the place that the parent reserved for it. */
MH_API int mh_arena_join(int fd, uint32_t place, mh_arena **arena);
MH_API int mh_arena_fd(const mh_arena *arena);
/* Parent: keep a place for a child that is about to start (before fork or spawn); -EAGAIN where all are taken.
 * Blocks passed to the child meanwhile can be held for it. */
MH_API int mh_arena_reserve(mh_arena *arena, uint32_t *place);
MH_API void mh_arena_unreserve(mh_arena *arena, uint32_t place);
/* The reserved place's process is now `pid` (parent, after the start); or, in the forked child: this process is at `place`. */
MH_API int mh_arena_settle(mh_arena *arena, uint32_t place, int pid);
MH_API uint32_t mh_arena_place(const mh_arena *arena);
/* How many shared sections the process at `place` is inside of; for pausing. */
MH_API int mh_arena_in_section(const mh_arena *arena, uint32_t place);

/* A block of at least `size` bytes, held by the caller, contents undefined. -ENOMEM past the byte limit. */
MH_API int mh_block_alloc(mh_arena *arena, size_t size, mh_block *block);
MH_API void *mh_block_at(mh_arena *arena, mh_block block); /* 64-byte aligned; NULL for a bad handle */
MH_API size_t mh_block_size(mh_arena *arena, mh_block block);
/* Where `address` lies in a block of this arena: its handle and the offset in it; else -ENOENT. */
MH_API int mh_block_of(mh_arena *arena, const void *address, mh_block *block, size_t *offset);
/* Holds are counted per process. hold_for sets the bit of another place (hand-over: before the commit). */
MH_API int mh_block_hold(mh_arena *arena, mh_block block);
MH_API void mh_block_drop(mh_arena *arena, mh_block block);
MH_API int mh_block_in_message(mh_arena *arena, mh_block block);  /* a committed message keeps it alive ... */
MH_API void mh_block_out_of_message(mh_arena *arena, mh_block block); /* ... until it is taken */
/* Free what only the dead still hold; returns how many blocks. Done by the allocator when it runs short, too. */
MH_API uint32_t mh_arena_sweep(mh_arena *arena);
/* Blocks in use and bytes of address space given to them. */
MH_API void mh_arena_usage(mh_arena *arena, uint32_t *blocks, uint64_t *bytes);

MH_END_DECLS
#endif
