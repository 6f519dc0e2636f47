/* bench/c/bench.h - what the files of bench_c share. */
#ifndef MH_BENCH_H
#define MH_BENCH_H

#include <manyhands/manyhands.h>

#include <sys/types.h>

void must(int held, const char *what);
double per_operation(mh_deadline begin, int count);
void reap(pid_t child);
/* For a row that is about two cores: this side's core. Else nothing. */
void take_core(int side);
/* Two threads that do `work` at the same time, 0 where it went well: what an operation took them, in ns, the mean. */
double two_sides(int (*work)(void *subject, int side, int count), void *subject, int count);

/* peers.c: nanoseconds per operation, ours and theirs */
double rwlock_read_ours(int count);
double rwlock_read_posix(int count);
double rwlock_write_ours(int count);
double rwlock_write_posix(int count);
double cond_ours(int count);
double cond_posix(int count);
double barrier_ours(int count);
double barrier_posix(int count);
double stream_channel_8(int count);
double stream_mq_8(int count);
double stream_channel_1k(int count);
double stream_mq_1k(int count);

/* crowd.c */
double lock_counted(int count);
double lock_mtx(int count);
double lock_pair_ours(int count);
double lock_pair_mtx(int count);
double lock_crowd_ours(int count);
double lock_crowd_posix(int count);
double lock_all_ours(int count);
double lock_all_posix(int count);
double sem_all_ours(int count);
double sem_all_posix(int count);
double rwlock_all_ours(int count);
double rwlock_all_posix(int count);
#ifdef HAVE_NSYNC
double lock_nsync(int count);
double read_nsync(int count);
double lock_pair_nsync(int count);
#else
#define lock_nsync NULL
#define read_nsync NULL
#define lock_pair_nsync NULL
#endif

/* rings.c */
double belt_ours(int count);
#ifdef HAVE_GLIB
double belt_glib(int count);
#else
#define belt_glib NULL
#endif
#ifdef HAVE_CK
double belt_ck(int count);
#else
#define belt_ck NULL
#endif
double channel_8(int count);
double pipe_8(int count);
double channel_64k(int count);
double pipe_64k(int count);
double channel_1m(int count);
double pipe_1m(int count);

/* pools.c */
double pool_ours(int count);
#ifdef HAVE_GLIB
double pool_glib(int count);
#else
#define pool_glib NULL
#endif
double loop_ours(int count);
double loop_posix(int count);

#endif
