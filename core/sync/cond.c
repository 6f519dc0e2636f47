/* Condition: a line of waiters under a guard; docs/design/0007-condition.md.
 *
 * Private: the line is a list of tickets on the waiters' stacks. Shared: places in the object, the line is
 * their `order` numbers. No links between places: each one is right by itself, so whatever point a process
 * dies at there is nothing to relink, only counts to take anew.
 *
 * A waiter's word (in its ticket, or in its place):
 *   value       meaning                        may be forgotten where
 *   FREE     0  nobody's                       (shared) never: else the place is lost while its owner lives
 *   WAITING  1  in line; futex sleeps here     -
 *   NOTIFIED 2  out of line, has a wake        the futex wake, where the notifier dies: slices find it
 * Transitions:
 *   FREE -> WAITING       prepare, under the guard; owner and order are written before
 *   WAITING -> NOTIFIED   notify and pass_on, under the guard
 *   WAITING -> FREE       its own waiter that gives up, or a sweep that found its owner dead; under the guard
 *   NOTIFIED -> FREE      its own waiter (finish), without the guard; under it pass_on, its owner being dead
 *
 * `waiters` counts the words that are WAITING, and is never less than those whose owner lives: it goes up
 * before the word is written and down after. notify may therefore trust a zero that it reads without the
 * guard.
 *
 * `passing` makes the hand-over of a wake one step for those who come after: from | to << 16 (each index +
 * 1) is written first, so that a repair can complete it; otherwise the death of the one who passes it on
 * could lose the wake or give it twice.
 */
#include "control.h"
#include "core/os/os.h"
#include "section.h"
#include "wait.h"

#include <manyhands/cond.h>

#include <errno.h>
#include <string.h>

enum { FREE, WAITING, NOTIFIED };

#define BATCH 16 /* words woken in one go after the guard is left */
#define PLACES_MAX 0xfffeu

_Static_assert(sizeof(mh_cond_node) == 16, "part of the shared layout");
_Static_assert(sizeof(mh_cond) % sizeof(mh_cond_node) == 0, "places go on behind the struct");
_Static_assert(offsetof(mh_cond, node) + sizeof(mh_cond_node) * MH_COND_NODES == sizeof(mh_cond), "no gap");

static int is_private(const mh_cond *cond)
{
    return (cond->flags & MH_PRIVATE) != 0;
}

static mh_cond_node *place(mh_cond *cond, uint32_t index)
{
    return (mh_cond_node *) (void *) ((char *) cond + offsetof(mh_cond, node)) + index;
}

static uint32_t places(const mh_cond *cond)
{
    return MH_COND_NODES + cond->extra;
}

size_t mh_cond_size(uint32_t waiters)
{
    uint32_t extra = waiters > MH_COND_NODES ? waiters - MH_COND_NODES : 0;
    return sizeof(mh_cond) + extra * sizeof(mh_cond_node);
}

void mh_cond_init(mh_cond *cond, uint32_t waiters, unsigned flags)
{
    int alone = (flags & MH_PRIVATE) != 0;
    if (!alone && waiters > PLACES_MAX) {
        mh_os_panic("mh_cond_init", cond, "more waiters than a condition can have");
    }
    memset(cond, 0, alone ? sizeof *cond : mh_cond_size(waiters));
    mh_lock_init(&cond->guard, flags & MH_PRIVATE);
    cond->flags = flags & MH_PRIVATE;
    cond->extra = !alone && waiters > MH_COND_NODES ? waiters - MH_COND_NODES : 0;
}

/* ---- the guard */

static void set_waiters(mh_cond *cond, uint32_t count)
{
    mh_store_rel(&cond->waiters, count); /* pairs with the load in mh_cond_notify */
}

static void add_waiters(mh_cond *cond, int by)
{
    set_waiters(cond, mh_load_rlx(&cond->waiters) + (uint32_t) by);
}

static void finish_passing(mh_cond *cond);

/* Its last holder died somewhere between two steps: complete a hand-over, and count anew. */
static void repair(mh_cond *cond)
{
    uint32_t count = 0;
    if (mh_load_rlx(&cond->passing)) {
        finish_passing(cond);
    }
    for (uint32_t i = 0; i < mh_load_rlx(&cond->used); i++) {
        count += mh_load_rlx(&place(cond, i)->word) == WAITING;
    }
    set_waiters(cond, count);
}

/* Private, and under the guard. In a forked child the others of the line are gone, and their stacks are used anew. */
static void forget_parents(mh_cond *cond)
{
    uint32_t forks = mh_os_forks();
    if (cond->forks != forks) {
        cond->forks = forks;
        cond->first = cond->last = NULL;
        set_waiters(cond, 0);
    }
}

static void enter(mh_cond *cond)
{
    if (mh__section_enter(&cond->guard) == MH_OWNER_DIED) {
        repair(cond);
    }
    if (is_private(cond)) {
        forget_parents(cond);
    }
}

static void leave(mh_cond *cond)
{
    mh__section_leave(&cond->guard);
}

/* Words to wake once the guard is left. A private one may lie on a stack that is gone by then: the kernel
 * only compares the address, and whoever sleeps there now looks again, as after any spurious wake. */
typedef struct batch {
    MH_ATOMIC(uint32_t) *word[BATCH];
    uint32_t count;
} batch;

static void leave_and_wake(mh_cond *cond, const batch *list)
{
    leave(cond);
    for (uint32_t i = 0; i < list->count; i++) {
        mh_wake(list->word[i], 1, cond->flags);
    }
}

/* ---- private: tickets on stacks */

static void append(mh_cond *cond, mh_cond_ticket *ticket)
{
    mh_cond_ticket *last = cond->last;
    ticket->next = NULL;
    ticket->previous = last;
    if (last) {
        last->next = ticket;
    } else {
        cond->first = ticket;
    }
    cond->last = ticket;
}

static void remove_ticket(mh_cond *cond, mh_cond_ticket *ticket)
{
    if (ticket->previous) {
        ticket->previous->next = ticket->next;
    } else {
        cond->first = ticket->next;
    }
    if (ticket->next) {
        ticket->next->previous = ticket->previous;
    } else {
        cond->last = ticket->previous;
    }
}

static MH_ATOMIC(uint32_t) *first_ticket(mh_cond *cond)
{
    mh_cond_ticket *ticket = cond->first;
    if (!ticket) {
        return NULL;
    }
    remove_ticket(cond, ticket);
    return &ticket->word;
}

/* ---- shared: places in the object */

/* Numbers are compared around their wrap: right as long as nobody is overtaken by two thousand million
 * others. */
static int comes_before(uint32_t a, uint32_t b)
{
    return (int32_t) (a - b) < 0;
}

static uint32_t order_of(mh_cond *cond, uint32_t i)
{
    return mh_load_rlx(&place(cond, i)->order);
}

/* The place of the waiter who came first, UINT32_MAX where nobody waits. */
static uint32_t first_place(mh_cond *cond)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < mh_load_rlx(&cond->used); i++) {
        if (mh_load_rlx(&place(cond, i)->word) != WAITING) {
            continue;
        }
        if (best == UINT32_MAX || comes_before(order_of(cond, i), order_of(cond, best))) {
            best = i;
        }
    }
    return best;
}

/* `before`: if this waiter dies, the wake may go to those who came before that number, who were in line at
 * the notify. It is written last, since it takes the place of the waiter's own number. */
static void give_wake(mh_cond *cond, uint32_t to, uint32_t before)
{
    mh_store_rel(&place(cond, to)->word, NOTIFIED); /* pairs with the load in mh_cond_await */
    mh_store_rel(&place(cond, to)->order, before);
}

/* Also by a repair: each step is right again when it was done before. */
static void finish_passing(mh_cond *cond)
{
    uint32_t passing = mh_load_rlx(&cond->passing), from = (passing & 0xffff) - 1, to = (passing >> 16) - 1;
    if (mh_load_rlx(&place(cond, to)->word) == WAITING) {
        mh_store_rel(&place(cond, to)->word, NOTIFIED); /* pairs with the load in mh_cond_await */
        add_waiters(cond, -1);
    }
    mh_store_rel(&place(cond, to)->order, order_of(cond, from));
    mh_store_rel(&place(cond, from)->word, FREE);
    mh_store_rel(&cond->passing, 0);
}

/* Under the guard: the owner of this notified place is dead, so its wake is the next one's. */
static void pass_on(mh_cond *cond, uint32_t from, batch *list)
{
    uint32_t to = first_place(cond);
    if (to == UINT32_MAX || !comes_before(order_of(cond, to), order_of(cond, from))) {
        mh_store_step(&place(cond, from)->word, FREE);
        return;
    }
    mh_store_rlx(&cond->passing, (from + 1) | (to + 1)
                                                  << 16); /* before the release stores of finish_passing */
    finish_passing(cond);
    if (list->count < BATCH) {
        list->word[list->count++] = &place(cond, to)->word; /* else it finds out by its slice */
    }
}

static int is_dead(mh_cond *cond, uint32_t i)
{
    return !mh_os_alive(mh_load_rlx(&place(cond, i)->owner));
}

/* Under the guard: give back the places of the dead, and pass their wakes on. Those who wait first, so that
 * no wake is passed to one of them. */
static void sweep(mh_cond *cond, batch *list)
{
    for (uint32_t i = 0; i < mh_load_rlx(&cond->used); i++) {
        if (mh_load_rlx(&place(cond, i)->word) == WAITING && is_dead(cond, i)) {
            mh_store_rlx(&place(cond, i)->word, FREE);
            add_waiters(cond, -1);
        }
    }
    for (uint32_t i = 0; i < mh_load_rlx(&cond->used); i++) {
        if (mh_load_rlx(&place(cond, i)->word) == NOTIFIED && is_dead(cond, i) &&
            mh_load_acq(&place(cond, i)->word) == NOTIFIED) { /* it did not finish before it died */
            pass_on(cond, i, list);
        }
    }
}

/* After a slice of a shared wait: is a wake stuck with somebody dead? */
static void look_after(mh_cond *cond)
{
    batch list;
    list.count = 0;
    for (uint32_t i = 0; i < mh_load_acq(&cond->used); i++) {
        if (mh_load_acq(&place(cond, i)->word) != NOTIFIED || !is_dead(cond, i)) {
            continue;
        }
        enter(cond);
        sweep(cond, &list);
        leave_and_wake(cond, &list);
        return;
    }
}

static uint32_t free_place(mh_cond *cond)
{
    uint32_t used = mh_load_rlx(&cond->used);
    for (uint32_t i = 0; i < used; i++) {
        if (mh_load_acq(&place(cond, i)->word) == FREE) { /* pairs with the store in mh_cond_finish */
            return i;
        }
    }
    return used < places(cond) ? used : UINT32_MAX;
}

static int take_place(mh_cond *cond, mh_cond_ticket *ticket, batch *list)
{
    uint32_t i = free_place(cond);
    if (i == UINT32_MAX) {
        sweep(cond, list);
        i = free_place(cond);
    }
    if (i == UINT32_MAX) {
        return MH_E_TOO_MANY;
    }
    mh_cond_node *mine = place(cond, i);
    ticket->node = i;
    mh_store_rlx(&mine->order, cond->order++);
    mh_store_rlx(&mine->owner, mh_os_self());
    add_waiters(cond, 1);
    if (i == mh_load_rlx(&cond->used)) {
        mh_store_rel(&cond->used, i + 1); /* pairs with the load in look_after */
    }
    mh_store_rel(&mine->word, WAITING);
    return 0;
}

/* ---- waiting */

static MH_ATOMIC(uint32_t) *word_of(mh_cond *cond, mh_cond_ticket *ticket)
{
    return is_private(cond) ? &ticket->word : &place(cond, ticket->node)->word;
}

int mh_cond_prepare(mh_cond *cond, mh_cond_ticket *ticket)
{
    batch list;
    list.count = 0;
    int rc = 0;
    enter(cond);
    if (is_private(cond)) {
        mh_store_rlx(&ticket->word, WAITING);
        ticket->node = (uint32_t) cond->forks;
        append(cond, ticket);
        add_waiters(cond, 1);
    } else {
        rc = take_place(cond, ticket, &list);
    }
    leave_and_wake(cond, &list);
    return rc;
}

/* Under the guard: a private ticket of a thread that forked while it waited, in a signal handler, is in no line now. */
static int is_of_parent(const mh_cond *cond, const mh_cond_ticket *ticket)
{
    return is_private(cond) && ticket->node != (uint32_t) cond->forks;
}

/* Out of the line. 1: a notify was there first, and the wake is the caller's. */
static int give_up(mh_cond *cond, mh_cond_ticket *ticket)
{
    enter(cond);
    int notified = mh_load_acq(word_of(cond, ticket)) == NOTIFIED;
    if (!notified && !is_of_parent(cond, ticket)) {
        if (is_private(cond)) {
            remove_ticket(cond, ticket);
        } else {
            mh_store_rlx(word_of(cond, ticket), FREE);
        }
        add_waiters(cond, -1);
    }
    leave(cond);
    return notified;
}

int mh_cond_await(mh_cond *cond, mh_cond_ticket *ticket, mh_deadline deadline, mh_cancel *cancel)
{
    MH_ATOMIC(uint32_t) *word = word_of(cond, ticket);
    while (mh_load_acq(word) == WAITING) { /* pairs with the stores of NOTIFIED */
        int rc = mh__wait(word, WAITING, deadline, cancel, cond->flags);
        if (rc < 0) {
            return give_up(cond, ticket) ? 0 : rc;
        }
        if (rc == MH__SLICE) {
            look_after(cond);
        }
    }
    return 0;
}

void mh_cond_finish(mh_cond *cond, mh_cond_ticket *ticket)
{
    if (!is_private(cond)) {
        mh_store_rel(word_of(cond, ticket), FREE); /* pairs with the load in free_place */
    }
}

int mh_cond_commit(mh_cond *cond, mh_cond_ticket *ticket, mh_deadline deadline, mh_cancel *cancel)
{
    int rc = mh_cond_await(cond, ticket, deadline, cancel);
    if (rc == 0) {
        mh_cond_finish(cond, ticket);
    }
    return rc;
}

void mh_cond_forget(mh_cond *cond, mh_cond_ticket *ticket)
{
    if (!give_up(cond, ticket)) {
        return;
    }
    /* before finish: if we die in between, the wake is given twice rather than lost */
    mh_cond_notify(cond, 1);
    mh_cond_finish(cond, ticket);
}

/* Taking the lock again is not part of the wait: neither a signal, a cancel nor a request to end keeps the
 * caller from it. */
static int take_again(mh_lock *lock)
{
    int rc;
    mh__control_shield(1);
    do {
        rc = mh_lock_acquire(lock, MH_FOREVER, NULL);
    } while (rc < 0);
    mh__control_shield(0);
    return rc;
}

static int take_again_rlock(mh_rlock *lock, uint32_t depth)
{
    int rc;
    mh__control_shield(1);
    do {
        rc = mh_rlock_acquire_depth(lock, depth, MH_FOREVER, NULL);
    } while (rc < 0);
    mh__control_shield(0);
    return rc;
}

int mh_cond_wait(mh_cond *cond, mh_lock *lock, mh_deadline deadline, mh_cancel *cancel)
{
    mh_cond_ticket ticket = {.next = NULL};
    int rc = mh_cond_prepare(cond, &ticket);
    if (rc < 0) {
        return rc;
    }
    mh_lock_release(lock);
    rc = mh_cond_await(cond, &ticket, deadline, cancel);
    int held = take_again(lock);
    if (rc == 0) {
        mh_cond_finish(cond, &ticket);
    }
    return held == MH_OWNER_DIED ? held : rc;
}

int mh_cond_wait_rlock(mh_cond *cond, mh_rlock *lock, mh_deadline deadline, mh_cancel *cancel)
{
    mh_cond_ticket ticket = {.next = NULL};
    uint32_t depth;
    if (!mh_rlock_is_owned(lock)) {
        return -EPERM;
    }
    int rc = mh_cond_prepare(cond, &ticket);
    if (rc < 0) {
        return rc;
    }
    mh_rlock_release_all(lock, &depth);
    rc = mh_cond_await(cond, &ticket, deadline, cancel);
    int held = take_again_rlock(lock, depth);
    if (rc == 0) {
        mh_cond_finish(cond, &ticket);
    }
    return held == MH_OWNER_DIED ? held : rc;
}

/* ---- notifying */

/* Under the guard: take the first in line out of it, and give it its wake. NULL where nobody is left. */
static MH_ATOMIC(uint32_t) *notify_first(mh_cond *cond)
{
    MH_ATOMIC(uint32_t) *word = NULL;
    if (is_private(cond)) {
        word = first_ticket(cond);
        if (word) {
            /* pairs with the load in mh_cond_await; the ticket may be gone from here on */
            mh_store_rel(word, NOTIFIED);
        }
    } else {
        uint32_t i = first_place(cond);
        if (i != UINT32_MAX) {
            give_wake(cond, i, cond->order);
            word = &place(cond, i)->word;
        }
    }
    if (word) {
        add_waiters(cond, -1);
    }
    return word;
}

void mh_cond_notify(mh_cond *cond, uint32_t count)
{
    uint32_t waiting = mh_load_acq(&cond->waiters);
    if (count > waiting) {
        count = waiting;
    }
    while (count) {
        batch list;
        list.count = 0;
        enter(cond);
        while (count && list.count < BATCH) {
            MH_ATOMIC(uint32_t) *word = notify_first(cond);
            if (!word) {
                count = 0;
                break;
            }
            list.word[list.count++] = word;
            count--;
        }
        leave_and_wake(cond, &list);
    }
}

MH_ATOMIC(uint32_t) *mh_cond_notify_later(mh_cond *cond)
{
    MH_ATOMIC(uint32_t) *word = NULL;
    if (mh_load_acq(&cond->waiters) != 0) {
        enter(cond);
        word = notify_first(cond);
        leave(cond);
    }
    return word;
}

void mh_cond_notify_all(mh_cond *cond)
{
    mh_cond_notify(cond, UINT32_MAX);
}

uint32_t mh_cond_waiting(const mh_cond *cond)
{
    return mh_load_rlx(&((mh_cond *) (uintptr_t) cond)->waiters);
}
