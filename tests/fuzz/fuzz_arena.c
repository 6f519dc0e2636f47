/* Handles of blocks and parcels, as a message may carry them: true ones, old ones and invented ones. Nothing crashes,
 * and what all that leaves behind is what the caller still holds. */
#include "fuzz.h"

#include <errno.h>
#include <manyhands/arena.h>

#define MOST 16
#define STEPS 300

struct mine { /* what this process holds, and the messages that are under way; also what is gone */
    mh_block held[MOST], seen;
    mh_parcel sent[MOST], old;
    size_t blocks, parcels;
};

static void take(struct mine *mine, mh_block block)
{
    mine->seen = block;
    mine->held[mine->blocks++] = block;
}

static void drop(mh_arena *arena, struct mine *mine, size_t i)
{
    mh_block_drop(arena, mine->held[i]);
    mine->held[i] = mine->held[--mine->blocks];
}

/* An old handle, or one that was never given. */
static uint64_t invented(struct input *in, uint64_t old)
{
    uint64_t word = input_u64(in);
    return word % 4 == 0 ? old : word % 4 == 1 ? old ^ word >> 32 : word;
}

static void out(mh_arena *arena, struct mine *mine, mh_parcel parcel)
{
    mh_block block = 0;
    int rc = mh_block_out_of_message(arena, parcel, &block);
    size_t known = 0;
    while (known < mine->parcels && mine->sent[known] != parcel) {
        known++;
    }
    REQUIRE((rc == 0) == (known < mine->parcels));
    REQUIRE(rc == 0 || rc == MH_E_LOST);
    if (rc == 0) {
        REQUIRE(mh_block_at(arena, block) != NULL);
        mine->old = parcel;
        mine->sent[known] = mine->sent[--mine->parcels];
        take(mine, block);
    }
}

static void step(mh_arena *arena, struct mine *mine, struct input *in)
{
    mh_block block = 0;
    mh_parcel parcel = 0;
    size_t offset, i = input_u8(in);
    switch (input_u8(in) % 8) {
    case 0:
        if (mine->blocks < MOST && mh_block_alloc(arena, (size_t) input_u16(in) + 1, &block) == 0) {
            memset(mh_block_at(arena, block), 1, mh_block_size(arena, block));
            take(mine, block);
        }
        break;
    case 1:
        if (mine->blocks > 0) {
            drop(arena, mine, i % mine->blocks);
        }
        break;
    case 2:
        if (mine->blocks > 0 && mine->parcels < MOST &&
            mh_block_in_message(arena, mine->held[i % mine->blocks], 0, &parcel) == 0) {
            mine->sent[mine->parcels++] = parcel;
        }
        break;
    case 3:
        if (mine->parcels > 0) {
            mh_block_sent(arena, mine->sent[i % mine->parcels]);
        }
        break;
    case 4:
        if (mine->parcels > 0 && mine->blocks < MOST) {
            out(arena, mine, mine->sent[i % mine->parcels]);
        }
        break;
    case 5:
        if (mine->blocks < MOST) {
            out(arena, mine, invented(in, mine->old));
        }
        break;
    case 6:
        block = invented(in, mine->seen);
        REQUIRE((mh_block_at(arena, block) == NULL) == (mh_block_size(arena, block) == 0));
        (void) mh_block_of(arena, (const void *) (uintptr_t) block, &block, &offset);
        break;
    default:
        mh_block_sent(arena, invented(in, mine->old));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct mine mine = {.blocks = 0};
    mh_arena *arena;
    uint32_t blocks;
    uint64_t bytes;
    REQUIRE(mh_arena_get(&arena) == 0);
    for (int i = 0; i < STEPS && in.left > 0; i++) {
        step(arena, &mine, &in);
    }
    while (mine.blocks > 0) {
        drop(arena, &mine, mine.blocks - 1);
    }
    while (mine.parcels > 0) {
        out(arena, &mine, mine.sent[mine.parcels - 1]);
        drop(arena, &mine, 0);
    }
    mh_arena_usage(arena, &blocks, &bytes);
    REQUIRE(blocks == 0 && bytes == 0);
    return 0;
}
