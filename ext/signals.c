/* Signals put off: while a process or a thread is started, the handlers of the program are not run.
 *
 * Python runs them in its first thread, whatever that is at. In the functions of os.register_at_fork() it prints what they
 * raise and drops it, and the function was left in its midst, with a lock held it may be. In Thread.start() what they raise
 * leaves who started the thread without knowledge of it. To block the signals is not enough: another thread takes them.
 * So they are noted, by an action of ours, and sent again once they may come: nothing is lost, all comes a moment later. */
#include "common.h"

#include <signal.h>
#include <unistd.h>

/* Those that programs have handlers for which raise. Not the ones that tell of a fault, nor what comes all the time. */
static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGUSR1, SIGUSR2};
#define NUMBERS (sizeof numbers / sizeof numbers[0])

static struct sigaction before[NUMBERS]; /* SIG_DFL: not put off. The first thread's, as `depth` */
static _Thread_local unsigned depth;
static atomic_bool putting_off;
static atomic_int
    came[NUMBERS]; /* the process that it came to; 0: it did not. A forked child has its parent's */

/* It came while it was put off: to be sent again, by whoever takes the note. */
static void send_again(size_t i)
{
    int to = atomic_exchange(&came[i], 0);
    if (to != 0 && to == getpid()) {
        (void) raise(numbers[i]);
    }
}

/* In any thread. In one that is overtaken by let_come() the note would be found by nobody: both are sequentially consistent,
 * so that either this one sees that signals may come, or let_come() sees the note. */
static void note(int number)
{
    for (size_t i = 0; i < NUMBERS; i++) {
        if (numbers[i] == number) {
            atomic_store(&came[i], getpid());
            if (!atomic_load(&putting_off)) {
                send_again(i);
            }
        }
    }
}

static void put_off(void)
{
    atomic_store(&putting_off, true);
    for (size_t i = 0; i < NUMBERS; i++) {
        if (sigaction(numbers[i], NULL, &before[i]) < 0 || before[i].sa_handler == SIG_IGN) {
            before[i].sa_handler = SIG_DFL;
        }
        if (before[i].sa_handler != SIG_DFL) {
            struct sigaction noting = {.sa_handler = note,
                                       .sa_flags = before[i].sa_flags & (SA_RESTART | SA_ONSTACK)};
            sigemptyset(&noting.sa_mask);
            (void) sigaction(numbers[i], &noting, NULL);
        }
    }
}

static void let_come(void)
{
    for (size_t i = 0; i < NUMBERS; i++) {
        if (before[i].sa_handler != SIG_DFL) {
            (void) sigaction(numbers[i], &before[i], NULL);
        }
    }
    atomic_store(&putting_off, false);
    for (size_t i = 0; i < NUMBERS; i++) {
        send_again(i);
    }
}

static void leave(void)
{
    if (depth == 1) {
        let_come();
    }
    depth -= depth != 0;
}

/* In a forked child. Who forked within a block lets them come by itself, in ext_signals_come(): until then the child is in the
 * midst of its parent's program, which a handler must not go on with. Any other thread knows of no block. */
void ext_signals_after_fork(void)
{
    if (depth == 0 && atomic_load(&putting_off)) {
        let_come();
    }
}

PyObject *ext_signals_come(PyObject *module, PyObject *unused)
{
    (void) module, (void) unused;
    if (depth != 0) {
        depth = 0;
        let_come();
    }
    Py_RETURN_NONE;
}

/* ---- signals_put_off() ---------------------------------------------------------------------------------------- */

static PyObject *put_off_enter(PyObject *self, PyObject *unused)
{
    (void) unused;
    if (ext_takes_signals(self)) {
        if (depth == 0) {
            put_off();
        }
        depth++;
        if (PyErr_CheckSignals() < 0) { /* those that came before: now, and not within */
            leave();
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static PyObject *put_off_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void) args, (void) nargs;
    if (ext_takes_signals(self)) {
        leave();
    }
    Py_RETURN_FALSE;
}

PyObject *ext_signals_put_off(PyObject *module, PyObject *unused)
{
    (void) unused;
    PyObject *type = ext_ref(module, EXT_PUT_OFF_TYPE);
    return type == NULL ? NULL : (PyObject *) PyObject_New(PyObject, (PyTypeObject *) type);
}

static void put_off_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyMethodDef put_off_methods[] = {
    EXT_METHOD("__enter__", put_off_enter, METH_NOARGS,
               "__enter__($self, /)\n--\n\nFrom here on; raises what a handler raises that is due."),
    EXT_METHOD("__exit__", put_off_exit, METH_FASTCALL,
               "__exit__($self, /, *exc_info)\n--\n\nThose that came meanwhile come now."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot put_off_slots[] = {
    {Py_tp_doc, (void *) PyDoc_STR("What signals_put_off() returns.")},
    {Py_tp_dealloc, put_off_dealloc},
    {Py_tp_methods, put_off_methods},
    {0, NULL},
};

static PyType_Spec put_off_spec = {
    .name = "manyhands._core.SignalsPutOff",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = put_off_slots,
};

int ext_signals_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, EXT_PUT_OFF_TYPE, &put_off_spec, NULL);
}
