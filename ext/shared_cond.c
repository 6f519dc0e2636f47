/* ext/shared_cond.c - SharedCondition: the line of those who wait, and the lock that they hold.
 *
 * notify() of one waiter leaves its wake to the release of the lock, which is about to come: woken before, the waiter would
 * only run into the lock, and sleep a second time. Should the process die in between, the waiter finds out by its slice.
 */
#include "manyhands/cond.h"
#include "shared_lock.h"

#define CONDITION_WAITERS 1024 /* at once; more are refused with OSError */

typedef struct cond_object {
    shared_object head;
    PyObject *lock; /* a SharedLock or SharedRLock; NULL: _over() was not called */
} cond_object;

static PyObject *cond_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    shared_object *self = shared_create(type, mh_cond_size(CONDITION_WAITERS));
    if (self != NULL) {
        mh_cond_init(self->at, CONDITION_WAITERS, 0);
    }
    return (PyObject *) self;
}

/* A wake that its lock still owes is given now: the word goes with this object. */
static void pay_early(cond_object *self)
{
    shared_lock *lock = (shared_lock *) self->lock;
    char *word = lock == NULL ? NULL : (char *) atomic_load_explicit(&lock->due, memory_order_relaxed);
    if (word != NULL && word >= (char *) self->head.at && word < (char *) self->head.at + self->head.size) {
        shared_lock_pay(shared_lock_take_due(lock));
    }
}

static void cond_dealloc(PyObject *object)
{
    cond_object *self = (cond_object *) object;
    pay_early(self);
    Py_CLEAR(self->lock);
    shared_dealloc(object);
}

static PyObject *cond_over(cond_object *self, PyObject *lock)
{
    ext_state *state = ext_state_of(Py_TYPE(self));
    if (state == NULL) {
        return NULL;
    }
    if ((PyObject *) Py_TYPE(lock) != state->ref[EXT_SHARED_LOCK_TYPE] &&
        (PyObject *) Py_TYPE(lock) != state->ref[EXT_SHARED_RLOCK_TYPE]) {
        return ext_refuse(PyExc_TypeError, "MH-ARGUMENT",
                          "the lock of a condition between processes is a Lock or RLock of manyhands, not %R",
                          lock);
    }
    pay_early(self);
    Py_XSETREF(self->lock, Py_NewRef(lock));
    Py_RETURN_NONE;
}

/* The lock, which this thread holds; NULL with an AssertionError, as the standard library's. */
static shared_lock *cond_lock(cond_object *self, const char *complaint)
{
    if (self->lock != NULL && shared_lock_is_mine((shared_lock *) self->lock)) {
        return (shared_lock *) self->lock;
    }
    PyErr_SetString(PyExc_AssertionError, complaint);
    return NULL;
}

typedef struct cond_wait_args {
    mh_cond *cond;
    mh_cond_ticket ticket;
    int waited; /* what mh_cond_await said; 1 where it was never reached */
} cond_wait_args;

static int wait_cond(void *object, mh_deadline deadline, ext_waiting *waiting)
{
    cond_wait_args *args = object;
    args->waited = mh_cond_await(args->cond, &args->ticket, deadline, waiting->cancel);
    return args->waited;
}

/* Give the place in line back. Only now, with the lock held: had this process died before, its wake would have gone
 * to the next. Where an exception ended the wait the place may be taken all the same. */
static void leave_line(cond_wait_args *args)
{
    if (args->waited == 0) {
        mh_cond_finish(args->cond, &args->ticket);
    } else if (args->waited > 0) {
        mh_cond_forget(args->cond, &args->ticket);
    }
}

/* The steps of a wait; the lock is held again whatever they say. */
static int wait_with(shared_object *self, shared_lock *lock, ext_until until)
{
    cond_wait_args args = {.cond = self->at, .waited = 1};
    uint32_t depth;
    int rc = mh_cond_prepare(self->at, &args.ticket);
    if (rc < 0) {
        return ext_raise_code(NULL, rc);
    }
    shared_lock_let_go(lock, &depth);
    rc = ext_wait((PyObject *) self, wait_cond, &args, until);
    int again = shared_lock_regain(lock, depth);
    leave_line(&args);
    if (again == MH_OWNER_DIED) { /* held: the caller is told, and may repair */
        PyErr_Clear();
        ext_raise((PyObject *) self, EXT_OWNER_DIED, NULL);
    }
    return again != 0 ? EXT_RAISED : rc;
}

static PyObject *cond_wait(cond_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    ext_until until = EXT_FOREVER;
    shared_lock *lock = cond_lock(self, "must acquire() condition before using wait()");
    if (lock == NULL || ((nargs != 0 || kwnames != NULL) &&
                         ext_wait_args((PyObject *) self, "wait", args, nargs, kwnames, &until) < 0)) {
        return NULL;
    }
    Py_INCREF(lock); /* whatever a second _over() does meanwhile */
    int rc = wait_with(&self->head, lock, until);
    Py_DECREF(lock);
    return ext_waited(rc);
}

/* One waiter is woken when the lock is released. */
static void notify_one(mh_cond *cond, shared_lock *lock)
{
    if (mh_cond_waiting(cond) == 0) {
        return;
    }
    if (shared_lock_owes(lock)) {
        mh_cond_notify(cond, 1);
        return;
    }
    shared_word *word = mh_cond_notify_later(cond);
    if (word != NULL) {
        shared_lock_owe(lock, word);
    }
}

static int notify(cond_object *self, uint32_t count)
{
    shared_lock *lock = cond_lock(self, "lock is not owned");
    if (lock == NULL) {
        return -1;
    }
    if (count == 1) {
        notify_one(self->head.at, lock);
    } else if (count == UINT32_MAX) {
        mh_cond_notify_all(self->head.at);
    } else {
        mh_cond_notify(self->head.at, count);
    }
    return 0;
}

static PyObject *cond_notify(cond_object *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    static const ext_signature signature = {"notify", 0, 1, 1, {"n"}};
    PyObject *given = NULL;
    Py_ssize_t n = 1;
    if ((nargs != 0 || kwnames != NULL) && ext_args(&signature, args, nargs, kwnames, &given) < 0) {
        return NULL;
    }
    if (given != NULL) {
        n = PyNumber_AsSsize_t(given, NULL); /* sys.maxsize and beyond: all */
        if (n == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    uint32_t count = n <= 0 ? 0 : n >= (Py_ssize_t) UINT32_MAX ? UINT32_MAX : (uint32_t) n;
    return notify(self, count) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *cond_notify_all(cond_object *self, PyObject *Py_UNUSED(ignored))
{
    return notify(self, UINT32_MAX) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *cond_waiting(shared_object *self, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLong(mh_cond_waiting(self->at));
}

static PyObject *cond_rebuild(PyTypeObject *type, PyObject *const *args, Py_ssize_t nargs)
{
    return shared_rebuild(type, args, nargs, mh_cond_size(CONDITION_WAITERS));
}

static PyMethodDef cond_methods[] = {
    EXT_METHOD("_over", cond_over, METH_O, "_over($self, lock, /)\n--\n\nThe lock that its waiters hold."),
    EXT_METHOD("wait", cond_wait, EXT_FASTCALL,
               "wait($self, /, timeout=None, *, cancel=None)\n--\n\nRelease the lock, wait to be "
               "notified, take the lock again. False where the time was up."),
    EXT_METHOD("notify", cond_notify, EXT_FASTCALL,
               "notify($self, /, n=1)\n--\n\nWake the first `n` of those who wait."),
    EXT_METHOD("notify_all", cond_notify_all, METH_NOARGS, "notify_all($self, /)\n--\n\nWake all who wait."),
    EXT_METHOD("waiting", cond_waiting, METH_NOARGS, "waiting($self, /)\n--\n\nHow many wait."),
    EXT_METHOD("_rebuild", cond_rebuild, METH_FASTCALL | METH_CLASS,
               "_rebuild($type, fd, slab, offset, /)\n--\n\nThe same object in another process."),
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef cond_getset[] = {
    {"place", shared_place, NULL, PyDoc_STR("(descriptor, slab id, offset): what another process needs."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot cond_slots[] = {
    {Py_tp_doc, (void *) (uintptr_t) "A condition between processes."},
    {Py_tp_new, cond_new},
    {Py_tp_dealloc, cond_dealloc},
    {Py_tp_methods, cond_methods},
    {Py_tp_getset, cond_getset},
    {0, NULL},
};

static PyType_Spec cond_spec = {"manyhands._core.SharedCondition", sizeof(cond_object), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, cond_slots};

int ext_shared_cond_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, -1, &cond_spec, NULL);
}
