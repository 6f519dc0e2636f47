/* core/shm/slab.c - see manyhands/slab.h. Which slots are taken is the creator's private knowledge: nothing
 * of it is shared, so no death can spoil it.
 *
 * Forks: a child has copies of every handle that its parent had at that moment. Every fork adds to `forks`
 * before it begins and again in the parent when it is over, and `forking` is not 0 between the two. So a run
 * has been seen by nobody else where `forks` is what it was when the run was allocated and nobody is forking.
 * */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/os/os.h"
#include "core/shm/guard.h"
#include "core/shm/segment.h"
#include "manyhands/slab.h"

struct mh_slab {
    mh_segment *segment;
    size_t slots;
    uint64_t creator; /* mh_os_self() of the process that allocates; 0: attached */
    mh_lock guard;
    /* Of the creator, under the guard: */
    uint64_t *taken; /* a bit per slot: allocated, or freed and never to be used again */
    uint64_t *begin; /* a bit per slot: an allocated run begins here */
    uint32_t *born;  /* per slot: `forks` when its run was allocated */
    uint64_t *used;  /* a bit per slot: was allocated before, so it may not be zero */
    size_t hint;     /* where to look first */
    size_t live;
};

static _Atomic(uint32_t) forks;
static _Atomic(uint32_t) forking; /* threads in fork(): the C library may let two of them in */

static void before_fork(void)
{
    mh_add_acq_rel(&forking, 1u);
    mh_add_acq_rel(&forks, 1u);
}

static void after_fork_in_parent(void)
{
    mh_add_acq_rel(&forks, 1u);
    mh_sub_acq_rel(&forking, 1u);
}

static void after_fork_in_child(void)
{
    mh_store_rlx(&forking, 0u); /* of the parent's threads this one alone lives here */
    mh_add_acq_rel(&forks, 1u);
}

static int watch_forks(void)
{
    static mh_lock guard = MH__GUARD_INIT;
    static int watching;
    int rc = 0;
    mh__guard_enter(&guard);
    if (!watching) {
        rc = mh_os_at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
    }
    watching |= rc == 0;
    mh__guard_leave(&guard);
    return rc;
}

static int bit(const uint64_t *bits, size_t i)
{
    return (int) (bits[i / 64] >> (i % 64) & 1);
}

static void set_bit(uint64_t *bits, size_t i)
{
    bits[i / 64] |= UINT64_C(1) << (i % 64);
}

static void clear_bit(uint64_t *bits, size_t i)
{
    bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

static void free_slab(mh_slab *slab)
{
    if (slab->segment != NULL) {
        mh_segment_close(slab->segment);
    }
    free(slab->taken);
    free(slab->begin);
    free(slab->born);
    free(slab->used);
    free(slab);
}

static int new_slab(mh_segment *segment, mh_slab **slab)
{
    mh_slab *made = mh_os_calloc(1, sizeof *made);
    if (made == NULL) {
        mh_segment_close(segment);
        return -ENOMEM;
    }
    made->segment = segment;
    made->slots = mh_segment_size(segment) / MH_SLOT;
    mh_lock_init(&made->guard, MH_PRIVATE);
    *slab = made;
    return 0;
}

int mh_slab_create(size_t size, mh_slab **slab)
{
    mh_segment *segment;
    mh_slab *made = NULL;
    int rc = watch_forks();
    if (rc == 0) {
        rc = mh_segment_create(size, MH__KIND_SLAB, &segment);
    }
    if (rc == 0) {
        rc = new_slab(segment, &made);
    }
    if (rc != 0) {
        return rc;
    }
    size_t words = made->slots / 64 + 1;
    made->creator = mh_os_self();
    made->taken = mh_os_calloc(words, sizeof(uint64_t));
    made->begin = mh_os_calloc(words, sizeof(uint64_t));
    made->used = mh_os_calloc(words, sizeof(uint64_t));
    made->born = mh_os_calloc(made->slots, sizeof(uint32_t));
    if (made->taken == NULL || made->begin == NULL || made->used == NULL || made->born == NULL) {
        free_slab(made);
        return -ENOMEM;
    }
    *slab = made;
    return 0;
}

int mh_slab_attach(int fd, mh_slab **slab)
{
    mh_segment *segment;
    int rc = mh_segment_attach(fd, MH__KIND_SLAB, &segment);
    return rc < 0 ? rc : new_slab(segment, slab);
}

void mh_slab_close(mh_slab *slab)
{
    if (slab == NULL) {
        return;
    }
    free_slab(slab);
}

/* The first free run of `count` slots from `from` on; SIZE_MAX where there is none. */
static size_t find_run(const mh_slab *slab, size_t from, size_t count)
{
    size_t run = 0;
    for (size_t i = from; i < slab->slots; i++) {
        if (i % 64 == 0 && slab->taken[i / 64] == UINT64_MAX) {
            run = 0;
            i += 63;
            continue;
        }
        run = bit(slab->taken, i) ? 0 : run + 1;
        if (run == count) {
            return i + 1 - count;
        }
    }
    return SIZE_MAX;
}

static void take_run(mh_slab *slab, size_t first, size_t count, uint32_t now)
{
    char *base = mh_segment_base(slab->segment);
    for (size_t i = first; i < first + count; i++) {
        set_bit(slab->taken, i);
        if (bit(slab->used, i)) {
            memset(base + i * MH_SLOT, 0, MH_SLOT);
        }
        set_bit(slab->used, i);
    }
    set_bit(slab->begin, first);
    slab->born[first] = now;
    slab->live++;
}

static int is_creator(const mh_slab *slab)
{
    return slab->creator != 0 && slab->creator == mh_os_self();
}

int mh_slab_alloc(mh_slab *slab, size_t size, size_t *offset)
{
    if (size == 0) {
        return -EINVAL;
    }
    if (!is_creator(slab)) {
        return MH_E_STATE;
    }
    if (size > slab->slots * MH_SLOT) {
        return -ENOMEM;
    }
    size_t count = (size + MH_SLOT - 1) / MH_SLOT;
    mh__guard_enter(&slab->guard);
    uint32_t now = mh_load_acq(&forks); /* before the run exists: a fork from here on counts */
    size_t first = find_run(slab, slab->hint, count);
    if (first == SIZE_MAX && slab->hint > 0) {
        first = find_run(slab, 0, count);
    }
    if (first != SIZE_MAX) {
        take_run(slab, first, count, now);
        if (count == 1) {
            slab->hint = first + 1; /* what lies before it and is free is found again by mh_slab_free() */
        }
    }
    mh__guard_leave(&slab->guard);
    if (first == SIZE_MAX) {
        return -ENOMEM;
    }
    *offset = first * MH_SLOT;
    return 0;
}

void mh_slab_free(mh_slab *slab, size_t offset, size_t size, int travelled)
{
    if (!is_creator(slab)) {
        return;
    }
    if (mh_slab_at(slab, offset, size) == NULL || size == 0) {
        mh_os_panic("mh_slab_free", slab, "no such run");
    }
    size_t first = offset / MH_SLOT, count = (size + MH_SLOT - 1) / MH_SLOT;
    mh__guard_enter(&slab->guard);
    if (!bit(slab->begin, first)) {
        mh_os_panic("mh_slab_free", slab, "that run is not allocated");
    }
    clear_bit(slab->begin, first);
    slab->live--;
    /* `forking` is read after `forks`: a fork that begins between the two has added to both by then. */
    int unseen = !travelled && slab->born[first] == mh_load_seq(&forks) && mh_load_seq(&forking) == 0;
    for (size_t i = first; unseen && i < first + count; i++) {
        clear_bit(slab->taken, i);
    }
    if (unseen && first < slab->hint) {
        slab->hint = first;
    }
    mh__guard_leave(&slab->guard);
}

void *mh_slab_at(mh_slab *slab, size_t offset, size_t size)
{
    size_t room = mh_segment_size(slab->segment);
    if (offset % MH_SLOT != 0 || offset >= room || size > room - offset) {
        return NULL;
    }
    return (char *) mh_segment_base(slab->segment) + offset;
}

int mh_slab_fd(const mh_slab *slab)
{
    return mh_segment_fd(slab->segment);
}

uint64_t mh_slab_id(const mh_slab *slab)
{
    return mh_segment_id(slab->segment);
}

size_t mh_slab_live(const mh_slab *slab)
{
    mh_slab *own = (mh_slab *) (uintptr_t) slab; /* for the guard only */
    if (!is_creator(slab)) {
        return 0;
    }
    mh__guard_enter(&own->guard);
    size_t live = slab->live;
    mh__guard_leave(&own->guard);
    return live;
}
