/* Makes the segment and the channel, says so on stdout, and meets whoever comes: `maker NAME`. */
#include "board.h"

#include <string.h>

int main(int argc, char **argv)
{
    mh_segment *segment;
    mh_channel *channel;
    mh_message message = {0};
    char name[128];
    if (argc != 2) {
        return 2;
    }
    snprintf(name, sizeof name, "%s-channel", argv[1]);
    must(mh_segment_create_named(argv[1], sizeof(struct board), BOARD_KIND, &segment), "segment");
    must(mh_channel_create_named(name, &(mh_channel_options){.max_items = 16, .max_bytes = 65536}, &channel),
         "channel");
    struct board *board = mh_segment_base(segment);
    must(mh_sem_init(&board->permits, 0, 0, 0), "semaphore");
    must(mh_rwlock_init(&board->rwlock, 0, 0), "rwlock");
    strcpy(board->text, "written by the maker");
    printf("ready\n");
    fflush(stdout);

    long long sum = 0;
    for (int i = 0; i < ROUNDS; i++) { /* both count under the lock, and messages come meanwhile */
        long long number;
        must(mh_lock_acquire(&board->lock, PATIENCE, NULL), "lock");
        board->count++;
        mh_lock_release(&board->lock);
        must(mh_channel_get(channel, &message, PATIENCE, NULL), "get");
        memcpy(&number, message.data, sizeof number);
        sum += number;
    }
    must(mh_lock_acquire(&board->lock, PATIENCE, NULL), "lock");
    while (board->count != 2 * ROUNDS) {
        must(mh_cond_wait(&board->changed, &board->lock, PATIENCE, NULL), "condition");
    }
    mh_lock_release(&board->lock);
    mh_sem_post(&board->permits, 1);
    must(mh_event_wait(&board->over, PATIENCE, NULL), "event");
    must(mh_rwlock_acquire_read(&board->rwlock, PATIENCE, NULL), "rwlock");
    printf("sum %lld, count %llu, %s\n", sum, (unsigned long long) board->count, board->text);
    mh_rwlock_release_read(&board->rwlock);
    mh_message_fini(&message);
    mh_channel_destroy(channel);
    mh_segment_close(segment);
    must(mh_segment_unlink(name), "unlink");
    must(mh_segment_unlink(argv[1]), "unlink");
    return 0;
}
