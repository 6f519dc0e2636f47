/* tests/core/test_segment.c - segments: what is made can be mapped, and nothing else can. */
#include "tests/core/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/shm/segment.h"
#include "manyhands/segment.h"

#define KIND 0x1234u

static mh_segment *make(size_t size)
{
    mh_segment *segment = NULL;
    CHECK_EQ(mh_segment_create(size, KIND, &segment), 0);
    return segment;
}

TEST(anonymous_is_zero_private_and_sealed)
{
    mh_segment *segment = make(100000);
    const char *bytes = mh_segment_base(segment);
    struct stat status;
    CHECK(mh_segment_size(segment) >= 100000);
    CHECK_EQ((uintptr_t) bytes % (uintptr_t) sysconf(_SC_PAGESIZE), 0);
    for (size_t i = 0; i < 100000; i++) {
        CHECK_EQ(bytes[i], 0);
    }
    CHECK_EQ(fstat(mh_segment_fd(segment), &status), 0);
    CHECK_EQ(status.st_mode & 0777, 0600);
    CHECK_EQ(fcntl(mh_segment_fd(segment), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    CHECK_EQ(ftruncate(mh_segment_fd(segment), 10), -1);
    CHECK_EQ(ftruncate(mh_segment_fd(segment), 1 << 30), -1);
    mh_segment_close(segment);
    mh_segment_close(NULL);
}

static int attach_and_close(int fd, uint32_t kind)
{
    mh_segment *segment = NULL;
    int rc = mh_segment_attach(fd, kind, &segment);
    CHECK((rc == 0) == (segment != NULL));
    mh_segment_close(segment);
    return rc;
}

TEST(attach_sees_the_same_bytes)
{
    mh_segment *one = make(10), *two = NULL;
    CHECK_EQ(mh_segment_attach(mh_segment_fd(one), KIND, &two), 0);
    CHECK(mh_segment_base(one) != mh_segment_base(two));
    strcpy(mh_segment_base(one), "hands");
    CHECK_STR_EQ(mh_segment_base(two), "hands");
    CHECK(mh_segment_id(one) == mh_segment_id(two));
    CHECK_EQ(mh_segment_size(one), mh_segment_size(two));
    mh_segment_close(one);
    CHECK_STR_EQ(mh_segment_base(two), "hands");
    CHECK_EQ(attach_and_close(mh_segment_fd(two), 0), 0);
    CHECK_EQ(attach_and_close(mh_segment_fd(two), KIND + 1), MH_E_CORRUPT);
    CHECK_EQ(attach_and_close(-1, 0), -EBADF);
    CHECK_EQ(attach_and_close(1000, 0), -EBADF);
    mh_segment_close(two);
}

TEST(sizes_that_cannot_be)
{
    mh_segment *segment = NULL;
    CHECK_EQ(mh_segment_create(0, 0, &segment), -EINVAL);
    CHECK_EQ(mh_segment_create(SIZE_MAX, 0, &segment), -EINVAL);
    CHECK(mh_segment_create((size_t) INT64_MAX - 100000, 0, &segment) < 0);
    CHECK_EQ(mh_segment_reserve(1, 2, 0, &segment), -EINVAL);
    CHECK_EQ(mh_segment_reserve(1, 0, 0, &segment), -EINVAL);
    CHECK(segment == NULL);
}

/* A file with this header, and `size` bytes long. */
static int forged(const mh__segment_header *header, off_t size)
{
    int fd = (int) memfd_create("forged", MFD_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(write(fd, header, sizeof *header), sizeof *header);
    CHECK_EQ(ftruncate(fd, size), 0);
    return fd;
}

static int forged_rc(const mh__segment_header *header, off_t size)
{
    int fd = forged(header, size), rc = attach_and_close(fd, KIND);
    close(fd);
    return rc;
}

static mh__segment_header good_header(uint64_t page)
{
    mh__segment_header header = {.magic = MH__SEGMENT_MAGIC,
                                 .order = MH__SEGMENT_ORDER,
                                 .layout = MH_LAYOUT,
                                 .pointer_size = sizeof(void *),
                                 .kind = KIND,
                                 .total = 4 * page,
                                 .user = page,
                                 .id = 7,
                                 .library = "0.1.0"};
    return header;
}

TEST(hostile_headers)
{
    uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE);
    off_t size = (off_t) (4 * page);
    mh__segment_header header = good_header(page);
    CHECK_EQ(forged_rc(&header, size), 0);
    CHECK_EQ(forged_rc(&header, size + 1), MH_E_CORRUPT);
    CHECK_EQ(forged_rc(&header, (off_t) page), MH_E_CORRUPT);
    CHECK_EQ(forged_rc(&header, 64), MH_E_CORRUPT);
    CHECK_EQ(forged_rc(&header, 0), -EAGAIN);
    static const uint64_t offsets[] = {0, 1, 64, 4097, UINT64_MAX, INT64_MAX, (uint64_t) 1 << 40};
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        header = good_header(page);
        header.user = offsets[i];
        CHECK_EQ(forged_rc(&header, size), MH_E_CORRUPT);
        header = good_header(page);
        header.total = offsets[i];
        CHECK_EQ(forged_rc(&header, size), MH_E_CORRUPT);
    }
    header = good_header(page);
    header.user = 4 * page;
    CHECK_EQ(forged_rc(&header, size), MH_E_CORRUPT);
    header = good_header(page);
    header.magic ^= 1;
    CHECK_EQ(forged_rc(&header, size), MH_E_CORRUPT);
    header.magic = 0;
    CHECK_EQ(forged_rc(&header, size), -EAGAIN);
}

TEST(random_headers_never_map)
{
    uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE);
    unsigned seed = 1;
    for (int i = 0; i < 2000; i++) {
        mh__segment_header header = good_header(page);
        size_t at = (size_t) rand_r(&seed) % 40; /* what follows, id and version, may be anything */
        unsigned char flip = (unsigned char) (1 << rand_r(&seed) % 8);
        ((unsigned char *) &header)[at] ^= flip;
        CHECK(forged_rc(&header, (off_t) (4 * page)) < 0);
    }
}

TEST(other_layouts_are_named)
{
    uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE);
    mh__segment_header header = good_header(page);
    mh_segment_info info;
    header.layout = MH_LAYOUT + 41;
    strcpy(header.library, "9.8.7");
    int fd = forged(&header, (off_t) (4 * page));
    CHECK_EQ(attach_and_close(fd, KIND), MH_E_LAYOUT);
    CHECK_EQ(mh_segment_inspect(fd, &info), 0);
    CHECK_EQ(info.layout, MH_LAYOUT + 41);
    CHECK_STR_EQ(info.library, "9.8.7");
    CHECK_EQ(info.foreign, 0);
    char why[200], little[12];
    CHECK_EQ(mh_segment_mismatch(&info, why, sizeof why), MH_E_LAYOUT);
    CHECK(strstr(why, "made by manyhands 9.8.7 (layout 42") != NULL &&
          strstr(why, "this is manyhands " MH_VERSION) != NULL);
    CHECK_EQ(mh_segment_mismatch(&info, little, sizeof little), MH_E_LAYOUT);
    CHECK_STR_EQ(little, "made by man");
    CHECK_EQ(mh_segment_mismatch(&info, NULL, 0), MH_E_LAYOUT);
    info.layout = MH_LAYOUT;
    CHECK_EQ(mh_segment_mismatch(&info, why, sizeof why), 0);
    CHECK_STR_EQ(why, "");
    close(fd);
    header = good_header(page);
    header.pointer_size = sizeof(void *) / 2;
    CHECK_EQ(forged_rc(&header, (off_t) (4 * page)), MH_E_LAYOUT);
}

TEST(other_byte_order_is_named)
{
    uint64_t page = (uint64_t) sysconf(_SC_PAGESIZE);
    mh__segment_header header = good_header(page);
    mh_segment_info info;
    header.magic = __builtin_bswap64(header.magic);
    header.order = __builtin_bswap32(header.order);
    header.layout = __builtin_bswap32(3);
    header.total = __builtin_bswap64(header.total);
    int fd = forged(&header, (off_t) (4 * page));
    CHECK_EQ(attach_and_close(fd, KIND), MH_E_LAYOUT);
    CHECK_EQ(mh_segment_inspect(fd, &info), 0);
    CHECK_EQ(info.foreign, 1);
    CHECK_EQ(info.layout, 3);
    CHECK_EQ(info.total, 4 * page);
    close(fd);
}

TEST(named_are_found_until_unlinked)
{
    mh_segment *one = NULL, *two = NULL, *three = NULL;
    mh_segment_info info;
    struct stat status;
    (void) mh_segment_unlink(t_shm_name()); /* of a run that failed */
    CHECK_EQ(mh_segment_open(t_shm_name(), KIND, &one), -ENOENT);
    CHECK_EQ(mh_segment_create_named(t_shm_name(), 5000, KIND, &one), 0);
    CHECK_EQ(mh_segment_create_named(t_shm_name(), 5000, KIND, &three), -EEXIST);
    CHECK_EQ(fstat(mh_segment_fd(one), &status), 0);
    CHECK_EQ(status.st_mode & 0777, 0600);
    strcpy(mh_segment_base(one), "found");
    CHECK_EQ(mh_segment_open(t_shm_name(), KIND, &two), 0);
    CHECK_STR_EQ(mh_segment_base(two), "found");
    CHECK_EQ(mh_segment_open(t_shm_name(), KIND + 1, &three), MH_E_CORRUPT);
    CHECK_EQ(mh_segment_inspect_named(t_shm_name(), &info), 0);
    CHECK_EQ(info.kind, KIND);
    CHECK_EQ(mh_segment_unlink(t_shm_name()), 0);
    CHECK_EQ(mh_segment_unlink(t_shm_name()), -ENOENT);
    CHECK_EQ(mh_segment_open(t_shm_name(), KIND, &three), -ENOENT);
    CHECK_STR_EQ(mh_segment_base(two), "found");
    CHECK(three == NULL);
    mh_segment_close(one);
    mh_segment_close(two);
}

TEST(names_that_cannot_be)
{
    char longest[252];
    memset(longest, 'a', 251);
    longest[251] = '\0';
    const char *bad[] = {"",    ".",   "..",   ".hidden",  "a/b",   "/a",
                         "a b", "a\n", "\x7f", "\xc3\xa9", longest, NULL};
    mh_segment *segment = NULL;
    mh_segment_info info;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_EQ(mh_segment_create_named(bad[i], 1, 0, &segment), -EINVAL);
        CHECK_EQ(mh_segment_open(bad[i], 0, &segment), -EINVAL);
        CHECK_EQ(mh_segment_unlink(bad[i]), -EINVAL);
        CHECK_EQ(mh_segment_inspect_named(bad[i], &info), -EINVAL);
    }
}

TEST(not_a_segment)
{
    int fds[2];
    CHECK_EQ(pipe(fds), 0);
    CHECK(attach_and_close(fds[0], 0) < 0);
    int dir = open("/", O_RDONLY | O_DIRECTORY);
    CHECK(attach_and_close(dir, 0) < 0);
    int text = open("/proc/self/exe", O_RDONLY);
    CHECK(attach_and_close(text, 0) < 0);
}

TEST(file_size_limit_halves_and_sends_no_signal)
{
    struct rlimit limit = {(rlim_t) 10 << 20, (rlim_t) 10 << 20};
    mh_segment *segment = NULL;
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_DFL);
    CHECK_EQ(mh_segment_create((size_t) 20 << 20, 0, &segment), -EFBIG);
    CHECK_EQ(mh_segment_reserve((size_t) 1 << 36, (size_t) 1 << 20, 0, &segment), 0);
    CHECK_EQ(mh_segment_size(segment), (size_t) 8 << 20);
    mh_segment_close(segment);
    segment = NULL;
    CHECK_EQ(mh_segment_reserve((size_t) 1 << 36, (size_t) 11 << 20, 0, &segment), -EFBIG);
    CHECK(segment == NULL);
}

TEST(address_limit_halves)
{
    if (t_scale() > 1) {
        SKIP("sanitizers need the address space");
    }
    struct rlimit limit = {(rlim_t) 1 << 30, (rlim_t) 1 << 30};
    mh_segment *segment = NULL;
    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    CHECK_EQ(mh_segment_reserve((size_t) 1 << 36, (size_t) 1 << 20, 0, &segment), 0);
    CHECK_EQ(mh_segment_size(segment), (size_t) 512 << 20);
}

static long blocks_of(mh_segment *segment)
{
    struct stat status;
    CHECK_EQ(fstat(mh_segment_fd(segment), &status), 0);
    return (long) status.st_blocks;
}

TEST(discard_gives_whole_pages_back)
{
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    mh_segment *segment = make(64 * page);
    char *bytes = mh_segment_base(segment);
    memset(bytes, 'x', 64 * page);
    long before = blocks_of(segment);
    CHECK_EQ(mh_segment_discard(segment, 1, 32 * page), 0);
    CHECK_EQ(bytes[0], 'x');
    CHECK_EQ(bytes[page], 0);
    CHECK_EQ(bytes[32 * page - 1], 0);
    CHECK_EQ(bytes[32 * page], 'x');
    CHECK(blocks_of(segment) < before);
    CHECK_EQ(mh_segment_discard(segment, 0, 1), 0);
    CHECK_EQ(bytes[0], 'x');
    CHECK_EQ(mh_segment_discard(segment, 0, SIZE_MAX), -EINVAL);
    CHECK_EQ(mh_segment_discard(segment, SIZE_MAX, 1), -EINVAL);
    CHECK_EQ(mh_segment_discard(segment, 64 * page, 1), -EINVAL);
    mh_segment_close(segment);
}

TEST(descriptors_run_out)
{
    struct rlimit limit = {16, 16};
    mh_segment *segment[32] = {NULL};
    int count = 0, rc = 0;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        SKIP("the limit of descriptors is not ours to set (valgrind keeps some for itself)");
    }
    while (count < 32 && (rc = mh_segment_create(1, 0, &segment[count])) == 0) {
        count++;
    }
    CHECK_EQ(rc, -EMFILE);
    CHECK(count > 0 && segment[count] == NULL);
    CHECK_EQ(attach_and_close(mh_segment_fd(segment[0]), 0), -EMFILE);
    while (count > 0) {
        mh_segment_close(segment[--count]);
    }
    CHECK_EQ(mh_segment_create(1, 0, &segment[0]), 0);
    mh_segment_close(segment[0]);
}
