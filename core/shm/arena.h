/* core/shm/arena.h - the arena as it lies in shared memory, and this process's view of it.
 *
 *   header | places | block table | parcel table | page map | heap ...
 *
 * All is computed from the segment's size and the page size, so an attached arena's header is compared, not
 * believed.
 *
 * Everything shared changes under `lock`, except where said. What is *true* is little: the words of blocks
 * and parcels, the extents, the holder bits, the places. Each changes by one store at a time, in an order
 * that is right at every step. What is only *derived* (free lists, bins, counts) is thrown away and built
 * again after a death inside the lock (mh__space_rebuild), so it is written carelessly. */
#ifndef MH_SHM_ARENA_H
#define MH_SHM_ARENA_H

#include "core/debug/trace.h"
#include "core/os/os.h"
#include "core/shm/guard.h"
#include "manyhands/arena.h"
#include "manyhands/lock.h"

#define MH__ARENA_BINS 96
#define MH__ARENA_WORDS (MH_ARENA_PLACES / 64)
#define MH__ARENA_NONE UINT32_MAX
#define MH__ARENA_GRACE (INT64_C(10) * 1000 * 1000 * 1000) /* ns that a dead process's reservation stands */

enum { MH__PLACE_FREE, MH__PLACE_RESERVED, MH__PLACE_TAKEN };

/* A participant. `state` is stored last; FREE -> RESERVED (reserver, since) -> TAKEN (who) -> FREE, FREE ->
 * TAKEN. */
typedef struct mh__place {
    _Atomic(uint32_t) state;
    struct mh__inside inside;   /* changed by the process itself, without the lock */
    _Atomic(uint64_t) who;      /* mh_os_self() of the process that is here */
    _Atomic(uint64_t) reserver; /* the same of the process that reserved it */
    int64_t since;              /* mh_os_now() of the reservation */
    uint64_t spare[2];
} mh__place;

/* A block. word: bits 0-1 state, bits 2-31 zero, bits 32-63 generation, one more for each allocation; a
 * handle is (generation, index + 1), so that a stale one is told from a living one.
 *   VOID   no memory. Its other fields mean nothing.
 *   FREE   has an extent; holders mean nothing (an allocation that died may have left its bit).
 *   USED   has an extent, and holders or parcels; one that has neither was being freed by a process that
 * died. VOID -> USED (fresh memory), VOID -> FREE (rest of a split, a gap), FREE -> USED, USED -> FREE, FREE
 * -> VOID (merged). */
enum { MH__BLOCK_VOID, MH__BLOCK_FREE, MH__BLOCK_USED };
#define MH__BLOCK_STATE 3u

typedef struct mh__block {
    _Atomic(uint64_t) word;
    _Atomic(uint64_t) extent; /* low 32 bits: first page, high: pages */
    uint64_t mapped;          /* the extent that the page map shows for it; 0: none */
    uint32_t next;            /* derived: list of void entries, or of its bin */
    uint32_t messages;        /* derived: parcels on it */
    uint32_t flags;
    uint32_t spare[7];
    _Atomic(uint64_t) holder[MH__ARENA_WORDS];
} mh__block;
#define MH__BLOCK_WARM 1u /* free, and its pages are probably there */
#define MH__BLOCK_BOX 2u  /* some parcel names it as its mailbox */

/* A parcel. word: bits 0-1 state, bits 8-31 the sender's place while POSTED, bits 32-63 generation.
 * FREE -> POSTED -> SENT -> FREE, POSTED -> FREE. POSTED -> SENT is the sender's cas, without the lock. */
enum { MH__PARCEL_FREE, MH__PARCEL_POSTED, MH__PARCEL_SENT };

typedef struct mh__parcel {
    _Atomic(uint64_t) word;
    uint64_t block;
    uint64_t mailbox;
    uint32_t next; /* derived: list of free parcels */
    uint32_t spare;
} mh__parcel;

typedef struct mh__arena_header {
    mh_lock lock;
    uint64_t page, heap_pages;
    uint32_t block_max;
    _Atomic(uint32_t) swept; /* second of the last look for the dead; wraps */
    _Atomic(uint64_t) limit; /* bytes, as set; 0: automatic */
    uint64_t automatic;      /* pages, as last found out */
    /* high-water marks: raised before what lies below them is committed */
    uint32_t block_top, parcel_top;
    /* derived */
    uint32_t heap_top; /* pages; the heap is untouched from here on */
    uint32_t used_blocks;
    uint64_t used_pages, idle_pages; /* idle: free and warm */
    uint32_t void_list, parcel_list;
    uint32_t orphans;                /* a mailbox was freed: look through the parcels */
    uint32_t bin[2][MH__ARENA_BINS]; /* lists of free blocks by size: cold, warm */
} mh__arena_header;

_Static_assert(sizeof(mh__place) == 64, "layout of a place");
_Static_assert(sizeof(mh__block) == 64 + MH_ARENA_PLACES / 8, "layout of a block");
_Static_assert(sizeof(mh__parcel) == 32, "layout of a parcel");

#define MH__ARENA_BEACONS 32
struct mh__beacon { /* a child that was forked without a reservation: see arena_fork.c */
    int fd;
    uint32_t place;
};

struct mh_arena {
    mh_segment *segment;
    mh__arena_header *header;
    mh__place *places;
    mh__block *blocks;
    mh__parcel *parcels;
    uint32_t *map;
    char *heap;
    uint64_t heap_pages;
    size_t page;
    uint32_t block_max;
    _Atomic(uint32_t) place;
    /* Taken before the shared lock by whatever changes what this process holds, and across a fork: so that a
     * child's holds are exactly what was written down for it. */
    mh_lock crossing;
    _Atomic(uint32_t)
        *local;          /* per block: this process's holds. 0 <-> 1 under both locks, the rest without */
    uint32_t held;       /* blocks whose count is not 0 */
    uint32_t fork_place; /* between the two halves of a fork: reserved for the child */
    int fork_beacon[2];
    struct mh__beacon beacon[MH__ARENA_BEACONS];
    uint32_t beacons;
};

/* arena.c */
int mh__arena_make(size_t size, size_t least,
                   mh_arena **arena);        /* one of such a size, as mh_segment_reserve() */
void mh__arena_forget(mh_arena *arena);      /* unmap it; it is not this process's arena */
void mh__arena_lock(mh_arena *arena);        /* both locks; repairs after a death */
void mh__arena_unlock(mh_arena *arena);      /* releases orphaned parcels first */
void mh__arena_lock_shared(mh_arena *arena); /* with `crossing` held */
void mh__arena_unlock_shared(mh_arena *arena);

/* arena_valid.c; with both locks held: do extents and lists stay within their bounds? The tops have been looked at. */
int mh__arena_valid(const mh_arena *arena);

/* arena_places.c; all with both locks held */
int mh__place_need(mh_arena *arena); /* this process gets a place, if it has none. 0, -EAGAIN */
int mh__place_reserve(mh_arena *arena, uint32_t *place);
void mh__place_forget(mh_arena *arena); /* other places where this very process was before exec() */
void mh__place_move(mh_arena *arena, uint32_t place); /* this process is at `place` from now on */
uint32_t mh__place_sweep(mh_arena *arena);
int mh__place_free(mh_arena *arena, uint32_t place); /* drop all that is held there; returns blocks freed */

/* As mh_arena_settle(), of a child whose start time is known, and mh_arena_unreserve(), of one that is known to have ended:
 * /proc, which takes some ten microseconds an answer, need not be asked. Take both locks. */
int mh__arena_settle_child(mh_arena *arena, uint32_t place, int pid, uint64_t start);
void mh__arena_unreserve_gone(mh_arena *arena, uint32_t place, int pid, uint64_t start);

/* arena_fork.c */
int mh__arena_watch_forks(void); /* with mh__arena_guard held */
uint32_t mh__beacon_sweep(mh_arena *arena,
                          uint64_t dead[MH__ARENA_WORDS]); /* children that never came to be */
extern mh_lock mh__arena_guard;                            /* of mh__arena_mine's making */
extern _Atomic(mh_arena *) mh__arena_mine;

/* blocks_space.c; all with both locks held */
uint32_t mh__space_take(mh_arena *arena,
                        uint64_t wanted); /* index of a block that is not USED; MH__ARENA_NONE */
uint64_t mh__space_commit(mh_arena *arena,
                          uint32_t index); /* ... is USED from now on; its holder is set. The handle */
int mh__space_is_idle(mh_arena *arena);    /* more is idle than should be: see relieve */
void mh__space_put(mh_arena *arena, uint32_t index); /* a USED block is free from now on */
void mh__space_rebuild(mh_arena *arena);
uint32_t mh__space_bin(uint64_t pages);  /* of a free block of so many pages, at least 1 */
void mh__space_relieve(mh_arena *arena); /* give pages back where many are idle; only `crossing` held */

/* blocks.c */
mh__block *mh__block_find(const mh_arena *arena, mh_block block); /* NULL: not USED, or not that generation */
int mh__block_is_unheld(const mh__block *entry);
void mh__block_claim(mh_arena *arena, uint32_t index); /* one hold more; both locks held, and a place */

/* blocks_parcel.c; both locks held */
uint32_t mh__parcel_release_of(mh_arena *arena, const uint64_t dead[MH__ARENA_WORDS]);
void mh__parcel_release_orphans(mh_arena *arena);
void mh__parcel_recount(mh_arena *arena); /* `messages` of all blocks, and the list of free ones */

static inline uint32_t mh__extent_first(uint64_t extent)
{
    return (uint32_t) extent;
}
static inline uint32_t mh__extent_pages(uint64_t extent)
{
    return (uint32_t) (extent >> 32);
}
static inline uint64_t mh__extent(uint32_t first, uint32_t pages)
{
    return (uint64_t) pages << 32 | first;
}

#endif
