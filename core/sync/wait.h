/* core/sync/wait.h - the wait primitive as the other files of core/ see it: it also tells them of slices. */
#ifndef MH_SYNC_WAIT_H
#define MH_SYNC_WAIT_H

#include <manyhands/wait.h>

/* Flag: a short internal section, which must be entered: short slices, no hook, no cancel, no parking, no
 * -EINTR. */
#define MH__SECTION 0x80000000u
/* A slice of a shared wait is over and nothing woke it: look whether those who could have still live. */
#define MH__SLICE 1

/* mh_wait, with MH__SLICE told apart from 0. */
int mh__wait(_Atomic(uint32_t) *word, uint32_t expected, mh_deadline deadline, mh_cancel *cancel,
             unsigned flags);

#endif
