"""Synchronisation between processes, in C, that survives the death of any participant.

Names and behaviour are the standard library's. Beyond it, every wait takes ``cancel=``, a `manyhands.CancelToken`. And
when the owner of a `Lock` or `RLock` is killed while it holds it, whoever asks next gets `OwnerDiedError`, until one
calls ``recover()``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from manyhands._facade import stdlib_of
from manyhands._impl import CancelToken, core, messages, strict  # noqa: F401  # messages binds exceptions to the core
from manyhands.multiprocessing import _handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_threading = stdlib_of("threading")
_process = stdlib_of("multiprocessing.process")
_reduction = stdlib_of("multiprocessing.reduction")

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "RWLock", "Semaphore"]


class _Shared:
    """An object over a core object in shared memory, which travels by its slab's descriptor."""

    _core: Any

    def _share(self) -> tuple[Any, ...]:
        fd, slab, offset = self._core.place
        return _handles.send(self, fd, ("slab", slab)), offset

    def __getstate__(self) -> Any:
        return self._share()

    def __setstate__(self, state: Any) -> None:
        token, offset = state
        self._core = self._core_type._rebuild(_handles.receive(token), token[1][1], offset)
        self._bind()

    _core_type: Any

    def _bind(self) -> None:
        """Give the instance the core object's own methods: no Python call in between."""

    def _give(self, base: type, *names: str) -> None:
        """Give it those, but for what a subclass of `base` has overridden."""
        for name in names:
            if getattr(type(self), name) is getattr(base, name):
                self.__dict__[name] = getattr(self._core, name)


def _rebuild_core(kind: Any, token: tuple[Any, Any], offset: int) -> Any:
    return kind._rebuild(_handles.receive(token), token[1][1], offset)


def _reduce_core(core_object: Any) -> Any:
    fd, slab, offset = core_object.place
    return _rebuild_core, (type(core_object), _handles.send(core_object, fd, ("slab", slab)), offset)


# A method of theirs may be the target of a process: `Process(target=event.wait)`. Not a barrier's, whose action and
# time-out are with the object above it.
for _type in (
    core.SharedEvent,
    core.SharedLock,
    core.SharedRLock,
    core.SharedRobustSemaphore,
    core.SharedRWLock,
    core.SharedSemaphore,
):
    _reduction.ForkingPickler.register(_type, _reduce_core)


class SemLock(_Shared, core.Entered):  # type: ignore[misc]
    """What locks and semaphores have in common."""

    acquire: Callable[..., bool]
    release: Callable[..., None]

    def _bind(self) -> None:
        self._semlock = self._core
        self.acquire = self._core.acquire
        self.release = self._core.release
        self._enters(self._core.__enter__, self._core.__exit__, True)
        if hasattr(self._core, "recover"):
            self.recover = self._core.recover

    _make_methods = _bind

    def _begin(self, core_object: Any, ctx: Any) -> None:
        """A new one, made in that context."""
        self._core = core_object
        self._bind()
        if strict:
            from manyhands.multiprocessing._strict import NamedSemLock

            self._semlock = NamedSemLock(self, core_object, ctx)

    def locked(self) -> bool:
        """True while anybody holds it (a semaphore: while its value is 0)."""
        return bool(self._core._is_zero())


class Semaphore(SemLock):
    """A counting semaphore. ``acquire(block=True, timeout=None)`` takes one, ``release()`` gives one.

    ``robust=True``: it knows who has its permits. Only a process that acquired one may release it (ValueError else),
    and what a process had when it was killed comes back to those who wait; `died` counts these.
    """

    _core_type = core.SharedSemaphore

    def __init__(self, value: int = 1, *, ctx: Any = None, robust: bool = False) -> None:
        made = core.SharedRobustSemaphore(value) if robust else core.SharedSemaphore(value, 0)
        self._begin(made, ctx)

    def __getstate__(self) -> Any:
        return self.robust, super().__getstate__()

    def __setstate__(self, state: Any) -> None:
        if state[0]:
            self._core_type = core.SharedRobustSemaphore
        super().__setstate__(state[1])

    @property
    def robust(self) -> bool:
        """Does it know who has its permits?"""
        return isinstance(self._core, core.SharedRobustSemaphore)

    @property
    def died(self) -> int:
        """How many permits came back from processes that died with them; 0 where it is not robust."""
        return int(self._core.died) if self.robust else 0

    def get_value(self) -> int:
        """The value at this moment."""
        return int(self._core._get_value())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self._core._get_value()})>"


class BoundedSemaphore(Semaphore):
    """A semaphore whose value never passes its first one: a ``release()`` too many raises ValueError."""

    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        self._begin(core.SharedSemaphore(value, value), ctx)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self._core._get_value()}, maxvalue={self._core.maxvalue})>"


def _owner_name(semlock: Any) -> str:
    if semlock._is_mine():
        name = _process.current_process().name
        thread = _threading.current_thread().name
        return name if thread == "MainThread" else f"{name}|{thread}"
    if semlock._get_value() == 1:
        return "None"
    return "SomeOtherThread" if semlock._count() > 0 else "SomeOtherProcess"


class Lock(SemLock):
    """A lock owned by a process; any process may release it.

    ``acquire(block=True, timeout=None)`` returns True, or False where the time was up. It raises `OwnerDiedError`
    where the owner was killed: then the lock is not held, and ``recover(timeout=None)`` takes it.
    """

    _core_type = core.SharedLock

    def __init__(self, *, ctx: Any = None) -> None:
        self._begin(core.SharedLock(), ctx)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(owner={_owner_name(self._core)})>"


class RLock(SemLock):
    """A lock owned by a thread of a process, which may acquire it again; only that thread may release it."""

    _core_type = core.SharedRLock

    def __init__(self, *, ctx: Any = None) -> None:
        self._begin(core.SharedRLock(), ctx)

    def __repr__(self) -> str:
        name = _owner_name(self._core)
        count: Any = self._core._count() if self._core._is_mine() else 0 if name == "None" else "nonzero"
        return f"<{type(self).__name__}({name}, {count})>"


class RWLockSide(core.Entered):  # type: ignore[misc]
    """One side of an `RWLock`, `lock.read` or `lock.write`, as a lock; errors as of the `RWLock`."""

    def __init__(self, acquire: Callable[..., bool], release: Callable[[], None]) -> None:
        self.acquire, self.release = acquire, release
        self._enters(acquire, release, False)


class RWLock(_Shared):
    """Many readers or one writer, of any processes: ``with lock.read:``, ``with lock.write:``.

    In order of arrival, or with ``prefer="readers"`` or ``"writers"`` those first. It is held by a thread of a process.
    The share of a reader that was killed is given back. Once a writer was killed, everyone who asks gets
    `OwnerDiedError` and does not hold it, until one has called ``recover(timeout=None)``, which acquires for writing,
    and ``release_write()``.
    """

    _core_type = core.SharedRWLock
    acquire_read: Callable[..., bool]
    acquire_write: Callable[..., bool]
    recover: Callable[..., bool]
    release_read: Callable[[], None]
    release_write: Callable[[], None]

    def __init__(self, prefer: str | None = None, *, ctx: Any = None) -> None:
        self._core = core.SharedRWLock(prefer)
        self._bind()

    def _bind(self) -> None:
        for name in ("acquire_read", "acquire_write", "recover", "release_read", "release_write"):
            setattr(self, name, getattr(self._core, name))
        self.read = RWLockSide(self.acquire_read, self.release_read)
        self.write = RWLockSide(self.acquire_write, self.release_write)

    @property
    def readers(self) -> int:
        """How many threads read."""
        return int(self._core.readers)

    @property
    def writing(self) -> bool:
        """Whether a thread writes."""
        return bool(self._core.writing)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(readers={self.readers}{', writing' if self.writing else ''})>"


class _Reading:
    """What stands where the standard library's Condition has a semaphore: its value at this moment, to read."""

    def __init__(self, read: Callable[[], int]) -> None:
        self.get_value = read


class Condition(_Shared, core.Entered):  # type: ignore[misc]
    """A condition variable over a `Lock` or `RLock` of this module. `notify` wakes first who waited first."""

    _core_type = core.SharedCondition

    def __init__(self, lock: Any = None, *, ctx: Any = None) -> None:
        self._lock = lock if lock is not None else RLock(ctx=ctx)
        self._core = core.SharedCondition()
        self._bind()

    def __getstate__(self) -> Any:
        return self._lock, self._share()

    def __setstate__(self, state: Any) -> None:
        self._lock = state[0]
        super().__setstate__(state[1])

    def _bind(self) -> None:
        lock = self._lock
        self.acquire = lock.acquire
        self.release = lock.release
        kind, base = type(lock), SemLock  # no Python call in between, but for what a subclass has overridden
        enter = lock._core.__enter__ if kind.__enter__ is base.__enter__ else lock.__enter__
        leave = lock._core.__exit__ if kind.__exit__ is base.__exit__ else lock.__exit__
        self._enters(enter, leave, True)
        self._core._over(lock._core)
        self._give(Condition, "wait", "notify", "notify_all")

    @property
    def _sleeping_count(self) -> _Reading:
        return _Reading(self._core.waiting)  # nobody is both counted as waiting and woken

    @property
    def _woken_count(self) -> _Reading:
        return _Reading(lambda: 0)

    _wait_semaphore = _woken_count

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock}, {self._core.waiting()})>"

    def wait(self, timeout: float | None = None, *, cancel: CancelToken | None = None) -> bool:
        """Release the lock, wait to be notified, take the lock again. False where the time was up."""
        return bool(self._core.wait(timeout, cancel=cancel))

    def wait_for(
        self, predicate: Callable[[], Any], timeout: float | None = None, *, cancel: CancelToken | None = None
    ) -> Any:
        """Wait until `predicate()` is true; its last value."""
        deadline = None if timeout is None else time.monotonic() + timeout
        result = predicate()
        while not result:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left) if cancel is None else self.wait(left, cancel=cancel)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake the first `n` of those who wait."""
        self._core.notify(n)

    def notify_all(self) -> None:
        """Wake all who wait."""
        self._core.notify_all()


class Event(_Shared):
    """A flag that can be waited for."""

    _core_type = core.SharedEvent

    def __init__(self, *, ctx: Any = None) -> None:
        self._core = core.SharedEvent()
        self._bind()

    def _bind(self) -> None:
        self._give(Event, "is_set", "set", "clear", "wait")

    def is_set(self) -> bool:
        """Is it?"""
        return bool(self._core.is_set())

    def set(self) -> None:
        """From now on it is; who waits goes on."""
        self._core.set()

    def clear(self) -> None:
        """From now on it is not."""
        self._core.clear()

    def wait(self, timeout: float | None = None, *, cancel: CancelToken | None = None) -> bool:
        """Wait until it is; whether it is."""
        return bool(self._core.wait(timeout, cancel=cancel))

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} at {id(self):#x} {'set' if self._core.is_set() else 'unset'}>"


class Barrier(_Shared):
    """A meeting point of a fixed number of processes. It breaks for all when one that waits dies or leaves."""

    _core_type = core.SharedBarrier

    def __init__(
        self,
        parties: int,
        action: Callable[[], Any] | None = None,
        timeout: float | None = None,
        *,
        ctx: Any = None,
    ) -> None:
        self._core = core.SharedBarrier(parties)
        self._action, self._timeout = action, timeout
        self._bind()

    def _bind(self) -> None:
        self._core._defaults(self._action, self._timeout)
        self._give(Barrier, "wait")

    def __getstate__(self) -> Any:
        return self._action, self._timeout, self._share()

    def __setstate__(self, state: Any) -> None:
        self._action, self._timeout = state[:2]
        super().__setstate__(state[2])

    def wait(self, timeout: float | None = None, *, cancel: CancelToken | None = None) -> int:
        """Wait for the others; a number of 0 .. parties-1, another for each. BrokenBarrierError."""
        return int(self._core.wait(timeout, cancel=cancel))

    def reset(self) -> None:
        """Whole and empty again; who waits gets BrokenBarrierError."""
        self._core.reset()

    def abort(self) -> None:
        """Break it: who waits now or later gets BrokenBarrierError, until it is reset."""
        self._core.abort()

    @property
    def parties(self) -> int:
        """How many have to come."""
        return int(self._core.parties)

    @property
    def n_waiting(self) -> int:
        """How many are there."""
        return int(self._core.n_waiting)

    @property
    def broken(self) -> bool:
        """True where it is broken."""
        return bool(self._core.broken)

    def __repr__(self) -> str:
        state = "broken" if self.broken else f"waiters={self.n_waiting}/{self.parties}"
        return f"<{type(self).__module__}.{type(self).__qualname__} at {id(self):#x}: {state}>"
