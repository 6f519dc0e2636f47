/* core/shm/arena.c - to make, find and join the arena of this process, and its locks. */
#include "core/shm/arena.h"

#include <errno.h>
#include <stdlib.h>

#include "core/shm/segment.h"
#include "core/sync/section.h"

#define ARENA_SIZE ((size_t) (sizeof(size_t) > 4 ? UINT64_C(64) << 30 : UINT64_C(512) << 20))
#define ARENA_LEAST ((size_t) 16 << 20)
#define BLOCKS_MOST (UINT32_C(1) << 20)

struct layout {
    size_t places, blocks, parcels, map, heap; /* where each begins */
    uint64_t heap_pages;
    uint32_t block_max;
};

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* A function of the size alone, so that all who map the segment find the same. */
static int lay_out(size_t size, size_t page, struct layout *layout)
{
    uint64_t pages = size / page;
    layout->block_max = pages < BLOCKS_MOST ? (uint32_t) pages : BLOCKS_MOST;
    layout->places = round_up(sizeof(mh__arena_header), page);
    layout->blocks = layout->places + round_up(MH_ARENA_PLACES * sizeof(mh__place), page);
    layout->parcels = layout->blocks + round_up(layout->block_max * sizeof(mh__block), page);
    layout->map = layout->parcels + round_up(layout->block_max * sizeof(mh__parcel), page);
    layout->heap = layout->map + round_up(pages * sizeof(uint32_t), page);
    if (layout->heap + page > size || pages > UINT64_C(1) << 24) {
        return MH_E_CORRUPT;
    }
    layout->heap_pages = (size - layout->heap) / page;
    return 0;
}

static void point_at(mh_arena *arena, const struct layout *layout)
{
    char *base = mh_segment_base(arena->segment);
    arena->header = (mh__arena_header *) (void *) base;
    arena->places = (mh__place *) (void *) (base + layout->places);
    arena->blocks = (mh__block *) (void *) (base + layout->blocks);
    arena->parcels = (mh__parcel *) (void *) (base + layout->parcels);
    arena->map = (uint32_t *) (void *) (base + layout->map);
    arena->heap = base + layout->heap;
    arena->heap_pages = layout->heap_pages;
    arena->block_max = layout->block_max;
}

/* This process's view of a segment, which is closed where that fails. */
static int view(mh_segment *segment, mh_arena **arena)
{
    struct layout layout;
    void *local = NULL;
    mh_arena *made = mh_os_calloc(1, sizeof *made);
    size_t page = mh_os_page();
    int rc = made == NULL ? -ENOMEM : lay_out(mh_segment_size(segment), page, &layout);
    if (rc == 0) {
        rc = mh__arena_watch_forks();
    }
    if (rc == 0) {
        rc = mh_os_map_private(layout.block_max * sizeof(uint32_t), &local);
    }
    if (rc < 0) {
        mh_segment_close(segment);
        free(made);
        return rc;
    }
    made->segment = segment;
    made->page = page;
    made->local = local;
    mh_lock_init(&made->crossing, MH_PRIVATE);
    mh_store_rlx(&made->place, MH_NO_PLACE);
    point_at(made, &layout);
    *arena = made;
    return 0;
}

void mh__arena_forget(mh_arena *arena)
{
    mh_os_unmap(arena->local, arena->block_max * sizeof(uint32_t));
    mh_segment_close(arena->segment);
    free(arena);
}

void mh__arena_lock_shared(mh_arena *arena)
{
    if (mh__section_enter(&arena->header->lock) == MH_OWNER_DIED) {
        MH__TRACE("repair: begun");
        mh__space_rebuild(arena);
    }
}

void mh__arena_unlock_shared(mh_arena *arena)
{
    mh__parcel_release_orphans(arena);
    MH__TRACE("lock: before release");
    mh__section_leave(&arena->header->lock);
}

void mh__arena_lock(mh_arena *arena)
{
    mh__guard_enter(&arena->crossing);
    mh__arena_lock_shared(arena);
}

void mh__arena_unlock(mh_arena *arena)
{
    mh__arena_unlock_shared(arena);
    mh__guard_leave(&arena->crossing);
}

int mh__arena_make(size_t size, size_t least, mh_arena **arena)
{
    mh_segment *segment;
    mh_arena *made;
    int rc = mh_segment_reserve(size, least, MH__KIND_ARENA, &segment);
    if (rc == 0) {
        rc = view(segment, &made);
    }
    if (rc != 0) {
        return rc;
    }
    made->header->page = made->page;
    made->header->heap_pages = made->heap_pages;
    made->header->block_max = made->block_max;
    mh__arena_lock(made);
    mh__space_rebuild(made); /* of nothing: empty lists */
    rc = mh__place_need(made);
    mh__arena_unlock(made);
    if (rc < 0) {
        mh__arena_forget(made);
    } else {
        *arena = made;
    }
    return rc;
}

int mh_arena_get(mh_arena **arena)
{
    mh_arena *mine = mh_load_acq(&mh__arena_mine); /* pairs with the stores below */
    int rc = 0;
    if (mine == NULL) {
        mh__guard_enter(&mh__arena_guard);
        mine = mh_load_acq(&mh__arena_mine);
        if (mine == NULL) {
            rc = mh__arena_make(ARENA_SIZE, ARENA_LEAST, &mine);
        }
        if (rc == 0) {
            mh_store_rel(&mh__arena_mine, mine); /* pairs with the load above, and in mh_arena_peek() */
        }
        mh__guard_leave(&mh__arena_guard);
    }
    if (rc == 0) {
        *arena = mine;
    }
    return rc;
}

mh_arena *mh_arena_peek(void)
{
    return mh_load_acq(&mh__arena_mine);
}

/* Its tables, while nobody changes them. */
static int is_whole(mh_arena *arena)
{
    mh__arena_lock(arena);
    int whole = mh__arena_valid(arena);
    mh__arena_unlock(arena);
    return whole;
}

static int join_new(int fd, mh_arena **arena)
{
    mh_segment *segment;
    mh_arena *made;
    int rc = mh_segment_attach(fd, MH__KIND_ARENA, &segment);
    if (rc == 0) {
        rc = view(segment, &made);
    }
    if (rc != 0) {
        return rc;
    }
    const mh__arena_header *header = made->header;
    if (header->page != made->page || header->heap_pages != made->heap_pages ||
        header->block_max != made->block_max || header->block_top > made->block_max ||
        header->parcel_top > made->block_max || !is_whole(made)) {
        mh__arena_forget(made);
        return MH_E_CORRUPT;
    }
    *arena = made;
    return 0;
}

static int is_same(const mh_arena *arena, int fd)
{
    mh_segment_info info;
    int rc = mh_segment_inspect(fd, &info);
    return rc < 0 ? rc : info.id == mh_arena_id(arena);
}

/* Go to `place`, or to any. */
static int settle(mh_arena *arena, uint32_t place)
{
    if (place != MH_NO_PLACE) {
        return mh_arena_settle(arena, place, mh_os_pid());
    }
    mh__arena_lock(arena);
    int rc = mh__place_need(arena);
    mh__arena_unlock(arena);
    return rc;
}

static void forget_before_exec(mh_arena *arena)
{
    mh__arena_lock(arena);
    mh__place_forget(arena);
    mh__arena_unlock(arena);
}

int mh_arena_join(int fd, uint32_t place, mh_arena **arena)
{
    if (place != MH_NO_PLACE && place >= MH_ARENA_PLACES) {
        return -EINVAL;
    }
    mh__guard_enter(&mh__arena_guard);
    mh_arena *mine = mh_load_acq(&mh__arena_mine);
    int had = mine != NULL, rc;
    if (had) {
        rc = is_same(mine, fd);
        rc = rc == 0 ? MH_E_STATE : rc < 0 ? rc : 0;
    } else {
        rc = join_new(fd, &mine);
    }
    if (rc == 0) {
        rc = settle(mine, place);
        if (rc < 0 && !had) {
            mh__arena_forget(mine);
        } else if (rc == 0 && !had) {
            forget_before_exec(mine);
        }
    }
    if (rc == 0) {
        mh_store_rel(&mh__arena_mine, mine); /* pairs with the loads in mh_arena_get() and mh_arena_peek() */
        *arena = mine;
    }
    mh__guard_leave(&mh__arena_guard);
    return rc;
}

int mh_arena_fd(const mh_arena *arena)
{
    return mh_segment_fd(arena->segment);
}

uint64_t mh_arena_id(const mh_arena *arena)
{
    return mh_segment_id(arena->segment);
}

void mh_arena_set_limit(mh_arena *arena, uint64_t bytes)
{
    mh_store_rlx(&arena->header->limit, bytes);
}

void mh_arena_usage(mh_arena *arena, uint32_t *blocks, uint64_t *bytes)
{
    mh__arena_lock(arena);
    *blocks = arena->header->used_blocks;
    *bytes = arena->header->used_pages * arena->page;
    mh__arena_unlock(arena);
}
