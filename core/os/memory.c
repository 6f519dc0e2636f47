/* core/os/memory.c - memory that processes share, and how much of it there is. */
#include "core/os/os.h"
#include "core/os/sys.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MFD_CLOEXEC_ 0x1u /* <linux/memfd.h> and the C library's headers clash */
#define MFD_ALLOW_SEALING_ 0x2u
#define MFD_NOEXEC_SEAL_ 0x8u /* since 6.3; older kernels refuse it */
#define ADD_SEALS 1033        /* F_ADD_SEALS */
#define SEAL_SEAL 0x1
#define SEAL_SHRINK 0x2
#define SEAL_GROW 0x4

void *mh_os_malloc(size_t size)
{
    int saved = errno;
    void *memory = malloc(size);
    errno = saved;
    return memory;
}

void *mh_os_calloc(size_t count, size_t size)
{
    int saved = errno;
    void *memory = calloc(count, size);
    errno = saved;
    return memory;
}

static long memfd(const char *name, unsigned flags)
{
    int saved = errno;
    return mh__result(syscall(SYS_memfd_create, name, flags), saved);
}

/* Past RLIMIT_FSIZE ftruncate() does not only fail, it sends SIGXFSZ, which kills: ask first. */
static int set_size(int fd, size_t size)
{
    struct rlimit limit;
    if (size > (size_t) INT64_MAX) {
        return -EFBIG;
    }
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur) {
        return -EFBIG;
    }
    int saved = errno;
    long rc;
    do {
        rc = mh__result(ftruncate(fd, (off_t) size), saved);
    } while (rc == -EINTR);
    return (int) rc;
}

/* Where there is no memfd (a seccomp filter): a file in /dev/shm that never had a name. It cannot be sealed.
 * */
static long unnamed_file(void)
{
    int saved = errno;
    return mh__result(open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), saved);
}

int mh_os_memfd(const char *name, size_t size, int seal)
{
    int saved = errno, sealable = 1;
    long fd = memfd(name, MFD_CLOEXEC_ | MFD_ALLOW_SEALING_ | MFD_NOEXEC_SEAL_);
    if (fd == -EINVAL) {
        fd = memfd(name, MFD_CLOEXEC_ | MFD_ALLOW_SEALING_);
    }
    if (fd == -ENOSYS || fd == -EPERM) {
        sealable = 0;
        fd = unnamed_file();
    }
    if (fd < 0) {
        return (int) fd;
    }
    (void) fchmod((int) fd, 0600); /* a memfd is born 0777, and /proc/PID/fd shows it */
    int rc = set_size((int) fd, size);
    if (rc == 0 && seal && sealable) {
        (void) fcntl((int) fd, ADD_SEALS,
                     SEAL_SHRINK | SEAL_GROW | SEAL_SEAL); /* a hardening, not a promise */
    }
    errno = saved;
    if (rc == 0) {
        return (int) fd;
    }
    mh_os_close((int) fd);
    return rc;
}

static int map(int fd, size_t size, int flags, void **address)
{
    int saved = errno;
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    long rc = mh__result(at == MAP_FAILED ? -1 : 0, saved);
    if (rc == 0) {
        *address = at;
    }
    return (int) rc;
}

int mh_os_map(int fd, size_t size, void **address)
{
    return map(fd, size, MAP_SHARED | MAP_NORESERVE, address);
}

int mh_os_map_private(size_t size, void **address)
{
    return map(-1, size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, address);
}

void mh_os_unmap(void *address, size_t size)
{
    int saved = errno;
    (void) munmap(address, size);
    errno = saved;
}

int mh_os_discard(int fd, size_t offset, size_t size)
{
    int saved = errno;
    if (size == 0) {
        return 0;
    }
    return (int) mh__result(
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) offset, (off_t) size), saved);
}

int mh_os_allocate(int fd, size_t size)
{
    int saved = errno;
    long rc;
    do { /* a large file takes a while, and a signal ends that */
        rc = mh__result(fallocate(fd, 0, 0, (off_t) size), saved);
    } while (rc == -EINTR);
    return (int) rc;
}

int mh_os_discard_private(void *address, size_t size)
{
    int saved = errno;
    return (int) mh__result(madvise(address, size, MADV_DONTNEED), saved);
}

/* Only pages that lie inside: what is beside them may be another's, and stay small. */
void mh_os_large_pages(void *address, size_t size)
{
    const uintptr_t large = (uintptr_t) 2 << 20;
    uintptr_t begin = ((uintptr_t) address + large - 1) & ~(large - 1);
    uintptr_t end = ((uintptr_t) address + size) & ~(large - 1);
    int saved = errno;
    if (begin < end) {
        (void) madvise((void *) begin, end - begin, MADV_HUGEPAGE); /* EINVAL: this kernel has none */
    }
    errno = saved;
}

/* Whether they are there is asked of the last one: what was in use before was so from the front. */
void mh_os_bring_pages(void *address, size_t size)
{
#ifdef MADV_POPULATE_WRITE
    const uintptr_t page = mh_os_page();
    uintptr_t begin = ((uintptr_t) address + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t) address + size) & ~(page - 1);
    unsigned char there = 1;
    int saved = errno;
    if (begin < end && mincore((void *) (end - page), page, &there) == 0 && !(there & 1)) {
        (void) madvise((void *) begin, end - begin, MADV_POPULATE_WRITE); /* EINVAL: a kernel before 5.14 */
    }
    errno = saved;
#else
    (void) address, (void) size;
#endif
}

size_t mh_os_page(void)
{
    static _Atomic(size_t) known;
    size_t page = mh_load_rlx(&known);
    if (page == 0) {
        page = (size_t) sysconf(_SC_PAGESIZE);
        mh_store_rlx(&known, page);
    }
    return page;
}

/* The number in a file; UINT64_MAX where there is none ("max", or no such file). */
static uint64_t number_in(const char *directory, const char *name)
{
    char path[512], text[64];
    char *end = mh__put_text(path, path + sizeof path, directory);
    end = mh__put_text(end, path + sizeof path, "/");
    mh__put_text(end, path + sizeof path, name);
    if (mh__read_text(path, text, sizeof text) <= 0 || text[0] < '0' || text[0] > '9') {
        return UINT64_MAX;
    }
    return strtoull(text, NULL, 10);
}

static uint64_t room_in_group(const char *directory, const char *limit_file, const char *usage_file)
{
    uint64_t limit = number_in(directory, limit_file);
    uint64_t usage = limit == UINT64_MAX ? UINT64_MAX : number_in(directory, usage_file);
    if (usage == UINT64_MAX) {
        return UINT64_MAX;
    }
    return limit > usage ? limit - usage : 0;
}

/* The tightest of this process's cgroup and all above it (v2), or of the memory controller's root as seen
 * here (v1). */
static uint64_t room_in_cgroup(void)
{
    char own[384], directory[448];
    uint64_t least = room_in_group("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes");
    if (mh__read_text("/proc/self/cgroup", own, sizeof own) <= 0) {
        return least;
    }
    char *path = strstr(own, "0::/");
    if (path == NULL) {
        return least;
    }
    path += 3;
    path[strcspn(path, "\n")] = '\0';
    for (;;) {
        char *end = mh__put_text(directory, directory + sizeof directory, "/sys/fs/cgroup");
        mh__put_text(end, directory + sizeof directory, path);
        uint64_t room = room_in_group(directory, "memory.max", "memory.current");
        if (room < least) {
            least = room;
        }
        char *slash = strrchr(path, '/');
        if (slash == NULL) {
            return least;
        }
        *slash = '\0';
    }
}

static uint64_t free_memory(void)
{
    char text[4096];
    if (mh__read_text("/proc/meminfo", text, sizeof text) > 0) {
        const char *line = strstr(text, "MemAvailable:");
        if (line != NULL) {
            return strtoull(line + strlen("MemAvailable:"), NULL, 10) * 1024;
        }
    }
    long pages = sysconf(_SC_PHYS_PAGES);
    return pages > 0 ? (uint64_t) pages * mh_os_page() / 2 : (uint64_t) 1 << 30;
}

uint64_t mh_os_memory_limit(void)
{
    int saved = errno;
    uint64_t room = room_in_cgroup(), available = free_memory();
    errno = saved;
    room = room < available ? room : available;
    return room > 0 ? room : 1;
}

/* "/dev/shm/NAME": what shm_open() of glibc and musl do, which needs no librt. */
static int shm_path(const char *name, char *path, size_t room)
{
    name += name[0] == '/';
    size_t length = strlen(name);
    if (length == 0 || strchr(name, '/') != NULL || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return -EINVAL;
    }
    if (length > 250) {
        return -ENAMETOOLONG;
    }
    (void) mh__put_text(mh__put_text(path, path + room, "/dev/shm/"), path + room, name);
    return 0;
}

static int shm_descriptor(const char *name, int flags)
{
    char path[272];
    int saved = errno, rc = shm_path(name, path, sizeof path);
    return rc < 0 ? rc : (int) mh__result(open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600), saved);
}

int mh_os_shm_create(const char *name, size_t size)
{
    int fd = shm_descriptor(name, O_CREAT | O_EXCL);
    if (fd < 0) {
        return fd;
    }
    int rc = set_size(fd, size);
    if (rc == 0) {
        return fd;
    }
    mh_os_close(fd);
    (void) mh_os_shm_unlink(name);
    return rc;
}

int mh_os_fill(int fd)
{
    struct stat info;
    int saved = errno, rc = (int) mh__result(fstat(fd, &info), saved);
    if (rc == 0 && S_ISREG(info.st_mode) && (uint64_t) info.st_blocks * 512 < (uint64_t) info.st_size) {
        rc = mh_os_allocate(fd, (size_t) info.st_size);
    }
    return rc;
}

/* Whoever owns a file can cut it short under those who have mapped it, and the next touch is a SIGBUS: so only one's
 * own is opened. */
static int check_owner(int fd)
{
    struct stat info;
    int saved = errno, rc = (int) mh__result(fstat(fd, &info), saved);
    return rc == 0 && info.st_uid != geteuid() ? -EACCES : rc;
}

int mh_os_shm_open(const char *name)
{
    int fd = shm_descriptor(name, O_NONBLOCK); /* a pipe in its place is not waited for */
    if (fd < 0) {
        return fd;
    }
    int rc = check_owner(fd);
    if (rc < 0) {
        mh_os_close(fd);
        return rc;
    }
    return fd;
}

int mh_os_shm_unlink(const char *name)
{
    char path[272];
    int saved = errno, rc = shm_path(name, path, sizeof path);
    return rc < 0 ? rc : (int) mh__result(unlink(path), saved);
}
