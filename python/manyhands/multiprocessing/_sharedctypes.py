"""`Value`, `Array` and the raw ones: ctypes objects in the memory that child processes share.

Names and behaviour are the standard library's. One number is read and written in the core, under the lock, without a
call of Python in between.
"""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

from manyhands._facade import stdlib_of
from manyhands._impl import core, set_module
from manyhands._troubles import coded
from manyhands.multiprocessing import _handles
from manyhands.multiprocessing._memory import Memory

_std = stdlib_of("multiprocessing.sharedctypes")
_reduction = stdlib_of("multiprocessing.reduction")

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

Simple: Any = ctypes.c_int.__mro__[1]  # ctypes._SimpleCData

typecode_to_type = _std.typecode_to_type


def _new_value(type_: Any) -> Any:
    return rebuild_ctype(type_, Memory(ctypes.sizeof(type_)), None)


def _type_of(typecode_or_type: Any) -> Any:
    type_ = typecode_to_type.get(typecode_or_type, typecode_or_type)
    try:
        ctypes.sizeof(type_)
    except TypeError:
        codes = ", ".join(typecode_to_type)
        text = f"bad typecode {typecode_or_type!r}: it is a type of ctypes, or one of {codes}"
        raise coded(TypeError(text), "MH-ARGUMENT") from None
    return type_


def RawValue(typecode_or_type: Any, *args: Any) -> Any:
    """A ctypes object in shared memory, without a lock."""
    value = _new_value(_type_of(typecode_or_type))
    value.__init__(*args)
    return value


def RawArray(typecode_or_type: Any, size_or_initializer: Any) -> Any:
    """A ctypes array in shared memory, without a lock: zeros, where a size is given."""
    type_ = _type_of(typecode_or_type)
    if isinstance(size_or_initializer, int):
        return _new_value(type_ * size_or_initializer)  # the memory is zero
    array: Any = _new_value(type_ * len(size_or_initializer))
    array.__init__(*size_or_initializer)
    return array


def _lock_for(lock: Any, ctx: Any) -> Any:
    if lock in (True, None):
        lock = (ctx or _context()).RLock()
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    return lock


def _context() -> Any:
    from manyhands.multiprocessing import _contexts

    return _contexts._default_context.get_context()


def Value(typecode_or_type: Any, *args: Any, lock: Any = True, ctx: Any = None) -> Any:
    """A value in shared memory, with a lock; ``lock=False``: without one."""
    made = RawValue(typecode_or_type, *args)
    return made if lock is False else synchronized(made, _lock_for(lock, ctx), ctx=ctx)


def Array(typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True, ctx: Any = None) -> Any:
    """An array in shared memory, with a lock; ``lock=False``: without one."""
    made = RawArray(typecode_or_type, size_or_initializer)
    return made if lock is False else synchronized(made, _lock_for(lock, ctx), ctx=ctx)


def copy(obj: Any) -> Any:
    """A new object in shared memory with the value of `obj`."""
    made = _new_value(type(obj))
    ctypes.pointer(made)[0] = obj
    return made


def synchronized(obj: Any, lock: Any = None, ctx: Any = None) -> Any:
    """A wrapper of the ctypes object that takes a lock for every access."""
    assert not isinstance(obj, _std.SynchronizedBase), "object already synchronized"
    if isinstance(obj, Simple):
        return Synchronized(obj, lock, ctx)
    if isinstance(obj, ctypes.Array):
        kind = SynchronizedString if obj._type_ is ctypes.c_char else SynchronizedArray
        return kind(obj, lock, ctx)
    cls = type(obj)
    wrapper = class_cache.get(cls)
    if wrapper is None:
        names = [field[0] for field in cls._fields_]
        properties = {name: make_property(name) for name in names}
        wrapper = class_cache[cls] = type(f"Synchronized{cls.__name__}", (SynchronizedBase,), properties)
    return wrapper(obj, lock, ctx)


class_cache: Any = weakref.WeakKeyDictionary()
make_property = _std.make_property


def reduce_ctype(obj: Any) -> Any:
    """A ctypes object on the way to a child."""
    _handles.assert_spawning(obj)
    wrapper = obj._wrapper
    if isinstance(obj, ctypes.Array):
        return rebuild_ctype, (obj._type_, wrapper, obj._length_)
    return rebuild_ctype, (type(obj), wrapper, None)


def rebuild_ctype(type_: Any, wrapper: Any, length: int | None) -> Any:
    """The ctypes object over that memory."""
    if length is not None:
        type_ = type_ * length
    _reduction.ForkingPickler.register(type_, reduce_ctype)
    made: Any = type_.from_buffer(wrapper.create_memoryview())
    made._wrapper = wrapper
    return made


def _is_plain(obj: Any) -> bool:
    """May the core read its items by itself? A class of the user's may mean something else by them."""
    kind = obj._type_ if isinstance(obj, ctypes.Array) else type(obj)
    return getattr(kind, "__bases__", None) == (Simple,)


class SynchronizedBase(core.SyncedBase, _std.SynchronizedBase):  # type: ignore[misc,name-defined]
    """What all wrappers have: the lock, and the object."""

    def __init__(self, obj: Any, lock: Any = None, ctx: Any = None) -> None:
        super().__init__(obj, lock or (ctx or _context()).RLock())
        inner = getattr(self._lock, "_core", None)
        self._bind(obj, self._lock, inner, isinstance(obj, (Simple, ctypes.Array)) and _is_plain(obj))

    def __reduce__(self) -> Any:
        _handles.assert_spawning(self)
        return synchronized, (self._obj, self._lock)


class Synchronized(SynchronizedBase, core.SyncedValue, _std.Synchronized):  # type: ignore[misc,name-defined]
    """A single value with its lock."""


class SynchronizedArray(SynchronizedBase, core.SyncedArray, _std.SynchronizedArray):  # type: ignore[misc,name-defined]
    """An array with its lock."""


class SynchronizedString(SynchronizedArray, _std.SynchronizedString):  # type: ignore[misc,name-defined]
    """An array of characters with its lock."""


# Where a child that unpickles them looks: the public module, which imports this one, and not the other way round.
OURS = "manyhands.multiprocessing.sharedctypes"
set_module(OURS, OURS, Memory, rebuild_ctype, synchronized)
set_module("multiprocessing.sharedctypes", OURS, Synchronized, SynchronizedArray, SynchronizedString)
