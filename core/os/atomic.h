/* core/os/atomic.h - atomics with the memory order in the name.
 *
 * Every access to shared state in core/ goes through these. That is also the seam of the exhaustive scheduler
 * (tests/core/sched): with MH_SCHED defined, each access is a step at which another thread may run, or this
 * one die.
 */
#ifndef MH_OS_ATOMIC_H
#define MH_OS_ATOMIC_H

#include <stdatomic.h>
#include <stdint.h>

#ifdef MH_SCHED
void mh_sched_step(const volatile void *address, unsigned size, const char *operation);
#define MH__TEXT2(x) #x
#define MH__TEXT(x) MH__TEXT2(x)
#define MH__STEP(p, what) \
    mh_sched_step((p), (unsigned) sizeof *(p), what " (" __FILE__ ":" MH__TEXT(__LINE__) ")")
#elif defined MH_TRACE_STEPS /* and a trace point (core/debug/trace.h), in the crash tests of core/sync */
void mh__trace_point(const char *name);
#define MH__TEXT2(x) #x
#define MH__TEXT(x) MH__TEXT2(x)
#define MH__STEP(p, what) mh__trace_point(what " (" __FILE__ ":" MH__TEXT(__LINE__) ")")
#else
#define MH__STEP(p, what) ((void) 0)
#endif

#define mh_load_rlx(p) (MH__STEP(p, "load"), atomic_load_explicit((p), memory_order_relaxed))
#define mh_load_acq(p) (MH__STEP(p, "load"), atomic_load_explicit((p), memory_order_acquire))
#define mh_load_seq(p) (MH__STEP(p, "load"), atomic_load_explicit((p), memory_order_seq_cst))
#define mh_store_rlx(p, v) (MH__STEP(p, "store"), atomic_store_explicit((p), (v), memory_order_relaxed))
#define mh_store_rel(p, v) (MH__STEP(p, "store"), atomic_store_explicit((p), (v), memory_order_release))
/* A step of a change that is made under a lock. The lock orders it for all who live, so it pairs with nothing; it is a release
 * for the death in between: whoever takes the lock over from the dead finds no step without those before it. */
#define mh_store_step(p, v) mh_store_rel(p, v)
#define mh_store_seq(p, v) (MH__STEP(p, "store"), atomic_store_explicit((p), (v), memory_order_seq_cst))
#define mh_xchg_acq(p, v) (MH__STEP(p, "xchg"), atomic_exchange_explicit((p), (v), memory_order_acquire))
#define mh_xchg_rel(p, v) (MH__STEP(p, "xchg"), atomic_exchange_explicit((p), (v), memory_order_release))
#define mh_xchg_acq_rel(p, v) (MH__STEP(p, "xchg"), atomic_exchange_explicit((p), (v), memory_order_acq_rel))
#define mh_add_rlx(p, v) (MH__STEP(p, "add"), atomic_fetch_add_explicit((p), (v), memory_order_relaxed))
#define mh_add_acq_rel(p, v) (MH__STEP(p, "add"), atomic_fetch_add_explicit((p), (v), memory_order_acq_rel))
#define mh_sub_rlx(p, v) (MH__STEP(p, "sub"), atomic_fetch_sub_explicit((p), (v), memory_order_relaxed))
#define mh_sub_acq_rel(p, v) (MH__STEP(p, "sub"), atomic_fetch_sub_explicit((p), (v), memory_order_acq_rel))
#define mh_or_acq_rel(p, v) (MH__STEP(p, "or"), atomic_fetch_or_explicit((p), (v), memory_order_acq_rel))
#define mh_and_acq_rel(p, v) (MH__STEP(p, "and"), atomic_fetch_and_explicit((p), (v), memory_order_acq_rel))
/* cas: 1 where `*p` was `*expected` and is now `desired`; else 0, and `*expected` is what was found. */
#define mh_cas_rlx(p, e, d) mh__cas(p, e, d, memory_order_relaxed, memory_order_relaxed)
#define mh_cas_acq(p, e, d) mh__cas(p, e, d, memory_order_acquire, memory_order_acquire)
#define mh_cas_rel(p, e, d) mh__cas(p, e, d, memory_order_release, memory_order_relaxed)
#define mh_cas_acq_rel(p, e, d) mh__cas(p, e, d, memory_order_acq_rel, memory_order_acquire)
#define mh__cas(p, e, d, success, failure) \
    (MH__STEP(p, "cas"), atomic_compare_exchange_strong_explicit((p), (e), (d), success, failure))
/* A full fence, for store-then-load protocols (announce myself, then look). */
#define mh_fence_seq() atomic_thread_fence(memory_order_seq_cst)
/* The same where an atomic read-modify-write of this thread, of any order, lies between the store and the load: on x86
 * that is a full fence itself (memory ordering of locked instructions, Intel's and AMD's manuals), and only the compiler
 * has to be told. */
#if defined(__x86_64__) || defined(__i386__)
#define mh_fence_after_rmw() atomic_signal_fence(memory_order_seq_cst)
#else
#define mh_fence_after_rmw() mh_fence_seq()
#endif
/* Program order for whoever looks at this thread once it has been stopped: a compiler's fence. */
#define mh_fence_own() atomic_signal_fence(memory_order_seq_cst)
/* For those who read without a lock what is written under one (rlock.c). */
#define mh_fence_rel() atomic_thread_fence(memory_order_release)
#define mh_fence_acq() atomic_thread_fence(memory_order_acquire)

#endif
