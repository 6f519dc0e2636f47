/* Reader-writer lock: who leaves lets in who is next; nobody barges. Here the shared one, and the way to the private one
 * (rwlock_private.c).
 *
 * All changes are made under a guard. Waiters and holders alike have a place in the object, and its word is the truth: a
 * waiter sleeps on it and is made a holder by whoever lets it in, so the order is that of arrival; the counts are taken
 * anew after a death inside the guard. The line is the places' `order`; there are no links to mend.
 *
 * A place's word:
 *   FREE       0  nobody's place
 *   WAIT_READ  1  in line; futex sleeps here
 *   WAIT_WRITE 2  in line; futex sleeps here
 *   READING    3  holds it
 *   WRITING    4  holds it
 * Transitions, all under the guard:
 *   FREE -> READING, WRITING         acquire, where it may go in at once
 *   FREE -> WAIT_READ, WAIT_WRITE    acquire, else
 *   WAIT_x -> READING, WRITING       let_in, by who leaves, gives up or sweeps; the futex wake may be lost
 *   with it: slices
 *   WAIT_x -> FREE                   its owner gives up, or is dead
 *   READING, WRITING -> FREE         release; or its owner is dead (a writer: `died` is set before)
 */
#include "core/os/os.h"
#include "rwlock_private.h"
#include "section.h"
#include "spin.h"
#include "wait.h"

#include <manyhands/rwlock.h>

#include <errno.h>
#include <string.h>

enum { FREE, WAIT_READ = MH__RW_READ, WAIT_WRITE = MH__RW_WRITE, READING, WRITING };

#define BATCH 16

_Static_assert(sizeof(mh_rw_place) == 24, "part of the shared layout");
_Static_assert(offsetof(mh_rwlock, place) + sizeof(mh_rw_place) * MH_RW_READERS == sizeof(mh_rwlock),
               "no gap");

static int is_private(const mh_rwlock *lock)
{
    return (lock->flags & MH_PRIVATE) != 0;
}

static mh_rw_place *place(mh_rwlock *lock, uint32_t i)
{
    return (mh_rw_place *) (void *) ((char *) lock + offsetof(mh_rwlock, place)) + i;
}

static uint32_t capacity(const mh_rwlock *lock)
{
    return lock->places ? lock->places : MH_RW_READERS;
}

/* Places from here on were never taken. Never more than there are, whatever somebody wrote there. */
static uint32_t used(const mh_rwlock *lock)
{
    uint32_t n = mh_load_rlx(&((mh_rwlock *) (uintptr_t) lock)->used), most = capacity(lock);
    return n < most ? n : most;
}

static uint32_t load(mh_rwlock *lock, uint32_t i)
{
    return mh_load_acq(&place(lock, i)->word); /* pairs with the stores of words */
}

size_t mh_rwlock_size(uint32_t readers)
{
    size_t extra = readers > MH_RW_READERS ? readers - MH_RW_READERS : 0;
    return sizeof(mh_rwlock) + extra * sizeof(mh_rw_place);
}

int mh_rwlock_init(mh_rwlock *lock, uint32_t readers, unsigned flags)
{
    int alone = (flags & MH_PRIVATE) != 0;
    if ((flags & MH_RW_PREFER_READERS) && (flags & MH_RW_PREFER_WRITERS)) {
        return -EINVAL;
    }
    memset(lock, 0, alone ? sizeof *lock : mh_rwlock_size(readers));
    mh_lock_init(&lock->guard, flags & MH_PRIVATE);
    lock->flags = flags & (MH_PRIVATE | MH_RW_PREFER_READERS | MH_RW_PREFER_WRITERS);
    lock->places = !alone && readers > MH_RW_READERS ? readers : 0;
    if (alone) {
        mh__rw_private_init(lock);
    }
    return 0;
}

/* ---- counts, under the guard */

static void add_to(MH_ATOMIC(uint32_t) *count, int by)
{
    mh_store_step(count, mh_load_rlx(count) + (uint32_t) by); /* for those who look without the guard */
}

static MH_ATOMIC(uint32_t) *waiting(mh_rwlock *lock, uint32_t kind)
{
    return kind == WAIT_READ ? &lock->waiting_readers : &lock->waiting_writers;
}

static int somebody_waits(mh_rwlock *lock)
{
    return mh_load_rlx(&lock->waiting_readers) != 0 || mh_load_rlx(&lock->waiting_writers) != 0;
}

/* 1 where the holders leave room for one more of this kind. */
static int is_room(mh_rwlock *lock, uint32_t kind)
{
    return mh_load_rlx(&lock->writer) == 0 && (kind == WAIT_READ || mh_load_rlx(&lock->readers) == 0);
}

/* 1 where one who comes now need not stand in line. */
static int may_go_in(mh_rwlock *lock, uint32_t kind)
{
    if (!is_room(lock, kind)) {
        return 0;
    }
    if (lock->flags & MH_RW_PREFER_READERS && kind == WAIT_READ) {
        return 1;
    }
    if (lock->flags & MH_RW_PREFER_WRITERS) {
        return mh_load_rlx(&lock->waiting_writers) == 0;
    }
    return !somebody_waits(lock);
}

/* ---- who is next */

static int comes_before(uint32_t a, uint32_t b)
{
    return (int32_t) (a - b) < 0; /* around the wrap */
}

/* The first in line of the kinds in the set (bits 1 << kind). */
static mh_rw_place *first_place(mh_rwlock *lock, uint32_t kinds)
{
    mh_rw_place *best = NULL;
    for (uint32_t i = 0, n = used(lock); i < n; i++) {
        mh_rw_place *p = place(lock, i);
        uint32_t word = mh_load_rlx(&p->word);
        if (word <= WRITING && (kinds & 1u << word) &&
            (!best || comes_before(mh_load_rlx(&p->order), mh_load_rlx(&best->order)))) {
            best = p;
        }
    }
    return best;
}

/* Which kind of waiter is to go in next: WAIT_READ, WAIT_WRITE, or both where the order alone decides. */
static uint32_t preferred(mh_rwlock *lock)
{
    int readers = mh_load_rlx(&lock->waiting_readers) != 0,
        writers = mh_load_rlx(&lock->waiting_writers) != 0;
    if (lock->flags & MH_RW_PREFER_READERS) {
        return 1u << (readers ? WAIT_READ : WAIT_WRITE);
    }
    if (lock->flags & MH_RW_PREFER_WRITERS) {
        return 1u << (writers ? WAIT_WRITE : WAIT_READ);
    }
    return 1u << WAIT_READ | 1u << WAIT_WRITE;
}

/* ---- becoming a holder, under the guard */

static mh_rw_place *free_place(mh_rwlock *lock)
{
    uint32_t n = used(lock);
    for (uint32_t i = 0; i < n; i++) {
        if (mh_load_rlx(&place(lock, i)->word) == FREE) {
            return place(lock, i);
        }
    }
    if (n == capacity(lock)) {
        return NULL;
    }
    mh_store_step(&lock->used, n + 1);
    return place(lock, n);
}

/* The owner is there for whoever sees the word. */
static void occupy(mh_rw_place *p, uint64_t who, uint32_t word)
{
    mh_store_rlx(&p->owner, who);
    p->depth = 1;
    mh_store_rel(&p->word, word); /* pairs with load() */
}

static void count_holder(mh_rwlock *lock, uint64_t who, uint32_t kind)
{
    if (kind == WAIT_READ) {
        add_to(&lock->readers, 1);
    } else {
        mh_store_step(&lock->writer, who);
    }
}

static uint32_t holding(uint32_t kind)
{
    return kind == WAIT_READ ? READING : WRITING;
}

typedef struct batch { /* words to wake when the guard is left */
    MH_ATOMIC(uint32_t) *word[BATCH];
    uint32_t count;
} batch;

static void wake_later(batch *list, MH_ATOMIC(uint32_t) *word)
{
    if (list->count < BATCH) {
        list->word[list->count++] = word;
    } else {
        mh_wake(word, 1, 0); /* there is no end of readers: at once, then */
    }
}

/* One waiter of the preferred kind becomes a holder, where there is room for it. */
static MH_ATOMIC(uint32_t) *let_one_in(mh_rwlock *lock)
{
    mh_rw_place *p = first_place(lock, preferred(lock));
    uint32_t kind = p ? mh_load_rlx(&p->word) : FREE;
    if (!p || !is_room(lock, kind)) {
        return NULL;
    }
    count_holder(lock, mh_load_rlx(&p->owner), kind);
    mh_store_rel(&p->word, holding(kind)); /* pairs with the load in wait_in_line */
    add_to(waiting(lock, kind), -1);
    return &p->word;
}

static void let_in(mh_rwlock *lock, batch *list)
{
    MH_ATOMIC(uint32_t) *word;
    while (somebody_waits(lock) && (word = let_one_in(lock)) != NULL) {
        wake_later(list, word);
    }
}

/* ---- death, under the guard */

static void count_again(mh_rwlock *lock)
{
    uint32_t count[WRITING + 1] = {0};
    uint64_t writer = 0;
    for (uint32_t i = 0, n = used(lock); i < n; i++) {
        uint32_t word = load(lock, i);
        count[word <= WRITING ? word : FREE]++;
        if (word == WRITING) {
            writer = mh_load_rlx(&place(lock, i)->owner);
        }
    }
    mh_store_step(&lock->readers, count[READING]);
    mh_store_step(&lock->writer, writer);
    mh_store_step(&lock->waiting_readers, count[WAIT_READ]);
    mh_store_step(&lock->waiting_writers, count[WAIT_WRITE]);
}

static int is_dead(mh_rwlock *lock, uint32_t i)
{
    return !mh_os_alive(mh_load_rlx(&place(lock, i)->owner));
}

/* Take from the dead what they hold and wait for. */
static void sweep(mh_rwlock *lock)
{
    int found = 0;
    for (uint32_t i = 0, n = used(lock); i < n; i++) {
        uint32_t word = load(lock, i);
        if (word == FREE || !is_dead(lock, i)) {
            continue;
        }
        if (word == WRITING) {
            mh_store_rel(&lock->died, 1); /* before the place is free; pairs with told() */
        }
        mh_store_step(&place(lock, i)->word, FREE);
        found = 1;
    }
    if (found) {
        count_again(lock);
    }
}

/* ---- the guard */

static void wake_all(const batch *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        mh_wake(list->word[i], 1, 0);
    }
}

/* Whoever died in the guard may have left without letting anybody in. */
static void enter(mh_rwlock *lock)
{
    batch list;
    list.count = 0;
    if (mh__section_enter(&lock->guard) == MH_OWNER_DIED) {
        count_again(lock);
        let_in(lock, &list);
        wake_all(&list);
    }
}

static void leave(mh_rwlock *lock)
{
    mh__section_leave(&lock->guard);
}

static void leave_and_wake(mh_rwlock *lock, const batch *list)
{
    leave(lock);
    wake_all(list);
}

/* ---- acquiring */

/* The place in which the caller holds it. */
static mh_rw_place *own_place(mh_rwlock *lock, uint64_t me, uint32_t word)
{
    for (uint32_t i = 0, n = used(lock); i < n; i++) {
        if (mh_load_rlx(&place(lock, i)->word) == word && mh_load_rlx(&place(lock, i)->owner) == me) {
            return place(lock, i);
        }
    }
    return NULL;
}

/* Where the caller holds it already: 0 (one level deeper), -EDEADLK, -EOVERFLOW. Else 1. */
static int again(mh_rwlock *lock, uint64_t me, uint32_t kind)
{
    mh_rw_place *mine = mh_load_rlx(&lock->readers) ? own_place(lock, me, READING) : NULL;
    if (mh_load_rlx(&lock->writer) == me || (mine && kind == WAIT_WRITE)) {
        return -EDEADLK;
    }
    if (!mine) {
        return 1;
    }
    if (mine->depth == UINT32_MAX) {
        return -EOVERFLOW;
    }
    mine->depth++;
    return 0;
}

/* A place for the caller, of the word given: *mine. 0, or MH_E_TOO_MANY. */
static int take_place(mh_rwlock *lock, uint64_t me, uint32_t word, MH_ATOMIC(uint32_t) **mine)
{
    mh_rw_place *p = free_place(lock);
    if (!p) {
        sweep(lock);
        p = free_place(lock);
    }
    if (!p) {
        return MH_E_TOO_MANY;
    }
    mh_store_rlx(&p->order, lock->order++);
    occupy(p, me, word);
    *mine = &p->word;
    return 0;
}

static int go_in(mh_rwlock *lock, uint64_t me, uint32_t kind, MH_ATOMIC(uint32_t) **mine)
{
    int rc = take_place(lock, me, holding(kind), mine);
    if (rc == 0) {
        count_holder(lock, me, kind);
    }
    return rc;
}

static int stand_in_line(mh_rwlock *lock, uint64_t me, uint32_t kind, MH_ATOMIC(uint32_t) **mine)
{
    int rc = take_place(lock, me, kind, mine);
    if (rc == 0) {
        add_to(waiting(lock, kind), 1);
    }
    return rc;
}

/* Held: is what it guards whole? Nobody can change the answer while it is held. */
static int told(mh_rwlock *lock)
{
    return mh_load_acq(&lock->died) ? MH_OWNER_DIED : 0; /* pairs with sweep */
}

/* After a slice of a shared wait: is somebody dead in the way? Entering alone mends what a death in the
 * guard left. */
static void look_after(mh_rwlock *lock)
{
    batch list;
    list.count = 0;
    enter(lock);
    sweep(lock);
    let_in(lock, &list);
    leave_and_wake(lock, &list);
}

/* Leave the line. 1: it was let in before, or is so now, since who was in its way is dead. */
static int give_up(mh_rwlock *lock, MH_ATOMIC(uint32_t) *mine, uint32_t kind)
{
    batch list;
    list.count = 0;
    enter(lock);
    if (mh_load_acq(mine) == kind) {
        sweep(lock);
        let_in(lock, &list);
    }
    int held = mh_load_acq(mine) != kind;
    if (!held) {
        mh_store_step(mine, FREE);
        add_to(waiting(lock, kind), -1);
        let_in(lock, &list); /* who stood behind may go in now */
    }
    leave_and_wake(lock, &list);
    return held;
}

static int wait_in_line(mh_rwlock *lock, MH_ATOMIC(uint32_t) *mine, uint32_t kind, mh_deadline deadline,
                        mh_cancel *cancel)
{
    mh__spin_in_line(mine, kind);
    while (mh_load_acq(mine) == kind) { /* pairs with the store in let_one_in */
        int rc = mh__wait(mine, kind, deadline, cancel, 0);
        if (rc < 0) {
            return give_up(lock, mine, kind) ? told(lock) : rc;
        }
        if (rc == MH__SLICE) {
            look_after(lock);
        }
    }
    return told(lock);
}

/* Try, with a look at who is dead where that is in the way. 0: held. 1: not. */
static int try_under_guard(mh_rwlock *lock, uint64_t me, uint32_t kind, batch *list)
{
    MH_ATOMIC(uint32_t) *mine;
    if (!may_go_in(lock, kind)) {
        sweep(lock);
        let_in(lock, list);
    }
    return may_go_in(lock, kind) ? go_in(lock, me, kind, &mine) : 1;
}

static int acquire(mh_rwlock *lock, uint32_t kind, mh_deadline deadline, mh_cancel *cancel)
{
    MH_ATOMIC(uint32_t) *mine = NULL;
    uint64_t me = mh_os_who();
    batch list;
    list.count = 0;
    int in_line = 0;
    enter(lock);
    int rc = again(lock, me, kind);
    if (rc == 1 && deadline <= MH_AT_ONCE) {
        rc = try_under_guard(lock, me, kind, &list);
        rc = rc == 1 ? -ETIMEDOUT : rc;
    } else if (rc == 1 && may_go_in(lock, kind)) {
        rc = go_in(lock, me, kind, &mine);
    } else if (rc == 1) {
        rc = stand_in_line(lock, me, kind, &mine);
        in_line = rc == 0;
    }
    leave_and_wake(lock, &list);
    if (in_line) {
        return wait_in_line(lock, mine, kind, deadline, cancel);
    }
    return rc < 0 ? rc : told(lock);
}

int mh_rwlock_acquire_read(mh_rwlock *lock, mh_deadline deadline, mh_cancel *cancel)
{
    return is_private(lock) ? mh__rw_private_read(lock, deadline, cancel)
                            : acquire(lock, WAIT_READ, deadline, cancel);
}

int mh_rwlock_acquire_write(mh_rwlock *lock, mh_deadline deadline, mh_cancel *cancel)
{
    return is_private(lock) ? mh__rw_private_write(lock, deadline, cancel)
                            : acquire(lock, WAIT_WRITE, deadline, cancel);
}

/* ---- releasing */

static int drop_share(mh_rwlock *lock, uint64_t me)
{
    mh_rw_place *mine = own_place(lock, me, READING);
    if (!mine) {
        return -EPERM;
    }
    if (--mine->depth == 0) {
        mh_store_step(&mine->word, FREE);
        add_to(&lock->readers, -1);
    }
    return 0;
}

int mh_rwlock_try_release_read(mh_rwlock *lock)
{
    batch list;
    list.count = 0;
    if (is_private(lock)) {
        return mh__rw_private_drop_read(lock);
    }
    enter(lock);
    int rc = drop_share(lock, mh_os_who());
    let_in(lock, &list);
    leave_and_wake(lock, &list);
    return rc;
}

/* `died` is written before the place is free: who dies in between still counts as dead while holding. */
static int drop_write(mh_rwlock *lock, uint32_t died)
{
    batch list;
    list.count = 0;
    if (is_private(lock)) {
        return mh__rw_private_drop_write(lock, died);
    }
    uint64_t me = mh_os_who();
    if (mh_load_rlx(&lock->writer) != me) { /* only the caller can make that true or false */
        return -EPERM;
    }
    enter(lock);
    mh_rw_place *mine = own_place(lock, me, WRITING);
    mh_store_rel(&lock->died, died); /* pairs with told() */
    if (mine) {
        mh_store_step(&mine->word, FREE);
    }
    mh_store_step(&lock->writer, 0);
    let_in(lock, &list);
    leave_and_wake(lock, &list);
    return 0;
}

int mh_rwlock_try_release_write(mh_rwlock *lock)
{
    return drop_write(lock, 0);
}

void mh_rwlock_release_read(mh_rwlock *lock)
{
    if (mh_rwlock_try_release_read(lock) < 0) {
        mh_os_panic("mh_rwlock_release_read", lock, "the caller does not hold it for reading");
    }
}

void mh_rwlock_release_write(mh_rwlock *lock)
{
    if (drop_write(lock, 0) < 0) {
        mh_os_panic("mh_rwlock_release_write", lock, "the caller does not hold it for writing");
    }
}

void mh_rwlock_abandon(mh_rwlock *lock)
{
    if (drop_write(lock, 1) < 0) {
        mh_os_panic("mh_rwlock_abandon", lock, "the caller does not hold it for writing");
    }
}

uint32_t mh_rwlock_readers(const mh_rwlock *lock)
{
    mh_rwlock *l = (mh_rwlock *) (uintptr_t) lock;
    return is_private(l) ? (uint32_t) (mh_load_rlx(&l->writer) >> MH__RW_READER_SHIFT)
                         : mh_load_rlx(&l->readers);
}

int mh_rwlock_writer(const mh_rwlock *lock)
{
    uint64_t writer = mh_load_rlx(&((mh_rwlock *) (uintptr_t) lock)->writer);
    return (int) (writer & (MH_OS_KEY_MAX >> 1)); /* without the mark of ids.c; both kinds have it there */
}
