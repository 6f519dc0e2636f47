/* core/sync/section.h - short internal critical sections in shared (or private) memory.
 *
 * The lock of a section is an mh_lock, taken (as a rule) without deadline, cancel token, hook or parking; its waits look
 * after the owner's life from 1 ms on. Who enters with MH_OWNER_DIED holds it and repairs what it guards
 * before anything else. Sections nest, in one order of locks; nothing in them blocks on anything but an
 * inner section.
 *
 * A process that is stopped (SIGSTOP) inside a section blocks all others, so whoever pauses one looks at its
 * count of sections first. A waiter for the lock counts as inside only while it is awake. Sections of a private lock
 * are not counted.
 */
#ifndef MH_SYNC_SECTION_H
#define MH_SYNC_SECTION_H

#include <manyhands/lock.h>

#include "core/os/os.h"

/* Where the threads of this process that are inside are counted. The arena moves it to this process's place,
 * at any time: a thread leaves where it entered. */
void mh__section_count_at(_Atomic(uint32_t) *word);

int mh__section_enter(mh_lock *lock); /* 0, or MH_OWNER_DIED: held, repair first */

/* The same, or -ETIMEDOUT, not inside: for memory of which it is not known yet whether its owner is one of us. */
int mh__section_enter_by(mh_lock *lock, mh_deadline deadline);

void mh__section_leave(mh_lock *lock);

/* For lock.c: out of the count while asleep. */
void mh__section_out(void);
void mh__section_in(void);

#endif
