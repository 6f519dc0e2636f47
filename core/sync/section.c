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
static _Atomic(uint32_t) own_count; /* until there is an arena */
static _Atomic(_Atomic(uint32_t) *) count_at = &own_count;

void mh__section_count_at(_Atomic(uint32_t) *word)
{
    mh_store_rel(&count_at, word != NULL ? word : &own_count); /* pairs with mh__section_in */
}

void mh__section_in(void)
{
    struct mh__tls *tls = mh__tls();
    if (tls->section_depth++ > 0) {
        return;
    }
    tls->section = mh_load_acq(&count_at); /* pairs with mh__section_count_at */
    mh_add_acq_rel(tls->section, 1);
}

void mh__section_out(void)
{
    struct mh__tls *tls = mh__tls();
    if (--tls->section_depth == 0) {
        mh_sub_acq_rel(tls->section, 1);
    }
}
#endif

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
