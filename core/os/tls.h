/* core/os/tls.h - what manyhands remembers per thread: one small block, one TLS load away.
 *
 * With MH_SCHED the exhaustive scheduler provides mh__tls() and gives each of its coroutines a block of its
 * own; nothing else in core/ has thread-local state.
 */
#ifndef MH_OS_TLS_H
#define MH_OS_TLS_H

#include <stdatomic.h>
#include <stdint.h>

struct mh__control; /* core/sync/control.h */
struct mh__inside;  /* core/sync/section.h */
struct mh_cleanup;  /* manyhands/thread.h */

/* A reader-writer lock that this thread reads; core/sync/rwlock_private.c. */
struct mh__read {
    const void *lock;
    uint32_t id; /* the lock's: another may lie at its address by now */
    uint32_t depth;
};
#define MH__READS 8

struct mh__tls {
    uint32_t key; /* who I am in words of this process; 0: not asked yet. Outlives fork(), see ids.c */
    int tid;      /* the system's id; 0: not asked yet, or forked since */
    uint64_t who; /* tid | (start time low 32) << 32, in words that other processes read; 0: not asked */
    struct mh__control *control; /* the thread can be paused and terminated; NULL: it cannot */
    int (*hook)(void *arg);      /* mh_on_interrupt */
    void *hook_arg;
    int (*exit_hook)(void *arg); /* mh_on_terminate */
    void *exit_arg;
    int64_t hook_every;
    int64_t hook_due;                /* when a wait calls it next; 0: no wait has begun since it ran last */
    const volatile void *slice_word; /* the shared word that was slept on last ... */
    uint32_t slice_expected;         /* ... for this value ... */
    int64_t slice;                   /* ... and how long the next slice is */
    struct mh__inside *inside; /* where it is counted, while it is inside of sections; core/sync/section.h */
    uint32_t section_depth;
    uint32_t seat; /* its number there, from 1 on; 0: not asked for yet, MH__NO_SEAT: all were taken */
    /* learned there: core/sync/spin.h; atomic for their type alone */
    _Atomic(uint32_t) sem_spin, line_spin, barrier_spin;
    int meets_on_one_core;       /* the last meeting at a barrier: all arrived on the same core */
    struct mh_cleanup *cleanups; /* core/proc/thread_extras.c */
    _Atomic(uint32_t) *ended;    /* who sleeps on it is woken when the thread is gone; core/proc/thread.c */
    uint32_t reads;              /* of `read`, how many are in use */
    uint32_t reads_noted; /* shares for which there was no room in `read`, and which stand in their locks */
    struct mh__read read[MH__READS];
};

#ifdef MH_SCHED
struct mh__tls *mh__tls(void);
#else
/* glibc keeps static TLS to spare for libraries that are loaded late; musl refuses initial-exec in them.
 * <stdint.h> has brought <features.h>, which says which of them this is. */
#if defined(__GLIBC__) && !defined(MH_PLAIN_TLS)
#define MH__TLS_MODEL __attribute__((tls_model("initial-exec"), visibility("hidden")))
#elif defined(__GNUC__)
#define MH__TLS_MODEL __attribute__((visibility("hidden")))
#else
#define MH__TLS_MODEL
#endif
extern _Thread_local struct mh__tls mh__tls_block MH__TLS_MODEL;
static inline struct mh__tls *mh__tls(void)
{
    return &mh__tls_block;
}
#endif

#endif
