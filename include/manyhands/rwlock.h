/* manyhands/rwlock.h - many readers or one writer.
 *
 *   mh_rwlock_acquire_read(&lock, MH_FOREVER, NULL);      // any number at a time
 *   ...
 *   mh_rwlock_release_read(&lock);
 *   mh_rwlock_acquire_write(&lock, MH_FOREVER, NULL);     // alone
 *   ...
 *   mh_rwlock_release_write(&lock);
 *
 * Fair by default: readers and writers in order of arrival, each let in by who leaves, so neither starves.
 * A thread that reads may read again, also while a writer waits; an upgrade (write while reading) is
 * refused with -EDEADLK.
 *
 * A thread holds the lock, in whatever process. Of a shared lock each holder and each waiter has a place in
 * the object. The share of a dead reader is given back. Once a writer died, all are told with
 * MH_OWNER_DIED, until a writer has released it. Both are found by who waits, within a second, and at once
 * by who would give up.
 *
 * A private lock costs one atomic instruction each way while nobody waits, and has room for any number of
 * waiters and readers. A thread remembers itself what it reads, up to eight private locks at a time, and
 * MH_RW_READERS more threads have a place in the lock. Of a share beyond that nobody knows whose it is, so that
 * an upgrade is not refused (it waits for itself), to read again may wait behind a writer, and any thread may
 * give it back. In a forked child a private lock has no waiters, and is held by whoever held it: by a thread
 * that is not there for ever, unless it is made anew by mh_rwlock_init.
 */
#ifndef MANYHANDS_RWLOCK_H
#define MANYHANDS_RWLOCK_H

#include "lock.h"

MH_BEGIN_DECLS

/* Init flags beside MH_PRIVATE; not both. */
#define MH_RW_PREFER_READERS 2u /* a reader overtakes waiting writers */
#define MH_RW_PREFER_WRITERS 4u /* a writer overtakes waiting readers */
#define MH_RW_READERS 12        /* places in the object itself */

typedef struct mh_rw_place {   /* a holder, or (shared) a waiter; core/sync/rwlock.c, rwlock_private.c */
    MH_ATOMIC(uint64_t) owner; /* thread id and its start time; private: the key of a reader, 0: nobody's */
    MH_ATOMIC(uint32_t) word;
    MH_ATOMIC(uint32_t) order;
    uint32_t depth; /* how often the reader has acquired it; touched by the owner only */
    uint32_t reserved;
} mh_rw_place;

typedef struct mh_rwlock {
    mh_lock guard; /* of all below; counts may be read without it */
    uint32_t flags;
    uint32_t places;             /* beyond MH_RW_READERS behind this struct; 0: MH_RW_READERS */
    MH_ATOMIC(uint32_t) readers; /* private: for how long it has paid to look again before sleeping */
    MH_ATOMIC(uint32_t) waiting_readers;
    MH_ATOMIC(uint32_t) waiting_writers;
    MH_ATOMIC(uint32_t) used;   /* no place from this one on was ever taken; private: which lock this is */
    MH_ATOMIC(uint32_t) died;   /* a writer did, and nobody has repaired what it guards */
    uint32_t order;             /* of the next in line */
    uint32_t untracked;         /* private: shares of which no thread knows */
    uint32_t forks;             /* private: how often this process was forked when the line was made */
    MH_ATOMIC(uint64_t) writer; /* who writes; 0: nobody. Private: who holds it, core/sync/rwlock_private.c */
    void *first, *last;         /* private: the line of waiters */
    mh_rw_place place[MH_RW_READERS];
} mh_rwlock;

/* Bytes for a shared lock with room for `readers` holders and waiters at once; sizeof(mh_rwlock) where
 * MH_RW_READERS suffice.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API size_t mh_rwlock_size(uint32_t readers);

/* Make a free lock. `flags`: MH_PRIVATE or 0, and a preference. Shared: the memory is
 * mh_rwlock_size(readers) bytes, 0 standing for MH_RW_READERS; private: `readers` is not looked at.
 * All-zero memory is a fair shared lock of MH_RW_READERS. 0, or -EINVAL where both preferences are given
 * (and nothing was written).
 * Safety: MT-owner PROC-safe AS-safe FORK-safe | never waits | allocs: none | death: as if never called */
MH_API int mh_rwlock_init(mh_rwlock *lock, uint32_t readers, unsigned flags);

/* Acquire it for reading, or once more where the caller reads already.
 * 0, or MH_OWNER_DIED: held; a writer died and what it guards is not repaired. -EDEADLK: the caller holds
 * it for writing.
 * MH_E_TOO_MANY: no place. -ETIMEDOUT, -ECANCELED, -EINTR: not held. MH_AT_ONCE tries without standing in
 * line. Memory: sees what the last writer did.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none |
 *   death: a dead reader's share is given back; of a dead writer as above */
MH_API int mh_rwlock_acquire_read(mh_rwlock *lock, mh_deadline deadline, mh_cancel *cancel);

/* Acquire it for writing. Returns as acquire_read; -EDEADLK where the caller holds it for reading or writing.
 * Memory: sees what the last writer did, and comes after what the readers read.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | waits | cancellation: yes | allocs: none | death: as
 *   acquire_read */
MH_API int mh_rwlock_acquire_write(mh_rwlock *lock, mh_deadline deadline, mh_cancel *cancel);

/* Give it back. Panics where the caller does not hold it so.
 * Safety: MT-owner PROC-safe AS-unsafe FORK-safe | never waits (but for the guard) | allocs: none |
 *   death: held or given back; a writer that dies in between counts as dead while holding */
MH_API void mh_rwlock_release_read(mh_rwlock *lock);
MH_API void mh_rwlock_release_write(mh_rwlock *lock);

/* The same; -EPERM where the caller does not hold it so.
 * Safety: MT-owner PROC-safe AS-unsafe FORK-safe | never waits (but for the guard) | allocs: none | death:
 *   as above */
MH_API int mh_rwlock_try_release_read(mh_rwlock *lock);
MH_API int mh_rwlock_try_release_write(mh_rwlock *lock);

/* Give back a lock that is held for writing and whose data is not repaired: the next are told MH_OWNER_DIED
 * (again). Panics where the caller does not hold it for writing.
 * Safety: MT-owner PROC-safe AS-unsafe FORK-safe | never waits (but for the guard) | allocs: none | death:
 *   as above */
MH_API void mh_rwlock_abandon(mh_rwlock *lock);

/* How many threads read. / The writer's thread id, 0: none.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | allocs: none | death: the dead count until it
 *   is found */
MH_API uint32_t mh_rwlock_readers(const mh_rwlock *lock);
MH_API int mh_rwlock_writer(const mh_rwlock *lock);

MH_END_DECLS
#endif
