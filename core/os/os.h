/* core/os/os.h - L0: all that manyhands asks of the operating system. The only layer with syscalls and OS #ifdefs; a
 * port is this folder. Functions return 0 (or what they say) or -errno. Nothing here touches errno's value for the caller.
 */
#ifndef MH_OS_OS_H
#define MH_OS_OS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* futex.c: `shared` 0: FUTEX_PRIVATE. deadline: absolute CLOCK_MONOTONIC ns, INT64_MAX: none. */
int mh_os_futex_wait(_Atomic(uint32_t) *word, uint32_t expected, int64_t deadline, int shared); /* 0, -EAGAIN, -ETIMEDOUT, -EINTR */
/* Two words at once (futex_waitv); -ENOSYS where the kernel has none (probed once). Either may be the one woken. */
int mh_os_futex_wait2(_Atomic(uint32_t) *word, uint32_t expected, int shared, _Atomic(uint32_t) *word2,
                      uint32_t expected2, int shared2, int64_t deadline);
void mh_os_futex_wake(_Atomic(uint32_t) *word, int count, int shared);

/* clock.c */
int64_t mh_os_now(void);
int64_t mh_os_thread_cpu(void);
void mh_os_pause(void); /* the processor's spin hint */
int mh_os_cores(void);  /* that this process may run on, at least 1; cached */

/* ids.c: cached per thread and process, right again in a forked child. */
int mh_os_pid(void);
int mh_os_tid(void);
uint64_t mh_os_start_time(int pid);        /* clock ticks since boot, 0: unknown */
uint64_t mh_os_self(void);                 /* who I am in a shared word: pid | (start time low 32) << 32; never 0 */
int mh_os_alive(uint64_t who);             /* 1 lives, 0 is dead or recycled; a zombie is dead */

/* memory.c */
int mh_os_memfd(const char *name, size_t size, int seal); /* fd; seals growing and shrinking */
int mh_os_map(int fd, size_t size, void **address);
void mh_os_unmap(void *address, size_t size);
int mh_os_discard(int fd, size_t offset, size_t size);
size_t mh_os_page(void);
uint64_t mh_os_memory_limit(void); /* the smaller of free memory and what the cgroup leaves, bytes */

/* process.c */
int mh_os_pidfd(int pid);                  /* fd */
int mh_os_pidfd_signal(int pidfd, int signal);
int mh_os_pidfd_wait(int pidfd, int64_t deadline); /* 0 ended, -ETIMEDOUT, -EINTR */

/* panic.c: a caller's bug. Prints to stderr without allocating, aborts. */
_Noreturn void mh_os_panic(const char *function, const void *object, const char *what);

#endif
