/* The list of waits, what `dump` reads of it, and the search for a ring.
 *
 * The list changes and is read only by threads that are attached, and nothing in between calls Python: with a GIL the
 * guard is therefore never contended, also not in a forked child, and without one it is held for some ten instructions.
 * The search needs no more than this list and the owners in the lock words: the last step that closes a ring is always
 * the entry of a wait, since who has just acquired a lock is not waiting, and the ring is looked for after the entry.
 */
#include "common.h"

#define MOST_WAITS 1024
#define MOST_LINKS 64

static void guard(ext_state *state)
{
    while (atomic_flag_test_and_set_explicit(&state->blocked_guard, memory_order_acquire)) {
    }
}

static void unguard(ext_state *state)
{
    atomic_flag_clear_explicit(&state->blocked_guard, memory_order_release); /* pairs with guard() */
}

/* A lock knows its owner by a name of its own, which the thread learns by owning one. */
static int own_key(void)
{
    static _Thread_local int key;
    if (key == 0) {
        mh_lock probe;
        mh_lock_init(&probe, MH_PRIVATE);
        (void) mh_lock_try_acquire(&probe);
        key = mh_lock_owner(&probe);
    }
    return key;
}

/* While the interpreter is finalised, threads are ended in the middle of their waits, and the records that they leave
 * behind are void: from then on the list is left alone. */
void ext_blocked_enter(ext_blocked *me, PyObject *what, const mh_lock *lock, mh_deadline deadline)
{
    ext_state *state = ext_finalizing() ? NULL : ext_state_for(what);
    me->state = state;
    if (state == NULL) {
        PyErr_Clear();
        return;
    }
    me->what = what;
    me->lock = lock;
    me->ident = PyThread_get_thread_ident();
    me->key = own_key();
    me->since = mh_now();
    me->forever = deadline == MH_FOREVER;
    me->prev = NULL;
    guard(state);
    me->next = state->blocked;
    if (me->next != NULL) {
        me->next->prev = me;
    }
    state->blocked = me;
    unguard(state);
}

static void unlink_record(ext_state *state, ext_blocked *me)
{
    if (me->prev != NULL) {
        me->prev->next = me->next;
    } else {
        state->blocked = me->next;
    }
    if (me->next != NULL) {
        me->next->prev = me->prev;
    }
}

void ext_blocked_leave(ext_blocked *me)
{
    if (me->state != NULL && !ext_finalizing()) {
        guard(me->state);
        unlink_record(me->state, me);
        unguard(me->state);
    }
}

void ext_blocked_after_fork(ext_state *state)
{
    unsigned long ident = PyThread_get_thread_ident();
    atomic_flag_clear_explicit(&state->blocked_guard, memory_order_relaxed);
    for (ext_blocked *at = state->blocked, *next; at != NULL; at = next) {
        next = at->next;
        if (at->ident != ident) {
            unlink_record(state, at);
        }
    }
}

/* ---- what is told of a wait ---------------------------------------------------------------------------------- */

typedef struct told {
    PyObject *what; /* a reference of its own */
    unsigned long ident;
    int key, owner;
    mh_deadline since;
} told;

static told tell(const ext_blocked *at)
{
    return (told){.what = Py_NewRef(at->what),
                  .ident = at->ident,
                  .key = at->key,
                  .owner = at->lock == NULL ? 0 : mh_lock_owner(at->lock),
                  .since = at->since};
}

/* (ident, key, what, seconds, key of the owner or 0) of each; takes the references. */
static PyObject *as_list(told *all, int count)
{
    PyObject *list = PyList_New(0);
    mh_deadline now = mh_now();
    for (int i = 0; i < count; i++) {
        PyObject *item = list == NULL ? NULL
                                      : Py_BuildValue("(kiOdi)", all[i].ident, all[i].key, all[i].what,
                                                      (double) (now - all[i].since) / 1e9, all[i].owner);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
        Py_DECREF(all[i].what);
    }
    return list;
}

PyObject *ext_waits(PyObject *module, PyObject *unused)
{
    (void) unused;
    ext_state *state = PyModule_GetState(module);
    told *all = ext_finalizing() ? NULL : PyMem_Calloc(MOST_WAITS, sizeof *all);
    int count = 0;
    if (all == NULL) {
        return ext_finalizing() ? PyList_New(0) : PyErr_NoMemory();
    }
    guard(state);
    for (const ext_blocked *at = state->blocked; at != NULL && count < MOST_WAITS; at = at->next) {
        all[count++] = tell(at);
    }
    unguard(state);
    PyObject *list = as_list(all, count);
    PyMem_Free(all);
    return list;
}

/* ---- rings --------------------------------------------------------------------------------------------------- */

/* The innermost wait of the thread; the newest is at the head. */
static const ext_blocked *wait_of(const ext_state *state, int key)
{
    const ext_blocked *at = state->blocked;
    while (at != NULL && at->key != key) {
        at = at->next;
    }
    return at;
}

/* The ring from `me` over owners back to `me`, under the guard: its length, 0 where there is none.
 *
 * A thread that waits for a plain Lock which it took itself is no ring: locks that one thread takes and another releases
 * are a way to send signals. Nor is a ring with a wait in it that has a deadline. A thread on the way that has just
 * acquired what its record says it waits for owns that lock itself, and ends the search. */
static int find_ring(const ext_state *state, const ext_blocked *me, const ext_blocked **ring)
{
    const ext_blocked *at = me;
    for (int n = 0; n < MOST_LINKS && at != NULL && at->lock != NULL && at->forever;) {
        int owner = mh_lock_owner(at->lock);
        ring[n++] = at;
        if (owner == me->key) {
            return n > 1 ? n : 0;
        }
        if (owner == 0 || owner == at->key) {
            return 0;
        }
        at = wait_of(state, owner);
    }
    return 0;
}

int ext_deadlock_check(const ext_blocked *me, bool may_raise)
{
    ext_state *state = me->state;
    if (state == NULL || state->ref[EXT_DEADLOCK] == NULL || me->lock == NULL || !me->forever) {
        return 0;
    }
    const ext_blocked *ring[MOST_LINKS];
    told all[MOST_LINKS];
    guard(state);
    int count = find_ring(state, me, ring);
    for (int i = 0; i < count; i++) {
        all[i] = tell(ring[i]);
    }
    unguard(state);
    if (count == 0) {
        return 0;
    }
    PyObject *list = as_list(all, count);
    PyObject *report = list == NULL ? NULL : Py_NewRef(state->ref[EXT_DEADLOCK]);
    PyObject *done = report == NULL
                         ? NULL
                         : PyObject_CallFunctionObjArgs(report, list, may_raise ? Py_True : Py_False, NULL);
    Py_XDECREF(report);
    Py_XDECREF(list);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}
