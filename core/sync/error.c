/* core/sync/error.c - the texts and names of return codes. */
#include <manyhands/error.h>

#include <errno.h>
#include <string.h>

const char *mh_strerror(int code)
{
    switch (code) {
#define TEXT(name, value, text) \
    case name:                  \
        return text;
        MH_CODES(TEXT)
#undef TEXT
    }
    if (code == 0) {
        return "success";
    }
    if (code > 0 || code < -4095) {
        return "not a code of manyhands";
    }
    int saved = errno; /* strerror() may set it */
    const char *text = strerror(-code);
    errno = saved;
    return text != NULL ? text : "unknown error";
}

/* The errno values that a manyhands function can return. Not strerrorname_np(): musl has none. */
/* clang-format off */
#define ERRNO_NAMES(X)                                                                                \
    X(EACCES) X(EAGAIN) X(EBADF) X(EBUSY) X(ECANCELED) X(ECHILD) X(EDEADLK) X(EEXIST) X(EFAULT)       \
    X(EFBIG) X(EINTR) X(EINVAL) X(EIO) X(EISDIR) X(ELOOP) X(EMFILE) X(EMSGSIZE) X(ENAMETOOLONG)       \
    X(ENFILE) X(ENODEV) X(ENOENT) X(ENOEXEC) X(ENOMEM) X(ENOSPC) X(ENOSYS) X(ENOTDIR) X(ENOTSOCK)     \
    X(EOPNOTSUPP) X(EOVERFLOW) X(EPERM) X(EPIPE) X(EPROTO) X(ERANGE) X(EROFS) X(ESRCH) X(ETIMEDOUT)   \
    X(ETXTBSY) X(E2BIG)
/* clang-format on */

const char *mh_error_name(int code)
{
    switch (code) {
#define NAME(name, value, text) \
    case name:                  \
        return #name;
        MH_CODES(NAME)
#undef NAME
#define ERRNO_NAME(name) \
    case -name:          \
        return #name;
        ERRNO_NAMES(ERRNO_NAME)
#undef ERRNO_NAME
    case 0:
        return "OK";
    }
    return "?";
}
