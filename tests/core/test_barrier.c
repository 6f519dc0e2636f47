/* Barrier: against pthread's, indices, the action, breaking, and death. */
#include "tests/core/harness.h"

#include <manyhands/barrier.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "core/os/os.h"
#include "core/os/tls.h"

#define PARTIES 4
#define ROUNDS 200

/* ---- one body, two implementations */

struct meeting {
    mh_barrier barrier;
    pthread_barrier_t theirs;
    int use_theirs;
    _Atomic(int) arrived[ROUNDS], last[ROUNDS], index_sum;
    _Atomic(int) actions;
    int rc[64];
    _Atomic(int) next;
    volatile pid_t acting;
};

/* 1 for exactly one of the parties. */
static int meet(struct meeting *m)
{
    uint32_t index = 99;
    if (m->use_theirs) {
        return pthread_barrier_wait(&m->theirs) == PTHREAD_BARRIER_SERIAL_THREAD;
    }
    CHECK_EQ(mh_barrier_wait(&m->barrier, NULL, NULL, MH_FOREVER, NULL, &index), 0);
    CHECK(index < PARTIES);
    m->index_sum += (int) index;
    return index == PARTIES - 1;
}

static void attend(void *arg)
{
    struct meeting *m = arg;
    for (int i = 0; i < ROUNDS; i++) {
        m->arrived[i]++;
        m->last[i] += meet(m);
        CHECK_EQ(m->arrived[i], PARTIES); /* nobody goes on before all are here */
    }
}

static void run_meetings(unsigned flags, int processes, int use_theirs)
{
    struct meeting *m = t_shared(sizeof *m);
    pthread_t thread[PARTIES];
    pid_t child[PARTIES];
    m->use_theirs = use_theirs;
    pthread_barrier_init(&m->theirs, NULL, PARTIES);
    CHECK_EQ(mh_barrier_init(&m->barrier, PARTIES, flags), 0);
    for (int i = 0; i < PARTIES; i++) {
        if (processes) {
            child[i] = t_fork(attend, m);
        } else {
            thread[i] = t_thread(attend, m);
        }
    }
    for (int i = 0; i < PARTIES; i++) {
        if (processes) {
            CHECK_EQ(t_wait(child[i], 10 * t_scale()), 0);
        } else {
            t_join(thread[i], 10 * t_scale());
        }
    }
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_EQ(m->last[i], 1);
    }
    if (!use_theirs) {
        CHECK_EQ(m->index_sum, ROUNDS * (PARTIES - 1) * PARTIES / 2);
    }
    CHECK_EQ(mh_barrier_waiting(&m->barrier), 0);
}

TEST(meetings_pthread)
{
    run_meetings(0, 0, 1);
}

TEST(meetings_private)
{
    run_meetings(MH_PRIVATE, 0, 0);
}

TEST(meetings_shared_threads)
{
    run_meetings(0, 0, 0);
}

TEST(meetings_shared_processes)
{
    run_meetings(0, 1, 0);
}

/* ---- where the parties run */

struct place { /* of a meeting of two */
    mh_barrier *barrier;
    int core;
    uint32_t spins;
    int on_one_core;
};

static void meet_there(void *arg)
{
    struct place *place = arg;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned) place->core, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    for (int i = 0; i < ROUNDS; i++) {
        CHECK_EQ(mh_barrier_wait(place->barrier, NULL, NULL, MH_FOREVER, NULL, NULL), 0);
        if (i == 0) {
            place->spins = mh__tls()->barrier_spin;
        }
    }
    place->spins = mh__tls()->barrier_spin - place->spins;
    place->on_one_core = mh__tls()->meets_on_one_core;
}

/* Two that meet ROUNDS times, each on its core. */
static void meet_on(int first, int second, struct place place[2])
{
    mh_barrier barrier;
    pthread_t thread[2];
    CHECK_EQ(mh_barrier_init(&barrier, 2, MH_PRIVATE), 0);
    for (int i = 0; i < 2; i++) {
        place[i] = (struct place){.barrier = &barrier, .core = i == 0 ? first : second};
        thread[i] = t_thread(meet_there, &place[i]);
    }
    for (int i = 0; i < 2; i++) {
        t_join(thread[i], 10 * t_scale());
    }
}

static int nth_core(int n)
{
    cpu_set_t allowed;
    CHECK_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    for (int core = 0; core < CPU_SETSIZE; core++) {
        if (CPU_ISSET((unsigned) core, &allowed) && n-- == 0) {
            return core;
        }
    }
    return -1;
}

/* Who waits on the core that the other one needs would wait in vain: it sleeps at once. */
TEST(parties_on_one_core_do_not_spin)
{
    struct place place[2];
    meet_on(nth_core(0), nth_core(0), place);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(place[i].on_one_core, 1);
        CHECK_EQ(place[i].spins, 0); /* nothing was learned since the first meeting */
    }
}

TEST(parties_on_two_cores_do)
{
    struct place place[2];
    if (mh_os_cores() < 2 || nth_core(1) < 0) {
        SKIP("one core: nobody spins");
    }
    meet_on(nth_core(0), nth_core(1), place);
    CHECK_EQ(place[0].on_one_core, 0);
    CHECK_EQ(place[1].on_one_core, 0);
    CHECK(place[0].spins != 0 || place[1].spins != 0);
}

/* ---- small ones */

static int count_action(void *arg)
{
    struct meeting *m = arg;
    return ++m->actions > 2 ? -EIO : 5;
}

TEST(one_party)
{
    for (unsigned flags = 0; flags <= MH_PRIVATE; flags += MH_PRIVATE) {
        struct meeting *m = t_shared(sizeof *m);
        uint32_t index = 7;
        CHECK_EQ(mh_barrier_wait(&m->barrier, NULL, NULL, MH_AT_ONCE, NULL, NULL),
                 -EINVAL); /* never initialised */
        CHECK_EQ(mh_barrier_init(&m->barrier, 0, flags), -EINVAL);
        CHECK_EQ(mh_barrier_init(&m->barrier, 1, flags), 0);
        CHECK_EQ(mh_barrier_wait(&m->barrier, count_action, m, MH_AT_ONCE, NULL, &index), 0);
        CHECK_EQ(index, 0);
        CHECK_EQ(mh_barrier_wait(&m->barrier, count_action, m, MH_AT_ONCE, NULL, NULL), 0);
        CHECK_EQ(mh_barrier_wait(&m->barrier, count_action, m, MH_AT_ONCE, NULL, &index), -EIO);
        CHECK(mh_barrier_is_broken(&m->barrier));
        CHECK_EQ(mh_barrier_wait(&m->barrier, count_action, m, MH_AT_ONCE, NULL, &index), MH_E_BROKEN);
        CHECK_EQ(m->actions, 3);
        mh_barrier_reset(&m->barrier);
        CHECK(!mh_barrier_is_broken(&m->barrier));
        CHECK_EQ(mh_barrier_wait(&m->barrier, NULL, NULL, MH_AT_ONCE, NULL, NULL), 0);
    }
}

static void attend_once(void *arg)
{
    struct meeting *m = arg;
    int me = m->next++;
    m->rc[me] = mh_barrier_wait(&m->barrier, NULL, NULL, MH_FOREVER, NULL, NULL);
}

/* `others` wait in threads; then `end` is done to them; each gets `rc`. */
static void check_broken(unsigned flags, void (*end)(struct meeting *), int rc)
{
    struct meeting *m = t_shared(sizeof *m);
    pthread_t thread[2];
    CHECK_EQ(mh_barrier_init(&m->barrier, 3, flags), 0);
    for (int i = 0; i < 2; i++) {
        thread[i] = t_thread(attend_once, m);
    }
    CHECK_EVENTUALLY(mh_barrier_waiting(&m->barrier) == 2);
    end(m);
    for (int i = 0; i < 2; i++) {
        t_join(thread[i], 5 * t_scale());
    }
    for (int i = 0; i < 2; i++) { /* in the order of arrival, which is not that of the threads */
        CHECK_EQ(m->rc[i], rc);
    }
    CHECK_EQ(mh_barrier_waiting(&m->barrier), 0);
    mh_barrier_reset(&m->barrier);
    for (int i = 0; i < 2; i++) { /* and it serves again */
        thread[i] = t_thread(attend_once, m);
    }
    CHECK_EQ(mh_barrier_wait(&m->barrier, NULL, NULL, mh_in_ms(5000), NULL, NULL), 0);
    for (int i = 0; i < 2; i++) {
        t_join(thread[i], 5 * t_scale());
    }
}

static void end_by_abort(struct meeting *m)
{
    mh_barrier_abort(&m->barrier);
    CHECK(mh_barrier_is_broken(&m->barrier));
    CHECK_EQ(mh_barrier_wait(&m->barrier, NULL, NULL, MH_FOREVER, NULL, NULL), MH_E_BROKEN);
}

static void end_by_reset(struct meeting *m)
{
    mh_barrier_reset(&m->barrier);
    CHECK(!mh_barrier_is_broken(&m->barrier));
}

static int fail(void *arg)
{
    (void) arg;
    return -EIO;
}

static void end_by_action(struct meeting *m)
{
    CHECK_EQ(mh_barrier_wait(&m->barrier, fail, NULL, MH_FOREVER, NULL, NULL), -EIO);
    CHECK(mh_barrier_is_broken(&m->barrier));
}

static int never(void *arg)
{
    (void) arg;
    FAIL("the action of a meeting that was not complete");
    return 0;
}

static void end_by_other_time_out(struct meeting *m)
{
    mh_barrier_reset(&m->barrier);
    CHECK_EQ(mh_barrier_wait(&m->barrier, never, NULL, mh_in_ms(5), NULL, NULL), -ETIMEDOUT);
    CHECK(mh_barrier_is_broken(&m->barrier));
}

TEST(breaking)
{
    for (unsigned flags = 0; flags <= MH_PRIVATE; flags += MH_PRIVATE) {
        check_broken(flags, end_by_abort, MH_E_BROKEN);
        check_broken(flags, end_by_reset, MH_E_BROKEN);
        check_broken(flags, end_by_action, MH_E_BROKEN);
        check_broken(flags, end_by_other_time_out, MH_E_BROKEN);
    }
}

TEST(cancel_breaks_it)
{
    for (unsigned flags = 0; flags <= MH_PRIVATE; flags += MH_PRIVATE) {
        struct meeting *m = t_shared(sizeof *m);
        mh_cancel cancel;
        mh_cancel_init(&cancel, flags);
        mh_cancel_request(&cancel);
        CHECK_EQ(mh_barrier_init(&m->barrier, 2, flags), 0);
        CHECK_EQ(mh_barrier_wait(&m->barrier, NULL, NULL, MH_FOREVER, &cancel, NULL), -ECANCELED);
        CHECK(mh_barrier_is_broken(&m->barrier));
    }
}

/* More parties than places in the struct. */
static void attend_large(void *arg)
{
    CHECK_EQ(mh_barrier_wait(arg, NULL, NULL, MH_FOREVER, NULL, NULL), 0);
}

TEST(twenty_parties)
{
    pthread_t thread[20];
    CHECK_EQ(mh_barrier_size(MH_BARRIER_PLACES), sizeof(mh_barrier));
    CHECK_EQ(mh_barrier_size(20), sizeof(mh_barrier) + (20 - MH_BARRIER_PLACES) * sizeof(mh_barrier_place));
    mh_barrier *large = t_shared(mh_barrier_size(20));
    CHECK_EQ(mh_barrier_init(large, 20, 0), 0);
    for (int i = 0; i < 19; i++) {
        thread[i] = t_thread(attend_large, large);
    }
    CHECK_EVENTUALLY(mh_barrier_waiting(large) == 19);
    CHECK_EQ(mh_barrier_wait(large, NULL, NULL, mh_in_ms(5000), NULL, NULL), 0);
    for (int i = 0; i < 19; i++) {
        t_join(thread[i], 5 * t_scale());
    }
}

/* ---- death */

static void attend_and_pass(void *arg)
{
    struct meeting *m = arg;
    CHECK_EQ(mh_barrier_wait(&m->barrier, NULL, NULL, MH_FOREVER, NULL, NULL), MH_E_BROKEN);
}

TEST(a_dead_party_breaks_it_for_who_waits)
{
    struct meeting *m = t_shared(sizeof *m);
    CHECK_EQ(mh_barrier_init(&m->barrier, 3, 0), 0);
    pid_t dead = t_fork(attend_once, m);
    CHECK_EVENTUALLY(mh_barrier_waiting(&m->barrier) == 1);
    pid_t child = t_fork(attend_and_pass, m);
    CHECK_EVENTUALLY(mh_barrier_waiting(&m->barrier) == 2);
    t_kill(dead);
    CHECK_EQ(t_wait(child, 5 * t_scale()), 0);
    CHECK(mh_barrier_is_broken(&m->barrier));
}

TEST(nobody_meets_the_dead)
{
    struct meeting *m = t_shared(sizeof *m);
    CHECK_EQ(mh_barrier_init(&m->barrier, 2, 0), 0);
    pid_t dead = t_fork(attend_once, m);
    CHECK_EVENTUALLY(mh_barrier_waiting(&m->barrier) == 1);
    t_kill(dead);
    CHECK_EQ(mh_barrier_wait(&m->barrier, never, NULL, mh_in_ms(5000), NULL, NULL), MH_E_BROKEN);
}

static int act_for_ever(void *arg)
{
    struct meeting *m = arg;
    m->acting = getpid();
    while (m->acting) {
        pause();
    }
    return 0;
}

static void attend_and_act(void *arg)
{
    struct meeting *m = arg;
    (void) mh_barrier_wait(&m->barrier, act_for_ever, m, MH_FOREVER, NULL, NULL);
}

TEST(death_in_the_action_breaks_it)
{
    struct meeting *m = t_shared(sizeof *m);
    CHECK_EQ(mh_barrier_init(&m->barrier, 2, 0), 0);
    pid_t child = t_fork(attend_and_pass, m);
    CHECK_EVENTUALLY(mh_barrier_waiting(&m->barrier) == 1);
    pid_t dead = t_fork(attend_and_act, m);
    CHECK_EVENTUALLY(m->acting == dead);
    t_kill(dead);
    CHECK_EQ(t_wait(child, 5 * t_scale()), 0);
}

/* Parties killed at any point: what remains is whole after a reset. */
struct storm {
    mh_barrier barrier;
    volatile int stop;
    volatile long rounds;
};

static void storm_work(void *arg)
{
    struct storm *s = arg;
    while (!s->stop) {
        int rc = mh_barrier_wait(&s->barrier, NULL, NULL, mh_in_ms(2000), NULL, NULL);
        CHECK(rc == 0 || rc == MH_E_BROKEN || rc == -ETIMEDOUT);
        if (rc < 0 && mh_barrier_is_broken(&s->barrier) && !s->stop) {
            mh_barrier_reset(&s->barrier);
        }
        s->rounds++;
    }
}

TEST_LIMIT(kill_storm, 60)
{
    struct storm *s = t_shared(sizeof *s);
    pid_t child[3];
    unsigned seed = 4711;
    CHECK_EQ(mh_barrier_init(&s->barrier, 2, 0), 0);
    for (int i = 0; i < 3; i++) {
        child[i] = t_fork(storm_work, s);
    }
    for (int round = 0; round < t_rounds(40); round++) {
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
    mh_barrier_abort(&s->barrier);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(t_wait(child[i], 10 * t_scale()), 0);
    }
}
