/* ext/shared.c - places in slabs; see shared.h.
 *
 * Slabs are listed for the process, not for the interpreter: objects of several interpreters lie in the same ones, so a
 * lock of our own guards the list. It is held for a few instructions and never across a wait or a call to Python.
 */
#include "shared.h"

#include "manyhands/lock.h"

#define SLAB_BYTES ((size_t) 4 << 20) /* address space; pages cost only once they are touched */

struct shared_slab {
    mh_slab *slab;
    uint64_t id;
    size_t objects;
    int ours; /* made here: new objects may go in */
    shared_slab *next;
};

static shared_slab *slabs;
static mh_lock slabs_lock = {.flags = MH_PRIVATE};

static void lock_slabs(void)
{
    while (mh_lock_acquire(&slabs_lock, MH_FOREVER, NULL) < 0) {
    }
}

/* With the lock held: the first slab of ours with room; `offset` is the place. */
static shared_slab *place_in_list(size_t size, size_t *offset)
{
    for (shared_slab *slab = slabs; slab != NULL; slab = slab->next) {
        if (slab->ours && mh_slab_alloc(slab->slab, size, offset) == 0) {
            return slab;
        }
    }
    return NULL;
}

static shared_slab *list_slab(mh_slab *slab, int ours)
{
    shared_slab *entry = PyMem_RawCalloc(1, sizeof *entry);
    if (entry == NULL) {
        mh_slab_close(slab);
        return NULL;
    }
    *entry = (shared_slab){slab, mh_slab_id(slab), 0, ours, slabs};
    slabs = entry;
    if (entry->next != NULL &&
        entry->next->objects == 0) { /* kept while it was the first; see forget_object */
        shared_slab *empty = entry->next;
        entry->next = empty->next;
        mh_slab_close(empty->slab);
        PyMem_RawFree(empty);
    }
    return entry;
}

/* With the lock held: an object less; a slab without any is closed, the first in the list when another comes. */
static void forget_object(shared_slab *slab)
{
    if (--slab->objects > 0 || (slab == slabs && slab->ours)) {
        return;
    }
    for (shared_slab **link = &slabs; *link != NULL; link = &(*link)->next) {
        if (*link == slab) {
            *link = slab->next;
            mh_slab_close(slab->slab);
            PyMem_RawFree(slab);
            return;
        }
    }
}

static int find_place(size_t size, shared_slab **slab, size_t *offset)
{
    int rc = 0;
    lock_slabs();
    *slab = size > SLAB_BYTES / 64 ? NULL : place_in_list(size, offset);
    if (*slab == NULL) {
        int alone = size > SLAB_BYTES / 64; /* then its memory goes when it does */
        mh_slab *fresh;
        shared_slab *listed = NULL;
        rc = mh_slab_create(alone ? size : SLAB_BYTES, &fresh);
        if (rc == 0) {
            listed = list_slab(fresh, !alone);
            rc = listed == NULL ? -ENOMEM : mh_slab_alloc(listed->slab, size, offset);
        }
        if (listed != NULL && rc < 0) {
            listed->objects = 1;
            forget_object(listed);
        }
        *slab = rc == 0 ? listed : NULL;
    }
    if (*slab != NULL) {
        (*slab)->objects++;
    }
    mh_lock_release(&slabs_lock);
    return *slab != NULL ? 0 : rc < 0 ? rc : -ENOMEM;
}

static shared_object *new_object(PyTypeObject *type, shared_slab *slab, size_t offset, size_t size)
{
    shared_object *self = (shared_object *) type->tp_alloc(type, 0);
    if (self == NULL) {
        lock_slabs();
        forget_object(slab);
        mh_lock_release(&slabs_lock);
        return NULL;
    }
    self->slab = slab;
    self->offset = offset;
    self->size = size;
    self->at = mh_slab_at(slab->slab, offset, size);
    return self;
}

_Thread_local shared_target *shared_into;

/* An object over the first `size` bytes of the target; 0: all that is there. */
static shared_object *at_target(PyTypeObject *type, size_t size)
{
    shared_target *target = shared_into;
    size = size == 0 ? target->size : size;
    if (size > target->size || target->used != 0) {
        PyErr_Format(PyExc_ValueError, "the segment has no room for it");
        return NULL;
    }
    shared_object *self = (shared_object *) type->tp_alloc(type, 0);
    if (self != NULL) {
        self->keep = Py_NewRef(target->keep);
        self->offset = target->offset;
        self->size = size;
        self->at = target->base + target->offset;
        target->used = size;
    }
    return self;
}

shared_object *shared_create(PyTypeObject *type, size_t size)
{
    if (shared_into != NULL) {
        return at_target(type, size);
    }
    shared_slab *slab;
    size_t offset;
    int rc = find_place(size, &slab, &offset);
    if (rc < 0) {
        ext_raise_code(NULL, rc);
        return NULL;
    }
    shared_object *self = new_object(type, slab, offset, size);
    if (self != NULL) {
        self->created = 1;
    }
    return self;
}

void shared_dealloc(PyObject *object)
{
    shared_object *self = (shared_object *) object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->slab != NULL) {
        lock_slabs();
        if (self->created) {
            mh_slab_free(self->slab->slab, self->offset, self->size, self->travelled);
        }
        forget_object(self->slab);
        mh_lock_release(&slabs_lock);
    }
    Py_XDECREF(self->keep);
    type->tp_free(object);
    Py_DECREF(type);
}

int shared_args(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, ext_until *until)
{
    static const ext_signature signature = {"acquire", 0, 2, 3, {"block", "timeout", "cancel"}};
    PyObject *given[3] = {NULL, NULL, NULL};
    if (ext_args(&signature, args, nargs, kwnames, given) < 0 ||
        ext_cancel_arg(self, given[2], &until->cancel) < 0) {
        return -1;
    }
    int block = given[0] == NULL ? 1 : PyObject_IsTrue(given[0]);
    until->at = MH_AT_ONCE;
    return block > 0 ? ext_deadline(given[1], &until->at) : block;
}

PyObject *shared_place(PyObject *object, void *Py_UNUSED(closure))
{
    shared_object *self = (shared_object *) object;
    if (self->slab == NULL) {
        return ext_refuse(PyExc_TypeError, "MH-TRAVEL", "what has a name travels by its name");
    }
    self->travelled = 1;
    return Py_BuildValue("iKn", mh_slab_fd(self->slab->slab), (unsigned long long) self->slab->id,
                         (Py_ssize_t) self->offset);
}

/* The listed slab of that id, or the descriptor's, mapped now. */
static int attach(int fd, uint64_t id, shared_slab **slab)
{
    int rc = 0;
    lock_slabs();
    for (*slab = slabs; *slab != NULL && (*slab)->id != id; *slab = (*slab)->next) {
    }
    if (*slab == NULL) {
        mh_slab *mapped;
        rc = mh_slab_attach(fd, &mapped);
        if (rc == 0) {
            *slab = list_slab(mapped, 0);
            rc = *slab == NULL ? -ENOMEM : (*slab)->id != id ? MH_E_CORRUPT : 0;
        }
    }
    if (rc == 0) {
        (*slab)->objects++;
    }
    mh_lock_release(&slabs_lock);
    return rc;
}

PyObject *shared_rebuild(PyTypeObject *type, PyObject *const *args, Py_ssize_t count, size_t size)
{
    if (count != 3) {
        return PyErr_Format(PyExc_TypeError, "_rebuild() takes a descriptor, a slab id and an offset");
    }
    if (shared_into != NULL) {
        return (PyObject *) at_target(type, size);
    }
    long fd = PyLong_AsLong(args[0]);
    unsigned long long id = PyLong_AsUnsignedLongLong(args[1]);
    Py_ssize_t offset = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    shared_slab *slab;
    int rc = attach((int) fd, id, &slab);
    if (rc < 0) {
        ext_raise_code(NULL, rc);
        return NULL;
    }
    shared_object *self = new_object(type, slab, (size_t) offset, size);
    if (self != NULL && self->at == NULL) {
        Py_DECREF(self);
        return ext_refuse(PyExc_ValueError, "MH-DAMAGED", "no object lies at offset %zd of that slab",
                          offset);
    }
    return (PyObject *) self;
}
