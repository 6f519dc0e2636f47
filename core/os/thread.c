/* core/os/thread.c - a thread of the system: begin and end. */
#include "os.h"
#include "sys.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

_Static_assert(sizeof(pthread_t) <= sizeof(uint64_t), "a thread's handle does not fit");

static void *trampoline(void *argument)
{
    struct mh_os_thread *thread = argument;
    void (*end)(void *) = thread->end;
    void *end_argument = thread->argument;
    pthread_cleanup_push(end, end_argument); /* so that pthread_exit() is an end like any other */
    thread->run(end_argument);
    pthread_cleanup_pop(1); /* *thread may be gone by now */
    return NULL;
}

/* A new thread has the signal mask of its starter, which is therefore changed for a moment. */
static int create(pthread_t *handle, const pthread_attr_t *attributes, struct mh_os_thread *thread, int quiet)
{
    sigset_t all, before;
    if (quiet) {
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    }
    int rc = -pthread_create(handle, attributes, trampoline, thread);
    if (quiet) {
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return rc;
}

int mh_os_thread_start(struct mh_os_thread *thread, size_t stack_size, int quiet)
{
    pthread_attr_t attributes;
    pthread_t handle;
    int rc = -pthread_attr_init(&attributes);
    if (rc < 0) {
        return rc;
    }
    if (stack_size > 0) {
        rc = -pthread_attr_setstacksize(&attributes, stack_size);
    }
    if (rc == 0) {
        rc = create(&handle, &attributes, thread, quiet);
    }
    (void) pthread_attr_destroy(&attributes);
    if (rc == 0) {
        thread->handle = (uint64_t) handle;
    }
    return rc;
}

void mh_os_thread_detach(const struct mh_os_thread *thread)
{
    (void) pthread_detach((pthread_t) thread->handle);
}

static _Atomic(uintptr_t) end_calls[MH_OS_END_CALLS]; /* functions */

/* Any value makes the system call the destructor; what is to be done is known elsewhere. */
static void thread_ends(void *value)
{
    (void) value;
    for (int i = 0; i < MH_OS_END_CALLS; i++) {
        void (*call)(void) = (void (*)(void)) mh_load_rlx(&end_calls[i]);
        if (call != NULL) {
            call();
        }
    }
}

/* Not by pthread_once(): a key that was not to be had may be had later. Who comes second gives his own back. */
static int end_key(pthread_key_t *key)
{
    static _Atomic(uint64_t) known; /* the key and one */
    uint64_t found = mh_load_acq(&known), none = 0;
    if (found == 0) {
        int rc = -pthread_key_create(key, thread_ends);
        if (rc < 0) {
            return rc;
        }
        if (mh_cas_acq_rel(&known, &none, (uint64_t) *key + 1)) { /* pairs with the load */
            return 0;
        }
        (void) pthread_key_delete(*key);
        found = none;
    }
    *key = (pthread_key_t) (found - 1);
    return 0;
}

int mh_os_thread_call_at_end(unsigned slot, void (*call)(void))
{
    pthread_key_t key;
    mh_store_rlx(&end_calls[slot],
                 (uintptr_t) call); /* before this thread's own value, which it alone acts on */
    int rc = end_key(&key);
    return rc < 0 ? rc : -pthread_setspecific(key, end_calls);
}

int mh_os_set_cores(int tid, const unsigned long *mask)
{
    int saved = errno;
    return (int) mh__result(syscall(SYS_sched_setaffinity, tid, MH_OS_MOST_CORES / 8, mask), saved);
}

int mh_os_get_cores(int tid, unsigned long *mask)
{
    int saved = errno;
    return (int) mh__result(syscall(SYS_sched_getaffinity, tid, MH_OS_MOST_CORES / 8, mask), saved);
}

void mh_os_thread_join(const struct mh_os_thread *thread)
{
    (void) pthread_join((pthread_t) thread->handle, NULL);
}
