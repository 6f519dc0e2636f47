/* manyhands/barrier.h - a meeting point of a fixed number of parties, again and again.
 *
 *   static mh_barrier barrier;                        // once: mh_barrier_init(&barrier, 3, MH_PRIVATE);
 *   uint32_t index;
 *   int rc = mh_barrier_wait(&barrier, NULL, NULL, mh_in_ms(1000), NULL, &index);
 *   if (rc < 0) return rc;                            // somebody did not come: broken
 *                                                     // until mh_barrier_reset()
 *
 * It breaks for all when one waiting party leaves by deadline, cancel, signal or death (found within a
 * second, and at the latest when the last party arrives); reset() mends it. Of a shared barrier each
 * waiting party has a place in the object.
 */
#ifndef MANYHANDS_BARRIER_H
#define MANYHANDS_BARRIER_H

#include "lock.h"

MH_BEGIN_DECLS

#define MH_BARRIER_PLACES 12

typedef struct mh_barrier_place { /* one waiting party of a shared barrier; core/sync/barrier.c */
    MH_ATOMIC(uint64_t) owner;    /* process id and start time */
    MH_ATOMIC(uint32_t) word;
    uint32_t reserved;
} mh_barrier_place;

typedef struct mh_barrier {
    mh_lock guard;
    MH_ATOMIC(uint32_t) phase; /* waiters sleep on it */
    uint32_t parties;
    MH_ATOMIC(uint32_t) arrived;
    uint32_t flags;
    uint32_t places;             /* shared: how many; beyond MH_BARRIER_PLACES behind this struct */
    MH_ATOMIC(uint32_t) ending;  /* how the meeting is just being ended */
    MH_ATOMIC(uint32_t) starved; /* somebody found no place */
    MH_ATOMIC(uint32_t) used;    /* no place from this one on was ever taken */
    void *first;                 /* private: the waiting parties */
    uint64_t forks;              /* private: how often this process was forked when the meeting began */
    mh_barrier_place place[MH_BARRIER_PLACES];
} mh_barrier;

/* Bytes for a shared barrier of `parties`; sizeof(mh_barrier) where MH_BARRIER_PLACES suffice.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API size_t mh_barrier_size(uint32_t parties);

/* Make a whole barrier at which nobody waits. `flags`: MH_PRIVATE, or 0: then the memory is
 * mh_barrier_size(parties) bytes. 0, or -EINVAL where parties is 0 (and nothing was written). All-zero
 * memory is not a barrier: waiting says -EINVAL.
 * Safety: MT-owner PROC-safe AS-safe FORK-safe | never waits | allocs: none | death: as if never called */
MH_API int mh_barrier_init(mh_barrier *barrier, uint32_t parties, unsigned flags);

/* Wait until all parties are here. The last to arrive runs `action(arg)` (may be NULL) before anyone goes
 * on; where it returns negative the barrier breaks, and that party gets its code. Who arrives while an
 * action runs waits for the next meeting. `index` (may be NULL): 0 .. parties-1 in order of arrival, each
 * once; written on success only.
 * 0: all were here. MH_E_BROKEN: the barrier is broken, or was broken or reset during the wait.
 * -ETIMEDOUT, -ECANCELED, -EINTR: the caller left, and the barrier is broken.
 * Memory: what any party did before its wait is seen by all after it.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: yes, it breaks the barrier |
 *   allocs: none |
 *   death: of a waiting party, or of the last one in its action: MH_E_BROKEN for the others */
MH_API int mh_barrier_wait(mh_barrier *barrier, int (*action)(void *), void *arg, mh_deadline deadline,
                           mh_cancel *cancel, uint32_t *index);

/* Break it: those who wait, and all who come until reset, get MH_E_BROKEN.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits (but for the guard) | allocs: none | death:
 *   done or not */
MH_API void mh_barrier_abort(mh_barrier *barrier);

/* Whole again; those who wait get MH_E_BROKEN.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits (but for the guard) | allocs: none | death:
 *   done or not */
MH_API void mh_barrier_reset(mh_barrier *barrier);

/* 1 where it is broken. / How many have arrived for the meeting to come.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | allocs: none | death: the dead are counted
 *   until it is found */
MH_API int mh_barrier_is_broken(const mh_barrier *barrier);
MH_API uint32_t mh_barrier_waiting(const mh_barrier *barrier);

MH_END_DECLS
#endif
