/* ext/named.c - NamedSegment: memory that programs which are no relatives find by its name, and the shared types in it.
 *
 * The user's bytes begin with a directory: what lies where. Its maker puts the objects in, one after the other, and
 * publishes; before that, and where it was killed at it, opening says EAGAIN. What an opener finds is checked before it is
 * used: sizes, places, and in each primitive what would send its code astray (flags, counts of places). */
#include <stdatomic.h>
#include <string.h>

#include "manyhands/barrier.h"
#include "manyhands/cond.h"
#include "manyhands/event.h"
#include "manyhands/lock.h"
#include "manyhands/robust_sem.h"
#include "manyhands/rwlock.h"
#include "manyhands/segment.h"
#include "manyhands/sem.h"
#include "named.h"
#include "shared.h"

enum { MOST = 7, ALIGN = 64 };

typedef struct entry {
    uint64_t offset, size;
} entry;

typedef struct directory { /* part of the shared layout */
    MH_ATOMIC(uint32_t) published;
    uint32_t count;
    uint64_t reserved;
    entry list[MOST];
} directory;

_Static_assert(sizeof(directory) == 128, "part of the shared layout");

typedef struct named {
    PyObject_HEAD
    mh_segment *segment;
    PyObject *name;
    directory *at;
    uint32_t next; /* of the entries, for find() */
    int maker;     /* made here and not published: the name goes with this object */
} named;

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static PyObject *raise_os(PyObject *name, int code)
{
    PyObject *args = Py_BuildValue("isO", -code, mh_strerror(code), name);
    if (args != NULL) {
        PyErr_SetObject(PyExc_OSError, args);
        Py_DECREF(args);
    }
    return NULL;
}

static PyObject *raise_layout(PyObject *self, PyObject *name)
{
    char why[200] = "";
    mh_segment_info info;
    const char *text = PyUnicode_AsUTF8(name);
    if (text == NULL || mh_segment_inspect_named(text, &info) < 0 ||
        mh_segment_mismatch(&info, why, sizeof why) == 0) {
        (void) snprintf(why, sizeof why, "%s", mh_strerror(MH_E_LAYOUT));
    }
    PyObject *error = ext_ref(self, EXT_SEGMENT_ERROR);
    return error == NULL ? NULL : PyErr_Format(error, "%U: %s", name, why);
}

PyObject *named_raise(PyObject *self, PyObject *name, int code)
{
    PyObject *error;
    switch (code) {
    case -ENOMEM:
        return PyErr_NoMemory();
    case MH_E_LAYOUT:
        return raise_layout(self, name);
    case MH_E_CORRUPT:
        error = ext_ref(self, EXT_SEGMENT_ERROR);
        return error == NULL ? NULL : PyErr_Format(error, "%U: not what was asked for, or damaged", name);
    default:
        if (code > -4096) {
            return raise_os(name, code);
        }
        ext_raise_code(self, code);
        return NULL;
    }
}

/* ---- is it what it should be? ------------------------------------------------------------------------------------ */

static bool lock_is_sound(const mh_lock *lock)
{
    return lock->flags == 0;
}

static bool cond_is_sound(const mh_cond *cond, size_t size)
{
    uint64_t places = (uint64_t) MH_COND_NODES + cond->extra;
    uint32_t passing = atomic_load(&((mh_cond *) (uintptr_t) cond)->passing);
    return lock_is_sound(&cond->guard) && cond->flags == 0 && cond->extra <= UINT16_MAX &&
           mh_cond_size((uint32_t) places) <= size &&
           atomic_load(&((mh_cond *) (uintptr_t) cond)->used) <= places &&
           (passing == 0 || ((passing & 0xffff) - 1 < places && (passing >> 16) - 1 < places));
}

static bool barrier_is_sound(const mh_barrier *barrier, size_t size)
{
    uint64_t places = barrier->places > MH_BARRIER_PLACES ? barrier->places : MH_BARRIER_PLACES;
    return lock_is_sound(&barrier->guard) && barrier->flags == 0 && barrier->parties >= 1 &&
           barrier->parties <= 65536 && mh_barrier_size(barrier->parties) <= size &&
           sizeof(mh_barrier) + (places - MH_BARRIER_PLACES) * sizeof(mh_barrier_place) <= size &&
           atomic_load(&((mh_barrier *) (uintptr_t) barrier)->used) <= places;
}

static bool rwlock_is_sound(const mh_rwlock *lock, size_t size)
{
    uint64_t places = lock->places > MH_RW_READERS ? lock->places : MH_RW_READERS;
    return lock_is_sound(&lock->guard) && (lock->flags & MH_PRIVATE) == 0 &&
           sizeof(mh_rwlock) + (places - MH_RW_READERS) * sizeof(mh_rw_place) <= size &&
           atomic_load(&((mh_rwlock *) (uintptr_t) lock)->used) <= places;
}

static bool sem_is_sound(const mh_sem *sem)
{
    return sem->flags == 0 && sem->max <= MH_SEM_MAX && mh_sem_value(sem) <= MH_SEM_MAX;
}

static bool robust_sem_is_sound(const mh_robust_sem *sem, size_t size)
{
    return sem->permits >= 1 && sem->permits <= MH_ROBUST_SEM_MAX && mh_robust_sem_size(sem->permits) <= size;
}

/* `type`: the name of the type; memory of no type is whatever it is. */
static bool is_sound(const char *type, const void *at, size_t size)
{
    if (strcmp(type, "SharedLock") == 0) {
        return lock_is_sound(at);
    }
    if (strcmp(type, "SharedRLock") == 0) {
        return lock_is_sound(&((const mh_rlock *) at)->lock);
    }
    if (strcmp(type, "SharedCondition") == 0) {
        return cond_is_sound(at, size);
    }
    if (strcmp(type, "SharedBarrier") == 0) {
        return barrier_is_sound(at, size);
    }
    if (strcmp(type, "SharedRWLock") == 0) {
        return rwlock_is_sound(at, size);
    }
    if (strcmp(type, "SharedSemaphore") == 0) {
        return sem_is_sound(at);
    }
    if (strcmp(type, "SharedRobustSemaphore") == 0) {
        return robust_sem_is_sound(at, size);
    }
    if (strcmp(type, "SharedEvent") == 0) {
        return ((const mh_event *) at)->flags == 0;
    }
    return strcmp(type, "SharedBuffer") == 0;
}

/* ---- making and opening ------------------------------------------------------------------------------------------ */

/* The directory of a segment that was published: every place within its bounds. */
static int check_directory(mh_segment *segment)
{
    directory *at = mh_segment_base(segment);
    uint64_t size = mh_segment_size(segment);
    if (size < sizeof *at) {
        return MH_E_CORRUPT;
    }
    /* pairs with the store in publish() */
    if (atomic_load_explicit(&at->published, memory_order_acquire) != 1) {
        return at->published == 0 ? -EAGAIN : MH_E_CORRUPT;
    }
    for (uint32_t i = 0; i < at->count; i++) {
        if (i >= MOST || at->list[i].offset % ALIGN != 0 || at->list[i].offset < sizeof *at ||
            at->list[i].offset > size || at->list[i].size > size - at->list[i].offset) {
            return MH_E_CORRUPT;
        }
    }
    return 0;
}

static int open_segment(const char *name, uint32_t kind, mh_segment **segment)
{
    int rc = mh_segment_open(name, kind, segment);
    if (rc == 0) {
        rc = check_directory(*segment);
        if (rc < 0) {
            mh_segment_close(*segment);
        }
    }
    return rc;
}

static int begin(named *self, PyObject *name, uint32_t kind, Py_ssize_t room)
{
    const char *text = PyUnicode_AsUTF8(name);
    if (text == NULL) {
        return -1;
    }
    int rc = room > 0 ? mh_segment_create_named(text, sizeof(directory) + (size_t) room, kind, &self->segment)
                      : open_segment(text, kind, &self->segment);
    if (rc < 0) {
        self->segment = NULL;
        named_raise((PyObject *) self, name, rc);
        return -1;
    }
    self->maker = room > 0;
    self->name = Py_NewRef(name);
    self->at = mh_segment_base(self->segment);
    return 0;
}

static PyObject *named_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const ext_signature signature = {"NamedSegment", 2, 3, 3, {"name", "kind", "room"}};
    PyObject *given[3] = {NULL, NULL, NULL};
    if (ext_args_tuple(&signature, args, kwargs, given) < 0) {
        return NULL;
    }
    if (!PyUnicode_Check(given[0])) {
        return ext_refuse(PyExc_TypeError, "MH-ARGUMENT", "a name is a str, not %R", given[0]);
    }
    unsigned long kind = PyLong_AsUnsignedLong(given[1]);
    Py_ssize_t room = given[2] == NULL ? 0 : PyNumber_AsSsize_t(given[2], PyExc_OverflowError);
    if (PyErr_Occurred()) {
        return NULL;
    }
    named *self = (named *) type->tp_alloc(type, 0);
    if (self != NULL && begin(self, given[0], (uint32_t) kind, room) < 0) {
        Py_CLEAR(self);
    }
    return (PyObject *) self;
}

static void named_dealloc(PyObject *object)
{
    named *self = (named *) object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->maker) {
        (void) mh_segment_unlink(PyUnicode_AsUTF8(self->name));
    }
    mh_segment_close(self->segment);
    Py_XDECREF(self->name);
    type->tp_free(object);
    Py_DECREF(type);
}

/* ---- what lies in it --------------------------------------------------------------------------------------------- */

/* make(type, *args): type(*args), put into this segment as its next object. */
static PyObject *named_make(named *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs < 1 || !self->maker || self->at->count >= MOST) {
        return PyErr_Format(PyExc_TypeError, "make(type, *args), before publish()");
    }
    uint32_t count = self->at->count;
    uint64_t from = count == 0 ? sizeof(directory)
                               : self->at->list[count - 1].offset + self->at->list[count - 1].size;
    shared_target target = {.keep = (PyObject *) self, .base = (char *) self->at};
    target.offset = (size_t) ((from + ALIGN - 1) / ALIGN * ALIGN);
    target.size =
        target.offset < mh_segment_size(self->segment) ? mh_segment_size(self->segment) - target.offset : 0;
    shared_into = &target;
    PyObject *made = PyObject_Vectorcall(args[0], args + 1, (size_t) nargs - 1, NULL);
    shared_into = NULL;
    if (made != NULL && target.used == 0) {
        Py_DECREF(made);
        return PyErr_Format(PyExc_TypeError, "%R does not lie in shared memory", args[0]);
    }
    if (made != NULL) {
        self->at->list[count] = (entry){target.offset, target.used};
        self->at->count = count + 1;
    }
    return made;
}

static PyObject *named_publish(named *self, PyObject *Py_UNUSED(ignored))
{
    atomic_store_explicit(&self->at->published, 1, memory_order_release); /* pairs with check_directory() */
    self->maker = 0;
    Py_RETURN_NONE;
}

/* find(type): the next object, as one of that type; in the order in which they were made. */
static PyObject *named_find(named *self, PyObject *type)
{
    if (!PyType_Check(type)) {
        return PyErr_Format(PyExc_TypeError, "find(type), for each object that was made");
    }
    if (self->next >= self->at->count || self->next >= MOST) { /* its maker made them all */
        return named_raise((PyObject *) self, self->name, MH_E_CORRUPT);
    }
    entry found = self->at->list[self->next]; /* once: nobody changes it after the look */
    uint64_t size = mh_segment_size(self->segment);
    const char *name = strrchr(((PyTypeObject *) type)->tp_name, '.');
    if (found.offset % ALIGN != 0 || found.offset > size || found.size > size - found.offset) {
        return named_raise((PyObject *) self, self->name, MH_E_CORRUPT);
    }
    shared_target target = {.keep = (PyObject *) self, .base = (char *) self->at};
    target.offset = (size_t) found.offset;
    target.size = (size_t) found.size;
    shared_into = &target;
    bool buffer = name != NULL && strcmp(name + 1, "SharedBuffer") == 0;
    PyObject *made = buffer ? PyObject_CallMethod(type, "_rebuild", "iiin", -1, 0, 0, (Py_ssize_t) found.size)
                            : PyObject_CallMethod(type, "_rebuild", "iii", -1, 0, 0);
    shared_into = NULL;
    if (made == NULL && target.used == 0 && PyErr_ExceptionMatches(PyExc_ValueError)) {
        PyErr_Clear();
        return named_raise((PyObject *) self, self->name, MH_E_CORRUPT);
    }
    if (made != NULL && !is_sound(name == NULL ? "" : name + 1, target.base + target.offset, target.size)) {
        Py_DECREF(made);
        return named_raise((PyObject *) self, self->name, MH_E_CORRUPT);
    }
    self->next += made != NULL;
    return made;
}

PyObject *ext_unlink(PyObject *module, PyObject *name)
{
    const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    if (text == NULL) {
        return PyErr_Occurred() ? NULL
                                : ext_refuse(PyExc_TypeError, "MH-ARGUMENT", "a name is a str, not %R", name);
    }
    int rc = mh_segment_unlink(text);
    return rc < 0 ? named_raise(module, name, rc) : Py_NewRef(Py_None);
}

static PyMethodDef named_methods[] = {
    EXT_METHOD("make", named_make, METH_FASTCALL,
               "make($self, type, /, *args)\n--\n\nA new object in it: type(*args)."),
    EXT_METHOD("publish", named_publish, METH_NOARGS,
               "publish($self, /)\n--\n\nFrom here on others find it; before, it goes with this object."),
    EXT_METHOD("find", named_find, METH_O,
               "find($self, type, /)\n--\n\nThe next object that was made in it."),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot named_slots[] = {
    {Py_tp_doc,
     (void *) (uintptr_t) "NamedSegment(name, kind, room=0)\n--\n\n"
                          "Shared memory with a name; `room` bytes where it is to be made, 0: open it."},
    {Py_tp_new, named_new},
    {Py_tp_dealloc, named_dealloc},
    {Py_tp_methods, named_methods},
    {0, NULL},
};

static PyType_Spec named_spec = {"manyhands._core.NamedSegment", sizeof(named), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, named_slots};

int ext_named_ready(PyObject *module, ext_state *state)
{
    return ext_add_type(module, state, -1, &named_spec, NULL);
}
