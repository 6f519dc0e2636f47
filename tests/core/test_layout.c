/* What lies in shared memory has one layout, on every machine and with every compiler and C library: a build that
 * differs does not compile. Who changes a figure here raises MH_LAYOUT */
#include "tests/core/harness.h"

#include <manyhands/manyhands.h>
#include <stddef.h>

#include "core/shm/arena.h"
#include "core/shm/channel_ring.h"
#include "core/shm/segment.h"

#define SIZE(type, size) _Static_assert(sizeof(type) == (size), "layout of " #type)
#define AT(type, field, offset) _Static_assert(offsetof(type, field) == (offset), "layout of " #type)

_Static_assert(MH_LAYOUT == 1, "the figures below are those of layout 1");

SIZE(mh_cancel, 8);
SIZE(mh_lock, 16);
AT(mh_lock, flags, 8);
AT(mh_lock, spin, 12);
SIZE(mh_rlock, 24);
SIZE(mh_cond_node, 16);
AT(mh_cond, node, 64);
SIZE(mh_cond, 64 + 16 * MH_COND_NODES);
SIZE(mh_rw_place, 24);
AT(mh_rwlock, place, 80);
SIZE(mh_rwlock, 80 + 24 * MH_RW_READERS);
SIZE(mh_sem, 16);
SIZE(mh_event, 8);
SIZE(mh_number, 16);
AT(mh_number, changes, 8);
SIZE(mh_barrier, 256);
SIZE(mh__arena_header, 872);
SIZE(mh__place, 64);
SIZE(mh__block, 192);
SIZE(mh__parcel, 32);
SIZE(mh__segment_header, 64);
AT(mh__segment_header, layout, 12);
AT(mh__segment_header, library, 48);
SIZE(struct mh__record, 16);
SIZE(struct mh__ring, 384);
AT(struct mh__ring, tail_lock, 64);
AT(struct mh__ring, most_behind, 56);
AT(struct mh__ring, tail, 80);
AT(struct mh__ring, behind, 104);
AT(struct mh__ring, head_lock, 128);
AT(struct mh__ring, head, 144);
AT(struct mh__ring, returned, 184);
AT(struct mh__ring, lost, 192);
AT(struct mh__ring, done, 212);
AT(struct mh__ring, all_done, 220);
AT(struct mh__ring, reclaim, 232);
AT(struct mh__ring, not_empty, 256);
AT(struct mh__ring, not_full, 320);

TEST(alignment_of_what_users_embed)
{
    CHECK_EQ(_Alignof(mh_lock), 8);
    CHECK_EQ(_Alignof(mh_cond), 8);
    CHECK_EQ(_Alignof(mh_rwlock), 8);
}
