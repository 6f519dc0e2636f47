/* core/sync/control.h - how one thread asks another to park or to end. L3 embeds a control block in each
 * thread that it makes or adopts; mh_wait and mh_checkpoint obey it. A thread without one pays one TLS load
 * for each wait.
 *
 * Bit table of `word`. The first two and the last are set by others, the rest by the thread itself. All are waited
 * for on the word itself.
 *   PAUSE      asked to park: cleared by resume. Ignored once TERMINATE is set, and while the thread is
 *              shielded.
 *   TERMINATE  asked to end: for ever. Every unshielded wait and checkpoint returns -ECANCELED.
 *   PARKED     it sleeps until it is resumed or to end.
 *   IN_WAIT    it sleeps in mh_wait, unshielded: as good as parked, since it parks before mh_wait returns or
 *              calls the interrupt hook. Never set while shielded or held.
 *   FINISHED   it is over.
 *   JOINED     somebody sleeps until it is over, or has: never cleared. Without it the end wakes nobody.
 *
 * Transitions (who: from -> to, and whom it wakes)
 *   pauser      PAUSE = 1                                      -
 *   resumer     PAUSE = 0                                      all
 *   terminator  TERMINATE = 1                                  all
 *   thread      IN_WAIT = 1 (sleep) / 0 (slept)                all, if PAUSE is set (a pauser waits)
 *   thread      PARKED = 1 / 0, while PAUSE and no TERMINATE   all, on 1
 *   watcher     JOINED = 1, in the word that it goes to sleep on   -
 *   thread      FINISHED = 1                                   all, if JOINED is set
 * IN_WAIT and PARKED are cleared and PAUSE read in one step: a pauser who saw one of them with its PAUSE set knows
 * that the thread will see it. A thread that is paused again before it has left the first pause stays parked.
 */
#ifndef MH_SYNC_CONTROL_H
#define MH_SYNC_CONTROL_H

#include <manyhands/error.h>
#include <manyhands/wait.h>

#include "core/os/os.h"

#define MH__PAUSE 1u
#define MH__TERMINATE 2u
#define MH__PARKED 4u
#define MH__IN_WAIT 8u
#define MH__FINISHED 16u
#define MH__JOINED 32u

/* All-zero is valid: nothing asked for. Private to the process; must outlive the thread and all who hold its
 * address. */
struct mh__control {
    _Atomic(uint32_t) word;
    uint32_t shield; /* how many shields are up; touched by the thread only */
    uint32_t hold; /* how many holds: it is not parked, but may be told to end; touched by the thread only */
};

/* ---- for the thread itself */

/* Obey `control` from now on (NULL: nothing any more). Done by the thread first of all, and last. */
void mh__control_attach(struct mh__control *control);
static inline struct mh__control *mh__control_self(void)
{
    return mh__tls()->control;
}
/* Park while a pause is asked for; -ECANCELED once it is to end, else 0. Without a control block, or
 * shielded: 0. */
int mh__control_checkpoint(void);
void mh__control_shield(
    int up); /* 1: up, 0: down; they nest. Without a control block nothing. Panics where none is up. */
/* The same for holds. */
void mh__control_hold(int up);
/* Mark it finished; whether somebody may sleep until it is, and must be woken by the address of the word: the block may be
 * gone by then. Call mh__control_attach(NULL) before. */
static inline int mh__control_mark_finished(struct mh__control *control)
{
    /* pairs with mh__control_await_finish. The watcher's bit and this one are in one word: either it is seen here, or the
     * watcher's exchange fails and it sees this. */
    return (mh_or_acq_rel(&control->word, MH__FINISHED) & MH__JOINED) != 0;
}
/* The same, and wake whoever waits for it. */
void mh__control_finish(struct mh__control *control);

/* ---- for others */

int mh__control_pause(struct mh__control *control); /* ask: 0, MH_E_STATE (finished, or asked to end) */
/* Until it is parked, or as good as that: 0, MH_E_STATE (finished, to end, or the pause was taken back), and
 * as mh_wait. */
int mh__control_await_pause(struct mh__control *control, mh_deadline deadline, mh_cancel *cancel);
int mh__control_resume(struct mh__control *control);    /* 0, MH_E_STATE (no pause asked for, or finished) */
int mh__control_terminate(struct mh__control *control); /* 0, also where it is over already */
int mh__control_await_finish(struct mh__control *control, mh_deadline deadline,
                             mh_cancel *cancel); /* 0, and as mh_wait */
static inline int mh__control_is_paused(struct mh__control *control)
{
    uint32_t word = mh_load_acq(&control->word); /* pairs with the thread's PARKED or IN_WAIT */
    return (word & (MH__PAUSE | MH__TERMINATE)) == MH__PAUSE && (word & (MH__PARKED | MH__IN_WAIT)) != 0;
}

/* ---- for wait.c: around each sleep. `enter` parks first where a pause is pending. Both: 0, or -ECANCELED.
 * */
int mh__control_enter_wait(struct mh__control *control);
/* `before_park` (may be NULL) runs before it parks: a thread must not take another's wake to bed. */
int mh__control_leave_wait(struct mh__control *control, void (*before_park)(void *), void *arg);

#endif
