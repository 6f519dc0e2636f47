/* core/sync/cancel.h - how waits watch a cancel token.
 *
 * Bit table of mh_cancel.word
 *   0      REQUESTED  cleared by reset
 *   1      WATCHED    somebody sleeps or slept on the word; never cleared. Set before each sleep, so it may
 *                     not be left out; set for nothing it costs the next request one needless system call.
 *   2..31  requests, counted: a sleeper learns of a request even if a reset follows before it runs
 * Transitions: request: REQUESTED = 1, requests + 1, wake all if WATCHED; reset: REQUESTED = 0; watch:
 * WATCHED = 1.
 */
#ifndef MH_SYNC_CANCEL_H
#define MH_SYNC_CANCEL_H

#include <manyhands/wait.h>

#define MH__REQUESTED 1u
#define MH__WATCHED 2u
#define MH__ONE_REQUEST 4u

/* Set WATCHED; the word as it is then. */
uint32_t mh__cancel_watch(mh_cancel *token);
/* Was there a request since the token was `before` (any word read from it, WATCHED aside)? */
static inline int mh__cancel_since(uint32_t now, uint32_t before)
{
    return (now & MH__REQUESTED) != 0 || (now ^ before) >= MH__ONE_REQUEST;
}

#endif
