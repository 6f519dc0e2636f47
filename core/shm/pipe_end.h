/* core/shm/pipe_end.h - what a process has of one end of a pipe, and the layout of the pipe's segment:
 *
 *   0      struct mh__pipe_shared: two rings' headers, and how often each side was closed
 *   4096   bytes of ring 0 (side 0 sends), MH__PIPE_MOST units
 *   ...    bytes of ring 1 (side 1 sends)
 */
#ifndef MH_SHM_PIPE_END_H
#define MH_SHM_PIPE_END_H

#include "core/shm/channel_ring.h"
#include "manyhands/pipe.h"

#define MH__PIPE_HEADER 4096u
#define MH__PIPE_BEHIND ((uint64_t) 64 << 20) /* bytes behind the messages that wait, each way */
#define MH__PIPE_MOST 0x40000u /* units: 4 MiB each way, of which 64 KiB are used until more is asked for */
#define MH__PIPE_PIECE 524288u /* bytes; a larger message goes in pieces */

struct mh__pipe_shared {
    struct mh__ring ring[2];
    alignas(64) uint32_t duplex;
    uint32_t reserved[13];
    MH_ATOMIC(uint32_t) closes[2]; /* by side: how often a holder closed. A hint to look at the socket */
};

struct mh_pipe {
    struct mh__view out, in; /* the ring that this end sends into; that it receives from */
    struct mh__pipe_shared *shared;
    mh_segment *segment;
    int socket, side, duplex;

    MH_ATOMIC(uint32_t) gone;        /* 1: every holder of the other end is gone; stays */
    MH_ATOMIC(uint32_t) closes_seen; /* of the other side, when the socket was last looked at */
    MH_ATOMIC(int64_t) looked;       /* when a sender did that */

    /* A large message that is on its way in; the holder of the in-ring's head, while ring->reader names this
     * end. */
    mh_message partial;
    uint64_t partial_size, partial_got;
    MH_ATOMIC(uint32_t) cut; /* 1: since the last whole message one was begun that has not come */
};

/* The other end's holders are all gone (asked of the kernel). */
int mh__pipe_gone(mh_pipe *end);
/* The same where a sender wants to know: asks the kernel now and then only. */
int mh__pipe_gone_lately(mh_pipe *end);

#endif
