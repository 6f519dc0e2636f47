/* The other program: `user NAME`. Where the maker's library has another layout it says so, and ends with 3. */
#include "board.h"

#include <string.h>

static int refused(const char *name)
{
    mh_segment_info info;
    char why[200];
    must(mh_segment_inspect_named(name, &info), "inspect");
    if (mh_segment_mismatch(&info, why, sizeof why) != MH_E_LAYOUT) {
        return 1;
    }
    printf("%s\n", why);
    return 3;
}

int main(int argc, char **argv)
{
    mh_segment *segment;
    mh_channel *channel;
    char name[128];
    if (argc != 2) {
        return 2;
    }
    snprintf(name, sizeof name, "%s-channel", argv[1]);
    int rc = mh_segment_open(argv[1], BOARD_KIND, &segment);
    if (rc == MH_E_LAYOUT) {
        return mh_channel_open(name, &channel) == MH_E_LAYOUT ? refused(argv[1]) : 1;
    }
    must(rc, "segment");
    must(mh_channel_open(name, &channel), "channel");
    struct board *board = mh_segment_base(segment);
    if (strcmp(board->text, "written by the maker") != 0) {
        return 1;
    }
    for (long long i = 0; i < ROUNDS; i++) {
        must(mh_lock_acquire(&board->lock, PATIENCE, NULL), "lock");
        board->count++;
        mh_lock_release(&board->lock);
        must(mh_channel_put(channel, &(mh_part){&i, sizeof i}, 1, 0, PATIENCE, NULL), "put");
    }
    mh_cond_notify_all(&board->changed);
    must(mh_sem_acquire(&board->permits, PATIENCE, NULL), "semaphore");
    must(mh_rwlock_acquire_write(&board->rwlock, PATIENCE, NULL), "rwlock");
    strcpy(board->text, "and by the user");
    mh_rwlock_release_write(&board->rwlock);
    mh_event_set(&board->over);
    printf("manyhands %s\n", mh_version());
    mh_channel_destroy(channel);
    mh_segment_close(segment);
    return 0;
}
