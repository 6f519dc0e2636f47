/* core/shm/arena_fork.c - what fork() does to an arena.
 *
 * A forked child inherits the mapping, the counts, and the objects that look into blocks. So before the fork
 * a place is reserved for it and gets a bit for each block that its parent holds, and until the fork is over
 * no thread of the parent may begin or end to hold anything (`crossing`). The child settles there before it
 * does anything else. A process that holds nothing has nothing to hand on; its child takes a place when it
 * needs one.
 *
 * The parent does not learn here whether a child came to be. If it did not, or was killed before it settled,
 * the place would stay reserved. So the child also inherits the writing end of a pipe, the beacon, and closes
 * it once it has settled: a place that is still reserved when the pipe is at its end is nobody's. */
#include "core/shm/arena.h"
#include "core/sync/section.h"

mh_lock mh__arena_guard = MH__GUARD_INIT;
_Atomic(mh_arena *) mh__arena_mine;

/* No place for the child: what it will see is kept by this process, for good. */
static void pin_held(mh_arena *arena)
{
    for (uint32_t i = 0; i < arena->header->block_top; i++) {
        if (mh_load_rlx(&arena->local[i]) != 0) {
            mh_add_acq_rel(&arena->local[i], 1u);
        }
    }
}

static void set_bits(mh_arena *arena, uint32_t place)
{
    for (uint32_t i = 0; i < arena->header->block_top; i++) {
        if (mh_load_rlx(&arena->local[i]) != 0) {
            mh_or_acq_rel(&arena->blocks[i].holder[place / 64], UINT64_C(1) << (place % 64));
        }
    }
}

static void prepare_child(mh_arena *arena)
{
    arena->fork_place = MH_NO_PLACE;
    arena->fork_beacon[0] = arena->fork_beacon[1] = -1;
    if (arena->held == 0) {
        return;
    }
    mh__arena_lock_shared(arena);
    if (arena->beacons == MH__ARENA_BEACONS) {
        (void) mh__place_sweep(arena);
    }
    if (arena->beacons == MH__ARENA_BEACONS || mh_os_pipe(arena->fork_beacon) < 0 ||
        mh__place_reserve(arena, &arena->fork_place) < 0) {
        pin_held(arena);
    } else {
        set_bits(arena, arena->fork_place);
    }
    mh__arena_unlock_shared(arena);
}

static void before_fork(void)
{
    mh__guard_enter(&mh__arena_guard);
    mh_arena *arena = mh_load_acq(&mh__arena_mine);
    if (arena == NULL) {
        return;
    }
    mh__guard_enter(&arena->crossing);
    prepare_child(arena);
}

static void close_beacon(mh_arena *arena, int end)
{
    if (arena->fork_beacon[end] >= 0) {
        mh_os_close(arena->fork_beacon[end]);
    }
    arena->fork_beacon[end] = -1;
}

static void after_fork_in_parent(void)
{
    mh_arena *arena = mh_load_acq(&mh__arena_mine);
    if (arena != NULL) {
        close_beacon(arena, 1);
        if (arena->fork_place != MH_NO_PLACE) {
            arena->beacon[arena->beacons++] = (struct mh__beacon){arena->fork_beacon[0], arena->fork_place};
        } else {
            close_beacon(arena, 0);
        }
        mh__guard_leave(&arena->crossing);
    }
    mh__guard_leave(&mh__arena_guard);
}

static void settle_in_child(mh_arena *arena)
{
    uint32_t place = arena->fork_place;
    mh_store_rlx(&arena->place, MH_NO_PLACE); /* the parent's */
    mh__section_forked();
    if (place == MH_NO_PLACE) {
        return;
    }
    MH__TRACE("fork: child before it settles");
    mh__arena_lock_shared(arena);
    if (mh_load_acq(&arena->places[place].state) == MH__PLACE_RESERVED) {
        mh__place_move(arena, place);
    } else {
        (void) mh__place_need(arena); /* its parent died, and it came ten seconds late */
    }
    mh__arena_unlock_shared(arena);
}

static void after_fork_in_child(void)
{
    mh_arena *arena = mh_load_acq(&mh__arena_mine);
    if (arena != NULL) {
        for (uint32_t i = 0; i < arena->beacons; i++) { /* of its elder siblings */
            mh_os_close(arena->beacon[i].fd);
        }
        arena->beacons = 0;
        settle_in_child(arena);
        close_beacon(arena, 0);
        close_beacon(arena, 1);
        mh__guard_leave(&arena->crossing);
    } else {
        mh__section_forked();
    }
    mh__guard_leave(&mh__arena_guard);
}

uint32_t mh__beacon_sweep(mh_arena *arena, uint64_t dead[MH__ARENA_WORDS])
{
    uint32_t count = 0, kept = 0;
    for (uint32_t i = 0; i < arena->beacons; i++) {
        struct mh__beacon beacon = arena->beacon[i];
        const mh__place *at = &arena->places[beacon.place];
        int ours = mh_load_acq(&at->state) == MH__PLACE_RESERVED &&
                   mh_load_rlx(&at->reserver) == mh_os_self();
        if (ours && mh_os_poll(beacon.fd, MH_OS_READABLE, 0) <= 0) {
            arena->beacon[kept++] = beacon; /* on its way */
            continue;
        }
        /* Only now is it known that nobody can settle there any more: a child settles before it closes its
         * end. */
        if (ours && mh_load_acq(&at->state) == MH__PLACE_RESERVED) {
            dead[beacon.place / 64] |= UINT64_C(1) << (beacon.place % 64);
            count++;
        }
        mh_os_close(beacon.fd);
    }
    arena->beacons = kept;
    return count;
}

int mh__arena_watch_forks(void)
{
    static int watching;
    int rc = watching ? 0 : mh_os_at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
    watching |= rc == 0;
    return rc;
}
