"""Contexts: what `multiprocessing` is, for each start method. They subclass the standard library's, so that other
libraries take them as `mp_context=`; what they make is ours."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

from manyhands._facade import stdlib_of
from manyhands._impl import core
from manyhands.multiprocessing._popen import popen
from manyhands.multiprocessing._verbs import Verbs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from manyhands.multiprocessing import connection, pool, queues, synchronize

_std = stdlib_of("multiprocessing.context")
_process = stdlib_of("multiprocessing.process")
_util = stdlib_of("multiprocessing.util")


__all__ = ["BaseContext"]


class BaseContext(_std.BaseContext):  # type: ignore[misc,name-defined]
    """The factories of ours; the rest is the standard library's."""

    def Lock(self) -> synchronize.Lock:
        """A lock for processes."""
        from manyhands.multiprocessing._synchronize import Lock

        return Lock(ctx=self.get_context())

    def RLock(self) -> synchronize.RLock:
        """A recursive lock for processes."""
        from manyhands.multiprocessing._synchronize import RLock

        return RLock(ctx=self.get_context())

    def Condition(self, lock: Any = None) -> synchronize.Condition:
        """A condition variable for processes."""
        from manyhands.multiprocessing._synchronize import Condition

        return Condition(lock, ctx=self.get_context())

    def RWLock(self, prefer: str | None = None) -> synchronize.RWLock:
        """A reader-writer lock for processes."""
        from manyhands.multiprocessing._synchronize import RWLock

        return RWLock(prefer, ctx=self.get_context())

    def Semaphore(self, value: int = 1, *, robust: bool = False) -> synchronize.Semaphore:
        """A semaphore for processes; `robust`: the permits of a killed process come back."""
        from manyhands.multiprocessing._synchronize import Semaphore

        return Semaphore(value, ctx=self.get_context(), robust=robust)

    def BoundedSemaphore(self, value: int = 1) -> synchronize.BoundedSemaphore:
        """A bounded semaphore for processes."""
        from manyhands.multiprocessing._synchronize import BoundedSemaphore

        return BoundedSemaphore(value, ctx=self.get_context())

    def Event(self) -> synchronize.Event:
        """An event for processes."""
        from manyhands.multiprocessing._synchronize import Event

        return Event(ctx=self.get_context())

    def Barrier(
        self, parties: int, action: Callable[[], Any] | None = None, timeout: float | None = None
    ) -> synchronize.Barrier:
        """A barrier for processes."""
        from manyhands.multiprocessing._synchronize import Barrier

        return Barrier(parties, action, timeout, ctx=self.get_context())

    def Queue(self, maxsize: int = 0) -> queues.Queue:
        """A queue between processes."""
        from manyhands.multiprocessing.queues import Queue

        return Queue(maxsize, ctx=self.get_context())

    def JoinableQueue(self, maxsize: int = 0, *, redeliver: bool | int = False) -> queues.JoinableQueue:
        """A queue that counts unfinished tasks; `redeliver`: what a dead consumer had in hand comes again."""
        from manyhands.multiprocessing.queues import JoinableQueue

        return JoinableQueue(maxsize, redeliver=redeliver, ctx=self.get_context())

    def SimpleQueue(self) -> queues.SimpleQueue:
        """A queue with put and get alone."""
        from manyhands.multiprocessing.queues import SimpleQueue

        return SimpleQueue(ctx=self.get_context())

    def Pipe(self, duplex: bool = True) -> tuple[connection.PipeConnection, connection.PipeConnection]:
        """Two connected ends."""
        from manyhands.multiprocessing.connection import Pipe

        return Pipe(duplex)

    def Value(self, typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:
        """A value in shared memory, with a lock."""
        from manyhands.multiprocessing.sharedctypes import Value

        return Value(typecode_or_type, *args, lock=lock, ctx=self.get_context())

    def Array(self, typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True) -> Any:
        """An array in shared memory, with a lock."""
        from manyhands.multiprocessing.sharedctypes import Array

        return Array(typecode_or_type, size_or_initializer, lock=lock, ctx=self.get_context())

    def RawValue(self, typecode_or_type: Any, *args: Any) -> Any:
        """A value in shared memory, without a lock."""
        from manyhands.multiprocessing.sharedctypes import RawValue

        return RawValue(typecode_or_type, *args)

    def RawArray(self, typecode_or_type: Any, size_or_initializer: Any) -> Any:
        """An array in shared memory, without a lock."""
        from manyhands.multiprocessing.sharedctypes import RawArray

        return RawArray(typecode_or_type, size_or_initializer)

    def Pool(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        maxtasksperchild: int | None = None,
        *,
        retries: int = 0,
    ) -> pool.Pool:
        """A pool of worker processes; `retries`: how often a task is run again whose worker died."""
        from manyhands.multiprocessing.pool import Pool

        return Pool(
            processes, initializer, initargs, maxtasksperchild, context=self.get_context(), retries=retries
        )

    def get_context(self, method: str | None = None) -> Any:
        """The context of a start method; this one where none is named."""
        if method is None:
            return self
        try:
            context = _concrete_contexts[method]
        except KeyError:
            raise ValueError(f"cannot find context for {method!r}") from None
        context._check_available()
        return context


class ForkProcess(Verbs, _std.ForkProcess):  # type: ignore[misc,name-defined]
    """A process started by fork."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return popen("fork")(process_obj)

    @staticmethod
    def _around_start() -> contextlib.AbstractContextManager[None]:
        # What a handler raises in a function of os.register_at_fork() is lost, and after the fork so is the child.
        _util._flush_std_streams()  # may wait for who reads them: where a handler can still run, and not within
        return core.signals_put_off()  # type: ignore[no-any-return]


class SpawnProcess(Verbs, _std.SpawnProcess):  # type: ignore[misc,name-defined]
    """A process started by a new interpreter."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return popen("spawn")(process_obj)


class ForkServerProcess(Verbs, _std.ForkServerProcess):  # type: ignore[misc,name-defined]
    """A process forked from a server that was started clean."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return popen("forkserver")(process_obj)


class Process(Verbs, _std.Process):  # type: ignore[misc,name-defined]
    """A process started by the default method. Pass `target`, or subclass it and override `run()`."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _default_context.get_context().Process._Popen(process_obj)

    @staticmethod
    def _around_start() -> contextlib.AbstractContextManager[None]:
        made: contextlib.AbstractContextManager[None] = _default_context.get_context().Process._around_start()
        return made

    @staticmethod
    def _after_fork() -> Any:
        return _default_context.get_context().Process._after_fork()


class ForkContext(BaseContext, _std.ForkContext):  # type: ignore[misc,name-defined]
    Process = ForkProcess


class SpawnContext(BaseContext, _std.SpawnContext):  # type: ignore[misc,name-defined]
    Process = SpawnProcess


class ForkServerContext(BaseContext, _std.ForkServerContext):  # type: ignore[misc,name-defined]
    Process = ForkServerProcess


class DefaultContext(_std.DefaultContext, BaseContext):  # type: ignore[misc,name-defined]
    """The context behind the module's own functions; its start method may be set once."""

    Process = Process
    _actual_context: Any = None

    def __init__(self, context: Any = None) -> None:
        """Without `context` the platform's is looked for when it is needed: the newest Pythons try to write a file."""
        if context is not None:
            self.__dict__["_default_context"] = context

    @functools.cached_property
    def _default_context(self) -> Any:
        return _concrete_contexts[_std._default_context._default_context._name]

    def get_context(self, method: str | None = None) -> Any:
        """The context of a start method; the one in force where none is named."""
        if method is not None:
            return BaseContext.get_context(self, method)
        if self._actual_context is None:
            self._actual_context = self._default_context
        return self._actual_context


for _name in (
    "Pipe",
    "Lock",
    "RLock",
    "Condition",
    "Semaphore",
    "BoundedSemaphore",
    "Event",
    "Barrier",
    "Queue",
    "JoinableQueue",
    "SimpleQueue",
    "Pool",
    "Value",
    "Array",
    "RawValue",
    "RawArray",
):
    setattr(
        DefaultContext, _name, getattr(BaseContext, _name)
    )  # before the standard library's in the order of look-up

_concrete_contexts = {"fork": ForkContext(), "spawn": SpawnContext(), "forkserver": ForkServerContext()}
_default_context = DefaultContext()


def _force_start_method(method: str) -> None:
    """In a child: the method by which it was started is its default."""
    _default_context._actual_context = _concrete_contexts[method]
    if method in _std._concrete_contexts:  # not where another library has brought the method
        _std._force_start_method(method)
