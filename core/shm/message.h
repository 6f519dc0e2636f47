/* core/shm/message.h - the buffer that a received message lies in. */
#ifndef MH_SHM_MESSAGE_H
#define MH_SHM_MESSAGE_H

#include "manyhands/channel.h"

/* Room for `size` bytes (never NULL afterwards); what the buffer held is gone. 0 or -ENOMEM (nothing
 * changed). */
int mh__message_room(mh_message *message, size_t size);

#endif
