"""`SharedMemory` whose readers do not destroy it.

The standard library's resource tracker removes a block when any program that attached to it ends. Here only the creator
is tracked: the block lives until it is unlinked, or until its creator's tree of processes is gone. What is left where
that was killed as a whole, tracker and all, ``python -m manyhands clean`` removes.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import sys
import types
from typing import Any

from manyhands._facade import stdlib_of
from manyhands._impl import leftovers, set_module
from manyhands._troubles import coded

_std = stdlib_of("multiprocessing.shared_memory")
_process = stdlib_of("multiprocessing.process")
_tracker = stdlib_of("multiprocessing.resource_tracker")

__all__ = ["ShareableList", "SharedMemory"]


def _check_room(size: int) -> None:
    """Past what /dev/shm has room for a block can be made, but a write to it is the program's end (SIGBUS)."""
    with contextlib.suppress(FileNotFoundError):
        found = os.statvfs("/dev/shm")
        free = found.f_bavail * found.f_frsize
        if found.f_blocks and size > free:
            text = (
                f"/dev/shm has room for {free:,} bytes, not for {size:,}: make it larger (docker run --shm-size), "
                "or use manyhands.shared, which does not need it"
            )
            raise coded(OSError(errno.ENOSPC, text), "MH-SHARED-MEMORY")


class SharedMemory(_std.SharedMemory):  # type: ignore[misc,name-defined]
    """A named block of shared memory: ``create=True, size=n`` makes one, ``name=`` attaches to one.

    `track`: have the block removed with its creator's tree of processes; those who attach are never tracked.
    """

    def __init__(
        self, name: str | None = None, create: bool = False, size: int = 0, *, track: bool = True
    ) -> None:
        self._created = bool(create)
        if create:
            _check_room(size)
        if not create:
            self._attach(name, size)
        elif sys.version_info >= (3, 13):
            super().__init__(name, create, size, track=track)
        else:
            super().__init__(name, create, size)
            if not track:
                _tracker.unregister(self._name, "shared_memory")
                self._created = False
        if self._created and track:
            tracker = _tracker._resource_tracker._fd
            if tracker is not None:  # the program may have a tracker of its own
                leftovers.note(self._name, self._fd, tracker)

    def _attach(self, name: str | None, size: int) -> None:
        if not size >= 0:
            raise ValueError("'size' must be a positive integer")
        if name is None:
            raise ValueError("'name' can only be None if create=True")
        self._track = False  # what 3.13 and newer look at
        self._name = f"/{name}" if self._prepend_leading_slash else name
        self._fd = _std._posixshmem.shm_open(self._name, os.O_RDWR, mode=self._mode)
        self._size = os.fstat(self._fd).st_size
        self._mmap = mmap.mmap(self._fd, self._size)
        self._buf = memoryview(self._mmap)

    def unlink(self) -> None:
        """Remove the name; the memory goes with the last process that has it open. Once, by whichever process."""
        _std._posixshmem.shm_unlink(self._name)
        leftovers.forget(self._name)
        # The creator's tracker is known here and to its children, not to programs that merely attached.
        if (getattr(self, "_track", True) and self._created) or (
            not self._created and _process.parent_process()
        ):
            _tracker.unregister(self._name, "shared_memory")

    def __reduce__(self) -> Any:
        return type(self), (self.name, False, self.size)


def with_ours(function: Any, **names: Any) -> Any:
    """The standard library's function, which finds these of ours where it looks up those names."""
    made = types.FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    made.__kwdefaults__, made.__doc__ = function.__kwdefaults__, function.__doc__
    return made


class ShareableList(_std.ShareableList):  # type: ignore[misc,name-defined]
    """A list of fixed length in a named block of shared memory; who attaches is not tracked."""

    __init__ = with_ours(_std.ShareableList.__init__, SharedMemory=SharedMemory)


# Where a child that unpickles them looks: the public module, which imports this one, and not the other way round.
set_module(
    "multiprocessing.shared_memory", "manyhands.multiprocessing.shared_memory", SharedMemory, ShareableList
)
