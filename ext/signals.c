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
static unsigned depth;
static atomic_bool putting_off;
static atomic_int came[NUMBERS]; /* the process that it came to; 0: it did not. A forked child has its parent's */

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
            struct sigaction noting = {.sa_handler = note, .sa_flags = before[i].sa_flags & (SA_RESTART | SA_ONSTACK)};
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
    if (depth != 0 && --depth == 0) {
        let_come();
    }
}

void ext_signals_after_fork(void)
{
    if (depth != 0) {
        depth = 0;
        let_come();
    }
}

PyObject *ext_hold_signals(PyObject *module, PyObject *unused)
{
    (void) unused;
    if (!ext_takes_signals(module)) {
        Py_RETURN_FALSE;
    }
    if (depth++ == 0) {
        put_off();
    }
    if (PyErr_CheckSignals() < 0) { /* those that came before: now, and not within */
        leave();
        return NULL;
    }
    Py_RETURN_TRUE;
}

PyObject *ext_let_signals(PyObject *module, PyObject *unused)
{
    (void) unused;
    if (ext_takes_signals(module)) {
        leave();
    }
    Py_RETURN_NONE;
}
