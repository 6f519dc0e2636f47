/* core/sync/section.c - see section.h. */
#include "core/sync/section.h"

#include "core/sync/lock_word.h"

#ifdef MH_SCHED
/* The count is for the world outside of the fake machine. */
void mh__section_in(void)
{
}
void mh__section_out(void)
{
}
#else
static struct mh__inside own; /* until there is an arena */
static _Atomic(struct mh__inside *) inside_at = &own;
static _Atomic(uint32_t) seats_taken; /* bits */

void mh__section_count_at(struct mh__inside *inside)
{
    mh_store_rel(&inside_at, inside != NULL ? inside : &own); /* pairs with mh__section_in */
}

static uint32_t seat_bit(const struct mh__tls *tls)
{
    return tls->seat != 0 && tls->seat < MH__NO_SEAT ? UINT32_C(1) << (tls->seat - 1) : 0;
}

void mh__section_forked(void)
{
    mh__section_count_at(NULL);
    mh_store_rlx(&seats_taken, seat_bit(mh__tls())); /* no other thread is there yet */
}

/* A thread ends. Where it enters a section after that, it asks for a seat again. */
static void give_seat_back(void)
{
    struct mh__tls *tls = mh__tls();
    uint32_t bit = seat_bit(tls);

    tls->seat = 0;
    if (bit != 0) {
        mh_and_acq_rel(&seats_taken, ~bit); /* what it wrote there comes before what the next one does */
    }
}

MH_APART static void take_seat(struct mh__tls *tls)
{
    uint32_t taken = mh_load_rlx(&seats_taken), seat = MH__NO_SEAT;

    for (uint32_t i = 0; i < MH__SEATS && seat == MH__NO_SEAT;) {
        if (taken & UINT32_C(1) << i) {
            i++;
        } else if (mh_cas_acq_rel(&seats_taken, &taken, taken | UINT32_C(1) << i)) {
            seat = i + 1;
        } else {
            i = 0;
        }
    }
    tls->seat = seat;
    if (seat != MH__NO_SEAT && mh_os_thread_call_at_end(MH_OS_END_SEAT, give_seat_back) < 0) {
        give_seat_back(); /* it could never be given back: counted, then */
        tls->seat = MH__NO_SEAT;
    }
}

/* The store comes before the lock is taken, in the order of this thread's own program. That is enough: whoever reads it has
 * stopped the thread by then, and what a stopped thread did stands (docs/design/0003-pausing.md). */
void mh__section_in(void)
{
    struct mh__tls *tls = mh__tls();
    if (tls->section_depth++ > 0) {
        return;
    }
    if (tls->seat == 0) {
        take_seat(tls);
    }
    tls->inside = mh_load_acq(&inside_at); /* pairs with mh__section_count_at */
    if (tls->seat == MH__NO_SEAT) {
        mh_add_acq_rel(&tls->inside->others, 1);
    } else {
        mh_store_rlx(&tls->inside->seat[tls->seat - 1], 1);
    }
    mh_fence_own();
}

void mh__section_out(void)
{
    struct mh__tls *tls = mh__tls();
    if (--tls->section_depth > 0) {
        return;
    }
    mh_fence_own();
    if (tls->seat == MH__NO_SEAT) {
        mh_sub_acq_rel(&tls->inside->others, 1);
    } else {
        mh_store_rlx(&tls->inside->seat[tls->seat - 1], 0);
    }
}
#endif

void mh__section_clear(struct mh__inside *inside)
{
    mh_store_rlx(&inside->others, 0);
    for (int i = 0; i < MH__SEATS; i++) {
        mh_store_rlx(&inside->seat[i], 0);
    }
}

int mh__section_count(const struct mh__inside *inside)
{
    int count = (int) mh_load_acq(&inside->others);
    for (int i = 0; i < MH__SEATS; i++) {
        count += mh_load_acq(&inside->seat[i]);
    }
    return count;
}

/* A private lock is held from nobody outside: a process that is stopped inside blocks itself alone. So its threads need
 * not count, which would send the count's line from core to core with each section. */
static void count_in(const mh_lock *lock)
{
    if (!mh__lock_is_private(lock)) {
        mh__section_in();
    }
}

static void count_out(int is_private)
{
    if (!is_private) {
        mh__section_out();
    }
}

int mh__section_enter(mh_lock *lock)
{
    count_in(lock);
    return mh__lock_enter(lock, MH_FOREVER);
}

int mh__section_enter_by(mh_lock *lock, mh_deadline deadline)
{
    count_in(lock);
    int rc = mh__lock_enter(lock, deadline);
    if (rc < 0) {
        count_out(mh__lock_is_private(lock));
    }
    return rc;
}

void mh__section_leave(mh_lock *lock)
{
    int is_private = mh__lock_is_private(lock); /* once it is free, the next owner may free its memory */
    mh_lock_release(lock);
    count_out(is_private);
}
