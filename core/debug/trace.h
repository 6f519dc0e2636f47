/* core/debug/trace.h - trace points: places in the code at which a test may look, or end the process.
 *
 * MH__TRACE("name") costs nothing unless the file is compiled with MH_TRACE, as the crash tests' own copy of
 * the sources is. Then each one that is passed calls the hook, if there is one, with its name and how many
 * were passed before it. */
#ifndef MH_DEBUG_TRACE_H
#define MH_DEBUG_TRACE_H

#include <stdint.h>

#ifdef MH_TRACE
typedef void (*mh__trace_hook)(const char *name, uint64_t number, void *arg);
/* Count from 0 again, and call `hook` (NULL: none) from now on, in this process and those forked from it. */
void mh__trace_set(mh__trace_hook hook, void *arg);
void mh__trace_point(const char *name);
#define MH__TRACE(name) mh__trace_point(name)
#else
#define MH__TRACE(name) ((void) 0)
#endif

#endif
