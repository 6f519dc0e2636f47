// A C++ program: the headers are C++, a thread is a struct that holds an mh_thread first, the locks are plain members.
#include <manyhands/manyhands.h>

#include <cstdio>
#include <vector>

namespace {

struct cook {
    mh_thread thread{}; // ours first
    mh_lock *lock = nullptr;
    long *meals = nullptr;
};

int run(mh_thread *self)
{
    auto *me = reinterpret_cast<cook *>(self);
    for (int i = 0; i < 1000; i++) {
        if (mh_lock_acquire(me->lock, mh_in_ms(10000), nullptr) < 0) {
            return 1;
        }
        ++*me->meals;
        mh_lock_release(me->lock);
    }
    return 0;
}

} // namespace

int main()
{
    mh_lock lock{};
    long meals = 0;
    std::vector<cook> cooks(4);
    mh_lock_init(&lock, MH_PRIVATE);
    for (auto &cook : cooks) {
        cook.thread.run = run;
        cook.lock = &lock;
        cook.meals = &meals;
        if (mh_thread_start(&cook.thread) != 0) {
            return 1;
        }
    }
    for (auto &cook : cooks) {
        int code = -1;
        if (mh_thread_join(&cook.thread, mh_in_ms(10000), nullptr) != 0 ||
            mh_thread_exit_code(&cook.thread, &code) != 0 || code != 0) {
            return 1;
        }
    }
    mh_channel *channel = nullptr;
    mh_channel_options options{};
    options.max_items = 4;
    mh_part part{"dish", 4};
    mh_message message{};
    if (mh_channel_create(&options, &channel) != 0 || mh_channel_put(channel, &part, 1, 0, MH_FOREVER, nullptr) != 0 ||
        mh_channel_get(channel, &message, MH_FOREVER, nullptr) != 0 || message.size != 4) {
        return 1;
    }
    mh_message_fini(&message);
    mh_channel_destroy(channel);
    std::printf("%ld meals\n", meals);
    return meals == 4000 ? 0 : 1;
}
