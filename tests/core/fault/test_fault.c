/* The Nth call that the system can refuse is refused, for every N: an error comes back, nothing is left behind, and what
 * failed can be had again. Each scenario gives back all that it made, whatever failed. */
#include <errno.h>
#include <manyhands/manyhands.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/core/fault/inject.h"
#include "tests/core/harness.h"

#define NAME t_shm_name()

/* ---- shared memory ---- */

static int segments(void)
{
    mh_segment *made = NULL, *other = NULL;
    mh_segment_info info;
    int rc = mh_segment_create(10000, 3, &made);
    if (rc == 0) {
        rc = mh_segment_inspect(mh_segment_fd(made), &info);
    }
    if (rc == 0) {
        rc = mh_segment_attach(mh_segment_fd(made), 3, &other);
    }
    if (rc == 0) {
        CHECK_EQ(mh_segment_id(made), mh_segment_id(other));
        int discarded = mh_segment_discard(made, 0, mh_segment_size(made));
        rc = discarded == -EOPNOTSUPP ? 0 : discarded; /* which it may say */
    }
    mh_segment_close(other);
    mh_segment_close(made);
    return rc;
}

static int named_segments(void)
{
    mh_segment *made = NULL, *other = NULL;
    mh_segment_info info;
    (void) mh_segment_unlink(NAME);
    int rc = mh_segment_create_named(NAME, 5000, 3, &made);
    if (rc < 0) {
        CHECK(mh_segment_open(NAME, 3, &other) < 0); /* nothing half-made has the name */
        return rc;
    }
    rc = mh_segment_inspect_named(NAME, &info);
    if (rc == 0) {
        rc = mh_segment_open(NAME, 3, &other);
    }
    mh_segment_close(other);
    mh_segment_close(made);
    CHECK_EQ(mh_segment_unlink(NAME), 0);
    return rc;
}

static int slabs(void)
{
    mh_slab *slab = NULL, *other = NULL;
    size_t at;
    int rc = mh_slab_create(1 << 20, &slab);
    if (rc == 0) {
        rc = mh_slab_alloc(slab, 200, &at);
    }
    if (rc == 0) {
        rc = mh_slab_attach(mh_slab_fd(slab), &other);
        mh_slab_free(slab, at, 200, 0);
    }
    mh_slab_close(other);
    mh_slab_close(slab);
    return rc;
}

/* ---- channels and pipes ---- */

static int some_messages(mh_channel *channel, mh_message *message)
{
    static char large[300000];
    int rc = mh_channel_put(channel, &(mh_part){"hello", 5}, 1, 1, MH_AT_ONCE, NULL);
    if (rc == 0) {
        rc = mh_channel_put(channel, &(mh_part){large, sizeof large}, 1, 2, MH_AT_ONCE, NULL);
    }
    if (rc == 0) {
        rc = mh_channel_get(channel, message, MH_AT_ONCE, NULL);
    }
    if (rc == -ENOMEM) { /* promised: the message stays */
        CHECK_EQ(mh_channel_items(channel), 2);
    }
    if (rc == 0) {
        CHECK(message->size == 5 && memcmp(message->data, "hello", 5) == 0);
        rc = mh_channel_get(channel, message, MH_AT_ONCE, NULL);
    }
    if (rc == 0) {
        CHECK_EQ(message->size, sizeof large);
    }
    CHECK_EQ(mh_channel_valid(channel), 0);
    return rc;
}

static int channel_of(unsigned flags)
{
    mh_channel *channel = NULL, *other = NULL;
    mh_message message = {0};
    mh_channel_options options = {.max_items = 10, .max_bytes = 1 << 20, .flags = flags};
    int rc = mh_channel_create(&options, &channel);
    if (rc == 0) {
        rc = mh_channel_select_fd(channel);
    }
    if (rc >= 0) {
        rc = some_messages(channel, &message);
    }
    if (rc == 0 && !(flags & MH_PRIVATE)) {
        rc = mh_channel_attach2(mh_channel_fd(channel), mh_channel_bell_fd(channel), &other);
    }
    if (other != NULL) {
        rc = some_messages(other, &message);
    }
    mh_message_fini(&message);
    mh_channel_destroy(other);
    mh_channel_destroy(channel);
    return rc;
}

static int shared_channel(void)
{
    return channel_of(0);
}

static int private_channel(void)
{
    return channel_of(MH_PRIVATE);
}

static int named_channel(void)
{
    mh_channel *made = NULL, *other = NULL;
    mh_message message = {0};
    mh_channel_options options = {.max_items = 10, .max_bytes = 1 << 19};
    (void) mh_segment_unlink(NAME);
    int rc = mh_channel_create_named(NAME, &options, &made);
    if (rc < 0) {
        CHECK_EQ(mh_channel_open(NAME, &other), -ENOENT); /* nothing half-made has the name */

        return rc;
    }
    rc = mh_channel_open(NAME, &other);
    if (rc == 0) {
        rc = some_messages(other, &message);
    }
    mh_message_fini(&message);
    mh_channel_destroy(other);
    mh_channel_destroy(made);
    CHECK_EQ(mh_segment_unlink(NAME), 0);
    return rc;
}

static int talk(mh_pipe *from, mh_pipe *to, mh_message *message)
{
    int rc = mh_pipe_send(from, &(mh_part){"12345", 5}, 1, 9, mh_in_ms(5000), NULL);
    if (rc == 0) {
        rc = mh_pipe_poll(to, mh_in_ms(5000), NULL);
    }
    if (rc == 0) {
        rc = mh_pipe_receive(to, message, mh_in_ms(5000), NULL);
    }
    if (rc == 0) {
        CHECK(message->size == 5 && message->tag == 9);
    }
    return rc;
}

static int pipes(void)
{
    mh_pipe *ends[2] = {NULL, NULL}, *again = NULL;
    mh_message message = {0};
    int memory, sock, side, duplex, rc = mh_pipe_create(1, ends);
    if (rc == 0) {
        rc = mh_pipe_select_fd(ends[1]);
    }
    if (rc >= 0) {
        rc = talk(ends[0], ends[1], &message);
    }
    if (rc == 0) {
        mh_pipe_handle(ends[1], &memory, &sock, &side, &duplex);
        rc = mh_pipe_attach(memory, sock, side, duplex, &again);
    }
    if (rc == 0) {
        rc = talk(again, ends[0], &message);
    }
    mh_pipe_close(again);
    mh_pipe_close(ends[0]);
    mh_pipe_close(ends[1]);
    mh_message_fini(&message);
    return rc;
}

/* ---- blocks ---- */

static int blocks(void)
{
    mh_arena *arena;
    mh_block block = 0, got = 0;
    mh_parcel parcel;
    int rc = mh_arena_get(&arena);
    if (rc == 0) {
        rc = mh_block_alloc(arena, 100000, &block);
    }
    if (rc == 0) {
        rc = mh_block_in_message(arena, block, 0, &parcel);
    }
    if (rc == 0) {
        mh_block_sent(arena, parcel);
        rc = mh_block_out_of_message(arena, parcel, &got);
    }
    if (got != 0) {
        mh_block_drop(arena, got);
    }
    if (block != 0) {
        mh_block_drop(arena, block);
        (void) mh_arena_sweep(arena);
    }
    return rc;
}

/* ---- threads and pools ---- */

struct counter {
    mh_thread thread;
    mh_lock lock;
    int rounds;
};

static int count(mh_thread *self)
{
    struct counter *counter = (struct counter *) self;
    while (mh_checkpoint() == 0) {
        if (mh_lock_acquire(&counter->lock, MH_FOREVER, NULL) == 0) {
            counter->rounds++;
            mh_lock_release(&counter->lock);
        }
    }
    return 7;
}

struct once {
    mh_cleanup cleanup;
    int done;
};

static void note_end(mh_cleanup *cleanup)
{
    ((struct once *) cleanup)->done = 1;
}

static int cleanups(void)
{
    struct once once = {.cleanup.run = note_end};
    int core = -1, rc = mh_thread_at_end(&once.cleanup);
    if (rc == 0) {
        CHECK_EQ(mh_thread_not_at_end(&once.cleanup), 0);
        rc = mh_thread_cores(NULL, &core, 1);
    }
    if (rc > 0) {
        rc = mh_thread_set_cores(NULL, &core, 1);
    }
    return rc;
}

static int threads(void)
{
    struct counter counter = {.thread = {.run = count, .name = "counts", .flags = MH_QUIET}};
    int64_t used;
    int code = 0, rc = mh_thread_start(&counter.thread);
    if (rc < 0) {
        return rc;
    }
    rc = mh_thread_pause(&counter.thread, mh_in_ms(10000), NULL);
    if (rc == 0) {
        (void) mh_thread_cpu_time(&counter.thread, &used);
        rc = mh_thread_resume(&counter.thread);
    }
    CHECK_EQ(mh_thread_terminate(&counter.thread), 0);
    while (mh_thread_join(&counter.thread, MH_FOREVER, NULL) == -EINTR) {
    }
    CHECK_EQ(mh_thread_exit_code(&counter.thread, &code), 0);
    CHECK_EQ(code, 7);
    return rc;
}

/* ---- waits ---- */

struct turns { /* two threads that hand a word to and fro by every means there is */
    mh_thread thread;
    mh_lock lock;
    mh_cond cond;
    mh_sem sem;
    mh_event event;
    mh_rwlock rwlock;
    int turn;
};

static int meet_all(struct turns *t, int mine)
{
    int rc = mh_lock_acquire(&t->lock, MH_FOREVER, NULL);
    if (rc < 0) {
        return rc;
    }
    t->turn = mine;
    mh_cond_notify_all(&t->cond);
    rc = mh_cond_wait(&t->cond, &t->lock, mh_in_ms(1),
                      NULL); /* nobody may come: a time-out is right as well */
    mh_lock_release(&t->lock);
    if (rc == 0 || rc == -ETIMEDOUT) {
        rc = mh_rwlock_acquire_write(&t->rwlock, MH_FOREVER, NULL);
    }
    if (rc == 0) {
        mh_rwlock_release_write(&t->rwlock);
        mh_sem_post(&t->sem, 1);
        rc = mh_sem_acquire(&t->sem, MH_FOREVER, NULL);
    }
    return rc;
}

static int other_side(mh_thread *self)
{
    struct turns *t = (struct turns *) self;
    int rc = meet_all(t, 2);
    mh_event_set(&t->event);
    return rc;
}

static int waits(void)
{
    struct turns t = {.thread.run = other_side};
    mh_lock_init(&t.lock, MH_PRIVATE);
    mh_cond_init(&t.cond, 0, MH_PRIVATE);
    (void) mh_rwlock_init(&t.rwlock, 0, MH_PRIVATE);
    int rc = mh_thread_start(&t.thread), ended;
    if (rc < 0) {
        return rc;
    }
    rc = meet_all(&t, 1);
    if (rc == 0) {
        rc = mh_event_wait(&t.event, mh_in_ms(10000), NULL);
    }
    do {
        ended = mh_thread_join(&t.thread, mh_in_ms(10000), NULL);
    } while (ended == -EINTR);
    CHECK_EQ(ended, 0);
    return rc;
}

static int add_one(mh_task *task)
{
    (void) task;
    return 1;
}

static int add_piece(int64_t first, int64_t end, void *arg)
{
    (void) __atomic_fetch_add((int64_t *) arg, end - first, __ATOMIC_RELAXED);
    return 0;
}

static int pools(void)
{
    mh_pool *pool = NULL;
    mh_task task = {.run = add_one};
    int64_t sum = 0;
    int result = 0, rc = mh_pool_create(&(mh_pool_options){.workers = 2}, &pool);
    if (rc < 0) {
        return rc;
    }
    rc = mh_pool_submit(pool, &task);
    while (rc == 0 && mh_task_wait(&task, MH_FOREVER, NULL) == -EINTR) {
    }
    if (rc == 0) {
        CHECK_EQ(mh_task_result(&task, &result), 0);
        CHECK_EQ(result, 1);
        rc = mh_parallel_for(pool, 0, 1000, 10, add_piece, &sum, MH_FOREVER, NULL);
    }
    CHECK(rc < 0 || sum == 1000);
    CHECK_EQ(mh_pool_destroy(pool), 0);
    return rc;
}

/* ---- processes ---- */

static int three(mh_process *self)
{
    (void) self;
    return 3;
}

/* Whatever is refused meanwhile, it ends, and its status is known. */
static int finish(mh_process *process, int expected)
{
    int code = -1, rc;
    do {
        rc = mh_process_join(process, mh_in_ms(10000), NULL);
    } while (rc == -EINTR);
    CHECK_EQ(rc, 0);
    if (mh_process_exit_code(process, &code) == 0) {
        /* 127: the child was refused its place, or what it needs to die with its parent */
        CHECK(code == expected || (code == 127 && inject_fired() != NULL));
    }
    mh_process_fini(process);
    return 0;
}

static int forked(void)
{
    mh_process process = {.run = three, .flags = MH_PROCESS_DIE_WITH_PARENT};
    int64_t used;
    int rc = mh_process_start(&process);
    if (rc < 0) {
        mh_process_fini(&process);
        return rc;
    }
    (void) mh_process_cpu_time(&process, &used);
    int code = -1;
    do {
        rc = mh_process_join(&process, mh_in_ms(10000), NULL);
    } while (rc == -EINTR);
    CHECK_EQ(rc, 0);
    rc = mh_process_exit_code(&process, &code);
    mh_process_fini(&process);
    /* 127: as above */
    CHECK(rc < 0 || code == 3 || (code == 127 && inject_fired() != NULL));
    return rc < 0 ? rc : 0;
}

static int programs(void)
{
    static char *const argv[] = {"sh", "-c", "exit 5", NULL};
    static const mh_redirect redirects[] = {{2, 7}, {0, 8}};
    mh_process process = {.argv = argv,
                          .flags = MH_PROCESS_DIE_WITH_PARENT | MH_PROCESS_GROUP,
                          .redirects = redirects,
                          .redirect_count = 2,
                          .cwd = "/"};
    mh_process *all[] = {&process};
    size_t which = 9;
    int rc = mh_process_start(&process);
    if (rc < 0) {
        return rc;
    }
    rc = mh_process_join_any(all, 1, mh_in_ms(10000), NULL, &which);
    CHECK(rc < 0 || which == 0);
    (void) finish(&process, 5);
    return rc;
}

static int sleep_long(mh_process *self)
{
    (void) self;
    MH_ATOMIC(uint32_t) word = 0;
    while (mh_wait(&word, 0, mh_in_ms(30000), NULL, MH_PRIVATE) == -EINTR) {
    }
    return 0;
}

static int paused(void)
{
    mh_process process = {.run = sleep_long};
    uint64_t memory;
    int rc = mh_process_start(&process);
    if (rc < 0) {
        return rc;
    }
    rc = mh_process_pause(&process, mh_in_ms(5000), NULL);
    (void) mh_process_memory(&process, &memory);
    (void) mh_process_resume(&process);
    CHECK_EQ(mh_process_kill(&process), 0);
    (void) finish(&process, -9);
    return rc;
}

static int answer_three(void *context, const mh_message *request, mh_part *answer)
{
    (void) context;
    *answer = (mh_part){request->data, request->size};
    return 3;
}

static int process_pools(void)
{
    mh_process_pool *pool = NULL;
    mh_job job = {.request = {"hello", 5}};
    int status = 0,
        rc = mh_process_pool_create(&(mh_process_pool_options){.workers = 1, .serve = answer_three}, &pool);
    if (rc < 0) {
        return rc;
    }
    rc = mh_process_pool_submit(pool, &job);
    while (rc == 0 && mh_job_wait(&job, MH_FOREVER, NULL) == -EINTR) {
    }
    if (rc == 0) {
        rc = mh_job_result(&job, &status);
        CHECK(rc < 0 || (status == 3 && job.answer.size == 5));
    }
    mh_job_fini(&job);
    CHECK_EQ(mh_process_pool_destroy(pool), 0);
    return rc;
}

TEST_LIMIT(a_segment, 120)
{
    inject_sweep(segments);
}
TEST_LIMIT(a_named_segment, 120)
{
    inject_sweep(named_segments);
}
TEST_LIMIT(a_slab, 120)
{
    inject_sweep(slabs);
}
TEST_LIMIT(a_shared_channel, 120)
{
    inject_sweep(shared_channel);
}
TEST_LIMIT(a_private_channel, 120)
{
    inject_sweep(private_channel);
}
TEST_LIMIT(a_named_channel, 120)
{
    inject_sweep(named_channel);
}
TEST_LIMIT(a_pipe, 120)
{
    inject_sweep(pipes);
}
TEST_LIMIT(a_block, 120)
{
    inject_sweep(blocks);
}
TEST_LIMIT(a_thread, 120)
{
    inject_sweep(threads);
}
TEST_LIMIT(a_clean_up, 120)
{
    inject_sweep(cleanups);
}
TEST_LIMIT(a_wait, 120)
{
    inject_sweep(waits);
}
TEST_LIMIT(a_pool, 120)
{
    inject_sweep(pools);
}
TEST_LIMIT(a_process_pool, 240)
{
    inject_sweep(process_pools);
}
TEST_LIMIT(a_forked_process, 120)
{
    inject_sweep(forked);
}
TEST_LIMIT(a_program, 120)
{
    inject_sweep(programs);
}
TEST_LIMIT(a_paused_process, 240)
{
    inject_sweep(paused);
}

/* Kernels that lack what is new: the other way is taken, and all goes well. */
TEST_LIMIT(an_old_kernel, 60)
{
    int (*all[])(void) = {segments, named_segments, slabs, shared_channel, private_channel, pipes,
                          blocks,   threads,        pools, forked,         programs,        paused};
    inject_begin();
    inject_old_kernel(1);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int rc = all[i]();
        if (rc != 0) {
            FAIL("scenario %zu: %s", i, mh_strerror(rc));
        }
    }
}
