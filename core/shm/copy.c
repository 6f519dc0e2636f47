/* core/shm/copy.c - large copies, by several threads.
 *
 * One core does not reach what the memory gives, and fresh pages are cleared by whoever touches them first. So a large copy
 * is cut into pieces that the caller and a few helpers take from a counter: a helper that finds no core does nothing, and
 * the caller waits for none but the one that is at its last piece. The pieces end where large pages do, or two threads would
 * want the same fresh page.
 */
#include <string.h>

#include "core/os/os.h"
#include "manyhands/arena.h"

#define PIECE ((size_t) 4 << 20)
#define SHARE PIECE /* of each thread, at least: its start and end cost what 200 KB do */
#define MOST_HELPERS 3
#define STACK ((size_t) 64 << 10)

struct copying {
    char *to;
    const char *from;
    size_t lead, end; /* the copy is [lead, end), counted from the piece's edge before it */
    _Atomic(size_t) next;
};

/* The counter hands out numbers alone: relaxed. What the helpers wrote is seen by who joins them. */
static void copy_pieces(void *argument)
{
    struct copying *copying = argument;
    for (;;) {
        size_t from = mh_add_rlx(&copying->next, PIECE), upto = from + PIECE;
        if (from >= copying->end) {
            return;
        }
        from = from < copying->lead ? copying->lead : from;
        upto = upto > copying->end ? copying->end : upto;
        memcpy(copying->to + (from - copying->lead), copying->from + (from - copying->lead), upto - from);
    }
}

static void nothing(void *argument)
{
    (void) argument;
}

static size_t helpers_for(size_t size)
{
    size_t cores = (size_t) mh_os_cores(), threads = size / SHARE < cores ? size / SHARE : cores;
    return threads < 2 ? 0 : threads - 1 < MOST_HELPERS ? threads - 1 : MOST_HELPERS;
}

void mh_memory_copy(void *to, const void *from, size_t size)
{
    struct copying copying = {.to = to, .from = from};
    struct mh_os_thread helper[MOST_HELPERS];
    size_t wanted = helpers_for(size), got = 0;
    if (wanted == 0) {
        if (size > 0) {
            memcpy(to, from, size);
        }
        return;
    }
    copying.lead = (uintptr_t) to % PIECE;
    copying.end = copying.lead + size;
    for (; got < wanted; got++) {
        helper[got] = (struct mh_os_thread){.run = copy_pieces, .end = nothing, .argument = &copying};
        if (mh_os_thread_start(&helper[got], STACK, 1) < 0) {
            break; /* then without it */
        }
    }
    copy_pieces(&copying);
    while (got > 0) {
        mh_os_thread_join(&helper[--got]);
    }
}
