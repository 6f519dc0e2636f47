/* tests/core/crash/arena_check.c - see arena_check.h. */
#include "arena_check.h"

#include <stdlib.h>

#include "tests/core/harness.h"

static uint32_t state_of(const mh__block *entry)
{
    return (uint32_t) mh_load_rlx(&entry->word) & MH__BLOCK_STATE;
}

/* Every page below the top belongs to exactly one block, but those that a death lost and no rebuild has found
 * yet. */
static void check_pages(mh_arena *arena)
{
    const mh__arena_header *header = arena->header;
    unsigned char *taken = calloc(header->heap_top + 1, 1);
    uint64_t used = 0;
    uint32_t blocks = 0;
    for (uint32_t i = 0; i < header->block_top; i++) {
        const mh__block *entry = &arena->blocks[i];
        uint64_t extent = mh_load_rlx(&entry->extent), first = mh__extent_first(extent);
        if (state_of(entry) == MH__BLOCK_VOID) {
            continue;
        }
        CHECK(mh__extent_pages(extent) > 0);
        CHECK(first + mh__extent_pages(extent) <= header->heap_top);
        for (uint64_t page = first; page < first + mh__extent_pages(extent); page++) {
            CHECK_EQ(taken[page]++, 0);
        }
        if (state_of(entry) == MH__BLOCK_USED) {
            CHECK(entry->messages > 0 || !mh__block_is_unheld(entry));
            used += mh__extent_pages(extent);
            blocks++;
        }
    }
    for (uint32_t page = 0; page < header->heap_top; page++) {
        CHECK_EQ(taken[page], 1);
    }
    CHECK_EQ(header->used_pages, used);
    CHECK_EQ(header->used_blocks, blocks);
    free(taken);
}

static void check_lists(mh_arena *arena)
{
    const mh__arena_header *header = arena->header;
    uint32_t listed[3] = {0}, found[3] = {0};
    uint64_t idle = 0;
    for (uint32_t i = 0; i < header->block_top; i++) {
        found[state_of(&arena->blocks[i])]++;
    }
    for (uint32_t bin = 0; bin < 2 * MH__ARENA_BINS; bin++) {
        uint32_t warm = bin / MH__ARENA_BINS;
        for (uint32_t i = header->bin[warm][bin % MH__ARENA_BINS]; i != MH__ARENA_NONE;
             i = arena->blocks[i].next) {
            CHECK_EQ(state_of(&arena->blocks[i]), MH__BLOCK_FREE);
            CHECK_EQ(arena->blocks[i].flags & MH__BLOCK_WARM, warm);
            CHECK(listed[MH__BLOCK_FREE]++ < header->block_top);
            if (warm) {
                idle += mh__extent_pages(mh_load_rlx(&arena->blocks[i].extent));
            }
        }
    }
    for (uint32_t i = header->void_list; i != MH__ARENA_NONE; i = arena->blocks[i].next) {
        CHECK_EQ(state_of(&arena->blocks[i]), MH__BLOCK_VOID);
        CHECK(listed[MH__BLOCK_VOID]++ < header->block_top);
    }
    CHECK_EQ(listed[MH__BLOCK_FREE], found[MH__BLOCK_FREE]);
    CHECK_EQ(listed[MH__BLOCK_VOID], found[MH__BLOCK_VOID]);
    CHECK_EQ(header->idle_pages, idle);
}

static void check_parcels(mh_arena *arena)
{
    const mh__arena_header *header = arena->header;
    uint32_t *messages = calloc(header->block_top + 1, sizeof *messages), unused = 0, listed = 0;
    for (uint32_t i = 0; i < header->parcel_top; i++) {
        const mh__parcel *parcel = &arena->parcels[i];
        if ((mh_load_rlx(&parcel->word) & 3) == MH__PARCEL_FREE) {
            unused++;
            continue;
        }
        CHECK(mh__block_find(arena, parcel->block) != NULL);
        messages[(parcel->block & UINT32_MAX) - 1]++;
    }
    for (uint32_t i = header->parcel_list; i != MH__ARENA_NONE; i = arena->parcels[i].next) {
        CHECK(listed++ < header->parcel_top);
    }
    CHECK_EQ(listed, unused);
    for (uint32_t i = 0; i < header->block_top; i++) {
        if (state_of(&arena->blocks[i]) == MH__BLOCK_USED) {
            CHECK_EQ(arena->blocks[i].messages, messages[i]);
        }
    }
    free(messages);
}

void check_arena(mh_arena *arena)
{
    mh__arena_lock(arena);
    check_pages(arena);
    check_lists(arena);
    check_parcels(arena);
    mh__arena_unlock(arena);
}

uint32_t blocks_used(mh_arena *arena)
{
    uint32_t blocks;
    uint64_t bytes;
    mh_arena_usage(arena, &blocks, &bytes);
    return blocks;
}

uint32_t places_taken(mh_arena *arena)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < MH_ARENA_PLACES; i++) {
        count += mh_load_acq(&arena->places[i].state) != MH__PLACE_FREE;
    }
    return count;
}

uint32_t parcels_used(mh_arena *arena)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < arena->header->parcel_top; i++) {
        count += (mh_load_acq(&arena->parcels[i].word) & 3) != MH__PARCEL_FREE;
    }
    return count;
}
