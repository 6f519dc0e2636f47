/* manyhands/barrier.h - a meeting point of a fixed number of parties, again and again. It breaks for all when one
 * waiting party leaves by deadline, cancel or death; reset() mends it. */
#ifndef MANYHANDS_BARRIER_H
#define MANYHANDS_BARRIER_H

#include "lock.h"

MH_BEGIN_DECLS

#define MH_BARRIER_PLACES 12

typedef struct mh_barrier {
    mh_lock guard;
    MH_ATOMIC(uint32_t) phase; /* waiters sleep on it; bit table: core/sync/barrier.c */
    uint32_t parties;
    MH_ATOMIC(uint32_t) arrived;
    uint32_t flags;
    uint32_t places; /* parties' places behind this struct */
    uint32_t reserved[7];
    MH_ATOMIC(uint64_t) party[MH_BARRIER_PLACES]; /* who waits: process id and start time */
} mh_barrier;

MH_API size_t mh_barrier_size(uint32_t parties);
/* -EINVAL where parties is 0. The memory is mh_barrier_size(parties) bytes. */
MH_API int mh_barrier_init(mh_barrier *barrier, uint32_t parties, unsigned flags);
/* Wait until all parties are here. The last to arrive runs `action(arg)` (may be NULL) before anyone goes on; where it
 * returns negative the barrier breaks and that party gets its code. `index` (may be NULL): 0 .. parties-1, each once.
 * 0, MH_E_BROKEN, -ETIMEDOUT (the barrier is broken then), -ECANCELED, -EINTR (likewise) */
MH_API int mh_barrier_wait(mh_barrier *barrier, int (*action)(void *), void *arg, mh_deadline deadline,
                           mh_cancel *cancel, uint32_t *index);
MH_API void mh_barrier_abort(mh_barrier *barrier);
/* Whole again; those who wait get MH_E_BROKEN. */
MH_API void mh_barrier_reset(mh_barrier *barrier);
MH_API int mh_barrier_is_broken(const mh_barrier *barrier);
MH_API uint32_t mh_barrier_waiting(const mh_barrier *barrier);

MH_END_DECLS
#endif
