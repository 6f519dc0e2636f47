/* core/sync/deadline.c - instants. */
#include <manyhands/deadline.h>

#include "core/os/os.h"

mh_deadline mh_now(void)
{
    return mh_os_now();
}

mh_deadline mh_in_ns(int64_t ns)
{
    if (ns < 0) {
        return MH_AT_ONCE;
    }
    int64_t now = mh_os_now();
    return ns < MH_FOREVER - now ? now + ns : MH_FOREVER;
}

mh_deadline mh_in_ms(int64_t ms)
{
    return ms > MH_FOREVER / 1000000 ? MH_FOREVER : mh_in_ns(ms < 0 ? -1 : ms * 1000000);
}
