/* core/shm/arena_places.c - who takes part in an arena. */
#include <errno.h>
#include <string.h>

#include "core/shm/arena.h"
#include "core/sync/section.h"

static int has_bit(const uint64_t *mask, uint32_t place)
{
    return (int) (mask[place / 64] >> (place % 64) & 1);
}

static void set_state(mh__place *place, uint32_t state)
{
    mh_store_rel(&place->state, state); /* pairs with the loads of `state`: what it stands for is written */
}

/* Take the bits of the dead out of every block, end what they were about to send, and give their places back.
 * The places last: whoever is killed in here leaves the rest to the next sweep. */
static uint32_t sweep_mask(mh_arena *arena, const uint64_t dead[MH__ARENA_WORDS])
{
    uint32_t freed = 0;
    for (uint32_t i = 0; i < arena->header->block_top; i++) {
        mh__block *entry = &arena->blocks[i];
        uint64_t found = 0;
        if ((mh_load_rlx(&entry->word) & MH__BLOCK_STATE) != MH__BLOCK_USED) {
            continue;
        }
        for (uint32_t w = 0; w < MH__ARENA_WORDS; w++) {
            if ((mh_load_rlx(&entry->holder[w]) & dead[w]) != 0) {
                found |= mh_and_acq_rel(&entry->holder[w], ~dead[w]);
            }
        }
        if (found == 0) {
            continue;
        }
        MH__TRACE("sweep: bits cleared");
        if (entry->messages == 0 && mh__block_is_unheld(entry)) {
            mh__space_put(arena, i);
            freed++;
        }
    }
    freed += mh__parcel_release_of(arena, dead);
    uint32_t before = arena->header->used_blocks;
    mh__parcel_release_orphans(arena);
    freed += before - arena->header->used_blocks;
    for (uint32_t i = 0; i < MH_ARENA_PLACES; i++) {
        if (!has_bit(dead, i)) {
            continue;
        }
        MH__TRACE("sweep: before a place");
        mh__section_clear(&arena->places[i].inside);
        set_state(&arena->places[i], MH__PLACE_FREE);
    }
    return freed;
}

static int is_dead(const mh__place *place)
{
    switch (mh_load_acq(&place->state)) {
    case MH__PLACE_TAKEN:
        return !mh_os_alive(mh_load_rlx(&place->who));
    case MH__PLACE_RESERVED:
        /* The reserver may have died after its child began to live, and before it could say so. */
        return mh_os_now() - place->since > MH__ARENA_GRACE && !mh_os_alive(mh_load_rlx(&place->reserver));
    default:
        return 0;
    }
}

uint32_t mh__place_sweep(mh_arena *arena)
{
    uint64_t dead[MH__ARENA_WORDS] = {0};
    uint32_t count = mh__beacon_sweep(arena, dead);
    for (uint32_t i = 0; i < MH_ARENA_PLACES; i++) {
        if (i != mh_load_rlx(&arena->place) && !has_bit(dead, i) && is_dead(&arena->places[i])) {
            dead[i / 64] |= UINT64_C(1) << (i % 64);
            count++;
        }
    }
    return count == 0 ? 0 : sweep_mask(arena, dead);
}

int mh__place_free(mh_arena *arena, uint32_t place)
{
    uint64_t dead[MH__ARENA_WORDS] = {0};
    dead[place / 64] = UINT64_C(1) << (place % 64);
    return (int) sweep_mask(arena, dead);
}

/* A child that was forked got a place for what it inherited. Then it called exec(), which is the same process
 * with none of it. */
void mh__place_forget(mh_arena *arena)
{
    uint64_t stale[MH__ARENA_WORDS] = {0};
    for (uint32_t i = 0; i < MH_ARENA_PLACES; i++) {
        const mh__place *at = &arena->places[i];
        if (i != mh_load_rlx(&arena->place) && mh_load_acq(&at->state) == MH__PLACE_TAKEN &&
            mh_load_rlx(&at->who) == mh_os_self()) {
            stale[i / 64] |= UINT64_C(1) << (i % 64);
        }
    }
    (void) sweep_mask(arena, stale);
}

static uint32_t first_free(const mh_arena *arena)
{
    for (uint32_t i = 0; i < MH_ARENA_PLACES; i++) {
        if (mh_load_acq(&arena->places[i].state) == MH__PLACE_FREE) {
            return i;
        }
    }
    return MH_NO_PLACE;
}

static uint32_t find_free(mh_arena *arena)
{
    uint32_t place = first_free(arena);
    if (place != MH_NO_PLACE) {
        return place;
    }
    (void) mh__place_sweep(arena);
    return first_free(arena);
}

int mh__place_reserve(mh_arena *arena, uint32_t *place)
{
    uint32_t found = find_free(arena);
    if (found == MH_NO_PLACE) {
        return -EAGAIN;
    }
    mh__place *at = &arena->places[found];
    mh_store_rlx(&at->reserver, mh_os_self());
    mh_store_rlx(&at->who, UINT64_C(0));
    mh__section_clear(&at->inside);
    at->since = mh_os_now();
    MH__TRACE("reserve: before the commit");
    set_state(at, MH__PLACE_RESERVED);
    MH__TRACE("reserve: reserved");
    *place = found;
    return 0;
}

static void take(mh__place *at, uint64_t who)
{
    mh_store_rlx(&at->who, who);
    MH__TRACE("settle: before the commit");
    set_state(at, MH__PLACE_TAKEN);
    MH__TRACE("settle: taken");
}

/* First the new place is this process's and has its bits, then the old one goes: what is held is held
 * throughout. */
void mh__place_move(mh_arena *arena, uint32_t place)
{
    uint32_t old = mh_load_rlx(&arena->place), top = arena->held > 0 ? arena->header->block_top : 0;
    take(&arena->places[place], mh_os_self());
    for (uint32_t i = 0; i < top; i++) {
        mh__block *entry = &arena->blocks[i];
        if (mh_load_rlx(&arena->local[i]) != 0 &&
            (mh_load_rlx(&entry->word) & MH__BLOCK_STATE) == MH__BLOCK_USED) {
            mh_or_acq_rel(&entry->holder[place / 64], UINT64_C(1) << (place % 64));
        }
    }
    mh_store_rlx(&arena->place, place);
    mh__section_count_at(&arena->places[place].inside);
    MH__TRACE("settle: moved");
    if (old != MH_NO_PLACE && old != place) {
        (void) mh__place_free(arena, old);
    }
}

int mh__place_need(mh_arena *arena)
{
    if (mh_load_rlx(&arena->place) != MH_NO_PLACE) {
        return 0;
    }
    uint32_t place = find_free(arena);
    if (place == MH_NO_PLACE) {
        return -EAGAIN;
    }
    mh__section_clear(&arena->places[place].inside);
    mh__place_move(arena, place);
    return 0;
}

int mh_arena_reserve(mh_arena *arena, uint32_t *place)
{
    mh__arena_lock(arena);
    int rc = mh__place_reserve(arena, place);
    mh__arena_unlock(arena);
    return rc;
}

/* As in mh_os_self(). */
static uint64_t who_is(int pid, uint64_t start)
{
    return start << 32 | (uint32_t) pid;
}

/* `gone`: a process that is known to have ended; 0: none is. */
static void unreserve(mh_arena *arena, uint32_t place, uint64_t gone)
{
    mh__arena_lock(arena);
    const mh__place *at = &arena->places[place];
    uint32_t state = mh_load_acq(&at->state);
    uint64_t who = mh_load_rlx(&at->who);
    int own = state == MH__PLACE_RESERVED && mh_load_rlx(&at->reserver) == mh_os_self();
    if (own || (state == MH__PLACE_TAKEN && (who == gone || !mh_os_alive(who)))) {
        (void) mh__place_free(arena, place);
    }
    mh__arena_unlock(arena);
}

void mh_arena_unreserve(mh_arena *arena, uint32_t place)
{
    if (place < MH_ARENA_PLACES) {
        unreserve(arena, place, 0);
    }
}

void mh__arena_unreserve_gone(mh_arena *arena, uint32_t place, int pid, uint64_t start)
{
    unreserve(arena, place, who_is(pid, start));
}

/* Two words for one process: also where one of them was made when /proc did not tell its start time. */
static int is_same(uint64_t a, uint64_t b)
{
    return a == b || ((uint32_t) a == (uint32_t) b && (a >> 32 == 0 || b >> 32 == 0));
}

/* This process goes to `place`, which was reserved for it, or which its parent says it is at. */
static int settle_self(mh_arena *arena, uint32_t place)
{
    const mh__place *at = &arena->places[place];
    uint32_t state = mh_load_acq(&at->state);
    if (place == mh_load_rlx(&arena->place)) {
        return 0;
    }
    if (state == MH__PLACE_FREE ||
        (state == MH__PLACE_TAKEN && !is_same(mh_load_rlx(&at->who), mh_os_self()))) {
        return MH_E_LOST;
    }
    mh__place_move(arena, place);
    return 0;
}

static int settle_child(mh_arena *arena, uint32_t place, uint64_t who)
{
    mh__place *at = &arena->places[place];
    uint32_t state = mh_load_acq(&at->state);
    if (state == MH__PLACE_TAKEN) {
        return is_same(mh_load_rlx(&at->who), who) ? 0 : MH_E_STATE;
    }
    if (state != MH__PLACE_RESERVED || mh_load_rlx(&at->reserver) != mh_os_self()) {
        return MH_E_STATE;
    }
    if (who >> 32 != 0) { /* else the child may know better, and does it itself */
        take(at, who);
    }
    return 0;
}

int mh__arena_settle_child(mh_arena *arena, uint32_t place, int pid, uint64_t start)
{
    mh__arena_lock(arena);
    int rc = settle_child(arena, place, who_is(pid, start));
    mh__arena_unlock(arena);
    return rc;
}

int mh_arena_settle(mh_arena *arena, uint32_t place, int pid)
{
    if (place >= MH_ARENA_PLACES || pid <= 0) {
        return -EINVAL;
    }
    if (pid != mh_os_pid()) {
        return mh__arena_settle_child(arena, place, pid, mh_os_start_time(pid));
    }
    mh__arena_lock(arena);
    int rc = settle_self(arena, place);
    mh__arena_unlock(arena);
    return rc;
}

uint32_t mh_arena_place(const mh_arena *arena)
{
    return mh_load_rlx(&arena->place);
}

int mh_arena_in_section(const mh_arena *arena, uint32_t place)
{
    if (place >= MH_ARENA_PLACES) {
        return -EINVAL;
    }
    if (mh_load_acq(&arena->places[place].state) != MH__PLACE_TAKEN) {
        return -ESRCH;
    }
    return mh__section_count(&arena->places[place].inside);
}

uint32_t mh_arena_sweep(mh_arena *arena)
{
    mh__arena_lock(arena);
    uint32_t freed = mh__place_sweep(arena);
    mh__arena_unlock(arena);
    return freed;
}
