/* The one place where the extension waits.
 *
 * A waiter runs detached from the interpreter. In the thread that runs Python's signal handlers it comes up now and then to
 * look for signals, since a signal that another thread took does not interrupt this one's futex: after 50 ms, then twice as
 * long each time, up to 0.4 s. Other threads sleep to their deadline. In a thread that blocks while the interpreter is being finalised, attaching never returns (3.14 and
 * newer) or ends the thread: nothing after it may be needed for correctness of shared state.
 */
#include "control.h"
#include "locks.h"

#define SLICE_NS 50000000
#define SLICE_MOST_NS 400000000

void ext_attach(ext_waiting *waiting)
{
    PyEval_RestoreThread(waiting->thread);
}

void ext_detach(ext_waiting *waiting)
{
    waiting->thread = PyEval_SaveThread();
}

void ext_waiting_raised(ext_waiting *waiting)
{
    waiting->raised = true;
}

/* Put the exception that is set aside, unless there is one already. */
static void keep(ext_waiting *waiting)
{
    if (waiting->kept == NULL) {
        waiting->kept = ext_error_take();
    } else {
        PyErr_WriteUnraisable(NULL);
    }
}

static int on_interrupt(void *arg);

/* The thread is to end, but a clean-up waits on to its own end. */
static int on_exit_asked(void *arg)
{
    ext_waiting *waiting = arg;
    ext_attach(waiting);
    bool cleanup = ext_in_cleanup(waiting->self);
    ext_detach(waiting);
    waiting->exit = !cleanup;
    return cleanup ? 0 : -ECANCELED;
}

static void listen(ext_waiting *waiting)
{
    mh_on_interrupt(on_interrupt, waiting, waiting->slice);
    mh_on_terminate(on_exit_asked, waiting);
}

/* Called by the core while it holds nothing. A handler may itself wait, hence the second listen(). */
static int on_interrupt(void *arg)
{
    ext_waiting *waiting = arg;
    if (waiting->slice == 0) {
        return 0; /* not the main thread: signals are none of its business */
    }
    ext_attach(waiting);
    int rc = PyErr_CheckSignals();
    if (rc < 0 && waiting->hold) {
        keep(waiting);
        rc = 0;
    }
    waiting->raised = rc < 0;
    ext_detach(waiting);
    waiting->slice = waiting->slice * 2 > SLICE_MOST_NS ? SLICE_MOST_NS : waiting->slice * 2;
    listen(waiting);
    return rc < 0 ? -EINTR : 0;
}

atomic_uint ext_forks;

static PyObject *after_fork(PyObject *module, PyObject *unused)
{
    (void) unused;
    ext_blocked_after_fork(PyModule_GetState(module));
    ext_held_after_fork();
    ext_signals_after_fork();
    atomic_fetch_add_explicit(&ext_forks, 1, memory_order_relaxed);
    ext_monitor_after_fork(module);
    Py_RETURN_NONE;
}

static PyMethodDef after_fork_method = EXT_METHOD("_after_fork", after_fork, METH_NOARGS,
                                                  "_after_fork($module, /)\n--\n\nCalled in a forked child.");

/* os.register_at_fork(after_in_child=_after_fork) */
int ext_wait_ready(PyObject *module, ext_state *state)
{
    PyObject *os = PyImport_ImportModule("os");
    PyObject *hook = os == NULL ? NULL : PyCFunction_NewEx(&after_fork_method, module, NULL);
    PyObject *given = hook == NULL ? NULL : Py_BuildValue("{s:O}", "after_in_child", hook);
    PyObject *none = given == NULL ? NULL : PyTuple_New(0);
    PyObject *method = none == NULL ? NULL : PyObject_GetAttrString(os, "register_at_fork");
    PyObject *done = method == NULL ? NULL : PyObject_Call(method, none, given);
    Py_XSETREF(state->ref[EXT_GETPID], done == NULL ? NULL : PyObject_GetAttrString(os, "getpid"));
    Py_XDECREF(os);
    Py_XDECREF(hook);
    Py_XDECREF(given);
    Py_XDECREF(none);
    Py_XDECREF(method);
    Py_XDECREF(done);
    return state->ref[EXT_GETPID] == NULL ? -1 : 0;
}

/* In doubt, yes. */
static bool ask_whether_first(ext_state *state)
{
    PyObject *pid = state->ref[EXT_GETPID] == NULL ? NULL : PyObject_CallNoArgs(state->ref[EXT_GETPID]);
    unsigned long number = pid == NULL ? 0 : PyLong_AsUnsignedLong(pid);
    Py_XDECREF(pid);
    PyErr_Clear();
    return number == 0 || number == PyThread_get_thread_native_id();
}

/* Is this the first thread of the process? Asking costs more than the wait itself, so a thread remembers. */
static bool is_first_thread(ext_state *state)
{
    static _Thread_local struct {
        unsigned seen; /* generation + 1 */
        bool first;
    } memory;
    unsigned now = ext_generation() + 1;
    if (memory.seen != now) {
        memory.first = ask_whether_first(state);
        memory.seen = now;
    }
    return memory.first;
}

/* Does this thread run Python's signal handlers? The thread that imported us may be it too, where an embedding program
 * initialised Python outside its first thread; looking for signals in vain costs a little, missing them a lot. */
bool ext_takes_signals(PyObject *self)
{
    ext_state *state = ext_state_for(self);
    if (state == NULL) {
        PyErr_Clear();
        return true;
    }
    return state->main_interpreter &&
           (is_first_thread(state) || PyThread_get_thread_ident() == state->importer);
}

/* ---- threads that take turns --------------------------------------------------------------------------------- */

/* A thread that is woken wants the GIL, which its waker has. If the waker goes on computing, it should keep it: a producer
 * is not to be switched out at every item. If it is about to wait for the answer, it should have let it go before the wake:
 * that saves the woken thread a second sleep, on the GIL. What a thread did last it is likely to do again.
 *
 * PROVEN: so often it waited after a wake. TRUST: after so many detached wakes in a row it is to be proven anew, since a
 * thread that finds its answers ready does not wait at all. */
#define TURNS_PROVEN 3
#define TURNS_TRUST 16

static _Thread_local struct {
    unsigned char score, trusted;
    bool woke;
    PyObject *what; /* whose waiter it woke last; compared only */
} turns;

PyThreadState *ext_wake_begin(PyObject *what)
{
    turns.woke = true;
    turns.what = what;
    if (turns.score < TURNS_PROVEN) {
        return NULL;
    }
    if (++turns.trusted > TURNS_TRUST) {
        turns.trusted = 0;
        turns.score = TURNS_PROVEN - 1;
        return NULL;
    }
    return PyEval_SaveThread();
}

/* Who waits for the lock that it has just released competes for it, and does better to keep the GIL. */
static void note_wait(PyObject *self, bool for_lock)
{
    bool competes = for_lock && turns.what == self;
    if (turns.woke && !competes) {
        turns.score = turns.score < TURNS_PROVEN ? (unsigned char) (turns.score + 1) : TURNS_PROVEN;
    } else if (turns.score > 0) {
        turns.score--;
    }
    turns.woke = false;
}

/* What keeps the wait from beginning; 0: nothing does. */
static int before_wait(ext_waiting *waiting, const ext_blocked *blocked)
{
    if (ext_deadlock_check(blocked, !waiting->hold) == 0) {
        return 0;
    }
    if (waiting->hold) {
        keep(waiting);
        return 0;
    }
    waiting->raised = true;
    return -EINTR;
}

static int run_waiter(PyObject *self, ext_waiting *waiting, ext_waiter waiter, void *object,
                      mh_deadline deadline)
{
    ext_blocked blocked;
    note_wait(self, waiter == ext_wait_for_lock);
    ext_blocked_enter(&blocked, self, waiter == ext_wait_for_lock ? object : NULL, deadline);
    bool holding = ext_holding(); /* then it sleeps, but is not parked */
    int rc = before_wait(waiting, &blocked);
    if (holding) {
        mh_hold_enter();
    }
    if (rc == 0) {
        ext_detach(waiting);
        listen(waiting);
        rc = waiter(object, deadline, waiting);
        mh_on_interrupt(NULL, NULL, 0);
        mh_on_terminate(NULL, NULL);
        ext_attach(waiting);
    }
    if (holding) {
        mh_hold_leave();
    }
    ext_blocked_leave(&blocked);
    return rc;
}

/* An end that was asked for goes before a token. */
static bool is_to_end(PyObject *self, const ext_waiting *waiting)
{
    return waiting->exit ||
           (ext_control_exit_due(ext_control_self()) && !ext_shielded() && !ext_in_cleanup(self));
}

static int cancelled(PyObject *self, const ext_waiting *waiting, ext_cancel *cancel)
{
    bool asked = cancel != NULL && mh_cancel_requested(ext_cancel_word(cancel));
    return asked && !is_to_end(self, waiting) ? ext_cancel_raise(self, cancel) : ext_deliver_exit(self);
}

int ext_wait(PyObject *self, ext_waiter waiter, void *object, ext_until until)
{
    ext_waiting waiting = {.self = self,
                           .slice = ext_takes_signals(self) ? SLICE_NS : 0,
                           .cancel = ext_cancel_word(until.cancel)};
    if (ext_exit_pending() && !ext_in_cleanup(self)) {
        return ext_deliver_exit(self);
    }
    int rc = run_waiter(self, &waiting, waiter, object, until.at);
    if (waiting.raised) {
        return EXT_RAISED;
    }
    if (rc >= 0 || rc == -ETIMEDOUT || rc < -4095) {
        return rc;
    }
    return rc == -ECANCELED ? cancelled(self, &waiting, until.cancel) : ext_raise_code(self, rc);
}

bool ext_wait_is_hopeless(ext_until until)
{
    if (until.at != MH_FOREVER || !ext_finalizing()) {
        return false;
    }
#if PY_VERSION_HEX >= 0x030d0000
    PyObject *error = PyExc_PythonFinalizationError;
#else
    PyObject *error = PyExc_RuntimeError;
#endif
    ext_refuse(error, "MH-SHUTDOWN",
               "cannot wait for another thread at interpreter shutdown: none runs any more");
    return true;
}

int ext_wait_hold(PyObject *self, ext_waiter waiter, void *object)
{
    PyObject *before = ext_error_take();
    ext_waiting waiting = {.self = self, .slice = ext_takes_signals(self) ? SLICE_NS : 0, .hold = true};
    ext_shield_enter();
    int rc = run_waiter(self, &waiting, waiter, object, MH_FOREVER);
    ext_shield_leave();
    if (before != NULL && waiting.kept != NULL) { /* two exceptions: the newer one is told of as unraisable */
        ext_error_put(waiting.kept);
        PyErr_WriteUnraisable(NULL);
        waiting.kept = NULL;
    }
    PyObject *error = before != NULL ? before : waiting.kept;
    if (error != NULL) {
        ext_error_put(error);
        return EXT_RAISED;
    }
    return rc;
}

PyObject *ext_waited(int rc)
{
    if (rc == EXT_RAISED) {
        return NULL;
    }
    return PyBool_FromLong(rc >= 0);
}
