/* tests/core/crash/crash_lease.c - who has messages in hand, gives back those of the dead, or closes, is killed at every
 * step. Of each message it is known then: it was worked on, or somebody gets it; none that was done comes again.
 *
 * Every scenario runs again and again, each time dying one point later, until it gets through alive.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "core/debug/trace.h"
#include "crash_die.h"
#include "core/os/atomic.h"
#include "manyhands/channel.h"
#include "tests/core/harness.h"

enum { COUNT = 9, MANY = 4 };

struct scene {
    mh_channel *ch;
    unsigned die_at;
    size_t most; /* messages per get; 0: by the single get */
    struct shared {
        uint32_t worked[COUNT]; /* before task_done */
        uint32_t done[COUNT];   /* after it */
    } *shared;
};

/* Points at which somebody was killed, or which a survivor passed; a scenario names those that it must come to. */
static const char *const points[] = {"lease.granted",     "lease.uncounted",
                                     "lease.done",        "lease.advance",
                                     "lease.returned",    "lease.counted",
                                     "lease.recounted",   "lease.thrown",
                                     "lease.drop",        "done.counted",
                                     "ring.drop.counted", "lease.died",
                                     "lease.given_up",    "lease.given_up.uncounted"};
static uint32_t *came_to; /* shared: one bit for each */

static uint32_t bit_of(const char *name)
{
    for (unsigned i = 0; i < sizeof points / sizeof *points; i++) {
        if (strcmp(points[i], name) == 0) {
            return 1u << i;
        }
    }
    return 0;
}

static int passed(const char *name)
{
    return (*came_to & bit_of(name)) != 0;
}

static void kill_self(const char *name, uint64_t number, void *arg)
{
    unsigned *left = arg;

    (void) number;
    if (--*left == 0) {
        *came_to |= bit_of(name);
        crash_die(name);
    }
}

static void only_note(const char *name, uint64_t number, void *arg)
{
    (void) number, (void) arg;
    *came_to |= bit_of(name);
}

static void die_at(unsigned n)
{
    static unsigned left;
    left = n;
    mh__trace_set(n ? kill_self : NULL, &left);
}

static mh_channel *filled(unsigned flags)
{
    mh_channel *ch;
    CHECK_EQ(mh_channel_create(&(mh_channel_options){.flags = flags}, &ch), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK_EQ(mh_channel_put(ch, &(mh_part){&i, sizeof i}, 1, 0, MH_AT_ONCE, NULL), 0);
    }
    return ch;
}

/* Take up to `most` (0: one): their numbers; how many. */
static size_t take(mh_channel *ch, size_t most, uint32_t *numbers)
{
    mh_message message = {0};
    size_t got = 1;
    int rc;

    if (most == 0) {
        rc = mh_channel_get(ch, &message, MH_AT_ONCE, NULL);
    } else {
        rc = mh_channel_get_many(ch, &message, most, MH_AT_ONCE, NULL, &got);
    }
    CHECK(rc == 0 || rc == -ETIMEDOUT || rc == MH_E_CLOSED);
    for (size_t i = 0; rc == 0 && i < got; i++) {
        memcpy(numbers + i, (unsigned char *) message.data + (most ? i * 16 + 8 : 0), sizeof *numbers);
        CHECK(numbers[i] < COUNT);
    }
    mh_message_fini(&message);
    return rc == 0 ? got : 0;
}

static void work(void *arg)
{
    struct scene *scene = arg;
    uint32_t numbers[COUNT];
    size_t got;

    die_at(scene->die_at);
    while ((got = take(scene->ch, scene->most, numbers)) > 0) {
        for (size_t i = 0; i < got; i++) {
            scene->shared->worked[numbers[i]]++;
            mh__trace_point("worked");
            CHECK_EQ(mh_channel_task_done(scene->ch), 0);
            scene->shared->done[numbers[i]]++;
        }
    }
    die_at(0);
}

/* Everything that is left is taken, in order, and done with. Nothing is owed any more then. */
static void finish(struct scene *scene, int may_lose)
{
    mh_channel *ch = scene->ch;
    uint32_t number, seen[COUNT] = {0};
    long last = -1;

    mh__trace_set(only_note, NULL);
    CHECK_EQ(mh_channel_valid(ch), 0);
    while (take(ch, 0, &number) > 0) {
        CHECK_EQ(seen[number]++, 0);
        CHECK(last < (long) number);
        CHECK_EQ(scene->shared->done[number], 0); /* who is done with it has told so: never again */
        last = number;
        CHECK_EQ(mh_channel_task_done(ch), 0);
    }
    mh__trace_set(NULL, NULL);
    for (number = 0; number < COUNT && !may_lose; number++) {
        CHECK(seen[number] || scene->shared->worked[number]);
    }
    CHECK_EQ(mh_channel_join(ch, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_channel_unfinished(ch), 0);
    CHECK_EQ(mh_channel_items(ch), 0);
    CHECK_EQ(mh_channel_bytes(ch), 0);
    CHECK_EQ(mh_channel_lost(ch), 0);
    CHECK_EQ(mh_channel_task_done(ch), -EPERM);
    CHECK_EQ(mh_channel_valid(ch), 0);
}

static void start(struct scene *scene, unsigned flags)
{
    memset(scene->shared, 0, sizeof *scene->shared);
    scene->ch = filled(flags);
}

/* Run `victim` to its end at one point after another. */
static void kill_everywhere(struct scene *scene, void (*victim)(void *), void (*before)(struct scene *),
                            void (*after)(struct scene *), unsigned flags)
{
    int status = -SIGKILL;

    came_to = t_shared(sizeof *came_to);
    scene->shared = t_shared(sizeof *scene->shared);
    for (scene->die_at = 1; status != 0; scene->die_at++) {
        start(scene, flags);
        if (before) {
            before(scene);
        }
        status = t_wait(t_fork(victim, scene), 10);
        CHECK(status == 0 || status == -SIGKILL);
        after(scene);
        mh_channel_destroy(scene->ch);
    }
    CHECK(scene->die_at > 5);
}

static void all_there(struct scene *scene)
{
    finish(scene, 0);
}

TEST_LIMIT(a_consumer_one_at_a_time, 60)
{
    struct scene scene = {.most = 0};
    kill_everywhere(&scene, work, NULL, all_there, MH_CHANNEL_REDELIVER);
    CHECK(passed("lease.granted") && passed("lease.done") && passed("lease.advance"));
}

TEST_LIMIT(a_consumer_several_at_a_time, 60)
{
    struct scene scene = {.most = MANY};
    kill_everywhere(&scene, work, NULL, all_there, MH_CHANNEL_REDELIVER);
    CHECK(passed("lease.granted") && passed("lease.recounted"));
}

/* One dies with several in hand; the next one is killed while it takes them over, and while it works. */
static void die_with_some(void *arg)
{
    struct scene *scene = arg;
    uint32_t numbers[COUNT];

    CHECK_EQ(take(scene->ch, MANY, numbers), MANY);
    scene->shared->worked[1]++; /* out of order: the oldest of the process goes first all the same */
    CHECK_EQ(mh_channel_task_done(scene->ch), 0);
    scene->shared->worked[0]++;
    scene->shared->done[0]++;
}

static void one_has_died(struct scene *scene)
{
    CHECK_EQ(t_wait(t_fork(die_with_some, scene), 10), 0);
}

TEST_LIMIT(the_heir_dies_as_well, 60)
{
    struct scene scene = {.most = 0};
    kill_everywhere(&scene, work, one_has_died, all_there, MH_CHANNEL_REDELIVER);
    scene = (struct scene){.most = MANY};
    kill_everywhere(&scene, work, one_has_died, all_there, MH_CHANNEL_REDELIVER);
    CHECK(passed("lease.returned") && passed("lease.counted") && passed("lease.uncounted"));
}

static void look(void *arg)
{
    struct scene *scene = arg;

    die_at(scene->die_at);
    CHECK_EQ(mh_channel_items(scene->ch), COUNT - 1);
    CHECK_EQ(mh_channel_join(scene->ch, MH_AT_ONCE, NULL), -ETIMEDOUT);
    die_at(0);
}

TEST_LIMIT(who_gives_back_dies, 60)
{
    struct scene scene = {.most = 0};
    kill_everywhere(&scene, look, one_has_died, all_there, MH_CHANNEL_REDELIVER);
    CHECK(passed("lease.returned") && passed("lease.counted"));
}

/* ---- closing, with something in the living's hands and something in the dead's ---------------------------------------- */

static void close_now(void *arg)
{
    struct scene *scene = arg;
    die_at(scene->die_at);
    mh_channel_close(scene->ch, 1);
    die_at(0);
}

static void some_in_hand(struct scene *scene)
{
    uint32_t number;

    one_has_died(scene);
    CHECK_EQ(mh_channel_items(scene->ch), COUNT - 1);
    CHECK_EQ(take(scene->ch, 0, &number), 1); /* what the dead had first comes first */
    CHECK_EQ(number, 1);
}

static void in_hand_then_done(struct scene *scene)
{
    mh_channel *ch = scene->ch;
    int closed = mh_channel_is_closed(ch);

    if (closed) {
        mh_channel_close(ch, 1); /* who would have gone on is dead: again */
        CHECK_EQ(mh_channel_join(ch, MH_AT_ONCE, NULL), -ETIMEDOUT);
        CHECK_EQ(mh_channel_unfinished(ch), 1);
    }
    CHECK_EQ(mh_channel_task_done(ch), 0);
    scene->shared->done[1]++;
    scene->shared->worked[1]++;
    finish(scene, closed);
}

TEST_LIMIT(who_closes_dies, 60)
{
    struct scene scene = {.most = 0};
    kill_everywhere(&scene, close_now, some_in_hand, in_hand_then_done, MH_CHANNEL_REDELIVER);
    CHECK(passed("lease.thrown") && passed("lease.drop"));
}

/* ---- without leases: the count alone ---------------------------------------------------------------------------------- */

static void put_one(void *arg)
{
    struct scene *scene = arg;
    uint32_t number = 0;
    die_at(scene->die_at);
    CHECK_EQ(mh_channel_put(scene->ch, &(mh_part){&number, sizeof number}, 1, 0, MH_AT_ONCE, NULL), 0);
    die_at(0);
}

static void as_many_as_there_are(struct scene *scene)
{
    mh_channel *ch = scene->ch;
    uint32_t number;

    CHECK_EQ(mh_channel_unfinished(ch), mh_channel_items(ch));
    while (take(ch, 0, &number) > 0) {
        CHECK_EQ(mh_channel_join(ch, MH_AT_ONCE, NULL), -ETIMEDOUT);
        CHECK_EQ(mh_channel_task_done(ch), 0);
    }
    CHECK_EQ(mh_channel_join(ch, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_channel_task_done(ch), -EPERM);
}

TEST_LIMIT(a_put_is_counted_with_its_message, 60)
{
    struct scene scene = {.most = 0};
    kill_everywhere(&scene, put_one, NULL, as_many_as_there_are, 0);
    kill_everywhere(&scene, put_one, NULL, as_many_as_there_are, MH_CHANNEL_REDELIVER);
}

static void after_a_close(struct scene *scene)
{
    mh_channel *ch = scene->ch;
    uint32_t left = COUNT;

    if (mh_channel_is_closed(ch)) {
        mh_channel_close(ch, 1);
        left = 2;
    }
    CHECK_EQ(mh_channel_unfinished(ch), left);
    while (left-- > 0) {
        CHECK_EQ(mh_channel_join(ch, MH_AT_ONCE, NULL), -ETIMEDOUT);
        CHECK_EQ(mh_channel_task_done(ch), 0);
    }
    CHECK_EQ(mh_channel_join(ch, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_channel_task_done(ch), -EPERM);
}

static void two_are_taken(struct scene *scene)
{
    uint32_t number;
    CHECK_EQ(take(scene->ch, 0, &number), 1);
    CHECK_EQ(take(scene->ch, 0, &number), 1);
}

TEST_LIMIT(what_a_close_throws_away_is_counted_once, 60)
{
    struct scene scene = {.most = 0};
    kill_everywhere(&scene, close_now, two_are_taken, after_a_close, 0);
    CHECK(passed("ring.drop.counted"));
}

/* ---- a limit of deliveries ------------------------------------------------------------------------------------------- */

static void die_with_one(void *arg)
{
    struct scene *scene = arg;
    uint32_t number;

    CHECK_EQ(take(scene->ch, 0, &number), 1);
    CHECK_EQ(number, 0);
    (void) kill(getpid(), SIGKILL);
}

/* All that is left; the first may be the one that is given up. How often it was. */
static int take_rest(struct scene *scene)
{
    mh_message message = {0};
    int given_up = 0;

    while (mh_channel_get(scene->ch, &message, MH_AT_ONCE, NULL) == 0) {
        uint32_t number;
        memcpy(&number, message.data, sizeof number);
        CHECK(number < 3 && (number == 0) == (message.given_up != 0));
        if (number == 0) {
            CHECK(message.given_up >= 2);
            given_up++;
            scene->shared->done[0]++;
            continue; /* it is done */
        }
        scene->shared->worked[number]++;
        CHECK_EQ(mh_channel_task_done(scene->ch), 0);
        scene->shared->done[number]++;
    }
    mh_message_fini(&message);
    return given_up;
}

static void rest_and_die(void *arg)
{
    struct scene *scene = arg;

    die_at(scene->die_at);
    (void) take_rest(scene);
    die_at(0);
}

TEST_LIMIT(given_up_at_every_point, 120)
{
    struct scene scene = {.die_at = 0};
    const mh_channel_options options = {.flags = MH_CHANNEL_REDELIVER, .deliveries = 2};
    int status = -SIGKILL;

    came_to = t_shared(sizeof *came_to);
    while (status != 0) {
        scene.die_at++;
        scene.shared = t_shared(sizeof *scene.shared);
        CHECK_EQ(mh_channel_create(&options, &scene.ch), 0);
        for (uint32_t i = 0; i < 3; i++) {
            CHECK_EQ(mh_channel_put(scene.ch, &(mh_part){&i, sizeof i}, 1, 0, MH_AT_ONCE, NULL), 0);
        }
        for (int i = 0; i < 2; i++) {
            CHECK_EQ(t_wait(t_fork(die_with_one, &scene), 20), -SIGKILL);
        }
        status = t_wait(t_fork(rest_and_die, &scene), 20);
        CHECK(status == 0 || status == -SIGKILL);
        CHECK_EQ(mh_channel_valid(scene.ch), 0);
        (void) take_rest(&scene);
        CHECK(scene.shared->done[0] <= 1 && (status != 0 || scene.shared->done[0] == 1));
        for (uint32_t i = 1; i < 3; i++) { /* a death between the work and its end brings it again */
            CHECK(scene.shared->worked[i] >= 1 && scene.shared->worked[i] <= 2);
        }
        CHECK_EQ(mh_channel_join(scene.ch, mh_in_ms(5000), NULL), 0);
        CHECK_EQ(mh_channel_unfinished(scene.ch), 0);
        mh_channel_destroy(scene.ch);
    }
    CHECK(passed("lease.died") && passed("lease.given_up") && passed("lease.given_up.uncounted"));
}
