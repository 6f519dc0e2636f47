/* The counter behind fault.h, and what is alive of memory and mappings. */
#include "tests/core/fault/inject.h"

#include <linux/futex.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tests/core/fault/fault.h"
#include "tests/core/harness.h"

/* Shared with the children that a scenario forks: the Nth call of all of them together fails. */
static struct counters {
    atomic_long calls, fail_at; /* fail_at 0: none */
    atomic_int fired, old_kernel;
    char call[24];
} *counters;
static atomic_long blocks, maps;
static int wait_error = EINTR;

void inject_begin(void)
{
    counters = t_shared(sizeof *counters);
}

void inject_at(long n)
{
    if (n != 0) { /* 0: what has fired is still to be told */
        atomic_store(&counters->calls, 0);
        atomic_store(&counters->fired, 0);
    }
    atomic_store(&counters->fail_at, n);
}

void inject_old_kernel(int on)
{
    atomic_store(&counters->old_kernel, on);
}

void inject_wait_error(int error)
{
    wait_error = error;
}

const char *inject_fired(void)
{
    return atomic_load(&counters->fired) ? counters->call : NULL;
}

int mh_fault(const char *call, int error)
{
    if (counters == NULL || atomic_load(&counters->fail_at) == 0 ||
        atomic_fetch_add(&counters->calls, 1) + 1 != atomic_load(&counters->fail_at)) {
        return 0;
    }
    strncpy(counters->call, call, sizeof counters->call - 1);
    atomic_store(&counters->fired, 1);
    errno = strncmp(call, "pthread", 7) == 0 ? errno : error; /* those return it */
    return 1;
}

static int is_new(long number)
{
    return number == SYS_memfd_create || number == 434 /* pidfd_open */ ||
           number == 424 /* pidfd_send_signal */ || number == 436 /* close_range */ ||
           number == 449 /* futex_waitv */;
}

/* A wake cannot fail, a wait can. */
static int is_futex_wait(va_list arguments)
{
    (void) va_arg(arguments, void *);
    int operation = va_arg(arguments, int);
    return (operation & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
}

int mh_fault_syscall(long number, ...)
{
    if (number == SYS_futex) {
        va_list arguments;
        va_start(arguments, number);
        int waits = is_futex_wait(arguments);
        va_end(arguments);
        return waits && mh_fault("futex", wait_error);
    }
    if (counters != NULL && atomic_load(&counters->old_kernel) && is_new(number)) {
        errno = ENOSYS;
        return 1;
    }
    switch (number) {
    case SYS_memfd_create:
        return mh_fault("memfd_create", EMFILE);
    case 434:
        return mh_fault("pidfd_open", EMFILE);
    case 436:
        return mh_fault("close_range", ENOSYS);
    case 449:
        return mh_fault("futex_waitv", wait_error);
    case SYS_process_vm_readv:
        return mh_fault("process_vm_readv", EPERM);
    case SYS_sched_setaffinity:
        return mh_fault("sched_setaffinity", EINVAL);
    case SYS_sched_getaffinity:
        return mh_fault("sched_getaffinity", EINVAL);
    default: /* those that cannot fail */
        return 0;
    }
}

void *mh_fault_malloc(size_t size)
{
    void *memory = mh_fault("malloc", ENOMEM) ? NULL : malloc(size);
    atomic_fetch_add(&blocks, memory != NULL);
    return memory;
}

void *mh_fault_calloc(size_t count, size_t size)
{
    void *memory = mh_fault("calloc", ENOMEM) ? NULL : calloc(count, size);
    atomic_fetch_add(&blocks, memory != NULL);
    return memory;
}

void mh_fault_free(void *memory)
{
    atomic_fetch_sub(&blocks, memory != NULL);
    free(memory);
}

void *mh_fault_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    void *at = mh_fault("mmap", ENOMEM) ? MAP_FAILED : mmap(address, size, protection, flags, fd, offset);
    atomic_fetch_add(&maps, at != MAP_FAILED);
    return at;
}

int mh_fault_munmap(void *address, size_t size)
{
    atomic_fetch_sub(&maps, 1);
    return munmap(address, size);
}

static long open_descriptors(void)
{
    long count = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    while (readdir(folder) != NULL) {
        count++;
    }
    (void) closedir(folder);
    return count;
}

struct inventory inject_inventory(void)
{
    return (struct inventory){atomic_load(&blocks), atomic_load(&maps), open_descriptors()};
}
