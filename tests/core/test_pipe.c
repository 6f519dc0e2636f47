/* tests/core/test_pipe.c - the pipe: both directions, large messages in pieces, end of file, death half way.
 */
#include "manyhands/pipe.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/os/os.h"
#include "core/shm/pipe_end.h"
#include "tests/core/harness.h"

#define PIECE ((size_t) MH__PIPE_PIECE)

static unsigned char *filled(size_t size, unsigned seed)
{
    unsigned char *data = malloc(size + 1);
    for (size_t i = 0; i < size; i++) {
        data[i] = (unsigned char) (seed + i * 131 + (i >> 8) + (i >> 16));
    }
    return data;
}

static int send_filled(mh_pipe *end, size_t size, unsigned seed, mh_deadline deadline)
{
    unsigned char *data = filled(size, seed);
    int rc = mh_pipe_send(end, &(mh_part){data, size}, 1, seed, deadline, NULL);
    free(data);
    return rc;
}

static void check_filled(const mh_message *message, size_t size, unsigned seed)
{
    unsigned char *data = filled(size, seed);
    CHECK_EQ(message->size, size);
    CHECK_EQ(message->tag, seed);
    CHECK(memcmp(message->data, data, size) == 0);
    free(data);
}

static void receive_filled(mh_pipe *end, size_t size, unsigned seed)
{
    mh_message message = {0};
    CHECK_EQ(mh_pipe_receive(end, &message, mh_in_ms(20000), NULL), 0);
    check_filled(&message, size, seed);
    mh_message_fini(&message);
}

static int receive_nothing(mh_pipe *end, mh_deadline deadline)
{
    mh_message message = {0};
    int rc = mh_pipe_receive(end, &message, deadline, NULL);
    mh_message_fini(&message);
    return rc;
}

static int readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

TEST(both_ways)
{
    mh_pipe *ends[2];

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    CHECK_EQ(receive_nothing(ends[0], MH_AT_ONCE), -ETIMEDOUT);
    for (unsigned i = 0; i < 300; i++) {
        CHECK_EQ(send_filled(ends[0], (size_t) i * 11, i, MH_AT_ONCE), 0);
        CHECK_EQ(send_filled(ends[1], (size_t) i * 7, i + 1, MH_AT_ONCE), 0);
        receive_filled(ends[1], (size_t) i * 11, i);
        receive_filled(ends[0], (size_t) i * 7, i + 1);
    }
    CHECK_EQ(mh_pipe_valid(ends[0]), 0);
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
}

TEST(one_way_only)
{
    mh_pipe *ends[2];

    CHECK_EQ(mh_pipe_create(0, ends), 0);
    CHECK_EQ(send_filled(ends[0], 1, 1, MH_AT_ONCE), -EBADF);
    CHECK_EQ(receive_nothing(ends[1], MH_AT_ONCE), -EBADF);
    CHECK_EQ(mh_pipe_poll(ends[1], MH_AT_ONCE, NULL), -EBADF);
    CHECK_EQ(mh_pipe_select_fd(ends[1]), -EBADF);
    CHECK_EQ(send_filled(ends[1], 10, 1, MH_AT_ONCE), 0);
    receive_filled(ends[0], 10, 1);
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
}

static void echo(void *arg)
{
    mh_pipe **ends = arg;
    mh_message message = {0};
    int rc;

    mh_pipe_close(ends[0]);
    while ((rc = mh_pipe_receive(ends[1], &message, mh_in_ms(20000), NULL)) == 0) {
        mh_part part = {message.data, message.size};
        CHECK_EQ(mh_pipe_send(ends[1], &part, 1, message.tag, mh_in_ms(20000), NULL), 0);
    }
    CHECK_EQ(rc, MH_E_CLOSED);
    mh_message_fini(&message);
}

/* 100 MB is far more than the ring: it goes through in pieces, there and back. */
TEST_LIMIT(large_messages_go_through_in_pieces, 60)
{
    static const size_t size[] = {0, 1, 65536, PIECE - 1, PIECE, PIECE + 1, PIECE * 2, 5000001, 30000000};
    mh_pipe *ends[2];
    pid_t child;

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    child = t_fork(echo, ends);
    mh_pipe_close(ends[1]);
    for (unsigned i = 0; i < sizeof size / sizeof *size; i++) {
        CHECK_EQ(send_filled(ends[0], size[i], i, mh_in_ms(20000)), 0);
        receive_filled(ends[0], size[i], i);
    }
    CHECK_EQ(mh_pipe_valid(ends[0]), 0);
    mh_pipe_close(ends[0]);
    CHECK_EQ(t_wait(child, 10), 0);
}

TEST(many_parts_of_a_large_message)
{
    mh_pipe *ends[2];
    unsigned char *data = filled(3000000, 5);
    mh_part parts[100];
    mh_message message = {0};
    size_t at = 0;

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    for (size_t i = 0; i < 100; i++) {
        size_t size = i == 99 ? 3000000 - at : i * 400;
        parts[i] = (mh_part){data + at, size};
        at += size;
    }
    CHECK_EQ(mh_pipe_send(ends[0], parts, 100, 5, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_pipe_receive(ends[1], &message, MH_AT_ONCE, NULL), 0);
    check_filled(&message, 3000000, 5);
    mh_message_fini(&message);
    free(data);
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
}

/* A sender gives up half way: that message does not arrive, the next ones do. */
TEST(a_large_message_that_times_out_never_arrives)
{
    mh_pipe *ends[2];

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    for (unsigned round = 0; round < 3; round++) {
        CHECK_EQ(send_filled(ends[0], 10, 1, MH_AT_ONCE), 0);
        CHECK_EQ(send_filled(ends[0], 20000000, 2, mh_in_ms(20)), -ETIMEDOUT);
        CHECK_EQ(mh_pipe_valid(ends[0]), 0);
        receive_filled(ends[1], 10, 1);
        CHECK_EQ(receive_nothing(ends[1], mh_in_ms(20)), -ETIMEDOUT);
        CHECK_EQ(send_filled(ends[0], 1000000, 3, MH_AT_ONCE), 0);
        receive_filled(ends[1], 1000000, 3);
    }
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
}

struct sender {
    mh_pipe *end;
    size_t size;
    unsigned seed;
};

static void send_one(void *arg)
{
    struct sender *sender = arg;
    CHECK_EQ(send_filled(sender->end, sender->size, sender->seed, mh_in_ms(20000)), 0);
}

/* A receiver that times out half way loses nothing. */
TEST(a_half_received_message_is_gone_on_with)
{
    mh_pipe *ends[2];
    struct sender sender;
    mh_message message = {0};
    pthread_t thread;
    int rc, timed_out = 0;

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    sender = (struct sender){ends[0], 40000000, 4};
    thread = t_thread(send_one, &sender);
    while ((rc = mh_pipe_receive(ends[1], &message, MH_AT_ONCE, NULL)) == -ETIMEDOUT) {
        timed_out++;
    }
    CHECK_EQ(rc, 0);
    CHECK(timed_out > 0);
    check_filled(&message, 40000000, 4);
    t_join(thread, 10);
    mh_message_fini(&message);
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
}

/* Several threads send through one end, large and small; each message comes whole. */
TEST(messages_of_many_senders_do_not_mix)
{
    mh_pipe *ends[2];
    struct sender sender[4];
    pthread_t thread[4];
    int seen[4] = {0};
    mh_message message = {0};

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    for (unsigned i = 0; i < 4; i++) {
        sender[i] = (struct sender){ends[0], i % 2 ? 5000000 + i : 100 + i, i};
        thread[i] = t_thread(send_one, &sender[i]);
    }
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(mh_pipe_receive(ends[1], &message, mh_in_ms(20000), NULL), 0);
        CHECK(message.tag < 4 && !seen[message.tag]);
        seen[message.tag] = 1;
        check_filled(&message, sender[message.tag].size, message.tag);
    }
    for (int i = 0; i < 4; i++) {
        t_join(thread[i], 10);
    }
    mh_message_fini(&message);
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
}

TEST(end_of_file_after_what_was_sent)
{
    mh_pipe *ends[2];

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    CHECK_EQ(send_filled(ends[0], 10, 1, MH_AT_ONCE), 0);
    mh_pipe_close(ends[0]);
    CHECK_EQ(mh_pipe_poll(ends[1], MH_AT_ONCE, NULL), 0);
    receive_filled(ends[1], 10, 1);
    CHECK_EQ(mh_pipe_poll(ends[1], MH_AT_ONCE, NULL), 0);
    CHECK_EQ(receive_nothing(ends[1], MH_AT_ONCE), MH_E_CLOSED);
    CHECK_EQ(receive_nothing(ends[1], MH_FOREVER), MH_E_CLOSED);
    CHECK_EQ(send_filled(ends[1], 10, 1, MH_AT_ONCE), -EPIPE);
    mh_pipe_close(ends[1]);
}

static void hold_and_wait(void *arg)
{
    mh_pipe **ends = arg;
    mh_pipe_close(ends[1]);
    (void) receive_nothing(ends[0], MH_FOREVER);
}

static void receive_end(void *arg)
{
    CHECK_EQ(receive_nothing(arg, mh_in_ms(20000)), MH_E_CLOSED);
}

/* The other end counts as gone only with its last holder, and a death is as good as a close. */
TEST(the_last_holders_death_is_end_of_file)
{
    mh_pipe *ends[2];
    pthread_t thread;
    pid_t child;

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    child = t_fork(hold_and_wait, ends);
    mh_pipe_close(ends[0]);
    CHECK_EQ(receive_nothing(ends[1], mh_in_ms(20)), -ETIMEDOUT); /* the child holds it */
    CHECK_EQ(send_filled(ends[1], 10, 1, MH_AT_ONCE), 0);
    thread = t_thread(receive_end, ends[1]);
    t_kill(child);
    t_join(thread, 10);
    t_nap(0.002); /* a sender looks once per millisecond */
    CHECK_EQ(send_filled(ends[1], 10, 1, MH_AT_ONCE), -EPIPE);
    mh_pipe_close(ends[1]);
}

static void send_large_forever(void *arg)
{
    mh_pipe **ends = arg;
    mh_pipe_close(ends[1]);
    (void) send_filled(ends[0], 50000000, 7, MH_FOREVER);
}

/* A sender is killed half way through; another holder of the same end sends on. */
TEST(a_sender_killed_half_way)
{
    mh_pipe *ends[2];
    pid_t child;

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    for (int round = 0; round < 2; round++) {
        child = t_fork(send_large_forever, ends);
        CHECK_EVENTUALLY(mh_load_rlx(&ends[0]->out.ring->stream) && t_sleeps(child));
        t_kill(child);
        if (round == 0) {                                               /* the next sender notices ... */
            CHECK_EQ(receive_nothing(ends[1], MH_AT_ONCE), -ETIMEDOUT); /* takes the pieces that are there */
            CHECK_EQ(mh_load_rlx(&ends[0]->out.ring->stream) != 0, 1);
            CHECK_EQ(send_filled(ends[0], 10, 1, mh_in_ms(5000)), 0);
            receive_filled(ends[1], 10, 1);
        } else { /* ... or the receiver that waits for the rest */
            CHECK_EQ(receive_nothing(ends[1], mh_in_ms(300)), -ETIMEDOUT);
            CHECK_EQ(mh_load_rlx(&ends[0]->out.ring->stream), 0);
        }
    }
    CHECK_EQ(mh_pipe_valid(ends[0]), 0);
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
}

static void receive_half(void *arg)
{
    mh_pipe **ends = arg;
    (void) receive_nothing(ends[1], MH_FOREVER);
}

/* A receiver is killed half way; another holder of that end skips the rest and goes on with the next message.
 */
TEST(a_receiver_killed_half_way)
{
    mh_pipe *ends[2];
    pid_t child;
    struct sender sender;
    pthread_t thread;
    unsigned char *data = filled(2 * PIECE, 7);
    struct mh__record record = {.size = MH__PIPE_PIECE, .tag = 7, .kind = MH__FIRST};
    uint64_t cursor, total = 20000000;
    mh_part parts[2] = {{&total, 8}, {data, PIECE - 8}};

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    child = t_fork(receive_half, ends); /* before this process has threads */
    mh__tail_enter(&ends[0]->out);      /* the first piece, by hand, so that it stays at that */
    cursor = mh_load_rlx(&ends[0]->out.ring->tail);
    CHECK_EQ(mh__ring_stage(&ends[0]->out, &cursor, ends[0]->out.limit, &record, parts, 2), 0);
    mh__ring_commit(&ends[0]->out, cursor);
    mh__tail_leave(&ends[0]->out);
    CHECK_EVENTUALLY(mh_load_rlx(&ends[1]->in.ring->reader) && t_sleeps(child));
    CHECK_EQ(receive_nothing(ends[1], mh_in_ms(5)), -ETIMEDOUT); /* it is the child's */
    t_kill(child);
    mh__tail_enter(&ends[0]->out);
    cursor = mh_load_rlx(&ends[0]->out.ring->tail);
    record.kind = MH__LAST;
    CHECK_EQ(mh__ring_stage(&ends[0]->out, &cursor, ends[0]->out.limit, &record, parts, 2), 0);
    mh__ring_commit(&ends[0]->out, cursor);
    mh__tail_leave(&ends[0]->out);
    sender = (struct sender){ends[0], 3000000, 8};
    thread = t_thread(send_one, &sender);
    receive_filled(ends[1], 3000000, 8);
    t_join(thread, 10);
    free(data);
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
}

TEST(select_is_level_triggered)
{
    mh_pipe *ends[2];
    int fd;

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    CHECK_EQ(send_filled(ends[0], 10, 1, MH_AT_ONCE), 0); /* before anybody selects */
    fd = mh_pipe_select_fd(ends[1]);
    CHECK(readable(fd));
    receive_filled(ends[1], 10, 1);
    CHECK(!readable(fd));
    for (unsigned i = 0; i < 3; i++) {
        CHECK_EQ(send_filled(ends[0], 10, 1, MH_AT_ONCE), 0);
        CHECK_EQ(send_filled(ends[0], 10, 2, MH_AT_ONCE), 0);
        CHECK(readable(fd));
        receive_filled(ends[1], 10, 1);
        CHECK(readable(fd));
        receive_filled(ends[1], 10, 2);
        CHECK(!readable(fd));
    }
    CHECK(!readable(mh_pipe_select_fd(ends[0]))); /* nothing came the other way */
    mh_pipe_close(ends[0]);
    CHECK(readable(fd));
    CHECK_EQ(receive_nothing(ends[1], MH_AT_ONCE), MH_E_CLOSED);
    CHECK(readable(fd));
    mh_pipe_close(ends[1]);
}

TEST(poll_waits_and_times_out)
{
    mh_pipe *ends[2];

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    CHECK_EQ(mh_pipe_poll(ends[0], MH_AT_ONCE, NULL), -ETIMEDOUT);
    CHECK_EQ(mh_pipe_poll(ends[0], mh_in_ms(10), NULL), -ETIMEDOUT);
    CHECK_EQ(send_filled(ends[1], 1, 1, MH_AT_ONCE), 0);
    CHECK_EQ(mh_pipe_poll(ends[0], MH_FOREVER, NULL), 0);
    receive_filled(ends[0], 1, 1);
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
}

TEST(an_attach_builds_the_same_end_or_refuses)
{
    mh_pipe *ends[2], *again = NULL;
    mh_channel *ch = NULL;
    int segment, socket, side, duplex;

    CHECK_EQ(mh_pipe_create(0, ends), 0);
    CHECK_EQ(mh_channel_create(&(mh_channel_options){0}, &ch), 0);
    mh_pipe_handle(ends[1], &segment, &socket, &side, &duplex);
    CHECK(side == 1 && duplex == 0);
    CHECK_EQ(mh_pipe_attach(segment, socket, 2, 0, &again), -EINVAL);
    CHECK_EQ(mh_pipe_attach(-1, socket, 1, 0, &again), -EBADF);
    CHECK_EQ(mh_pipe_attach(segment, -1, 1, 0, &again), -EBADF);
    CHECK(mh_pipe_attach(mh_channel_fd(ch), socket, 1, 0, &again) < 0); /* a channel is no pipe */
    CHECK(again == NULL);
    CHECK_EQ(mh_pipe_attach(segment, socket, side, duplex, &again), 0);
    mh_pipe_close(ends[1]);
    CHECK_EQ(send_filled(again, 20, 3, MH_AT_ONCE), 0);
    receive_filled(ends[0], 20, 3);
    CHECK_EQ(receive_nothing(ends[0], MH_AT_ONCE), -ETIMEDOUT); /* one holder left */
    mh_pipe_close(again);
    CHECK_EQ(receive_nothing(ends[0], MH_AT_ONCE), MH_E_CLOSED);
    mh_pipe_close(ends[0]);
    mh_channel_destroy(ch);
}

TEST(pieces_that_make_no_sense_are_refused)
{
    mh_pipe *ends[2];
    unsigned char data[64] = {0};
    struct mh__record record = {.size = 4, .kind = MH__FIRST}; /* no room for its length */
    mh_part part = {data, 4};
    uint64_t cursor;

    for (int round = 0; round < 3; round++) {
        CHECK_EQ(mh_pipe_create(1, ends), 0);
        if (round == 1) { /* more bytes in the first piece than in the whole */
            record.size = (uint32_t) (part.size = 64);
        } else if (round == 2) {
            record.kind = 77;
        }
        mh__tail_enter(&ends[0]->out);
        cursor = mh_load_rlx(&ends[0]->out.ring->tail);
        CHECK_EQ(mh__ring_stage(&ends[0]->out, &cursor, ends[0]->out.limit, &record, &part, 1), 0);
        mh__ring_commit(&ends[0]->out, cursor);
        mh__tail_leave(&ends[0]->out);
        CHECK_EQ(receive_nothing(ends[1], MH_AT_ONCE), MH_E_CORRUPT);
        mh_pipe_close(ends[0]);
        mh_pipe_close(ends[1]);
    }
}

TEST(descriptors_keep_their_place_between_messages)
{
    mh_pipe *ends[2];
    int pipe[2], got = -1, again = -1;
    unsigned char byte = 0;

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    CHECK_EQ(mh_os_pipe(pipe), 0);
    CHECK_EQ(mh_pipe_receive_fd(ends[1], &got, MH_AT_ONCE, NULL), -ETIMEDOUT);
    CHECK_EQ(mh_pipe_receive_fd(ends[1], &got, mh_in_ms(10), NULL), -ETIMEDOUT);
    CHECK(!readable(mh_pipe_select_fd(ends[1])));
    CHECK_EQ(mh_pipe_send_fd(ends[0], pipe[1]), 0);
    CHECK_EQ(send_filled(ends[0], 10, 1, MH_AT_ONCE), 0);
    CHECK_EQ(mh_pipe_receive_fd(ends[1], &got, MH_AT_ONCE, NULL), 0);
    CHECK(readable(mh_pipe_select_fd(ends[1]))); /* the message behind it still tells of itself */
    CHECK_EQ(mh_pipe_receive_fd(ends[1], &again, MH_AT_ONCE, NULL), MH_E_STATE);
    CHECK(readable(mh_pipe_select_fd(ends[1])));
    receive_filled(ends[1], 10, 1);
    CHECK(!readable(mh_pipe_select_fd(ends[1])));
    CHECK_EQ(mh_os_write(got, "x", 1), 1);
    CHECK_EQ(mh_os_read(pipe[0], &byte, 1), 1);
    CHECK_EQ(byte, 'x');
    CHECK_EQ(mh_pipe_send_fd(ends[0], -1), -EBADF);
    CHECK_EQ(mh_os_write(ends[0]->socket, "y", 1), 1); /* what is no descriptor */
    CHECK_EQ(mh_pipe_receive_fd(ends[1], &again, mh_in_ms(10000), NULL), -EBADMSG);
    mh_pipe_close(ends[0]);
    CHECK_EQ(mh_pipe_receive_fd(ends[1], &again, MH_FOREVER, NULL), MH_E_CLOSED);
    CHECK_EQ(mh_pipe_send_fd(ends[1], pipe[1]), -EPIPE);
    mh_pipe_close(ends[1]);
    mh_os_close(got);
    mh_os_close(pipe[0]);
    mh_os_close(pipe[1]);
}

TEST(a_descriptor_goes_one_way_only_through_a_one_way_pipe)
{
    mh_pipe *ends[2];
    int got = -1;

    CHECK_EQ(mh_pipe_create(0, ends), 0);
    CHECK_EQ(mh_pipe_send_fd(ends[0], 0), -EBADF);
    CHECK_EQ(mh_pipe_receive_fd(ends[1], &got, MH_AT_ONCE, NULL), -EBADF);
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
}

/* Sixteen bytes, of which the first eight say how many lie behind them. */
static uint64_t weigh(const void *data, size_t size, uint32_t tag)
{
    uint64_t number = 0;
    (void) tag;
    memcpy(&number, data, size < sizeof number ? size : sizeof number);
    return number;
}

static int send_weight(mh_pipe *end, uint64_t weight, size_t size, mh_deadline deadline)
{
    mh_part parts[2] = {{&weight, sizeof weight}, {calloc(1, size), size}};
    int rc = mh_pipe_send(end, parts, 2, 0, deadline, NULL);
    free((void *) (uintptr_t) parts[1].data);
    return rc;
}

static void receive_weight(mh_pipe *end, uint64_t weight)
{
    mh_message message = {0};
    CHECK_EQ(mh_pipe_receive(end, &message, mh_in_ms(20000), NULL), 0);
    CHECK_EQ(weigh(message.data, message.size, 0), weight);
    mh_message_fini(&message);
}

static void receive_both(void *argument)
{
    receive_weight(argument, MH__PIPE_BEHIND);
    receive_weight(argument, 5);
}

TEST(a_send_waits_while_too_much_lies_behind_what_was_sent)
{
    mh_pipe *ends[2];

    CHECK_EQ(mh_pipe_create(1, ends), 0);
    mh_pipe_set_weigher(ends[0], weigh);
    mh_pipe_set_weigher(ends[1], weigh);
    CHECK_EQ(send_weight(ends[0], MH__PIPE_BEHIND + 1, 8, MH_AT_ONCE), 0); /* alone any goes */
    CHECK_EQ(send_weight(ends[0], 1, 8, mh_in_ms(1)), -ETIMEDOUT);
    CHECK_EQ(send_weight(ends[0], 0, 8, MH_AT_ONCE), 0);
    CHECK_EQ(send_weight(ends[1], 1, 8, MH_AT_ONCE), 0); /* each way for itself */
    receive_weight(ends[1], MH__PIPE_BEHIND + 1);
    receive_weight(ends[1], 0);
    CHECK_EQ(send_weight(ends[0], MH__PIPE_BEHIND, 2 * PIECE, MH_AT_ONCE), 0); /* in pieces */
    CHECK_EQ(send_weight(ends[0], 5, 2 * PIECE, mh_in_ms(1)), -ETIMEDOUT);
    pid_t child = t_fork(receive_both, ends[1]);
    CHECK_EQ(send_weight(ends[0], 5, 2 * PIECE, mh_in_ms(20000)), 0);
    CHECK_EQ(t_wait(child, 20), 0);
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
}

static void die_with_the_last_end(void *argument)
{
    mh_pipe **ends = argument;
    mh_pipe_close(ends[1]);
    (void) raise(SIGKILL);
}

TEST(a_poll_at_once_knows_of_a_death_that_is_over)
{
    for (int i = 0; i < 50; i++) { /* the kernel is asked now and then only, else */
        mh_pipe *ends[2];
        CHECK_EQ(mh_pipe_create(1, ends), 0);
        pid_t child = t_fork(die_with_the_last_end, ends);
        mh_pipe_close(ends[0]);
        (void) mh_pipe_poll(ends[1], MH_AT_ONCE, NULL);
        CHECK_EQ(t_wait(child, 10), -SIGKILL);
        CHECK_EQ(mh_pipe_poll(ends[1], MH_AT_ONCE, NULL), 0);
        CHECK_EQ(receive_nothing(ends[1], MH_FOREVER), MH_E_CLOSED);
        mh_pipe_close(ends[1]);
    }
}
