/* tests/core/test_slab.c - slabs: many objects in one descriptor, reused only where nobody else can know. */
#include "tests/core/harness.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manyhands/slab.h"

#define SLOTS 256

static mh_slab *make(void)
{
    mh_slab *slab = NULL;
    CHECK_EQ(mh_slab_create(SLOTS * MH_SLOT, &slab), 0);
    return slab;
}

static size_t take(mh_slab *slab, size_t size)
{
    size_t offset = SIZE_MAX;
    CHECK_EQ(mh_slab_alloc(slab, size, &offset), 0);
    CHECK_EQ(offset % MH_SLOT, 0);
    return offset;
}

TEST(runs_do_not_overlap_until_it_is_full)
{
    mh_slab *slab = make();
    static unsigned char owner[SLOTS];
    static const size_t sizes[] = {1, 64, 65, 200, 640};
    size_t offset, used = 0, count = 0;
    for (size_t i = 0;; i++) {
        size_t size = sizes[i % 5];
        if (mh_slab_alloc(slab, size, &offset) != 0) {
            break;
        }
        count++;
        for (size_t at = offset; at < offset + size; at += MH_SLOT, used++) {
            CHECK_EQ(owner[at / MH_SLOT]++, 0);
        }
    }
    CHECK(used > SLOTS - 10);
    CHECK_EQ(mh_slab_live(slab), count);
    while (mh_slab_alloc(slab, 1, &offset) == 0) {
        CHECK_EQ(owner[offset / MH_SLOT]++, 0);
    }
    CHECK_EQ(mh_slab_alloc(slab, 1, &offset), -ENOMEM);
    CHECK_EQ(mh_slab_alloc(slab, 0, &offset), -EINVAL);
    CHECK_EQ(mh_slab_alloc(slab, SIZE_MAX, &offset), -ENOMEM);
    mh_slab_close(slab);
    mh_slab_close(NULL);
}

TEST(freed_runs_come_back_as_zeros)
{
    mh_slab *slab = make();
    size_t offset = take(slab, 100);
    memset(mh_slab_at(slab, offset, 128), 'x', 128);
    mh_slab_free(slab, offset, 100, 0);
    CHECK_EQ(mh_slab_live(slab), 0);
    CHECK_EQ(take(slab, 100), offset);
    const char *bytes = mh_slab_at(slab, offset, 128);
    for (int i = 0; i < 128; i++) {
        CHECK_EQ(bytes[i], 0);
    }
    mh_slab_close(slab);
}

TEST(ten_thousand_and_ten_thousand_again)
{
    mh_slab *slab = NULL;
    static size_t offset[10000];
    CHECK_EQ(mh_slab_create(10000 * MH_SLOT, &slab), 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10000; i++) {
            offset[i] = take(slab, 64);
        }
        for (int i = 0; i < 10000; i++) {
            mh_slab_free(slab, offset[(i * 7919) % 10000], 64, 0);
        }
    }
    CHECK_EQ(mh_slab_live(slab), 0);
    mh_slab_close(slab);
}

TEST(a_run_that_travelled_is_never_used_again)
{
    mh_slab *slab = make();
    size_t first = take(slab, 64), offset;
    mh_slab_free(slab, first, 64, 1);
    for (int i = 1; i < SLOTS; i++) {
        CHECK(take(slab, 64) != first);
    }
    while (mh_slab_alloc(slab, 64, &offset) == 0) {
        CHECK(offset != first);
    }
    mh_slab_close(slab);
}

static void nothing(void *arg)
{
    (void) arg;
}

TEST(a_run_that_a_fork_has_seen_is_never_used_again)
{
    mh_slab *slab = make();
    size_t before = take(slab, 64), offset;
    CHECK_EQ(t_wait(t_fork(nothing, NULL), 5), 0);
    size_t after = take(slab, 64);
    mh_slab_free(slab, before, 64, 0);
    mh_slab_free(slab, after, 64, 0);
    CHECK_EQ(take(slab, 64), after);
    while (mh_slab_alloc(slab, 64, &offset) == 0) {
        CHECK(offset != before);
    }
    mh_slab_close(slab);
}

struct handle {
    mh_slab *slab;
    size_t offset;
};

static void in_child(void *arg)
{
    struct handle *handle = arg;
    size_t offset;
    CHECK_EQ(mh_slab_alloc(handle->slab, 64, &offset), MH_E_STATE);
    mh_slab_free(handle->slab, handle->offset, 64, 0); /* of the parent: nothing happens */
    CHECK_EQ(mh_slab_live(handle->slab), 0);
    strcpy(mh_slab_at(handle->slab, handle->offset, 64), "child");
    mh_slab *own = make();
    CHECK(mh_slab_id(own) != mh_slab_id(handle->slab));
    (void) take(own, 64);
    mh_slab_close(own);
}

TEST(a_forked_child_uses_but_does_not_allocate)
{
    struct handle handle = {.slab = make()};
    handle.offset = take(handle.slab, 64);
    CHECK_EQ(t_wait(t_fork(in_child, &handle), 5), 0);
    CHECK_STR_EQ(mh_slab_at(handle.slab, handle.offset, 64), "child");
    mh_slab_free(handle.slab, handle.offset, 64, 0);
    mh_slab_close(handle.slab);
}

TEST(attached_ones_see_the_same_and_check_handles)
{
    mh_slab *slab = make(), *other = NULL;
    size_t offset = take(slab, 64), room = SLOTS * MH_SLOT;
    CHECK_EQ(mh_slab_attach(mh_slab_fd(slab), &other), 0);
    CHECK(mh_slab_id(slab) == mh_slab_id(other));
    strcpy(mh_slab_at(slab, offset, 64), "seen");
    CHECK_STR_EQ(mh_slab_at(other, offset, 64), "seen");
    CHECK_EQ(mh_slab_alloc(other, 64, &offset), MH_E_STATE);
    CHECK(mh_slab_at(other, 1, 1) == NULL);
    CHECK(mh_slab_at(other, room * 2, 1) == NULL);
    CHECK(mh_slab_at(other, 0, SIZE_MAX) == NULL);
    CHECK(mh_slab_at(other, SIZE_MAX - 63, 128) == NULL);
    mh_slab_close(slab);
    CHECK_STR_EQ(mh_slab_at(other, 0, 64), "seen");
    mh_slab_close(other);
    mh_segment *segment = NULL;
    CHECK_EQ(mh_segment_create(100, 5, &segment), 0);
    CHECK_EQ(mh_slab_attach(mh_segment_fd(segment), &other), MH_E_CORRUPT);
    mh_segment_close(segment);
}

static void free_twice(void *arg)
{
    mh_slab *slab = make();
    size_t offset = take(slab, 64);
    (void) arg;
    mh_slab_free(slab, offset, 64, 0);
    mh_slab_free(slab, offset, 64, 0);
}

static void free_nothing(void *arg)
{
    (void) arg;
    mh_slab_free(make(), 7, 64, 0);
}

TEST(a_free_too_many_panics)
{
    CHECK_EQ(t_wait(t_fork(free_twice, NULL), 5), -SIGABRT);
    CHECK_EQ(t_wait(t_fork(free_nothing, NULL), 5), -SIGABRT);
}

static mh_slab *busy;

static void alloc_and_free(void *arg)
{
    size_t offset;
    unsigned char mark = (unsigned char) (uintptr_t) arg;
    for (int i = 0; i < 3000; i++) {
        if (mh_slab_alloc(busy, 128, &offset) != 0) {
            continue; /* forks use the slots up */
        }
        unsigned char *bytes = mh_slab_at(busy, offset, 128);
        for (int k = 0; k < 128; k++) {
            CHECK_EQ(bytes[k], 0);
        }
        memset(bytes, mark, 128);
        for (int k = 0; k < 128; k++) {
            CHECK_EQ(bytes[k], mark);
        }
        mh_slab_free(busy, offset, 128, 0);
    }
}

TEST(threads_share_a_slab)
{
    pthread_t thread[4];
    busy = make();
    for (uintptr_t i = 0; i < 4; i++) {
        thread[i] = t_thread(alloc_and_free, (void *) (i + 1));
    }
    for (int i = 0; i < 5; i++) {
        pid_t child = fork();
        if (child == 0) {
            raise(SIGKILL); /* not exit: there the thread sanitizer would ask for the threads of the parent */
        }
        CHECK_EQ(t_wait(child, 10), -SIGKILL);
    }
    for (int i = 0; i < 4; i++) {
        t_join(thread[i], 20);
    }
    CHECK_EQ(mh_slab_live(busy), 0);
    mh_slab_close(busy);
}
