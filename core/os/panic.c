/* core/os/panic.c - the end of a process whose caller broke a contract. No allocation, no stdio: it may be
 * anywhere. */
#include "core/os/os.h"
#include "core/os/sys.h"

#include <stdlib.h>
#include <unistd.h>

static _Noreturn void die(const char *function, const void *object, const char *what, int owner)
{
    char text[320] = {0};
    const char *end = text + sizeof text - 1; /* room for the newline */
    char *p = mh__put_text(text, end, "manyhands: ");
    p = mh__put_text(p, end, function);
    p = mh__put_text(p, end, "(0x");
    p = mh__put_number(p, end, (uint64_t) (uintptr_t) object, 16);
    p = mh__put_text(p, end, "): ");
    p = mh__put_text(p, end, what);
    if (owner >= 0) {
        p = mh__put_text(p, end, "; owner ");
        p = owner == 0 ? mh__put_text(p, end, "none") : mh__put_number(p, end, (uint64_t) owner, 10);
    }
    p = mh__put_text(p, end, "; thread ");
    p = mh__put_number(p, end, (uint64_t) mh_os_tid(), 10);
    p = mh__put_text(p, end, " of process ");
    p = mh__put_number(p, end, (uint64_t) getpid(), 10);
    *p++ = '\n';
    ssize_t ignored = write(STDERR_FILENO, text, (size_t) (p - text));
    (void) ignored;
    abort();
}

void mh_os_panic(const char *function, const void *object, const char *what)
{
    die(function, object, what, -1);
}

void mh_os_panic_owned(const char *function, const void *object, const char *what, int owner)
{
    die(function, object, what, owner);
}
