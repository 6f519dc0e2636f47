/* core/os/os.h - L0: all that manyhands asks of the operating system. The only layer with syscalls and OS
 * #ifdefs; a port is this folder. Functions return 0 (or what they say) or -errno. Nothing here touches
 * errno's value for the caller.
 */
#ifndef MH_OS_OS_H
#define MH_OS_OS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/os/atomic.h"
#include "core/os/tls.h"

#if defined(__GNUC__)
#define MH_HIDDEN __attribute__((visibility("hidden")))
#define MH_APART __attribute__((noinline)) /* of a slow way: its stack frame is not the fast one's */
#else
#define MH_HIDDEN
#define MH_APART
#endif

/* futex.c. `shared` 0: FUTEX_PRIVATE. deadline: absolute CLOCK_MONOTONIC ns, INT64_MAX: none. The word
 * itself is read by the kernel only. A wait that a wake has ended always returns 0, whatever else happened
 * at the same time. */
int mh_os_futex_wait(_Atomic(uint32_t) *word, uint32_t expected, int64_t deadline,
                     int shared); /* 0, -EAGAIN, -ETIMEDOUT, -EINTR */
/* Up to MH_OS_FUTEX_ANY words at once (futex_waitv). Returns the index of one that was woken (another may
 * have been woken, too), -EAGAIN where one of them differs, -ETIMEDOUT, -EINTR; -ENOSYS where the kernel has
 * none (probed once). */
#define MH_OS_FUTEX_ANY 4
struct mh_os_futex {
    _Atomic(uint32_t) *word;
    uint32_t expected;
    int shared;
};
int mh_os_futex_wait_any(const struct mh_os_futex *futexes, int count, int64_t deadline);
int mh_os_has_wait_any(void);
void mh_os_futex_wake(_Atomic(uint32_t) *word, int count, int shared);

/* clock.c */
int64_t mh_os_now(void);
int64_t mh_os_thread_cpu(void);
void mh_os_pause(void); /* the processor's spin hint */
/* How many cores this process may run on, at least 1: the affinity of its first thread (others may be pinned to one),
 * the cgroup's quota. Cached. */
int mh_os_cores(void);
int mh_os_core(
    void); /* the one that the caller runs on, a hint: it may be on another by now; -1: not known */

/* ids.c: cached per thread and process, right again in a forked child.
 *   key   who a thread is in words of its own process; never 0, at most MH_OS_KEY_MAX. Stays the same across
 *         fork().
 *   self  who a process is in words that other processes read: pid | (start time low 32) << 32
 *   who   who a thread is in such words: tid | (its start time low 32) << 32 */
#define MH_OS_KEY_MAX 0x3fffffffu
uint64_t mh_os_start_time(int id); /* of a process or thread: clock ticks since boot, 0: unknown */
int mh_os_alive(uint64_t who);     /* self or who: 1 lives, 0 is dead or recycled; a zombie is dead */
#ifdef MH_SCHED
int mh_os_pid(void);
int mh_os_tid(void);
uint64_t mh_os_self(void);
static inline uint32_t mh_os_key(void)
{
    return (uint32_t) mh_os_tid();
}
static inline uint32_t mh_os_known_key(void)
{
    return mh_os_key();
}
static inline uint64_t mh_os_known_self(void)
{
    return mh_os_self();
}
static inline uint64_t mh_os_who(void)
{
    return (mh_os_self() & ~(uint64_t) UINT32_MAX) | (uint32_t) mh_os_tid();
}
static inline uint32_t mh_os_forks(void)
{
    return 0;
}
#else
extern _Atomic(uint32_t) mh__os_forks MH_HIDDEN;
extern _Atomic(uint64_t) mh__os_self MH_HIDDEN; /* 0: not asked yet, or forked since */
uint64_t mh__os_learn_self(void);
uint32_t mh__os_learn_key(struct mh__tls *tls);
int mh__os_learn_tid(struct mh__tls *tls);
uint64_t mh__os_learn_who(struct mh__tls *tls);

static inline uint64_t mh_os_self(void)
{
    uint64_t self = mh_load_rlx(&mh__os_self);
    return self != 0 ? self : mh__os_learn_self();
}
/* How many forks lie between the first process and this one: what lay on other threads' stacks before one is gone. */
static inline uint32_t mh_os_forks(void)
{
    return mh_load_rlx(&mh__os_forks);
}
static inline int mh_os_pid(void)
{
    return (int) (uint32_t) mh_os_self();
}
static inline uint32_t mh_os_key(void)
{
    struct mh__tls *tls = mh__tls();
    return tls->key != 0 ? tls->key : mh__os_learn_key(tls);
}
/* The same where it was asked for before, else 0: no call, for functions that keep nothing across one. */
static inline uint64_t mh_os_known_self(void)
{
    return mh_load_rlx(&mh__os_self);
}
static inline uint32_t mh_os_known_key(void)
{
    return mh__tls()->key;
}
static inline int mh_os_tid(void)
{
    struct mh__tls *tls = mh__tls();
    return tls->tid != 0 ? tls->tid : mh__os_learn_tid(tls);
}
static inline uint64_t mh_os_who(void)
{
    struct mh__tls *tls = mh__tls();
    return tls->who != 0 ? tls->who : mh__os_learn_who(tls);
}
#endif
/* pthread_atfork, with the ids above already right when `child` runs. 0 or -ENOMEM. */
int mh_os_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

/* memory.c */
void *mh_os_malloc(size_t size); /* the C library's, but for errno; free() as ever */
void *mh_os_calloc(size_t count, size_t size);
int mh_os_memfd(const char *name, size_t size,
                int seal);                          /* fd, close-on-exec, 0600; `seal`: its size is final */
int mh_os_map(int fd, size_t size, void **address); /* shared, readable and writable, no memory promised */
int mh_os_map_private(size_t size, void **address); /* zeroed pages of this process */
void mh_os_unmap(void *address, size_t size);
int mh_os_discard_private(void *address, size_t size); /* of such pages: given back, zeros when next read */
void mh_os_large_pages(void *address, size_t size);    /* asks for them where a whole one fits */
void mh_os_bring_pages(void *address,
                       size_t size); /* those that lie inside, at once, unless they are there */
int mh_os_discard(int fd, size_t offset, size_t size); /* -EOPNOTSUPP where the file cannot have holes */
int mh_os_allocate(int fd,
                   size_t size); /* its pages are there now: -ENOSPC, where touching them later were SIGBUS */
int mh_os_fill(int fd);          /* the same for all of a file that has holes */
size_t mh_os_page(void);
uint64_t mh_os_memory_limit(void); /* the smaller of free memory and what the cgroup leaves, bytes; never 0 */
/* Named segments: "/name" or "name", one component. */
int mh_os_shm_create(const char *name, size_t size); /* fd; -EEXIST, -EINVAL, -ENAMETOOLONG */
int mh_os_shm_open(const char *name); /* fd; -ENOENT; -EACCES, also where it is another user's */
int mh_os_shm_unlink(const char *name);

/* fd.c: descriptors, all close-on-exec unless made inheritable */
void mh_os_close(int fd);
int mh_os_dup(int fd);
int mh_os_reopen(int fd); /* the same file for reading, with flags and an owner of its own; needs /proc */
int mh_os_set_inheritable(int fd, int inheritable);
int mh_os_set_nonblocking(int fd, int nonblocking);
int mh_os_fd_size(int fd, uint64_t *size);
int mh_os_fd_identity(int fd, uint64_t *device, uint64_t *inode);
int mh_os_eventfd(void);          /* fd, non-blocking */
int mh_os_pipe(int fds[2]);       /* [0] reads */
int mh_os_socketpair(int fds[2]); /* stream, both ways */
int mh_os_poll_set(void);         /* a descriptor that is readable while one of those added to it is */
int mh_os_poll_add(int set, int fd);
#define MH_OS_READABLE 1
#define MH_OS_WRITABLE 2
#define MH_OS_HUNG_UP 4
int mh_os_poll(int fd, int events, int64_t deadline);       /* events that hold, -ETIMEDOUT, -EINTR */
ssize_t mh_os_read(int fd, void *data, size_t size);        /* bytes (0: end of file), -EAGAIN, -EINTR ... */
ssize_t mh_os_write(int fd, const void *data, size_t size); /* bytes; never SIGPIPE: -EPIPE (sockets) */
/* Of a local stream socket, never waiting. Its next bytes, which stay; a descriptor with a byte, and the next
 * byte's: 0, -EBADMSG (it has none, and is gone), -EAGAIN. */
ssize_t mh_os_look_at(int socket, void *data, size_t size);
int mh_os_send_fd(int socket, int fd, unsigned char byte);
int mh_os_receive_fd(int socket, int *fd);

/* process.c */
int mh_os_pidfd(int pid); /* fd; -ESRCH, -ENOSYS */
int mh_os_pidfd_signal(int pidfd, int signal);
int mh_os_pidfd_signal_group(
    int pidfd, int signal); /* the group that it leads, also once it is gone; -EINVAL before 6.9 */
int mh_os_signal_group(int group, int signal);
int mh_os_pidfd_wait(int pidfd, int64_t deadline); /* 0 ended, -ETIMEDOUT, -EINTR */
int mh_os_signal(int pid, int signal);
int mh_os_fork(void);                  /* pid; 0 in the child */
_Noreturn void mh_os_exit(int status); /* at once, nothing flushed */
/* A child of ours: 1 it ended and *status (exit status, or minus the signal) is set; 0 it has not; -ECHILD.
 * `keep`: leave it to be reaped by another call. */
int mh_os_reap(int pid, int keep, int *status);
/* The status of a process that ended, also after somebody else reaped it: 0, or negative where the kernel
 * does not tell (6.15). */
int mh_os_pidfd_status(int pidfd, int *status);
int mh_os_is_stopped(int pid); /* 1 every thread of it is stopped (or it ended), 0 not yet, -ESRCH */
/* What becomes different in a child, before it goes on: 0, or what did not work. `redirect`: pairs, from where to where;
 * the targets are inherited by what it executes. `die_with`: as mh_os_die_with(), moved out of their way; -1: none. */
#define MH_OS_MOST_REDIRECTS 64
struct mh_os_child {
    const char *cwd;     /* NULL: the caller's */
    const int *redirect; /* from, to, from, to ... */
    size_t redirect_count;
    int group; /* 0: the caller's; 1: one of its own; 2: a session of its own */
    int die_with;
};
int mh_os_become(struct mh_os_child *child);
int mh_os_own_group(int pid); /* the parent's half of group 1: in place before anyone signals it */
/* Start a program: argv[0] is looked up in PATH; `keep`: descriptors it inherits under the same number; 0 1
 * 2 always. Every signal is at its default and unblocked in it.
 * Returns the pid, or what exec said. */
struct mh_os_spawn {
    char *const *argv;
    char *const *envp; /* NULL: the caller's */
    const int *keep;
    size_t keep_count;
    struct mh_os_child child;
};
int mh_os_spawn(const struct mh_os_spawn *spawn);
int mh_os_process_cpu(int pid, int64_t *ns);        /* user + system of the process alone */
int mh_os_process_memory(int pid, uint64_t *bytes); /* PSS, or RSS where the kernel does not tell PSS */
int mh_os_thread_cpu_of(int pid, int tid, int64_t *ns);
void mh_os_thread_name(const char *name); /* of the calling thread, 15 bytes are shown */
/* SIGKILL this process when nobody holds the other end of `fd` (a pipe's or socket's) any more. */
int mh_os_die_with(int fd);
int mh_os_adopt(int whether); /* PR_SET_CHILD_SUBREAPER: 1 or 0 as it was before */

/* look.c: a thread of this process. The system call that it sleeps in, and the first argument: 0, 1 where it
 * runs, negative. Is that a futex call: 1, 2 of several words, 0. Its name. Own memory that may be gone. */
int mh_os_thread_syscall(int tid, long *number, uintptr_t *argument);
int mh_os_is_futex_call(long number);
int mh_os_thread_name_of(int tid, char *name, size_t room);
int mh_os_peek(const void *from, void *to, size_t size);

/* thread.c: a thread that calls run(argument), and end(argument) however it leaves that; *thread stays until
 * it is joined. Start: stack_size 0 is the system's; quiet: it takes no signals; 0, -EINVAL, -EAGAIN. */
struct mh_os_thread {
    void (*run)(void *argument);
    void (*end)(void *argument);
    void *argument;
    uint64_t handle; /* written by start alone, perhaps after the thread has begun */
};
int mh_os_thread_start(struct mh_os_thread *thread, size_t stack_size, int quiet);
void mh_os_thread_join(const struct mh_os_thread *thread);
void mh_os_thread_detach(const struct mh_os_thread *thread); /* instead of join */
/* Let call() run when the calling thread ends, after `end`, once however often it was asked for; always the same function
 * in a slot, and one that may run in a thread that did not ask. In the order of the slots. Not where main() returns. 0,
 * -EAGAIN, -ENOMEM. */
enum { MH_OS_END_CLEANUPS, MH_OS_END_SEAT, MH_OS_END_CALLS };
int mh_os_thread_call_at_end(unsigned slot, void (*call)(void));
/* The processors that a thread of this process may run on (0: the calling one), as bits. Set: 0, -EINVAL (none of them is
 * there), -ESRCH. Get: how many bytes of the mask are set, or negative. */
#define MH_OS_MOST_CORES 8192
int mh_os_set_cores(int tid, const unsigned long *mask);
int mh_os_get_cores(int tid, unsigned long *mask);

/* panic.c: a caller's bug. Prints to stderr without allocating, aborts. */
_Noreturn void mh_os_panic(const char *function, const void *object, const char *what);
_Noreturn void mh_os_panic_owned(const char *function, const void *object, const char *what, int owner);

#endif
