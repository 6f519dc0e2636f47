/* Sampler: what each Python thread is doing, asked some 200 times a second by a thread that never takes the GIL.
 *
 * A sample of a thread is two looks. Its thread state says whether it is attached to the interpreter: then it runs Python
 * (or C code that keeps the GIL). If not, the kernel says, in /proc/self/task/ID/syscall, whether it runs (C code that let
 * the GIL go), sleeps on a futex (the GIL's: it waits for the GIL; another: for a lock), or sleeps elsewhere.
 *
 * Thread states are read by mh_peek(): a thread may end, and its state be freed, at any moment, and a read through the kernel
 * then fails where a plain one would crash. The list is walked from its oldest state, the first thread's, which lasts as long
 * as the interpreter, towards newer ones. What a torn read brings is one wrong sample.
 *
 * Where the GIL's futex lies is found by a thread that is made to wait for it. The pause between samples varies at random,
 * so that no rhythm of the program, or of the interpreter's own 5 ms, hides in it.
 */
#include "common.h"

#include "manyhands/lock.h"
#include "manyhands/look.h"
#include "manyhands/thread.h"

#define MOST_THREADS 4096 /* looked at in one round */
/* Bytes around the futex that was found: a condition variable has several, and a mutex beside it. */
#define GIL_REACH 128

enum doing { RUNS_PYTHON, RUNS_C, WAITS_GIL, WAITS_LOCK, WAITS_OUTSIDE, DOINGS };

typedef struct seen_thread {
    PyThreadState *state; /* compared, never followed */
    unsigned long ident;
    int id;
    uint32_t samples;
    char name[16];
    int64_t ns[DOINGS];
    int64_t cpu_before;
    mh_look look;
    mh_deadline last;
} seen_thread;

typedef struct sampler {
    mh_thread thread; /* first: mh_thread_start() hands it to sample() */
    mh_lock guard;    /* of what is below, between the sampler and read() */
    seen_thread *seen;
    size_t count, room;
    PyThreadState *oldest;
    uintptr_t gil; /* address of its futex; 0: there is none */
    int64_t interval;
    uint64_t dice;
} sampler;

typedef struct sampler_object {
    PyObject_HEAD
    sampler *sampler; /* NULL: not started */
    int64_t interval;
} sampler_object;

/* ---- one look ------------------------------------------------------------------------------------------------ */

static bool peek(const PyThreadState *from, PyThreadState *copy)
{
    return mh_peek(from, copy, sizeof *copy) == 0;
}

static bool is_attached(const PyThreadState *at, const PyThreadState *copy)
{
#if PY_VERSION_HEX >= 0x030d0000
    (void) at;
    return copy->state == 1; /* attached; 0: detached, else: stopped by the interpreter */
#elif PY_VERSION_HEX >= 0x030c0000
    (void) at;
    return copy->_status.active;
#else
    (void) copy;
    return at == _PyThreadState_UncheckedGet();
#endif
}

static bool is_near(uintptr_t address, uintptr_t other)
{
    return other != 0 && address + GIL_REACH - other < GIL_REACH + GIL_REACH;
}

static enum doing doing_detached(const sampler *s, const mh_look *look)
{
    switch (look->doing) {
    case MH_RUNS:
        return RUNS_C;
    case MH_SLEEPS_ON_WORD:
        return is_near(look->word, s->gil) ? WAITS_GIL : WAITS_LOCK;
    default:
        return WAITS_OUTSIDE;
    }
}

static enum doing doing(const sampler *s, PyThreadState *at, PyThreadState *copy, const mh_look *look)
{
    if (is_attached(at, copy)) {
        return RUNS_PYTHON;
    }
    enum doing found = doing_detached(s, look);
    if (found == RUNS_C && peek(at, copy) && is_attached(at, copy)) {
        return RUNS_PYTHON; /* it got the GIL between the two looks */
    }
    return found;
}

/* ---- the records --------------------------------------------------------------------------------------------- */

/* A thread gives itself its name, which may be after it was first seen: asked for again, ever more rarely. */
static void learn_name(seen_thread *one)
{
    bool due = (one->samples & (one->samples - 1)) == 0; /* 0, 1, 2, 4, ... */
    if (due && mh_thread_name_of(one->id, one->name) < 0 && one->samples == 0) {
        one->name[0] = 0;
    }
}

static seen_thread *add_seen(sampler *s, PyThreadState *at, const PyThreadState *copy, mh_deadline now)
{
    if (s->count == s->room) {
        size_t room = s->room == 0 ? 64 : 2 * s->room;
        seen_thread *grown = PyMem_RawRealloc(s->seen, room * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        s->seen = grown;
        s->room = room;
    }
    seen_thread *made = &s->seen[s->count++];
    *made =
        (seen_thread){.state = at, .ident = copy->thread_id, .id = (int) copy->native_thread_id, .last = now};
    (void) mh_look_at(made->id, &made->look);
    made->cpu_before = made->look.cpu;
    learn_name(made);
    return made;
}

/* NULL: it was seen just now for the first time. */
static seen_thread *find_seen(sampler *s, PyThreadState *at, const PyThreadState *copy, mh_deadline now)
{
    for (size_t i = s->count; i > 0; i--) { /* the latest first: states and numbers are used again */
        seen_thread *one = &s->seen[i - 1];
        if (one->state == at && one->ident == copy->thread_id && one->id == (int) copy->native_thread_id) {
            return one;
        }
    }
    (void) add_seen(s, at, copy, now);
    return NULL;
}

static void note(sampler *s, PyThreadState *at, PyThreadState *copy)
{
    if (copy->native_thread_id == 0) {
        return; /* not bound to a thread yet */
    }
    mh_deadline now = mh_now();
    seen_thread *one = find_seen(s, at, copy, now);
    if (one == NULL || mh_look_at(one->id, &one->look) < 0) {
        return; /* new, or gone */
    }
    one->ns[doing(s, at, copy, &one->look)] += now - one->last;
    one->last = now;
    one->samples++;
    learn_name(one);
}

static void look_round(sampler *s)
{
    PyThreadState copy, *at = s->oldest;
    if (mh_lock_acquire(&s->guard, MH_FOREVER, NULL) < 0) {
        return;
    }
    for (int i = 0; i < MOST_THREADS && at != NULL && peek(at, &copy); i++) {
        note(s, at, &copy);
        at = copy.prev; /* towards the newer ones */
    }
    mh_lock_release(&s->guard);
}

/* Half to one and a half of the interval (xorshift64: Marsaglia, "Xorshift RNGs", 2003). */
static int64_t next_pause(sampler *s)
{
    s->dice ^= s->dice << 13;
    s->dice ^= s->dice >> 7;
    s->dice ^= s->dice << 17;
    return s->interval / 2 + (int64_t) (s->dice % (uint64_t) s->interval);
}

static int sample(mh_thread *self)
{
    sampler *s = (sampler *) self;
    MH_ATOMIC(uint32_t) never = 0;
    while (mh_checkpoint() == 0) {
        look_round(s);
        (void) mh_wait(&never, 0, mh_in_ns(next_pause(s)), NULL, MH_PRIVATE);
    }
    return 0;
}

/* ---- start --------------------------------------------------------------------------------------------------- */

typedef struct prober {
    mh_thread thread;
    PyInterpreterState *interpreter;
} prober;

static int want_gil(mh_thread *self)
{
    PyThreadState *state = PyThreadState_New(((prober *) self)->interpreter);
    if (state != NULL) {
        PyEval_RestoreThread(state);
        PyThreadState_Clear(state);
        PyThreadState_DeleteCurrent();
    }
    return 0;
}

static void end(mh_thread *thread)
{
    mh_shield_enter();
    (void) mh_thread_terminate(thread);
    while (mh_thread_join(thread, MH_FOREVER, NULL) < 0) {
        /* a signal; it lies where we go on, and must be gone */
    }
    mh_shield_leave();
}

/* The futex that the thread sleeps on: the same at two looks half a millisecond apart. 0: none within 100 ms. */
static uintptr_t futex_of(int id)
{
    MH_ATOMIC(uint32_t) never = 0;
    uintptr_t before = 0;
    for (mh_deadline end = mh_in_ms(100); mh_now() < end;) {
        mh_look look = {0, 0, MH_RUNS};
        uintptr_t address = mh_look_at(id, &look) == 0 ? look.word : 0;
        if (address != 0 && is_near(address, before)) {
            return address;
        }
        before = address;
        (void) mh_wait(&never, 0, mh_in_ns(500000), NULL, MH_PRIVATE);
    }
    return 0;
}

/* The calling thread holds the GIL, and so the prober has to wait for it. Shielded: it must not be parked with it. */
static uintptr_t find_gil(void)
{
#ifdef Py_GIL_DISABLED
    return 0;
#else
    prober one = {.thread = {.run = want_gil, .flags = MH_QUIET}, .interpreter = PyInterpreterState_Get()};
    if (mh_thread_start(&one.thread) < 0) {
        return 0;
    }
    mh_shield_enter();
    uintptr_t address = futex_of(mh_thread_id(&one.thread));
    PyThreadState *kept = PyEval_SaveThread();
    end(&one.thread);
    PyEval_RestoreThread(kept);
    mh_shield_leave();
    return address;
#endif
}

static PyThreadState *oldest_state(void)
{
    PyThreadState copy, *at = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    while (peek(at, &copy) && copy.next != NULL) {
        at = copy.next;
    }
    return at;
}

static void free_sampler(sampler *s)
{
    PyMem_RawFree(s->seen);
    PyMem_RawFree(s);
}

static int check_reads(const sampler *s)
{
    PyThreadState copy;
    mh_look look = {0, 0, MH_RUNS};
    int rc = mh_peek(s->oldest, &copy, sizeof copy);
    if (rc == 0) {
        rc = mh_look_at((int) PyThread_get_thread_native_id(), &look);
    }
    if (rc < 0) {
        ext_refuse(PyExc_OSError, "MH-SYSTEM",
                   "this system does not let a process look at its own threads: %s", mh_strerror(rc));
    }
    return rc;
}

static PyObject *sampler_start(sampler_object *self, PyObject *unused)
{
    (void) unused;
    if (self->sampler != NULL) {
        ext_refuse(PyExc_RuntimeError, "MH-STATE", "it was started before: an observation is made once");
        return NULL;
    }
    sampler *s = PyMem_RawCalloc(1, sizeof *s);
    if (s == NULL) {
        return PyErr_NoMemory();
    }
    mh_lock_init(&s->guard, MH_PRIVATE);
    s->thread.run = sample;
    s->thread.name = "mh-observer";
    s->thread.flags = MH_QUIET;
    s->interval = self->interval;
    s->dice = (uint64_t) mh_now() | 1u;
    s->oldest = oldest_state();
    if (check_reads(s) < 0) {
        free_sampler(s);
        return NULL;
    }
    self->sampler = s;
    s->gil = find_gil();
    int rc = mh_thread_start(&s->thread);
    if (rc < 0) {
        self->sampler = NULL;
        free_sampler(s);
        ext_raise_code((PyObject *) self, rc);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- read and stop ------------------------------------------------------------------------------------------- */

/* In a forked child the sampler is gone, and nobody shares the records. */
static bool is_here(sampler *s)
{
    return mh_thread_join(&s->thread, MH_AT_ONCE, NULL) != MH_E_LOST;
}

static PyObject *as_tuple(const seen_thread *one)
{
    double t[DOINGS];
    for (int i = 0; i < DOINGS; i++) {
        t[i] = (double) one->ns[i] / 1e9;
    }
    PyObject *name = PyUnicode_DecodeUTF8(one->name, (Py_ssize_t) strlen(one->name), "replace");
    return name == NULL ? NULL
                        : Py_BuildValue("kiN(ddddd)dI", one->ident, one->id, name, t[RUNS_PYTHON], t[RUNS_C],
                                        t[WAITS_GIL], t[WAITS_LOCK], t[WAITS_OUTSIDE],
                                        (double) (one->look.cpu - one->cpu_before) / 1e9, one->samples);
}

static PyObject *as_list(const seen_thread *seen, size_t count)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *item = as_tuple(&seen[i]);
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

/* The sampler wants nothing from Python, so that waiting for it with the GIL held takes no longer than its round. */
static PyObject *sampler_read(sampler_object *self, PyObject *unused)
{
    (void) unused;
    sampler *s = self->sampler;
    if (s == NULL) {
        return PyList_New(0);
    }
    bool here = is_here(s);
    mh_shield_enter();
    while (here && mh_lock_acquire(&s->guard, MH_FOREVER, NULL) < 0) {
        /* a signal */
    }
    size_t count = s->count;
    seen_thread *copy = PyMem_RawMalloc(count * sizeof *copy + 1);
    if (copy != NULL && count != 0) {
        memcpy(copy, s->seen, count * sizeof *copy);
    }
    if (here) {
        mh_lock_release(&s->guard);
    }
    mh_shield_leave();
    PyObject *list = copy == NULL ? PyErr_NoMemory() : as_list(copy, count);
    PyMem_RawFree(copy);
    return list;
}

static PyObject *sampler_stop(sampler_object *self, PyObject *unused)
{
    (void) unused;
    if (self->sampler != NULL && is_here(self->sampler)) {
        end(&self->sampler->thread);
    }
    Py_RETURN_NONE;
}

static void sampler_dealloc(sampler_object *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (self->sampler != NULL) {
        if (is_here(self->sampler)) {
            end(&self->sampler->thread);
        }
        free_sampler(self->sampler);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *sampler_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"Sampler", 1, 1, 1, {"interval"}};
    PyObject *interval = NULL;
    int64_t ns;
    if (ext_args_tuple(&signature, args, kwargs, &interval) < 0 || ext_seconds(interval, &ns) < 0) {
        return NULL;
    }
    if (ns < 100000 || ns > 10000000000) {
        ext_refuse(PyExc_ValueError, "MH-ARGUMENT", "interval must be 0.0001 to 10 seconds, not %R",
                   interval);
        return NULL;
    }
    sampler_object *self = (sampler_object *) type->tp_alloc(type, 0);
    if (self != NULL) {
        self->interval = ns;
    }
    return (PyObject *) self;
}

static PyMethodDef sampler_methods[] = {
    EXT_METHOD("start", sampler_start, METH_NOARGS, "start($self, /)\n--\n\nBegin to look; once."),
    EXT_METHOD("stop", sampler_stop, METH_NOARGS, "stop($self, /)\n--\n\nLook no more."),
    EXT_METHOD(
        "read", sampler_read, METH_NOARGS,
        "read($self, /)\n--\n\n"
        "Return for each thread seen (ident, system's id, name, (seconds of Python, of C without the GIL, of "
        "waiting for the\nGIL, for a lock, for the outside), seconds of processor time, samples)."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot sampler_slots[] = {
    {Py_tp_doc,
     (void *) PyDoc_STR("Sampler(interval)\n--\n\nWhat every thread does, looked at every `interval` "
                        "seconds on average.")},
    {Py_tp_new, sampler_new},
    {Py_tp_dealloc, sampler_dealloc},
    {Py_tp_methods, sampler_methods},
    {0, NULL},
};

static PyType_Spec sampler_spec = {
    .name = "manyhands._core.Sampler",
    .basicsize = sizeof(sampler_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = sampler_slots,
};

int ext_observe_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, -1, &sampler_spec, NULL);
}
