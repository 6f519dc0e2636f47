/* manyhands/base.h - what every other header needs: visibility, atomics, flags, version.
 *
 *   if (strcmp(mh_version(), MH_VERSION) != 0) ...;    // built with one version, running with another: docs/abi.md
 *
 * Safety words used in the contracts of all headers:
 *   MT-safe / MT-owner     any thread may call it / only the thread (or process) that owns the object
 *   PROC-safe / PROC-local works on objects in shared memory / on objects of this process only
 *   AS-safe / AS-unsafe    may / must not be called from a signal handler
 *   FORK-safe / FORK-child usable on both sides of fork / see the text
 */
#ifndef MANYHANDS_BASE_H
#define MANYHANDS_BASE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define MH_API __attribute__((visibility("default")))
#else
#define MH_API
#endif

/* An atomic field of a public struct: the same size and alignment in C and in C++. */
#ifdef __cplusplus
#define MH_ATOMIC(T) T
#define MH_BEGIN_DECLS extern "C" {
#define MH_END_DECLS }
#else
#define MH_ATOMIC(T) _Atomic(T)
#define MH_BEGIN_DECLS
#define MH_END_DECLS
#endif

#define MH_VERSION_MAJOR 0
#define MH_VERSION_MINOR 1
#define MH_VERSION_PATCH 0
#define MH_VERSION "0.1.0"

/* Version of every layout that lies in shared memory; programs that disagree refuse each other. */
#define MH_LAYOUT 1u

/* Init flag: the object is used by the threads of one process only. Without it an object works between
 * processes when it lies in shared memory. An all-zero object is valid and process-shared. */
#define MH_PRIVATE 1u

MH_BEGIN_DECLS

/* The version of the library that is running, "major.minor.patch".
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API const char *mh_version(void);

MH_END_DECLS
#endif
