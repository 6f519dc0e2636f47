/* core/os/look.c - what a thread of this process does, as /proc tells; memory that may be gone. */
#include "core/os/os.h"
#include "core/os/sys.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int read_task(int tid, const char *name, char *text, size_t room)
{
    char path[64];
    const char *limit = path + sizeof path;
    char *end = mh__put_number(mh__put_text(path, limit, "/proc/self/task/"), limit, (uint64_t) tid, 10);
    mh__put_text(mh__put_text(end, limit, "/"), limit, name);
    ssize_t size = mh__read_text(path, text, room);
    return size == -ENOENT && tid != mh_os_tid() ? -ESRCH : (int) size;
}

int mh_os_thread_syscall(int tid, long *number, uintptr_t *argument)
{
    char text[200], *rest;
    int size = read_task(tid, "syscall", text, sizeof text);
    if (size < 0) {
        return size;
    }
    *number = strtol(text, &rest, 10);
    if (rest == text) { /* "running" */
        return size == 0 ? -ESRCH : 1;
    }
    *argument = *number < 0 ? 0 : (uintptr_t) strtoull(rest, NULL, 16);
    return 0;
}

int mh_os_is_futex_call(long number)
{
    return number == SYS_futex ? 1 : number == MH__NR_FUTEX_WAITV ? 2 : 0;
}

int mh_os_thread_name_of(int tid, char *name, size_t room)
{
    int size = read_task(tid, "comm", name, room);
    if (size < 0) {
        return size;
    }
    name[strcspn(name, "\n")] = '\0';
    return 0;
}

int mh_os_peek(const void *from, void *to, size_t size)
{
    struct iovec here = {to, size}, there = {(void *) (uintptr_t) from, size};
    int saved = errno;
    long got = mh__result(syscall(SYS_process_vm_readv, mh_os_pid(), &here, 1L, &there, 1L, 0L), saved);
    return got < 0 ? (int) got : (size_t) got == size ? 0 : -EFAULT;
}
