/* The reader-writer lock of one process: one atomic instruction to go in and one to go out, while nobody waits.
 *
 * Bit table of mh_rwlock.writer, here called the word
 *   0..29   WRITER   key of the thread that writes; 0: nobody
 *   31      FROZEN   the guard is held, or somebody stands in line. Set by whoever enters the guard, cleared by whoever
 *                    leaves it while the line is empty. May be set for nothing (the way of the guard is slower, not
 *                    wrong); must not be left out: while it is set, only the holder of the guard changes the word
 *   32..63  READERS  how many threads read
 *
 * Transitions without the guard (each one CAS, none of a word with FROZEN)
 *   read      no WRITER            -> READERS + 1     acquire
 *   write     0                    -> me              acquire
 *   release   READERS > 0          -> READERS - 1     release
 *             me                   -> 0               release
 * Under the guard, the word being frozen, the same by plain stores; and let_in: those who are next become holders.
 *
 * Every acquire pairs with the release whose value it read. A writer that follows several readers read the value of the
 * last; the CAS of the others are in its release sequence, or were read by the `or` that froze the word, and handed on by
 * the store that thawed it.
 *
 * Nobody is forgotten: who stands in line froze the word before it looked whether there is room. A release came before, and
 * was seen; or it finds FROZEN, and goes by the guard, where it lets in who is next.
 *
 * A waiter's word, in a ticket on its stack: MH__RW_READ or MH__RW_WRITE while it is in line (futex sleeps there), HELD once
 * it was let in.
 *
 * Which locks it reads, and how deeply, a thread remembers itself (mh__tls), so that it need not be written down for others
 * to see. Where it has no room (it reads MH__READS others, or read them when they were thrown away), the share is noted in
 * one of the lock's places; and where there is none left, it is `untracked`, and may be given back by anyone.
 */
#include "rwlock_private.h"

#include <errno.h>
#include <stddef.h>

#include "core/os/os.h"
#include "section.h"
#include "spin.h"
#include "wait.h"

#define WRITER UINT64_C(0x3fffffff)
#define FROZEN UINT64_C(0x80000000)
#define READER (UINT64_C(1) << MH__RW_READER_SHIFT)

enum { HELD = 0, BATCH = 16 };

typedef struct ticket {
    struct ticket *next, *previous;
    MH_ATOMIC(uint32_t) word;
    uint32_t me;
    uint32_t forks; /* the lock's, when it came into the line */
} ticket;

typedef struct batch { /* words to wake when the guard is left */
    MH_ATOMIC(uint32_t) *word[BATCH];
    uint32_t count;
} batch;

void mh__rw_private_init(mh_rwlock *lock)
{
    static _Atomic(uint32_t) made; /* tells this lock from one that lay here before */
    mh_store_rlx(&lock->used, mh_add_rlx(&made, 1));
}

/* ---- what this thread reads */

static mh_rw_place *place(mh_rwlock *lock, uint32_t i)
{
    return &lock->place[i];
}

/* The share that is noted in the lock. Only this thread writes its key there, and takes it away. */
static mh_rw_place *own_place(mh_rwlock *lock, uint64_t me)
{
    for (uint32_t i = 0; i < MH_RW_READERS; i++) {
        if (mh_load_acq(&place(lock, i)->owner) == me) { /* pairs with the store in forget */
            return place(lock, i);
        }
    }
    return NULL;
}

/* How deeply this thread reads it: where that stands. NULL: it does not, or nobody knows. */
MH_APART static uint32_t *own_depth(struct mh__tls *tls, mh_rwlock *lock)
{
    for (uint32_t i = tls->reads; i-- > 0;) {
        if (tls->read[i].lock == lock && tls->read[i].id == mh_load_rlx(&lock->used)) {
            return &tls->read[i].depth;
        }
    }
    mh_rw_place *noted = tls->reads_noted > 0 ? own_place(lock, mh_os_key()) : NULL;
    return noted ? &noted->depth : NULL;
}

static void remember(struct mh__tls *tls, mh_rwlock *lock)
{
    struct mh__read *read = &tls->read[tls->reads++];
    read->lock = lock;
    read->id = mh_load_rlx(&lock->used);
    read->depth = 1;
}

/* Under the guard. */
static void note(struct mh__tls *tls, mh_rwlock *lock)
{
    mh_rw_place *p = own_place(lock, 0); /* nobody's */
    if (!p) {
        lock->untracked++;
        return;
    }
    mh_store_rlx(&p->owner, mh_os_key());
    p->depth = 1;
    tls->reads_noted++;
}

/* Field by field, and nothing is copied where it was the last: a load of more than the stores wrote that came just before
 * has to wait for them. */
static void forget(struct mh__tls *tls, mh_rwlock *lock, const uint32_t *depth)
{
    for (uint32_t i = tls->reads; i-- > 0;) {
        struct mh__read *read = &tls->read[i], *last = &tls->read[tls->reads - 1];
        if (&read->depth != depth) {
            continue;
        }
        if (read != last) {
            read->lock = last->lock;
            read->id = last->id;
            read->depth = last->depth;
        }
        last->lock = NULL;
        tls->reads--;
        return;
    }
    mh_store_rel(&own_place(lock, mh_os_key())->owner,
                 0); /* pairs with the load in own_place: the depth is free, too */
    tls->reads_noted--;
}

/* ---- under the guard, the word frozen */

static void add_to(MH_ATOMIC(uint32_t) *count, int by)
{
    mh_store_rlx(count, mh_load_rlx(count) + (uint32_t) by); /* for those who look without the guard */
}

static MH_ATOMIC(uint32_t) *waiting(mh_rwlock *lock, uint32_t kind)
{
    return kind == MH__RW_READ ? &lock->waiting_readers : &lock->waiting_writers;
}

static int somebody_waits(mh_rwlock *lock)
{
    return lock->first != NULL;
}

/* 1 where the holders leave room for one more of this kind. */
static int is_room(mh_rwlock *lock, uint32_t kind)
{
    uint64_t word = mh_load_rlx(&lock->writer);
    return kind == MH__RW_READ ? (word & WRITER) == 0 : (word & ~FROZEN) == 0;
}

/* 1 where one who comes now need not stand in line. */
static int may_go_in(mh_rwlock *lock, uint32_t kind)
{
    if (!is_room(lock, kind)) {
        return 0;
    }
    if (lock->flags & MH_RW_PREFER_READERS && kind == MH__RW_READ) {
        return 1;
    }
    if (lock->flags & MH_RW_PREFER_WRITERS) {
        return mh_load_rlx(&lock->waiting_writers) == 0;
    }
    return !somebody_waits(lock);
}

static void count_holder(mh_rwlock *lock, uint64_t me, uint32_t kind)
{
    uint64_t word = mh_load_rlx(&lock->writer);
    mh_store_rlx(&lock->writer, kind == MH__RW_READ ? word + READER : word | me);
}

/* Who is to go in next: the first in line, or the first of the preferred kind. */
static ticket *next_in_line(mh_rwlock *lock)
{
    uint32_t kind = lock->flags & MH_RW_PREFER_READERS   ? MH__RW_READ
                    : lock->flags & MH_RW_PREFER_WRITERS ? MH__RW_WRITE
                                                         : 0;
    ticket *t = lock->first;
    if (kind == 0 || mh_load_rlx(waiting(lock, kind)) == 0) {
        return t;
    }
    while (mh_load_rlx(&t->word) != kind) {
        t = t->next;
    }
    return t;
}

static void remove_ticket(mh_rwlock *lock, ticket *t)
{
    if (t->previous) {
        t->previous->next = t->next;
    } else {
        lock->first = t->next;
    }
    if (t->next) {
        t->next->previous = t->previous;
    } else {
        lock->last = t->previous;
    }
}

static void wake_later(batch *list, MH_ATOMIC(uint32_t) *word)
{
    if (list->count < BATCH) {
        list->word[list->count++] = word;
    } else {
        mh_wake(word, 1, MH_PRIVATE); /* there is no end of readers: at once, then */
    }
}

static void let_in(mh_rwlock *lock, batch *list)
{
    while (somebody_waits(lock)) {
        ticket *t = next_in_line(lock);
        uint32_t kind = mh_load_rlx(&t->word);
        if (!is_room(lock, kind)) {
            return;
        }
        remove_ticket(lock, t);
        add_to(waiting(lock, kind), -1);
        count_holder(lock, t->me, kind);
        mh_store_rel(&t->word,
                     HELD); /* pairs with the loads in wait_in_line; the ticket may be gone from here on */
        wake_later(list, &t->word);
    }
}

/* In a forked child the others of the line are gone, and their stacks are used anew. */
static void forget_parents(mh_rwlock *lock)
{
    uint32_t forks = mh_os_forks();
    if (lock->forks != forks) {
        lock->forks = forks;
        lock->first = lock->last = NULL;
        mh_store_rlx(&lock->waiting_readers, 0);
        mh_store_rlx(&lock->waiting_writers, 0);
    }
}

static void enter(mh_rwlock *lock)
{
    (void) mh__section_enter(&lock->guard); /* a thread does not die alone: never MH_OWNER_DIED */
    /* From here on the word is ours; sees what every release before did. */
    mh_or_acq_rel(&lock->writer, FROZEN);
    forget_parents(lock);
}

static void leave_and_wake(mh_rwlock *lock, const batch *list)
{
    if (!somebody_waits(lock)) {
        mh_store_rel(&lock->writer,
                     mh_load_rlx(&lock->writer) & ~FROZEN); /* pairs with every acquiring CAS */
    }
    mh__section_leave(&lock->guard);
    for (uint32_t i = 0; i < list->count; i++) {
        mh_wake(list->word[i], 1, MH_PRIVATE);
    }
}

/* ---- acquiring */

/* Held: is what it guards whole? Nobody can change the answer while it is held. */
static int told(mh_rwlock *lock)
{
    return mh_load_rlx(&lock->died) ? MH_OWNER_DIED : 0; /* ordered by the word */
}

MH_APART static void note_slowly(struct mh__tls *tls, mh_rwlock *lock)
{
    batch none;
    none.count = 0;
    enter(lock);
    note(tls, lock);
    leave_and_wake(lock, &none);
}

/* The share was counted. */
static int begin_to_read(mh_rwlock *lock)
{
    struct mh__tls *tls = mh__tls();
    if (tls->reads < MH__READS) {
        remember(tls, lock);
    } else {
        note_slowly(tls, lock);
    }
    return told(lock);
}

/* Leave the line. 1: it was let in before. */
static int give_up(mh_rwlock *lock, ticket *me, uint32_t kind)
{
    batch list;
    list.count = 0;
    enter(lock);
    int held = mh_load_acq(&me->word) != kind;
    if (!held && me->forks == lock->forks) { /* else it forked in a signal handler: no longer in line */
        remove_ticket(lock, me);
        add_to(waiting(lock, kind), -1);
        let_in(lock, &list); /* who stood behind may go in now */
    }
    leave_and_wake(lock, &list);
    return held;
}

/* 0: let in; else as mh_wait. */
static int wait_in_line(mh_rwlock *lock, ticket *me, uint32_t kind, mh_deadline deadline, mh_cancel *cancel)
{
    mh__spin_in_line(&me->word, kind);
    while (mh_load_acq(&me->word) == kind) { /* pairs with the store in let_in */
        int rc = mh__wait(&me->word, kind, deadline, cancel, MH_PRIVATE);
        if (rc < 0) {
            return give_up(lock, me, kind) ? 0 : rc;
        }
    }
    return 0;
}

static void stand_in_line(mh_rwlock *lock, ticket *me, uint32_t kind)
{
    ticket *last = lock->last;
    me->forks = lock->forks;
    mh_store_rlx(&me->word, kind);
    me->previous = last;
    if (last) {
        last->next = me;
    } else {
        lock->first = me;
    }
    lock->last = me;
    add_to(waiting(lock, kind), 1);
}

/* By way of the guard. */
static int acquire(mh_rwlock *lock, uint32_t kind, mh_deadline deadline, mh_cancel *cancel)
{
    ticket me = {.me = mh_os_key()};
    batch list;
    list.count = 0;
    enter(lock);
    int held = may_go_in(lock, kind);
    if (held) {
        count_holder(lock, me.me, kind);
    } else if (deadline > MH_AT_ONCE) {
        stand_in_line(lock, &me, kind);
    }
    leave_and_wake(lock, &list);
    if (held) {
        return 0;
    }
    return deadline > MH_AT_ONCE ? wait_in_line(lock, &me, kind, deadline, cancel) : -ETIMEDOUT;
}

/* One CAS, while nobody waits and the holders leave room. *seen: the word that spoke against it. */
static int go_in(mh_rwlock *lock, uint64_t me, uint32_t kind, uint64_t *seen)
{
    uint64_t against = kind == MH__RW_READ ? FROZEN | WRITER : ~UINT64_C(0);
    while ((*seen & against) == 0) {
        if (mh_cas_acq(&lock->writer, seen, kind == MH__RW_READ ? *seen + READER : me)) {
            return 1; /* pairs with the releases below, and the store in leave_and_wake */
        }
    }
    return 0;
}

/* Who stands in line was here before, and is not overtaken: its FROZEN ends this. */
static int spin(mh_rwlock *lock, uint64_t me, uint32_t kind)
{
    struct mh__spin spin;
    int taken = 0;
    uint64_t seen;
    if (!mh__spin_begin(&spin, &lock->readers)) {
        return 0;
    }
    do {
        seen = mh_load_rlx(&lock->writer);
        taken = go_in(lock, me, kind, &seen);
    } while (!taken && !(seen & FROZEN) && mh__spin_on(&spin));
    return mh__spin_end(&spin, taken);
}

MH_APART static int acquire_slowly(mh_rwlock *lock, uint64_t me, uint32_t kind, mh_deadline deadline,
                                   mh_cancel *cancel)
{
    if (deadline > MH_AT_ONCE && spin(lock, me, kind)) {
        return 0;
    }
    return acquire(lock, kind, deadline, cancel);
}

/* One level deeper: no matter who waits. */
static int read_again(mh_rwlock *lock, uint32_t *depth)
{
    if (*depth == UINT32_MAX) {
        return -EOVERFLOW;
    }
    ++*depth;
    return told(lock);
}

/* Somebody is there: `seen`. */
MH_APART static int read_beside(mh_rwlock *lock, uint64_t seen, mh_deadline deadline, mh_cancel *cancel)
{
    uint32_t *depth = own_depth(mh__tls(), lock);
    if (depth) {
        return read_again(lock, depth);
    }
    if ((seen & WRITER) == mh_os_key()) {
        return -EDEADLK;
    }
    int rc = go_in(lock, 0, MH__RW_READ, &seen) ? 0 : acquire_slowly(lock, 0, MH__RW_READ, deadline, cancel);
    return rc < 0 ? rc : begin_to_read(lock);
}

int mh__rw_private_read(mh_rwlock *lock, mh_deadline deadline, mh_cancel *cancel)
{
    uint64_t seen = 0;
    if (mh_cas_acq(&lock->writer, &seen, READER)) { /* nobody was there, nor this thread; pairs as in go_in */
        return begin_to_read(lock);
    }
    return read_beside(lock, seen, deadline, cancel);
}

/* Somebody is there: `seen`. */
MH_APART static int write_beside(mh_rwlock *lock, uint64_t me, uint64_t seen, mh_deadline deadline,
                                 mh_cancel *cancel)
{
    if ((seen & WRITER) == me || own_depth(mh__tls(), lock)) {
        return -EDEADLK;
    }
    int rc = acquire_slowly(lock, me, MH__RW_WRITE, deadline, cancel);
    return rc < 0 ? rc : told(lock);
}

int mh__rw_private_write(mh_rwlock *lock, mh_deadline deadline, mh_cancel *cancel)
{
    uint64_t me = mh_os_key(), seen = 0;
    if (mh_cas_acq(&lock->writer, &seen, me)) { /* pairs as in go_in */
        return told(lock);
    }
    return write_beside(lock, me, seen, deadline, cancel);
}

/* ---- releasing */

/* By way of the guard: READER or the writer's key is taken from the word, and who is next goes in. */
MH_APART static void drop_slowly(mh_rwlock *lock, uint64_t what)
{
    batch list;
    list.count = 0;
    enter(lock);
    mh_store_rlx(&lock->writer, mh_load_rlx(&lock->writer) - what);
    let_in(lock, &list);
    leave_and_wake(lock, &list);
}

MH_APART static int drop_untracked(mh_rwlock *lock)
{
    batch list;
    list.count = 0;
    enter(lock);
    int rc = lock->untracked == 0 ? -EPERM : 0;
    if (rc == 0) {
        lock->untracked--;
        mh_store_rlx(&lock->writer, mh_load_rlx(&lock->writer) - READER);
        let_in(lock, &list);
    }
    leave_and_wake(lock, &list);
    return rc;
}

/* The common case: what was acquired last, once. */
static int forget_last(struct mh__tls *tls, mh_rwlock *lock)
{
    struct mh__read *last = &tls->read[tls->reads - 1];
    if (tls->reads == 0 || last->lock != lock || last->id != mh_load_rlx(&lock->used) || last->depth != 1) {
        return 0;
    }
    last->lock = NULL;
    tls->reads--;
    return 1;
}

/* 0: the share is no longer this thread's, and to be taken from the word. 1: it was read more than once. */
MH_APART static int forget_one(struct mh__tls *tls, mh_rwlock *lock)
{
    uint32_t *depth = own_depth(tls, lock);
    if (!depth) {
        return -EPERM;
    }
    if (--*depth > 0) {
        return 1;
    }
    forget(tls, lock, depth);
    return 0;
}

int mh__rw_private_drop_read(mh_rwlock *lock)
{
    struct mh__tls *tls = mh__tls();
    uint64_t seen = READER;
    if (!forget_last(tls, lock)) {
        int rc = forget_one(tls, lock);
        if (rc != 0) {
            return rc < 0 ? drop_untracked(lock) : 0;
        }
    }
    while ((seen & FROZEN) == 0) {
        if (mh_cas_rel(&lock->writer, &seen,
                       seen - READER)) { /* pairs with the CAS of who goes in, and with enter */
            return 0;
        }
    }
    drop_slowly(lock, READER);
    return 0;
}

int mh__rw_private_drop_write(mh_rwlock *lock, uint32_t died)
{
    uint64_t me = mh_os_key(), seen = mh_load_rlx(&lock->writer);
    if ((seen & WRITER) != me) { /* only the caller can make that true or false */
        return -EPERM;
    }
    if (mh_load_rlx(&lock->died) != died) {
        mh_store_rlx(&lock->died, died);
    }
    seen = me;
    if (!mh_cas_rel(&lock->writer, &seen, 0)) { /* pairs as above */
        drop_slowly(lock, me);
    }
    return 0;
}
