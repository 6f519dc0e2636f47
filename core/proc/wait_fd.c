/* core/proc/wait_fd.c - wait for a descriptor as mh_wait() waits for a word.
 *
 * A pidfd can be polled but no futex can be polled beside it. So where something beside the descriptor can
 * end the wait - a cancel token, the end of the calling thread, a hook to be run now and then - the poll is
 * cut into slices, and they are looked at in between. Without any of them the poll sleeps to its deadline.
 * The end of the child itself is always seen at once; what takes up to a slice is a cancellation. The
 * alternatives cost more than those 20 looks a second: a thread that turns the token into a descriptor, or
 * an eventfd in every token.
 */
#include "core/proc/process.h"
#include "core/sync/control.h"

#include <errno.h>

#define SLICE_NS 50000000

/* Poll once. While it sleeps in there the thread counts as parked, as in mh_wait(). 0 (readable),
 * -ETIMEDOUT, -EINTR and other errors of the poll, -ECANCELED. */
static int poll_once(int fd, mh_deadline until)
{
    struct mh__control *control = mh__control_self();
    if (control != NULL && control->shield > 0) {
        control = NULL;
    }
    int rc = control != NULL ? mh__control_enter_wait(control) : 0;
    if (rc < 0) {
        return rc;
    }
    int ready = mh_os_poll(fd, MH_OS_READABLE, until);
    if (control != NULL) {
        rc = mh__control_leave_wait(control, NULL, NULL);
    }
    if (ready >= 0) {
        return 0;
    }
    return rc < 0 ? rc : ready;
}

static int run_hook(struct mh__tls *tls)
{
    tls->hook_due = 0;
    return tls->hook != NULL ? tls->hook(tls->hook_arg) : -EINTR;
}

/* When the hook is to be called; MH_FOREVER: on signals alone. */
static mh_deadline hook_due(struct mh__tls *tls)
{
    if (tls->hook == NULL || tls->hook_every <= 0) {
        return MH_FOREVER;
    }
    if (tls->hook_due == 0) {
        tls->hook_due = mh_in_ns(tls->hook_every);
    }
    return tls->hook_due;
}

static mh_deadline slice_end(struct mh__tls *tls, mh_deadline deadline, const mh_cancel *cancel)
{
    mh_deadline end = cancel != NULL || tls->control != NULL ? mh_in_ns(SLICE_NS) : MH_FOREVER;
    mh_deadline due = hook_due(tls);
    end = due < end ? due : end;
    return end < deadline ? end : deadline;
}

int mh__wait_fd(int fd, mh_deadline deadline, mh_cancel *cancel)
{
    struct mh__tls *tls = mh__tls();
    if (deadline <= MH_AT_ONCE) { /* no wait: nothing parks here, and no hook runs */
        int rc = mh_os_poll(fd, MH_OS_READABLE, MH_AT_ONCE);
        return rc > 0 ? 0 : rc;
    }
    for (;;) {
        if (cancel != NULL && mh_cancel_requested(cancel)) {
            return -ECANCELED;
        }
        int rc = poll_once(fd, slice_end(tls, deadline, cancel));
        if (rc != -ETIMEDOUT && rc != -EINTR) {
            return rc;
        }
        mh_deadline now = mh_now();
        if (rc == -EINTR || now >= hook_due(tls)) {
            int told = run_hook(tls);
            if (told < 0) {
                return told;
            }
        }
        if (rc == -ETIMEDOUT && now >= deadline) {
            return -ETIMEDOUT;
        }
    }
}
