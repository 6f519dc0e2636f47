/* What a place learns of spinning: for how long it pays. */
#include "tests/core/harness.h"

#include "core/sync/spin.h"

enum { UNIT = MH__SPIN_UNIT_NS, EVERY = MH__SPIN_RETRY_EVERY };

static uint32_t time_of(uint32_t learned)
{
    return mh__spin_time(learned, MH__SPIN_MOST, MH__SPIN_RETRY);
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

TEST(a_word_of_another_meaning_is_bounded)
{
    CHECK_EQ(time_of(0xffffffff), MH__SPIN_MOST);
    CHECK_EQ(mh__spin_time(0xffffffff, MH__SPIN_MOST_IN_LINE, MH__SPIN_MOST_IN_LINE), MH__SPIN_MOST_IN_LINE);
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
