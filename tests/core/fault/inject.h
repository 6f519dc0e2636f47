/* tests/core/fault/inject.h - let the Nth refusable call of core/ fail, and see what is left behind. */
#ifndef MH_TESTS_INJECT_H
#define MH_TESTS_INJECT_H

void inject_begin(void); /* once, in the test's process */
void inject_at(long n);  /* from now on the Nth call fails, in this process and its children; 0: none */
const char *inject_fired(void); /* the call that failed; NULL: there were fewer than N */
void inject_wait_error(
    int error); /* what a futex wait that fails says: EINTR, or EAGAIN (the word has changed) */
void inject_old_kernel(int on); /* every memfd, pidfd, close_range and futex_waitv is unknown to the kernel */

struct inventory { /* of what core/ made and did not give back */
    long blocks, maps, descriptors;
};
struct inventory inject_inventory(void);

/* Run `scenario` in a child of its own with each call failing in turn. It returns 0, or the error that came back, after
 * it has given back all that it made. Then once more without a fault: it must succeed, and leave no more behind than two
 * runs without any. `errno` must be as it was. */
void inject_sweep(int (*scenario)(void));

#endif
