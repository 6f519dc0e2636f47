/* manyhands/look.h - what the threads of this process are doing, seen from outside: for samplers and
 * watchdogs.
 *
 *   mh_look look;
 *   if (mh_look_at(tid, &look) == 0 && look.doing == MH_SLEEPS_ON_WORD)
 *       printf("it waits for the lock at %p\n", (void *) look.word);
 *
 * Looking disturbs nobody: the kernel is asked, the thread goes on. What it answers was true at one instant.
 */
#ifndef MANYHANDS_LOOK_H
#define MANYHANDS_LOOK_H

#include "base.h"

#include <stddef.h>

MH_BEGIN_DECLS

enum mh_doing {
    MH_RUNS,           /* on a core, or ready to run */
    MH_SLEEPS_ON_WORD, /* on a futex: a lock, a condition, anything of manyhands */
    MH_SLEEPS          /* in another system call, or stopped */
};

typedef struct mh_look {
    int64_t cpu;    /* processor time that it has used, in ns */
    uintptr_t word; /* MH_SLEEPS_ON_WORD: the futex's address; 0 where it sleeps on several */
    enum mh_doing doing;
} mh_look;

/* What the thread with that system's id (mh_thread_id, gettid) does. `look` is read, too: where it holds an
 * earlier look at the same thread, and that has used no processor time since, it still sleeps as it did, and
 * the kernel is spared the question. Zero it before the first. 0; -ESRCH (no such thread in this process);
 * -EACCES, -ENOENT (the kernel does not tell).
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: a descriptor for a moment | death:
 * nothing shared */
MH_API int mh_look_at(int tid, mh_look *look);

/* Copy `size` bytes of this process's own memory that may be gone: an object that another thread frees. Bytes
 * that change meanwhile may be torn. 0; -EFAULT (it is gone); -ENOSYS, -EPERM (the kernel refuses).
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API int mh_peek(const void *from, void *to, size_t size);

/* The name that the system shows for a thread of this process, up to 15 bytes and the final 0. 0; -ESRCH.
 * Safety: MT-safe PROC-local AS-unsafe FORK-safe | never waits | allocs: a descriptor for a moment | death:
 * nothing shared */
MH_API int mh_thread_name_of(int tid, char name[16]);

/* Give the calling thread such a name; what is beyond 15 bytes is cut off.
 * Safety: MT-safe PROC-local AS-safe FORK-safe | never waits | allocs: none | death: nothing shared */
MH_API void mh_thread_show_name(const char *name);

MH_END_DECLS
#endif
