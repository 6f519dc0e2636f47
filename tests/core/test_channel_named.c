/* Channels that programs find by name. */
#include <errno.h>
#include <manyhands/channel.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "tests/core/harness.h"

/* ---- by name ---- */

#define NAMED "manyhands-channel-test"

static void named_child(void *argument)
{
    mh_channel *channel;
    (void) argument;
    CHECK_EQ(mh_channel_open(NAMED, &channel), 0);
    CHECK_EQ(mh_channel_put(channel, &(mh_part){"from afar", 9}, 1, 7, MH_FOREVER, NULL), 0);
    mh_channel_destroy(channel);
}

TEST(a_name_finds_the_channel)
{
    mh_channel *channel, *other;
    mh_message message = {0};
    const mh_channel_options options = {.max_items = 4, .max_bytes = 8192};
    (void) mh_segment_unlink(NAMED);
    CHECK_EQ(mh_channel_open(NAMED, &other), -ENOENT);
    CHECK_EQ(mh_channel_create_named(NAMED, &options, &channel), 0);
    CHECK_EQ(mh_channel_create_named(NAMED, &options, &other), -EEXIST);
    CHECK_EQ(t_wait(t_fork(named_child, NULL), 20), 0);
    CHECK_EQ(mh_channel_get(channel, &message, MH_AT_ONCE, NULL), 0);
    CHECK(message.size == 9 && message.tag == 7 && memcmp(message.data, "from afar", 9) == 0);
    for (int i = 0; i < 4; i++) { /* it is bounded, and waits */
        CHECK_EQ(mh_channel_put(channel, &(mh_part){"x", 1}, 1, 0, MH_AT_ONCE, NULL), 0);
    }
    CHECK_EQ(mh_channel_put(channel, &(mh_part){"x", 1}, 1, 0, MH_AT_ONCE, NULL), -ETIMEDOUT);
    CHECK_EQ(mh_channel_select_fd(channel), -ENOTSUP);
    CHECK_EQ(mh_segment_unlink(NAMED), 0);
    CHECK_EQ(mh_channel_open(NAMED, &other), -ENOENT);
    CHECK_EQ(mh_channel_items(channel), 4); /* who has it keeps it */
    mh_message_fini(&message);
    mh_channel_destroy(channel);
}

TEST(a_named_channel_says_what_it_cannot_do)
{
    mh_channel *channel;
    mh_segment *segment;
    CHECK_EQ(mh_channel_create_named(NAMED, &(mh_channel_options){.max_items = 4}, &channel), -EINVAL);
    CHECK_EQ(mh_channel_create_named("a/b", &(mh_channel_options){.max_bytes = 4096}, &channel), -EINVAL);
    CHECK_EQ(mh_channel_create_named(NAMED, &(mh_channel_options){.max_bytes = 4096, .flags = MH_PRIVATE},
                                     &channel),
             -EINVAL);
    CHECK_EQ(mh_channel_open("a/b", &channel), -EINVAL);
    /* somebody else's segment, and a channel whose maker has not come to the ring yet */
    (void) mh_segment_unlink(NAMED);
    CHECK_EQ(mh_segment_create_named(NAMED, 70000, 1, &segment), 0);
    CHECK_EQ(mh_channel_open(NAMED, &channel), MH_E_CORRUPT);
    mh_segment_close(segment);
    CHECK_EQ(mh_segment_unlink(NAMED), 0);
    CHECK_EQ(mh_segment_create_named(NAMED, 70000, 0x6e61686du, &segment), 0);
    CHECK_EQ(mh_channel_open(NAMED, &channel), -EAGAIN);
    mh_segment_close(segment);
    CHECK_EQ(mh_segment_unlink(NAMED), 0);
}

/* All of its memory is there from the beginning, and stays: no put can find /dev/shm full. */
TEST(a_named_channel_has_its_memory)
{
    enum { BYTES = 8 << 20 };
    static char large[BYTES - 64];
    mh_channel *channel;
    mh_message message = {0};
    struct stat status;
    (void) mh_segment_unlink(NAMED);
    CHECK_EQ(mh_channel_create_named(NAMED, &(mh_channel_options){.max_bytes = BYTES}, &channel), 0);
    CHECK_EQ(fstat(mh_channel_fd(channel), &status), 0);
    CHECK(status.st_blocks * 512 >= BYTES);
    CHECK_EQ(mh_channel_put(channel, &(mh_part){large, sizeof large}, 1, 0, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_channel_get(channel, &message, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_channel_get(channel, &message, MH_AT_ONCE, NULL),
             -ETIMEDOUT); /* here another ring would shrink */
    CHECK_EQ(fstat(mh_channel_fd(channel), &status), 0);
    CHECK(status.st_blocks * 512 >= BYTES);
    mh_message_fini(&message);
    mh_channel_destroy(channel);
    CHECK_EQ(mh_segment_unlink(NAMED), 0);
}

/* More than there is: refused at once, and no name is left. */
TEST(a_named_channel_that_is_too_large)
{
    mh_channel *channel;
    struct statvfs shm;
    CHECK_EQ(statvfs("/dev/shm", &shm), 0);
    uint64_t room = (uint64_t) shm.f_blocks * shm.f_bsize;
    if (room == 0 || room >= (uint64_t) 1 << 35) {
        SKIP("/dev/shm is too large to be asked for more");
    }
    CHECK_EQ(mh_channel_create_named(NAMED, &(mh_channel_options){.max_bytes = room + 1}, &channel), -ENOSPC);
    CHECK_EQ(mh_channel_open(NAMED, &channel), -ENOENT);
}
