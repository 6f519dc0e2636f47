/* Channels that programs find by name. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <manyhands/channel.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/os/os.h"
#include "core/shm/channel_ring.h"
#include "tests/core/harness.h"

/* ---- by name ---- */

#define NAMED t_shm_name()

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

/* Offsets of the locks' words in the file of a channel. */
#define TAIL_LOCK (4096 + offsetof(struct mh__ring, tail_lock))
#define HEAD_LOCK (4096 + offsetof(struct mh__ring, head_lock))

/* Whoever the file says holds an end: one who lives, and is none of its users, is not waited for without end. */
TEST(a_lock_of_one_who_lives_is_busy)
{
    mh_channel *channel, *other = NULL;
    const size_t locks[] = {TAIL_LOCK, HEAD_LOCK};
    uint64_t owner = mh_os_self(), none = 0;
    (void) mh_segment_unlink(NAMED);
    CHECK_EQ(mh_channel_create_named(NAMED, &(mh_channel_options){.max_bytes = 4096}, &channel), 0);
    for (size_t i = 0; i < 2; i++) {
        CHECK_EQ(pwrite(mh_channel_fd(channel), &owner, sizeof owner, (off_t) locks[i]), 8);
        int64_t begun = mh_now();
        CHECK_EQ(mh_channel_open(NAMED, &other), -EBUSY);
        CHECK(mh_now() - begun >= INT64_C(1000000000));
        CHECK(other == NULL);
        CHECK_EQ(pwrite(mh_channel_fd(channel), &none, sizeof none, (off_t) locks[i]), 8);
    }
    CHECK_EQ(mh_channel_open(NAMED, &other), 0);
    mh_channel_destroy(other);
    mh_channel_destroy(channel);
    CHECK_EQ(mh_segment_unlink(NAMED), 0);
}

static void open_small(void *argument)
{
    mh_channel *channel = NULL;
    int rc = mh_channel_open(NAMED, &channel);
    (void) argument;
    CHECK(rc == MH_E_CORRUPT || rc == -EAGAIN);
}

/* A file that was cut short before it is opened, at every page: a code, and no SIGBUS. */
TEST(a_file_that_was_cut_short)
{
    mh_channel *channel;
    struct stat whole;
    (void) mh_segment_unlink(NAMED);
    CHECK_EQ(mh_channel_create_named(NAMED, &(mh_channel_options){.max_bytes = 65536}, &channel), 0);
    CHECK_EQ(fstat(mh_channel_fd(channel), &whole), 0);
    for (off_t size = whole.st_size - 4096; size >= 0; size -= 4096) {
        CHECK_EQ(ftruncate(mh_channel_fd(channel), size), 0);
        CHECK_EQ(t_wait(t_fork(open_small, NULL), 20), 0);
    }
    mh_channel_destroy(channel);
    CHECK_EQ(mh_segment_unlink(NAMED), 0);
}

/* Holes are filled when it is opened: in a full /dev/shm that is an error there, and no SIGBUS later. */
TEST(a_file_with_holes_has_its_pages_once_it_is_open)
{
    mh_channel *channel, *other;
    struct stat status;
    (void) mh_segment_unlink(NAMED);
    CHECK_EQ(mh_channel_create_named(NAMED, &(mh_channel_options){.max_bytes = 65536}, &channel), 0);
    CHECK_EQ(fallocate(mh_channel_fd(channel), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 65536), 0);
    CHECK_EQ(fstat(mh_channel_fd(channel), &status), 0);
    CHECK(status.st_blocks * 512 < status.st_size);
    CHECK_EQ(mh_channel_open(NAMED, &other), 0);
    CHECK_EQ(fstat(mh_channel_fd(channel), &status), 0);
    CHECK(status.st_blocks * 512 >= status.st_size);
    mh_channel_destroy(other);
    mh_channel_destroy(channel);
    CHECK_EQ(mh_segment_unlink(NAMED), 0);
}

static void open_as_nobody(void *argument)
{
    mh_channel *channel = NULL;
    (void) argument;
    CHECK_EQ(setuid(65534), 0);
    CHECK_EQ(mh_channel_open(NAMED, &channel), -EACCES);
}

/* Another user's file is refused whatever its mode: he could cut it short at any time. So is his, by root. */
TEST(a_file_of_another_user)
{
    mh_channel *channel, *other = NULL;
    if (getuid() != 0) {
        SKIP("needs root, to be another user");
    }
    (void) mh_segment_unlink(NAMED);
    CHECK_EQ(mh_channel_create_named(NAMED, &(mh_channel_options){.max_bytes = 4096}, &channel), 0);
    CHECK_EQ(fchmod(mh_channel_fd(channel), 0666), 0);
    CHECK_EQ(t_wait(t_fork(open_as_nobody, NULL), 20), 0);
    CHECK_EQ(fchown(mh_channel_fd(channel), 65534, 65534), 0);
    CHECK_EQ(mh_channel_open(NAMED, &other), -EACCES);
    mh_channel_destroy(channel);
    CHECK_EQ(mh_segment_unlink(NAMED), 0);
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
