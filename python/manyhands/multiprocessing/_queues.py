"""Queues between processes, in C: no feeder thread, and what `put` returned from is in the queue.

Names and behaviour are the standard library's, with these differences: a value that cannot be pickled raises in `put`,
not in a thread; an item is safe once `put` has returned, even if its producer is killed at once; `qsize()` and
`empty()` are exact. `shutdown()` there is on every version of Python.

Programs that reach inside find what they look for. `_reader` and `_writer` are connections onto the queue itself, so
that ``queue._reader.recv()`` takes the next object and ``wait([queue._reader])`` waits for it; `_sem` tells how much
room is left. `_rlock` and `_wlock` are locks that nobody here takes: gets and puts need none. A subclass that brings a
feeder of its own (`_feed` or `_start_thread`, as joblib's does) is the standard library's queue, over a pipe.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable

from manyhands._facade import stdlib_of
from manyhands._impl import (  # messages binds pickling to the core
    CancelToken,
    core,
    messages,
    set_module,
    strict,
)
from manyhands._impl.queue import ShutDown  # noqa: F401  # binds it to the core
from manyhands._troubles import coded
from manyhands.multiprocessing import _handles
from manyhands.multiprocessing._synchronize import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

_Base: Any = core.MessageQueue
if strict:
    from manyhands.multiprocessing._strict import StrictMessageQueue as _Base

_FEEDER = ("_feed", "_start_thread")  # whose subclass overrides one of them puts by way of a thread
_FED = (
    "put",
    "get",
    "qsize",
    "empty",
    "full",
    "put_nowait",
    "get_nowait",
    "close",
    "join_thread",
    "cancel_join_thread",
    "_start_thread",
    "_feed",
    "_reset",
    "_after_fork",
    "_finalize_join",
    "_finalize_close",
    "_terminate_broken",
    "_on_queue_feeder_error",
    "__getstate__",
    "__setstate__",
    "task_done",
    "join",
)


class _Room:
    """What stands where the standard library's queue has a semaphore: the room that is left. The queue counts by
    itself, so acquiring and releasing it changes nothing."""

    def __init__(self, queue: Queue) -> None:
        self._queue, self._semlock = queue, self

    def _get_value(self) -> int:
        return int(self._queue._maxsize or _std_most()) - int(self._queue.qsize())

    get_value = _get_value

    def _is_zero(self) -> bool:
        return self._get_value() <= 0

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """False where there is no room and the caller will not wait; the put that follows waits."""
        return block or not self._is_zero()

    def release(self) -> None:
        """Whoever takes an object from the queue makes room already."""


def _strictly_fed(cls: type) -> bool:
    """In strict mode, too: whose subclass handles the errors of a feeder, as the executors' does, has one."""
    return strict and "_on_queue_feeder_error" in vars(cls) and cls.__module__ != __name__


def _std_most() -> int:
    return int(stdlib_of("multiprocessing.synchronize").SEM_VALUE_MAX)


class Queue(_Base):  # type: ignore[misc]
    """A first-in first-out queue for any number of producing and consuming processes.

    `maxsize`: `put` waits while that many items are in it; 0: until a share of the memory is used up, when `put`
    raises MemoryError. ``put(obj, block=True, timeout=None)`` raises `queue.Full`, ``get(block=True, timeout=None)``
    `queue.Empty`; both take ``cancel=``, a `manyhands.CancelToken`, and raise `queue.ShutDown` after ``shutdown()``.
    """

    _fed = False
    _fed_as: Any = None
    _redeliver: bool | int = False
    _ignore_epipe = False  # of programs written for the standard library's, which set it
    _ends: tuple[Any, Any] | None = None
    _rlock: Any
    _wlock: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if any(name in vars(cls) for name in _FEEDER) or _strictly_fed(cls):
            cls._fed = True
            cls._fed_as = cls._standard()
            _complete()
            for name in ("_closed", "_maxsize", "_reader", "_writer", "_sem", "_unfinished_tasks"):
                setattr(cls, name, None)  # plain attributes there
            import inspect  # slow to import, and rarely needed

            for name in _FED:
                if name not in vars(cls) and hasattr(cls._fed_as, name):
                    setattr(cls, name, inspect.getattr_static(cls._fed_as, name))
        elif "_on_queue_feeder_error" in vars(cls) and not (strict or cls._fed):
            cls.put = _reporting(cls.put)

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        if self._fed:
            self._fed_as.__init__(self, maxsize, ctx=ctx if ctx is not None else _context())
            return
        super().__init__(max(maxsize, 0), redeliver=self._redeliver)
        self._rlock, self._wlock = Lock(ctx=ctx), Lock(ctx=ctx)
        if strict:
            self._made_in(ctx)

    @staticmethod
    def _standard() -> Any:
        """What a subclass with a feeder is instead."""
        return _standard().Queue

    def __getstate__(self) -> Any:
        fd, select_fd, name, maxsize = self._handle()
        channel = _handles.send(self, fd, ("queue", name)), _handles.send(self, select_fd, ("bell", name))
        if _handles.goes_outside():
            self._share_outside()
        return channel, maxsize, self._rlock, self._wlock

    def __setstate__(self, state: Any) -> None:
        (channel, bell), maxsize, self._rlock, self._wlock = state
        self._attach(_handles.receive(channel), _handles.receive(bell), channel[1][1], maxsize)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self).__new__, (type(self),), self.__getstate__()

    @property
    def _reader(self) -> Any:
        return self._connections()[0]

    @_reader.setter
    def _reader(self, value: Any) -> None:
        self._ends = value, self._connections()[1]

    @property
    def _writer(self) -> Any:
        return self._connections()[1]

    @_writer.setter
    def _writer(self, value: Any) -> None:
        self._ends = self._connections()[0], value

    def _connections(self) -> tuple[Any, Any]:
        if self._ends is None:
            from manyhands.multiprocessing._pipe import QueueConnection

            self._ends = (
                QueueConnection(self._end(), writable=False),
                QueueConnection(self._end(), readable=False),
            )
        return self._ends

    @property
    def _sem(self) -> Any:
        return _Room(self)

    def put_nowait(self, obj: Any) -> None:
        """``put(obj, block=False)``."""
        self.put(obj, False)

    def get_nowait(self) -> Any:
        """``get(block=False)``."""
        return self.get(False)

    def join_thread(self) -> None:
        """For programs written for the standard library: there is no thread to join."""
        assert self._closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self) -> None:
        """For programs written for the standard library: there is no thread to join."""

    __class_getitem__: Any = classmethod(types.GenericAlias)


def _standard() -> Any:
    """The standard library's module: the facade's, which has it from the beginning. Who else asks for it now may get
    ours, where something has put ours in its place."""
    from manyhands.multiprocessing import queues

    return vars(queues)["_std"]


def _complete() -> None:
    """Give `Queue` what a subclass with a feeder calls of its base. Only then: it takes long to import."""
    standard = _standard().Queue
    for name in ("_start_thread", "_feed", "_reset", "_finalize_join", "_finalize_close"):
        if hasattr(standard, name):
            setattr(Queue, name, vars(standard)[name])


def _reporting(put: Callable[..., None]) -> Callable[..., None]:
    """The `put` of a subclass that has said what is to become of errors in pickling: they go there."""

    @functools.wraps(put)
    def report(self: Any, obj: Any, *args: Any, **kwargs: Any) -> None:
        try:
            put(self, obj, *args, **kwargs)
        except Exception as error:
            try:
                messages.dumps(obj, True)
            except Exception:
                self._on_queue_feeder_error(error, obj)
            else:
                raise

    return report


class OwnQueue(Queue):
    """For the package's own use: `put` raises, in strict mode, too."""

    if strict:

        def _on_queue_feeder_error(self, e: BaseException, obj: Any) -> None:
            raise e


def _context() -> Any:
    from manyhands.multiprocessing._contexts import _default_context

    return _default_context.get_context()


class _Count:
    """What stands where the standard library's queue has a semaphore that counts unfinished tasks."""

    def __init__(self, queue: JoinableQueue) -> None:
        self._queue, self._semlock = queue, self

    def get_value(self) -> int:
        return int(self._queue._unfinished())

    _get_value = get_value

    def _is_zero(self) -> bool:
        return self.get_value() == 0


class JoinableQueue(Queue):
    """A queue whose consumers say when an item is done: `task_done()` after each, `join()` waits for all.

    ``redeliver=True``: what a process took and was not done with when it died is put before the others again, so that
    each item is worked on at least once. `task_done()` is then for the item that the caller has had longest, and must
    come from the process that took it. Large buffers are copied into the queue, since a second consumer may need them.

    ``redeliver=3``: an item that three consumers died with is not handed out again. `get` raises
    `manyhands.PoisonError` in its place, once, and it counts as done.
    """

    def __init__(self, maxsize: int = 0, *, redeliver: bool | int = False, ctx: Any = None) -> None:
        if redeliver < 0:
            raise coded(
                ValueError("redeliver is True, or after how many deliveries an item is given up"),
                "MH-ARGUMENT",
            )
        self._redeliver = redeliver
        super().__init__(maxsize, ctx=ctx)

    @staticmethod
    def _standard() -> Any:
        return _standard().JoinableQueue

    @property
    def _unfinished_tasks(self) -> Any:
        return _Count(self)

    def task_done(self) -> None:
        """The caller is done with one item that it got. ValueError where there was none."""
        self._task_done()

    def join(self, *, cancel: CancelToken | None = None) -> None:
        """Wait until every item that was put is done."""
        self._join(cancel=cancel)


class SimpleQueue:
    """A queue without a limit of items, `put` and `get` only; `put` waits where the memory for it is used up."""

    _reader: Any
    _writer: Any

    def __init__(self, *, ctx: Any = None) -> None:
        from manyhands.multiprocessing._pipe import queue_connections

        self._reader, self._writer = queue_connections()
        self._rlock, self._wlock = Lock(ctx=ctx), Lock(ctx=ctx)
        self._poll = self._reader.poll

    def __getstate__(self) -> Any:
        _handles.assert_spawning(self)
        return self._reader, self._writer, self._rlock, self._wlock

    def __setstate__(self, state: Any) -> None:
        self._reader, self._writer, self._rlock, self._wlock = state
        self._poll = self._reader.poll

    def put(self, obj: Any) -> None:
        """Put an object in; what pickling raises where it cannot be; BrokenPipeError where no reader is left."""
        if self._reader.closed:
            self._writer.check_readers()
        self._writer.send(obj)

    def get(self) -> Any:
        """The oldest object; waits."""
        return self._reader.recv()

    def empty(self) -> bool:
        """Is there none?"""
        return not self._reader.poll()

    def close(self) -> None:
        """This process uses it no more."""
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """A descriptor that is readable while objects are there, for select and asyncio."""
        return int(self._reader.fileno())

    __class_getitem__: Any = classmethod(types.GenericAlias)


# A child imports them by these names first; the modules there import this one.
set_module("multiprocessing.queues", "manyhands.multiprocessing.queues", Queue, JoinableQueue, SimpleQueue)
# `OwnQueue` is found in this module: workers, who have no other queue, do not import the standard library's.
