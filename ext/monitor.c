/* How a thread that runs Python code, and never comes by a wait of ours, is made to come by: sys.monitoring (3.12+).
 *
 * A thread that is asked to park or to end and does not sleep in our waits is *hunted*. Its control is on a list, and:
 *   1. events for all code are on (a jump, the beginning, resumption and end of a function) until the thread is met in
 *      one, or HUNT_NS have passed: then it is blocked in C code that is not ours;
 *   2. then only the code objects of its own frames have events, as tripwires: other threads run at full speed, and the
 *      thread is met when it comes back to any of its frames;
 *   3. whoever still waits for it in pause() starts again at 1. every now and then, for C code that calls Python functions
 *      and does not return.
 * A thread that is to end gets in addition the events of single instructions, in the function where it was met, and
 * ThreadExit is raised at the back-edge of a loop only: nothing is half done there, and every `try` around the loop covers
 * it. In a function without a loop it is raised, after GRACE_NS, where the next function begins; in a loop whose single
 * instructions are not reported, for whatever reason, at the jump itself.
 *
 * No callback returns DISABLE and restart_events() is never called: both reach into what other tools have switched on.
 * All of it is guarded by the GIL, or, without one, by the monitor's mutex. While nothing is asked of any thread, no
 * event is on, and nothing of this costs anything.
 */
#include "control.h"

#include <pthread.h>

#include "monitor.h"

#if PY_VERSION_HEX >= 0x030c0000

#define HUNT_NS 50000000
#define GRACE_NS 250000000
#define LOOK_EVERY 256u
#define PAY_AT_MOST 200u /* times LOOK_EVERY callbacks in threads that nobody asked for anything */
#define TRIP_DEPTH 64

#ifdef Py_GIL_DISABLED
#define FREE_THREADED 1
#define LOCK(monitor) PyMutex_Lock(&(monitor)->mutex)
#define UNLOCK(monitor) PyMutex_Unlock(&(monitor)->mutex)
#else
#define FREE_THREADED 0
#define LOCK(monitor) ((void) (monitor))
#define UNLOCK(monitor) ((void) (monitor))
#endif

static PyObject *quiet(PyObject *result)
{
    if (result == NULL) {
        PyErr_WriteUnraisable(NULL); /* whoever is being paused is not to see our trouble */
    }
    return result;
}

/* ---- the tool ---------------------------------------------------------------------------------------------------- */

static PyObject *on_call(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
static PyObject *on_event(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
static PyObject *on_jump(PyObject *module, PyObject *const *args, Py_ssize_t nargs);
static PyObject *on_instruction(PyObject *module, PyObject *const *args, Py_ssize_t nargs);

static PyMethodDef call_method =
    EXT_METHOD("_on_call", on_call, METH_FASTCALL, "A function begins or goes on.");
static PyMethodDef event_method = EXT_METHOD("_on_event", on_event, METH_FASTCALL, "A place to park.");
static PyMethodDef jump_method = EXT_METHOD("_on_jump", on_jump, METH_FASTCALL, "A turn of a loop.");
static PyMethodDef instruction_method =
    EXT_METHOD("_on_instruction", on_instruction, METH_FASTCALL, "Perhaps a place to end.");

static const struct {
    const char *name;
    PyMethodDef *method;
    enum { FOR_ALL = 1, FOR_TRIPS = 2, FOR_END = 4, FOR_WALK = FREE_THREADED ? FOR_ALL : 0 } use;
} table[] = {
    {"PY_START", &call_method, FOR_ALL},
    {"PY_RESUME", &call_method, FOR_ALL | FOR_TRIPS},
    {"PY_RETURN", &event_method, FOR_ALL | FOR_TRIPS},
    {"JUMP", &jump_method, FOR_ALL | FOR_TRIPS},
    {"PY_YIELD", &event_method, FOR_TRIPS | FOR_WALK},
    {"PY_UNWIND", &event_method, FOR_WALK},
    {"CALL", &event_method, FOR_TRIPS},
    {"INSTRUCTION", &instruction_method, FOR_END},
};

/* Take a place among the tools: 4, or 3 where another has it. 0: none is free. */
static int take_place(PyObject *monitoring)
{
    for (int tool = 4; tool >= 3; tool--) {
        PyObject *done = PyObject_CallMethod(monitoring, "use_tool_id", "is", tool, "manyhands");
        Py_XDECREF(done);
        if (done != NULL) {
            return tool;
        }
        PyErr_Clear();
    }
    return 0;
}

static int register_one(PyObject *module, PyObject *monitoring, PyObject *events, size_t i,
                        ext_monitor *monitor)
{
    PyObject *number = PyObject_GetAttrString(events, table[i].name);
    PyObject *function = number == NULL ? NULL : PyCFunction_NewEx(table[i].method, module, NULL);
    PyObject *before = function == NULL ? NULL
                                        : PyObject_CallMethod(monitoring, "register_callback", "iOO",
                                                              monitor->tool, number, function);
    unsigned event = before == NULL ? 0 : (unsigned) PyLong_AsUnsignedLong(number);
    monitor->all |= table[i].use & FOR_ALL ? event : 0;
    monitor->trips |= table[i].use & FOR_TRIPS ? event : 0;
    monitor->end |= table[i].use & FOR_END ? event : 0;
    Py_XDECREF(number);
    Py_XDECREF(function);
    Py_XDECREF(before);
    return before == NULL ? -1 : 0;
}

#ifdef Py_GIL_DISABLED
/* Between fork() and ext_monitor_after_fork() the hooks of others run Python code, and the mutex may be that of a thread which
 * stayed behind: until then no event is acted on. Both only change in a forked child that has one thread. */
static atomic_uint forks, forks_seen;

static void count_forks(void)
{
    atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

static bool is_fresh_child(void)
{
    return atomic_load_explicit(&forks, memory_order_relaxed) !=
           atomic_load_explicit(&forks_seen, memory_order_relaxed);
}

static void watch_forks(void)
{
    static atomic_bool done;
    if (!atomic_exchange(&done, true)) {
        (void) pthread_atfork(NULL, NULL, count_forks); /* ENOMEM at worst; then it is as without */
    }
}
#else
static bool is_fresh_child(void)
{
    return false;
}

static void watch_forks(void)
{
}
#endif

static int begin(PyObject *module, ext_state *state, ext_monitor *monitor)
{
    PyObject *monitoring = PySys_GetObject("monitoring"); /* borrowed */
    PyObject *events = monitoring == NULL ? NULL : PyObject_GetAttrString(monitoring, "events");
    if (events == NULL) {
        return -1;
    }
    state->ref[EXT_SET_EVENTS] = PyObject_GetAttrString(monitoring, "set_events");
    state->ref[EXT_SET_LOCAL_EVENTS] = PyObject_GetAttrString(monitoring, "set_local_events");
    watch_forks();
    monitor->tool = take_place(monitoring);
    int rc = monitor->tool == 0 || state->ref[EXT_SET_EVENTS] == NULL ||
                     state->ref[EXT_SET_LOCAL_EVENTS] == NULL
                 ? -1
                 : 0;
    for (size_t i = 0; rc == 0 && i < sizeof table / sizeof table[0]; i++) {
        rc = register_one(module, monitoring, events, i, monitor);
    }
    Py_DECREF(events);
    return rc;
}

/* Ask once; a refusal stands. */
static bool is_ready(PyObject *self, ext_state *state)
{
    ext_monitor *monitor = &state->monitor;
    if (monitor->tool == 0) {
        PyObject *module = PyModule_Check(self) ? self : PyType_GetModuleByDef(Py_TYPE(self), &ext_module);
        if (module == NULL || begin(module, state, monitor) < 0) {
            PyErr_Clear();
            monitor->tool = -1;
        }
    }
    return monitor->tool > 0;
}

static unsigned events_on(ext_state *state)
{
    return atomic_load_explicit(&state->monitor.events, memory_order_relaxed);
}

static void set_events(ext_state *state, unsigned events)
{
    if (events_on(state) != events && state->ref[EXT_SET_EVENTS] != NULL) {
        atomic_store_explicit(&state->monitor.events, events, memory_order_relaxed);
        Py_XDECREF(
            quiet(PyObject_CallFunction(state->ref[EXT_SET_EVENTS], "iI", state->monitor.tool, events)));
    }
}

/* ---- code objects with events of their own ----------------------------------------------------------------------- */

static ext_wire *find_wire(ext_monitor *monitor, PyObject *code)
{
    for (size_t i = 0; i < monitor->wires_count; i++) {
        if (monitor->wires[i].code == code) {
            return &monitor->wires[i];
        }
    }
    return NULL;
}

static ext_wire *add_wire(ext_monitor *monitor, PyObject *code)
{
    if (monitor->wires_count == monitor->wires_room) {
        size_t room = monitor->wires_room == 0 ? 16 : monitor->wires_room * 2;
        ext_wire *wires = PyMem_RawRealloc(monitor->wires, room * sizeof *wires);
        if (wires == NULL) {
            return NULL;
        }
        monitor->wires = wires;
        monitor->wires_room = room;
    }
    ext_wire *wire = &monitor->wires[monitor->wires_count];
    *wire = (ext_wire){.code = Py_NewRef(code)};
    monitor->wires_count++; /* after the rest: a fork may come in between, where there is no GIL */
    return wire;
}

static void set_local_events(ext_state *state, ext_wire *wire, unsigned events)
{
    if (wire->events != events && state->ref[EXT_SET_LOCAL_EVENTS] != NULL) {
        wire->events = events;
        Py_XDECREF(quiet(PyObject_CallFunction(state->ref[EXT_SET_LOCAL_EVENTS], "iOI", state->monitor.tool,
                                               wire->code, events)));
    }
}

static void add_events(ext_state *state, PyObject *code, unsigned events)
{
    ext_wire *wire = find_wire(&state->monitor, code);
    wire = wire != NULL ? wire : add_wire(&state->monitor, code);
    if (wire != NULL) {
        set_local_events(state, wire, wire->events | events);
    }
}

static void cut_wires(ext_state *state, unsigned events)
{
    ext_monitor *monitor = &state->monitor;
    for (size_t i = 0; i < monitor->wires_count; i++) {
        set_local_events(state, &monitor->wires[i], monitor->wires[i].events & ~events);
    }
}

static void forget_wires(ext_state *state)
{
    ext_monitor *monitor = &state->monitor;
    cut_wires(state, ~0u);
    size_t count = monitor->wires_count;
    ext_wire *wires = monitor->wires;
    monitor->wires_count = monitor->wires_room = 0;
    monitor->wires = NULL;
    for (size_t i = 0; i < count; i++) {
        Py_DECREF(wires[i].code);
    }
    PyMem_RawFree(wires);
}

/* ---- the hunt ---------------------------------------------------------------------------------------------------- */

static bool is_to_end(const ext_control *control)
{
    return mh_thread_state(&control->thread) == MH_TERMINATING;
}

/* Switch on and off what the list asks for. */
static void settle(ext_state *state)
{
    bool all = false, end = false;
    for (ext_control *c = state->monitor.hunted; c != NULL; c = c->next) {
        all = all || c->until != 0;
        end = end || is_to_end(c);
    }
    set_events(state, all ? state->monitor.all : 0);
    if (state->monitor.hunted == NULL) {
        forget_wires(state);
    } else if (!end) {
        cut_wires(state, state->monitor.end);
    }
}

static void take_off(ext_state *state, ext_control *control)
{
    for (ext_control **place = &state->monitor.hunted; *place != NULL; place = &(*place)->next) {
        if (*place == control) {
            *place = control->next;
            control->next = NULL;
            control->until = 0;
            atomic_store_explicit(&control->hunted, false, memory_order_relaxed);
            Py_DECREF((PyObject *) control);
            return;
        }
    }
}

static void put_on(ext_state *state, ext_control *control)
{
    if (!atomic_exchange_explicit(&control->hunted, true, memory_order_relaxed)) {
        control->next = state->monitor.hunted;
        state->monitor.hunted = (ext_control *) Py_NewRef((PyObject *) control);
    }
    control->until = mh_in_ns(HUNT_NS);
}

void ext_monitor_drop(PyObject *self, ext_control *control)
{
    ext_state *state = atomic_load_explicit(&control->hunted, memory_order_relaxed) ? ext_state_for(self)
                                                                                    : NULL;
    if (state != NULL) {
        Py_INCREF((PyObject *) control); /* the list's reference may be the last */
        LOCK(&state->monitor);
        take_off(state, control);
        settle(state);
        UNLOCK(&state->monitor);
        Py_DECREF((PyObject *) control);
    }
}

/* Events for the code of one thread's frames only, from `frame` (stolen) outwards. */
static void trip(ext_state *state, PyFrameObject *frame)
{
    for (int depth = 0; frame != NULL && depth < TRIP_DEPTH; depth++) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        add_events(state, (PyObject *) code, state->monitor.trips);
        Py_DECREF(code);
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_SETREF(frame, back);
    }
    Py_XDECREF(frame);
}

/* The innermost frame of a thread (new reference), or NULL. The GIL keeps it and those outside of it still. Without one the
 * monitor's mutex does, while events are on: to ask for it stops the world, and no frame is left from then on but by an
 * event of a hunted thread, which waits for the mutex (FOR_WALK has the ways to leave one that parking has no use for). Frames
 * of a trace function, which have no events, are the exception. */
static PyFrameObject *frame_of(ext_control *control)
{
    unsigned long number = atomic_load_explicit(&control->ident, memory_order_relaxed);
    PyObject *frames = quiet(ext_current_frames(NULL, NULL));
    PyObject *ident = frames == NULL ? NULL : PyLong_FromUnsignedLong(number);
    PyObject *frame = ident == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(frames, ident));
    PyErr_Clear();
    Py_XDECREF(ident);
    Py_XDECREF(frames);
    return (PyFrameObject *) frame;
}

/* It was not met in time. Where its frames cannot be walked, events stay on. */
static void give_up_on(ext_state *state, ext_control *control)
{
    PyFrameObject *frame = frame_of(control);
    control->until = frame == NULL ? mh_in_ns(HUNT_NS) : 0;
    trip(state, frame);
}

/* A loop around a call that is blocked is left when the call returns, not one turn later. */
static void watch_loop(ext_state *state, ext_control *control)
{
    PyFrameObject *frame = frame_of(control);
    if (frame != NULL) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        add_events(state, (PyObject *) code, state->monitor.end);
        Py_DECREF(code);
        Py_DECREF(frame);
    }
}

int ext_monitor_hunt(PyObject *self, ext_control *control)
{
    ext_state *state = ext_state_for(self);
    if (state == NULL) {
        PyErr_Clear();
        return -1;
    }
    LOCK(&state->monitor);
    bool ready = is_ready(self, state);
    if (ready) {
        put_on(state, control);
        state->monitor.paid = 0;
        settle(
            state); /* first: once a tracer was there, CPython forgets local events when global ones come later */
        if (is_to_end(control)) {
            watch_loop(state, control);
        }
    }
    UNLOCK(&state->monitor);
    return ready ? 0 : -1;
}

/* Whoever pays for the events looks now and then whether they are still worth it. */
static void look_after(ext_state *state)
{
    unsigned calls = atomic_fetch_add_explicit(&state->monitor.calls, 1, memory_order_relaxed);
    if (events_on(state) == 0 && calls % LOOK_EVERY == 0 && ++state->monitor.paid > PAY_AT_MOST) {
        LOCK(&state->monitor);
        cut_wires(state, state->monitor.end);
        UNLOCK(&state->monitor);
        return;
    }
    if (calls % LOOK_EVERY != 0 || state->ref[EXT_SET_EVENTS] == NULL) {
        return;
    }
    int64_t now = mh_now();
    LOCK(&state->monitor);
    for (ext_control *c = state->monitor.hunted; c != NULL; c = c->next) {
        if (c->until != 0 && c->until < now) {
            give_up_on(state, c);
        }
    }
    settle(state);
    UNLOCK(&state->monitor);
}

void ext_monitor_after_fork(PyObject *module)
{
    ext_state *state = PyModule_GetState(module);
#ifdef Py_GIL_DISABLED
    state->monitor.mutex = (PyMutex){0};
    atomic_store_explicit(&forks_seen, atomic_load_explicit(&forks, memory_order_relaxed),
                          memory_order_relaxed);
#endif
    while (state->monitor.hunted != NULL) {
        take_off(state, state->monitor.hunted);
    }
    if (FREE_THREADED) { /* another thread may have been about to set them: what is noted here need not be so */
        atomic_store_explicit(&state->monitor.events, ~0u, memory_order_relaxed);
        for (size_t i = 0; i < state->monitor.wires_count; i++) {
            state->monitor.wires[i].events = ~0u;
        }
    }
    if (state->monitor.tool > 0) {
        settle(state);
    }
}

void ext_monitor_forget(ext_state *state)
{
    while (state->monitor.hunted != NULL) {
        take_off(state, state->monitor.hunted);
    }
    forget_wires(state);
}

/* ---- met: the callbacks, in the thread itself -------------------------------------------------------------------- */

/* A thread in the middle of an import keeps others from that module. Returns the frame outside of the outermost import
 * (new reference), or NULL: it imports nothing. */
static PyFrameObject *outside_imports(void)
{
    PyFrameObject *outside = NULL;
    PyFrameObject *frame = (PyFrameObject *) Py_XNewRef(PyEval_GetFrame());
    bool inside = false;
    while (frame != NULL) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        bool import = PyUnicode_CompareWithASCIIString(code->co_filename, "<frozen importlib._bootstrap>") ==
                      0;
        Py_DECREF(code);
        if (inside && !import) {
            Py_XSETREF(outside, (PyFrameObject *) Py_NewRef(frame));
        }
        inside = import;
        PyFrameObject *back = PyFrame_GetBack(frame);
        Py_SETREF(frame, back);
    }
    return outside;
}

static void park(PyObject *module, ext_control *me)
{
    ext_state *state = PyModule_GetState(module);
    PyFrameObject *outside = outside_imports();
    if (outside != NULL) {
        LOCK(&state->monitor);
        me->until = 0;
        trip(state, outside);
        settle(state);
        UNLOCK(&state->monitor);
        return;
    }
    ext_monitor_drop(module, me);
    if (ext_may_park()) {
        Py_BEGIN_ALLOW_THREADS(void) mh_checkpoint(); /* whether it is to end is seen at the next event */
        Py_END_ALLOW_THREADS
    }
}

/* Met on its way to its end: look at every instruction here, and keep meeting it. */
static void follow(PyObject *module, ext_control *me, PyObject *code)
{
    ext_state *state = PyModule_GetState(module);
    LOCK(&state->monitor);
    me->until = mh_in_ns(HUNT_NS);
    if (state->monitor.hunted != NULL) {
        settle(state);
        add_events(state, code, state->monitor.end);
    }
    UNLOCK(&state->monitor);
}

/* The thread has come by. 1: it is to end, and ThreadExit has not been raised yet. */
static int met(PyObject *module, ext_control *me, PyObject *code)
{
    switch (mh_thread_state(&me->thread)) {
    case MH_PAUSING:
        park(module, me);
        return 0;
    case MH_TERMINATING:
        if (!ext_control_exit_due(me) || ext_shielded()) {
            ext_monitor_drop(module, me); /* the end of the shield starts again */
            return 0;
        }
        follow(module, me, code);
        return 1;
    default:
        ext_monitor_drop(module, me); /* taken back */
        return 0;
    }
}

static ext_control *hunted_self(PyObject *module)
{
    ext_control *me = ext_control_self();
    if (is_fresh_child()) {
        return NULL;
    }
    if (me != NULL && atomic_load_explicit(&me->hunted, memory_order_relaxed)) {
        return ext_is_finding_out() ? NULL : me;
    }
    look_after(PyModule_GetState(module));
    return NULL;
}

static PyObject *end_here(PyObject *module, ext_control *me)
{
    ext_monitor_drop(module, me);
    (void) ext_deliver_exit(module);
    return NULL;
}

static PyObject *on_event(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    ext_control *me = hunted_self(module);
    if (me != NULL && nargs > 0) {
        (void) met(module, me, args[0]);
    }
    Py_RETURN_NONE;
}

/* Has it been given the time to end at a better place? */
static bool is_overdue(PyObject *module, const ext_control *me)
{
    return mh_now() - atomic_load_explicit(&me->asked, memory_order_relaxed) > GRACE_NS &&
           !ext_in_cleanup(module);
}

static PyObject *on_jump(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    ext_control *me = hunted_self(module);
    if (me != NULL && nargs > 2 && met(module, me, args[0]) &&
        PyLong_AsSsize_t(args[2]) <= PyLong_AsSsize_t(args[1]) && is_overdue(module, me)) {
        return end_here(module, me);
    }
    Py_RETURN_NONE;
}

static PyObject *on_call(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    ext_control *me = hunted_self(module);
    if (me != NULL && nargs > 0 && met(module, me, args[0]) && is_overdue(module, me)) {
        return end_here(module, me);
    }
    Py_RETURN_NONE;
}

static PyObject *on_instruction(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    ext_control *me = hunted_self(module);
    if (me == NULL || nargs < 2) {
        Py_RETURN_NONE;
    }
    int mark = ext_mark_at(module, args[0], PyLong_AsSsize_t(args[1]));
    if (mark == EXT_BACK_EDGE && met(module, me, args[0]) && !ext_in_cleanup(module)) {
        return end_here(module, me);
    }
    Py_RETURN_NONE;
}

#else /* 3.11: no events */

int ext_monitor_hunt(PyObject *self, ext_control *control)
{
    (void) self, (void) control;
    return -1;
}

void ext_monitor_drop(PyObject *self, ext_control *control)
{
    (void) self, (void) control;
}

void ext_monitor_after_fork(PyObject *module)
{
    (void) module;
}

void ext_monitor_forget(ext_state *state)
{
    (void) state;
}

#endif
