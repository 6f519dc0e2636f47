/* tests/core/crash/crash_die.h - the end of a process at a trace point, and the note of it for tools/crash_matrix.py. */
#ifndef TESTS_CRASH_DIE_H
#define TESTS_CRASH_DIE_H

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Killed as the system's killer would. Where MH_CRASH_LOG names a file, the point's name is a line in it. */
static inline _Noreturn void crash_die(const char *point)
{
    const char *path = getenv("MH_CRASH_LOG");
    int fd = path == NULL ? -1 : open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    char line[128];
    size_t size = strlen(point) < sizeof line - 1 ? strlen(point) : sizeof line - 1;
    memcpy(line, point, size);
    line[size] = '\n';
    if (fd >= 0 && write(fd, line, size + 1) < 0) {
        abort();
    }
    (void) kill(getpid(), SIGKILL);
    for (;;) { /* nothing happens after it */
    }
}

#endif
