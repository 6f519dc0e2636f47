/* threading.Semaphore and BoundedSemaphore over mh_sem.
 *
 * The core counts to MH_SEM_MAX, Python's semaphores without end. What is above lies in `surplus`, which is moved into the
 * core's counter as that runs dry.
 */
#include "locks.h"

#include "manyhands/sem.h"

typedef struct ext_sem {
    PyObject_HEAD
    mh_sem sem;
    _Atomic(long long) surplus;
    long long initial;
    PyObject *cond; /* `_cond`, made when somebody asks for it; NULL until then */
    PyObject *dict;
    PyObject *weakrefs;
} ext_sem;

static PyObject *sem_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void) args, (void) kwargs;
    ext_sem *self = (ext_sem *) type->tp_alloc(type, 0);
    if (self != NULL) {
        mh_sem_init(&self->sem, 1, 0, MH_PRIVATE);
        atomic_init(&self->surplus, 0);
        self->initial = 1;
    }
    return (PyObject *) self;
}

/* An int as long long; `low`: the least allowed, else ValueError(text). */
static int number(PyObject *value, long long low, const char *text, long long *out)
{
    int overflow;
    PyObject *index = PyNumber_Index(value);
    long long n = index == NULL ? -1 : PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_XDECREF(index);
    if (index == NULL || (n == -1 && PyErr_Occurred())) {
        return -1;
    }
    if (overflow < 0 || (overflow == 0 && n < low)) {
        PyErr_SetString(PyExc_ValueError, text);
        return -1;
    }
    if (overflow > 0) {
        ext_refuse(PyExc_OverflowError, "MH-ARGUMENT", "a semaphore cannot count as far as that");
        return -1;
    }
    *out = n;
    return 0;
}

static int sem_init(ext_sem *self, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"Semaphore", 0, 1, 1, {"value"}};
    PyObject *given = NULL;
    long long value = 1;
    if (ext_args_tuple(&signature, args, kwargs, &given) < 0) {
        return -1;
    }
    if (given != NULL && number(given, 0, "semaphore initial value must be >= 0", &value) < 0) {
        return -1;
    }
    long long first = value > (long long) MH_SEM_MAX ? (long long) MH_SEM_MAX : value;
    if (mh_sem_init(&self->sem, (uint32_t) first, 0, MH_PRIVATE) < 0) {
        PyErr_SetString(PyExc_SystemError, "mh_sem_init");
        return -1;
    }
    atomic_store(&self->surplus, value - first);
    self->initial = value;
    return 0;
}

static int sem_traverse(ext_sem *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->cond);
    Py_VISIT(self->dict);
    return 0;
}

static int sem_clear(ext_sem *self)
{
    Py_CLEAR(self->cond);
    Py_CLEAR(self->dict);
    return 0;
}

static void sem_dealloc(ext_sem *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *) self);
    }
    sem_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Take one from the surplus; true where there was one. */
static bool draw(ext_sem *self)
{
    long long left = atomic_load_explicit(&self->surplus, memory_order_relaxed);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&self->surplus, &left, left - 1)) {
            return true;
        }
    }
    return false;
}

static int wait_for_sem(void *sem, mh_deadline deadline, ext_waiting *waiting)
{
    return mh_sem_acquire(sem, deadline, waiting->cancel);
}

static PyObject *sem_acquire(ext_sem *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until = EXT_FOREVER;
    if ((nargs != 0 || kwnames != NULL) &&
        ext_sem_args((PyObject *) self, args, nargs, kwnames, &until) < 0) {
        return NULL;
    }
    if (mh_sem_try_acquire(&self->sem) >= 0 || draw(self)) {
        Py_RETURN_TRUE;
    }
    if (until.at == MH_AT_ONCE) {
        Py_RETURN_FALSE;
    }
    if (ext_wait_is_hopeless(until)) {
        return NULL;
    }
    return ext_waited(ext_wait((PyObject *) self, wait_for_sem, &self->sem, until));
}

static int sem_count(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, long long *n)
{
    static const ext_signature signature = {"release", 0, 1, 1, {"n"}};
    PyObject *given = NULL;
    *n = 1;
    if (nargs == 0 && kwnames == NULL) {
        return 0;
    }
    if (ext_args(&signature, args, nargs, kwnames, &given) < 0) {
        return -1;
    }
    return given == NULL ? 0 : number(given, 1, "n must be one or more", n);
}

static long long sem_value(ext_sem *self)
{
    return (long long) mh_sem_value(&self->sem) + atomic_load_explicit(&self->surplus, memory_order_relaxed);
}

/* Add n: as much as there is room for to the core's counter, which wakes, and the rest to the surplus. */
static void post(ext_sem *self, long long n)
{
    uint32_t part = n > 0x40000000 ? 0x40000000u : (uint32_t) n;
    if (mh_sem_try_post(&self->sem, part) < 0) {
        part = 0;
    }
    if (n != (long long) part) {
        atomic_fetch_add(&self->surplus, n - (long long) part);
    }
}

static PyObject *sem_release(ext_sem *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    long long n;
    if (sem_count(args, nargs, kwnames, &n) < 0) {
        return NULL;
    }
    post(self, n);
    Py_RETURN_NONE;
}

static PyObject *bounded_release(ext_sem *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    long long n;
    bool room = false;
    if (sem_count(args, nargs, kwnames, &n) < 0) {
        return NULL;
    }
    EXT_CRITICAL_BEGIN((PyObject *) self); /* others may only take meanwhile, which makes more room */
    room = n <= self->initial - sem_value(self);
    if (room) {
        post(self, n);
    }
    EXT_CRITICAL_END;
    if (!room) {
        PyErr_SetString(PyExc_ValueError, "Semaphore released too many times");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *sem_enter(ext_sem *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return sem_acquire(self, args, nargs, kwnames);
}

/* self.release(), which a subclass may have redefined. */
static PyObject *sem_exit(ext_sem *self, PyObject *const *args, Py_ssize_t nargs)
{
    (void) args, (void) nargs;
    ext_state *state = ext_state_of(Py_TYPE(self));
    if (state == NULL) {
        return NULL;
    }
    if ((PyObject *) Py_TYPE(self) == state->ref[EXT_SEMAPHORE_TYPE]) {
        return sem_release(self, NULL, 0, NULL);
    }
    if ((PyObject *) Py_TYPE(self) == state->ref[EXT_BOUNDED_SEMAPHORE_TYPE]) {
        return bounded_release(self, NULL, 0, NULL);
    }
    return PyObject_CallMethod((PyObject *) self, "release", NULL);
}

static PyObject *sem_at_fork_reinit(ext_sem *self, PyObject *unused)
{
    (void) unused;
    uint32_t value = mh_sem_value(&self->sem);
    mh_sem_init(&self->sem, value, 0, MH_PRIVATE);
    Py_RETURN_NONE;
}

static PyObject *sem_repr(ext_sem *self)
{
    PyObject *name = ext_class_name((PyObject *) self, "threading");
    PyObject *text =
        name == NULL ? NULL : PyUnicode_FromFormat("<%U at %p: value=%lld>", name, self, sem_value(self));
    Py_XDECREF(name);
    return text;
}

static PyObject *bounded_repr(ext_sem *self)
{
    PyObject *name = ext_class_name((PyObject *) self, "threading");
    PyObject *text = name == NULL ? NULL
                                  : PyUnicode_FromFormat("<%U at %p: value=%lld/%lld>", name, self,
                                                         sem_value(self), self->initial);
    Py_XDECREF(name);
    return text;
}

static PyObject *sem_get_value(ext_sem *self, void *unused)
{
    (void) unused;
    return PyLong_FromLongLong(sem_value(self));
}

static PyObject *sem_get_initial(ext_sem *self, void *unused)
{
    (void) unused;
    return PyLong_FromLongLong(self->initial);
}

static PyObject *sem_get_cond(ext_sem *self, void *unused)
{
    (void) unused;
    return ext_lazy_cond((PyObject *) self, &self->cond);
}

#define ACQUIRE_DOC                                                                                          \
    "($self, /, blocking=True, timeout=None, *, cancel=None)\n--\n\n"                                        \
    "Take one. Wait until there is one, at most `timeout` seconds, or not at all where blocking is false.\n" \
    "Return whether one was taken. `cancel`: a CancelToken, which ends the wait with Cancelled."

static PyMethodDef sem_methods[] = {
    EXT_METHOD("acquire", sem_acquire, EXT_FASTCALL, "acquire" ACQUIRE_DOC),
    EXT_METHOD("release", sem_release, EXT_FASTCALL,
               "release($self, /, n=1)\n--\n\nGive n back, and wake as many as wait for them."),
    EXT_METHOD("__enter__", sem_enter, EXT_FASTCALL, "__enter__" ACQUIRE_DOC),
    EXT_METHOD("__exit__", sem_exit, METH_FASTCALL, "__exit__($self, /, *exc_info)\n--\n\nGive one back."),
    EXT_METHOD("_at_fork_reinit", sem_at_fork_reinit, METH_NOARGS,
               "_at_fork_reinit($self, /)\n--\n\nWithout waiters again, in a forked child."),
    {NULL, NULL, 0, NULL},
};

static PyMethodDef bounded_methods[] = {
    EXT_METHOD("release", bounded_release, EXT_FASTCALL,
               "release($self, /, n=1)\n--\n\n"
               "Give n back, and wake as many as wait for them. ValueError above the initial value."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef sem_getset[] = {
    {"_value", (getter) sem_get_value, NULL, PyDoc_STR("How many there are to take."), NULL},
    {"_cond", (getter) sem_get_cond, NULL, PyDoc_STR("A condition, for code that looks for one here."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyGetSetDef bounded_getset[] = {
    {"_initial_value", (getter) sem_get_initial, NULL, PyDoc_STR("The bound."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef sem_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(ext_sem, weakrefs), Py_READONLY, NULL},
    {"__dictoffset__", Py_T_PYSSIZET, offsetof(ext_sem, dict), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot sem_slots[] = {
    {Py_tp_doc, (void *) PyDoc_STR(
                    "Semaphore(value=1)\n--\n\n"
                    "A counter that acquire() takes from and release() adds to; it never goes below zero.")},
    {Py_tp_new, sem_new},
    {Py_tp_init, sem_init},
    {Py_tp_dealloc, sem_dealloc},
    {Py_tp_traverse, sem_traverse},
    {Py_tp_clear, sem_clear},
    {Py_tp_repr, sem_repr},
    {Py_tp_methods, sem_methods},
    {Py_tp_getset, sem_getset},
    {Py_tp_members, sem_members},
    {0, NULL},
};

static PyType_Slot bounded_slots[] = {
    {Py_tp_doc, (void *) PyDoc_STR("BoundedSemaphore(value=1)\n--\n\n"
                                   "A semaphore that refuses to rise above its initial value.")},
    {Py_tp_repr, bounded_repr},
    {Py_tp_methods, bounded_methods},
    {Py_tp_getset, bounded_getset},
    {0, NULL},
};

static PyType_Spec sem_spec = {
    .name = "manyhands.threading.Semaphore",
    .basicsize = sizeof(ext_sem),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = sem_slots,
};

static PyType_Spec bounded_spec = {
    .name = "manyhands.threading.BoundedSemaphore",
    .basicsize = sizeof(ext_sem),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = bounded_slots,
};

int ext_sem_ready(PyObject *module, ext_state *state)
{
    if (ext_add_type(module, state, EXT_SEMAPHORE_TYPE, &sem_spec, NULL) < 0) {
        return -1;
    }
    return ext_add_type(module, state, EXT_BOUNDED_SEMAPHORE_TYPE, &bounded_spec,
                        state->ref[EXT_SEMAPHORE_TYPE]);
}
