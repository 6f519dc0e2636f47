/* core/proc/lifeline.c - children that die with their parent.
 *
 * PR_SET_PDEATHSIG fires when the *thread* that forked ends, and a pidfd refuses O_ASYNC (it accepts the
 * flag and drops it). So each process has one pipe whose write end nobody but itself holds. A child takes
 * the read end with O_ASYNC and F_SETSIG(SIGKILL): the kernel closes the write end when the parent ends,
 * however it ends, and kills the child.
 *
 * F_SETOWN belongs to the open file, not to the descriptor: children that shared one would disinherit each
 * other. Hence each opens the read end anew, through /proc/self/fd. A forked child would keep its parent's
 * write end open, and with it its siblings alive: the fork handler closes it. Children made by exec never
 * have it (close-on-exec); a fork that runs no fork handlers (a raw clone) and stays without exec is the
 * one case that keeps the siblings alive, until it ends as well.
 */
#include "core/proc/process.h"

#include <errno.h>

/* Guards the making of the pipe. Zeroed in a forked child, where its holder may not exist. */
static mh_lock guard = {.flags = MH_PRIVATE};
static int line[2] = {-1, -1};
static int prepared;

static void cut_in_child(void)
{
    mh_lock_init(&guard, MH_PRIVATE);
    for (int end = 0; end < 2; end++) {
        if (line[end] >= 0) {
            mh_os_close(line[end]);
        }
        line[end] = -1;
    }
}

static int make_line(void)
{
    if (!prepared) {
        int rc = mh_os_at_fork(NULL, NULL, cut_in_child);
        if (rc < 0) {
            return rc;
        }
        prepared = 1;
    }
    return line[0] >= 0 ? 0 : mh_os_pipe(line);
}

int mh__lifeline(int *fd)
{
    mh__hold(&guard);
    int rc = make_line();
    if (rc >= 0) {
        rc = mh_os_reopen(line[0]);
    }
    mh_lock_release(&guard);
    if (rc < 0) {
        return rc;
    }
    *fd = rc;
    return 0;
}

int mh_process_lifeline(int *fd)
{
    return fd == NULL ? -EINVAL : mh__lifeline(fd);
}

int mh_process_adopt_orphans(int whether)
{
    return mh_os_adopt(whether != 0);
}

int mh_process_die_with(int fd)
{
    return mh_os_die_with(fd);
}
