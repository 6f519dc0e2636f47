/* core/os/sys.h - inside core/os only: how a system call's result becomes ours. */
#ifndef MH_OS_SYS_H
#define MH_OS_SYS_H

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#if LONG_MAX != INT64_MAX
#error "core/os is written for 64-bit systems"
#endif

/* Numbers that older C library headers lack; the same on x86-64 and aarch64. */
#define MH__NR_PIDFD_SEND_SIGNAL 424
#define MH__NR_PIDFD_OPEN 434
#define MH__NR_CLOSE_RANGE 436
#define MH__NR_FUTEX_WAITV 449

/* The value or -errno, with errno as it was: `int saved = errno; return mh__result(call(...), saved);` */
static inline long mh__result(long value, int saved)
{
    long result = value < 0 ? -(long) errno : value;
    errno = saved;
    return result;
}

static inline struct timespec mh__timespec(int64_t ns)
{
    struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    return ts;
}

/* Read a small file (of /proc or /sys) whole; the text ends with 0. Bytes, or -errno. */
ssize_t mh__read_text(const char *path, char *text, size_t room);
/* Append text or a decimal number at `p` without passing `end`; returns the new end of text, always
 * terminated. */
char *mh__put_text(char *p, const char *end, const char *text);
char *mh__put_number(char *p, const char *end, uint64_t number, unsigned base);

#endif
