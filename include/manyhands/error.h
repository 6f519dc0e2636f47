/* manyhands/error.h - the error codes of manyhands.
 *
 * A function that can fail returns int: 0, or -errno, or one of the codes below -4095 that errno has no word
 * for. A positive value is success with a fact, so `rc < 0` always means that the call did not do what it
 * was asked. errno itself is left alone.
 *
 *   int rc = mh_channel_put(ch, &part, 1, 0, mh_in_ms(100), NULL);
 *   if (rc < 0) fprintf(stderr, "put: %s (%s)\n", mh_strerror(rc), mh_error_name(rc));
 */
#ifndef MANYHANDS_ERROR_H
#define MANYHANDS_ERROR_H

#include "base.h"

/* One line per code: name, value, text. */
#define MH_CODES(X)                                                                      \
    X(MH_OWNER_DIED, 1, "acquired, and the previous owner died while it held the lock")  \
    X(MH_E_BROKEN, -4096, "the barrier is broken")                                       \
    X(MH_E_CLOSED, -4097, "the channel is closed")                                       \
    X(MH_E_LAYOUT, -4098, "the segment was made by a library with another layout")       \
    X(MH_E_CORRUPT, -4099, "the segment does not hold what its header promises")         \
    X(MH_E_TOO_MANY, -4100, "more waiters or participants than the object has room for") \
    X(MH_E_STATE, -4101, "the object is not in a state in which that can be asked")      \
    X(MH_E_LOST, -4102, "what was asked for is gone: its owner died before it was complete")

#define MH__ENUM(name, value, text) name = value,
enum mh_code { MH_CODES(MH__ENUM) };
#undef MH__ENUM

MH_BEGIN_DECLS

/* The text for a return code of any manyhands function, own codes and -errno alike; never NULL, static
 * storage for own codes and the C library's text otherwise.
 * Safety: MT-safe PROC-safe AS-unsafe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API const char *mh_strerror(int code);

/* The name of a code: "MH_E_CLOSED", "ETIMEDOUT"; "?" where it has none.
 * Safety: MT-safe PROC-safe AS-safe FORK-safe | never waits | cancellation: no | allocs: none | death:
 * nothing shared */
MH_API const char *mh_error_name(int code);

MH_END_DECLS
#endif
