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

struct spawn {
    char *const *argv;
    char *const *envp;
    const int *keep;
    size_t keep_count;
    int report;   /* exec's errno goes here; closed by a successful exec */
    int die_with; /* mh_os_die_with() this, and keep it open; -1: none */
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

static int keep_descriptors(const struct spawn *spawn)
{
    drop_descriptors();
    if (spawn->die_with >= 0) {
        int rc = mh_os_die_with(spawn->die_with);
        if (rc == 0) {
            rc = mh_os_set_inheritable(spawn->die_with, 1);
        }
        if (rc < 0) {
            return rc;
        }
    }
    for (size_t i = 0; i < spawn->keep_count; i++) {
        int rc = mh_os_set_inheritable(spawn->keep[i], 1);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static _Noreturn void child(const struct spawn *spawn)
{
    default_signals();
    int error = -keep_descriptors(spawn);
    if (error == 0) {
        (void) execvpe(spawn->argv[0], spawn->argv, spawn->envp); /* it allocates on the stack alone */
        error = errno;
    }
    ssize_t ignored = write(spawn->report, &error, sizeof error);
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

/* What is to be kept must be open before: else the report pipe might take its number, and never be closed. */
static int check_descriptors(const int *keep, size_t count)
{
    int saved = errno;
    for (size_t i = 0; i < count; i++) {
        long rc = mh__result(fcntl(keep[i], F_GETFD), saved);
        if (rc < 0) {
            return (int) rc;
        }
    }
    return 0;
}

int mh_os_spawn(char *const *argv, char *const *envp, const int *keep, size_t keep_count, int die_with)
{
    int report[2], unused, saved = errno;
    if (argv == NULL || argv[0] == NULL || argv[0][0] == '\0') {
        return -EINVAL;
    }
    int rc = check_descriptors(keep, keep_count);
    if (rc == 0) {
        rc = mh_os_pipe(report);
    }
    if (rc < 0) {
        return rc;
    }
    struct spawn spawn = {argv, envp != NULL ? envp : environ, keep, keep_count, report[1], die_with};
    sigset_t all, before;
    sigfillset(&all); /* no handler of the parent's may run in the child */
    (void) pthread_sigmask(SIG_BLOCK, &all, &before);
    int pid = (int) mh__result(fork(), saved);
    if (pid == 0) {
        child(&spawn);
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
