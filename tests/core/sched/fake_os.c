/* core/os on the fake machine. */
#include "core/os/os.h"
#include "machine.h"

#include <errno.h>

/* Index of the word that was woken, or the error. */
static int slept(void)
{
    int outcome = machine_self()->outcome;
    return outcome == OUTCOME_SIGNAL ? -EINTR : outcome == OUTCOME_TIMEOUT ? -ETIMEDOUT : outcome;
}

int mh_os_futex_wait(_Atomic(uint32_t) *word, uint32_t expected, int64_t deadline, int shared)
{
    (void) shared;
    machine_yield(word, "futex wait");
    if (atomic_load(word) != expected) {
        return -EAGAIN;
    }
    if (deadline <= machine_self()->now) {
        return -ETIMEDOUT;
    }
    machine_sleep((const void *[]){word}, 1, deadline);
    return slept();
}

int mh_os_has_wait_any(void)
{
    return !(scenario->flags & SCHED_NO_WAITV);
}

int mh_os_futex_wait_any(const struct mh_os_futex *futexes, int count, int64_t deadline)
{
    const void *words[SLEEP_WORDS] = {0};
    if (!mh_os_has_wait_any()) {
        return -ENOSYS;
    }
    machine_yield(futexes[0].word, "futex wait any");
    for (int i = 0; i < count; i++) {
        if (atomic_load(futexes[i].word) != futexes[i].expected) {
            return -EAGAIN;
        }
        words[i] = futexes[i].word;
    }
    if (deadline <= machine_self()->now) {
        return -ETIMEDOUT;
    }
    machine_sleep(words, count, deadline);
    return slept();
}

void mh_os_futex_wake(_Atomic(uint32_t) *word, int count, int shared)
{
    (void) shared;
    if (scenario->flags & SCHED_DROP_WAKES) {
        return;
    }
    actor *a = machine_self();
    a->wake = word;
    a->wake_count = count;
    machine_yield(word, "futex wake");
    machine_wake(a);
    a->wake = NULL;
    a->wake_count = a->pick = 0;
}

struct mh__tls *mh__tls(void)
{
    return &machine_self()->tls;
}

/* Every sliced wait asks for the time before it plans its slice: here it forgets that slices double, since the clock
 * stands still and each length would make a state of its own. */
int64_t mh_os_now(void)
{
    machine_self()->tls.slice_word = NULL;
    return machine_self()->now;
}

void mh_os_pause(void)
{
    machine_yield(NULL, "pause");
}

int mh_os_cores(void)
{
    return 1; /* nobody spins */
}

int mh_os_core(void)
{
    return 0;
}

int mh_os_pid(void)
{
    return 100 + (scenario->flags & SCHED_PROCESSES ? machine_index() : 0);
}

int mh_os_tid(void)
{
    return scenario->flags & SCHED_PROCESSES ? mh_os_pid() : 200 + machine_index();
}

uint64_t mh_os_start_time(int pid)
{
    return (uint64_t) pid * 7;
}

uint64_t sched_who(int thread)
{
    uint64_t pid = 100 + (scenario->flags & SCHED_PROCESSES ? (uint64_t) thread : 0);
    return pid | (pid * 7) << 32;
}

uint64_t mh_os_self(void)
{
    return sched_who(machine_index());
}

int mh_os_alive(uint64_t who)
{
    machine_yield(NULL, "alive?");
    for (int i = 0; i < m.count; i++) {
        if (m.actor[i].status != DEAD && sched_who(i) == who) {
            return 1;
        }
    }
    return 0;
}

_Noreturn void mh_os_panic(const char *function, const void *object, const char *what)
{
    (void) function;
    (void) object;
    machine_fail(what);
}

_Noreturn void mh_os_panic_owned(const char *function, const void *object, const char *what, int owner)
{
    (void) owner;
    mh_os_panic(function, object, what);
}
