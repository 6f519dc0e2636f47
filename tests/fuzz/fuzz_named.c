/* A file in /dev/shm with arbitrary bytes in it, which is opened by its name: it is refused with a code, or works without a
 * crash, a hang, or a byte touched outside. The input is a whole file, or changes to a good named channel, cut short or
 * not; lock words too, so that the ends belong to the dead, and what they left is repaired from bytes that mean nothing.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <manyhands/manyhands.h>
#include <unistd.h>

#define ROOM ((size_t) 3 * 4096) /* a header, the channel's page, the ring's */

static char name[64], path[80];
static unsigned char good[ROOM];

static void forget(void)
{
    (void) mh_segment_unlink(name);
}

/* Asked of the system itself: what the library says of it is under test. */
static void leave_out_without_room(void)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int error = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t) ROOM);
    if (fd >= 0) {
        (void) close(fd);
        (void) unlink(path);
    }
    if (error != 0) {
        fprintf(stderr, "left out: no room for 12 KB in /dev/shm: %s\n", strerror(error));
        _exit(0); /* not exit(): libFuzzer takes that for a fault of the target */
    }
}

/* The bytes of a good one with messages in it. */
static void make_good(void)
{
    mh_channel *channel = NULL;
    (void) snprintf(name, sizeof name, "manyhands-fuzz-%d", (int) getpid());
    (void) snprintf(path, sizeof path, "/dev/shm/%s", name);
    forget();
    (void) atexit(forget);
    leave_out_without_room();
    REQUIRE(mh_channel_create_named(name, &(mh_channel_options){.max_items = 9, .max_bytes = 4096},
                                    &channel) == 0);
    for (uint32_t i = 0; i < 5; i++) {
        REQUIRE(mh_channel_put(channel, &(mh_part){"a message of some bytes", 4 * i}, 1, i, MH_AT_ONCE,
                               NULL) == 0);
    }
    REQUIRE(pread(mh_channel_fd(channel), good, ROOM, 0) == (ssize_t) ROOM);
    mh_channel_destroy(channel);
}

static void change(unsigned char *bytes, struct input *in)
{
    while (in->left > 3) {
        size_t at = input_u16(in) % ROOM, count = input_u8(in) % 17;
        count = count < ROOM - at ? count : ROOM - at;
        (void) input_bytes(in, bytes + at, count < in->left ? count : in->left);
    }
}

/* 0, or there is no room: others use it, too. */
static int write_file(const unsigned char *bytes, size_t have, size_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    REQUIRE(fd >= 0);
    REQUIRE(ftruncate(fd, (off_t) size) == 0); /* what is not written is a hole */
    ssize_t written = pwrite(fd, bytes, have < size ? have : size, 0);
    REQUIRE(written >= 0 || errno == ENOSPC);
    (void) close(fd);
    return written < 0 ? -ENOSPC : 0;
}

static void use_channel(void)
{
    mh_channel *channel = NULL;
    mh_message message = {0};
    size_t done = 0;
    if (mh_channel_open(name, &channel) != 0) {
        return;
    }
    for (int i = 0; i < 4; i++) {
        (void) mh_channel_get(channel, &message, MH_AT_ONCE, NULL);
        (void) mh_channel_put(channel, &(mh_part){"12345678901234567890", 20}, 1, 0, MH_AT_ONCE, NULL);
        (void) mh_channel_get_many(channel, &message, 3, MH_AT_ONCE, NULL, &done);
    }
    (void) mh_channel_items(channel);
    (void) mh_channel_lost(channel);
    (void) mh_channel_valid(channel);
    mh_message_fini(&message);
    mh_channel_destroy(channel);
}

static void use_segment(void)
{
    mh_segment *segment = NULL;
    mh_segment_info info;
    (void) mh_segment_inspect_named(name, &info);
    if (mh_segment_open(name, 0, &segment) == 0) {
        volatile unsigned char *base = mh_segment_base(segment);
        base[0] ^= 0; /* all of it is there */
        base[mh_segment_size(segment) - 1] ^= 0;
        mh_segment_close(segment);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char bytes[ROOM];
    struct input in = {data, size};
    uint8_t mode = input_u8(&in);
    if (name[0] == '\0') {
        make_good();
    }
    memset(bytes, 0, sizeof bytes);
    size_t have = ROOM, total = ROOM;
    if (mode % 8 == 0) {
        have = total = input_bytes(&in, bytes, in.left < ROOM ? in.left : ROOM);
    } else {
        memcpy(bytes, good, ROOM);
        have = mode % 8 == 1 ? input_u16(&in) % ROOM : ROOM;  /* holes at the end */
        total = mode % 8 == 2 ? input_u16(&in) % ROOM : ROOM; /* cut short */
        change(bytes, &in);
    }
    if (write_file(bytes, have, total) == 0) {
        use_segment();
        use_channel();
    }
    return 0;
}
