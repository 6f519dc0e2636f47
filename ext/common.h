/* ext/common.h - what every file of the extension shares: module state, arguments, time, the one wait, errors.
 *
 * How to add a type family:
 *   1. write NAME.c with `int ext_NAME_ready(PyObject *module, ext_state *state)`, which calls ext_add_type() for each type;
 *   2. declare it here, add a line to the table in module.c, to EXT_REFS (one reference per type that C code looks up again)
 *      and to the list in meson.build;
 *   3. methods are METH_NOARGS, METH_O, or METH_FASTCALL | METH_KEYWORDS with ext_args(); every method that may block
 *      tries first while attached, and then goes through ext_wait().
 *
 * Rules: no static PyObject *; nothing outlives the module's state; no PyGILState_*; whatever another interpreter might
 * touch is raw memory. Only <manyhands/...> and Python.h are included.
 */
#ifndef MH_EXT_COMMON_H
#define MH_EXT_COMMON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "manyhands/deadline.h"
#include "manyhands/error.h"
#include "manyhands/wait.h"

#include "blocked.h"
#include "held.h"
#include "monitor.h"

#if PY_VERSION_HEX < 0x030c0000
#include <structmember.h>
#define Py_T_INT T_INT
#define Py_T_LONGLONG T_LONGLONG
#define Py_T_UINT T_UINT
#define Py_T_BOOL T_BOOL
#define Py_T_OBJECT_EX T_OBJECT_EX
#define Py_T_PYSSIZET T_PYSSIZET
#define Py_READONLY READONLY
#endif

/* ---- module state ------------------------------------------------------------------------------------------ */

/* Every reference that the module holds. The first are types, then what the package binds with _core.bind(). */
#define EXT_REFS(X)                                                           \
    X(LOCK_TYPE)                                                              \
    X(RLOCK_TYPE)                                                             \
    X(CONDITION_TYPE)                                                         \
    X(SEMAPHORE_TYPE)                                                         \
    X(BOUNDED_SEMAPHORE_TYPE)                                                 \
    X(EVENT_TYPE)                                                             \
    X(BARRIER_TYPE)                                                           \
    X(RWLOCK_TYPE)                                                            \
    X(RWSIDE_TYPE)                                                            \
    X(QUEUE_TYPE)                                                             \
    X(LIFO_QUEUE_TYPE)                                                        \
    X(PRIORITY_QUEUE_TYPE)                                                    \
    X(SIMPLE_QUEUE_TYPE)                                                      \
    X(FUTURE_TYPE)                                                            \
    X(TASK_LINE_TYPE)                                                         \
    X(TASK_WORKER_TYPE)                                                       \
    X(SHARED_LOCK_TYPE)                                                       \
    X(QUEUE_END_TYPE)                                                         \
    X(SHARED_RLOCK_TYPE)                                                      \
    X(BLOCK_TYPE)                                                             \
    X(SYNCED_TYPE)                                                            \
    X(ATOMIC_INT_TYPE)                                                        \
    X(ATOMIC_FLAG_TYPE)                                                       \
    X(SHIELD_TYPE)                                                            \
    X(PUT_OFF_TYPE)                                                           \
    X(CONTROL_TYPE)                                                           \
    X(CANCEL_TYPE)                                                            \
    X(OWNER_DIED)      /* manyhands.errors.OwnerDiedError */                  \
    X(SEGMENT_ERROR)   /* manyhands.errors.SegmentError */                    \
    X(POISON)          /* manyhands.errors.PoisonError */                     \
    X(THREAD_EXIT)     /* manyhands.errors.ThreadExit */                      \
    X(CANCELLED)       /* manyhands.errors.Cancelled */                       \
    X(BROKEN_BARRIER)  /* threading.BrokenBarrierError; bound */              \
    X(EMPTY)           /* queue.Empty; bound */                               \
    X(CANCELLED_ERROR) /* concurrent.futures.CancelledError; bound */         \
    X(STD_FUTURE)      /* concurrent.futures.Future; bound */                 \
    X(NEW_FUTURE)      /* manyhands.futures.Future; bound */                  \
    X(CALLBACK_FAILED) /* manyhands.futures._future.callback_failed; bound */ \
    X(FULL)            /* queue.Full; bound */                                \
    X(SHUT_DOWN)       /* queue.ShutDown, or ours before 3.13; bound */       \
    X(DUMPS)           /* manyhands._impl.messages.dumps; bound */            \
    X(LOADS)           /* manyhands._impl.messages.loads; bound */            \
    X(DEADLOCK)        /* manyhands._impl.deadlock.report; bound */           \
    X(GETPID)          /* os.getpid */                                        \
    X(MARKS)           /* manyhands._impl.cleanup.marks; bound */             \
    X(KNOWN_CODE)      /* cleanup.c's */                                      \
    X(SET_EVENTS)      /* of sys.monitoring; monitor.c */                     \
    X(SET_LOCAL_EVENTS)                                                       \
    X(DEQUE) /* collections.deque */                                          \
    X(HEAPPUSH)                                                               \
    X(HEAPPOP)

#define EXT__ENUM(name) EXT_##name,
enum ext_ref { EXT_REFS(EXT__ENUM) EXT_REF_COUNT };
#undef EXT__ENUM

typedef struct ext_state {
    PyObject *ref[EXT_REF_COUNT];
    unsigned long importer; /* ident of the thread that imported the module */
    bool main_interpreter;
    ext_blocked *blocked; /* blocked.c */
    atomic_flag blocked_guard;
    ext_monitor monitor;
} ext_state;

extern struct PyModuleDef ext_module;

typedef struct ext_cancel ext_cancel; /* CancelToken; cancel.c */

/* The state of the module that `type`, or a base of it, belongs to. NULL with an exception where there is none. */
ext_state *ext_state_of(PyTypeObject *type);

/* The same for an object of one of our types, or for the module itself. Wherever a function takes `self` only to know whose
 * state to use, either will do. */
ext_state *ext_state_for(PyObject *self);

/* A borrowed reference of the state; NULL with RuntimeError where the package has not bound it yet, or no longer. */
PyObject *ext_ref(PyObject *self, enum ext_ref which);

/* Raise the exception class `which` with a message, or with no argument where `text` is NULL. Always returns NULL. */
PyObject *ext_raise(PyObject *self, enum ext_ref which, const char *text);

/* Raise a message of ours, made as PyErr_Format() does, with a line below its traceback that leads to its code in the guide
 * (python/manyhands/_troubles.py). Always returns NULL. */
PyObject *ext_refuse(PyObject *type, const char *code, const char *format, ...);

/* Make the type and put it in the module as `name` and in the state as `which` (negative: not kept there). */
int ext_add_type(PyObject *module, ext_state *state, int which, PyType_Spec *spec, PyObject *bases);

int ext_wait_ready(PyObject *module, ext_state *state);
int ext_errors_ready(PyObject *module, ext_state *state);
int ext_lock_ready(PyObject *module, ext_state *state);
int ext_rlock_ready(PyObject *module, ext_state *state);
int ext_cond_ready(PyObject *module, ext_state *state);
int ext_sem_ready(PyObject *module, ext_state *state);
int ext_event_ready(PyObject *module, ext_state *state);
int ext_barrier_ready(PyObject *module, ext_state *state);
int ext_rwlock_ready(PyObject *module, ext_state *state);
int ext_queue_ready(PyObject *module, ext_state *state);
int ext_simplequeue_ready(PyObject *module, ext_state *state);
int ext_future_ready(PyObject *module, ext_state *state);
int ext_tasks_ready(PyObject *module, ext_state *state);
int ext_cleanup_ready(PyObject *module, ext_state *state);
int ext_cancel_ready(PyObject *module, ext_state *state);
int ext_control_ready(PyObject *module, ext_state *state);
int ext_signals_ready(PyObject *module, ext_state *state);
int ext_shared_lock_ready(PyObject *module, ext_state *state);
int ext_shared_sync_ready(PyObject *module, ext_state *state);
int ext_shared_cond_ready(PyObject *module, ext_state *state);
int ext_shared_rwlock_ready(PyObject *module, ext_state *state);
int ext_mpqueue_ready(PyObject *module, ext_state *state);
int ext_queue_end_ready(PyObject *module, ext_state *state);
int ext_pipe_end_ready(PyObject *module, ext_state *state);
int ext_process_ready(PyObject *module, ext_state *state);
int ext_observe_ready(PyObject *module, ext_state *state);
int ext_named_ready(PyObject *module, ext_state *state);
int ext_synced_ready(PyObject *module, ext_state *state);
int ext_atomic_ready(PyObject *module, ext_state *state);
int ext_entered_ready(PyObject *module, ext_state *state);

/* ---- arguments (args.c) -------------------------------------------------------------------------------------- */

#define EXT_MAX_ARGS 8

typedef struct ext_signature {
    const char *function;
    int required, positional, count; /* how many must be given, may be given by position, exist */
    const char *names[EXT_MAX_ARGS];
} ext_signature;

/* Sort the arguments of a METH_FASTCALL | METH_KEYWORDS call into out[0 .. count-1] (borrowed; not given: as it was).
 * 0, or -1 with a TypeError such as Python functions raise. */
int ext_args(const ext_signature *signature, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
             PyObject **out);

/* The same for tp_new and tp_init. */
int ext_args_tuple(const ext_signature *signature, PyObject *args, PyObject *kwargs, PyObject **out);

/* ---- time (time.c) ------------------------------------------------------------------------------------------- */

/* The longest time-out in seconds, as threading.TIMEOUT_MAX. */
#define EXT_TIMEOUT_MAX 9223372036.0

/* Seconds of a time-out given as int or float (or what turns into one) to ns, rounded up. 0, or -1 with TypeError,
 * ValueError (NaN) or OverflowError. */
int ext_seconds(PyObject *value, int64_t *ns);

/* What a wait lasts until, besides what it waits for. Passed by value. */
typedef struct ext_until {
    mh_deadline at;
    ext_cancel *cancel; /* borrowed from the caller's arguments; NULL: none */
} ext_until;

#define EXT_FOREVER ((ext_until) {MH_FOREVER, NULL})

/* `timeout=None` of Condition, Event, Semaphore, Queue: NULL or None is MH_FOREVER, zero and less MH_AT_ONCE. */
int ext_deadline(PyObject *timeout, mh_deadline *deadline);

/* `cancel=None` of everything that waits: NULL, None or a CancelToken; else TypeError. */
int ext_cancel_arg(PyObject *self, PyObject *value, ext_cancel **cancel);

/* Both. */
int ext_until_args(PyObject *self, PyObject *timeout, PyObject *cancel, ext_until *until);

/* `blocking=True, timeout=-1, *, cancel=None` of Lock and RLock, with the stdlib's ValueErrors. */
int ext_lock_args(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                  ext_until *until);

/* `blocking=True, timeout=None, *, cancel=None` of Semaphore. */
int ext_sem_args(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                 ext_until *until);

/* `timeout=None, *, cancel=None` of the function. */
int ext_wait_args(PyObject *self, const char *function, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames, ext_until *until);

/* `block=True, timeout=None, *, cancel=None` of queues; a negative time-out is a ValueError while block is true. */
int ext_get_args(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                 ext_until *until);
int ext_queue_deadline(PyObject *block, PyObject *timeout, mh_deadline *deadline);

/* ---- cancel tokens (cancel.c) ------------------------------------------------------------------------------------ */

/* The token inside; NULL for NULL. */
mh_cancel *ext_cancel_word(ext_cancel *self);
/* Raise Cancelled with the token's reason. Always returns EXT_RAISED. */
int ext_cancel_raise(PyObject *self, ext_cancel *cancel);

/* ---- the one wait (wait.c) ----------------------------------------------------------------------------------- */

/* What a wait keeps while it is detached. Opaque to waiters, which hand it to ext_attach / ext_detach. */
typedef struct ext_waiting {
    mh_cancel *cancel;     /* what a waiter hands to the core; NULL: no token */
    PyThreadState *thread; /* saved while detached */
    bool exit;             /* the thread is to end */
    bool raised;           /* an exception is set on that thread state */
    bool hold;             /* see ext_wait_hold */
    int64_t slice;
    PyObject *kept; /* hold: the first exception of a signal handler */
    PyObject *self; /* borrowed: whose module this is */
} ext_waiting;

/* Runs detached: waits in the core, with `waiting->cancel`, and returns what the core returned. Touches no Python object except between
 * ext_attach() and ext_detach(). */
typedef int (*ext_waiter)(void *object, mh_deadline deadline, ext_waiting *waiting);

#define EXT_RAISED INT_MIN /* an exception is set */

/* Detach, run `waiter(object, until.at)`, attach. Signals run Python's handlers in the main thread, at latest after 50
 * ms, and the wait goes on unless a handler raises. Returns the waiter's value if that is 0 or positive, -ETIMEDOUT
 * or an own code below -4095; else an exception is set (a handler's, ThreadExit, Cancelled, OSError) and EXT_RAISED returned.
 * `self` only tells whose module this is. */
int ext_wait(PyObject *self, ext_waiter waiter, void *object, ext_until until);

/* The same, without a time limit or token, for what must not fail: taking a lock back after a condition's wait. Handlers run; the first exception of one
 * is kept until the wait is over, and the calling thread is shielded from termination. Exceptions set before stay.
 * Returns the waiter's value; EXT_RAISED: a handler raised, and the waiter's work is done all the same. */
int ext_wait_hold(PyObject *self, ext_waiter waiter, void *object);

/* For waiters that are also called without a wait, to try: `waiting` may be NULL. */
static inline mh_cancel *ext_token(const ext_waiting *waiting)
{
    return waiting == NULL ? NULL : waiting->cancel;
}

/* Around the wake of a sleeper, which will want the GIL: `kept = ext_wake_begin(self); wake; ext_wake_end(kept);`. Between the two
 * the caller is detached where its threads have been taking turns (it woke, then waited, and so on): the one that is woken
 * then finds the GIL free. Otherwise it stays attached. What others may look at must be complete before. */
PyThreadState *ext_wake_begin(PyObject *what);
static inline void ext_wake_end(PyThreadState *kept)
{
    if (kept != NULL) {
        PyEval_RestoreThread(kept);
    }
}

/* Which process this is, on the way here from the first one: what was noted before a fork is void after it. Free of charge,
 * other than its id. */
extern atomic_uint ext_forks;
static inline unsigned ext_generation(void)
{
    return atomic_load_explicit(&ext_forks, memory_order_relaxed);
}

void ext_attach(ext_waiting *waiting);
void ext_detach(ext_waiting *waiting);

/* For a waiter whose callback raised, before it detaches again: the wait ends with that exception. */
void ext_waiting_raised(ext_waiting *waiting);

/* True for a value of 0 or more, False for -ETIMEDOUT, NULL where an exception is set. */
PyObject *ext_waited(int rc);

/* Raise OSError (or what fits) for a negative code of the core. Always returns EXT_RAISED. */
int ext_raise_code(PyObject *self, int code);

/* Put the exception that is set aside (NULL: none is), and set it again. */
PyObject *ext_error_take(void);
void ext_error_put(PyObject *error);

/* ---- pause and termination of the calling thread (control.c) -------------------------------------------------- */

/* The calling thread is to end: raise ThreadExit, and from then on leave its waits alone, so that `finally` blocks and
 * `with` statements can do their work; another terminate() starts over. Always returns EXT_RAISED. */
int ext_deliver_exit(PyObject *self);
/* A terminate() came after the last ThreadExit that was delivered to the calling thread. */
bool ext_exit_pending(void);
PyObject *ext_allocate_lock(PyObject *module, PyObject *unused);
PyObject *ext_checkpoint(PyObject *module, PyObject *unused);
bool ext_takes_signals(PyObject *self); /* does the calling thread run Python's signal handlers? */

/* signals.c */
PyObject *ext_signals_put_off(PyObject *module, PyObject *unused);
PyObject *ext_signals_come(PyObject *module, PyObject *unused);
void ext_signals_after_fork(void);
PyObject *ext_shield(PyObject *module, PyObject *unused);
void ext_shield_enter(void);
void ext_shield_leave(void);
/* What `with shield():` does, for the calling thread. */
void ext_shielded_enter(void);
void ext_shielded_leave(void);

/* _core._current_frames(): {ident: innermost frame} for the threads of this interpreter; frames.c. */
PyObject *ext_current_frames(PyObject *module, PyObject *unused);
/* _core._raise_in(ident, type): the exception, in the thread, where its next bytecodes begin; false: there is no such thread. */
PyObject *ext_raise_in(PyObject *module, PyObject *args);

/* ---- the end of the interpreter ------------------------------------------------------------------------------ */

static inline bool ext_finalizing(void)
{
#if PY_VERSION_HEX >= 0x030d0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

/* Would this wait for another thread of the process last for ever, since no other thread will run Python code again? Then
 * true, with PythonFinalizationError (before 3.13: RuntimeError) set. */
bool ext_wait_is_hopeless(ext_until until);

/* ---- small things -------------------------------------------------------------------------------------------- */

/* Call `object.name(args...)`; `args[0]` is the object. New reference. */
PyObject *ext_call_method(const char *name, PyObject *const *args, size_t nargs);

/* The module's short name before the class's, as the stdlib's classes print themselves: "threading.Event". New reference. */
PyObject *ext_class_name(PyObject *self, const char *module);

/* Does `type` (a subclass of `base`) define `name` anew? -1 with an exception. */
int ext_overrides(PyTypeObject *type, PyTypeObject *base, const char *name);

/* notifyAll(), isSet(): DeprecationWarning "old() is deprecated, use new() instead". */
int ext_deprecated(const char *text);

/* Short exclusive access to an object's fields on a free-threaded build; the GIL does it elsewhere. Never around a wait. */
#if PY_VERSION_HEX >= 0x030d0000
#define EXT_CRITICAL_BEGIN(object) Py_BEGIN_CRITICAL_SECTION(object)
#define EXT_CRITICAL_END Py_END_CRITICAL_SECTION()
#else
#define EXT_CRITICAL_BEGIN(object) {
#define EXT_CRITICAL_END }
#endif

#define EXT_METHOD(name, function, flags, doc) \
    {name, (PyCFunction) (void (*)(void))(function), flags, PyDoc_STR(doc)}
#define EXT_FASTCALL (METH_FASTCALL | METH_KEYWORDS)

#endif
