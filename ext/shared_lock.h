/* ext/shared_lock.h - what a condition needs of its lock. */
#ifndef EXT_SHARED_LOCK_H
#define EXT_SHARED_LOCK_H

#include <unistd.h>

#include "shared.h"

typedef struct shared_lock {
    shared_object head;
    int recursive;
    int count;            /* how often this process holds it; touched by the holder only */
    unsigned long thread; /* which of its threads */
    int process, owner;   /* its id, and the owner as the lock names it: a recursive one names the thread */
    ext_held held;
} shared_lock;

int shared_lock_is_mine(shared_lock *self);
/* Let go of every level; `depth` says how many there were. */
int shared_lock_let_go(shared_lock *self, uint32_t *depth);
/* Take it again, whatever happens. MH_OWNER_DIED where the last owner died; EXT_RAISED where a signal handler raised. */
int shared_lock_regain(shared_lock *self, uint32_t depth);

#endif
