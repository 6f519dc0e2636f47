/* manyhands/pipe.h - two ends, each sends to the other: messages through two rings in one segment, and a
 * socket pair that tells select() of messages and both ends of each other's close or death (end of file).
 *
 *   mh_pipe *ends[2];
 *   mh_pipe_create(1, ends);
 *   mh_pipe_send(ends[0], &(mh_part){ text, strlen(text) }, 1, 0, MH_FOREVER, NULL);
 *   mh_pipe_receive(ends[1], &message, MH_FOREVER, NULL);
 *
 * Messages have any length. One that is too large for the ring goes through it piece by piece, while the
 * other end takes the pieces out; it still arrives whole or not at all. Any number of threads and processes
 * may hold an end: their messages do not mix. An end is gone once every process that held it has closed it or
 * died.
 */
#ifndef MANYHANDS_PIPE_H
#define MANYHANDS_PIPE_H

#include "channel.h"

MH_BEGIN_DECLS

typedef struct mh_pipe mh_pipe; /* one end in this process */

/* Two connected ends. `duplex` 0: ends[0] only receives, ends[1] only sends. 0, -ENOMEM, -EMFILE.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits | cancellation: no | allocs: ends, segment,
 * sockets | death: the memory goes with the last process that has it */
MH_API int mh_pipe_create(int duplex, mh_pipe *ends[2]);

/* What another process needs to build the same end: segment descriptor, socket descriptor, side (0 or 1) and
 * duplex.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing changed */
MH_API void mh_pipe_handle(const mh_pipe *end, int *segment_fd, int *socket_fd, int *side, int *duplex);

/* The same end in another process; both descriptors are duplicated. 0, -EINVAL (side), -ENOMEM, -EBADF,
 * MH_E_LAYOUT, MH_E_CORRUPT (not a pipe, or its contents make no sense).
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for the rings' locks | cancellation: no | allocs:
 * end, mapping | death: nothing changed */
MH_API int mh_pipe_attach(int segment_fd, int socket_fd, int side, int duplex, mh_pipe **end);

/* The other end reads end of file once every holder of this end has closed or died, and what was sent before
 * has been received. No thread may be inside it. NULL is allowed.
 * Safety: MT-owner PROC-safe AS-unsafe FORK-safe | waits for a lock | cancellation: no | allocs: frees |
 * death: the same as a close, seen within a second */
MH_API void mh_pipe_close(mh_pipe *end);

/* Send one message. 0; -ETIMEDOUT, -ECANCELED, -EINTR (the message does not arrive), -EPIPE (the other end is
 * gone), -EBADF (this end only receives), -ENOMEM, MH_E_CORRUPT. That the other end died is noticed within a
 * millisecond of sends, as with a socket: what was sent just before is lost with it.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for room | cancellation: yes | allocs: none |
 * death: the whole message or nothing; a half-sent one is called off by the next sender, or by the receiver
 */
MH_API int mh_pipe_send(mh_pipe *end, const mh_part *parts, size_t count, uint32_t tag, mh_deadline deadline,
                        mh_cancel *cancel);

/* Receive the oldest message. 0; -ETIMEDOUT, -ECANCELED, -EINTR (nothing is lost: a large message half
 * received stays with this end, and the next receive goes on with it), MH_E_CLOSED (end of file), MH_E_LOST (the
 * same, and in the middle of a message; said once), -EBADF (this end only sends), -ENOMEM (the message stays),
 * MH_E_CORRUPT.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for a message | cancellation: yes | allocs:
 * message->data | death: the message is still there or gone with the dead; others who hold this end go on
 * with the next */
MH_API int mh_pipe_receive(mh_pipe *end, mh_message *message, mh_deadline deadline, mh_cancel *cancel);

/* Send a descriptor; the receiver gets a duplicate, also where this process is gone by then. Between messages
 * it keeps its place: who sent it before a message receives it before that message. 0; -EAGAIN (the socket is
 * full of descriptors that nobody takes), -EPIPE, -EBADF (no descriptor, or this end only receives).
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for a lock | cancellation: no | allocs: none | death:
 * sent or not */
MH_API int mh_pipe_send_fd(mh_pipe *end, int fd);

/* Receive the next descriptor, close-on-exec. 0; -ETIMEDOUT, -ECANCELED, -EINTR, MH_E_CLOSED (end of file);
 * MH_E_STATE (a message comes first); -EBADMSG (the other side wrote something else to the socket, which is gone
 * now); -EMFILE; -EBADF (this end only sends).
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for a descriptor | cancellation: yes | allocs: a
 * descriptor | death: it is there or gone with the dead */
MH_API int mh_pipe_receive_fd(mh_pipe *end, int *fd, mh_deadline deadline, mh_cancel *cancel);

/* Wait until there is something to receive. 0 (a message, or the first piece of one, or end of file is
 * there), -ETIMEDOUT, -ECANCELED, -EINTR, -EBADF.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for a message | cancellation: yes | allocs: none |
 * death: nothing changed */
MH_API int mh_pipe_poll(mh_pipe *end, mh_deadline deadline, mh_cancel *cancel);

/* As mh_channel_share_outside, of both directions. `is`: was it said at either end?
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death: said or
 * not */
MH_API void mh_pipe_share_outside(mh_pipe *end);
MH_API int mh_pipe_is_outside(const mh_pipe *end);

/* As mh_channel_set_taker, for what this end receives; a message that comes in pieces is given to it once it is whole.
 * Safety: MT-owner PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death: see
 * there */
MH_API void mh_pipe_set_taker(mh_pipe *end, mh_taker *take);

/* As mh_channel_set_weigher, for both directions: 64 MB may lie behind the messages of each, then a send waits.
 * Safety: MT-owner PROC-local AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death: see
 * there */
MH_API void mh_pipe_set_weigher(mh_pipe *end, mh_weigher *weigh);

/* The socket: readable while a message, a descriptor or end of file is there, now and then for nothing. Never
 * read from it or write to it. From the first call on the other end rings it. -EBADF where this end only sends
 * (mh_pipe_handle tells the socket).
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for a lock | cancellation: no | allocs: none |
 * death: the kernel reports the other end's; a lost ring is made up for by the next send */
MH_API int mh_pipe_select_fd(mh_pipe *end);

/* Walk both rings and check every bound; 0 or MH_E_CORRUPT.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits for the locks | cancellation: no | allocs: none |
 * death: nothing changed */
MH_API int mh_pipe_valid(mh_pipe *end);

MH_END_DECLS
#endif
