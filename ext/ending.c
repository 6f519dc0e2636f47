/* What is known of a thread only once it has let go of the interpreter: its processor time. To read that clock takes
 * microseconds, in which others would wait for the GIL.
 *
 * The Control and the thread share an `ending`, by two references: either may go first. In a forked child those of the
 * threads that stayed behind keep theirs, some 50 bytes each. */
#include <stdlib.h>

#include "control.h"

struct ext_ending {
    atomic_uint users;
    _Atomic(int64_t) cpu; /* ns; negative: it has not ended */
};

/* Of the calling thread. */
static _Thread_local struct {
    mh_cleanup cleanup;
    ext_ending *ending;
} mine;

ext_ending *ext_ending_new(void)
{
    ext_ending *ending = malloc(sizeof *ending); /* freed without a GIL */
    if (ending == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    atomic_init(&ending->users, 1);
    atomic_init(&ending->cpu, -1);
    return ending;
}

void ext_ending_drop(ext_ending *ending)
{
    /* acq_rel: who frees it does so after all that the other did */
    if (atomic_fetch_sub_explicit(&ending->users, 1, memory_order_acq_rel) == 1) {
        free(ending);
    }
}

static void write_down(mh_cleanup *unused)
{
    (void) unused;
    ext_ending *ending = mine.ending;
    mine.ending = NULL;
    atomic_store_explicit(&ending->cpu, mh_thread_own_cpu_time(),
                          memory_order_release); /* pairs with ext_ending_cpu */
    ext_ending_drop(ending);
}

void ext_ending_expect(ext_ending *ending)
{
    bool expected = mine.ending != NULL;
    if (expected) { /* of a thread that went on after it had said that it ends */
        write_down(NULL);
    }
    atomic_fetch_add_explicit(&ending->users, 1, memory_order_relaxed);
    mine.ending = ending;
    mine.cleanup.run = write_down;
    if (!expected && mh_thread_at_end(&mine.cleanup) < 0) {
        write_down(NULL);
    }
}

bool ext_ending_cpu(ext_ending *ending, int64_t *ns)
{
    *ns = atomic_load_explicit(&ending->cpu, memory_order_acquire); /* pairs with write_down */
    return *ns >= 0;
}
