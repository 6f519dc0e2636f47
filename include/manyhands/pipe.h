/* manyhands/pipe.h - two ends, each sends to the other: messages through two rings in one segment, and a socket pair
 * that tells select() of messages and both ends of each other's close or death (end of file). */
#ifndef MANYHANDS_PIPE_H
#define MANYHANDS_PIPE_H

#include "channel.h"

MH_BEGIN_DECLS

typedef struct mh_pipe mh_pipe; /* one end in this process */

/* `duplex` 0: ends[0] only receives, ends[1] only sends. */
MH_API int mh_pipe_create(int duplex, mh_pipe *ends[2]);
/* What another process needs to build the same end: segment descriptor, socket descriptor, side (0 or 1) and duplex. */
MH_API void mh_pipe_handle(const mh_pipe *end, int *segment_fd, int *socket_fd, int *side, int *duplex);
MH_API int mh_pipe_attach(int segment_fd, int socket_fd, int side, int duplex, mh_pipe **end); /* duplicates both */
MH_API void mh_pipe_close(mh_pipe *end); /* the other end reads end of file once every holder of this end has closed or died */
/* 0, -ETIMEDOUT, -ECANCELED, -EINTR, -EPIPE (the other end is gone), -EBADF (this end only receives) */
MH_API int mh_pipe_send(mh_pipe *end, const mh_part *parts, size_t count, uint32_t tag, mh_deadline deadline, mh_cancel *cancel);
/* 0, -ETIMEDOUT, -ECANCELED, -EINTR, MH_E_CLOSED (end of file), -EBADF (this end only sends) */
MH_API int mh_pipe_receive(mh_pipe *end, mh_message *message, mh_deadline deadline, mh_cancel *cancel);
/* 0 (a message or end of file is there), -ETIMEDOUT, -ECANCELED, -EINTR */
MH_API int mh_pipe_poll(mh_pipe *end, mh_deadline deadline, mh_cancel *cancel);
/* The socket: readable while a message or end of file is there. From the first call on the other end rings it. */
MH_API int mh_pipe_select_fd(mh_pipe *end);

MH_END_DECLS
#endif
