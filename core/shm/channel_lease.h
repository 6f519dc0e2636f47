/* core/shm/channel_lease.h - at least once: what a consumer took stays in the ring, leased to it, until it says that it
 * is done, and is handed out again should it die before.
 *
 * A record of kind LEASED has one unit between its header and the message: whose it is, and how many died with it.
 *
 *   0        WAITS   nobody's: behind the head it is new; before it, it came back
 *   who      LEASED  the process that has it in hand (mh_os_self())
 *   all ones DONE    its room goes once all before it are done
 *
 *     reclaim            head            tail
 *        | leased, done,   | new           |
 *        | returned        |               |
 *
 * Every step is one store, and what follows from it is found out anew by whoever comes after a death:
 *
 *   take, new      WAITS -> LEASED, then the head (the commit). Killed before it, the owner written there means nothing:
 *                  the record is behind the head, and the next one writes over it.
 *   take, returned WAITS -> LEASED (the commit), then `returned` - 1.
 *   done           LEASED -> DONE (the commit), then reclaim moves past what is done.
 *   give back      its deaths + 1, LEASED by a dead process -> WAITS (the commit), then `returned` + 1. Done by whoever
 *                  looks: consumers that find nothing, or that looked 50 ms ago for the last time, and those who join.
 *                  Killed before the commit: that death counts twice, and the message is given up one earlier.
 *   give up        of one that came back as often as the ring allows: WAITS -> DONE (the commit), then `returned` - 1.
 *                  Its taker is told, and nobody else; not even he, if he is killed at that moment.
 *   drop           all that waits -> DONE, then the head; `closed` says so before, so a repairer goes on with it.
 *
 * Repair: `returned` is counted anew, reclaim moves as far as it may. So a message is in the ring, in somebody's hands or
 * done, and never two of them: the steps of a death lie in the one word. "All is done" is reclaim == tail.
 *
 * The model, for one message: put -> WAITS -(take)-> LEASED(p) -(done by p)-> DONE; LEASED(p) -(p is dead)-> WAITS. No
 * other way leads out of LEASED, so a message that was taken and not done comes back; and nothing leads out of DONE, so
 * one that is done does not. tests/core/crash/crash_lease.c ends a process at every step.
 */
#ifndef MH_SHM_CHANNEL_LEASE_H
#define MH_SHM_CHANNEL_LEASE_H

#include "core/shm/channel_ring.h"

#define MH__LEASE_LOOK \
    INT64_C(50000000) /* ns: a consumer that has enough to do looks for the dead that often */

/* What this process has in hand, oldest first, so that done() need not search the ring. Guarded by the head's lock. A
 * hint: the ring is right. */
struct mh__hands;
struct mh__hands *mh__hands_new(void);
void mh__hands_free(struct mh__hands *hands);

/* Head held. The turn of a get; see take_turn in channel_io.c. */
int mh__lease_take(struct mh__view *view, mh_message *message, size_t most, size_t *need, size_t *done);
void mh__lease_repair(struct mh__view *view);
void mh__lease_drop(struct mh__view *view);

/* Nothing held. */
int mh__lease_done(struct mh__view *view); /* 0, -EPERM, MH_E_CORRUPT */
/* Give back what dead processes had, unless that was last done less than `least` ns ago. Nonzero: something waits. */
int mh__lease_look(struct mh__view *view, int64_t least);
/* Until when to wait before the next look: 50 ms from now, then twice as long each time, up to 1 s. */
mh_deadline mh__slice(mh_deadline deadline, int64_t *slice);
void mh__lease_usage(const struct mh__view *view, uint64_t *items, uint64_t *bytes);
uint64_t mh__lease_unfinished(const struct mh__view *view);

/* Records that wait, were the tail at `cursor`. */
static inline uint32_t mh__lease_waiting(const struct mh__view *view, uint64_t cursor)
{
    return mh__number(cursor) - mh__number(mh_load_rlx(&view->ring->head)) +
           mh_load_rlx(&view->ring->returned);
}

#endif
