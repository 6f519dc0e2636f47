/* core/proc/thread.h - inside core/proc only. */
#ifndef MH_PROC_THREAD_H
#define MH_PROC_THREAD_H

/* Run what the calling thread left to be done at its end (thread_extras.c), the last first. */
void mh__run_cleanups(void);

/* Wake who joins the calling thread, where that was put off until its end (thread.c). */
void mh__tell_the_end(void);

#endif
