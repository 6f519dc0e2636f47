/* The system layer: clocks, ids across fork, who lives, memory and descriptors with their refusals, panics. */
#include "tests/core/harness.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <manyhands/arena.h>
#include <manyhands/error.h>

#include "core/os/os.h"

TEST(errno_is_left_alone)
{
    _Atomic(uint32_t) word = 1;
    errno = 77;
    CHECK_EQ(mh_os_futex_wait(&word, 0, INT64_MAX, 0), -EAGAIN);
    CHECK_EQ(mh_os_futex_wait(&word, 1, 1, 1), -ETIMEDOUT);
    CHECK_EQ(mh_os_shm_open("manyhands-no-such-name"), -ENOENT);
    CHECK_EQ(mh_os_alive(INT_MAX), 0);
    mh_os_close(-1);
    CHECK(mh_os_memory_limit() > 0);
    CHECK(mh_strerror(-ENOENT) != NULL);
    CHECK_EQ(errno, 77);
}

TEST(futex_deadlines_are_absolute)
{
    _Atomic(uint32_t) word = 0;
    int64_t until = mh_os_now() + 20000000;
    CHECK_EQ(mh_os_futex_wait(&word, 0, until, 0), -ETIMEDOUT);
    CHECK(mh_os_now() >= until);
    CHECK_EQ(mh_os_futex_wait(&word, 0, INT64_MIN, 0), -ETIMEDOUT);
}

TEST(wait_for_any_word)
{
    _Atomic(uint32_t) words[2] = {0, 5};
    struct mh_os_futex on[2] = {{&words[0], 0, 0}, {&words[1], 4, 1}};
    if (!mh_os_has_wait_any()) {
        CHECK_EQ(mh_os_futex_wait_any(on, 2, 1), -ENOSYS);
        SKIP("this kernel has no futex_waitv");
    }
    CHECK_EQ(mh_os_futex_wait_any(on, 2, INT64_MAX), -EAGAIN);
    on[1].expected = 5;
    CHECK_EQ(mh_os_futex_wait_any(on, 2, mh_os_now() + 1000000), -ETIMEDOUT);
    CHECK_EQ(mh_os_futex_wait_any(on, 0, 1), -EINVAL);
    CHECK_EQ(mh_os_futex_wait_any(on, MH_OS_FUTEX_ANY + 1, 1), -EINVAL);
}

struct ids {
    int pid, tid;
    uint32_t key;
    uint64_t self, who;
};

static void ask(void *arg)
{
    struct ids *ids = arg;
    *ids = (struct ids){mh_os_pid(), mh_os_tid(), mh_os_key(), mh_os_self(), mh_os_who()};
}

TEST(ids_are_the_systems)
{
    struct ids ids, other;
    ask(&ids);
    t_join(t_thread(ask, &other), 10);
    CHECK_EQ(ids.pid, getpid());
    CHECK_EQ(ids.tid, syscall(SYS_gettid));
    CHECK_EQ(other.pid, ids.pid);
    CHECK_EQ(other.self, ids.self);
    CHECK(other.tid != ids.tid && other.key != ids.key && other.who != ids.who);
    CHECK_EQ(ids.self >> 32, mh_os_start_time(getpid()) & UINT32_MAX);
}

static void check_child_ids(void *arg)
{
    const struct ids *parents = arg;
    struct ids own;
    ask(&own);
    CHECK_EQ(own.pid, getpid());
    CHECK_EQ(own.tid, syscall(SYS_gettid));
    CHECK(own.self != parents->self && own.who != parents->who);
    CHECK_EQ(own.key, parents->key); /* it still holds what it held */
    CHECK(mh_os_alive(parents->self) && mh_os_alive(own.self));
}

TEST(ids_are_right_in_a_forked_child)
{
    struct ids ids;
    ask(&ids);
    CHECK_EQ(t_wait(t_fork(check_child_ids, &ids), 10), 0);
}

static void nothing(void *arg)
{
    (void) arg;
}

TEST(a_zombie_is_dead)
{
    pid_t child = t_fork(nothing, NULL);
    siginfo_t info;
    CHECK_EQ(waitid(P_PID, (id_t) child, &info, WEXITED | WNOWAIT), 0);
    CHECK_EQ(kill(child, 0), 0); /* what kill(pid, 0) says of it */
    CHECK_EQ(mh_os_alive((uint64_t) child), 0);
    CHECK_EQ(t_wait(child, 10), 0);
    CHECK_EQ(mh_os_alive((uint64_t) child), 0);
}

TEST(a_recycled_id_is_not_taken_for_its_owner)
{
    uint64_t self = mh_os_self();
    CHECK_EQ(mh_os_alive(self), 1);
    CHECK_EQ(mh_os_alive((uint64_t) getppid() | (mh_os_start_time(getppid()) + 1) << 32), 0);
    CHECK_EQ(mh_os_alive((uint64_t) getppid() | mh_os_start_time(getppid()) << 32), 1);
    CHECK_EQ(mh_os_alive(0), 0);
}

static _Noreturn void leave_main_thread_dead(t_barrier_t *up)
{
    t_meet(up);
    pthread_exit(NULL);
}

static void outlive_main(void *arg)
{
    t_meet(arg);
    for (;;) {
        pause();
    }
}

static void main_ends_first(void *arg)
{
    pthread_t thread = t_thread(outlive_main, arg);
    (void) pthread_detach(thread);
    leave_main_thread_dead(arg);
}

TEST(a_process_lives_without_its_main_thread)
{
    t_barrier_t *up = t_barrier(3);
    pid_t child = t_fork(main_ends_first, up);
    char path[40], text[512] = {0};
    t_meet(up);
    (void) snprintf(path, sizeof path, "/proc/%d/stat", (int) child);
    for (int i = 0; i < 10000 && strstr(text, ") Z") == NULL; i++) {
        FILE *file = fopen(path, "r");
        CHECK(file != NULL);
        CHECK(fgets(text, sizeof text, file) != NULL);
        (void) fclose(file);
        t_nap(0.0005);
    }
    CHECK(strstr(text, ") Z") != NULL);
    CHECK_EQ(mh_os_alive((uint64_t) child), 1);
    t_kill(child);
    CHECK_EQ(mh_os_alive((uint64_t) child), 0);
}

TEST(memory_is_shared_sealed_and_private_to_the_user)
{
    void *address;
    uint64_t size;
    struct stat st;
    int fd = mh_os_memfd("test", 8192, 1);
    CHECK(fd >= 0);
    CHECK_EQ(mh_os_fd_size(fd, &size), 0);
    CHECK_EQ(size, 8192);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_mode & 0777, 0600);
    CHECK_EQ(mh_os_map(fd, 8192, &address), 0);
    memset(address, 'x', 8192);
    CHECK_EQ(mh_os_discard(fd, 0, 4096), 0);
    CHECK_EQ(((char *) address)[0], 0);
    CHECK_EQ(((char *) address)[4096], 'x');
    mh_os_unmap(address, 8192);
    mh_os_close(fd);
    CHECK_EQ(mh_os_map(fd, 8192, &address), -EBADF);
}

TEST(past_the_file_size_limit_is_an_error_not_a_signal)
{
    struct rlimit small = {4096, 4096};
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    CHECK_EQ(mh_os_memfd("test", 8192, 0), -EFBIG);
    CHECK_EQ(mh_os_memfd("test", SIZE_MAX, 0), -EFBIG);
}

TEST(names_of_segments)
{
    char name[80], long_name[300];
    (void) snprintf(name, sizeof name, "/%s", t_shm_name());
    int fd = mh_os_shm_create(name, 4096);
    CHECK(fd >= 0);
    CHECK_EQ(mh_os_shm_create(name, 4096), -EEXIST);
    int again = mh_os_shm_open(name + 1);
    CHECK(again >= 0);
    CHECK_EQ(mh_os_shm_unlink(name), 0);
    CHECK_EQ(mh_os_shm_unlink(name), -ENOENT);
    mh_os_close(fd);
    mh_os_close(again);
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    CHECK_EQ(mh_os_shm_create("", 1), -EINVAL);
    CHECK_EQ(mh_os_shm_create("/", 1), -EINVAL);
    CHECK_EQ(mh_os_shm_create("a/b", 1), -EINVAL);
    CHECK_EQ(mh_os_shm_create("..", 1), -EINVAL);
    CHECK_EQ(mh_os_shm_create(long_name, 1), -ENAMETOOLONG);
}

TEST(descriptors)
{
    int fds[2];
    char c = 'a';
    CHECK_EQ(mh_os_socketpair(fds), 0);
    CHECK_EQ(mh_os_poll(fds[0], MH_OS_READABLE, mh_os_now() + 1000000), -ETIMEDOUT);
    CHECK_EQ(mh_os_write(fds[1], &c, 1), 1);
    CHECK_EQ(mh_os_poll(fds[0], MH_OS_READABLE, INT64_MAX) & MH_OS_READABLE, MH_OS_READABLE);
    CHECK_EQ(mh_os_read(fds[0], &c, 1), 1);
    CHECK_EQ(mh_os_set_nonblocking(fds[0], 1), 0);
    CHECK_EQ(mh_os_read(fds[0], &c, 1), -EAGAIN);
    mh_os_close(fds[0]);
    CHECK_EQ(mh_os_write(fds[1], &c, 1), -EPIPE); /* and no SIGPIPE */
    mh_os_close(fds[1]);
    CHECK_EQ(mh_os_poll(fds[1], MH_OS_READABLE, 0), -EBADF);
    CHECK_EQ(mh_os_dup(fds[1]), -EBADF);
}

TEST(signals_go_to_one_process_only)
{
    CHECK_EQ(mh_os_signal(0, SIGTERM), -EINVAL);
    CHECK_EQ(mh_os_signal(-1, SIGTERM), -EINVAL);
}

static void panics(void *arg)
{
    int *fds = arg;
    CHECK(dup2(fds[1], STDERR_FILENO) >= 0);
    mh_os_panic_owned("mh_test", (void *) 0xabc, "a caller's bug", 42);
}

TEST(a_panic_says_where_what_and_who)
{
    int fds[2];
    char text[400] = {0}, expected[200];
    CHECK_EQ(mh_os_pipe(fds), 0);
    pid_t child = t_fork(panics, fds);
    CHECK_EQ(t_wait(child, 10), -SIGABRT);
    mh_os_close(fds[1]);
    CHECK(mh_os_read(fds[0], text, sizeof text - 1) > 0);
    (void) snprintf(expected, sizeof expected,
                    "manyhands: mh_test(0xabc): a caller's bug; owner 42; thread %d of process %d\n",
                    (int) child, (int) child);
    CHECK_STR_EQ(text, expected);
}

static const struct code {
    int value;
    const char *name;
} codes[] = {
#define CODE(name, value, text) {name, #name},
    MH_CODES(CODE)
#undef CODE
};

enum { CODES = sizeof codes / sizeof codes[0], LAST_ERRNO = 133 };

/* No two codes have one name or one text: a log line says which it was. */
/* "hg" among the flags of the mapping around `address`: large pages were asked for. */
static int large_pages_asked_for(const void *address)
{
    char line[512];
    int inside = 0, asked = 0;
    FILE *file = fopen("/proc/self/smaps", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long begin, end;
        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2) {
            inside = begin <= (uintptr_t) address && (uintptr_t) address < end;
        } else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            asked = strstr(line, " hg") != NULL;
        }
    }
    (void) fclose(file);
    return asked;
}

TEST(large_pages_are_asked_for_inside_of_large_fresh_memory_alone)
{
    const size_t large = (size_t) 2 << 20, size = 8 * large;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    char *first = (char *) (((uintptr_t) memory + large - 1) & ~(uintptr_t) (large - 1));
    memory[0] = memory[size - 1] = first[5] = 7;
    errno = 77;
    mh_memory_fresh(first + 1, large);                   /* too little */
    mh_memory_fresh(first + 1, 2 * large);               /* one whole page lies inside */
    mh_memory_fresh((void *) (large - 4096), 2 * large); /* nothing there: refused, and not told */
    mh_memory_fresh(NULL, 0);
    CHECK_EQ(errno, 77);
    CHECK(memory[0] == 7 && memory[size - 1] == 7 && first[5] == 7);
    if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) != 0) {
        SKIP("this kernel has no large pages");
    }
    CHECK_EQ(large_pages_asked_for(first + large - 1), 0);
    CHECK_EQ(large_pages_asked_for(first + large), 1);
    CHECK_EQ(large_pages_asked_for(first + 2 * large), 0);
}

static int pages_there(char *from, int count)
{
    const size_t page = mh_os_page();
    int there = 0;
    for (int i = 0; i < count; i++) {
        unsigned char here = 0;
        CHECK_EQ(mincore(from + (size_t) i * page, page, &here), 0);
        there += here & 1;
    }
    return there;
}

static int knows_populate(char *at)
{
#ifdef MADV_POPULATE_WRITE
    return madvise(at, mh_os_page(), MADV_POPULATE_WRITE) == 0;
#else
    (void) at;
    return 0;
#endif
}

TEST(the_pages_of_fresh_memory_come_at_once_from_256_kb_on)
{
    const size_t page = mh_os_page(), size = (size_t) 256 << 10;
    const int count = (int) (size / page);
    char *memory = mmap(NULL, 4 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    if (!knows_populate(memory + 3 * size)) {
        SKIP("this kernel brings pages by faults alone");
    }
    errno = 77;
    memory[1] = 7;
    mh_memory_fresh(memory + 1, size - 1); /* too little */
    CHECK_EQ(pages_there(memory, count), 1);
    mh_memory_fresh(memory + 1, size); /* those that lie inside, and what is there stays */
    CHECK_EQ(pages_there(memory, count + 1), count);
    CHECK_EQ(memory[1], 7);
    memory[3 * size - 1] = 7; /* the last one is there: they were in use before */
    mh_memory_fresh(memory + 2 * size, size);
    CHECK_EQ(pages_there(memory + 2 * size, count), 1);
    mh_memory_fresh((void *) page, size); /* nothing there: refused, and not told */
    CHECK_EQ(errno, 77);
    CHECK_EQ(munmap(memory, 4 * size), 0);
}

/* Each byte differs from those a page, a piece or a word further on. */
static unsigned char byte_at(size_t i)
{
    return (unsigned char) (i ^ i >> 8 ^ i >> 16 ^ i >> 21);
}

TEST(a_large_copy_has_every_byte_once_whoever_made_it)
{
    const size_t mega = (size_t) 1 << 20, room = 40 * mega;
    const size_t sizes[] = {0, 1, 8 * mega - 1, 8 * mega, 16 * mega - 1, 17 * mega + 4095, 33 * mega + 1};
    unsigned char *from = malloc(room), *to = malloc(room);
    CHECK(from != NULL && to != NULL);
    for (size_t i = 0; i < room; i++) {
        from[i] = byte_at(i);
    }
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t size = sizes[k], wrong = 0, at = 1 + k * 511; /* no two copies lie alike in their pages */
        memset(to, 0xa5, room);
        mh_memory_copy(to + at, from + 3, size);
        for (size_t i = 0; i < room; i++) {
            int inside = at <= i && i < at + size;
            wrong += to[i] != (inside ? byte_at(i - at + 3) : 0xa5);
        }
        CHECK_EQ(wrong, 0);
    }
    free(from);
    free(to);
}

TEST(every_code_has_a_name_and_a_text_of_its_own)
{
    for (int i = 0; i < CODES; i++) {
        CHECK_STR_EQ(mh_error_name(codes[i].value), codes[i].name);
        for (int k = 0; k < i; k++) {
            CHECK(strcmp(mh_strerror(codes[i].value), mh_strerror(codes[k].value)) != 0);
        }
    }
    int named = 0;
    for (int i = 1; i <= LAST_ERRNO; i++) {
        const char *name = mh_error_name(-i);
        named += name[0] == 'E';
        CHECK(name[0] == 'E' || strcmp(name, "?") == 0);
        char text[128]; /* the next call may free what this one gave */
        (void) snprintf(text, sizeof text, "%s", strerror(i));
        CHECK_STR_EQ(mh_strerror(-i), text);
        for (int k = 1; k < i; k++) {
            CHECK(name[0] == '?' || strcmp(name, mh_error_name(-k)) != 0);
        }
    }
    CHECK(named > 30);
}

TEST(codes_have_names_and_texts)
{
    CHECK_STR_EQ(mh_error_name(MH_OWNER_DIED), "MH_OWNER_DIED");
    CHECK_STR_EQ(mh_error_name(MH_E_CLOSED), "MH_E_CLOSED");
    CHECK_STR_EQ(mh_error_name(-ETIMEDOUT), "ETIMEDOUT");
    CHECK_STR_EQ(mh_error_name(0), "OK");
    CHECK_STR_EQ(mh_error_name(-4095), "?");
    CHECK_STR_EQ(mh_strerror(MH_E_CLOSED), "the channel is closed");
    CHECK_STR_EQ(mh_strerror(0), "success");
    CHECK_STR_EQ(mh_strerror(-ENOENT), strerror(ENOENT));
    CHECK_STR_EQ(mh_strerror(12345), "not a code of manyhands");
    CHECK_STR_EQ(mh_strerror(INT_MIN), "not a code of manyhands");
}

/* ---- cores */

static void tell_cores(void *told)
{
    *(_Atomic(int) *) told = mh_os_cores();
}

static void tell_cores_pinned(void *told)
{
    cpu_set_t one;
    int core = sched_getcpu();
    CPU_ZERO(&one);
    CPU_SET((unsigned) core, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    CHECK_EQ(mh_os_core(), core);
    tell_cores(told);
}

static void tell_cores_from_a_pinned_thread(void *told)
{
    t_join(t_thread(tell_cores_pinned, told), 10);
}

/* The number is kept: a thread that has taken a core for itself may be the first to ask. */
TEST(cores_are_the_process_s_and_not_the_asking_thread_s)
{
    _Atomic(int) *told = t_shared(2 * sizeof *told);
    CHECK_EQ(t_wait(t_fork(tell_cores, &told[0]), 10), 0);
    CHECK_EQ(t_wait(t_fork(tell_cores_from_a_pinned_thread, &told[1]), 10), 0);
    CHECK(told[0] >= 1);
    CHECK_EQ(told[1], told[0]);
}
