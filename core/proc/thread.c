/* core/proc/thread.c - threads with verbs. How one is asked to park or to end is core/sync/control.h's;
 * here is its life.
 *
 * Who may touch what: `control`, `life`, `tid` and `joined` are atomic. `code` and `cpu` are written by the
 * thread before it is FINISHED and read after that. `system` and `pid` are written by the starter before
 * `life` says so. After FINISHED the thread touches the struct no more, and after pthread_join() it is
 * gone: then the joiner may free it.
 */
#include "manyhands/thread.h"

#include <errno.h>

#include "core/os/atomic.h"
#include "core/os/os.h"
#include "core/proc/thread.h"
#include "core/sync/control.h"
#include "core/sync/wait.h"

/* life: NEW -> STARTING -> STARTED, STARTING -> NEW where the start failed; NEW -> ADOPTED. STARTING -> AWAITED -> STARTED
 * where the thread itself waits for the starter to let go of the struct. */
enum { LIFE_NEW, LIFE_STARTING, LIFE_AWAITED, LIFE_STARTED, LIFE_ADOPTED };
/* joined: NOT_YET -> JOINING -> GONE. One joins it in the system, the others wait for that one. NOT_YET -> DETACHED. */
enum { NOT_YET, JOINING, GONE, DETACHED };
/* fate: the thread touches the struct no more / nobody will join it. Whoever sets the second releases it. */
#define FATE_ENDED 1u
#define FATE_DETACHED 2u
/* tid: 0 -> id, or 0 -> ID_AWAITED -> id. */
#define ID_AWAITED UINT32_MAX
/* cpu: only the system knows, and only while the thread is there */
#define NOT_KEPT (-1)

struct own {
    struct mh__control control;
    _Atomic(uint32_t) life;
    _Atomic(uint32_t) tid;
    _Atomic(uint32_t) joined;
    _Atomic(uint32_t) fate;
    int code;
    int pid; /* the process that it lives in */
    int64_t cpu;
    struct mh_os_thread system;
    mh_thread *thread;
};

_Static_assert(sizeof(struct own) <= sizeof((mh_thread *) 0)->opaque, "grow mh_thread.opaque");

static struct own *own(const mh_thread *thread)
{
    return (struct own *) (uintptr_t) thread->opaque;
}

static int is_self(const struct own *t)
{
    return mh__control_self() == &t->control;
}

/* 0; MH_E_STATE: not started; MH_E_LOST: of the process that forked this one. */
static int check(const struct own *t)
{
    if (is_self(t)) {
        return 0;
    }
    if (mh_load_acq(&t->life) < LIFE_STARTED) { /* pairs with start and adopt */
        return MH_E_STATE;
    }
    return t->pid == mh_os_pid() ? 0 : MH_E_LOST;
}

static int is_finished(const struct own *t)
{
    return (mh_load_acq(&t->control.word) & MH__FINISHED) != 0; /* pairs with mh__control_finish */
}

/* ---- fork ---- */

/* Only the calling thread is left, and nobody who could resume it. */
static void forget_requests(void)
{
    struct mh__control *control = mh__control_self();
    if (control != NULL) {
        struct own *t = (struct own *) control; /* its first member */
        mh_store_rlx(&control->word, 0);
        mh_store_rlx(&t->tid, (uint32_t) mh_os_tid());
        t->pid = mh_os_pid();
    }
}

/* Two at once may both register it, which does no harm. */
static int watch_forks(void)
{
    static _Atomic(int) done;
    if (mh_load_acq(&done)) { /* pairs with the store */
        return 0;
    }
    int rc = mh_os_at_fork(NULL, NULL, forget_requests);
    if (rc == 0) {
        mh_store_rel(&done, 1);
    }
    return rc;
}

/* ---- life ---- */

static void enter(struct own *t)
{
    uint32_t id = (uint32_t) mh_os_tid();
    mh__control_attach(&t->control);
    if (mh_xchg_acq_rel(&t->tid, id) == ID_AWAITED) { /* pairs with mh_thread_id */
        mh_wake(&t->tid, INT32_MAX, MH_PRIVATE);
    }
}

static void leave(struct own *t)
{
    t->cpu = mh_os_thread_cpu();
    mh__control_attach(NULL);
    mh__control_finish(&t->control);
}

static void set_fate(mh_thread *thread, struct own *t, uint32_t mine)
{
    uint32_t both = FATE_ENDED | FATE_DETACHED;
    void (*release)(mh_thread *self) = thread->release;
    /* acq_rel: whoever comes second sees all that the first did, and may free it */
    if ((mh_or_acq_rel(&t->fate, mine) | mine) == both && release != NULL) {
        release(thread);
    }
}

static void end_started(void *argument)
{
    struct own *t = argument;
    mh__run_cleanups();
    leave(t);
    set_fate(t->thread, t, FATE_ENDED); /* last: the struct may be gone after this */
}

static void live(void *argument)
{
    struct own *t = argument;
    if (t->thread->name != NULL) {
        mh_os_thread_name(t->thread->name);
    }
    enter(t);
    t->code = t->thread->run(t->thread);
}

static int begin(mh_thread *thread, struct own *t)
{
    uint32_t fresh = LIFE_NEW;
    if (!mh_cas_acq(&t->life, &fresh, LIFE_STARTING)) {
        return MH_E_STATE;
    }
    t->thread = thread;
    t->pid = mh_os_pid();
    t->code = -ECANCELED; /* what it ends with by pthread_exit() */
    return watch_forks();
}

int mh_thread_start(mh_thread *thread)
{
    struct own *t = own(thread);
    if (thread->run == NULL || (thread->flags & ~MH_QUIET) != 0) {
        return -EINVAL;
    }
    int rc = begin(thread, t);
    if (rc == MH_E_STATE) {
        return rc;
    }
    if (rc == 0) {
        t->system = (struct mh_os_thread){.run = live, .end = end_started, .argument = t};
        rc = mh_os_thread_start(&t->system, thread->stack_size, (thread->flags & MH_QUIET) != 0);
    }
    /* pairs with check(); the struct may be gone after it */
    if (mh_xchg_acq_rel(&t->life, rc == 0 ? LIFE_STARTED : LIFE_NEW) == LIFE_AWAITED) {
        mh_wake(&t->life, INT32_MAX, MH_PRIVATE);
    }
    return rc;
}

int mh_thread_adopt(mh_thread *thread)
{
    struct own *t = own(thread);
    if (mh__control_self() != NULL) {
        return MH_E_STATE;
    }
    int rc = begin(thread, t);
    if (rc == MH_E_STATE) {
        return rc;
    }
    if (rc == 0) {
        t->code = 0;
        enter(t);
    }
    mh_store_rel(&t->life, rc == 0 ? LIFE_ADOPTED : LIFE_NEW); /* pairs with check() */
    return rc;
}

static struct own *own_adopted(mh_thread *thread, const char *function)
{
    struct own *t = own(thread);
    if (!is_self(t) || mh_load_acq(&t->life) != LIFE_ADOPTED) {
        mh_os_panic(function, thread, "not the calling thread, or not an adopted one");
    }
    return t;
}

void mh_thread_disown(mh_thread *thread)
{
    leave(own_adopted(thread, "mh_thread_disown"));
}

/* The wake is by address alone: the struct may be gone by then, and where something else lies there a sleeper of that
 * wakes for nothing, which every sleeper here bears. */
void mh__tell_the_end(void)
{
    struct mh__tls *tls = mh__tls();
    if (tls->ended != NULL) {
        mh_os_futex_wake(tls->ended, INT32_MAX, 0);
        tls->ended = NULL;
    }
}

void mh_thread_disown_at_end(mh_thread *thread)
{
    struct own *t = own_adopted(thread, "mh_thread_disown_at_end");
    _Atomic(uint32_t) *word = &t->control.word;
    t->cpu = NOT_KEPT;
    mh__control_attach(NULL);
    mh__tell_the_end();                           /* of an earlier one */
    if (mh__control_mark_finished(&t->control)) { /* last: see FINISHED above */
        mh__tls()->ended = word;
        if (mh_os_thread_call_at_end(MH_OS_END_CLEANUPS, mh__run_cleanups) < 0) {
            mh__tell_the_end();
        }
    }
}

/* ---- join ---- */

/* It is over; wait until it is gone, which takes as long as its thread-specific destructors. */
static void bury(struct own *t)
{
    uint32_t joined = NOT_YET;
    if (mh_cas_acq(&t->joined, &joined, JOINING)) {
        mh_os_thread_join(&t->system);
        mh_store_rel(&t->joined, GONE); /* pairs with the load below */
        mh_wake(&t->joined, INT32_MAX, MH_PRIVATE);
        return;
    }
    while (mh_load_acq(&t->joined) == JOINING) {
        (void) mh__wait(&t->joined, JOINING, MH_FOREVER, NULL, MH_PRIVATE | MH__SECTION);
    }
}

int mh_thread_join(mh_thread *thread, mh_deadline deadline, mh_cancel *cancel)
{
    struct own *t = own(thread);
    int rc = check(t);
    if (rc < 0) {
        return rc;
    }
    if (is_self(t)) {
        return -EDEADLK;
    }
    if (mh_load_acq(&t->joined) == DETACHED) { /* nothing to pair with: a wrong use, told where it is seen */
        return MH_E_STATE;
    }
    rc = mh__control_await_finish(&t->control, deadline, cancel);
    if (rc == 0 && mh_load_acq(&t->life) == LIFE_STARTED) {
        bury(t);
    }
    return rc;
}

/* For the thread itself: its starter has stored all that it stores. */
static void await_starter(struct own *t)
{
    for (;;) {
        uint32_t life = mh_load_acq(&t->life); /* pairs with start */
        if (life >= LIFE_STARTED) {
            return;
        }
        if (life == LIFE_AWAITED || mh_cas_acq_rel(&t->life, &life, LIFE_AWAITED)) {
            (void) mh__wait(&t->life, LIFE_AWAITED, MH_FOREVER, NULL, MH_PRIVATE | MH__SECTION);
        }
    }
}

int mh_thread_detach(mh_thread *thread)
{
    struct own *t = own(thread);
    uint32_t joined = NOT_YET;
    if (is_self(t)) {
        await_starter(t);
    }
    int rc = check(t);
    if (rc < 0) {
        return rc;
    }
    if (mh_load_acq(&t->life) != LIFE_STARTED || !mh_cas_acq(&t->joined, &joined, DETACHED)) {
        return MH_E_STATE;
    }
    mh_os_thread_detach(&t->system);
    set_fate(thread, t, FATE_DETACHED);
    return 0;
}

/* ---- pause, resume, terminate ---- */

static int pause_self(struct own *t)
{
    if (t->control.hold > 0) {
        (void) mh__control_pause(&t->control);
        return -ETIMEDOUT;
    }
    if (t->control.shield > 0) {
        return MH_E_STATE;
    }
    (void) mh__control_pause(&t->control); /* refused where it is to end, which the checkpoint tells */
    return mh__control_checkpoint();
}

int mh_thread_pause(mh_thread *thread, mh_deadline deadline, mh_cancel *cancel)
{
    struct own *t = own(thread);
    if (check(t) < 0) {
        return MH_E_STATE;
    }
    if (is_self(t)) {
        return pause_self(t);
    }
    int rc = mh__control_pause(&t->control);
    return rc < 0 ? rc : mh__control_await_pause(&t->control, deadline, cancel);
}

int mh_thread_await_pause(mh_thread *thread, mh_deadline deadline, mh_cancel *cancel)
{
    struct own *t = own(thread);
    if (check(t) < 0 || is_self(t)) {
        return MH_E_STATE;
    }
    return mh__control_await_pause(&t->control, deadline, cancel);
}

int mh_thread_resume(mh_thread *thread)
{
    struct own *t = own(thread);
    return check(t) < 0 ? MH_E_STATE : mh__control_resume(&t->control);
}

int mh_thread_terminate(mh_thread *thread)
{
    struct own *t = own(thread);
    int rc = check(t);
    if (rc == MH_E_LOST) {
        return 0;
    }
    return rc < 0 ? rc : mh__control_terminate(&t->control);
}

/* ---- what it is ---- */

enum mh_state mh_thread_state(const mh_thread *thread)
{
    struct own *t = own(thread);
    int rc = check(t);
    if (rc < 0) {
        return rc == MH_E_LOST ? MH_FINISHED : MH_NEW;
    }
    uint32_t word = mh_load_acq(&t->control.word); /* pairs with whoever changed it */
    if (word & MH__FINISHED) {
        return MH_FINISHED;
    }
    if (word & MH__TERMINATE) {
        return MH_TERMINATING;
    }
    if (word & MH__PAUSE) {
        return word & (MH__PARKED | MH__IN_WAIT) ? MH_PAUSED : MH_PAUSING;
    }
    return MH_RUNNING;
}

int mh_thread_exit_code(const mh_thread *thread, int *code)
{
    struct own *t = own(thread);
    int rc = check(t);
    if (rc < 0) {
        return rc;
    }
    if (!is_finished(t)) {
        return MH_E_STATE;
    }
    *code = t->code;
    return 0;
}

int mh_thread_cpu_time(const mh_thread *thread, int64_t *ns)
{
    struct own *t = own(thread);
    int64_t used = 0;
    int rc = check(t);
    if (rc < 0) {
        return rc;
    }
    if (!is_finished(t) || t->cpu == NOT_KEPT) {
        rc = mh_os_thread_cpu_of(t->pid, mh_thread_id(thread), &used);
    }
    if (is_finished(t) && t->cpu != NOT_KEPT) { /* by now: its id may be another's */
        used = t->cpu;
        rc = 0;
    }
    if (rc == 0) {
        *ns = used;
    }
    return rc;
}

int mh_thread_id(const mh_thread *thread)
{
    struct own *t = own(thread);
    if (!is_self(t) && mh_load_acq(&t->life) < LIFE_STARTED) {
        return 0;
    }
    for (;;) {
        uint32_t id = mh_load_acq(&t->tid); /* pairs with enter() */
        if (id != 0 && id != ID_AWAITED) {
            return (int) id;
        }
        if (id == ID_AWAITED || mh_cas_acq_rel(&t->tid, &id, ID_AWAITED)) {
            (void) mh__wait(&t->tid, ID_AWAITED, MH_FOREVER, NULL, MH_PRIVATE | MH__SECTION);
        }
    }
}

int64_t mh_thread_own_cpu_time(void)
{
    return mh_os_thread_cpu();
}

mh_thread *mh_thread_self(void)
{
    struct own *t = (struct own *) mh__control_self();
    return t != NULL ? t->thread : NULL;
}

/* ---- the thread's own side ---- */

int mh_checkpoint(void)
{
    struct mh__control *control = mh__control_self();
    if (control == NULL || !(mh_load_rlx(&control->word) & (MH__PAUSE | MH__TERMINATE))) {
        return 0;
    }
    return mh__control_checkpoint(); /* acquires, and looks at the shield */
}

void mh_shield_enter(void)
{
    mh__control_shield(1);
}

void mh_shield_leave(void)
{
    mh__control_shield(0);
}

void mh_hold_enter(void)
{
    mh__control_hold(1);
}

void mh_hold_leave(void)
{
    mh__control_hold(0);
}
