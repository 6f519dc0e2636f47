/* Reader-writer lock: against pthread's, order and preference, upgrade, deadlines, and death. */
#include "tests/core/harness.h"

#include <manyhands/rwlock.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* ---- one body, two implementations: writers move an amount between two cells, readers see the same sum always */

#define ROUNDS 3000

struct book {
    mh_rwlock lock;
    pthread_rwlock_t theirs;
    int use_theirs;
    volatile long cell[2];
    _Atomic(int) seen_wrong;
};

static void read_lock(struct book *b)
{
    CHECK_EQ(b->use_theirs ? pthread_rwlock_rdlock(&b->theirs)
                           : mh_rwlock_acquire_read(&b->lock, MH_FOREVER, NULL),
             0);
}

static void write_lock(struct book *b)
{
    CHECK_EQ(b->use_theirs ? pthread_rwlock_wrlock(&b->theirs)
                           : mh_rwlock_acquire_write(&b->lock, MH_FOREVER, NULL),
             0);
}

static void unlock(struct book *b, int writing)
{
    if (b->use_theirs) {
        CHECK_EQ(pthread_rwlock_unlock(&b->theirs), 0);
    } else if (writing) {
        mh_rwlock_release_write(&b->lock);
    } else {
        mh_rwlock_release_read(&b->lock);
    }
}

static void read_book(void *arg)
{
    struct book *b = arg;
    for (int i = 0; i < ROUNDS; i++) {
        read_lock(b);
        b->seen_wrong += b->cell[0] + b->cell[1] != 1000;
        unlock(b, 0);
    }
}

static void write_book(void *arg)
{
    struct book *b = arg;
    for (int i = 0; i < ROUNDS; i++) {
        write_lock(b);
        b->cell[0] -= 1;
        b->cell[1] += 1;
        unlock(b, 1);
    }
}

static void run_book(unsigned flags, int processes, int use_theirs)
{
    struct book *b = t_shared(sizeof *b);
    void (*const role[4])(void *) = {read_book, write_book, read_book, write_book};
    pthread_t thread[4];
    pid_t child[4];
    b->use_theirs = use_theirs;
    b->cell[0] = 1000;
    pthread_rwlock_init(&b->theirs, NULL);
    CHECK_EQ(mh_rwlock_init(&b->lock, 0, flags), 0);
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
    CHECK_EQ(b->seen_wrong, 0);
    CHECK_EQ(b->cell[1], 2 * ROUNDS);
    CHECK_EQ(mh_rwlock_readers(&b->lock), 0);
    CHECK_EQ(mh_rwlock_writer(&b->lock), 0);
}

TEST(book_pthread)
{
    run_book(0, 0, 1);
}

TEST(book_private)
{
    run_book(MH_PRIVATE, 0, 0);
}

TEST(book_private_readers_preferred)
{
    run_book(MH_PRIVATE | MH_RW_PREFER_READERS, 0, 0);
}

TEST(book_private_writers_preferred)
{
    run_book(MH_PRIVATE | MH_RW_PREFER_WRITERS, 0, 0);
}

TEST(book_shared_threads)
{
    run_book(0, 0, 0);
}

TEST(book_shared_processes)
{
    run_book(0, 1, 0);
}

/* ---- one thread */

TEST(alone)
{
    for (unsigned flags = 0; flags <= MH_PRIVATE; flags += MH_PRIVATE) {
        mh_rwlock *l = t_shared(sizeof *l); /* all-zero is a shared one */
        if (flags) {
            CHECK_EQ(mh_rwlock_init(l, 0, MH_PRIVATE | MH_RW_PREFER_READERS | MH_RW_PREFER_WRITERS), -EINVAL);
            CHECK_EQ(mh_rwlock_init(l, 0, MH_PRIVATE), 0);
        }
        CHECK_EQ(mh_rwlock_try_release_read(l), -EPERM);
        CHECK_EQ(mh_rwlock_try_release_write(l), -EPERM);
        CHECK_EQ(mh_rwlock_acquire_read(l, MH_AT_ONCE, NULL), 0);
        CHECK_EQ(mh_rwlock_acquire_read(l, MH_AT_ONCE, NULL), 0); /* again */
        CHECK_EQ(mh_rwlock_readers(l), 1);
        CHECK_EQ(mh_rwlock_acquire_write(l, MH_FOREVER, NULL), -EDEADLK); /* no upgrade, and no dead-lock */
        mh_rwlock_release_read(l);
        CHECK_EQ(mh_rwlock_readers(l), 1);
        mh_rwlock_release_read(l);
        CHECK_EQ(mh_rwlock_try_release_read(l), -EPERM);
        CHECK_EQ(mh_rwlock_acquire_write(l, MH_AT_ONCE, NULL), 0);
        CHECK(mh_rwlock_writer(l) != 0);
        CHECK_EQ(mh_rwlock_acquire_write(l, MH_FOREVER, NULL), -EDEADLK);
        CHECK_EQ(mh_rwlock_acquire_read(l, MH_FOREVER, NULL), -EDEADLK);
        CHECK_EQ(mh_rwlock_try_release_read(l), -EPERM);
        mh_rwlock_abandon(l);
        CHECK_EQ(mh_rwlock_acquire_read(l, MH_FOREVER, NULL), MH_OWNER_DIED);
        mh_rwlock_release_read(l);
        CHECK_EQ(mh_rwlock_acquire_write(l, MH_FOREVER, NULL), MH_OWNER_DIED); /* a reader repairs nothing */
        mh_rwlock_release_write(l);
        CHECK_EQ(mh_rwlock_acquire_write(l, MH_FOREVER, NULL), 0);
        mh_rwlock_release_write(l);
    }
}

static void must_panic(void (*misuse)(void *), void *arg)
{
    pid_t child;
    if ((child = t_fork(misuse, arg)) > 0) {
        CHECK_EQ(t_wait(child, 5 * t_scale()), -SIGABRT);
    }
}

static void release_unread(void *arg)
{
    mh_rwlock_release_read(arg);
}

static void release_unwritten(void *arg)
{
    mh_rwlock_release_write(arg);
}

static void abandon_unwritten(void *arg)
{
    mh_rwlock_abandon(arg);
}

TEST(misuse_panics)
{
    mh_rwlock *l = t_shared(sizeof *l);
    must_panic(release_unread, l);
    must_panic(release_unwritten, l);
    must_panic(abandon_unwritten, l);
}

/* ---- who waits, who goes first */

struct queue {
    mh_rwlock lock;
    char order[64];
    _Atomic(int) out, inside, most_inside;
    _Atomic(int) go;
    int rc;
};

static void enter_to_read(void *arg)
{
    struct queue *q = arg;
    CHECK_EQ(mh_rwlock_acquire_read(&q->lock, MH_FOREVER, NULL), 0);
    q->order[q->out++] = 'r';
    mh_rwlock_release_read(&q->lock);
}

static void enter_to_write(void *arg)
{
    struct queue *q = arg;
    CHECK_EQ(mh_rwlock_acquire_write(&q->lock, MH_FOREVER, NULL), 0);
    q->order[q->out++] = 'w';
    mh_rwlock_release_write(&q->lock);
}

static int in_line(struct queue *q)
{
    return (int) (q->lock.waiting_readers + q->lock.waiting_writers);
}

/* The main thread writes; then `wanted` come one after another; in which order do they go in? */
static void check_order(unsigned flags, const char *wanted, const char *expected)
{
    struct queue *q = t_shared(sizeof *q);
    pthread_t thread[16];
    int n = (int) strlen(wanted);
    CHECK_EQ(mh_rwlock_init(&q->lock, 0, flags), 0);
    CHECK_EQ(mh_rwlock_acquire_write(&q->lock, MH_FOREVER, NULL), 0);
    for (int i = 0; i < n; i++) {
        thread[i] = t_thread(wanted[i] == 'r' ? enter_to_read : enter_to_write, q);
        CHECK_EVENTUALLY(in_line(q) == i + 1);
    }
    mh_rwlock_release_write(&q->lock);
    for (int i = 0; i < n; i++) {
        t_join(thread[i], 5 * t_scale());
    }
    CHECK_STR_EQ(q->order, expected);
}

TEST(order)
{
    for (unsigned flags = 0; flags <= MH_PRIVATE; flags += MH_PRIVATE) {
        check_order(flags, "wrrwwr", "wrrwwr");
        check_order(flags | MH_RW_PREFER_READERS, "wrrwwr", "rrrwww");
        check_order(flags | MH_RW_PREFER_WRITERS, "rwrwwr", "wwwrrr");
    }
}

static void read_together(void *arg)
{
    struct queue *q = arg;
    CHECK_EQ(mh_rwlock_acquire_read(&q->lock, MH_FOREVER, NULL), 0);
    q->inside++;
    while (!q->go) {
        t_nap(0.0005);
    }
    mh_rwlock_release_read(&q->lock);
}

/* More readers than places: no limit where the lock is private, a clear error where it is shared. */
TEST(many_readers)
{
    struct queue *q = t_shared(sizeof *q);
    pthread_t thread[MH_RW_READERS + 4];
    CHECK_EQ(mh_rwlock_init(&q->lock, 0, MH_PRIVATE), 0);
    for (int i = 0; i < MH_RW_READERS + 4; i++) {
        thread[i] = t_thread(read_together, q);
    }
    CHECK_EVENTUALLY(q->inside == MH_RW_READERS + 4);
    CHECK_EQ(mh_rwlock_readers(&q->lock), MH_RW_READERS + 4);
    CHECK_EQ(mh_rwlock_acquire_write(&q->lock, mh_in_ms(5), NULL), -ETIMEDOUT);
    q->go = 1;
    for (int i = 0; i < MH_RW_READERS + 4; i++) {
        t_join(thread[i], 5 * t_scale());
    }
    CHECK_EQ(mh_rwlock_acquire_write(&q->lock, MH_AT_ONCE, NULL), 0);
    mh_rwlock_release_write(&q->lock);
}

/* A thread remembers eight private locks that it reads; the others have a note of it. */
TEST(many_locks_at_once)
{
    static mh_rwlock lock[12];
    for (int i = 0; i < 12; i++) {
        CHECK_EQ(mh_rwlock_init(&lock[i], 0, MH_PRIVATE), 0);
        CHECK_EQ(mh_rwlock_acquire_read(&lock[i], MH_FOREVER, NULL), 0);
        CHECK_EQ(mh_rwlock_acquire_read(&lock[i], MH_FOREVER, NULL), 0);
        CHECK_EQ(mh_rwlock_readers(&lock[i]), 1);
    }
    for (int i = 0; i < 12; i++) { /* the first first: others move up */
        CHECK_EQ(mh_rwlock_acquire_write(&lock[i], MH_FOREVER, NULL), -EDEADLK);
        mh_rwlock_release_read(&lock[i]);
        CHECK_EQ(mh_rwlock_readers(&lock[i]), 1);
        mh_rwlock_release_read(&lock[i]);
        CHECK_EQ(mh_rwlock_try_release_read(&lock[i]), -EPERM);
        CHECK_EQ(mh_rwlock_acquire_write(&lock[i], MH_AT_ONCE, NULL), 0);
        mh_rwlock_release_write(&lock[i]);
    }
}

struct crowd { /* threads that read eight locks each, and then one lock all together */
    mh_rwlock other[8], lock;
    _Atomic(int) inside, go;
};

static void read_much(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(mh_rwlock_acquire_read(&c->other[i], MH_FOREVER, NULL), 0);
    }
    CHECK_EQ(mh_rwlock_acquire_read(&c->lock, MH_FOREVER, NULL), 0);
    c->inside++;
    while (!c->go) {
        t_nap(0.0005);
    }
    mh_rwlock_release_read(&c->lock);
    for (int i = 0; i < 8; i++) {
        mh_rwlock_release_read(&c->other[i]);
    }
}

/* More than there are places: those are known to nobody, and all the same counted. */
TEST(many_readers_of_many_locks)
{
    enum { THREADS = MH_RW_READERS + 2 };
    static struct crowd c;
    pthread_t thread[THREADS];
    for (int i = 0; i < 8; i++) {
        CHECK_EQ(mh_rwlock_init(&c.other[i], 0, MH_PRIVATE), 0);
    }
    CHECK_EQ(mh_rwlock_init(&c.lock, 0, MH_PRIVATE), 0);
    for (int i = 0; i < THREADS; i++) {
        thread[i] = t_thread(read_much, &c);
    }
    CHECK_EVENTUALLY(c.inside == THREADS);
    CHECK_EQ(mh_rwlock_readers(&c.lock), THREADS);
    CHECK_EQ(mh_rwlock_acquire_write(&c.lock, MH_AT_ONCE, NULL), -ETIMEDOUT);
    c.go = 1;
    for (int i = 0; i < THREADS; i++) {
        t_join(thread[i], 5 * t_scale());
    }
    CHECK_EQ(mh_rwlock_readers(&c.lock), 0);
    CHECK_EQ(mh_rwlock_try_release_read(&c.lock), -EPERM);
    CHECK_EQ(mh_rwlock_acquire_write(&c.lock, MH_AT_ONCE, NULL), 0);
    mh_rwlock_release_write(&c.lock);
}

/* What a thread remembers of a lock that is gone is not taken for the one that lies there now. */
TEST(another_lock_at_the_same_address)
{
    mh_rwlock lock;
    CHECK_EQ(mh_rwlock_init(&lock, 0, MH_PRIVATE), 0);
    CHECK_EQ(mh_rwlock_acquire_read(&lock, MH_FOREVER, NULL), 0);
    CHECK_EQ(mh_rwlock_init(&lock, 0, MH_PRIVATE), 0);
    CHECK_EQ(mh_rwlock_try_release_read(&lock), -EPERM);
    CHECK_EQ(mh_rwlock_acquire_write(&lock, MH_AT_ONCE, NULL), 0);
    mh_rwlock_release_write(&lock);
}

static void use_beside_nobody(void *arg)
{
    mh_rwlock *lock = arg;
    CHECK_EQ(lock->waiting_writers, 1); /* as the parent had it; */
    mh_rwlock_release_read(lock);       /* it is held by who held it, and the line is forgotten */
    CHECK_EQ(lock->waiting_writers, 0);
    CHECK_EQ(mh_rwlock_acquire_write(lock, MH_AT_ONCE, NULL), 0);
    mh_rwlock_release_write(lock);
}

static void write_once(void *arg)
{
    CHECK_EQ(mh_rwlock_acquire_write(arg, MH_FOREVER, NULL), 0);
    mh_rwlock_release_write(arg);
}

TEST(a_forked_child_has_no_line)
{
    static mh_rwlock lock;
    CHECK_EQ(mh_rwlock_init(&lock, 0, MH_PRIVATE), 0);
    CHECK_EQ(mh_rwlock_acquire_read(&lock, MH_FOREVER, NULL), 0);
    pthread_t waiter = t_thread(write_once, &lock);
    CHECK_EVENTUALLY(lock.waiting_writers == 1 && !mh_lock_is_locked(&lock.guard));
    CHECK_EQ(t_wait(t_fork(use_beside_nobody, &lock), 5 * t_scale()), 0);
    mh_rwlock_release_read(&lock);
    t_join(waiter, 5 * t_scale());
}

static void let_go_unseen(void *arg)
{
    CHECK_EQ(mh_rwlock_try_release_read(arg), -EPERM);
}

TEST(only_the_reader_gives_its_share_back)
{
    mh_rwlock lock;
    CHECK_EQ(mh_rwlock_init(&lock, 0, MH_PRIVATE), 0);
    CHECK_EQ(mh_rwlock_acquire_read(&lock, MH_FOREVER, NULL), 0);
    t_join(t_thread(let_go_unseen, &lock), 5 * t_scale());
    CHECK_EQ(mh_rwlock_readers(&lock), 1);
    mh_rwlock_release_read(&lock);
    CHECK_EQ(mh_rwlock_readers(&lock), 0);
}

TEST(room)
{
    struct queue *q = t_shared(sizeof *q + 4 * sizeof(mh_rw_place));
    pthread_t thread[MH_RW_READERS];
    CHECK_EQ(mh_rwlock_size(MH_RW_READERS), sizeof(mh_rwlock));
    for (int i = 0; i < MH_RW_READERS; i++) {
        thread[i] = t_thread(read_together, q);
    }
    CHECK_EVENTUALLY(q->inside == MH_RW_READERS);
    CHECK_EQ(mh_rwlock_acquire_read(&q->lock, MH_FOREVER, NULL), MH_E_TOO_MANY);
    CHECK_EQ(mh_rwlock_acquire_write(&q->lock, MH_FOREVER, NULL), MH_E_TOO_MANY);
    q->go = 1;
    for (int i = 0; i < MH_RW_READERS; i++) {
        t_join(thread[i], 5 * t_scale());
    }
    mh_rwlock *large = t_shared(mh_rwlock_size(MH_RW_READERS + 1));
    CHECK_EQ(mh_rwlock_init(large, MH_RW_READERS + 1, 0), 0);
    CHECK_EQ(mh_rwlock_acquire_write(large, MH_AT_ONCE, NULL), 0);
    mh_rwlock_release_write(large);
}

TEST(ends)
{
    for (unsigned flags = 0; flags <= MH_PRIVATE; flags += MH_PRIVATE) {
        struct queue *q = t_shared(sizeof *q);
        mh_cancel cancel;
        CHECK_EQ(mh_rwlock_init(&q->lock, 0, flags), 0);
        mh_cancel_init(&cancel, flags);
        mh_cancel_request(&cancel);
        pthread_t thread = t_thread(read_together, q);
        CHECK_EVENTUALLY(q->inside == 1);
        CHECK_EQ(mh_rwlock_acquire_write(&q->lock, MH_AT_ONCE, NULL), -ETIMEDOUT);
        CHECK_EQ(mh_rwlock_acquire_write(&q->lock, mh_in_ms(10), NULL), -ETIMEDOUT);
        CHECK_EQ(mh_rwlock_acquire_write(&q->lock, MH_FOREVER, &cancel), -ECANCELED);
        CHECK_EQ(in_line(q), 0);
        CHECK_EQ(mh_rwlock_acquire_read(&q->lock, MH_AT_ONCE, NULL), 0);
        mh_rwlock_release_read(&q->lock);
        q->go = 1;
        t_join(thread, 5 * t_scale());
    }
}

/* ---- death */

static void hold_to_read(void *arg)
{
    struct queue *q = arg;
    CHECK(mh_rwlock_acquire_read(&q->lock, MH_FOREVER, NULL) >= 0);
    q->inside = 1;
    for (;;) {
        pause();
    }
}

static void hold_to_write(void *arg)
{
    struct queue *q = arg;
    CHECK(mh_rwlock_acquire_write(&q->lock, MH_FOREVER, NULL) >= 0);
    q->inside = 1;
    for (;;) {
        pause();
    }
}

TEST(a_dead_reader_is_no_reader)
{
    struct queue *q = t_shared(sizeof *q);
    pid_t dead = t_fork(hold_to_read, q);
    CHECK_EVENTUALLY(q->inside);
    t_kill(dead);
    CHECK_EQ(mh_rwlock_acquire_write(&q->lock, MH_AT_ONCE, NULL), 0); /* readers break nothing */
    CHECK_EQ(mh_rwlock_readers(&q->lock), 0);
    mh_rwlock_release_write(&q->lock);
}

TEST(a_dead_writer_is_reported_until_repaired)
{
    struct queue *q = t_shared(sizeof *q);
    pid_t dead = t_fork(hold_to_write, q);
    CHECK_EVENTUALLY(q->inside);
    CHECK_EQ(mh_rwlock_writer(&q->lock), dead);
    CHECK_EQ(mh_rwlock_acquire_read(&q->lock, mh_in_ms(5), NULL), -ETIMEDOUT);
    t_kill(dead);
    CHECK_EQ(mh_rwlock_acquire_read(&q->lock, mh_in_ms(5000), NULL), MH_OWNER_DIED);
    mh_rwlock_release_read(&q->lock);
    CHECK_EQ(mh_rwlock_acquire_write(&q->lock, MH_AT_ONCE, NULL), MH_OWNER_DIED);
    mh_rwlock_release_write(&q->lock);
    CHECK_EQ(mh_rwlock_acquire_read(&q->lock, MH_AT_ONCE, NULL), 0);
    mh_rwlock_release_read(&q->lock);
}

static void wait_to_write(void *arg)
{
    struct queue *q = arg;
    q->rc = mh_rwlock_acquire_write(&q->lock, MH_FOREVER, NULL);
    mh_rwlock_release_write(&q->lock);
}

TEST(a_waiter_finds_the_dead_by_itself)
{
    struct queue *q = t_shared(sizeof *q);
    pid_t dead = t_fork(hold_to_write, q);
    CHECK_EVENTUALLY(q->inside);
    pid_t child = t_fork(wait_to_write, q);
    CHECK_EVENTUALLY(in_line(q) == 1);
    t_kill(dead);
    CHECK_EQ(t_wait(child, 5 * t_scale()), 0);
    CHECK_EQ(q->rc, MH_OWNER_DIED);
}

TEST(a_dead_waiter_is_not_in_the_way)
{
    struct queue *q = t_shared(sizeof *q);
    CHECK_EQ(mh_rwlock_acquire_read(&q->lock, MH_FOREVER, NULL), 0);
    pid_t dead = t_fork(wait_to_write, q);
    CHECK_EVENTUALLY(in_line(q) == 1);
    pid_t child = t_fork(enter_to_read, q); /* behind the writer */
    CHECK_EVENTUALLY(in_line(q) == 2);
    t_kill(dead);
    CHECK_EQ(t_wait(child, 5 * t_scale()), 0);
    mh_rwlock_release_read(&q->lock);
}

/* Readers and writers killed at any point: who is not told finds the book in order, and it goes on. */
struct storm {
    mh_rwlock lock;
    volatile long cell[2];
    volatile int stop;
    _Atomic(long) rounds;
};

static void storm_work(void *arg)
{
    struct storm *s = arg;
    unsigned seed = (unsigned) getpid();
    while (!s->stop) {
        seed = seed * 1103515245 + 12345;
        int writes = (seed >> 16) % 3 == 0;
        int rc = writes ? mh_rwlock_acquire_write(&s->lock, MH_FOREVER, NULL)
                        : mh_rwlock_acquire_read(&s->lock, MH_FOREVER, NULL);
        CHECK(rc >= 0);
        CHECK(rc == MH_OWNER_DIED || s->cell[0] == s->cell[1]);
        if (writes) {
            s->cell[0]++;
            s->cell[1] = s->cell[0];
            mh_rwlock_release_write(&s->lock);
        } else {
            mh_rwlock_release_read(&s->lock);
        }
        s->rounds++;
    }
}

TEST_LIMIT(kill_storm, 60)
{
    struct storm *s = t_shared(sizeof *s);
    pid_t child[3];
    unsigned seed = 99;
    for (int i = 0; i < 3; i++) {
        child[i] = t_fork(storm_work, s);
    }
    for (int round = 0; round < t_rounds(60); round++) {
        long before = s->rounds;
        CHECK_EVENTUALLY(s->rounds >= before + 50);
        seed = seed * 1103515245 + 12345;
        int victim = (int) (seed >> 16) % 3;
        for (volatile unsigned spin = 0; spin < (seed >> 8) % 20000; spin++) {
        }
        t_kill(child[victim]);
        child[victim] = t_fork(storm_work, s);
    }
    s->stop = 1;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(t_wait(child[i], 10 * t_scale()), 0);
    }
    CHECK(mh_rwlock_acquire_write(&s->lock, MH_AT_ONCE, NULL) >= 0);
    mh_rwlock_release_write(&s->lock);
    CHECK_EQ(mh_rwlock_readers(&s->lock), 0);
}
