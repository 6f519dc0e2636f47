/* Words of locks in shared memory as somebody may have left them: any owner, any count, any state of a place. Every call
 * comes back, with a code that its contract names; nothing is touched beyond the object.
 *
 * Not of any value: what init writes once (flags, how many places there are), and the guards, which whoever owns them keeps
 * as long as he lives.
 */
#include "fuzz.h"

#include <errno.h>
#include <manyhands/manyhands.h>

static int is_one_of_waiting(int rc)
{
    return rc == 0 || rc == MH_OWNER_DIED || rc == -ETIMEDOUT;
}

static void use_lock(struct input *in)
{
    mh_lock lock;
    mh_lock_init(&lock, 0);
    lock.word = input_u64(in);
    lock.spin = (uint32_t) input_u64(in);
    REQUIRE(is_one_of_waiting(mh_lock_acquire(&lock, MH_AT_ONCE, NULL)));
    REQUIRE(is_one_of_waiting(mh_lock_acquire(&lock, mh_now(), NULL)));
    (void) mh_lock_owner(&lock);
    (void) mh_lock_has_waiters(&lock);
    int rc = mh_lock_try_release(&lock);
    REQUIRE(rc == 0 || rc == -EPERM);
    REQUIRE(!mh_lock_is_locked(&lock));
    REQUIRE(mh_lock_try_acquire(&lock) >= 0);
}

static void use_rlock(struct input *in)
{
    mh_rlock lock;
    mh_rlock_init(&lock, 0);
    input_bytes(in, &lock.lock.word, sizeof lock.lock.word);
    lock.depth = (uint32_t) input_u64(in);
    int rc = mh_rlock_acquire(&lock, mh_now(), NULL);
    REQUIRE(is_one_of_waiting(rc) || rc == -EOVERFLOW);
    (void) mh_rlock_owner(&lock);
    if (rc >= 0) {
        REQUIRE(mh_rlock_is_owned(&lock));
        REQUIRE(mh_rlock_try_release(&lock) == 0);
    } else {
        rc = mh_rlock_try_release(&lock);
        REQUIRE(rc == 0 || rc == -EPERM);
    }
}

static void use_sem(struct input *in)
{
    mh_sem sem;
    REQUIRE(mh_sem_init(&sem, 0, 10, 0) == 0);
    sem.word = input_u64(in);
    int rc = mh_sem_try_acquire(&sem);
    REQUIRE(rc == 0 || rc == -EBUSY);
    rc = mh_sem_acquire(&sem, mh_now(), NULL);
    REQUIRE(rc == 0 || rc == -ETIMEDOUT);
    rc = mh_sem_try_post(&sem, 1);
    REQUIRE(rc == 0 || rc == -EOVERFLOW);
    (void) mh_sem_value(&sem);
}

static void use_event(struct input *in)
{
    mh_event event;
    mh_event_init(&event, 0);
    event.word = (uint32_t) input_u64(in);
    int was_set = mh_event_is_set(&event), rc = mh_event_wait(&event, mh_now(), NULL);
    REQUIRE(rc == (was_set ? 0 : -ETIMEDOUT));
    mh_event_set(&event);
    REQUIRE(mh_event_wait(&event, MH_FOREVER, NULL) == 0);
    mh_event_clear(&event);
    REQUIRE(!mh_event_is_set(&event));
}

static int is_one_of_rwlock(int rc)
{
    return is_one_of_waiting(rc) || rc == -EDEADLK || rc == -EOVERFLOW || rc == MH_E_TOO_MANY;
}

static void use_rwlock(struct input *in)
{
    struct {
        mh_rwlock lock;
        unsigned char beyond[256];
    } memory;
    mh_rwlock *lock = &memory.lock;
    memset(&memory, 0xa5, sizeof memory);
    REQUIRE(mh_rwlock_init(lock, 0, 0) == 0);
    input_bytes(in, &lock->readers, sizeof lock->readers);
    input_bytes(in, &lock->waiting_readers, sizeof lock->waiting_readers);
    input_bytes(in, &lock->waiting_writers, sizeof lock->waiting_writers);
    input_bytes(in, &lock->used, sizeof lock->used);
    input_bytes(in, &lock->died, sizeof lock->died);
    input_bytes(in, &lock->order, sizeof lock->order);
    input_bytes(in, &lock->untracked, sizeof lock->untracked);
    input_bytes(in, &lock->writer, sizeof lock->writer);
    input_bytes(in, lock->place, sizeof lock->place);
    REQUIRE(is_one_of_rwlock(mh_rwlock_acquire_read(lock, MH_AT_ONCE, NULL)));
    REQUIRE(is_one_of_rwlock(mh_rwlock_acquire_read(lock, mh_now(), NULL)));
    REQUIRE(is_one_of_rwlock(mh_rwlock_acquire_write(lock, MH_AT_ONCE, NULL)));
    REQUIRE(is_one_of_rwlock(mh_rwlock_acquire_write(lock, mh_now(), NULL)));
    int rc = mh_rwlock_try_release_read(lock);
    REQUIRE(rc == 0 || rc == -EPERM);
    rc = mh_rwlock_try_release_write(lock);
    REQUIRE(rc == 0 || rc == -EPERM);
    (void) mh_rwlock_readers(lock);
    (void) mh_rwlock_writer(lock);
    for (size_t i = 0; i < sizeof memory.beyond; i++) {
        REQUIRE(memory.beyond[i] == 0xa5);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const use[])(struct input *) = {use_lock, use_rlock, use_sem, use_event, use_rwlock};
    struct input in = {data, size};
    SIGNALS_END_NO_WAIT();
    use[input_u8(&in) % 5](&in);
    return 0;
}
