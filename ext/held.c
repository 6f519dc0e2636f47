/* Who holds what. A thread has a holder from its first lock on. Holders are not freed when their threads end, since a lock
 * may outlive the thread that acquired it; one that is empty then serves the next new thread.
 *
 * Under the GIL a holder's list changes only in attached threads. A thread that works for two interpreters has a holder in
 * each, for their GILs are two. Without a GIL each holder has a guard, held for some ten instructions. */
#include "held.h"

#include <stdatomic.h>
#include <threads.h>

#include "control.h"

_Thread_local ext_holder *ext_mine;
atomic_bool ext_several_interpreters;
static ext_holder *_Atomic all;
static atomic_flag all_guard =
    ATOMIC_FLAG_INIT; /* of the list `all`, and of handing a holder to a new thread */

/* ---- holders -------------------------------------------------------------------------------------------------- */

static void thread_ends(void *holder)
{
    ext_mine =
        NULL; /* the next may be another thread's; what other destructors of this one acquire gets a holder anew */
    for (ext_holder *at = holder; at != NULL; at = at->also) {
        atomic_store_explicit(&at->ended, true, memory_order_release); /* pairs with usable() */
    }
}

static tss_t at_end;

static void make_key(void)
{
    if (tss_create(&at_end, thread_ends) != thrd_success) {
        Py_FatalError("manyhands: no thread-specific storage is left");
    }
}

/* Is anything in its list? */
static bool holds(ext_holder *holder)
{
    EXT_HELD_ENTER(holder->guard);
    bool any = holder->first != NULL;
    EXT_HELD_LEAVE(holder->guard);
    return any;
}

static bool usable(ext_holder *holder)
{
    return atomic_load_explicit(&holder->ended, memory_order_acquire) && !holds(holder);
}

/* An empty one of a thread that has ended, or a new one; NULL: no memory. */
static ext_holder *any_holder(void)
{
    for (ext_holder *at = all; at != NULL; at = at->next) {
        if (usable(at)) {
            return at;
        }
    }
    ext_holder *made = PyMem_RawCalloc(1, sizeof *made);
    if (made != NULL) {
        made->next = all;
        all = made;
    }
    return made;
}

static ext_holder *own_in(PyInterpreterState *home)
{
    for (ext_holder *at = ext_mine; at != NULL; at = at->also) {
        if (at->home == home) {
            return at;
        }
    }
    return NULL;
}

ext_holder *ext_holder_begin(void)
{
    PyInterpreterState *home = PyInterpreterState_Get();
    static once_flag once = ONCE_FLAG_INIT;
    call_once(&once, make_key);
    ext_holder *found = own_in(home);
    if (found != NULL) {
        return found;
    }
    ext_held_spin(&all_guard);
    found = any_holder();
    if (found != NULL) {
        found->home = home;
        found->ident = PyThread_get_thread_ident();
        found->control = ext_control_of(home);
        atomic_store_explicit(&found->ended, false, memory_order_relaxed);
    }
    atomic_flag_clear_explicit(&all_guard, memory_order_release);
    if (found != NULL) {
        found->also = ext_mine;
        ext_mine = found;
        (void) tss_set(at_end, found);
    }
    return found;
}

/* ---- the lists ------------------------------------------------------------------------------------------------ */

void ext_held_add(PyObject *what)
{
    ext_held *held = PyMem_RawCalloc(1, sizeof *held);
    if (held != NULL) {
        ext_held_take(held, what);
        if (ext_held_by(held) == NULL) {
            PyMem_RawFree(held);
        }
    }
}

/* A record of `what` out of the list, and freed; false: there is none. */
static bool remove_from(ext_holder *holder, const PyObject *what)
{
    EXT_HELD_ENTER(holder->guard);
    ext_held *held = holder->first;
    while (held != NULL && held->what != what) {
        held = held->next;
    }
    if (held != NULL) {
        ext_held_take_out(holder, held);
    }
    ext_control *control = held != NULL && holder->first == NULL ? holder->control : NULL;
    EXT_HELD_KEEP(control);
    EXT_HELD_LEAVE(holder->guard);
    if (control != NULL) {
        ext_control_let_go(control);
    }
    EXT_HELD_DROP(control);
    PyMem_RawFree(held);
    return held != NULL;
}

void ext_held_remove(PyObject *what)
{
    ext_holder *me = ext_holder_self();
    if (me != NULL) {
        remove_from(me, what);
    }
}

void ext_held_forget(PyObject *what)
{
    for (ext_holder *at = all; at != NULL; at = at->next) {
        while (at->home == PyInterpreterState_Get() && remove_from(at, what)) {
        }
    }
}

bool ext_holding(void)
{
    for (ext_holder *at = ext_mine; at != NULL; at = at->also) {
        if (holds(at)) {
            return true;
        }
    }
    return false;
}

PyObject *ext_held_get_owner(PyObject *lock, void *offset)
{
    const ext_held *held = (const ext_held *) (const void *) ((const char *) lock + (uintptr_t) offset);
    const ext_holder *holder = ext_held_by(held);
    return holder == NULL ? Py_NewRef(Py_None) : PyLong_FromUnsignedLong(holder->ident);
}

void ext_held_control(ext_control *control)
{
    ext_holder *me = own_in(PyInterpreterState_Get()); /* none yet: it asks for the control when it is made */
    if (me != NULL) {
        EXT_HELD_ENTER(me->guard);
        me->control = control;
        EXT_HELD_LEAVE(me->guard);
    }
}

void ext_held_after_fork(void)
{
    atomic_flag_clear_explicit(&all_guard, memory_order_relaxed);
    for (ext_holder *at = all; at != NULL; at = at->next) {
        atomic_flag_clear_explicit(&at->guard, memory_order_relaxed);
        if (at->ident != PyThread_get_thread_ident()) {
            at->control = NULL;
            atomic_store_explicit(&at->ended, true, memory_order_relaxed);
        }
    }
}

/* A reference to `what`, which is in a list; false where its last one is gone: without a GIL its deallocation may be waiting
 * for the guard at this moment. */
static bool refer(PyObject *what)
{
#ifndef Py_GIL_DISABLED
    Py_INCREF(what);
    return true;
#elif PY_VERSION_HEX >= 0x030e0000
    return PyUnstable_TryIncRef(what) != 0;
#else
    /* 3.13's way, which later ones have in that function: two bits of flags, both set once the owning thread has given up
     * its references, and above them the count of the others'. */
    const Py_ssize_t gone = 3, one = 4;
    Py_ssize_t shared = atomic_load_explicit(EXT_HELD_SHARED(what), memory_order_relaxed);
    while (shared != gone) {
        if (atomic_compare_exchange_weak(EXT_HELD_SHARED(what), &shared, shared + one)) {
            return true;
        }
    }
    return false;
#endif
}

static int append(PyObject *list, unsigned long ident, PyObject *what)
{
    PyObject *pair = Py_BuildValue("(kO)", ident, what);
    int rc = pair == NULL ? -1 : PyList_Append(list, pair);
    Py_XDECREF(pair);
    return rc;
}

/* Two passes: what is in the lists may be changed by the allocations of the second, so the first only counts and refers. */
PyObject *ext_held_list(PyObject *module, PyObject *unused)
{
    (void) module, (void) unused;
    enum { MOST = 4096 };
    struct {
        unsigned long ident;
        PyObject *what;
    } *found = PyMem_RawMalloc(MOST * sizeof *found);
    size_t count = 0;
    if (found == NULL) {
        return PyErr_NoMemory();
    }
    for (ext_holder *at = all; at != NULL; at = at->next) {
        if (at->home != PyInterpreterState_Get()) {
            continue;
        }
        EXT_HELD_ENTER(at->guard);
        for (ext_held *held = at->first; held != NULL && count < MOST; held = held->next) {
            if (refer(held->what)) {
                found[count].ident = at->ident;
                found[count++].what = held->what;
            }
        }
        EXT_HELD_LEAVE(at->guard);
    }
    PyObject *list = PyList_New(0);
    for (size_t i = 0; i < count; i++) {
        if (list != NULL && append(list, found[i].ident, found[i].what) < 0) {
            Py_CLEAR(list);
        }
        Py_DECREF(found[i].what);
    }
    PyMem_RawFree(found);
    return list;
}
