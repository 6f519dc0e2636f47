/* Shared memory with arbitrary bytes in it: whoever opens it is refused with a code, or works on it without a crash, a
 * hang, or a byte touched outside. The input is a whole file, or changes to the memory of a good segment, channel, pipe
 * or slab. What is left out: lock words. Whoever may write to the memory may keep a lock for ever, and that is no fault. */
#include "fuzz.h"

#include <errno.h>
#include <manyhands/manyhands.h>
#include <unistd.h>

#include "core/os/os.h"
#include "core/shm/channel_ring.h"
#include "core/shm/segment.h"

#define ROOM ((size_t) 8 * 4096)

enum mode { WHOLE, SEGMENT, CHANNEL, PIPE, SLAB, MODES };

/* A good one of each, made once and kept; a pipe's two ends share one socket pair. */
static int good[MODES], sockets[2];
static mh_segment *segment_kept;
static mh_channel *channel_kept;
static mh_pipe *ends_kept[2];
static mh_slab *slab_kept;

static void fill_channel(mh_channel *channel)
{
    for (uint32_t i = 0; i < 5; i++) {
        REQUIRE(mh_channel_put(channel, &(mh_part){"a message of some bytes", 5 * i}, 1, i, MH_AT_ONCE,
                               NULL) == 0);
    }
}

static void make_good(void)
{
    mh_channel_options options = {.max_items = 9, .max_bytes = 4096};
    int side, duplex;
    if (segment_kept != NULL) {
        return;
    }
    REQUIRE(mh_segment_create(4096, 7, &segment_kept) == 0);
    REQUIRE(mh_channel_create(&options, &channel_kept) == 0);
    fill_channel(channel_kept);
    REQUIRE(mh_pipe_create(1, ends_kept) == 0);
    REQUIRE(mh_pipe_send(ends_kept[1], &(mh_part){"hello", 5}, 1, 3, MH_AT_ONCE, NULL) == 0);
    REQUIRE(mh_slab_create(4096, &slab_kept) == 0);
    good[SEGMENT] = mh_segment_fd(segment_kept);
    good[CHANNEL] = mh_channel_fd(channel_kept);
    mh_pipe_handle(ends_kept[0], &good[PIPE], &sockets[0], &side, &duplex);
    mh_pipe_handle(ends_kept[1], &good[PIPE], &sockets[1], &side, &duplex);
    good[SLAB] = mh_slab_fd(slab_kept);
}

/* Of the good one the first bytes, and its own length; the rest of it is zero, as in the good one. */
static size_t copy_good(enum mode mode, unsigned char *bytes)
{
    uint64_t size = 0;
    REQUIRE(mh_os_fd_size(good[mode], &size) == 0);
    ssize_t got = pread(good[mode], bytes, ROOM, 0);
    REQUIRE(got > 0);
    return (size_t) size;
}

static void change(unsigned char *bytes, struct input *in)
{
    while (in->left > 3) {
        size_t at = input_u16(in) % ROOM, count = input_u8(in) % 17;
        count = count < ROOM - at ? count : ROOM - at;
        (void) input_bytes(in, bytes + at, count < in->left ? count : in->left);
    }
}

static void free_lock(unsigned char *bytes, size_t at)
{
    if (at + sizeof(mh_lock) <= ROOM) {
        memset(bytes + at, 0, sizeof(mh_lock));
    }
}

/* A ring may lie at every 64th byte as far as we know here: cheaper than to know what a pipe looks like. */
static void free_locks(unsigned char *bytes)
{
    for (size_t at = 0; at + sizeof(struct mh__ring) <= ROOM; at += 64) {
        uint32_t magic;
        memcpy(&magic, bytes + at, sizeof magic);
        if (magic == MH__RING_MAGIC) {
            free_lock(bytes, at + offsetof(struct mh__ring, tail_lock));
            free_lock(bytes, at + offsetof(struct mh__ring, head_lock));
        }
    }
}

static int make_file(const unsigned char *bytes, size_t have, size_t size)
{
    int fd = mh_os_memfd("fuzz", size, 0);
    REQUIRE(fd >= 0);
    have = have < size ? have : size;
    REQUIRE(pwrite(fd, bytes, have, 0) == (ssize_t) have);
    return fd;
}

static void use_channel(int fd)
{
    mh_channel *channel = NULL;
    mh_message message = {0};
    size_t done = 0;
    if (mh_channel_attach(fd, &channel) != 0) {
        return;
    }
    (void) mh_channel_items(channel);
    (void) mh_channel_bytes(channel);
    for (int i = 0; i < 4; i++) {
        (void) mh_channel_get(channel, &message, MH_AT_ONCE, NULL);
        (void) mh_channel_put(channel, &(mh_part){"12345678901234567890", 20}, 1, 0, MH_AT_ONCE, NULL);
        (void) mh_channel_get_many(channel, &message, 3, MH_AT_ONCE, NULL, &done);
    }
    (void) mh_channel_valid(channel);
    (void) mh_channel_lost(channel);
    mh_channel_close(channel, 1);
    mh_message_fini(&message);
    mh_channel_destroy(channel);
}

static void use_pipe(int fd)
{
    mh_message message = {0};
    for (int side = 0; side < 2; side++) {
        mh_pipe *end = NULL;
        if (mh_pipe_attach(fd, sockets[side], side, 1, &end) != 0) {
            continue;
        }
        for (int i = 0; i < 3; i++) {
            (void) mh_pipe_receive(end, &message, MH_AT_ONCE, NULL);
            (void) mh_pipe_send(end, &(mh_part){"12345678901234567890", 20}, 1, 0, MH_AT_ONCE, NULL);
        }
        (void) mh_pipe_valid(end);
        mh_pipe_close(end);
    }
    mh_message_fini(&message);
}

static void use_segment(int fd)
{
    mh_segment *segment = NULL;
    mh_segment_info info;
    mh_slab *slab = NULL;
    if (mh_segment_inspect(fd, &info) == 0) {
        REQUIRE(memchr(info.library, 0, sizeof info.library) != NULL);
    }
    if (mh_segment_attach(fd, 0, &segment) == 0) {
        volatile unsigned char *base = mh_segment_base(segment);
        base[0] = 1; /* all of it is there */
        base[mh_segment_size(segment) - 1] = 1;
        REQUIRE(mh_segment_id(segment) != 0);
        mh_segment_close(segment);
    }
    if (mh_slab_attach(fd, &slab) == 0) {
        mh_slab_close(slab);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char bytes[ROOM];
    struct input in = {data, size};
    enum mode mode = (enum mode)(input_u8(&in) % MODES);
    make_good();
    memset(bytes, 0, sizeof bytes);
    size_t total = mode == WHOLE ? in.left : copy_good(mode, bytes);
    if (mode == WHOLE) {
        (void) input_bytes(&in, bytes, total < ROOM ? total : ROOM);
        total = total < ROOM ? total : ROOM;
    } else {
        total = total / 4096 > 64 && input_u8(&in) == 255 ? 4096 : total; /* seldom: too short a file */
        change(bytes, &in);
    }
    free_locks(bytes);
    int fd = make_file(bytes, ROOM, total);
    use_segment(fd);
    use_channel(fd);
    use_pipe(fd);
    mh_os_close(fd);
    return 0;
}
