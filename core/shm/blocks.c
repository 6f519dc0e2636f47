/* core/shm/blocks.c - blocks of the arena: to get one, to hold it, to let it go.
 *
 * A hold is a count in this process and one bit for all its threads in the block. Only where the count leaves
 * or reaches 0 is the bit touched, under the locks. The bit is set before whatever it protects against can
 * happen, and cleared after. */
#include <errno.h>

#include "core/shm/arena.h"

static uint64_t bit_of(uint32_t place)
{
    return UINT64_C(1) << (place % 64);
}

int mh__block_is_unheld(const mh__block *entry)
{
    uint64_t any = 0;
    for (uint32_t i = 0; i < MH__ARENA_WORDS; i++) {
        any |= mh_load_rlx(&entry->holder[i]);
    }
    return any == 0;
}

mh__block *mh__block_find(const mh_arena *arena, mh_block block)
{
    uint64_t index = (block & UINT32_MAX) - 1; /* of 0: past the end */
    if (index >= arena->block_max) {
        return NULL;
    }
    mh__block *entry = &arena->blocks[index];
    uint64_t word = mh_load_acq(&entry->word); /* pairs with the commit in blocks_space.c */
    if (word != ((block & ~(uint64_t) UINT32_MAX) | MH__BLOCK_USED)) {
        return NULL;
    }
    uint64_t extent = mh_load_rlx(&entry->extent);
    if ((uint64_t) mh__extent_first(extent) + mh__extent_pages(extent) > arena->heap_pages) {
        return NULL;
    }
    return entry;
}

static uint32_t index_of(const mh_arena *arena, const mh__block *entry)
{
    return (uint32_t) (entry - arena->blocks);
}

void mh__block_claim(mh_arena *arena, uint32_t index)
{
    uint32_t place = mh_load_rlx(&arena->place);
    if (mh_load_rlx(&arena->local[index]) == 0) {
        mh_or_acq_rel(&arena->blocks[index].holder[place / 64], bit_of(place));
        arena->held++;
        MH__TRACE("claim: bit set");
    }
    mh_add_acq_rel(&arena->local[index], 1u);
}

int mh_block_alloc(mh_arena *arena, size_t size, mh_block *block)
{
    if (size == 0) {
        return -EINVAL;
    }
    uint64_t pages = size / arena->page + (size % arena->page != 0);
    mh__arena_lock(arena);
    int rc = mh__place_need(arena);
    uint32_t index = rc < 0 ? MH__ARENA_NONE : mh__space_take(arena, pages);
    if (index != MH__ARENA_NONE) {
        uint32_t place = mh_load_rlx(&arena->place);
        mh__block *entry = &arena->blocks[index];
        for (uint32_t i = 0; i < MH__ARENA_WORDS; i++) {
            mh_store_rlx(&entry->holder[i], i == place / 64 ? bit_of(place) : 0);
        }
        MH__TRACE("alloc: bit set");
        *block = mh__space_commit(arena, index);
        mh_store_rlx(&arena->local[index], 1u);
        arena->held++;
    } else if (rc == 0) {
        rc = -ENOMEM;
    }
    mh__arena_unlock(arena);
    return rc;
}

void *mh_block_at(mh_arena *arena, mh_block block)
{
    const mh__block *entry = mh__block_find(arena, block);
    return entry == NULL ? NULL : arena->heap + mh__extent_first(mh_load_rlx(&entry->extent)) * arena->page;
}

size_t mh_block_size(mh_arena *arena, mh_block block)
{
    const mh__block *entry = mh__block_find(arena, block);
    return entry == NULL ? 0 : mh__extent_pages(mh_load_rlx(&entry->extent)) * arena->page;
}

int mh_block_of(mh_arena *arena, const void *address, mh_block *block, size_t *offset)
{
    uintptr_t at = (uintptr_t) address -
                   (uintptr_t) arena->heap; /* below the heap: wraps, and is too large */
    if (at >= arena->heap_pages * arena->page) {
        return -ENOENT;
    }
    uint64_t page = at / arena->page;
    uint32_t index = arena->map[page];
    if (index >= arena->block_max) {
        return -ENOENT;
    }
    uint64_t word = mh_load_acq(&arena->blocks[index].word),
             extent = mh_load_rlx(&arena->blocks[index].extent);
    if ((word & MH__BLOCK_STATE) != MH__BLOCK_USED || page < mh__extent_first(extent) ||
        page - mh__extent_first(extent) >= mh__extent_pages(extent)) {
        return -ENOENT;
    }
    *block = (word & ~(uint64_t) UINT32_MAX) | (index + 1);
    *offset = at - mh__extent_first(extent) * arena->page;
    return 0;
}

/* Change a count that is, and stays, above `least`. 0: it is not; then the locks are needed. */
static int change_count(_Atomic(uint32_t) *count, uint32_t least, int by)
{
    uint32_t seen = mh_load_rlx(count);
    while (seen > least) {
        if (mh_cas_acq_rel(count, &seen, by > 0 ? seen + 1 : seen - 1)) {
            return 1;
        }
    }
    return 0;
}

int mh_block_hold(mh_arena *arena, mh_block block)
{
    mh__block *entry = mh__block_find(arena, block);
    if (entry == NULL) {
        return MH_E_LOST;
    }
    if (change_count(&arena->local[index_of(arena, entry)], 0, 1)) {
        return 0;
    }
    mh__arena_lock(arena);
    int rc = mh__block_find(arena, block) == NULL ? MH_E_LOST : mh__place_need(arena);
    if (rc == 0) {
        mh__block_claim(arena, index_of(arena, entry));
    }
    mh__arena_unlock(arena);
    return rc;
}

int mh_block_hold_for(mh_arena *arena, mh_block block, uint32_t place)
{
    if (place >= MH_ARENA_PLACES) {
        return -EINVAL;
    }
    mh__arena_lock(arena);
    mh__block *entry = mh__block_find(arena, block);
    int rc = entry == NULL ? MH_E_LOST : 0;
    if (rc == 0 && mh_load_rlx(&arena->places[place].state) == MH__PLACE_FREE) {
        rc = MH_E_STATE;
    }
    if (rc == 0) {
        mh_or_acq_rel(&entry->holder[place / 64], bit_of(place));
    }
    mh__arena_unlock(arena);
    return rc;
}

/* The last hold of this process: under both locks. */
static void drop_last(mh_arena *arena, mh__block *entry)
{
    uint32_t index = index_of(arena, entry), place = mh_load_rlx(&arena->place);
    if (mh_sub_acq_rel(&arena->local[index], 1u) != 1) {
        return; /* another thread took a hold meanwhile */
    }
    arena->held--;
    if (place != MH_NO_PLACE) {
        mh_and_acq_rel(&entry->holder[place / 64], ~bit_of(place));
    }
    MH__TRACE("drop: bit cleared");
    if (entry->messages == 0 && mh__block_is_unheld(entry)) {
        mh__space_put(arena, index);
    }
}

void mh_block_drop(mh_arena *arena, mh_block block)
{
    mh__block *entry = mh__block_find(arena, block);
    if (entry == NULL || mh_load_rlx(&arena->local[index_of(arena, entry)]) == 0) {
        mh_os_panic("mh_block_drop", arena, "this process does not hold that block");
    }
    if (change_count(&arena->local[index_of(arena, entry)], 1, -1)) {
        return;
    }
    mh__guard_enter(&arena->crossing);
    mh__arena_lock_shared(arena);
    drop_last(arena, entry);
    int idle = mh__space_is_idle(arena);
    mh__arena_unlock_shared(arena);
    if (idle) {
        mh__space_relieve(arena);
    }
    mh__guard_leave(&arena->crossing);
}

uint32_t mh_arena_reconcile(mh_arena *arena)
{
    uint32_t count = 0;
    mh__arena_lock(arena);
    uint32_t place = mh_load_rlx(&arena->place), top = place == MH_NO_PLACE ? 0 : arena->header->block_top;
    for (uint32_t i = 0; i < top; i++) {
        mh__block *entry = &arena->blocks[i];
        if ((mh_load_rlx(&entry->word) & MH__BLOCK_STATE) != MH__BLOCK_USED ||
            mh_load_rlx(&arena->local[i]) != 0 ||
            (mh_load_rlx(&entry->holder[place / 64]) & bit_of(place)) == 0) {
            continue;
        }
        count++;
        mh_and_acq_rel(&entry->holder[place / 64], ~bit_of(place));
        MH__TRACE("reconcile: bit cleared");
        if (entry->messages == 0 && mh__block_is_unheld(entry)) {
            mh__space_put(arena, i);
        }
    }
    mh__arena_unlock(arena);
    return count;
}
