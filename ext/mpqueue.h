/* ext/mpqueue.h - what MessageQueue and QueueEnd have in common: a channel, and how messages go in and out of it. */
#ifndef EXT_MPQUEUE_H
#define EXT_MPQUEUE_H

#include "manyhands/channel.h"
#include "message.h"

typedef struct queue_shared { /* this process's view of a channel; it goes with the last object that has it */
    mh_channel *channel;
    _Atomic(mh_message *) spare; /* a message buffer between two gets */
    _Atomic(size_t) holders;
    int takes; /* its messages have been through message_take() when they come */
} queue_shared;

/* Takes the channel over, also on failure: NULL with MemoryError. */
queue_shared *queue_share(mh_channel *channel);
void queue_hold(queue_shared *shared);
void queue_drop(queue_shared *shared);

/* Put what was packed; ends the message. 0, -ETIMEDOUT, another code of the core, EXT_RAISED. */
int queue_put_message(PyObject *self, mh_channel *channel, message_out *message, ext_until until);

/* Take one message (`most` 0) or several; codes as above. */
int queue_take(PyObject *self, mh_channel *channel, mh_message *message, size_t most, size_t *done,
               ext_until until);

/* Open a message; see message_unpack. */
typedef PyObject *(*queue_opener)(ext_state *state, const char *data, size_t size, uint32_t tag);

/* Take messages until one is not void (its producer was killed inside put). 0 or more: *value is its object, NULL with
 * an exception where it cannot be opened; else a code as above. */
int queue_take_one(PyObject *self, queue_shared *shared, queue_opener opener, ext_until until,
                   PyObject **value);

/* Raise PoisonError for a message that was given up; `batch`: it was taken as the only one of several. NULL. */
PyObject *queue_given_up(PyObject *self, const mh_message *message, int batch);

mh_message *queue_borrow(queue_shared *shared); /* NULL with MemoryError */
void queue_give_back(queue_shared *shared, mh_message *message);

/* A QueueEnd of that channel. */
PyObject *queue_end_of(ext_state *state, queue_shared *shared);

#endif
