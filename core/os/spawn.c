/* core/os/spawn.c - start a program with exactly the descriptors that were asked for. */
#include "core/os/os.h"
#include "core/os/sys.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

struct start {
    const struct mh_os_spawn *spawn;
    struct mh_os_child child;
    char *const *envp;
    int report; /* exec's errno goes here; closed by a successful exec */
};

/* In the child between fork and exec only what is safe in a signal handler: another thread may have held any lock. */
static void default_signals(void)
{
    struct sigaction action;
    sigset_t none;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    for (int number = 1; number <= 64; number++) {
        (void) sigaction(number, &action, NULL);
    }
    sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Mark all from 3 on close-on-exec: at once where the kernel can (5.11), else one by one. */
static void drop_descriptors(void)
{
    enum { CLOSE_ON_EXEC = 4, MOST = 65536 };
    if (syscall(MH__NR_CLOSE_RANGE, 3, ~0u, CLOSE_ON_EXEC) == 0) {
        return;
    }
    long most = sysconf(_SC_OPEN_MAX);
    for (int fd = 3; fd < (most > 0 && most < MOST ? most : MOST); fd++) {
        (void) mh_os_set_inheritable(fd, 0);
    }
}

/* The lowest number from which on no descriptor is the target of a redirection. */
static int beyond(const struct mh_os_child *child)
{
    int least = 3;
    for (size_t i = 0; i < child->redirect_count; i++) {
        int to = child->redirect[2 * i + 1];
        least = to >= least ? to + 1 : least;
    }
    return least;
}

static int move_beyond(int *fd, int least)
{
    int saved = errno, moved = *fd < 0 || *fd >= least ? *fd : fcntl(*fd, F_DUPFD_CLOEXEC, least);
    if (moved < 0 && *fd >= 0) {
        return (int) mh__result(moved, saved);
    }
    *fd = moved; /* the old one is closed by exec, or by the redirection that takes its number */
    return 0;
}

/* All sources are copied out of the way first: one's target may be another's source. */
static int redirect(const struct mh_os_child *child, int least)
{
    int copies[MH_OS_MOST_REDIRECTS], saved = errno;
    for (size_t i = 0; i < child->redirect_count; i++) {
        copies[i] = fcntl(child->redirect[2 * i], F_DUPFD_CLOEXEC, least);
        if (copies[i] < 0) {
            return (int) mh__result(-1, saved);
        }
    }
    for (size_t i = 0; i < child->redirect_count; i++) {
        if (dup2(copies[i], child->redirect[2 * i + 1]) < 0) {
            return (int) mh__result(-1, saved);
        }
        mh_os_close(copies[i]);
    }
    return 0;
}

static int join_group(int group)
{
    int saved = errno;
    if (group == 0) {
        return 0;
    }
    return (int) mh__result(group == 2 ? setsid() : setpgid(0, 0), saved) < 0 ? -EPERM : 0;
}

int mh_os_become(struct mh_os_child *child)
{
    int least = beyond(child), saved = errno;
    int rc = join_group(child->group);
    if (rc == 0) {
        rc = move_beyond(&child->die_with, least);
    }
    if (rc == 0 && child->die_with >= 0) {
        rc = mh_os_die_with(child->die_with);
    }
    if (rc == 0) {
        rc = redirect(child, least);
    }
    if (rc == 0 && child->cwd != NULL) {
        rc = (int) mh__result(chdir(child->cwd), saved);
    }
    return rc;
}

static int prepare(struct start *start)
{
    const struct mh_os_spawn *spawn = start->spawn;
    drop_descriptors();
    int rc = move_beyond(&start->report, beyond(&start->child));
    if (rc == 0) {
        rc = mh_os_become(&start->child);
    }
    if (rc == 0 && start->child.die_with >= 0) {
        rc = mh_os_set_inheritable(start->child.die_with, 1);
    }
    for (size_t i = 0; rc == 0 && i < spawn->keep_count; i++) {
        rc = mh_os_set_inheritable(spawn->keep[i], 1);
    }
    return rc;
}

static _Noreturn void child(struct start *start)
{
    default_signals();
    int error = -prepare(start);
    if (error == 0) {
        (void) execvpe(start->spawn->argv[0], start->spawn->argv,
                       start->envp); /* it allocates on the stack alone */
        error = errno;
    }
    ssize_t ignored = write(start->report, &error, sizeof error);
    (void) ignored;
    _exit(127);
}

static int first_word(int fd)
{
    int error = 0;
    ssize_t got;
    do {
        got = mh_os_read(fd, &error, sizeof error);
    } while (got == -EINTR);
    return got == (ssize_t) sizeof error ? error : 0;
}

/* What is to be kept or copied must be open before: else the report pipe might take its number, and never be closed. */
static int check_descriptors(const int *fds, size_t count, size_t step)
{
    int saved = errno;
    for (size_t i = 0; i < count; i++) {
        long rc = mh__result(fcntl(fds[i * step], F_GETFD), saved);
        if (rc < 0) {
            return (int) rc;
        }
    }
    return 0;
}

static int check(const struct mh_os_spawn *spawn)
{
    if (spawn->argv == NULL || spawn->argv[0] == NULL || spawn->argv[0][0] == '\0') {
        return -EINVAL;
    }
    int rc = check_descriptors(spawn->keep, spawn->keep_count, 1);
    return rc < 0 ? rc : check_descriptors(spawn->child.redirect, spawn->child.redirect_count, 2);
}

int mh_os_spawn(const struct mh_os_spawn *spawn)
{
    int report[2] = {-1, -1}, unused, saved = errno;
    int rc = check(spawn);
    if (rc == 0) {
        rc = mh_os_pipe(report);
    }
    if (rc < 0) {
        return rc;
    }
    struct start start = {spawn, spawn->child, spawn->envp != NULL ? spawn->envp : environ, report[1]};
    sigset_t all, before;
    sigfillset(&all); /* no handler of the parent's may run in the child */
    (void) pthread_sigmask(SIG_BLOCK, &all, &before);
    int pid = (int) mh__result(fork(), saved);
    if (pid == 0) {
        child(&start);
    }
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    mh_os_close(report[1]);
    int error = pid < 0 ? -pid : first_word(report[0]);
    mh_os_close(report[0]);
    if (error == 0) {
        return pid;
    }
    while (pid > 0 && mh_os_reap(pid, 0, &unused) == 0) {
        (void) mh_os_poll(-1, 0, mh_os_now() + 1000000); /* it is in _exit */
    }
    return -error;
}
