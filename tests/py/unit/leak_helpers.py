"""What the leak tests count by: loops over a call, what the process holds before and after, and the table of rows."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Callable
from typing import Any

from manyhands._impl import core

WARM, LOOPS = 60, 300
MARK = object()  # its references are counted


class Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t) for name in ["a", "o", "s", "h", "hblkhd", "u", "f", "uordblks", "fo", "k"]
    ]


def malloced() -> int:
    """Bytes that malloc() has given out; 0 where the C library does not tell."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return 0
    mallinfo2.restype = Mallinfo2
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd)


def holdings() -> list[int]:
    """What a leak makes grow by one at least for each call: blocks, references, descriptors; and bytes."""
    gc.collect()
    references = [sys.getrefcount(thing) for thing in (MARK, None, True, False)]
    types = sum(sys.getrefcount(value) for value in vars(core).values() if isinstance(value, type))
    return [sys.getallocatedblocks(), *references, types, len(os.listdir("/proc/self/fd")), malloced() // 16]


def growth(call: Callable[[], Any]) -> list[int]:
    for _ in range(WARM):
        call()
    before = holdings()
    for _ in range(LOOPS):
        call()
    return [after - first for after, first in zip(holdings(), before, strict=True)]


def leaks(call: Callable[[], Any]) -> bool:
    """Something grew at each call, or nearly; three times, since other things of the process grow, too."""
    return all(max(growth(call)) > LOOPS * 3 // 4 for _ in range(3))


def failing(call: Callable[..., Any], *args: Any) -> None:
    """Errors have paths of their own."""
    with contextlib.suppress(Exception):
        call(*args)


ROWS: dict[str, Callable[[], Any]] = {}


def row(names: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """The function calls all of these, named "Type.method" or "Type: method method"."""

    def add(function: Callable[[], Any]) -> Callable[[], Any]:
        head, _, rest = names.partition(": ")
        for name in rest.split() if rest else [""]:
            key = f"{head}.{name}" if name else head
            assert key not in ROWS
            ROWS[key] = function
        return function

    return add
