/* core/os/process.c - processes: watch, signal, start, end, account. */
#include "core/os/os.h"
#include "core/os/sys.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int mh_os_pidfd(int pid)
{
    int saved = errno; /* close-on-exec by nature */
    return (int) mh__result(syscall(MH__NR_PIDFD_OPEN, pid, 0), saved);
}

int mh_os_pidfd_signal(int pidfd, int signal)
{
    int saved = errno;
    return (int) mh__result(syscall(MH__NR_PIDFD_SEND_SIGNAL, pidfd, signal, NULL, 0), saved);
}

int mh_os_pidfd_signal_group(int pidfd, int signal)
{
    enum { TO_THE_GROUP = 4 }; /* PIDFD_SIGNAL_PROCESS_GROUP, since 6.9 */
    int saved = errno;
    return (int) mh__result(syscall(MH__NR_PIDFD_SEND_SIGNAL, pidfd, signal, NULL, TO_THE_GROUP), saved);
}

int mh_os_signal_group(int group, int signal)
{
    int saved = errno;
    if (group <= 1) {
        return -EINVAL; /* never our own group, never everybody */
    }
    return (int) mh__result(kill(-group, signal), saved);
}

int mh_os_own_group(int pid)
{
    int saved = errno;
    return (int) mh__result(setpgid(pid, pid), saved);
}

int mh_os_pidfd_wait(int pidfd, int64_t deadline)
{
    int rc = mh_os_poll(pidfd, MH_OS_READABLE, deadline);
    return rc < 0 ? rc : 0;
}

int mh_os_signal(int pid, int signal)
{
    int saved = errno;
    if (pid <= 0) {
        return -EINVAL; /* never a group, never everybody */
    }
    return (int) mh__result(kill(pid, signal), saved);
}

int mh_os_fork(void)
{
    int saved = errno;
    return (int) mh__result(fork(), saved);
}

void mh_os_exit(int status)
{
    _exit(status);
}

int mh_os_reap(int pid, int keep, int *status)
{
    siginfo_t info;
    int saved = errno;
    memset(&info, 0, sizeof info);
    long rc;
    do {
        rc = mh__result(waitid(P_PID, (id_t) pid, &info, WEXITED | WNOHANG | (keep ? WNOWAIT : 0)), saved);
    } while (rc == -EINTR);
    if (rc < 0 || info.si_pid == 0) {
        return (int) rc;
    }
    *status = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
    return 1;
}

/* The kernel's struct pidfd_info, as of its first version, and the request for it; headers lack it still. */
struct pidfd_info {
    uint64_t mask;
    uint64_t cgroup;
    uint32_t ids[11];
    int32_t exit_code; /* as wait() gives it */
};
#define PIDFD_INFO_OF_EXIT ((uint64_t) 8)
/* ioctl() takes an int in POSIX, and in musl, whose bits the kernel reads as they are; glibc takes an unsigned long. */
#ifdef __GLIBC__
#define PIDFD_ASK_INFO _IOWR(0xff, 11, struct pidfd_info)
#else
#define PIDFD_ASK_INFO ((int) _IOWR(0xff, 11, struct pidfd_info))
#endif

int mh_os_pidfd_status(int pidfd, int *status)
{
    struct pidfd_info info = {.mask = PIDFD_INFO_OF_EXIT};
    int saved = errno;
    long rc = mh__result(ioctl(pidfd, PIDFD_ASK_INFO, &info), saved);
    if (rc < 0) {
        return (int) rc;
    }
    if (!(info.mask & PIDFD_INFO_OF_EXIT)) {
        return -ENODATA;
    }
    *status = WIFEXITED(info.exit_code) ? WEXITSTATUS(info.exit_code) : -WTERMSIG(info.exit_code);
    return 0;
}

void mh_os_thread_name(const char *name)
{
    int saved = errno;
    char shown[16] = {0};
    strncpy(shown, name, sizeof shown - 1);
    (void) prctl(PR_SET_NAME, (unsigned long) (uintptr_t) shown, 0, 0, 0);
    errno = saved;
}

int mh_os_adopt(int whether)
{
    int before = 0;
    if (prctl(PR_GET_CHILD_SUBREAPER, (unsigned long) (uintptr_t) &before, 0, 0, 0) < 0 ||
        (before != whether && prctl(PR_SET_CHILD_SUBREAPER, (unsigned long) whether, 0, 0, 0) < 0)) {
        return -errno;
    }
    return before;
}

int mh_os_die_with(int fd)
{
    int saved = errno;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) {
        return (int) mh__result(flags, saved);
    }
    if (fcntl(fd, F_SETOWN, getpid()) < 0 || fcntl(fd, F_SETSIG, SIGKILL) < 0) {
        return (int) mh__result(-1, saved);
    }
    long rc = mh__result(fcntl(fd, F_SETFL, flags | O_ASYNC), saved);
    /* It may have been closed before we asked to be told. */
    if (rc == 0 && (mh_os_poll(fd, 0, 0) & ~MH_OS_HUNG_UP) == 0) {
        (void) kill(getpid(), SIGKILL);
    }
    return (int) rc;
}
