/* manyhands/arena.h - the process tree's shared blocks: who takes part, and who holds what.
 *
 * One arena per tree of processes, made by the root and handed to every child. It has a table of participants
 * (a place each: process id, start time, in-section count) and pooled blocks of memory with a holder bit per
 * place. A block is free once nobody holds it and no message carries it; what the dead held is swept.
 *
 *   sender                                            receiver
 *   mh_block_alloc(arena, size, &block);
 *   memcpy(mh_block_at(arena, block), data, size);
 *   mh_block_in_message(arena, block, 0, &parcel);
 *   mh_channel_put(ch, &(mh_part){ &parcel, 8 }, ...); mh_channel_get(ch, &m, ...);
 *   mh_block_sent(arena, parcel);                      mh_block_out_of_message(arena, parcel, &block);
 *   mh_block_drop(arena, block);                       ... use it ...; mh_block_drop(arena, block);
 *
 * Who dies where, and what it means for the others: docs/design/0001-handles-and-blocks.md.
 */
#ifndef MANYHANDS_ARENA_H
#define MANYHANDS_ARENA_H

#include "segment.h"

MH_BEGIN_DECLS

#define MH_ARENA_PLACES 1024
#define MH_NO_PLACE UINT32_MAX

typedef struct mh_arena mh_arena;
typedef uint64_t mh_block; /* handle of a block: the same in every process of the tree; 0: none */
typedef uint64_t
    mh_parcel; /* a block's ticket in a message: the same in every process of the tree; 0: none */

/* The arena of this process: made on first use in the root, inherited in a forked child, joined in one made
 * by exec. Never closed. 0; -ENOMEM, -EMFILE, -ENFILE, -EFBIG.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | waits for other threads in it | cancellation: no | allocs:
 * yes | death: freed by the system with its last participant */
MH_API int mh_arena_get(mh_arena **arena);

/* The same, but made for nobody: NULL where this process has none yet.
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API mh_arena *mh_arena_peek(void);

/* Child made by exec: join the parent's arena, at the place that the parent reserved for it. A process that
 * is in that arena already (a forkserver's child) moves to `place`. 0; MH_E_STATE (this process has an arena
 * of its own); MH_E_LOST (the place was given to someone else meanwhile; MH_NO_PLACE: take any); MH_E_CORRUPT (no
 * arena, or its tables lead outside of it); -EINVAL, -ENOMEM, and errors of mh_segment_attach.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: no | allocs: yes | death: the place
 * is swept */
MH_API int mh_arena_join(int fd, uint32_t place, mh_arena **arena);

/* The descriptor to hand to children (it stays the arena's), and the arena's identity: handles mean something
 * only between processes whose arenas have the same one.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API int mh_arena_fd(const mh_arena *arena);
MH_API uint64_t mh_arena_id(const mh_arena *arena);

/* Parent: keep a place for a child that is about to start. Blocks passed to the child meanwhile can be held
 * for it. 0; -EAGAIN where all are taken by the living.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: no | allocs: none | death: swept ten
 * seconds after the reservation, if nobody settled there */
MH_API int mh_arena_reserve(mh_arena *arena, uint32_t *place);

/* The child did not start, or has ended and was waited for: drop what is held at `place` and give the place
 * back. Nothing happens where a living process is settled there, or someone else's reservation is.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: no | allocs: none | death: swept
 * later */
MH_API void mh_arena_unreserve(mh_arena *arena, uint32_t place);

/* Parent, after the start: the process at `place` is the child `pid`. Or with the caller's own `pid`, in the
 * forked child: this process is at `place`, and what it holds moves with it. Both, in any order. 0;
 * MH_E_STATE (the place is not reserved by the caller, nor that process's); MH_E_LOST (own place, and it was
 * given to someone else); -EINVAL.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: no | allocs: none | death: the place
 * is swept */
MH_API int mh_arena_settle(mh_arena *arena, uint32_t place, int pid);

/* This process's place; MH_NO_PLACE where it has none yet (a forked child takes one when it first needs it).
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API uint32_t mh_arena_place(const mh_arena *arena);

/* How many shared sections the threads of the process at `place` are inside of; for pausing. -EINVAL, -ESRCH
 * (nobody settled).
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: may
 * stay above 0 until the place is swept */
MH_API int mh_arena_in_section(const mh_arena *arena, uint32_t place);

/* A block of at least `size` bytes, held by the caller, contents undefined. 0; -EINVAL (size 0); -ENOMEM past
 * the byte limit or where the address space is used up; -EAGAIN (this process could get no place: copy
 * instead).
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: no | allocs: none, but after a death
 * | death: the block is there, and swept, or never was */
MH_API int mh_block_alloc(mh_arena *arena, size_t size, mh_block *block);

/* Where a block lies in this process, page-aligned, and how many bytes it has (at least what was asked for).
 * NULL and 0 for a handle of no living block. The address stays valid while this process holds the block.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API void *mh_block_at(mh_arena *arena, mh_block block);
MH_API size_t mh_block_size(mh_arena *arena, mh_block block);

/* A hint, for who copies out of a block: the `size` bytes at `memory` are fresh memory of this process alone, about to
 * be written from end to end. From 4 MB on the system is asked for large pages there, where it has them to give
 * (transparent_hugepage is `always` or `madvise`): its 25,000 page faults for the first 100 MB take longer than the copy.
 * From 256 KB on it is asked for all pages at once, if they are not there yet, instead of by one fault each (Linux 5.14).
 * Nothing happens where it cannot do it, or below that; no content changes.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: nothing
 * changes */
MH_API void mh_memory_fresh(void *memory, size_t size);

/* memcpy() for what is large: from 8 MB on up to three more threads help, as many as there are cores to run on, which takes
 * half of the time and less. They live for the call alone, take no signals, and are not needed: where none can be started
 * the caller copies by itself. `to` and `from` do not overlap.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for helpers that copy | cancellation: no | allocs: threads | death:
 * nothing shared */
MH_API void mh_memory_copy(void *to, const void *from, size_t size);

/* Where `address` lies in a block of this arena: its handle and the offset in it; else -ENOENT. Meaningful
 * for blocks that the caller holds.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API int mh_block_of(mh_arena *arena, const void *address, mh_block *block, size_t *offset);

/* One more hold of a block which something that the caller controls keeps alive (its own hold; a hold_for of
 * its place). Counted per process: each needs its drop. 0; MH_E_LOST (no such block any more); -EAGAIN (no
 * place).
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits (first hold only) | cancellation: no | allocs: none |
 * death: swept */
MH_API int mh_block_hold(mh_arena *arena, mh_block block);

/* Set the bit of a reserved place: a block handed to a child at its start. The child's own hold and drop take
 * it from there; what it never holds goes with mh_arena_reconcile. 0; MH_E_LOST; -EINVAL; MH_E_STATE (nobody
 * is, or will be, at `place`).
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: no | allocs: none | death: swept */
MH_API int mh_block_hold_for(mh_arena *arena, mh_block block, uint32_t place);

/* One hold less. With the last one of the last process the block is free. Panics where this process does not
 * hold it.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits (last hold only) | cancellation: no | allocs: none |
 * death: swept */
MH_API void mh_block_drop(mh_arena *arena, mh_block block);

/* A message that is about to be committed keeps a block alive: a new parcel, to be put into the message.
 * `mailbox` (0: none): a block that everyone who can still take the message holds; once nobody holds it, the
 * messages cannot be taken any more, and their parcels are released. 0; MH_E_LOST (no such block, or
 * mailbox); MH_E_TOO_MANY (messages at once); -EAGAIN.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: no | allocs: none | death: before
 * mh_block_sent: whoever takes the message is told MH_E_LOST */
MH_API int mh_block_in_message(mh_arena *arena, mh_block block, mh_block mailbox, mh_parcel *parcel);

/* The message is committed: its parcel no longer depends on the life of this process. Safe where it was taken
 * already.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: see
 * in_message */
MH_API void mh_block_sent(mh_arena *arena, mh_parcel parcel);

/* Take the block out of the message: the parcel ends, and the caller holds the block, in one step. Also for
 * the sender whose put failed. 0; MH_E_LOST (its sender died inside put, or its receiver inside get): the
 * message is void; -EAGAIN (no place: the parcel stays).
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: no | allocs: none | death: the parcel
 * stays, or the block is held by the dead and swept */
MH_API int mh_block_out_of_message(mh_arena *arena, mh_parcel parcel, mh_block *block);

/* Let go of what the bits say this process holds and its counts do not: what was held for it and never
 * claimed. For a child, once it has claimed (mh_block_hold) what it was handed. Returns how many blocks.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: no | allocs: none | death: done again
 * by the sweep */
MH_API uint32_t mh_arena_reconcile(mh_arena *arena);

/* Free what only the dead still hold, and their places; returns how many blocks. Done by the allocator when
 * it runs short, and for a place by the next who needs one, too.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: no | allocs: none | death: the next
 * sweep ends it */
MH_API uint32_t mh_arena_sweep(mh_arena *arena);

/* Bytes that blocks may take together. 0: automatic, three quarters of what the machine and the cgroup leave,
 * looked up again when it is reached. For the whole tree.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changes */
MH_API void mh_arena_set_limit(mh_arena *arena, uint64_t bytes);

/* Blocks in use and the bytes given to them.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: no | allocs: none | death: nothing
 * changes */
MH_API void mh_arena_usage(mh_arena *arena, uint32_t *blocks, uint64_t *bytes);

MH_END_DECLS
#endif
