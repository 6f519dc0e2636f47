/* tests/core/stress/stress_sync.c - 2 to 8 threads at each primitive of core/sync, in a plain build and under sanitizers.
 * T_STRESS=n runs n times as long.
 *
 * Each body counts what went wrong, and runs twice: on the primitive, where it must find nothing, and on one that fails
 * at every SEVENTH call, where it must find something. What a broken one lets race is atomic, so that TSan speaks of the
 * right one only; the right one also guards plain memory.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "core/os/atomic.h"
#include "manyhands/barrier.h"
#include "manyhands/cond.h"
#include "manyhands/event.h"
#include "manyhands/lock.h"
#include "manyhands/rwlock.h"
#include "manyhands/sem.h"
#include "tests/core/harness.h"

#define MOST 8
#define SEVENTH 7
#define EVENTS 200

static int rounds(void)
{
    const char *text = getenv("T_STRESS");
    return EVENTS * (text != NULL && atoi(text) > 0 ? atoi(text) : 1);
}

/* All that a body shares between its threads. */
struct scene {
    void (*body)(struct scene *scene, int me);
    int threads, rounds, broken;
    MH_ATOMIC(uint32_t) calls, faults, inside, writers, turn;
    MH_ATOMIC(uint32_t) came[MOST];
    long plain; /* guarded by the primitive, where that is whole */
    t_barrier_t *start;
    mh_lock lock;
    mh_rlock rlock;
    mh_rwlock rwlock;
    mh_sem sem;
    mh_cond cond[MOST];
    mh_event event[EVENTS];
    mh_barrier barrier;
};

struct role {
    struct scene *scene;
    int me;
};

static void play(void *arg)
{
    struct role *role = arg;
    t_meet(role->scene->start);
    role->scene->body(role->scene, role->me);
}

static void fault_if(struct scene *s, int condition)
{
    if (condition) {
        mh_add_rlx(&s->faults, 1);
    }
}

/* Does the broken one fail at this call? */
static int fails(struct scene *s)
{
    return s->broken && mh_add_rlx(&s->calls, 1) % SEVENTH == SEVENTH - 1;
}

/* Ends a wait whose wake-up was lost. */
static mh_deadline limit(struct scene *s)
{
    return mh_in_ms(s->broken ? 300 : 60000 * t_scale());
}

static uint32_t run(struct scene *s, int threads, int broken, void (*body)(struct scene *, int))
{
    struct role role[MOST];
    pthread_t thread[MOST];

    memset(s, 0, sizeof *s);
    s->body = body;
    s->threads = threads;
    s->rounds = rounds();
    s->broken = broken;
    s->start = t_barrier((unsigned) threads);
    mh_lock_init(&s->lock, MH_PRIVATE);
    mh_rlock_init(&s->rlock, MH_PRIVATE);
    CHECK_EQ(mh_rwlock_init(&s->rwlock, 0, MH_PRIVATE), 0);
    CHECK_EQ(mh_sem_init(&s->sem, (uint32_t) threads / 2, 0, MH_PRIVATE), 0);
    CHECK_EQ(mh_barrier_init(&s->barrier, (uint32_t) threads, MH_PRIVATE), 0);
    for (int i = 0; i < MOST; i++) {
        mh_cond_init(&s->cond[i], 0, MH_PRIVATE);
    }
    for (int i = 0; i < EVENTS; i++) {
        mh_event_init(&s->event[i], MH_PRIVATE);
    }
    for (int i = 0; i < threads; i++) {
        role[i] = (struct role){s, i};
        thread[i] = t_thread(play, &role[i]);
    }
    for (int i = 0; i < threads; i++) {
        t_join(thread[i], 120 * t_scale());
    }
    return mh_load_rlx(&s->faults);
}

/* With 2, 4 and 8 threads: right where it is whole, seen where it is broken. */
static void check_both(void (*body)(struct scene *, int), long plain_each)
{
    static struct scene scene;
    for (int threads = 2; threads <= MOST; threads *= 2) {
        CHECK_EQ(run(&scene, threads, 0, body), 0);
        if (plain_each) {
            CHECK_EQ(scene.plain, plain_each * threads * scene.rounds);
        }
        CHECK(run(&scene, threads, 1, body) > 0);
    }
}

/* Let others run: while a fault is in the making, long enough for them to meet it. */
static void give_way(struct scene *s)
{
    if (s->broken) {
        t_nap(0.0001);
    } else {
        sched_yield();
    }
}

/* Alone in a critical section, which gives way now and then. */
static void alone(struct scene *s, int round)
{
    fault_if(s, mh_add_rlx(&s->inside, 1) != 0);
    if (!s->broken) {
        s->plain++;
    }
    if (s->broken || round % 8 == 0) {
        give_way(s);
    }
    mh_sub_rlx(&s->inside, 1);
}

static void in_turn(struct scene *s, int me)
{
    (void) me;
    for (int i = 0; i < s->rounds; i++) {
        int held = !fails(s);                                         /* broken: goes in without it */
        if (held && mh_lock_acquire(&s->lock, limit(s), NULL) != 0) { /* a busy machine: the limit passed */
            fault_if(s, 1);
            held = 0;
        }
        alone(s, i);
        if (held) {
            mh_lock_release(&s->lock);
        }
    }
}

TEST_LIMIT(lock, 300)
{
    check_both(in_turn, 1);
}

static void twice_in_turn(struct scene *s, int me)
{
    (void) me;
    for (int i = 0; i < s->rounds; i++) {
        int early = fails(s); /* broken: free after the first release */
        fault_if(s, mh_rlock_acquire(&s->rlock, limit(s), NULL) != 0 ||
                        mh_rlock_acquire(&s->rlock, limit(s), NULL) != 0);
        mh_rlock_release(&s->rlock);
        if (early) {
            mh_rlock_release(&s->rlock);
        }
        alone(s, i);
        if (!early) {
            mh_rlock_release(&s->rlock);
        }
    }
}

TEST_LIMIT(rlock, 300)
{
    check_both(twice_in_turn, 1);
}

static void read_or_write(struct scene *s, int me)
{
    for (int i = 0; i < s->rounds; i++) {
        int held = !fails(s);
        if ((i + me) % 4) {
            fault_if(s, held && mh_rwlock_acquire_read(&s->rwlock, limit(s), NULL) != 0);
            mh_add_rlx(&s->inside, 1);
            fault_if(s, mh_load_rlx(&s->writers) != 0);
            give_way(s);
            fault_if(s, !s->broken && s->plain < 0);
            mh_sub_rlx(&s->inside, 1);
        } else {
            fault_if(s, held && mh_rwlock_acquire_write(&s->rwlock, limit(s), NULL) != 0);
            fault_if(s, mh_add_rlx(&s->writers, 1) != 0 || mh_load_rlx(&s->inside) != 0);
            give_way(s);
            if (!s->broken) {
                s->plain++;
            }
            mh_sub_rlx(&s->writers, 1);
        }
        if (held && (i + me) % 4) {
            mh_rwlock_release_read(&s->rwlock);
        } else if (held) {
            mh_rwlock_release_write(&s->rwlock);
        }
    }
}

TEST_LIMIT(rwlock, 300)
{
    check_both(read_or_write, 0);
}

static void with_permit(struct scene *s, int me)
{
    (void) me;
    for (int i = 0; i < s->rounds; i++) {
        fault_if(s, mh_sem_acquire(&s->sem, limit(s), NULL) != 0);
        fault_if(s, mh_add_rlx(&s->inside, 1) >= (uint32_t) s->threads / 2);
        give_way(s);
        mh_sub_rlx(&s->inside, 1);
        mh_sem_post(&s->sem, 1u + (uint32_t) fails(s)); /* broken: a permit too many */
    }
}

TEST_LIMIT(sem, 300)
{
    check_both(with_permit, 0);
}

/* A token goes round; each wakes the next alone. */
static void pass_on(struct scene *s, int me)
{
    for (int i = 0; i < s->rounds; i++) {
        int rc = 0;
        CHECK_EQ(mh_lock_acquire(&s->lock, MH_FOREVER, NULL), 0);
        while (mh_load_rlx(&s->turn) != (uint32_t) me && rc == 0) {
            rc = mh_cond_wait(&s->cond[me], &s->lock, limit(s), NULL);
        }
        uint32_t next = (uint32_t) (me + 1) % (uint32_t) s->threads;
        s->plain += !s->broken;
        mh_store_rlx(&s->turn, next);
        if (!fails(s)) { /* broken: the notify is lost */
            mh_cond_notify(&s->cond[next], 1);
        }
        mh_lock_release(&s->lock);
        if (rc != 0) {
            fault_if(s, 1);
            return; /* the others come to their limits, too */
        }
    }
}

TEST_LIMIT(cond, 300)
{
    check_both(pass_on, 1);
}

static void set_and_wait(struct scene *s, int me)
{
    for (int i = 0; i < EVENTS; i++) {
        if (me != 0) {
            mh_store_rlx(&s->came[me], (uint32_t) i + 1);
            int rc = mh_event_wait(&s->event[i], limit(s), NULL);
            fault_if(s, rc != 0 || (!s->broken && s->plain <= i));
            if (rc != 0) {
                return;
            }
            continue;
        }
        /* while they come: some wait, some are on their way */
        while (!s->broken && mh_load_rlx(&s->came[1 + i % (s->threads - 1)]) <= (uint32_t) i) {
            sched_yield();
        }
        if (!fails(s)) { /* broken: the set is lost */
            mh_event_set(&s->event[i]);
        }
    }
}

static void all_set(struct scene *s, int me)
{
    if (me == 0) {
        s->plain = EVENTS; /* written before every set, read after every wait */
    }
    set_and_wait(s, me);
}

TEST_LIMIT(event, 300)
{
    check_both(all_set, 0);
}

static void meet(struct scene *s, int me)
{
    for (int i = 0; i < s->rounds; i++) {
        uint32_t index;
        mh_store_rlx(&s->came[me], (uint32_t) i + 1);
        if (!fails(s)) { /* broken: does not wait */
            int rc = mh_barrier_wait(&s->barrier, NULL, NULL, limit(s), NULL, &index);
            fault_if(s, rc != 0);
            if (rc != 0) {
                return;
            }
        }
        for (int other = 0; other < s->threads; other++) {
            fault_if(s, mh_load_rlx(&s->came[other]) <= (uint32_t) i);
        }
    }
}

TEST_LIMIT(barrier, 300)
{
    check_both(meet, 0);
}
