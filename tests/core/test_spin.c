/* What a place learns of spinning: for how long it pays. */
#include "tests/core/harness.h"

#include "core/shm/channel_gate.h"
#include "core/sync/spin.h"

enum { UNIT = MH__SPIN_UNIT_NS, EVERY = MH__SPIN_RETRY_EVERY };

static uint32_t time_of(uint32_t learned)
{
    return mh__spin_time(learned, &mh__spin_lock);
}

/* What is in `place` after a spin that took what the place allows. */
static uint32_t learn(_Atomic(uint32_t) *place, int found)
{
    struct mh__spin spin = {
        .place = place, .learned = *place, .most = MH__SPIN_MOST, .time = time_of(*place)};
    CHECK_EQ(mh__spin_end(&spin, found), found);
    return *place;
}

TEST(a_place_that_knows_nothing_tries_for_some_microseconds)
{
    CHECK_EQ(time_of(0) * UNIT, 4096);
}

TEST(what_was_found_doubles_the_time_up_to_its_limit)
{
    _Atomic(uint32_t) place = 0;
    CHECK_EQ(learn(&place, 1), 8192 / UNIT);
    CHECK_EQ(learn(&place, 1), 16384 / UNIT);
    CHECK_EQ(learn(&place, 1), 16384 / UNIT);
}

TEST(what_was_not_found_halves_it_down_to_nothing)
{
    _Atomic(uint32_t) place = 0;
    uint32_t before = time_of(0);
    for (int i = 1; i < EVERY - 1; i++) {
        uint32_t after = learn(&place, 0);
        CHECK_EQ(after >> 16, i);
        CHECK_EQ(after & 0xffff, before / 2 > 0 ? before / 2 : 1);
        before = after & 0xffff;
    }
    CHECK_EQ(time_of(place), 1);
}

TEST(an_idle_place_tries_again_at_every_32nd_time_and_may_come_back)
{
    _Atomic(uint32_t) place = 1;
    int tried = 0;
    for (int i = 0; i < 3 * EVERY; i++) {
        if (time_of(place) == MH__SPIN_RETRY) {
            CHECK_EQ(i % EVERY, EVERY - 1);
            tried++;
        }
        place = (learn(&place, 0) & 0xffff0000) | 1; /* as if it had been idle for long */
    }
    CHECK_EQ(tried, 3);
    place = (uint32_t) (EVERY - 1) << 16 | 1;
    CHECK_EQ(learn(&place, 1) & 0xffff, 2 * MH__SPIN_RETRY);
    CHECK_EQ(time_of(place), 2 * MH__SPIN_RETRY); /* no shorter try again while it pays */
}

/* 262 us of trying, at ever fewer of the spins that find nothing: in the long run one in a thousand. */
TEST(an_idle_gate_tries_long_and_rarely)
{
    uint32_t tried = 0;
    for (uint32_t failures = 0; failures < 4096; failures++) {
        uint32_t time = mh__spin_time(failures << 16 | 1, &mh__spin_gate);
        CHECK(time == 1 || time == MH__SPIN_RETRY_LONG);
        tried += time != 1;
        CHECK(failures < 1024 || (time != 1) == (failures % 1024 == 0));
    }
    CHECK_EQ(tried, 7); /* at 4, 16, 64, 256, 1024, 2048 and 3072 */
}

TEST(a_long_try_that_found_nothing_leaves_what_was_learned)
{
    _Atomic(uint32_t) place = 4u << 16 | 3;
    struct mh__spin spin = {.place = &place, .learned = place, .most = MH__SPIN_MOST_LONG};
    spin.time = mh__spin_time(place, &mh__spin_gate);
    CHECK_EQ(spin.time, MH__SPIN_RETRY_LONG);
    CHECK_EQ(mh__spin_end(&spin, 0), 0);
    CHECK_EQ(place, 5u << 16 | 3);
    spin.learned = place;
    CHECK_EQ(mh__spin_end(&spin, 1), 1); /* one that did: as long as may be */
    CHECK_EQ(place & 0xffff, MH__SPIN_MOST_LONG);
}

/* Where it never paid, a look at the clock would take longer than the spin. */
TEST(a_place_where_it_does_not_pay_only_counts)
{
    _Atomic(uint32_t) place = 1;
    struct mh__spin spin;
    if (mh_os_cores() < 2) {
        SKIP("one core: nobody spins");
    }
    for (uint32_t failures = 0; failures < EVERY - 1; failures++) {
        CHECK_EQ(place, failures << 16 | 1);
        CHECK_EQ(mh__spin_begin(&spin, &place), 0);
    }
    CHECK_EQ(mh__spin_begin(&spin, &place), 1); /* and then tries again */
}

TEST(a_semaphore_that_pays_is_spun_at_for_longer_than_a_wake_takes)
{
    struct mh__spin spin;
    _Atomic(uint32_t) *place = &mh__tls()->sem_spin;
    for (int i = 0; i < 20; i++) {
        if (!mh__spin_begin_at_sem(&spin)) {
            SKIP("one core: nobody spins");
        }
        CHECK_EQ(mh__spin_end(&spin, 1), 1);
    }
    CHECK_EQ(*place, MH__SPIN_MOST_LONG);
}

/* ---- a gate's first look */

struct looks { /* what the looks at a ring find, one after the other */
    int found[2], next;
};

static int look(void *arg)
{
    struct looks *looks = arg;
    return looks->found[looks->next++];
}

static uint32_t step_after(struct mh__gate *gate, int found)
{
    struct looks looks = {.found = {0, found}};
    int slept = 0;
    CHECK_EQ(mh__gate_wait(gate, MH__SLEEPERS, look, &looks, MH_FOREVER, NULL, 0, &slept), 0);
    CHECK_EQ(slept, 0);
    CHECK_EQ(looks.next, 2);
    return gate->step;
}

TEST(who_finds_one_message_looks_sooner_and_who_finds_more_later)
{
    struct mh__gate gate = {0};
    if (mh_os_cores() < 2) {
        SKIP("one core: nobody spins");
    }
    for (uint32_t step = MH__SPIN_STEP_NS / 2; step >= MH__SPIN_STEP_LEAST_NS; step /= 2) {
        CHECK_EQ(step_after(&gate, MH__READY_FOR_ONE), step);
    }
    CHECK_EQ(step_after(&gate, MH__READY_FOR_ONE), MH__SPIN_STEP_LEAST_NS);
    for (uint32_t step = MH__SPIN_STEP_LEAST_NS * 2; step <= MH__SPIN_STEP_NS; step *= 2) {
        CHECK_EQ(step_after(&gate, MH__READY), step);
    }
    CHECK_EQ(step_after(&gate, MH__READY), MH__SPIN_STEP_NS);
    gate.step = UINT32_MAX; /* by somebody else: as if nothing were known */
    CHECK_EQ(step_after(&gate, MH__READY_FOR_ONE), MH__SPIN_STEP_NS / 2);
}

TEST(a_word_of_another_meaning_is_bounded)
{
    CHECK_EQ(time_of(0xffffffff), MH__SPIN_MOST);
    CHECK_EQ(mh__spin_time(0xffffffff, &mh__spin_line), MH__SPIN_MOST_LONG);
    CHECK_EQ(mh__spin_time(0xffffffff, &mh__spin_gate), MH__SPIN_MOST_LONG);
}

TEST(it_looks_first_at_once_and_last_when_the_time_is_up)
{
    _Atomic(uint32_t) place = 2000 / UNIT;
    struct mh__spin spin;
    if (!mh__spin_begin(&spin, &place)) {
        SKIP("one core: nobody spins");
    }
    int64_t begin = spin.now;
    int looks = 1;
    while (mh__spin_on(&spin)) {
        looks++;
    }
    CHECK(looks == 3 ||
          looks == 2); /* after 0, 800 and 2000 ns; a thread that is not let run looks no more often */
    CHECK(spin.now - begin >= 2000);
    CHECK_EQ(mh__spin_end(&spin, 0), 0);
    CHECK_EQ(place, 0x10000u | 1000 / UNIT);
}
