"""Arrays and numbers that all processes of a program share, without copies, and that leave nothing behind.

    from manyhands import shared

    a = shared.zeros((1000, 1000), "f8")   # a numpy.ndarray; its memory can be shared
    queue.put(a)                           # no copy: the receiver's array is the same memory
    done = shared.AtomicInt()              # goes along, and stays the same number everywhere

An array made here is **aliased, not copied**: what one process writes into it, the others see. It crosses queues,
pipes, pools and the start of a process under every start method; so do parts of it that lie in one piece, and what
NumPy makes of its memory (a reshape, a transpose). What NumPy calculates anew (``a + 1``) is ordinary memory again.

The memory has no name: nothing can be left in /dev/shm. It is freed as soon as nobody uses it any more, also where its
users were killed. `empty`, `zeros` and `array` need NumPy; `block` makes the same for any other consumer of buffers.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from manyhands._impl import available, core
from manyhands._troubles import coded

if not available:
    raise coded(ImportError("manyhands.shared needs the compiled core, which is not usable here"), "MH-CORE")

from manyhands._impl.shared_types import AtomicFlag, AtomicInt, Block

if TYPE_CHECKING:
    import numpy

__all__ = ["AtomicFlag", "AtomicInt", "Block", "array", "block", "empty", "is_shared", "zeros"]


def _numpy() -> Any:
    """NumPy, which this package itself never imports; a program that asks for arrays has it, or is told."""
    try:
        import numpy
    except ImportError as error:
        text = "arrays need NumPy (pip install numpy); for other consumers of buffers there is shared.block()"
        raise coded(ImportError(text, name="numpy"), "MH-PACKAGE") from error
    return numpy


def _shape(shape: Any) -> tuple[int, ...]:
    return tuple(map(operator.index, shape)) if isinstance(shape, Iterable) else (operator.index(shape),)


def _make(shape: Any, dtype: Any, order: str, zero: bool) -> Any:
    numpy = _numpy()
    dtype, shape = numpy.dtype(dtype), _shape(shape)
    if dtype.hasobject:
        raise coded(
            TypeError(f"{dtype!r} holds references to objects, which mean nothing in another process"),
            "MH-TRAVEL",
        )
    if any(length < 0 for length in shape):
        raise coded(ValueError("negative dimensions are not allowed"), "MH-ARGUMENT")
    memory = core.block(math.prod(shape) * dtype.itemsize, zero)
    return numpy.ndarray(shape, dtype, memory, order=order)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> numpy.ndarray[Any, Any]:
    """An array of that shape and dtype in shared memory, with whatever was there. Arguments as `numpy.empty`.

    MemoryError where the free memory, or the cgroup's limit, does not allow it. Needs NumPy.
    """
    return _make(shape, dtype, order, False)  # type: ignore[no-any-return]


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> numpy.ndarray[Any, Any]:
    """An array of zeros in shared memory. Arguments as `numpy.zeros`. Needs NumPy."""
    return _make(shape, dtype, order, True)  # type: ignore[no-any-return]


def array(values: Any, dtype: Any = None, order: str = "C") -> numpy.ndarray[Any, Any]:
    """A copy, in shared memory, of what `numpy.asarray(values, dtype)` makes of the values. Needs NumPy."""
    source = _numpy().asarray(values, dtype)
    made = _make(source.shape, source.dtype, order, False)
    made[...] = source
    return made  # type: ignore[no-any-return]


def block(shape: Any, format: str = "B") -> Block:
    """Zeroed shared memory for any consumer of buffers: items of `format` (as in `struct`), in `shape`.

    ``memoryview(block)``, ``numpy.asarray(block)``, ``pyarrow.py_buffer(block)`` take it without a copy;
    ``block[i, j]`` reads and writes one item. It crosses to other processes as arrays do.
    """
    import struct

    shape = _shape(shape)
    return core.block(math.prod(shape) * struct.calcsize(format), True, format, shape)  # type: ignore[no-any-return]


def is_shared(buffer: Any) -> bool:
    """Does the memory of this array, or other buffer, lie where all processes of the program can share it?"""
    return bool(core.is_shared(buffer))
