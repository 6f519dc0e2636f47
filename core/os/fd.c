/* core/os/fd.c - descriptors. */
#include "core/os/os.h"
#include "core/os/sys.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

void mh_os_close(int fd)
{
    int saved = errno;
    (void) close(fd); /* EINTR: closed all the same */
    errno = saved;
}

int mh_os_dup(int fd)
{
    int saved = errno;
    return (int) mh__result(fcntl(fd, F_DUPFD_CLOEXEC, 3), saved);
}

int mh_os_reopen(int fd)
{
    char path[40];
    const char *limit = path + sizeof path;
    int saved = errno;
    mh__put_number(mh__put_text(path, limit, "/proc/self/fd/"), limit, (uint64_t) (unsigned) fd, 10);
    return (int) mh__result(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), saved);
}

static int change_flag(int fd, int get, int set, int flag, int on)
{
    int saved = errno;
    int flags = fcntl(fd, get);
    if (flags < 0) {
        return (int) mh__result(flags, saved);
    }
    return (int) mh__result(fcntl(fd, set, on ? flags | flag : flags & ~flag), saved);
}

int mh_os_set_inheritable(int fd, int inheritable)
{
    return change_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, !inheritable);
}

int mh_os_set_nonblocking(int fd, int nonblocking)
{
    return change_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, nonblocking);
}

int mh_os_fd_size(int fd, uint64_t *size)
{
    struct stat st;
    int saved = errno;
    long rc = mh__result(fstat(fd, &st), saved);
    if (rc == 0) {
        *size = (uint64_t) st.st_size;
    }
    return (int) rc;
}

int mh_os_fd_identity(int fd, uint64_t *device, uint64_t *inode)
{
    struct stat st;
    int saved = errno;
    long rc = mh__result(fstat(fd, &st), saved);
    if (rc == 0) {
        *device = (uint64_t) st.st_dev;
        *inode = (uint64_t) st.st_ino;
    }
    return (int) rc;
}

int mh_os_eventfd(void)
{
    int saved = errno;
    return (int) mh__result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), saved);
}

int mh_os_pipe(int fds[2])
{
    int saved = errno;
    return (int) mh__result(pipe2(fds, O_CLOEXEC), saved);
}

int mh_os_socketpair(int fds[2])
{
    int saved = errno;
    return (int) mh__result(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), saved);
}

int mh_os_poll(int fd, int events, int64_t deadline)
{
    struct pollfd poll_fd = {.fd = fd, .events = 0, .revents = 0};
    struct timespec left;
    int saved = errno;
    if (events & MH_OS_READABLE) {
        poll_fd.events |= POLLIN;
    }
    if (events & MH_OS_WRITABLE) {
        poll_fd.events |= POLLOUT;
    }
    if (deadline != INT64_MAX) {
        int64_t now = mh_os_now();
        left = mh__timespec(deadline > now ? deadline - now : 0);
    }
    long rc = mh__result(ppoll(&poll_fd, 1, deadline == INT64_MAX ? NULL : &left, NULL), saved);
    if (rc <= 0) {
        return rc == 0 ? -ETIMEDOUT : (int) rc;
    }
    if (poll_fd.revents & POLLNVAL) {
        return -EBADF;
    }
    return (poll_fd.revents & POLLIN ? MH_OS_READABLE : 0) |
           (poll_fd.revents & POLLOUT ? MH_OS_WRITABLE : 0) |
           (poll_fd.revents & (POLLHUP | POLLERR) ? MH_OS_HUNG_UP : 0);
}

int mh_os_poll_set(void)
{
    int saved = errno;
    return (int) mh__result(epoll_create1(EPOLL_CLOEXEC), saved);
}

int mh_os_poll_add(int set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    int saved = errno;
    int rc = (int) mh__result(epoll_ctl(set, EPOLL_CTL_ADD, fd, &event), saved);
    return rc == -EEXIST ? 0 : rc; /* named twice */
}

ssize_t mh_os_read(int fd, void *data, size_t size)
{
    int saved = errno;
    return mh__result(read(fd, data, size), saved);
}

ssize_t mh_os_write(int fd, const void *data, size_t size)
{
    int saved = errno;
    long rc = mh__result(send(fd, data, size, MSG_NOSIGNAL), saved);
    return rc == -ENOTSOCK ? mh__result(write(fd, data, size), saved) : rc;
}

ssize_t mh_os_look_at(int socket, void *data, size_t size)
{
    int saved = errno;
    return mh__result(recv(socket, data, size, MSG_PEEK | MSG_DONTWAIT), saved);
}

union control { /* room for one descriptor, aligned as the system wants it */
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
};

int mh_os_send_fd(int socket, int fd, unsigned char byte)
{
    union control control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control};
    int saved = errno;

    message.msg_controllen = sizeof control.room;
    control.header.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    long rc = mh__result(sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT), saved);
    return rc < 0 ? (int) rc : 0;
}

int mh_os_receive_fd(int socket, int *fd)
{
    unsigned char byte;
    union control control;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control};
    int saved = errno;

    message.msg_controllen = sizeof control.room;
    long rc = mh__result(recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC), saved);
    if (rc < 0) {
        return (int) rc;
    }
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
        return -EBADMSG;
    }
    memcpy(fd, CMSG_DATA(header), sizeof *fd);
    return 0;
}
