/* What threads are seen doing: running, asleep on a word, asleep elsewhere; and memory that is gone. */
#include "manyhands/look.h"
#include "tests/core/thread_workers.h"

#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>

struct looked_at {
    mh_thread thread;
    struct gate begun, stop;
    int pipe[2];
    int tid;
};

static int spin(mh_thread *self)
{
    struct looked_at *me = (struct looked_at *) self;
    gate_open(&me->begun);
    while (!gate_is_open(&me->stop)) {
    }
    return 0;
}

static int wait_on_word(mh_thread *self)
{
    struct looked_at *me = (struct looked_at *) self;
    gate_open(&me->begun);
    while (!gate_is_open(&me->stop)) {
        (void) mh_wait(&me->stop.word, 0, MH_FOREVER, NULL, MH_PRIVATE);
    }
    return 0;
}

static int wait_for_pipe(mh_thread *self)
{
    struct looked_at *me = (struct looked_at *) self;
    char byte;
    gate_open(&me->begun);
    return (int) read(me->pipe[0], &byte, 1);
}

/* Look until it does that; the harness ends a test that never comes to an end. */
static mh_look look_until(int tid, enum mh_doing doing)
{
    mh_look look = {0, 0, MH_RUNS};
    do {
        CHECK_EQ(mh_look_at(tid, &look), 0);
    } while (look.doing != doing);
    return look;
}

static void begin(struct looked_at *one, int (*run)(mh_thread *))
{
    memset(one, 0, sizeof *one);
    one->thread.run = run;
    CHECK_EQ(pipe(one->pipe), 0);
    CHECK_EQ(mh_thread_start(&one->thread), 0);
    while (!gate_is_open(&one->begun)) {
    }
}

static void finish(struct looked_at *one)
{
    gate_open(&one->stop);
    CHECK_EQ(write(one->pipe[1], "x", 1), 1);
    CHECK_EQ(mh_thread_join(&one->thread, MH_FOREVER, NULL), 0);
    close(one->pipe[0]);
    close(one->pipe[1]);
}

TEST(a_thread_that_computes_runs)
{
    struct looked_at one;
    begin(&one, spin);
    mh_look first = look_until(mh_thread_id(&one.thread), MH_RUNS), later = first;
    while (later.cpu == first.cpu) {
        CHECK_EQ(mh_look_at(mh_thread_id(&one.thread), &later), 0);
        CHECK_EQ(later.doing, MH_RUNS);
    }
    CHECK(later.cpu > first.cpu);
    CHECK_EQ(later.word, 0);
    finish(&one);
}

TEST(a_thread_of_ours_sleeps_on_several_words) /* what it waits for, and who asks it to park */
{
    struct looked_at one;
    begin(&one, wait_on_word);
    mh_look look = look_until(mh_thread_id(&one.thread), MH_SLEEPS_ON_WORD);
    CHECK_EQ(look.word, 0);
    finish(&one);
}

static void *wait_plainly(void *argument)
{
    struct looked_at *me = argument;
    me->tid = (int) gettid();
    (void) wait_on_word(&me->thread);
    return NULL;
}

TEST(a_thread_that_waits_sleeps_on_its_word)
{
    struct looked_at one;
    pthread_t thread;
    memset(&one, 0, sizeof one);
    CHECK_EQ(pthread_create(&thread, NULL, wait_plainly, &one), 0);
    while (!gate_is_open(&one.begun)) {
    }
    mh_look look = look_until(one.tid, MH_SLEEPS_ON_WORD);
    for (int i = 0; i < 3; i++) { /* the second look is spared, and says the same */
        CHECK_EQ(look.word, (uintptr_t) &one.stop.word);
        CHECK_EQ(mh_look_at(one.tid, &look), 0);
        CHECK_EQ(look.doing, MH_SLEEPS_ON_WORD);
    }
    gate_open(&one.stop);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

TEST(a_thread_that_reads_sleeps)
{
    struct looked_at one;
    begin(&one, wait_for_pipe);
    mh_look look = look_until(mh_thread_id(&one.thread), MH_SLEEPS);
    CHECK_EQ(look.word, 0);
    finish(&one);
}

TEST(who_is_gone_is_not_seen)
{
    struct looked_at one;
    mh_look look = {0, 0, MH_RUNS};
    char name[16];
    begin(&one, spin);
    int tid = mh_thread_id(&one.thread);
    finish(&one);
    CHECK_EVENTUALLY(mh_look_at(tid, &look) == -ESRCH); /* its join may be over a moment before */
    CHECK_EQ(mh_thread_name_of(tid, name), -ESRCH);
    CHECK_EQ(mh_look_at(0, &look), -ESRCH);
    CHECK_EQ(mh_look_at(-5, &look), -ESRCH);
}

TEST(the_calling_thread_runs)
{
    mh_look look = {0, 0, MH_SLEEPS};
    CHECK_EQ(mh_look_at((int) gettid(), &look), 0);
    CHECK_EQ(look.doing, MH_RUNS);
    CHECK(look.cpu > 0);
}

TEST(names_are_cut_to_what_the_system_keeps)
{
    char name[16];
    mh_thread_show_name("short");
    CHECK_EQ(mh_thread_name_of((int) gettid(), name), 0);
    CHECK_STR_EQ(name, "short");
    mh_thread_show_name("a name of more than fifteen bytes");
    CHECK_EQ(mh_thread_name_of((int) gettid(), name), 0);
    CHECK_STR_EQ(name, "a name of more ");
}

TEST(memory_that_is_gone_is_an_error)
{
    char there[] = "still here", copy[sizeof there] = "";
    CHECK_EQ(mh_peek(there, copy, sizeof there), 0);
    CHECK_STR_EQ(copy, "still here");
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    CHECK_EQ(munmap(page + 4096, 4096), 0);
    CHECK_EQ(mh_peek(page, copy, sizeof copy), 0);
    CHECK_EQ(mh_peek(page + 4096, copy, sizeof copy), -EFAULT);
    CHECK_EQ(mh_peek(page + 4090, copy, sizeof copy), -EFAULT); /* the rest of it is gone */
    CHECK_EQ(mh_peek(NULL, copy, 1), -EFAULT);
    CHECK_EQ(munmap(page, 4096), 0);
}

static int blocks_all(mh_thread *self)
{
    sigset_t now;
    (void) self;
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &now), 0);
    return sigismember(&now, SIGINT) && sigismember(&now, SIGUSR1);
}

TEST(a_quiet_thread_takes_no_signals)
{
    mh_thread quiet = {.run = blocks_all, .flags = MH_QUIET}, loud = {.run = blocks_all};
    sigset_t now;
    int code = -1;
    CHECK_EQ(mh_thread_start(&quiet), 0);
    CHECK_EQ(mh_thread_join(&quiet, MH_FOREVER, NULL), 0);
    CHECK_EQ(mh_thread_exit_code(&quiet, &code), 0);
    CHECK_EQ(code, 1);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &now), 0);
    CHECK(!sigismember(&now, SIGINT)); /* the starter's own mask is as it was */
    CHECK_EQ(mh_thread_start(&loud), 0);
    CHECK_EQ(mh_thread_join(&loud, MH_FOREVER, NULL), 0);
    CHECK_EQ(mh_thread_exit_code(&loud, &code), 0);
    CHECK_EQ(code, 0);
    mh_thread wrong = {.run = blocks_all, .flags = 8};
    CHECK_EQ(mh_thread_start(&wrong), -EINVAL);
}
