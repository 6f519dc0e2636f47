/* ext/message.h - Python objects as messages of a channel or pipe, and back. The format: docs/design/0004. */
#ifndef EXT_MESSAGE_H
#define EXT_MESSAGE_H

#include "codec.h"
#include "common.h"
#include "manyhands/arena.h"
#include "manyhands/channel.h"

enum message_kind {                 /* the tag of a message */
                    MESSAGE_RAW,    /* the bytes that the user gave to send_bytes */
                    MESSAGE_INLINE, /* codec.h */
                    MESSAGE_PICKLE, /* a pickle */
                    MESSAGE_BLOCKS, /* message_head and its records, then a pickle; all its buffers lie in blocks */
                    MESSAGE_BYTES /* message_head and one record: a large bytes object */
};

#define MESSAGE_TAKEN 0x100u /* beside a tag, never in a channel: message_take() was called on it */

typedef struct
    message_head { /* before the records; blocks mean something in their own tree of processes only */
    uint64_t count, arena;
} message_head;

typedef struct message_block {     /* a stretch of a block of the arena, which a parcel keeps alive */
    uint64_t parcel, offset, size; /* parcel: once it was taken, the block, 0 where that was void */
    uint32_t readonly;
    uint16_t is_pickle; /* not a buffer, but the pickle itself, too large for the ring */
    uint16_t is_copy;   /* the block is there for this message alone */
} message_block;

typedef struct message_out { /* a message ready to be put */
    mh_part part[3];
    size_t parts;
    uint32_t tag;
    codec_buffer head; /* the inline encoding, or the block records */
    PyObject *pickle;  /* owns the bytes of a part */
    uint32_t block_count;
} message_out;

/* Make `value` a message. 0, or -1 with the exception that pickling raised. Then exactly one of message_sent and
 * message_unsent. `whole`: all of it in the ring, since its receiver may be a process outside of this one's tree. */
int message_pack(ext_state *state, PyObject *value, int whole, message_out *out);
void message_sent(message_out *out);   /* it is in the channel: its blocks are the message's now */
void message_unsent(message_out *out); /* it is not: let go of its blocks */

/* Is the calling thread pickling for processes of this tree, with large buffers and shared ones beside the pickle? */
int message_is_sharing(void);
/* _share(function, *args): call it, and meanwhile it is. */
PyObject *message_share(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

/* Turn the parcels of a message into holds of this process: what a channel calls before a message is gone from it, so that
 * no death leaves a block that nobody has. What it does not understand it leaves for message_unpack to refuse. */
void message_take(void *data, size_t size, uint32_t tag);
/* How many bytes were copied into blocks for this message: what a channel's or pipe's limit counts. A shared array that
 * is sent again and again takes none. */
uint64_t message_weigh(const void *data, size_t size, uint32_t tag);

/* The tag to open a message with that came with `tag` from a channel that calls message_take, or does not. */
static inline uint32_t message_tag(uint32_t tag, int taken)
{
    return tag >= MESSAGE_TAKEN ? MESSAGE_TAKEN - 1 : taken ? tag | MESSAGE_TAKEN : tag;
}

/* The object of a message that was taken; takes over its blocks. NULL with an exception: what unpickling raised, or
 * ValueError for a message that is not one. NULL without one: the message is void (its sender died inside put). */
PyObject *message_unpack(ext_state *state, const char *data, size_t size, uint32_t tag);
/* The bytes that send_bytes would have sent: those of a raw message, else the value pickled. */
PyObject *message_bytes(ext_state *state, const char *data, size_t size, uint32_t tag);

#endif
