"""Locks, queues and memory that programs which are no relatives of each other find by a name.

    from manyhands import named

    jobs = named.Queue.create("render-jobs", max_bytes=1 << 20)   # one program
    jobs = named.Queue.open("render-jobs")                        # another, started by someone else
    lock = named.Lock.ensure("printer")                           # whoever comes first makes it

Each lies in a segment of its own in /dev/shm, of mode 0600: other users cannot open it. **It stays until
`unlink(name)`**, also when every program that used it has ended; those who have it open then keep it. All of its memory
is taken when it is made, so that a full /dev/shm is an error there and nowhere else.

They survive the death of any participant as those of ``manyhands.multiprocessing`` do: a `Lock` whose owner was killed
says `OwnerDiedError`. What was made by a version of manyhands with another layout is refused, and so is what is
something else or damaged: `SegmentError`. The programs have to run in one PID namespace.

A named object travels to other processes by its name.
"""

from __future__ import annotations

import errno
import time
from typing import Any

from manyhands._impl import available, core
from manyhands._troubles import coded

if not available:
    raise coded(ImportError("manyhands.named needs the compiled core, which is not usable here"), "MH-CORE")

from manyhands.errors import SegmentError
from manyhands.multiprocessing import _queues  # binds pickling and queue.ShutDown to the core
from manyhands.multiprocessing import _synchronize as _sync

__all__ = [
    "Barrier",
    "Condition",
    "Event",
    "Lock",
    "Memory",
    "Queue",
    "RLock",
    "RWLock",
    "SegmentError",
    "Semaphore",
    "unlink",
]

_ROOM = 64 * 1024  # for the primitives of one segment
_MAKER_SECONDS = 1.0  # so long a maker may take from the name to the end of its work
assert _queues


def unlink(name: str) -> None:
    """Take a name away; those who have it open keep it. FileNotFoundError where there is none."""
    core._unlink(name)


def _reopen(kind: Any, name: str) -> Any:
    return kind.open(name)


def _opened(attempt: Any) -> Any:
    """What `attempt()` opens, once its maker has come to the end."""
    deadline, pause = time.monotonic() + _MAKER_SECONDS, 0.001
    while True:
        try:
            return attempt()
        except BlockingIOError as error:  # EAGAIN
            if time.monotonic() >= deadline:
                text = "not complete: its maker is still at it, or was killed at it; unlink() removes it"
                raise coded(BlockingIOError(error.errno, text, error.filename), "MH-SEGMENT") from None
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


class _Named:
    """What all of them have in common."""

    name: str
    _tag: bytes
    _types: tuple[Any, ...]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kind = type(self).__name__
        raise coded(
            TypeError(f"{kind}.create(name), {kind}.open(name) or {kind}.ensure(name)"), "MH-ARGUMENT"
        )

    @classmethod
    def _made(cls, name: str, room: int, *specs: tuple[Any, ...], tag: bytes = b"") -> Any:
        segment = core.NamedSegment(name, int.from_bytes(tag or cls._tag, "big"), room)
        self = cls.__new__(cls)
        self.name = name
        self._take(*[segment.make(*spec) for spec in specs])
        segment.publish()
        return self

    @classmethod
    def _found(cls, name: str, tag: bytes = b"", types: tuple[Any, ...] = ()) -> Any:
        segment = core.NamedSegment(name, int.from_bytes(tag or cls._tag, "big"))
        self = cls.__new__(cls)
        self.name = name
        self._take(*[segment.find(kind) for kind in types or cls._types])
        return self

    def _take(self, core_object: Any) -> None:
        self._core = core_object
        self._bind()

    def _bind(self: Any) -> None: ...

    @classmethod
    def create(cls, name: str, *args: Any, **kwargs: Any) -> Any:
        """A new one of that name; FileExistsError where there is one."""
        if args or kwargs:
            raise coded(TypeError(f"{cls.__name__}.create() takes a name"), "MH-ARGUMENT")
        return cls._made(name, _ROOM, *[(kind,) for kind in cls._types])

    @classmethod
    def open(cls, name: str) -> Any:
        """The one of that name. FileNotFoundError; PermissionError (another user's); SegmentError."""
        return _opened(lambda: cls._found(name))

    @classmethod
    def ensure(cls, name: str, *args: Any, **kwargs: Any) -> Any:
        """The one of that name; where there is none, a new one, as `create` makes it."""
        while True:
            try:
                return cls.open(name)
            except FileNotFoundError:
                pass
            try:
                return cls.create(name, *args, **kwargs)
            except FileExistsError:
                pass

    def unlink(self) -> None:
        """Take the name away; those who have it open keep it."""
        unlink(self.name)

    def __reduce__(self) -> Any:
        return _reopen, (type(self), self.name)


class Lock(_Named, _sync.Lock):
    """A lock owned by a process; as ``manyhands.multiprocessing.Lock``."""

    _tag, _types = b"nLck", (core.SharedLock,)
    _bind = _sync.Lock._bind


class RLock(_Named, _sync.RLock):
    """A lock owned by a thread of a process, which may acquire it again."""

    _tag, _types = b"nRLk", (core.SharedRLock,)
    _bind = _sync.RLock._bind


class Semaphore(_Named, _sync.Semaphore):
    """A counting semaphore; with ``robust=True`` one that knows who has its permits, as of
    ``manyhands.multiprocessing.Semaphore``: what a process had when it was killed comes back."""

    _tag, _types = b"nSem", (core.SharedSemaphore,)
    _robust_tag, _robust_types = b"nSmR", (core.SharedRobustSemaphore,)
    _bind = _sync.Semaphore._bind

    @classmethod
    def create(cls, name: str, value: int = 1, maximum: int = 0, *, robust: bool = False) -> Any:
        """A new one with `value` permits; a `release()` past `maximum` (0: none) is a ValueError."""
        if not robust:
            return cls._made(name, _ROOM, (core.SharedSemaphore, value, maximum))
        if maximum not in (0, value):
            raise coded(
                ValueError("a robust semaphore never has more permits than at the beginning"), "MH-ARGUMENT"
            )
        return cls._made(name, _ROOM, (core.SharedRobustSemaphore, value), tag=cls._robust_tag)

    @classmethod
    def _found(cls, name: str, tag: bytes = b"", types: tuple[Any, ...] = ()) -> Any:
        try:
            return super()._found(name, tag, types)
        except SegmentError as error:
            try:
                return super()._found(name, cls._robust_tag, cls._robust_types)
            except SegmentError:
                raise error from None


class Event(_Named, _sync.Event):
    """A flag that can be waited for."""

    _tag, _types = b"nEvt", (core.SharedEvent,)
    _bind = _sync.Event._bind


class RWLock(_Named, _sync.RWLock):
    """Many readers or one writer."""

    _tag, _types = b"nRWL", (core.SharedRWLock,)
    _bind = _sync.RWLock._bind

    @classmethod
    def create(cls, name: str, prefer: str | None = None) -> Any:
        """A new one; `prefer` as of ``manyhands.multiprocessing.RWLock``."""
        return cls._made(name, _ROOM, (core.SharedRWLock, prefer))


class Barrier(_Named, _sync.Barrier):
    """A meeting point of a fixed number of processes; it breaks when one that waits dies."""

    _tag, _types = b"nBar", (core.SharedBarrier,)
    _action = _timeout = None
    _bind = _sync.Barrier._bind

    @classmethod
    def create(cls, name: str, parties: int) -> Any:
        """A new one for that many."""
        return cls._made(name, _ROOM + 32 * max(0, parties), (core.SharedBarrier, parties))


class Condition(_Named, _sync.Condition):
    """A condition variable and the RLock that goes with it."""

    _tag, _types = b"nCnd", (core.SharedRLock, core.SharedCondition)
    _bind = _sync.Condition._bind

    def _take(self, lock: Any, condition: Any) -> None:  # type: ignore[override]
        self._lock = _sync.RLock.__new__(_sync.RLock)
        self._lock._core = lock
        self._lock._bind()
        super()._take(condition)


class Memory(_Named):
    """Bytes that all who open it share: `buf`, a memoryview, which NumPy takes without a copy (``numpy.frombuffer``).

    They are zero at first. Nothing guards them: use a `Lock`, and write so that a death halfway can be repaired.
    """

    _tag, _types = b"nMem", (core.SharedBuffer,)

    @classmethod
    def create(cls, name: str, size: int) -> Any:
        """`size` new bytes, all zero."""
        if size < 1:
            raise coded(ValueError("a named memory has 1 byte or more"), "MH-ARGUMENT")
        return cls._made(name, size + 64, (core.SharedBuffer, size))

    def _bind(self) -> None:
        self.buf = memoryview(self._core)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.buf.nbytes

    def __repr__(self) -> str:
        return f"<Memory {self.name!r}, {self.size} bytes>"


class Queue(core.MessageQueue):  # type: ignore[misc]
    """A first-in first-out queue for any number of producing and consuming programs.

    As ``manyhands.multiprocessing.Queue``: once `put` has returned the object is in it, whatever becomes of the
    program, and it is still there when all programs have ended. `put` waits while there is no room, in items or in
    bytes. It cannot be selected on. Both programs must be able to import the classes of what is put.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise coded(TypeError("Queue.create(name), Queue.open(name) or Queue.ensure(name)"), "MH-ARGUMENT")

    @classmethod
    def create(cls, name: str, maxsize: int = 0, *, max_bytes: int = 1 << 20) -> Any:
        """A new one for at most `maxsize` objects (0: as many as go in) of at most `max_bytes` together."""
        self = cls.__new__(cls)
        self._create_named(name, max(maxsize, 0), max_bytes)
        self.name = name
        return self

    @classmethod
    def open(cls, name: str) -> Any:
        """The one of that name. FileNotFoundError; PermissionError (another user's); SegmentError.

        OSError with EBUSY where one who lives has held it for a second."""
        self = cls.__new__(cls)
        try:
            _opened(lambda: self._open_named(name))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            text = "a process that lives has held it for a second: it is stopped, or the file is damaged"
            raise coded(OSError(error.errno, text, name), "MH-SEGMENT") from None
        self.name = name
        return self

    ensure: Any = classmethod(_Named.ensure.__func__)  # type: ignore[attr-defined]
    unlink = _Named.unlink

    def put_nowait(self, obj: Any) -> None:
        """put(obj, False)"""
        self.put(obj, False)

    def get_nowait(self) -> Any:
        """get(False)"""
        return self.get(False)

    def __reduce__(self) -> Any:
        return _reopen, (type(self), self.name)

    def __repr__(self) -> str:
        return f"<Queue {self.name!r}>"
