/* An echo server on the loopback: each connection is a task of a thread pool.
 *
 * A task that nobody waits for frees itself: `release` is called as the very last. Clients in the same program
 * call the server and check what comes back; the last line says whether every word did.
 *
 * Build: cc echo_server.c $(pkg-config --cflags --libs manyhands)
 */
#include <arpa/inet.h>
#include <manyhands/manyhands.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 8, ROUNDS = 50, SERVERS = 4 };

struct connection {
    mh_task task;
    int fd;
};

static int echo(mh_task *task)
{
    int fd = ((struct connection *) task)->fd;
    char block[4096];
    for (ssize_t got; (got = read(fd, block, sizeof block)) > 0;) {
        for (ssize_t sent = 0, part; sent < got; sent += part) {
            if ((part = send(fd, block + sent, (size_t) (got - sent), MSG_NOSIGNAL)) < 0) {
                return -1; /* the client went away */
            }
        }
    }
    return 0;
}

static void hang_up(mh_task *task)
{
    close(((struct connection *) task)->fd);
    free(task);
}

/* A task that was not accepted is still the caller's. */
static int serve(mh_pool *pool, int fd)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection != NULL) {
        *connection = (struct connection){.task = {.run = echo, .release = hang_up}, .fd = fd};
        if (mh_pool_submit(pool, &connection->task) == 0) {
            return 0;
        }
    }
    free(connection);
    close(fd);
    return -1;
}

struct client {
    mh_thread thread;
    struct sockaddr_in address;
    int number, good;
};

static int call(mh_thread *self)
{
    struct client *client = (struct client *) self;
    char word[32], back[32];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *) &client->address, sizeof client->address) != 0) {
        return -1;
    }
    for (int i = 0; i < ROUNDS; i++) {
        int size = snprintf(word, sizeof word, "client %d, word %d", client->number, i);
        client->good += send(fd, word, (size_t) size, MSG_NOSIGNAL) == size &&
                        recv(fd, back, (size_t) size, MSG_WAITALL) == size &&
                        memcmp(word, back, (size_t) size) == 0;
    }
    close(fd);
    return 0;
}

static int listen_on_loopback(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (struct sockaddr *) address, size) != 0 || listen(fd, CLIENTS) != 0 ||
        getsockname(fd, (struct sockaddr *) address, &size) != 0) { /* the system chose a free port */
        perror("no server");
        exit(1);
    }
    return fd;
}

int main(void)
{
    static struct client clients[CLIENTS];
    struct sockaddr_in address;
    mh_pool *pool;
    int good = 0, fd = listen_on_loopback(&address);
    if (mh_pool_create(&(mh_pool_options){.workers = SERVERS, .name = "echo"}, &pool) < 0) {
        fputs("no pool\n", stderr);
        return 1;
    }
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.thread.run = call, .address = address, .number = i};
        if (mh_thread_start(&clients[i].thread) < 0) {
            fputs("no thread\n", stderr);
            return 1;
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        int connection = accept(fd, NULL, NULL);
        if (connection < 0 || serve(pool, connection) < 0) {
            fputs("a connection is lost\n", stderr);
            return 1;
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        mh_thread_join(&clients[i].thread, MH_FOREVER, NULL);
        good += clients[i].good;
    }
    mh_pool_destroy(pool); /* once the last connection is served */
    close(fd);
    printf("%d of %d words came back\n", good, CLIENTS * ROUNDS);
    return good == CLIENTS * ROUNDS ? 0 : 1;
}
