/* What the two programs share: a named segment with this in it, and a named channel. Plain C layout, fixed widths. */
#ifndef BOARD_H
#define BOARD_H

#include <manyhands/manyhands.h>
#include <stdio.h>
#include <stdlib.h>

#define BOARD_KIND 0x626f6172u /* "boar" */
#define ROUNDS 2000
#define PATIENCE mh_in_ms(20000)

struct board {
    mh_lock lock;
    mh_rwlock rwlock;
    mh_cond changed;
    mh_sem permits;
    mh_event over;
    uint64_t count;
    char text[64];
};

static inline void must(int rc, const char *what)
{
    if (rc < 0) {
        fprintf(stderr, "%s: %s\n", what, mh_strerror(rc));
        exit(1);
    }
}

#endif
