/* ext/held.h - which locks each thread holds: for parking (a thread that holds one is not parked), for `owner` and for dump().
 *
 * A lock that is held is in the list of the thread that acquired it. That costs a few stores where a lock is acquired and
 * released, and no lock of its own under a GIL: a lock changes hands, in these words, only in attached threads.
 *
 * Without a GIL a list is changed under its holder's guard. Any thread may release a Lock, two may do so at once (one is then
 * told of its error), and while one of them looks for the list the lock may have gone on to a third: therefore `holder` is
 * atomic, and looked at again under the guard of the holder that was found. */
#ifndef MH_EXT_HELD_H
#define MH_EXT_HELD_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdatomic.h>
#include <stdbool.h>

struct ext_control;
typedef struct ext_holder ext_holder;

typedef struct ext_held {
    struct ext_held *next, *prev;
    _Atomic(ext_holder *) holder; /* NULL: nobody */
    PyObject *what;               /* borrowed: the lock, which leaves the list before it goes */
} ext_held;

struct ext_holder {
    ext_holder *next;         /* all there are; never removed */
    ext_holder *also;         /* the same thread's, in another interpreter */
    PyInterpreterState *home; /* whose GIL guards the list */
    unsigned long ident;
    ext_held *first;
    struct ext_control *control; /* NULL: nobody can pause the thread */
    atomic_bool ended;           /* the thread; set without a GIL */
    atomic_flag guard;           /* free-threaded builds */
};

/* The calling thread's, of the interpreter that it worked for last; NULL: none yet. */
extern _Thread_local ext_holder *ext_mine;
/* The module was imported by another interpreter than the main one: from then on it is asked whose a holder is. */
extern atomic_bool ext_several_interpreters;
/* The calling thread's in this interpreter; NULL: no memory. */
ext_holder *ext_holder_begin(void);
/* The last lock was given back: the thread may be parked. */
void ext_control_let_go(struct ext_control *control);

/* Around a look at a holder's list, or at its control; and a control that is used after it, which the end of its thread
 * would otherwise free meanwhile. */
#ifdef Py_GIL_DISABLED
#define EXT_HELD_ENTER(flag) ext_held_spin(&(flag))
#define EXT_HELD_LEAVE(flag) atomic_flag_clear_explicit(&(flag), memory_order_release)
#define EXT_HELD_KEEP(control) Py_XINCREF((PyObject *) (control))
#define EXT_HELD_DROP(control) Py_XDECREF((PyObject *) (control))
#define EXT_HELD_GONE(held, holder) (ext_held_by(held) != (holder)) /* another release was first */
#else
#define EXT_HELD_ENTER(flag) ((void) (flag))
#define EXT_HELD_LEAVE(flag) ((void) (flag))
#define EXT_HELD_KEEP(control) ((void) (control))
#define EXT_HELD_DROP(control) ((void) (control))
#define EXT_HELD_GONE(held, holder) false
#endif

static inline void ext_held_spin(atomic_flag *flag)
{
    while (atomic_flag_test_and_set_explicit(flag, memory_order_acquire)) { /* pairs with the clear */
    }
}

#define EXT_HELD_SHARED(object) ((_Atomic(Py_ssize_t) *) &(object)->ob_ref_shared)

/* A reference to `what` will be asked for by other threads (ext_held_refer), though it may be going. */
static inline void ext_held_referable(PyObject *what)
{
#ifndef Py_GIL_DISABLED
    (void) what;
#elif PY_VERSION_HEX >= 0x030e0000
    PyUnstable_EnableTryIncRef(what);
#else
    /* What that function does, which 3.13 keeps to itself: the lowest bit makes the last reference go through this word. */
    Py_ssize_t none = 0;
    atomic_compare_exchange_strong(EXT_HELD_SHARED(what), &none, 1);
#endif
}

static inline ext_holder *ext_held_by(const ext_held *held)
{
    return atomic_load_explicit(&held->holder, memory_order_relaxed);
}

static inline ext_holder *ext_holder_self(void)
{
    ext_holder *me = ext_mine;
    if (me != NULL && (!atomic_load_explicit(&ext_several_interpreters, memory_order_relaxed) ||
                       me->home == PyInterpreterState_Get())) {
        return me;
    }
    return ext_holder_begin();
}

/* PyThread_get_thread_ident(), without a call where the thread has a holder. */
static inline unsigned long ext_ident(void)
{
    ext_holder *me = ext_mine;
    return me != NULL ? me->ident : PyThread_get_thread_ident();
}

/* The calling thread has acquired `what`. / It is not held any more; by any thread, and nothing where it was not. The second
 * comes before the release in the core: then no other thread can have entered itself in between. */
static inline void ext_held_take(ext_held *held, PyObject *what)
{
    ext_holder *me = ext_holder_self();
    if (me == NULL || ext_held_by(held) != NULL) {
        return;
    }
    ext_held_referable(what);
    EXT_HELD_ENTER(me->guard);
    held->what = what;
    atomic_store_explicit(&held->holder, me, memory_order_relaxed); /* the guard orders it */
    held->prev = NULL;
    held->next = me->first;
    if (me->first != NULL) {
        me->first->prev = held;
    }
    me->first = held;
    EXT_HELD_LEAVE(me->guard);
}

static inline void ext_held_take_out(ext_holder *holder, ext_held *held)
{
    if (held->prev != NULL) {
        held->prev->next = held->next;
    } else {
        holder->first = held->next;
    }
    if (held->next != NULL) {
        held->next->prev = held->prev;
    }
    atomic_store_explicit(&held->holder, NULL, memory_order_relaxed);
}

static inline void ext_held_give(ext_held *held)
{
    ext_holder *holder = ext_held_by(held);
    if (holder == NULL) {
        return;
    }
    EXT_HELD_ENTER(holder->guard);
    if (EXT_HELD_GONE(held, holder)) {
        EXT_HELD_LEAVE(holder->guard);
        return;
    }
    ext_held_take_out(holder, held);
    struct ext_control *control = holder->first == NULL ? holder->control : NULL;
    EXT_HELD_KEEP(control);
    EXT_HELD_LEAVE(holder->guard);
    if (control != NULL) {
        ext_control_let_go(control);
    }
    EXT_HELD_DROP(control);
}

/* The same for what several threads hold at once: one record for each time. `give` undoes one `add` of the calling thread;
 * `forget` all that there are, of all threads. */
void ext_held_add(PyObject *what);
void ext_held_remove(PyObject *what);
void ext_held_forget(PyObject *what);

/* Does the calling thread hold anything? */
bool ext_holding(void);

/* The attribute `owner` of a type whose objects have an ext_held at `offset`: Python's ident of the thread that acquired it, as
 * an int, or None. */
PyObject *ext_held_get_owner(PyObject *lock, void *offset);

/* The control of the calling thread begins and ends to serve it. NULL: ends. */
void ext_held_control(struct ext_control *control);

/* In a forked child: the other threads are not here. */
void ext_held_after_fork(void);

/* _core._held(): [(ident, lock)], for this interpreter. */
PyObject *ext_held_list(PyObject *module, PyObject *unused);

#endif
