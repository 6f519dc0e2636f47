/* core/os/thread.c - a thread of the system: begin and end. */
#include "os.h"
#include "sys.h"

#include <pthread.h>
#include <signal.h>

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

void mh_os_thread_join(const struct mh_os_thread *thread)
{
    (void) pthread_join((pthread_t) thread->handle, NULL);
}
