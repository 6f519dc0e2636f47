/* core/os/text.c - small texts without allocation, for /proc, /sys and panics. Safe in signal handlers. */
#include "core/os/sys.h"

#include <fcntl.h>
#include <unistd.h>

ssize_t mh__read_text(const char *path, char *text, size_t room)
{
    int saved = errno;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return mh__result(fd, saved);
    }
    size_t used = 0;
    ssize_t got;
    do {
        got = read(fd, text + used, room - 1 - used);
        if (got > 0) {
            used += (size_t) got;
        }
    } while ((got > 0 && used < room - 1) || (got < 0 && errno == EINTR));
    long error = mh__result(got < 0 ? -1 : 0, saved);
    close(fd);
    errno = saved;
    text[used] = '\0';
    return error < 0 ? error : (ssize_t) used;
}

char *mh__put_text(char *p, const char *end, const char *text)
{
    while (*text != '\0' && p < end - 1) {
        *p++ = *text++;
    }
    *p = '\0';
    return p;
}

char *mh__put_number(char *p, const char *end, uint64_t number, unsigned base)
{
    char digits[24];
    char *first = digits + sizeof digits - 1;
    *first = '\0';
    do {
        *--first = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    return mh__put_text(p, end, first);
}
