/* core/sync/rwlock_private.h - the reader-writer lock of one process, for rwlock.c. */
#ifndef MH_SYNC_RWLOCK_PRIVATE_H
#define MH_SYNC_RWLOCK_PRIVATE_H

#include <manyhands/rwlock.h>

enum { MH__RW_READ = 1, MH__RW_WRITE = 2 }; /* what a waiter waits for; also its word meanwhile */

#define MH__RW_READER_SHIFT 32 /* of mh_rwlock.writer, where the lock is private */

void mh__rw_private_init(mh_rwlock *lock);
int mh__rw_private_read(mh_rwlock *lock, mh_deadline deadline, mh_cancel *cancel);
int mh__rw_private_write(mh_rwlock *lock, mh_deadline deadline, mh_cancel *cancel);
int mh__rw_private_drop_read(mh_rwlock *lock);
int mh__rw_private_drop_write(mh_rwlock *lock, uint32_t died);

#endif
