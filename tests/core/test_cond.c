/* Condition: against pthread's, first come first served, exact counts, deadlines, cancel, and death. */
#include "tests/core/harness.h"

#include <manyhands/cond.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY 8

/* ---- one body, two implementations */

struct buffer;
struct ops {
    void (*lock)(struct buffer *);
    void (*unlock)(struct buffer *);
    void (*wait)(struct buffer *, int which);
    void (*notify)(struct buffer *, int which);
};

/* A bounded buffer: condition 0 is "not full", 1 is "not empty". */
struct buffer {
    const struct ops *ops;
    mh_lock lock;
    mh_cond cond[2];
    pthread_mutex_t p_lock;
    pthread_cond_t p_cond[2];
    int slot[4], count, in, out;
    long sum;
    int left_to_take;
};

static void our_lock(struct buffer *b)
{
    CHECK_EQ(mh_lock_acquire(&b->lock, MH_FOREVER, NULL), 0);
}

static void our_unlock(struct buffer *b)
{
    mh_lock_release(&b->lock);
}

static void our_wait(struct buffer *b, int which)
{
    CHECK_EQ(mh_cond_wait(&b->cond[which], &b->lock, MH_FOREVER, NULL), 0);
}

static void our_notify(struct buffer *b, int which)
{
    mh_cond_notify(&b->cond[which], 1);
}

static void p_lock(struct buffer *b)
{
    CHECK_EQ(pthread_mutex_lock(&b->p_lock), 0);
}

static void p_unlock(struct buffer *b)
{
    CHECK_EQ(pthread_mutex_unlock(&b->p_lock), 0);
}

static void p_wait(struct buffer *b, int which)
{
    CHECK_EQ(pthread_cond_wait(&b->p_cond[which], &b->p_lock), 0);
}

static void p_notify(struct buffer *b, int which)
{
    CHECK_EQ(pthread_cond_signal(&b->p_cond[which]), 0);
}

static const struct ops ours = {our_lock, our_unlock, our_wait, our_notify};
static const struct ops theirs = {p_lock, p_unlock, p_wait, p_notify};

#define PER_PRODUCER 2000

static void produce(void *arg)
{
    struct buffer *b = arg;
    for (int i = 1; i <= PER_PRODUCER; i++) {
        b->ops->lock(b);
        while (b->count == 4) {
            b->ops->wait(b, 0);
        }
        b->slot[b->in++ % 4] = i;
        b->count++;
        b->ops->notify(b, 1);
        b->ops->unlock(b);
    }
}

static void consume(void *arg)
{
    struct buffer *b = arg;
    for (;;) {
        b->ops->lock(b);
        while (b->count == 0 && b->left_to_take > 0) {
            b->ops->wait(b, 1);
        }
        if (b->left_to_take == 0) {
            b->ops->notify(b, 1);
            b->ops->unlock(b);
            return;
        }
        b->sum += b->slot[b->out++ % 4];
        b->count--;
        b->left_to_take--;
        b->ops->notify(b, b->left_to_take ? 0 : 1);
        b->ops->unlock(b);
    }
}

static void run_buffer(const struct ops *ops, unsigned flags, int processes)
{
    struct buffer *b = t_shared(sizeof *b);
    void (*const role[4])(void *) = {produce, consume, produce, consume};
    pthread_t thread[4];
    pid_t child[4];
    b->ops = ops;
    mh_lock_init(&b->lock, flags);
    for (int i = 0; i < 2; i++) {
        mh_cond_init(&b->cond[i], 0, flags);
        pthread_cond_init(&b->p_cond[i], NULL);
    }
    pthread_mutex_init(&b->p_lock, NULL);
    b->left_to_take = 2 * PER_PRODUCER;
    for (int i = 0; i < 4; i++) {
        if (processes) {
            child[i] = t_fork(role[i], b);
        } else {
            thread[i] = t_thread(role[i], b);
        }
    }
    for (int i = 0; i < 4; i++) {
        if (processes) {
            CHECK_EQ(t_wait(child[i], 10 * t_scale()), 0);
        } else {
            t_join(thread[i], 10 * t_scale());
        }
    }
    CHECK_EQ(b->sum, 2L * PER_PRODUCER * (PER_PRODUCER + 1) / 2);
    CHECK_EQ(b->count, 0);
}

TEST(buffer_pthread)
{
    run_buffer(&theirs, 0, 0);
}

TEST(buffer_private)
{
    run_buffer(&ours, MH_PRIVATE, 0);
}

TEST(buffer_shared_threads)
{
    run_buffer(&ours, 0, 0);
}

TEST(buffer_shared_processes)
{
    run_buffer(&ours, 0, 1);
}

/* ---- order and count */

struct line {
    mh_lock lock;
    mh_cond cond;
    int came[64], woken[64], in_line, out;
    int wants; /* a waiter whose number is less than this may start */
    pid_t holder;
};

static void lock_line(struct line *l)
{
    CHECK(mh_lock_acquire(&l->lock, MH_FOREVER, NULL) >= 0);
}

static struct line *new_line(unsigned flags)
{
    struct line *l = t_shared(sizeof *l);
    mh_lock_init(&l->lock, flags);
    mh_cond_init(&l->cond, 0, flags);
    return l;
}

static void stand_in_line(void *arg)
{
    struct line *l = arg;
    lock_line(l);
    int me = l->in_line++;
    CHECK_EQ(mh_cond_wait(&l->cond, &l->lock, MH_FOREVER, NULL), 0);
    l->woken[l->out++] = me;
    mh_lock_release(&l->lock);
}

static int count_out(struct line *l)
{
    lock_line(l);
    int out = l->out;
    mh_lock_release(&l->lock);
    return out;
}

static int count_in_line(struct line *l)
{
    lock_line(l);
    int in_line = l->in_line;
    mh_lock_release(&l->lock);
    return in_line;
}

static void check_order(unsigned flags, int processes)
{
    struct line *l = new_line(flags);
    pthread_t thread[MANY];
    pid_t child[MANY];
    for (int i = 0; i < MANY; i++) {
        if (processes) {
            child[i] = t_fork(stand_in_line, l);
        } else {
            thread[i] = t_thread(stand_in_line, l);
        }
        CHECK_EVENTUALLY(count_in_line(l) == i + 1);
    }
    CHECK_EQ(mh_cond_waiting(&l->cond), MANY);
    for (int i = 0; i < MANY - 3; i++) {
        mh_cond_notify(&l->cond, 1);
        CHECK_EVENTUALLY(count_out(l) == i + 1);
        CHECK_EQ(l->woken[i], i); /* first come, first served */
        CHECK_EQ(mh_cond_waiting(&l->cond), MANY - i - 1);
    }
    mh_cond_notify(&l->cond, 2);
    CHECK_EVENTUALLY(count_out(l) == MANY - 1);
    t_nap(0.02);
    CHECK_EQ(count_out(l), MANY - 1); /* two are two */
    CHECK_EQ(mh_cond_waiting(&l->cond), 1);
    mh_cond_notify_all(&l->cond);
    for (int i = 0; i < MANY; i++) {
        if (processes) {
            CHECK_EQ(t_wait(child[i], 5 * t_scale()), 0);
        } else {
            t_join(thread[i], 5 * t_scale());
        }
    }
    mh_cond_notify(&l->cond, 5); /* nobody there: not remembered */
    lock_line(l);
    CHECK_EQ(mh_cond_wait(&l->cond, &l->lock, mh_in_ms(5), NULL), -ETIMEDOUT);
    mh_lock_release(&l->lock);
}

TEST(order_private)
{
    check_order(MH_PRIVATE, 0);
}

TEST(order_shared_threads)
{
    check_order(0, 0);
}

TEST(order_shared_processes)
{
    check_order(0, 1);
}

/* More than are woken in one go. */
TEST(notify_all_wakes_forty)
{
    struct line *l = new_line(MH_PRIVATE);
    pthread_t thread[40];
    for (int i = 0; i < 40; i++) {
        thread[i] = t_thread(stand_in_line, l);
    }
    CHECK_EVENTUALLY(count_in_line(l) == 40);
    mh_cond_notify_all(&l->cond);
    for (int i = 0; i < 40; i++) {
        t_join(thread[i], 5 * t_scale());
    }
    CHECK_EQ(l->out, 40);
    CHECK_EQ(mh_cond_waiting(&l->cond), 0);
}

/* ---- how a wait ends */

static void check_ends(unsigned flags)
{
    struct line *l = new_line(flags);
    mh_cancel cancel;
    mh_cancel_init(&cancel, flags);
    lock_line(l);
    CHECK_EQ(mh_cond_wait(&l->cond, &l->lock, MH_AT_ONCE, NULL), -ETIMEDOUT);
    CHECK(mh_lock_is_locked(&l->lock));
    double start = t_now();
    CHECK_EQ(mh_cond_wait(&l->cond, &l->lock, mh_in_ms(30), NULL), -ETIMEDOUT);
    CHECK(t_now() - start >= 0.0299);
    CHECK(mh_lock_is_locked(&l->lock));
    mh_cancel_request(&cancel);
    CHECK_EQ(mh_cond_wait(&l->cond, &l->lock, MH_FOREVER, &cancel), -ECANCELED);
    CHECK(mh_lock_is_locked(&l->lock));
    CHECK_EQ(mh_cond_waiting(&l->cond), 0);
    mh_lock_release(&l->lock);
}

TEST(ends_private)
{
    check_ends(MH_PRIVATE);
}

TEST(ends_shared)
{
    check_ends(0);
}

struct waiter {
    struct line *line;
    mh_cancel cancel;
    mh_lock *also;
    int rc, held;
    pid_t tid;
};

static void wait_cancellable(void *arg)
{
    struct waiter *w = arg;
    lock_line(w->line);
    w->line->in_line++;
    w->rc = mh_cond_wait(&w->line->cond, &w->line->lock, MH_FOREVER, &w->cancel);
    w->held = mh_lock_is_locked(&w->line->lock);
    mh_lock_release(&w->line->lock);
}

TEST(cancelled_while_waiting)
{
    for (unsigned flags = 0; flags <= MH_PRIVATE; flags += MH_PRIVATE) {
        struct line *l = new_line(flags);
        struct waiter w = {.line = l};
        mh_cancel_init(&w.cancel, flags);
        pthread_t thread = t_thread(wait_cancellable, &w);
        CHECK_EVENTUALLY(count_in_line(l) == 1);
        mh_cancel_request(&w.cancel);
        t_join(thread, 5 * t_scale());
        CHECK_EQ(w.rc, -ECANCELED);
        CHECK(w.held);
        CHECK_EQ(mh_cond_waiting(&l->cond), 0);
    }
}

static void on_signal(int number)
{
    (void) number;
}

TEST(interrupted_while_waiting)
{
    struct sigaction action = {.sa_handler = on_signal};
    CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    for (unsigned flags = 0; flags <= MH_PRIVATE; flags += MH_PRIVATE) {
        struct line *l = new_line(flags);
        struct waiter w = {.line = l};
        mh_cancel_init(&w.cancel, flags);
        pthread_t thread = t_thread(wait_cancellable, &w);
        CHECK_EVENTUALLY(count_in_line(l) == 1);
        for (int i = 0; i < 1000 && mh_cond_waiting(&l->cond); i++) {
            pthread_kill(thread, SIGUSR1); /* again: the first may come before it sleeps */
            t_nap(0.001);
        }
        t_join(thread, 5 * t_scale());
        CHECK_EQ(w.rc, -EINTR);
        CHECK(w.held);
    }
}

/* ---- tickets */

TEST(a_ticket_that_is_forgotten_passes_its_wake)
{
    for (unsigned flags = 0; flags <= MH_PRIVATE; flags += MH_PRIVATE) {
        mh_cond cond;
        mh_cond_ticket a, b;
        mh_cond_init(&cond, 0, flags);
        CHECK_EQ(mh_cond_prepare(&cond, &a), 0);
        CHECK_EQ(mh_cond_prepare(&cond, &b), 0);
        CHECK_EQ(mh_cond_waiting(&cond), 2);
        mh_cond_notify(&cond, 1); /* a's */
        mh_cond_forget(&cond, &a);
        CHECK_EQ(mh_cond_waiting(&cond), 0);
        CHECK_EQ(mh_cond_commit(&cond, &b, mh_in_ms(1000), NULL), 0);
        CHECK_EQ(mh_cond_prepare(&cond, &a), 0);
        mh_cond_forget(&cond, &a); /* had no wake */
        CHECK_EQ(mh_cond_prepare(&cond, &b), 0);
        CHECK_EQ(mh_cond_commit(&cond, &b, mh_in_ms(1), NULL), -ETIMEDOUT);
    }
}

TEST(a_wake_that_is_left_to_the_caller)
{
    mh_cond cond;
    mh_cond_ticket first, second;
    mh_cond_init(&cond, 0, MH_PRIVATE);
    CHECK(mh_cond_notify_later(&cond) == NULL);
    CHECK_EQ(mh_cond_prepare(&cond, &first), 0);
    CHECK_EQ(mh_cond_prepare(&cond, &second), 0);
    MH_ATOMIC(uint32_t) *word = mh_cond_notify_later(&cond);
    CHECK(word == &first.word);
    CHECK_EQ(mh_cond_waiting(&cond), 1);
    mh_wake(word, 1, MH_PRIVATE); /* nobody sleeps there yet: it is notified all the same */
    CHECK_EQ(mh_cond_commit(&cond, &first, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_cond_commit(&cond, &second, MH_AT_ONCE, NULL), -ETIMEDOUT);
}

TEST(a_notify_before_commit_counts)
{
    for (unsigned flags = 0; flags <= MH_PRIVATE; flags += MH_PRIVATE) {
        mh_cond cond;
        mh_cond_ticket ticket;
        mh_cond_init(&cond, 0, flags);
        CHECK_EQ(mh_cond_prepare(&cond, &ticket), 0);
        mh_cond_notify_all(&cond);
        CHECK_EQ(mh_cond_commit(&cond, &ticket, MH_AT_ONCE, NULL), 0);
    }
}

TEST(room)
{
    static mh_cond_ticket ticket[MH_COND_NODES + 5];
    mh_lock lock = {0};
    mh_cond *small = t_shared(sizeof(mh_cond)), *large = t_shared(mh_cond_size(MH_COND_NODES + 4));
    CHECK_EQ(mh_cond_size(1), sizeof(mh_cond));
    mh_cond_init(large, MH_COND_NODES + 4, 0);
    for (int i = 0; i < MH_COND_NODES; i++) {
        CHECK_EQ(mh_cond_prepare(small, &ticket[i]), 0); /* all-zero memory */
    }
    CHECK_EQ(mh_lock_acquire(&lock, MH_FOREVER, NULL), 0);
    CHECK_EQ(mh_cond_wait(small, &lock, MH_FOREVER, NULL), MH_E_TOO_MANY);
    CHECK(mh_lock_is_locked(&lock));
    mh_cond_notify(small, 1);
    CHECK_EQ(mh_cond_prepare(small, &ticket[MH_COND_NODES]), MH_E_TOO_MANY); /* it has not left yet */
    CHECK_EQ(mh_cond_commit(small, &ticket[0], MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_cond_prepare(small, &ticket[MH_COND_NODES]), 0);
    for (int i = 0; i < MH_COND_NODES + 4; i++) {
        CHECK_EQ(mh_cond_prepare(large, &ticket[i]), 0);
    }
    CHECK_EQ(mh_cond_prepare(large, &ticket[MH_COND_NODES + 4]), MH_E_TOO_MANY);
    mh_cond_notify_all(large);
    for (int i = 0; i < MH_COND_NODES + 4; i++) {
        CHECK_EQ(mh_cond_commit(large, &ticket[i], MH_AT_ONCE, NULL), 0);
    }
}

/* ---- recursive lock */

struct recursive {
    mh_rlock lock;
    mh_cond cond;
    int rc, depth, ready;
};

static void wait_deep(void *arg)
{
    struct recursive *r = arg;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(mh_rlock_acquire(&r->lock, MH_FOREVER, NULL), 0);
    }
    while (!r->ready) {
        r->rc = mh_cond_wait_rlock(&r->cond, &r->lock, MH_FOREVER, NULL);
    }
    r->depth = (int) mh_rlock_depth(&r->lock);
    for (int i = 0; i < 3; i++) {
        mh_rlock_release(&r->lock);
    }
}

TEST(recursive_lock_comes_back_as_deep)
{
    for (unsigned flags = 0; flags <= MH_PRIVATE; flags += MH_PRIVATE) {
        struct recursive *r = t_shared(sizeof *r);
        mh_rlock_init(&r->lock, flags);
        mh_cond_init(&r->cond, 0, flags);
        CHECK_EQ(mh_cond_wait_rlock(&r->cond, &r->lock, MH_FOREVER, NULL), -EPERM);
        pthread_t thread = t_thread(wait_deep, r);
        CHECK_EVENTUALLY(mh_cond_waiting(&r->cond) == 1);
        CHECK_EQ(mh_rlock_acquire(&r->lock, MH_FOREVER, NULL), 0); /* it let go of all three levels */
        r->ready = 1;
        mh_cond_notify(&r->cond, 1);
        mh_rlock_release(&r->lock);
        t_join(thread, 5 * t_scale());
        CHECK_EQ(r->rc, 0);
        CHECK_EQ(r->depth, 3);
    }
}

/* ---- death */

static void stand_for_ever(void *arg)
{
    struct line *l = arg;
    lock_line(l);
    l->in_line++;
    (void) mh_cond_wait(&l->cond, &l->lock, MH_FOREVER, NULL);
    mh_lock_release(&l->lock);
}

TEST(a_dead_waiter_does_not_keep_the_wake)
{
    struct line *l = new_line(0);
    pid_t dead = t_fork(stand_for_ever, l);
    CHECK_EVENTUALLY(count_in_line(l) == 1);
    pid_t child = t_fork(stand_in_line, l);
    CHECK_EVENTUALLY(count_in_line(l) == 2);
    t_kill(dead);
    mh_cond_notify(&l->cond, 1);
    CHECK_EQ(t_wait(child, 5 * t_scale()), 0);
    CHECK_EQ(l->out, 1);
}

/* It is notified, and killed while it waits for the lock. */
TEST(a_notified_waiter_that_dies_passes_its_wake)
{
    struct line *l = new_line(0);
    pid_t dead = t_fork(stand_for_ever, l);
    CHECK_EVENTUALLY(count_in_line(l) == 1);
    pid_t child = t_fork(stand_in_line, l);
    CHECK_EVENTUALLY(count_in_line(l) == 2);
    lock_line(l);
    mh_cond_notify(&l->cond, 1);
    CHECK_EQ(mh_cond_waiting(&l->cond), 1);
    t_kill(dead);
    mh_lock_release(&l->lock);
    CHECK_EQ(t_wait(child, 5 * t_scale()), 0);
    CHECK_EQ(l->out, 1);
}

/* But only to those who were in line at the notify. */
TEST(a_dead_waiters_wake_is_not_for_who_comes_later)
{
    struct line *l = new_line(0);
    pid_t dead = t_fork(stand_for_ever, l);
    CHECK_EVENTUALLY(count_in_line(l) == 1);
    lock_line(l);
    mh_cond_notify(&l->cond, 1);
    t_kill(dead);
    CHECK_EQ(mh_cond_wait(&l->cond, &l->lock, mh_in_ms(200), NULL), -ETIMEDOUT);
    mh_lock_release(&l->lock);
}

TEST(the_dead_do_not_fill_it_up)
{
    struct line *l = new_line(0);
    for (int i = 0; i < MH_COND_NODES + 2; i++) {
        pid_t dead = t_fork(stand_for_ever, l);
        CHECK_EVENTUALLY(count_in_line(l) == i + 1);
        t_kill(dead);
    }
    lock_line(l);
    CHECK_EQ(mh_cond_wait(&l->cond, &l->lock, mh_in_ms(1), NULL), -ETIMEDOUT);
    mh_lock_release(&l->lock);
}

static void hold_for_ever(void *arg)
{
    struct line *l = arg;
    lock_line(l);
    l->holder = getpid();
    for (;;) {
        pause();
    }
}

static void wait_for_owner_death(void *arg)
{
    struct line *l = arg;
    lock_line(l);
    l->in_line++;
    CHECK_EQ(mh_cond_wait(&l->cond, &l->lock, MH_FOREVER, NULL), MH_OWNER_DIED);
    CHECK(mh_lock_is_locked(&l->lock));
    mh_lock_release(&l->lock);
}

TEST(owner_death_of_the_lock_is_reported)
{
    struct line *l = new_line(0);
    pid_t child = t_fork(wait_for_owner_death, l);
    CHECK_EVENTUALLY(count_in_line(l) == 1);
    pid_t holder = t_fork(hold_for_ever, l);
    CHECK_EVENTUALLY(mh_lock_owner(&l->lock) == holder);
    mh_cond_notify(&l->cond, 1);
    t_kill(holder);
    CHECK_EQ(t_wait(child, 5 * t_scale()), 0);
}

/* Waiters and notifiers at work, one after another killed at any point; the others must always come
 * through. */
struct storm {
    mh_lock lock;
    mh_cond cond;
    int turn;
    volatile int stop;
    volatile long rounds;
};

static void storm_work(void *arg)
{
    struct storm *s = arg;
    while (!s->stop) {
        CHECK(mh_lock_acquire(&s->lock, MH_FOREVER, NULL) >= 0);
        s->turn++;
        mh_cond_notify(&s->cond, 1);
        int rc = mh_cond_wait(&s->cond, &s->lock, mh_in_ms(20), NULL);
        CHECK(rc >= 0 || rc == -ETIMEDOUT);
        s->rounds++;
        mh_lock_release(&s->lock);
    }
}

TEST_LIMIT(kill_storm, 60)
{
    struct storm *s = t_shared(sizeof *s);
    pid_t child[3];
    unsigned seed = 12345;
    for (int i = 0; i < 3; i++) {
        child[i] = t_fork(storm_work, s);
    }
    for (int round = 0; round < t_rounds(60); round++) {
        long before = s->rounds;
        CHECK_EVENTUALLY(s->rounds >= before + 20);
        seed = seed * 1103515245 + 12345;
        int victim = (int) (seed >> 16) % 3;
        for (volatile unsigned spin = 0; spin < (seed >> 8) % 20000; spin++)
            ;
        t_kill(child[victim]);
        child[victim] = t_fork(storm_work, s);
    }
    s->stop = 1;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(t_wait(child[i], 10 * t_scale()), 0);
    }
    mh_cond_ticket ticket;
    CHECK_EQ(mh_cond_prepare(&s->cond, &ticket), 0);
    mh_cond_notify_all(&s->cond);
    CHECK_EQ(mh_cond_commit(&s->cond, &ticket, mh_in_ms(1000), NULL), 0);
}
