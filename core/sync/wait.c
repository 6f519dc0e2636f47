/* core/sync/wait.c - the one wait primitive.
 *
 * One call sleeps once, and again only where an interrupt hook said "wait on" or where it polls. It ends on
 * what comes first:
 *   a wake, or the word differs       0
 *   the deadline                      -ETIMEDOUT
 *   a slice of a shared wait          MH__SLICE
 *   a request on the cancel token     -ECANCELED
 *   the thread is to terminate        -ECANCELED
 *   a signal                          the hook; without one -EINTR
 *   `every_ns` of sleep               the hook
 *
 * A wake is never lost with the waiter that it reached. Either the wait returns 0, and the caller looks at
 * the state that the waker left there; or, where this thread is going to park, or futex_waitv tells of
 * another word than the one waited for (it may have taken a wake of that one, too), the wake is sent on to
 * the next sleeper. One wake too many is harmless: every wait is in a loop.
 *
 * Without futex_waitv, a wait that has to watch more than its word polls: it sleeps 50 ms at a time.
 */
#include "core/sync/wait.h"

#include <errno.h>

#include "core/sync/cancel.h"
#include "core/sync/control.h"
#include "core/os/os.h"

#define MS INT64_C(1000000)

enum { POLL_NS = 50 * MS };

/* The first slice and the longest. */
static const int64_t shared_slices[2] = {50 * MS, 1000 * MS};
static const int64_t section_slices[2] = {1 * MS, 50 * MS};

struct sleep {
    _Atomic(uint32_t) *word;
    uint32_t expected;
    int shared;
    int64_t deadline;
    mh_cancel *cancel;
    uint32_t cancel_word; /* the token when the wait began */
    struct mh__tls *tls;
    struct mh__control *control; /* NULL: none, or shielded */
    int hooked;
    int section;
    const int64_t *slices; /* NULL: sleeps to its deadline */
    int64_t slice;
    int64_t slice_end; /* 0: it has not begun */
    int polls;
};

enum outcome {
    WOKEN,
    WOKEN_BY_OTHER,
    LOOK,
    TIMED_OUT,
    SLICED,
    POLLED,
    DUE,
    SIGNALLED
}; /* DUE: the hook is */

static void pass_wake_on(void *arg)
{
    const struct sleep *s = arg;
    mh_os_futex_wake(s->word, 1, s->shared);
}

/* Slices double while the same sleep goes on, which the thread remembers from call to call. */
static int64_t first_slice(const struct sleep *s)
{
    const struct mh__tls *tls = s->tls;
    return tls->slice_word == s->word && tls->slice_expected == s->expected ? tls->slice : s->slices[0];
}

static void remember_slice(struct sleep *s, enum outcome outcome)
{
    struct mh__tls *tls = s->tls;
    if (outcome == POLLED || outcome == DUE) {
        return; /* in the middle of a slice, which goes on */
    }
    s->slice_end = 0;
    if (outcome != SLICED) {
        tls->slice_word = NULL;
        return;
    }
    tls->slice_word = s->word;
    tls->slice_expected = s->expected;
    tls->slice = s->slice * 2 < s->slices[1] ? s->slice * 2 : s->slices[1];
}

static void sooner(int64_t instant, enum outcome what, int64_t *until, enum outcome *outcome)
{
    if (instant < *until) {
        *until = instant;
        *outcome = what;
    }
}

/* Until when this sleep goes at most, and what it means when that comes. */
static int64_t plan(struct sleep *s, enum outcome *at_end)
{
    int64_t until = s->deadline;
    *at_end = TIMED_OUT;
    int64_t every = s->hooked ? s->tls->hook_every : 0;
    if (s->slices == NULL && !s->polls && every == 0) {
        return until;
    }
    int64_t now = mh_os_now();
    if (s->slices != NULL) {
        if (s->slice_end == 0) {
            s->slice = first_slice(s);
            s->slice_end = now + s->slice;
        }
        sooner(s->slice_end, SLICED, &until, at_end);
    }
    if (s->polls) {
        sooner(now + POLL_NS, POLLED, &until, at_end);
    }
    if (every > 0) {
        s->tls->hook_due = s->tls->hook_due == 0 ? now + every : s->tls->hook_due;
        sooner(s->tls->hook_due, DUE, &until, at_end);
    }
    return until;
}

static int sleep_on_words(struct sleep *s, int64_t until)
{
    struct mh_os_futex words[3] = {{s->word, s->expected, s->shared}};
    int count = 1;
    if (!s->polls && s->cancel != NULL) {
        uint32_t seen = mh__cancel_watch(s->cancel);
        if (mh__cancel_since(seen, s->cancel_word)) {
            return -EAGAIN;
        }
        words[count++] = (struct mh_os_futex){&s->cancel->word, seen, !(s->cancel->flags & MH_PRIVATE)};
    }
    if (!s->polls && s->control != NULL) {
        uint32_t seen = mh_load_acq(&s->control->word); /* pairs with terminate */
        if (seen & MH__TERMINATE) {
            return -EAGAIN;
        }
        words[count++] = (struct mh_os_futex){&s->control->word, seen, 0};
    }
    return count == 1 ? mh_os_futex_wait(s->word, s->expected, until, s->shared)
                      : mh_os_futex_wait_any(words, count, until);
}

static enum outcome sleep_once(struct sleep *s)
{
    enum outcome at_end;
    int64_t until = plan(s, &at_end);
    int rc = sleep_on_words(s, until);
    switch (rc) {
    case -EAGAIN:
        return LOOK;
    case -ETIMEDOUT:
        return at_end;
    case -EINTR:
        return SIGNALLED;
    default:
        return rc > 0 ? WOKEN_BY_OTHER : WOKEN;
    }
}

/* 0: wait on. `mh_os_futex_wait` was left: whoever wakes now finds no sleeper here, and the state says what
 * he did. */
static int ask_hook(const struct sleep *s, enum outcome outcome)
{
    struct mh__tls *tls = s->tls;
    if (!s->hooked) {
        return outcome == SIGNALLED && !s->section ? -EINTR : 0;
    }
    if (outcome != SIGNALLED && outcome != DUE) {
        return 0;
    }
    tls->hook_due = 0;
    return tls->hook(tls->hook_arg);
}

/* The thread is to terminate, and this wait would end; POLLED: it goes on, shielded. */
static int ask_exit_hook(struct sleep *s)
{
    struct mh__tls *tls = s->tls;
    if (tls->exit_hook == NULL || tls->exit_hook(tls->exit_arg) < 0) {
        return -ECANCELED;
    }
    s->control = NULL;
    return POLLED;
}

/* One sleep, and what came of it; POLLED: nothing yet, wait on. */
static int wait_once(struct sleep *s)
{
    int rc = s->control != NULL ? mh__control_enter_wait(s->control) : 0;
    if (rc < 0) {
        return ask_exit_hook(s);
    }
    enum outcome outcome = sleep_once(s);
    if (s->control != NULL) {
        rc = mh__control_leave_wait(s->control, outcome <= WOKEN_BY_OTHER ? pass_wake_on : NULL, s);
    }
    if (s->slices != NULL) {
        remember_slice(s, outcome);
    }
    if (outcome == WOKEN) {
        return 0;
    }
    if (outcome == WOKEN_BY_OTHER) {
        pass_wake_on(s);
    }
    if (rc < 0) {
        return ask_exit_hook(s);
    }
    if (s->cancel != NULL &&
        mh__cancel_since(mh_load_acq(&s->cancel->word), s->cancel_word)) { /* mh_cancel_request */
        return -ECANCELED;
    }
    if (outcome == TIMED_OUT) {
        return -ETIMEDOUT;
    }
    rc = ask_hook(s, outcome);
    if (rc < 0) {
        return rc;
    }
    return outcome == SLICED ? MH__SLICE : outcome >= POLLED ? POLLED : 0;
}

static void begin(struct sleep *s, mh_cancel *cancel, unsigned flags)
{
    s->tls = mh__tls();
    s->section = (flags & MH__SECTION) != 0;
    if (s->section) {
        s->slices = s->shared ? section_slices : NULL;
        return;
    }
    if (s->shared || (cancel != NULL && !(cancel->flags & MH_PRIVATE))) {
        s->slices = shared_slices;
    }
    if (s->tls->control != NULL && s->tls->control->shield == 0) {
        s->control = s->tls->control;
    }
    s->hooked = s->tls->hook != NULL;
    s->cancel = cancel;
    if (cancel != NULL) {
        s->cancel_word = mh_load_acq(&cancel->word); /* pairs with mh_cancel_request */
    }
    s->polls = (cancel != NULL || s->control != NULL) && !mh_os_has_wait_any();
}

int mh__wait(_Atomic(uint32_t) *word, uint32_t expected, mh_deadline deadline, mh_cancel *cancel,
             unsigned flags)
{
    struct sleep s = {
        .word = word, .expected = expected, .shared = !(flags & MH_PRIVATE), .deadline = deadline};
    begin(&s, cancel, flags);
    if (s.cancel != NULL && (s.cancel_word & MH__REQUESTED)) {
        return -ECANCELED;
    }
    if (deadline <= MH_AT_ONCE) {
        return -ETIMEDOUT; /* the caller has looked a moment ago */
    }
    int rc;
    do {
        rc = wait_once(&s);
    } while (rc == POLLED);
    return rc;
}

int mh_wait(_Atomic(uint32_t) *word, uint32_t expected, mh_deadline deadline, mh_cancel *cancel,
            unsigned flags)
{
    int rc = mh__wait(word, expected, deadline, cancel, flags & MH_PRIVATE);
    return rc == MH__SLICE ? 0 : rc;
}

void mh_wake(_Atomic(uint32_t) *word, int count, unsigned flags)
{
    mh_os_futex_wake(word, count, !(flags & MH_PRIVATE));
}

void mh_on_interrupt(mh_interrupt_hook hook, void *arg, int64_t every_ns)
{
    struct mh__tls *tls = mh__tls();
    tls->hook = hook;
    tls->hook_arg = arg;
    tls->hook_every = every_ns > 0 ? every_ns : 0;
    tls->hook_due = 0;
}

void mh_on_terminate(mh_interrupt_hook hook, void *arg)
{
    struct mh__tls *tls = mh__tls();
    tls->exit_hook = hook;
    tls->exit_arg = arg;
}
