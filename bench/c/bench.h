/* bench/c/bench.h - what the files of bench_c share. */
#ifndef MH_BENCH_H
#define MH_BENCH_H

#include <manyhands/manyhands.h>

#include <sys/types.h>

void must(int held, const char *what);
double per_operation(mh_deadline begin, int count);
void reap(pid_t child);

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
