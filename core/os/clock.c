/* core/os/clock.c - time, and how many cores there are to give. */
#include "core/os/os.h"
#include "core/os/sys.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int64_t read_clock(clockid_t clock)
{
    int saved = errno;
    struct timespec ts = {0, 0};
    (void) clock_gettime(clock, &ts);
    errno = saved;
    return (int64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t mh_os_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t mh_os_thread_cpu(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

void mh_os_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile(
        "isb" ::
            : "memory"); /* `yield` is a no-op on most cores; isb waits about as long as x86's pause */
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static int affinity_cores(void)
{
    unsigned long mask[128]; /* 8192 processors */
    int saved = errno, cores = 0;
    long bytes = mh__result(syscall(SYS_sched_getaffinity, getpid(), sizeof mask, mask), saved);
    for (long i = 0; i < bytes / (long) sizeof mask[0]; i++) {
        for (unsigned long bits = mask[i]; bits != 0; bits &= bits - 1) {
            cores++;
        }
    }
    return cores > 0 ? cores : 1;
}

/* cpu.max of the cgroup that is seen as the root (what a container sees of its own): "quota period" or "max
 * period". */
static int quota_cores(void)
{
    char text[64];
    if (mh__read_text("/sys/fs/cgroup/cpu.max", text, sizeof text) <= 0) {
        return INT_MAX;
    }
    char *rest;
    long quota = strtol(text, &rest, 10);
    long period = rest != text ? strtol(rest, NULL, 10) : 0;
    if (quota <= 0 || period <= 0) {
        return INT_MAX;
    }
    return quota / period < 1 ? 1 : (int) (quota / period);
}

int mh_os_core(void)
{
    int saved = errno, core = sched_getcpu();
    errno = saved;
    return core;
}

int mh_os_cores(void)
{
    static _Atomic(int) known;
    int cores = mh_load_rlx(&known);
    if (cores == 0) {
        int saved = errno; /* strtol */
        int allowed = affinity_cores(), quota = quota_cores();
        cores = allowed < quota ? allowed : quota;
        mh_store_rlx(&known, cores);
        errno = saved;
    }
    return cores;
}
