/* core/proc/thread.h - inside core/proc only. */
#ifndef MH_PROC_THREAD_H
#define MH_PROC_THREAD_H

/* Run what the calling thread left to be done at its end (thread_extras.c), the last first. */
void mh__run_cleanups(void);

#endif
