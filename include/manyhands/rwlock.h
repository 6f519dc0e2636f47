/* manyhands/rwlock.h - many readers or one writer. Fair by default (readers and writers in order of arrival);
 * an upgrade (write while reading) is refused with -EDEADLK. A dead writer is reported as MH_OWNER_DIED (held) to the next
 * acquirer; a dead reader's share is given back. */
#ifndef MANYHANDS_RWLOCK_H
#define MANYHANDS_RWLOCK_H

#include "lock.h"

MH_BEGIN_DECLS

#define MH_RW_PREFER_READERS 2u /* init flags beside MH_PRIVATE */
#define MH_RW_PREFER_WRITERS 4u
#define MH_RW_READERS 12 /* readers' places in the object itself; more by mh_rwlock_init */

typedef struct mh_rw_reader {
    MH_ATOMIC(uint64_t) owner; /* process id and start time; private: thread id */
    MH_ATOMIC(uint32_t) thread;
    MH_ATOMIC(uint32_t) depth;
} mh_rw_reader;

typedef struct mh_rwlock {
    mh_lock guard;
    mh_lock writer;
    MH_ATOMIC(uint32_t) state;
    MH_ATOMIC(uint32_t) turn;
    uint32_t flags;
    uint32_t places; /* readers' places behind this struct */
    uint32_t reserved[4];
    mh_rw_reader reader[MH_RW_READERS];
} mh_rwlock;

MH_API size_t mh_rwlock_size(uint32_t readers);
MH_API void mh_rwlock_init(mh_rwlock *lock, uint32_t readers, unsigned flags);
/* 0, MH_OWNER_DIED (held), -EDEADLK (the caller holds it for writing), MH_E_TOO_MANY, -ETIMEDOUT, -ECANCELED, -EINTR */
MH_API int mh_rwlock_acquire_read(mh_rwlock *lock, mh_deadline deadline, mh_cancel *cancel);
/* The same; -EDEADLK where the caller holds it for reading or writing. */
MH_API int mh_rwlock_acquire_write(mh_rwlock *lock, mh_deadline deadline, mh_cancel *cancel);
MH_API void mh_rwlock_release_read(mh_rwlock *lock);
MH_API void mh_rwlock_release_write(mh_rwlock *lock);
MH_API int mh_rwlock_try_release_read(mh_rwlock *lock);  /* 0, -EPERM */
MH_API int mh_rwlock_try_release_write(mh_rwlock *lock); /* 0, -EPERM */
MH_API void mh_rwlock_abandon(mh_rwlock *lock);          /* held for writing, not repaired */
MH_API uint32_t mh_rwlock_readers(const mh_rwlock *lock);
MH_API int mh_rwlock_writer(const mh_rwlock *lock); /* owner's id, 0: none */

MH_END_DECLS
#endif
