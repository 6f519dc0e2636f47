/* core/shm/guard.h - a lock between the threads of this process alone, for bookkeeping: no deadline, no
 * signal hook, no end by terminate(). Not counted as a shared section, for a process that is stopped with it
 * stops nobody else; so it may be held across fork(), and released on both sides. */
#ifndef MH_SHM_GUARD_H
#define MH_SHM_GUARD_H

#include "core/sync/section.h"

#define MH__GUARD_INIT {.flags = MH_PRIVATE}

static inline void mh__guard_enter(mh_lock *guard)
{
    (void) mh__section_enter(guard); /* a private lock is not counted */
}

static inline void mh__guard_leave(mh_lock *guard)
{
    mh_lock_release(guard);
}

#endif
