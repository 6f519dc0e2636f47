/* core/shm/message.c - the buffer that a received message lies in. */
#include "core/shm/message.h"

#include <errno.h>
#include <stdlib.h>

#include "core/os/os.h"
#include "manyhands/arena.h"

#define ROOM_LEAST 256
#define LARGE ((size_t) 4 << 20)    /* below, asking costs what large pages save */
#define MIDDLE ((size_t) 256 << 10) /* below, asking whether the pages are there costs a tenth of the copy */

void mh_memory_fresh(void *memory, size_t size)
{
    if (size >= LARGE) {
        mh_os_large_pages(memory, size);
    } else if (size >= MIDDLE) {
        mh_os_bring_pages(memory, size);
    }
}

int mh__message_room(mh_message *message, size_t size)
{
    size_t room = size;
    void *data;

    if (message->data && message->room >= size) {
        return 0;
    }
    if (room < ROOM_LEAST) {
        room = ROOM_LEAST;
    } else if (room < SIZE_MAX / 2 && room < message->room + message->room / 2) {
        room = message->room + message->room / 2; /* sizes that creep up do not allocate each time */
    }
    data = mh_os_malloc(room); /* what was there is not wanted: no realloc, which would copy it */
    if (!data) {
        return -ENOMEM;
    }
    mh_memory_fresh(data, room);
    free(message->data);
    message->data = data;
    message->room = room;
    message->size = 0;
    return 0;
}

void mh_message_fini(mh_message *message)
{
    free(message->data);
    *message = (mh_message){0};
}
