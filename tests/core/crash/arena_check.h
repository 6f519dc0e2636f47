/* tests/core/crash/arena_check.h - is an arena whole? Looks at everything, with the lock held; fails the test
 * where not. */
#ifndef MH_TESTS_ARENA_CHECK_H
#define MH_TESTS_ARENA_CHECK_H

#include "core/shm/arena.h"

void check_arena(mh_arena *arena);
uint32_t blocks_used(mh_arena *arena);
uint32_t places_taken(mh_arena *arena); /* or reserved */
uint32_t parcels_used(mh_arena *arena);

#endif
