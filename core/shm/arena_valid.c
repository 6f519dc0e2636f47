/* core/shm/arena_valid.c - whether an arena's tables can be used at all: looked at once, by whoever joins it.
 *
 * Who takes part may write to the arena and is trusted; but a file that was never an arena, or one that was torn, must not
 * lead outside of the mapping. So: every extent lies in the heap, every list leads to entries that belong in it, and ends. What
 * would be untrue but harmless (blocks that overlap, counts) is not looked for. */
#include "core/shm/arena.h"

static uint32_t state_of(const mh__block *entry)
{
    return (uint32_t) mh_load_rlx(&entry->word) & MH__BLOCK_STATE;
}

static int extents_are_inside(const mh_arena *arena)
{
    for (uint32_t i = 0; i < arena->header->block_top; i++) {
        const mh__block *entry = &arena->blocks[i];
        uint64_t extent = mh_load_rlx(&entry->extent), pages = mh__extent_pages(extent);
        if (state_of(entry) != MH__BLOCK_VOID &&
            (pages == 0 || mh__extent_first(extent) + pages > arena->header->heap_top)) {
            return 0;
        }
    }
    return arena->header->heap_top <= arena->heap_pages;
}

/* Is that an entry which a list of free blocks of that size may hold (`bin` MH__ARENA_BINS: a list of void ones)? */
static int belongs(const mh_arena *arena, uint32_t index, uint32_t warm, uint32_t bin)
{
    if (index >= arena->header->block_top) {
        return 0;
    }
    const mh__block *entry = &arena->blocks[index];
    if (bin == MH__ARENA_BINS) {
        return state_of(entry) == MH__BLOCK_VOID;
    }
    return state_of(entry) == MH__BLOCK_FREE && (entry->flags & MH__BLOCK_WARM) == warm &&
           mh__space_bin(mh__extent_pages(mh_load_rlx(&entry->extent))) == bin;
}

/* All lists together have no more entries than there are, so none runs in a circle; and no entry belongs in two. */
static int list_ends(const mh_arena *arena, uint32_t index, uint32_t warm, uint32_t bin, uint32_t *seen)
{
    for (; index != MH__ARENA_NONE; index = arena->blocks[index].next) {
        if (!belongs(arena, index, warm, bin) || ++*seen > arena->header->block_top) {
            return 0;
        }
    }
    return 1;
}

static int lists_end(const mh_arena *arena)
{
    const mh__arena_header *header = arena->header;
    uint32_t seen = 0;
    for (uint32_t bin = 0; bin < MH__ARENA_BINS; bin++) {
        if (!list_ends(arena, header->bin[0][bin], 0, bin, &seen) ||
            !list_ends(arena, header->bin[1][bin], 1, bin, &seen)) {
            return 0;
        }
    }
    return list_ends(arena, header->void_list, 0, MH__ARENA_BINS, &seen);
}

static int parcels_end(const mh_arena *arena)
{
    uint32_t seen = 0, top = arena->header->parcel_top;
    for (uint32_t i = arena->header->parcel_list; i != MH__ARENA_NONE; i = arena->parcels[i].next) {
        if (i >= top || (mh_load_rlx(&arena->parcels[i].word) & 3) != MH__PARCEL_FREE || ++seen > top) {
            return 0;
        }
    }
    return 1;
}

int mh__arena_valid(const mh_arena *arena)
{
    return extents_are_inside(arena) && lists_end(arena) && parcels_end(arena);
}
