/* manyhands/manyhands.h - all of it. */
#ifndef MANYHANDS_MANYHANDS_H
#define MANYHANDS_MANYHANDS_H

#include "arena.h"
#include "barrier.h"
#include "base.h"
#include "channel.h"
#include "cond.h"
#include "deadline.h"
#include "error.h"
#include "event.h"
#include "lock.h"
#include "look.h"
#include "number.h"
#include "pipe.h"
#include "pool.h"
#include "process.h"
#include "process_pool.h"
#include "robust_sem.h"
#include "rwlock.h"
#include "segment.h"
#include "sem.h"
#include "slab.h"
#include "thread.h"
#include "wait.h"

#endif
