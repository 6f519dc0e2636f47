/* core/shm/blocks_space.c - the arena's heap: which pages are whose.
 *
 * Requests are rounded up to size classes, four to each doubling. A freed block keeps its pages and goes to
 * the front of its class's list, so the next one of that size finds them warm; fresh pages cost four to five
 * times as much. Memory comes, in this order, from: the class, warm then cold; the untouched end of the heap;
 * a larger free block, split. Only when all fails are neighbours merged, for all of the heap at once - by the
 * same code that repairs it after a death.
 *
 * A split shrinks the block before it makes the rest a block of its own. A kill between the two leaves pages
 * that belong to nobody, which the rebuild finds as a gap. */
#include <stdlib.h>

#include "core/shm/arena.h"

#define IDLE_LEAST (UINT64_C(32) << 20) /* bytes of free warm memory that are always kept */

static uint32_t log2_of(uint64_t n)
{
    uint32_t log = 0;
    for (uint32_t step = 32; step > 0; step /= 2) {
        if (n >> step != 0) {
            n >>= step;
            log += step;
        }
    }
    return log;
}

/* The bin whose size is the largest that is not above `pages`: 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20 ...
 * */
uint32_t mh__space_bin(uint64_t pages)
{
    if (pages < 4) {
        return (uint32_t) pages;
    }
    uint32_t log = log2_of(pages);
    return 4 * (log - 1) + (uint32_t) (pages >> (log - 2) & 3);
}

/* The size of the smallest class that holds `pages`. */
static uint64_t class_of(uint64_t pages)
{
    if (pages <= 4) {
        return pages;
    }
    uint32_t shift = log2_of(pages - 1) - 2;
    return (((pages - 1) >> shift) + 1) << shift;
}

static void push(mh_arena *arena, uint32_t index)
{
    mh__arena_header *header = arena->header;
    mh__block *entry = &arena->blocks[index];
    uint32_t pages = mh__extent_pages(mh_load_rlx(&entry->extent));
    uint32_t warm = entry->flags & MH__BLOCK_WARM;
    uint32_t *list = &header->bin[warm][mh__space_bin(pages)];
    entry->next = *list;
    *list = index;
    if (warm) {
        header->idle_pages += pages;
    }
}

static uint32_t pop(mh_arena *arena, uint32_t warm, uint32_t bin)
{
    mh__arena_header *header = arena->header;
    uint32_t index = header->bin[warm][bin];
    if (index == MH__ARENA_NONE) {
        return index;
    }
    mh__block *entry = &arena->blocks[index];
    header->bin[warm][bin] = entry->next;
    if (warm) {
        header->idle_pages -= mh__extent_pages(mh_load_rlx(&entry->extent));
    }
    return index;
}

static void set_state(mh__block *entry, uint32_t state)
{
    uint64_t word = mh_load_rlx(&entry->word);
    mh_store_rel(&entry->word,
                 (word & ~(uint64_t) MH__BLOCK_STATE) | state); /* pairs with mh__block_find() */
}

/* An entry of the table without memory. */
static uint32_t new_entry(mh_arena *arena)
{
    mh__arena_header *header = arena->header;
    uint32_t index = header->void_list;
    if (index != MH__ARENA_NONE) {
        header->void_list = arena->blocks[index].next;
    } else {
        if (header->block_top >= arena->block_max) {
            return MH__ARENA_NONE;
        }
        index = header->block_top;
        header->block_top = index + 1;
    }
    arena->blocks[index].mapped = 0;
    arena->blocks[index].flags = 0;
    return index;
}

static uint32_t carve(mh_arena *arena, uint64_t pages)
{
    mh__arena_header *header = arena->header;
    if (pages > arena->heap_pages - header->heap_top) {
        return MH__ARENA_NONE;
    }
    uint32_t index = new_entry(arena);
    if (index == MH__ARENA_NONE) {
        return index;
    }
    mh_store_step(&arena->blocks[index].extent, mh__extent(header->heap_top, (uint32_t) pages));
    header->heap_top += (uint32_t) pages;
    MH__TRACE("space: carved");
    return index;
}

/* Shrink a free block that is in no list to `pages`, and make the rest a free block. */
static void split(mh_arena *arena, uint32_t index, uint64_t pages)
{
    mh__block *entry = &arena->blocks[index];
    uint64_t extent = mh_load_rlx(&entry->extent);
    uint32_t rest = mh__extent_pages(extent) - (uint32_t) pages;
    uint32_t other = rest > 0 ? new_entry(arena) : MH__ARENA_NONE;
    if (other == MH__ARENA_NONE) {
        return;
    }
    mh_store_step(&entry->extent, mh__extent(mh__extent_first(extent), (uint32_t) pages));
    MH__TRACE("space: shrunk");
    mh__block *second = &arena->blocks[other];
    second->flags = entry->flags & MH__BLOCK_WARM;
    mh_store_step(&second->extent, mh__extent(mh__extent_first(extent) + (uint32_t) pages, rest));
    MH__TRACE("space: rest has its extent");
    set_state(second, MH__BLOCK_FREE);
    MH__TRACE("space: split");
    push(arena, other);
}

static uint32_t from_larger(mh_arena *arena, uint64_t pages)
{
    for (uint32_t bin = mh__space_bin(pages) + 1; bin < MH__ARENA_BINS; bin++) {
        for (uint32_t warm = 0; warm < 2; warm++) {
            uint32_t index = pop(arena, warm, bin);
            if (index != MH__ARENA_NONE) {
                split(arena, index, pages);
                return index;
            }
        }
    }
    return MH__ARENA_NONE;
}

static uint32_t find(mh_arena *arena, uint64_t pages)
{
    uint32_t bin = mh__space_bin(pages), index = pop(arena, 1, bin);
    if (index == MH__ARENA_NONE) {
        index = pop(arena, 0, bin);
    }
    if (index == MH__ARENA_NONE) {
        index = carve(arena, pages);
    }
    return index != MH__ARENA_NONE ? index : from_larger(arena, pages);
}

/* Give the pages of a free block back. */
static void cool(mh_arena *arena, uint32_t index)
{
    mh__block *entry = &arena->blocks[index];
    uint64_t extent = mh_load_rlx(&entry->extent);
    size_t before = (size_t) (arena->heap - (char *) mh_segment_base(arena->segment));
    (void) mh_segment_discard(arena->segment, before + mh__extent_first(extent) * arena->page,
                              mh__extent_pages(extent) * arena->page);
    entry->flags &= ~MH__BLOCK_WARM; /* also where the memory has no holes: then trying again is of no use */
}

static uint32_t largest_warm(mh_arena *arena)
{
    for (uint32_t bin = MH__ARENA_BINS; bin-- > 0;) {
        if (arena->header->bin[1][bin] != MH__ARENA_NONE) {
            return pop(arena, 1, bin);
        }
    }
    return MH__ARENA_NONE;
}

/* Pages that all blocks may take together. */
static uint64_t limit_pages(mh_arena *arena, uint64_t wanted)
{
    mh__arena_header *header = arena->header;
    uint64_t fixed = mh_load_rlx(&header->limit);
    if (fixed != 0) {
        return fixed / arena->page;
    }
    if (wanted > header->automatic) {
        uint64_t room = mh_os_memory_limit() / arena->page;
        header->automatic = header->used_pages + header->idle_pages + room / 4 * 3;
    }
    return header->automatic;
}

/* Is there room for `pages` below the limit, giving idle pages back if need be? */
static int make_room(mh_arena *arena, uint64_t pages)
{
    mh__arena_header *header = arena->header;
    uint64_t limit = limit_pages(arena, header->used_pages + pages);
    if (pages > limit || header->used_pages > limit - pages) {
        return 0;
    }
    if (header->bin[1][mh__space_bin(pages)] != MH__ARENA_NONE) {
        return 1; /* warm already: no page more */
    }
    while (header->used_pages + header->idle_pages + pages > limit) {
        uint32_t index = largest_warm(arena);
        if (index == MH__ARENA_NONE) {
            break;
        }
        cool(arena, index);
        push(arena, index);
    }
    return 1;
}

static void show_in_map(mh_arena *arena, uint32_t index)
{
    mh__block *entry = &arena->blocks[index];
    uint64_t extent = mh_load_rlx(&entry->extent);
    if (entry->mapped == extent) {
        return;
    }
    entry->mapped = 0;
    for (uint32_t i = 0; i < mh__extent_pages(extent); i++) {
        arena->map[mh__extent_first(extent) + i] = index;
    }
    entry->mapped = extent;
}

/* Merge all free memory: every free block becomes void, and rebuilding finds the gaps. */
static void merge(mh_arena *arena)
{
    for (uint32_t i = 0; i < arena->header->block_top; i++) {
        mh__block *entry = &arena->blocks[i];
        if ((mh_load_rlx(&entry->word) & MH__BLOCK_STATE) != MH__BLOCK_FREE) {
            continue;
        }
        if (entry->flags & MH__BLOCK_WARM) {
            cool(arena, i);
        }
        set_state(entry, MH__BLOCK_VOID);
        MH__TRACE("space: merging");
    }
    mh__space_rebuild(arena);
}

/* What the dead held, and nobody here waited for their ends: found by whoever allocates, once a second at most in the whole
 * tree, for a look at a participant costs some 10 us. */
static void look_for_the_dead(mh_arena *arena)
{
    uint32_t now = (uint32_t) (mh_os_now() / 1000000000);
    if (mh_load_rlx(&arena->header->swept) != now) {
        mh_store_rlx(&arena->header->swept, now);
        (void) mh__place_sweep(arena);
    }
}

uint32_t mh__space_take(mh_arena *arena, uint64_t wanted)
{
    uint64_t pages = wanted <= arena->heap_pages ? class_of(wanted) : UINT64_MAX;
    if (pages > arena->heap_pages) {
        return MH__ARENA_NONE;
    }
    look_for_the_dead(arena);
    if (!make_room(arena, pages) && (mh__place_sweep(arena) == 0 || !make_room(arena, pages))) {
        return MH__ARENA_NONE;
    }
    uint32_t index = find(arena, pages);
    if (index == MH__ARENA_NONE && mh__place_sweep(arena) > 0) {
        index = find(arena, pages);
    }
    if (index == MH__ARENA_NONE) {
        merge(arena);
        index = find(arena, pages);
    }
    if (index == MH__ARENA_NONE) {
        return index;
    }
    show_in_map(arena, index);
    return index;
}

uint64_t mh__space_commit(mh_arena *arena, uint32_t index)
{
    mh__block *entry = &arena->blocks[index];
    uint64_t generation = (mh_load_rlx(&entry->word) >> 32) + 1;
    if (generation > UINT32_MAX) {
        generation = 1; /* a handle of four milliards ago would be taken for this one */
    }
    entry->flags = 0;
    entry->messages = 0;
    arena->header->used_blocks++;
    arena->header->used_pages += mh__extent_pages(mh_load_rlx(&entry->extent));
    MH__TRACE("space: before the commit");
    mh_store_rel(&entry->word, generation << 32 | MH__BLOCK_USED); /* pairs with mh__block_find() */
    MH__TRACE("space: committed");
    return generation << 32 | (index + 1);
}

void mh__space_put(mh_arena *arena, uint32_t index)
{
    mh__arena_header *header = arena->header;
    mh__block *entry = &arena->blocks[index];
    if (entry->flags & MH__BLOCK_BOX) {
        header->orphans = 1;
    }
    set_state(entry, MH__BLOCK_FREE);
    MH__TRACE("space: freed");
    header->used_blocks--;
    header->used_pages -= mh__extent_pages(mh_load_rlx(&entry->extent));
    entry->flags = MH__BLOCK_WARM;
    push(arena, index);
}

static uint64_t most_idle(mh_arena *arena)
{
    uint64_t share = limit_pages(arena, 0) / 4, least = IDLE_LEAST / arena->page;
    return share > least ? share : least;
}

/* More idle than a quarter of the limit: take the largest out of its list and give its pages back, without
 * the shared lock, for that takes milliseconds. Meanwhile it is a used block that this process holds, and a
 * kill leaves it to the sweep. */
void mh__space_relieve(mh_arena *arena)
{
    for (;;) {
        mh__arena_lock_shared(arena);
        mh__arena_header *header = arena->header;
        uint64_t most = most_idle(arena), place = mh_load_rlx(&arena->place);
        uint32_t index = header->idle_pages > most && place != MH_NO_PLACE ? largest_warm(arena)
                                                                           : MH__ARENA_NONE;
        if (index == MH__ARENA_NONE) {
            mh__arena_unlock_shared(arena);
            return;
        }
        mh__block *entry = &arena->blocks[index];
        for (uint32_t i = 0; i < MH__ARENA_WORDS; i++) {
            mh_store_rlx(&entry->holder[i], i == place / 64 ? UINT64_C(1) << (place % 64) : 0);
        }
        mh__space_commit(arena, index);
        MH__TRACE("relieve: taken out");
        mh__arena_unlock_shared(arena);
        cool(arena, index);
        mh__arena_lock_shared(arena);
        MH__TRACE("relieve: cold");
        mh_store_rlx(&entry->holder[place / 64], UINT64_C(0));
        mh__space_put(arena, index);
        (void) pop(arena, 1, mh__space_bin(mh__extent_pages(mh_load_rlx(&entry->extent))));
        entry->flags = 0;
        push(arena, index);
        mh__arena_unlock_shared(arena);
    }
}

int mh__space_is_idle(mh_arena *arena)
{
    return arena->header->idle_pages > most_idle(arena);
}

static void clear_derived(mh__arena_header *header)
{
    header->used_blocks = header->heap_top = 0;
    header->used_pages = header->idle_pages = 0;
    header->void_list = MH__ARENA_NONE;
    header->orphans = 1; /* a look too many costs little */
    for (uint32_t bin = 0; bin < MH__ARENA_BINS; bin++) {
        header->bin[0][bin] = header->bin[1][bin] = MH__ARENA_NONE;
    }
}

static void rebuild_one(mh_arena *arena, uint32_t index)
{
    mh__arena_header *header = arena->header;
    mh__block *entry = &arena->blocks[index];
    uint64_t extent = mh_load_rlx(&entry->extent),
             end = (uint64_t) mh__extent_first(extent) + mh__extent_pages(extent);
    uint32_t state = (uint32_t) mh_load_rlx(&entry->word) & MH__BLOCK_STATE;
    if (state == MH__BLOCK_VOID || extent >> 32 == 0 || end > arena->heap_pages) {
        set_state(entry, MH__BLOCK_VOID);
        entry->next = header->void_list;
        header->void_list = index;
        return;
    }
    if (header->heap_top < end) {
        header->heap_top = (uint32_t) end;
    }
    header->used_blocks++;
    header->used_pages += mh__extent_pages(extent);
    if (state == MH__BLOCK_FREE || (entry->messages == 0 && mh__block_is_unheld(entry))) {
        mh__space_put(arena, index);
    }
}

static int by_first_page(const void *a, const void *b)
{
    uint32_t x = mh__extent_first(*(const uint64_t *) a), y = mh__extent_first(*(const uint64_t *) b);
    return x < y ? -1 : x > y;
}

static void add_gap(mh_arena *arena, uint64_t first, uint64_t end)
{
    uint32_t index = first < end ? new_entry(arena) : MH__ARENA_NONE;
    if (index == MH__ARENA_NONE) {
        return;
    }
    mh_store_step(&arena->blocks[index].extent, mh__extent((uint32_t) first, (uint32_t) (end - first)));
    arena->blocks[index].flags = MH__BLOCK_WARM; /* nobody knows */
    set_state(&arena->blocks[index], MH__BLOCK_FREE);
    MH__TRACE("rebuild: gap");
    push(arena, index);
}

/* Pages below the top that belong to no block become blocks. Without memory to sort in, they wait for the
 * next time. */
static void find_gaps(mh_arena *arena)
{
    uint32_t top = arena->header->block_top, count = 0;
    uint64_t end = 0, *extents = mh_os_malloc((size_t) (top > 0 ? top : 1) * sizeof *extents);
    if (extents == NULL) {
        return;
    }
    for (uint32_t i = 0; i < top; i++) {
        if ((mh_load_rlx(&arena->blocks[i].word) & MH__BLOCK_STATE) != MH__BLOCK_VOID) {
            extents[count++] = mh_load_rlx(&arena->blocks[i].extent);
        }
    }
    qsort(extents, count, sizeof *extents, by_first_page);
    for (uint32_t i = 0; i < count; i++) {
        add_gap(arena, end, mh__extent_first(extents[i]));
        end = (uint64_t) mh__extent_first(extents[i]) + mh__extent_pages(extents[i]);
    }
    free(extents);
}

void mh__space_rebuild(mh_arena *arena)
{
    mh__arena_header *header = arena->header;
    clear_derived(header);
    mh__parcel_recount(arena);
    for (uint32_t i = 0; i < header->block_top; i++) {
        rebuild_one(arena, i);
    }
    MH__TRACE("rebuild: lists");
    find_gaps(arena);
}
