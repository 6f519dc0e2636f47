/* ext/shared_lock.h - what a condition needs of its lock. */
#ifndef EXT_SHARED_LOCK_H
#define EXT_SHARED_LOCK_H

#include "shared.h"

typedef MH_ATOMIC(uint32_t) shared_word;

typedef struct shared_lock {
    shared_object head;
    int recursive;
    int count;           /* how often this process holds it; touched by the holder only */
    const void *thread;  /* which of its threads: something that each has one of */
    int owner;           /* recursive: as the lock names it */
    unsigned generation; /* in which process (ext_generation) */
    ext_held held;
    _Atomic(shared_word *) due; /* what a notified waiter sleeps on, to be woken when this lock is released */
} shared_lock;

int shared_lock_is_mine(shared_lock *self);
/* The calling thread holds it: wake the sleeper on `word` at its release. It would only run into the lock before. */
void shared_lock_owe(shared_lock *self, shared_word *word);
int shared_lock_owes(const shared_lock *self);
/* What is due, which the caller pays then; NULL: nothing. */
shared_word *shared_lock_take_due(shared_lock *self);
void shared_lock_pay(shared_word *word);
/* Let go of every level; `depth` says how many there were. */
void shared_lock_let_go(shared_lock *self, uint32_t *depth);
/* Take it again, whatever happens. MH_OWNER_DIED where the last owner died; EXT_RAISED where a signal handler raised. */
int shared_lock_regain(shared_lock *self, uint32_t depth);

#endif
