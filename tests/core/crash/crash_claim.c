/* tests/core/crash/crash_claim.c - a consumer that claims what it takes is killed at every trace point of a get and
 * between gets. Of every message somebody can then say: it is in the channel, it was done, or the dead had it in
 * hand. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "core/debug/trace.h"
#include "crash_die.h"
#include "core/os/atomic.h"
#include "manyhands/channel.h"
#include "tests/core/harness.h"

enum { COUNT = 9 };

struct scene {
    mh_channel *ch;
    unsigned die_at;
    size_t most; /* messages per get */
    struct shared {
        MH_ATOMIC(uint64_t) claim;
        uint32_t done[COUNT];
    } *shared;
};

static void kill_self(const char *name, uint64_t number, void *arg)
{
    unsigned *left = arg;
    (void) name, (void) number;
    if (--*left == 0) {
        crash_die(name);
    }
}

/* Each message is the number of its put. The claim is taken back once all of a get are done. */
static void work(void *arg)
{
    struct scene *scene = arg;
    mh_message message = {0};
    size_t got;
    unsigned left = scene->die_at;

    mh_channel_set_claim(scene->ch, &scene->shared->claim);
    mh__trace_set(kill_self, &left);
    while (mh_channel_get_many(scene->ch, &message, scene->most, MH_AT_ONCE, NULL, &got) == 0) {
        uint64_t claim = mh_load_rlx(&scene->shared->claim);
        CHECK_EQ(claim >> 32, got);
        for (size_t i = 0; i < got; i++) {
            uint32_t number;
            memcpy(&number, (unsigned char *) message.data + i * 16 + 8, sizeof number);
            CHECK_EQ(number, (uint32_t) claim + i);
            mh__trace_point("before the work");
            scene->shared->done[number]++;
            mh__trace_point("after the work");
        }
        mh_store_rel(&scene->shared->claim, 0);
    }
    mh__trace_set(NULL, NULL);
    mh_message_fini(&message);
}

static mh_channel *filled(void)
{
    mh_channel *ch;
    CHECK_EQ(mh_channel_create(&(mh_channel_options){0}, &ch), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK_EQ(mh_channel_put(ch, &(mh_part){&i, sizeof i}, 1, 0, MH_AT_ONCE, NULL), 0);
    }
    return ch;
}

/* How many messages the dead had in hand. */
static uint32_t judge(const struct scene *scene)
{
    uint32_t taken = mh_channel_taken(scene->ch), in_hand = 0;
    uint64_t claim = mh_load_acq(&scene->shared->claim);

    CHECK_EQ(taken + mh_channel_items(scene->ch), COUNT);
    for (uint32_t number = 0; number < COUNT; number++) {
        int claimed = number - (uint32_t) claim < (uint32_t) (claim >> 32);
        if (number >= taken) {
            CHECK_EQ(scene->shared->done[number], 0); /* in the channel, claimed or not */
        } else if (claimed) {
            in_hand++; /* done or not: the dead knew */
        } else {
            CHECK_EQ(scene->shared->done[number], 1);
        }
    }
    return in_hand;
}

static void kill_everywhere(size_t most)
{
    struct scene scene = {.most = most, .shared = t_shared(sizeof *scene.shared)};
    unsigned with_some = 0, not_carried_out = 0;
    int status = -SIGKILL;

    for (scene.die_at = 1; status != 0; scene.die_at++) {
        memset(scene.shared, 0, sizeof *scene.shared);
        scene.ch = filled();
        status = t_wait(t_fork(work, &scene), 10);
        CHECK(status == 0 || status == -SIGKILL);
        uint32_t in_hand = judge(&scene);
        CHECK(in_hand <= most);
        with_some += in_hand > 0;
        not_carried_out += in_hand == 0 && mh_load_rlx(&scene.shared->claim) != 0;
        mh_channel_destroy(scene.ch);
    }
    CHECK(scene.die_at > 5 * COUNT / most);
    CHECK(with_some > 0);
    CHECK(not_carried_out > 0);
}

TEST_LIMIT(one_at_a_time, 60)
{
    kill_everywhere(1);
}

TEST_LIMIT(several_at_a_time, 60)
{
    kill_everywhere(4);
}

TEST(no_claim_no_word)
{
    struct scene scene = {.most = 1, .shared = t_shared(sizeof *scene.shared)};
    mh_message message = {0};

    scene.ch = filled();
    mh_channel_set_claim(scene.ch, &scene.shared->claim);
    CHECK_EQ(mh_channel_get(scene.ch, &message, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_load_rlx(&scene.shared->claim), UINT64_C(1) << 32);
    mh_channel_set_claim(scene.ch, NULL);
    CHECK_EQ(mh_channel_get(scene.ch, &message, MH_AT_ONCE, NULL), 0);
    CHECK_EQ(mh_load_rlx(&scene.shared->claim), UINT64_C(1) << 32);
    CHECK_EQ(mh_channel_taken(scene.ch), 2);
    mh_message_fini(&message);
    mh_channel_destroy(scene.ch);
}
