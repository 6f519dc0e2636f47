/* tests/core/fault/fault.h - every call of core/ that the system can refuse, behind a counter: the Nth one fails.
 *
 * Forced into each file of core/ when it is built for these tests (-include), so that nothing else of the program -
 * not the harness, not the C library itself - is touched. Each call fails as the system would let it fail: with an
 * error that the manual page names, and without having done anything.
 */
#ifndef MH_TESTS_FAULT_H
#define MH_TESTS_FAULT_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* 1: this call is to fail, and errno is `error`. */
int mh_fault(const char *call, int error);
int mh_fault_syscall(long number, ...);
void *mh_fault_malloc(size_t size);
void *mh_fault_calloc(size_t count, size_t size);
void mh_fault_free(void *memory);
void *mh_fault_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int mh_fault_munmap(void *address, size_t size);

#ifdef MH_FAULT_CORE
#define malloc(size) mh_fault_malloc(size)
#define calloc(count, size) mh_fault_calloc(count, size)
#define free(memory) mh_fault_free(memory)
#define mmap(...) mh_fault_mmap(__VA_ARGS__)
#define munmap(address, size) mh_fault_munmap(address, size)
#define syscall(...) (mh_fault_syscall(__VA_ARGS__) ? -1L : syscall(__VA_ARGS__))
#define open(...) (mh_fault("open", EMFILE) ? -1 : open(__VA_ARGS__))
#define opendir(path) (mh_fault("opendir", EMFILE) ? NULL : opendir(path))
#define fork() (mh_fault("fork", EAGAIN) ? -1 : fork())
#define eventfd(value, flags) (mh_fault("eventfd", EMFILE) ? -1 : eventfd(value, flags))
#define epoll_create1(flags) (mh_fault("epoll_create1", EMFILE) ? -1 : epoll_create1(flags))
#define epoll_ctl(...) (mh_fault("epoll_ctl", ENOMEM) ? -1 : epoll_ctl(__VA_ARGS__))
#define dup2(from, to) (mh_fault("dup2", EINTR) ? -1 : dup2(from, to))
#define chdir(path) (mh_fault("chdir", EACCES) ? -1 : chdir(path))
#define pipe2(fds, flags) (mh_fault("pipe2", EMFILE) ? -1 : pipe2(fds, flags))
#define socketpair(...) (mh_fault("socketpair", EMFILE) ? -1 : socketpair(__VA_ARGS__))
#define ftruncate(fd, size) (mh_fault("ftruncate", ENOSPC) ? -1 : ftruncate(fd, size))
#define fallocate(...) (mh_fault("fallocate", EOPNOTSUPP) ? -1 : fallocate(__VA_ARGS__))
#define fcntl(...) (mh_fault("fcntl", EMFILE) ? -1 : fcntl(__VA_ARGS__))
#define ppoll(...) (mh_fault("ppoll", EINTR) ? -1 : ppoll(__VA_ARGS__))
#define read(fd, data, size) (mh_fault("read", EINTR) ? (ssize_t) - 1 : read(fd, data, size))
#define write(fd, data, size) (mh_fault("write", EAGAIN) ? (ssize_t) - 1 : write(fd, data, size))
#define send(...) (mh_fault("send", EAGAIN) ? (ssize_t) - 1 : send(__VA_ARGS__))
#define ioctl(...) (mh_fault("ioctl", ENOTTY) ? -1 : ioctl(__VA_ARGS__))
#define waitid(...) (mh_fault("waitid", EINTR) ? -1 : waitid(__VA_ARGS__))
/* These return the error. */
#define pthread_create(...) (mh_fault("pthread_create", EAGAIN) ? EAGAIN : pthread_create(__VA_ARGS__))
#define pthread_key_create(...) \
    (mh_fault("pthread_key_create", EAGAIN) ? EAGAIN : pthread_key_create(__VA_ARGS__))
#define pthread_setspecific(...) \
    (mh_fault("pthread_setspecific", ENOMEM) ? ENOMEM : pthread_setspecific(__VA_ARGS__))
#define pthread_atfork(...) (mh_fault("pthread_atfork", ENOMEM) ? ENOMEM : pthread_atfork(__VA_ARGS__))
#define pthread_attr_init(attr) (mh_fault("pthread_attr_init", ENOMEM) ? ENOMEM : pthread_attr_init(attr))
#endif

#endif
