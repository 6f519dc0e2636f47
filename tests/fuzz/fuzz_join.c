/* To join an arena whose memory was changed: refused with a code, or worked in without a crash, a hang, or a byte touched
 * outside. The input says which bytes of the header, the places, the tables and the page map of a good arena are others,
 * then what the newcomer does there. What is left out: the lock's word. Whoever may write there may keep it for ever. */
#include "fuzz.h"

#include <manyhands/manyhands.h>
#include <unistd.h>

#include "core/os/os.h"
#include "core/shm/arena.h"
#include "core/shm/segment.h"
#include "core/sync/section.h"

#define SIZE ((size_t) 4 << 20)
#define MOST 8
#define STEPS 60

static mh_arena *good;
static mh_block kept[3]; /* what the good one has in use; one of them is the mailbox of the parcel */
static mh_parcel on_its_way;

/* Some blocks that are held, some that are free, a parcel. */
static void make_good(void)
{
    mh_block gone[4];
    if (good != NULL) {
        return;
    }
    REQUIRE(mh__arena_make(SIZE, SIZE, &good) == 0);
    for (size_t i = 0; i < 3; i++) {
        REQUIRE(mh_block_alloc(good, 5000 * (i + 1), &kept[i]) == 0);
    }
    for (size_t i = 0; i < 4; i++) {
        REQUIRE(mh_block_alloc(good, 9000 * (i + 1), &gone[i]) == 0);
    }
    for (size_t i = 0; i < 4; i++) {
        mh_block_drop(good, gone[i]);
    }
    REQUIRE(mh_block_in_message(good, kept[0], kept[1], &on_its_way) == 0);
    mh_block_sent(good, on_its_way);
}

/* Where the changes go: the regions of the arena, as offsets from the segment's first user byte. */
static size_t region(unsigned which, size_t at)
{
    const char *base = mh_segment_base(good->segment);
    switch (which % 6) {
    case 0:
        return sizeof(mh_lock) + at % (sizeof(mh__arena_header) - sizeof(mh_lock));
    case 1:
        return (size_t) ((const char *) good->places - base) + at % (4 * sizeof(mh__place));
    case 2:
        return (size_t) ((const char *) good->parcels - base) + at % (4 * sizeof(mh__parcel));
    case 3:
        return (size_t) ((const char *) good->map - base) + at % 256;
    default:
        return (size_t) ((const char *) good->blocks - base) + at % (10 * sizeof(mh__block));
    }
}

static int copy_good(struct input *in)
{
    static unsigned char bytes[SIZE];
    uint64_t size = 0;
    int from = mh_segment_fd(good->segment);
    REQUIRE(mh_os_fd_size(from, &size) == 0 && size <= SIZE + 65536);
    ssize_t have = pread(from, bytes, size < SIZE ? size : SIZE, 0);
    size_t header = (size_t) size - mh_segment_size(good->segment);
    REQUIRE(have > 0);
    for (unsigned changes = input_u8(in) % 16; changes > 0; changes--) {
        unsigned which = input_u8(in);
        size_t at = header + region(which, input_u16(in));
        (void) input_bytes(in, bytes + at, 1 + input_u8(in) % 8);
    }
    int fd = mh_os_memfd("fuzz", size, 0);
    REQUIRE(fd >= 0 && pwrite(fd, bytes, (size_t) have, 0) == have);
    return fd;
}

static void step(mh_arena *arena, mh_block *held, size_t *count, struct input *in)
{
    size_t offset;
    mh_block block = 0;
    mh_parcel parcel;
    uint8_t what = input_u8(in);
    switch (what % 8) {
    case 0:
    case 1:
        if (*count < MOST && mh_block_alloc(arena, (size_t) input_u16(in) * 16 + 1, &block) == 0) {
            memset(mh_block_at(arena, block), 1, mh_block_size(arena, block));
            held[(*count)++] = block;
        }
        break;
    case 2:
        if (*count > 0) {
            mh_block_drop(arena, held[--*count]);
        }
        break;
    case 3:
        if (*count < MOST && mh_block_out_of_message(arena, on_its_way, &block) == 0) {
            held[(*count)++] = block;
        }
        break;
    case 4:
        if (*count > 0 && mh_block_in_message(arena, held[0], kept[what % 3], &parcel) == 0) {
            mh_block_sent(arena, parcel);
        }
        break;
    case 5:
        if (*count < MOST && mh_block_hold(arena, kept[what % 3]) == 0) {
            held[(*count)++] = kept[what % 3];
        }
        break;
    case 6:
        (void) mh_arena_sweep(arena);
        break;
    default:
        (void) mh_block_of(arena, arena->heap + input_u16(in), &block, &offset);
        (void) mh_block_size(arena, kept[what % 3]);
        mh__arena_lock_shared(arena);
        mh__space_rebuild(arena); /* as after a death */
        mh__arena_unlock_shared(arena);
    }
}

/* As if this process had none: each input is a new process's first. */
static void leave(mh_arena *arena)
{
    mh_store_rel(&mh__arena_mine, NULL);
    mh__section_count_at(NULL);
    mh__arena_forget(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    mh_arena *arena = NULL;
    mh_block held[MOST];
    size_t count = 0;
    make_good();
    uint8_t place = input_u8(&in);
    int fd = copy_good(&in), rc = mh_arena_join(fd, place % 2 ? MH_NO_PLACE : place / 2 % 4, &arena);
    REQUIRE(rc == 0 || strcmp(mh_error_name(rc), "?") != 0);
    for (int i = 0; rc == 0 && i < STEPS && in.left > 0; i++) {
        step(arena, held, &count, &in);
    }
    if (rc == 0) {
        leave(arena);
    }
    mh_os_close(fd);
    return 0;
}
