/* core/debug/trace.c - see trace.h. Compiled into tests only; a file without MH_TRACE is empty. */
#undef MH_TRACE_STEPS /* its own steps are none */
#include "core/debug/trace.h"

#ifdef MH_TRACE
#include <stddef.h>

#include "core/os/atomic.h"

static mh__trace_hook trace_hook; /* set while one thread runs */
static void *trace_arg;
static _Atomic(uint64_t) trace_count;

void mh__trace_set(mh__trace_hook hook, void *arg)
{
    trace_hook = hook;
    trace_arg = arg;
    mh_store_rlx(&trace_count, UINT64_C(0));
}

void mh__trace_point(const char *name)
{
    if (trace_hook != NULL) {
        trace_hook(name, mh_add_rlx(&trace_count, 1), trace_arg);
    }
}
#else
typedef int mh__trace_is_off; /* ISO C wants something in every file */
#endif
