/* core/proc/thread_extras.c - what a thread leaves to be done at its end, and where it may run. */
#include <errno.h>
#include <string.h>

#include "core/os/os.h"
#include "core/proc/thread.h"
#include "manyhands/error.h"
#include "manyhands/thread.h"

/* ---- clean-up ---- */

void mh__run_cleanups(void)
{
    struct mh__tls *tls = mh__tls();
    while (tls->cleanups != NULL) { /* one of them may add another */
        mh_cleanup *cleanup = tls->cleanups;
        tls->cleanups = cleanup->next;
        cleanup->next = NULL;
        cleanup->run(cleanup);
    }
    mh__tell_the_end();
}

int mh_thread_at_end(mh_cleanup *cleanup)
{
    struct mh__tls *tls = mh__tls();
    if (cleanup->run == NULL) {
        return -EINVAL;
    }
    /* a thread that was made elsewhere ends without us: the system calls at its end */
    int rc = tls->cleanups == NULL ? mh_os_thread_call_at_end(MH_OS_END_CLEANUPS, mh__run_cleanups) : 0;
    if (rc == 0) {
        cleanup->next = tls->cleanups;
        tls->cleanups = cleanup;
    }
    return rc;
}

int mh_thread_not_at_end(mh_cleanup *cleanup)
{
    for (mh_cleanup **at = &mh__tls()->cleanups; *at != NULL; at = &(*at)->next) {
        if (*at == cleanup) {
            *at = cleanup->next;
            cleanup->next = NULL;
            return 0;
        }
    }
    return -ENOENT;
}

/* ---- cores ---- */

enum { WORD = 8 * (int) sizeof(unsigned long), WORDS = MH_OS_MOST_CORES / WORD };

/* 0: the calling thread; negative: one that cannot be asked. */
static int id_of(const mh_thread *thread)
{
    if (thread == NULL || thread == mh_thread_self()) {
        return 0;
    }
    enum mh_state state = mh_thread_state(thread);
    return state == MH_NEW || state == MH_FINISHED ? MH_E_STATE : mh_thread_id(thread);
}

int mh_thread_set_cores(mh_thread *thread, const int *cores, size_t count)
{
    unsigned long mask[WORDS];
    int id = id_of(thread);
    memset(mask, 0, sizeof mask);
    for (size_t i = 0; i < count; i++) {
        if (cores[i] < 0 || cores[i] >= MH_OS_MOST_CORES) {
            return -EINVAL;
        }
        mask[cores[i] / WORD] |= 1ul << (cores[i] % WORD);
    }
    int rc = id < 0 ? id : mh_os_set_cores(id, mask);
    return rc == -ESRCH ? MH_E_STATE : rc; /* it ended just now */
}

int mh_thread_cores(const mh_thread *thread, int *cores, size_t room)
{
    unsigned long mask[WORDS];
    int id = id_of(thread), found = 0;
    int bytes = id < 0 ? id : mh_os_get_cores(id, mask);
    if (bytes < 0) {
        return bytes == -ESRCH ? MH_E_STATE : bytes;
    }
    for (int core = 0; core < bytes * 8; core++) {
        if (mask[core / WORD] >> (core % WORD) & 1) {
            if ((size_t) found < room) {
                cores[found] = core;
            }
            found++;
        }
    }
    return found;
}
