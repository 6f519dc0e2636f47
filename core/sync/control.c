/* core/sync/control.c - park and end; the protocol is in control.h. */
#include "core/sync/control.h"

#include <errno.h>

static void wake_all(struct mh__control *control)
{
    mh_os_futex_wake(&control->word, INT32_MAX, 0);
}

static int is_to_park(uint32_t word)
{
    return (word & (MH__PAUSE | MH__TERMINATE)) == MH__PAUSE;
}

static void park(struct mh__control *control)
{
    uint32_t word = mh_or_acq_rel(&control->word, MH__PARKED) |
                    MH__PARKED; /* pairs with mh__control_await_pause */
    wake_all(control);
    do { /* again, where it was paused anew: the pauser saw it parked */
        while (is_to_park(word)) {
            (void) mh_os_futex_wait(&control->word, word, INT64_MAX, 0);
            word = mh_load_acq(&control->word); /* pairs with resume and terminate */
        }
    } while (!mh_cas_acq_rel(&control->word, &word, word & ~MH__PARKED));
}

/* May the calling thread, whose control this is, be parked now? */
static int may_park(const struct mh__control *control, uint32_t word)
{
    return is_to_park(word) && control->hold == 0;
}

void mh__control_attach(struct mh__control *control)
{
    mh__tls()->control = control;
}

int mh__control_checkpoint(void)
{
    struct mh__control *control = mh__control_self();
    if (control == NULL || control->shield > 0) {
        return 0;
    }
    uint32_t word = mh_load_acq(&control->word); /* pairs with pause and terminate */
    if (may_park(control, word)) {
        park(control);
        word = mh_load_acq(&control->word);
    }
    return word & MH__TERMINATE ? -ECANCELED : 0;
}

static void count(uint32_t *depth, int up, const char *function, const char *fault)
{
    if (!up && *depth == 0) {
        mh_os_panic(function, depth, fault);
    }
    *depth += up ? 1 : UINT32_MAX;
}

void mh__control_shield(int up)
{
    struct mh__control *control = mh__control_self();
    if (control != NULL) {
        count(&control->shield, up, "mh_shield_leave", "no shield is up");
    }
}

void mh__control_hold(int up)
{
    struct mh__control *control = mh__control_self();
    if (control != NULL) {
        count(&control->hold, up, "mh_hold_leave", "no hold is on");
    }
}

void mh__control_finish(struct mh__control *control)
{
    if (mh__control_mark_finished(control)) {
        wake_all(control);
    }
}

/* Sleep while the word is that, and be woken by the end. */
static int watch(struct mh__control *control, uint32_t word, mh_deadline deadline, mh_cancel *cancel)
{
    uint32_t watched = word | MH__JOINED;
    if (word != watched && !mh_cas_acq_rel(&control->word, &word, watched)) {
        return 0; /* look again */
    }
    return mh_wait(&control->word, watched, deadline, cancel, MH_PRIVATE);
}

int mh__control_pause(struct mh__control *control)
{
    uint32_t word = mh_load_acq(&control->word);
    do {
        if (word & (MH__FINISHED | MH__TERMINATE)) {
            return MH_E_STATE;
        }
    } while (
        !mh_cas_acq_rel(&control->word, &word, word | MH__PAUSE)); /* pairs with the thread's next look */
    return 0;
}

int mh__control_await_pause(struct mh__control *control, mh_deadline deadline, mh_cancel *cancel)
{
    for (;;) {
        uint32_t word = mh_load_acq(&control->word); /* pairs with park and mh__control_enter_wait */
        if ((word & MH__FINISHED) || !is_to_park(word)) {
            return MH_E_STATE;
        }
        if (word & (MH__PARKED | MH__IN_WAIT)) {
            return 0;
        }
        int rc = watch(control, word, deadline, cancel);
        if (rc < 0) {
            return rc;
        }
    }
}

int mh__control_resume(struct mh__control *control)
{
    uint32_t word = mh_load_acq(&control->word);
    do {
        if (!(word & MH__PAUSE) || (word & MH__FINISHED)) {
            return MH_E_STATE;
        }
    } while (!mh_cas_acq_rel(&control->word, &word, word & ~MH__PAUSE)); /* pairs with park */
    wake_all(control);
    return 0;
}

int mh__control_terminate(struct mh__control *control)
{
    mh_or_acq_rel(&control->word, MH__TERMINATE); /* pairs with park, checkpoints and waits */
    wake_all(control);
    return 0;
}

int mh__control_await_finish(struct mh__control *control, mh_deadline deadline, mh_cancel *cancel)
{
    for (;;) {
        uint32_t word = mh_load_acq(&control->word); /* pairs with mh__control_finish */
        if (word & MH__FINISHED) {
            return 0;
        }
        int rc = watch(control, word, deadline, cancel);
        if (rc < 0) {
            return rc;
        }
    }
}

int mh__control_enter_wait(struct mh__control *control)
{
    int rc = mh__control_checkpoint();
    if (rc < 0) {
        return rc;
    }
    if (control->hold > 0) {
        return 0; /* asleep, but not where it could be left */
    }
    if (is_to_park(mh_or_acq_rel(&control->word, MH__IN_WAIT))) {
        wake_all(control); /* asked since: tell the pauser that this will do */
    }
    return 0;
}

int mh__control_leave_wait(struct mh__control *control, void (*before_park)(void *), void *arg)
{
    uint32_t next, word = mh_load_acq(&control->word); /* pairs with pause and terminate */
    do { /* from asleep to parked in one step: who was told that it is paused sees nothing else */
        next = (word & ~MH__IN_WAIT) | (may_park(control, word) ? MH__PARKED : 0);
    } while (!mh_cas_acq_rel(&control->word, &word, next));
    if (next & MH__PARKED) {
        if (before_park != NULL) {
            before_park(arg);
        }
        park(control);
        word = mh_load_acq(&control->word);
    }
    return word & MH__TERMINATE ? -ECANCELED : 0;
}
