/* core/shm/segment.c - see manyhands/segment.h. The file is the header's page, then the user's pages. */
#include "core/shm/segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/os/os.h"

struct mh_segment {
    char *address;
    size_t total;
    size_t
        user; /* offset of the user's bytes: what the header said when it was checked, not what it says now */
    uint64_t id;
    int fd;
};

uint64_t mh__shm_new_id(void)
{
    static _Atomic(uint64_t) count;
    /* splitmix64 over who, when and how many: two calls never agree in all three. */
    uint64_t x = mh_os_self() ^ ((uint64_t) mh_os_now() << 20) ^ (mh_add_rlx(&count, 1) << 52);
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return x != 0 ? x : 1;
}

static size_t header_bytes(void)
{
    return mh_os_page(); /* at least 4096, so the header fits, and what follows it is page-aligned */
}

static int total_for(size_t size, size_t *total)
{
    size_t page = mh_os_page(), extra = header_bytes() + page - 1;
    if (size == 0 || size > (size_t) INT64_MAX - extra) {
        return -EINVAL;
    }
    *total = (size + extra) / page * page;
    return 0;
}

static void write_header(char *address, size_t total, uint32_t kind, uint64_t id)
{
    mh__segment_header *header = (mh__segment_header *) (void *) address;
    header->order = MH__SEGMENT_ORDER;
    header->layout = MH_LAYOUT;
    header->pointer_size = (uint32_t) sizeof(void *);
    header->kind = kind;
    header->total = total;
    header->user = header_bytes();
    header->id = id;
    strncpy(header->library, MH_VERSION, sizeof header->library - 1);
    mh_store_rel(&header->magic, MH__SEGMENT_MAGIC); /* pairs with the load in check_header() */
}

/* Map `total` bytes of `fd`, which becomes the segment's; it is closed where that fails. */
static int take(int fd, size_t total, mh_segment **segment)
{
    mh_segment *made = mh_os_malloc(sizeof *made);
    void *address = NULL;
    int rc = made == NULL ? -ENOMEM : mh_os_map(fd, total, &address);
    if (rc < 0) {
        free(made);
        mh_os_close(fd);
        return rc;
    }
    *made = (mh_segment){.address = address, .total = total, .fd = fd};
    *segment = made;
    return 0;
}

static int make(int fd, size_t total, uint32_t kind, mh_segment **segment)
{
    mh_segment *made;
    int rc = take(fd, total, &made);
    if (rc < 0) {
        return rc;
    }
    made->user = header_bytes();
    made->id = mh__shm_new_id();
    write_header(made->address, total, kind, made->id);
    *segment = made;
    return 0;
}

int mh_segment_create(size_t size, uint32_t kind, mh_segment **segment)
{
    size_t total = 0;
    int rc = total_for(size, &total);
    if (rc < 0) {
        return rc;
    }
    int fd = mh_os_memfd("manyhands", total, 1);
    return fd < 0 ? fd : make(fd, total, kind, segment);
}

int mh_segment_reserve(size_t size, size_t least, uint32_t kind, mh_segment **segment)
{
    if (least == 0 || size < least) {
        return -EINVAL;
    }
    for (;;) {
        int rc = mh_segment_create(size, kind, segment);
        if ((rc != -ENOMEM && rc != -EFBIG && rc != -ENOSPC && rc != -EINVAL) || size == least) {
            return rc;
        }
        size = size / 2 > least ? size / 2 : least;
    }
}

static int check_name(const char *name)
{
    size_t length = name != NULL ? strlen(name) : 0;
    if (length == 0 || length > 250 || name[0] == '.') {
        return -EINVAL;
    }
    for (size_t i = 0; i < length; i++) {
        if (name[i] == '/' || name[i] <= ' ' || name[i] > '~') {
            return -EINVAL;
        }
    }
    return 0;
}

/* All its pages at once, and for good: a page that a full /dev/shm lacks later would be a SIGBUS for whoever touches it. */
int mh_segment_create_named(const char *name, size_t size, uint32_t kind, mh_segment **segment)
{
    size_t total = 0;
    int rc = check_name(name);
    if (rc == 0) {
        rc = total_for(size, &total);
    }
    if (rc < 0) {
        return rc;
    }
    int fd = mh_os_shm_create(name, total);
    if (fd < 0) {
        return fd;
    }
    rc = mh_os_allocate(fd, total);
    if (rc < 0) {
        mh_os_close(fd);
    } else {
        rc = make(fd, total, kind, segment);
    }
    if (rc < 0) {
        (void) mh_os_shm_unlink(name);
    }
    return rc;
}

static uint32_t swap32(uint32_t x)
{
    return x >> 24 | (x >> 8 & 0xff00u) | (x << 8 & 0xff0000u) | x << 24;
}

static uint64_t swap64(uint64_t x)
{
    return (uint64_t) swap32((uint32_t) x) << 32 | swap32((uint32_t) (x >> 32));
}

/* What a header says, in this machine's byte order. */
static void read_info(const mh__segment_header *header, mh_segment_info *info)
{
    int foreign = header->order != MH__SEGMENT_ORDER;
    info->foreign = (uint32_t) foreign;
    info->layout = foreign ? swap32(header->layout) : header->layout;
    info->pointer_size = foreign ? swap32(header->pointer_size) : header->pointer_size;
    info->kind = foreign ? swap32(header->kind) : header->kind;
    info->total = foreign ? swap64(header->total) : header->total;
    info->id = foreign ? swap64(header->id) : header->id;
    memcpy(info->library, header->library, sizeof info->library);
    info->library[sizeof info->library - 1] = '\0';
}

/* Is there a header at all? Where a named segment's maker is still at it (or was killed at it), the magic is
 * 0. */
static int check_magic(mh__segment_header *header)
{
    uint64_t magic = mh_load_acq(&header->magic); /* pairs with the store in write_header() */
    if (magic == 0) {
        return -EAGAIN;
    }
    if (magic == MH__SEGMENT_MAGIC && header->order == MH__SEGMENT_ORDER) {
        return 0;
    }
    if (magic == swap64(MH__SEGMENT_MAGIC) && header->order == swap32(MH__SEGMENT_ORDER)) {
        return 0;
    }
    return MH_E_CORRUPT;
}

/* Map the header of `fd` and see that there is one; unmap it with mh_os_unmap(*header, header_bytes()). */
static int map_header(int fd, uint64_t *size, mh__segment_header **header)
{
    void *address = NULL;
    int rc = mh_os_fd_size(fd, size);
    if (rc < 0) {
        return rc;
    }
    if (*size == 0) {
        return -EAGAIN;
    }
    if (*size < header_bytes()) {
        return MH_E_CORRUPT;
    }
    rc = mh_os_map(fd, header_bytes(), &address);
    if (rc < 0) {
        return rc == -ENODEV ? MH_E_CORRUPT : rc;
    }
    *header = address;
    rc = check_magic(*header);
    if (rc < 0) {
        mh_os_unmap(address, header_bytes());
    }
    return rc;
}

int mh_segment_inspect(int fd, mh_segment_info *info)
{
    uint64_t size;
    mh__segment_header *header = NULL;
    int rc = map_header(fd, &size, &header);
    if (rc < 0) {
        return rc;
    }
    read_info(header, info);
    mh_os_unmap(header, header_bytes());
    return 0;
}

int mh_segment_inspect_named(const char *name, mh_segment_info *info)
{
    int rc = check_name(name);
    int fd = rc < 0 ? rc : mh_os_shm_open(name);
    if (fd < 0) {
        return fd;
    }
    rc = mh_segment_inspect(fd, info);
    mh_os_close(fd);
    return rc;
}

static int is_ours(const mh_segment_info *info)
{
    return !info->foreign && info->layout == MH_LAYOUT && info->pointer_size == sizeof(void *);
}

int mh_segment_mismatch(const mh_segment_info *info, char *text, size_t room)
{
    if (room > 0) {
        text[0] = '\0';
    }
    if (is_ours(info)) {
        return 0;
    }
    (void) snprintf(
        text, room,
        "made by manyhands %s (layout %u, %u-bit, %s byte order), this is manyhands %s (layout %u, %u-bit)",
        info->library, info->layout, info->pointer_size * 8, info->foreign ? "the other" : "the same",
        MH_VERSION, MH_LAYOUT, (unsigned) sizeof(void *) * 8);
    return MH_E_LAYOUT;
}

/* Everything that is used of the header later is checked against what the system says of the file. */
static int check_header(const mh__segment_header *header, uint64_t size, uint32_t kind)
{
    mh_segment_info info;
    read_info(header, &info);
    if (!is_ours(&info)) {
        return MH_E_LAYOUT;
    }
    uint64_t user = header->user;
    if (info.total != size || size > (uint64_t) INT64_MAX || info.id == 0) {
        return MH_E_CORRUPT;
    }
    if (user != header_bytes() || user >= size) {
        return MH_E_CORRUPT;
    }
    return kind != 0 && info.kind != kind ? MH_E_CORRUPT : 0;
}

/* Takes `fd` over. */
static int attach(int fd, uint32_t kind, mh_segment **segment)
{
    uint64_t size = 0, id = 0;
    mh__segment_header *header = NULL;
    int rc = map_header(fd, &size, &header);
    if (rc == 0) {
        id = header->id;
        rc = check_header(header, size, kind);
        mh_os_unmap(header, header_bytes());
    }
    if (rc < 0) {
        mh_os_close(fd);
        return rc;
    }
    mh_segment *made;
    rc = take(fd, (size_t) size, &made);
    if (rc < 0) {
        return rc;
    }
    made->user = header_bytes();
    made->id = id;
    *segment = made;
    return 0;
}

int mh_segment_open(const char *name, uint32_t kind, mh_segment **segment)
{
    int rc = check_name(name);
    int fd = rc < 0 ? rc : mh_os_shm_open(name);
    if (fd < 0) {
        return fd;
    }
    rc = mh_os_fill(fd); /* a hole in a full /dev/shm would be a SIGBUS */
    if (rc < 0) {
        mh_os_close(fd);
        return rc;
    }
    return attach(fd, kind, segment);
}

int mh_segment_attach(int fd, uint32_t kind, mh_segment **segment)
{
    int own = mh_os_dup(fd);
    return own < 0 ? own : attach(own, kind, segment);
}

void mh_segment_close(mh_segment *segment)
{
    if (segment == NULL) {
        return;
    }
    mh_os_unmap(segment->address, segment->total);
    mh_os_close(segment->fd);
    free(segment);
}

int mh_segment_unlink(const char *name)
{
    int rc = check_name(name);
    return rc < 0 ? rc : mh_os_shm_unlink(name);
}

void *mh_segment_base(mh_segment *segment)
{
    return segment->address + segment->user;
}

size_t mh_segment_size(const mh_segment *segment)
{
    return segment->total - segment->user;
}

int mh_segment_fd(const mh_segment *segment)
{
    return segment->fd;
}

uint64_t mh_segment_id(const mh_segment *segment)
{
    return segment->id;
}

int mh_segment_discard(mh_segment *segment, size_t offset, size_t size)
{
    size_t page = mh_os_page(), room = mh_segment_size(segment);
    if (offset > room || size > room - offset) {
        return -EINVAL;
    }
    size_t first = (offset + page - 1) / page * page, end = (offset + size) / page * page;
    return first >= end ? 0 : mh_os_discard(segment->fd, segment->user + first, end - first);
}
