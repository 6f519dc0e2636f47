/* core/os/futex.c - sleep on a word, wake its sleepers. */
#include "core/os/os.h"
#include "core/os/sys.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int mh_os_futex_wait(_Atomic(uint32_t) *word, uint32_t expected, int64_t deadline, int shared)
{
    int saved = errno;
    int operation = FUTEX_WAIT_BITSET | (shared ? 0 : FUTEX_PRIVATE_FLAG); /* _BITSET: an absolute deadline */
    struct timespec until = mh__timespec(deadline < 0 ? 0 : deadline);
    return (int) mh__result(syscall(SYS_futex, word, operation, expected,
                                    deadline == INT64_MAX ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY),
                            saved);
}

void mh_os_futex_wake(_Atomic(uint32_t) *word, int count, int shared)
{
    int saved = errno;
    /* The word may be unmapped by now (its object was freed by whom we let go on): EFAULT, and nobody sleeps
     * there. */
    (void) syscall(SYS_futex, word, FUTEX_WAKE | (shared ? 0 : FUTEX_PRIVATE_FLAG), count, NULL, NULL, 0);
    errno = saved;
}

/* The kernel's struct futex_waitv; older headers lack it. */
struct waitv {
    uint64_t expected;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
};

enum { WAITV_U32 = 2, WAITV_PRIVATE = 128 };

static long waitv(const struct waitv *words, unsigned count, const struct timespec *until)
{
    return syscall(MH__NR_FUTEX_WAITV, words, count, 0, until, CLOCK_MONOTONIC);
}

/* Probed once: 0 not yet, 1 there, 2 not there. A wait for nothing is refused with EINVAL by a kernel that
 * has the call; old kernels, seccomp filters and user-space kernels say ENOSYS or EPERM. */
int mh_os_has_wait_any(void)
{
    static _Atomic(int) known;
    int state = mh_load_rlx(&known);
    if (state == 0) {
        int saved = errno;
        state = mh__result(waitv(NULL, 0, NULL), saved) == -EINVAL ? 1 : 2;
        mh_store_rlx(&known, state);
    }
    return state == 1;
}

int mh_os_futex_wait_any(const struct mh_os_futex *futexes, int count, int64_t deadline)
{
    struct waitv words[MH_OS_FUTEX_ANY];
    if (count < 1 || count > MH_OS_FUTEX_ANY) {
        return -EINVAL;
    }
    if (!mh_os_has_wait_any()) {
        return -ENOSYS;
    }
    memset(words, 0, sizeof words);
    for (int i = 0; i < count; i++) {
        words[i].expected = futexes[i].expected;
        words[i].address = (uint64_t) (uintptr_t) futexes[i].word;
        words[i].flags = WAITV_U32 | (futexes[i].shared ? 0 : WAITV_PRIVATE);
    }
    int saved = errno;
    struct timespec until = mh__timespec(deadline < 0 ? 0 : deadline);
    return (int) mh__result(waitv(words, (unsigned) count, deadline == INT64_MAX ? NULL : &until), saved);
}
