/* core/sync/section.h - short internal critical sections in shared (or private) memory.
 *
 * The lock of a section is an mh_lock, taken (as a rule) without deadline, cancel token, hook or parking; its waits look
 * after the owner's life from 1 ms on. Who enters with MH_OWNER_DIED holds it and repairs what it guards
 * before anything else. Sections nest, in one order of locks; nothing in them blocks on anything but an
 * inner section.
 *
 * A process that is stopped (SIGSTOP) inside a section blocks all others, so whoever pauses one stops it, and then looks
 * who is inside. A waiter for the lock counts as inside only while it is awake. Sections of a private lock are not
 * counted.
 */
#ifndef MH_SYNC_SECTION_H
#define MH_SYNC_SECTION_H

#include <manyhands/lock.h>

#include "core/os/os.h"

/* Who of a process is inside. A thread has a seat of its own, which it alone writes, so that to enter and to leave are two
 * plain stores; threads that come when all seats are taken are counted. Nobody reads it while the process runs. */
enum { MH__SEATS = 16, MH__NO_SEAT };
struct mh__inside {
    _Atomic(uint32_t) others;
    _Atomic(uint8_t) seat[MH__SEATS]; /* 1: its thread is inside */
};
_Static_assert(sizeof(struct mh__inside) == 20, "part of the shared layout");

/* Where the threads of this process say so. The arena moves it to this process's place, at any time: a thread leaves
 * where it entered. NULL: nowhere that anyone looks. */
void mh__section_count_at(struct mh__inside *inside);
void mh__section_forked(void); /* in the child: its one thread sits where it sat, the other seats are free */

void mh__section_clear(struct mh__inside *inside); /* nobody is */
int mh__section_count(const struct mh__inside *inside);

int mh__section_enter(mh_lock *lock); /* 0, or MH_OWNER_DIED: held, repair first */

/* The same, or -ETIMEDOUT, not inside: for memory of which it is not known yet whether its owner is one of us. */
int mh__section_enter_by(mh_lock *lock, mh_deadline deadline);

void mh__section_leave(mh_lock *lock);

/* For lock.c: out of the count while asleep. */
void mh__section_out(void);
void mh__section_in(void);

#endif
