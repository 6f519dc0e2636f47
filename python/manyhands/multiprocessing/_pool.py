"""`Pool` on our own engine: a worker's death fails the task that it ran, and no other; no thread per hop.

The results are subclasses of the standard library's, which can also be waited for where the results are collected: in
a callback.
"""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator

from manyhands._facade import stdlib_of
from manyhands._impl import set_module, strict
from manyhands._impl.threading import Event, Semaphore
from manyhands._troubles import coded
from manyhands.multiprocessing import _crew, _crew_worker
from manyhands.multiprocessing._pool_crew import Again, PoolCrew, cores, starter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_std = stdlib_of("multiprocessing.pool")
_util = stdlib_of("multiprocessing.util")
_threading = stdlib_of("threading")
_TimeoutError = stdlib_of("multiprocessing").TimeoutError

__all__ = ["Pool"]

AHEAD = 16  # tasks of an `imap` per worker that are in the channel or done and not yet asked for


def _set_result(key: tuple[Any, int], worked: bool, value: Any) -> None:
    key[0]._set(key[1], (worked, value))


def _set_item(key: tuple[Any, int], worked: bool, value: Any) -> None:
    """The same for a map with chunks of one, whose last result or first error the standard library's class sees to."""
    result, index = key
    if worked and result._success and result._number_left > 1:
        result._number_left -= 1
        result._value[index] = value[0]
    else:
        result._set(index, (worked, value))


class _Waited:
    """A result: who waits for it looks where it would come from."""

    _crew: Any

    def _help(self, timeout: float | None) -> None:
        """Before it is waited for, where it is not there."""
        self._crew.check_owner()
        self._crew.help(self, timeout)

    def _is_there(self) -> bool:
        raise NotImplementedError


class _Result(_Waited, _std.ApplyResult):  # type: ignore[misc,name-defined]
    """Of one call."""

    def __init__(self, pool: Any, callback: Any, error_callback: Any) -> None:
        self._pool, self._crew = pool, pool._crew
        self._event = Event()
        self._job = next(_std.job_counter)
        self._cache = pool._cache
        self._callback, self._error_callback = callback, error_callback
        self._cache[self._job] = self

    def _is_there(self) -> bool:
        return bool(self._event.is_set())

    def wait(self, timeout: float | None = None) -> None:
        """Until the result is there, at most `timeout` seconds."""
        if not self._event.is_set():
            self._help(timeout)
            self._event.wait(timeout)


class _MapResult(_std.MapResult, _Result):  # type: ignore[misc,name-defined]
    """Of a map: all its chunks."""

    def __init__(self, pool: Any, chunksize: int, length: int, callback: Any, error_callback: Any) -> None:
        _Result.__init__(self, pool, callback, error_callback)
        self._success = True
        self._value = [None] * length
        self._chunksize = chunksize
        self._number_left = -(-length // chunksize)


class _Bounded(_Waited):
    """An iterator over results that lets its feeder go on as they are asked for."""

    room: Any
    _items: Any
    _index: int
    _length: int | None

    def __init__(self, pool: Any) -> None:
        super().__init__(pool)  # type: ignore[call-arg]
        self._crew = pool._crew

    def _is_there(self) -> bool:
        return bool(self._items) or self._index == self._length

    def next(self, timeout: float | None = None) -> Any:
        """The next result; `TimeoutError` where it is not there within `timeout` seconds."""
        if not self._items:
            self._help(timeout)
        try:
            value = super().next(timeout)  # type: ignore[misc]
        except _TimeoutError:
            raise
        except BaseException:
            self.room.release()
            raise
        self.room.release()
        return value

    __next__ = next


class _Ordered(_Bounded, _std.IMapIterator):  # type: ignore[misc,name-defined]
    """In the order of the items."""


class _Unordered(_Bounded, _std.IMapUnorderedIterator):  # type: ignore[misc,name-defined]
    """In the order in which they come."""


class _Feeder:
    """Reads an iterable in a thread of its own and sends tasks, while there is room."""

    def __init__(
        self,
        crew: _crew.Crew,
        result: Any,
        messages: Iterator[Any],
        ahead: int | None,
        what: Callable[[Any], Any],
    ) -> None:
        self.crew, self.result, self.messages, self.what = crew, result, messages, what
        self.bounded = ahead is not None
        self.stopped = False
        result.room = Semaphore(ahead or 0)
        self.thread = _threading.Thread(target=self._feed, name="manyhands-feeder", daemon=True)
        crew.feeder(1)
        self.thread.start()

    def _feed(self) -> None:
        sent = 0
        try:
            while self._may_go_on():
                try:
                    message = next(self.messages)
                except StopIteration:
                    break
                self._send(message, (self.result, sent))
                sent += 1
        except Exception as error:  # the iterable's own
            _set_result((self.result, sent), False, error)
            sent += 1
        finally:
            self.result._set_length(sent)
            self.crew.feeder(-1)

    def _may_go_on(self) -> bool:
        if self.bounded:
            self.result.room.acquire()
        return not self.stopped

    def _send(self, message: Any, key: tuple[Any, int]) -> None:
        try:
            self.crew.send(message, _set_result, key, self.what(message))
        except Exception as error:  # it cannot be pickled
            _set_result(key, False, error)

    def run_free(self) -> None:
        """Read on without looking at what is asked for: the pool was closed, and shall do all there is to do."""
        self.bounded = False
        self.result.room.release()

    def stop(self) -> None:
        """Send no more."""
        self.stopped = True
        self.run_free()


class Pool(_std.Pool):  # type: ignore[misc,name-defined]
    """A pool of worker processes: `apply`, `map`, `starmap`, `imap` and their asynchronous forms.

    Takes what `multiprocessing.Pool` takes. A worker that dies fails the task that it ran with `WorkerDiedError` and is
    replaced; the other tasks run. With `retries` a task is run again, so often, when its worker has died. An
    initialiser that raises fails all tasks with what it raised. The workers may have pools of their own.
    """

    _EACH: Any = _crew.name_of(_crew_worker.apply_each)
    _STARRED: Any = _crew.name_of(_crew_worker.apply_starred)

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        *,
        retries: int = 0,
    ) -> None:
        self._pool: list[Any] = []
        self._state = _std.INIT
        _check(processes, initializer, maxtasksperchild, retries)
        self._processes = processes or cores()
        self._retries = retries
        self._names: dict[Any, Any] = {}
        self._ctx = context or _default()
        self._initializer, self._initargs = initializer, initargs
        self._maxtasksperchild = maxtasksperchild
        self._cache: dict[int, Any] = {}
        self._feeders: list[_Feeder] = []
        self._crew = self._make_crew()
        self._pool = self._crew.pool
        self._crew.begin()
        self._terminate = _util.Finalize(self, _end, args=(self._crew, self._feeders), exitpriority=15)
        self._state = _std.RUN

    def _make_crew(self) -> _crew.Crew:
        def broken(error: BaseException) -> None:
            crew.settle_all(lambda: error)

        crew = PoolCrew(
            self._processes,
            initializer=self._initializer,
            initargs=self._initargs,
            most=self._maxtasksperchild,
            start=starter(self._ctx, type(self)),
            remote=_remote,
            unsent=_std.MaybeEncodingError,
            broken=broken,
            passes=Exception,
        )
        crew.whole = _crew.whole_starts(self._ctx)
        return crew

    # What it needs is bound now: at the interpreter's end there are no modules left.
    def __del__(self, _warn: Any = warnings.warn, _run: Any = _std.RUN) -> None:
        if self._state == _run:
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)

    def _repopulate_pool(self) -> None:
        """For programs that ask for it: the collector does this by itself."""

    # ---- tasks

    def _check_running(self) -> None:
        if self._state != _std.RUN:
            raise ValueError("Pool not running")
        self._crew.check_owner()

    def _named(self, func: Any) -> Any:
        """The function as it travels, remembered for the functions of late."""
        names = self._names
        try:
            return names[func]
        except KeyError:
            if len(names) > 64:
                names.clear()
            return names.setdefault(func, _crew.name_of(func) or func)
        except TypeError:  # not hashable
            return func

    def _what(self, func: Any, message: Any) -> Any:
        """What is remembered of a task for the day its worker dies: its function, or all where it is run again."""
        return Again(func, message, self._retries) if self._retries else func

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: dict[str, Any] = {},  # noqa: B006 - as the standard library's
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> Any:
        """`apply` that does not wait: an `AsyncResult`."""
        self._check_running()
        result = _Result(self, callback, error_callback)
        named = self._named(func)
        message = (named, tuple(args), kwds) if kwds else (named, tuple(args))
        self._send(message, (result, 0), func)
        return result

    def _send(self, message: Any, key: tuple[Any, int], func: Any) -> None:
        try:
            self._crew.send(message, _set_result, key, self._what(func, message))
        except _crew.Closed:
            key[0]._cache.pop(key[0]._job, None)
            raise
        except Exception as error:
            _set_result(key, False, error)
        self._settle_if_broken()

    def _settle_if_broken(self) -> None:
        """A task that came in while the crew broke down would never be settled."""
        failure = self._crew.failure
        if failure is not None:
            self._crew.settle_all(lambda: failure)

    def _map_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        mapper: Callable[..., Any],
        chunksize: int | None = None,
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[BaseException], Any] | None = None,
    ) -> Any:
        self._check_running()
        items = iterable if isinstance(iterable, (list, tuple, range)) else list(iterable)
        if chunksize is None:
            chunksize, more = divmod(len(items), self._processes * 4)
            chunksize += bool(more)
        if not items:
            return _std.MapResult(self, 0, 0, callback, error_callback=error_callback)
        result = _MapResult(self, chunksize, len(items), callback, error_callback)
        if mapper is not _std.mapstar:
            messages = _chunks(self._STARRED, func, items, chunksize)
        elif chunksize == 1:
            named = self._named(func)
            messages = [(named, (item,), None) for item in items]
        else:
            messages = _chunks(self._EACH, func, items, chunksize)
        keys = zip(itertools.repeat(result), range(len(messages)), strict=False)
        whats = (
            (self._what(func, message) for message in messages) if self._retries else itertools.repeat(func)
        )
        try:
            self._crew.send_many(messages, _set_item if chunksize == 1 else _set_result, keys, whats)
        except _crew.Closed:
            self._cache.pop(result._job, None)
            raise
        self._settle_if_broken()
        return result

    def imap(self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int = 1) -> Iterator[Any]:
        """`map` that gives each result as soon as it and those before it are there. The iterable is read as results
        are asked for, a few tasks per worker ahead, so that it may be endless."""
        return self._imap(_Ordered(self), func, iterable, chunksize)

    def imap_unordered(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int = 1
    ) -> Iterator[Any]:
        """`imap` that gives the results in the order in which they come."""
        return self._imap(_Unordered(self), func, iterable, chunksize)

    def _imap(
        self, result: Any, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int
    ) -> Iterator[Any]:
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize}")
        self._feeders[:] = [feeder for feeder in self._feeders if feeder.thread.is_alive()]
        ahead = None if strict else self._processes * AHEAD
        messages: Any
        if chunksize == 1:
            messages = zip(itertools.repeat(self._named(func)), zip(iterable, strict=True), strict=False)
        else:
            messages = _lazy_chunks(self._EACH, func, iterable, chunksize)
        what = functools.partial(self._what, func) if self._retries else lambda message: func
        self._feeders.append(_Feeder(self._crew, result, messages, ahead, what))
        return result if chunksize == 1 else (value for chunk in result for value in chunk)

    # ---- the end

    def close(self) -> None:
        """No more tasks; the workers go home once all are done."""
        if self._state == _std.RUN:
            self._state = _std.CLOSE
            for feeder in self._feeders:
                feeder.run_free()
            self._crew.close()

    def terminate(self) -> None:
        """End the workers at once; tasks that are not done fail."""
        self._state = _std.TERMINATE
        self._terminate()

    def join(self) -> None:
        """Wait until the workers have ended; after `close` or `terminate`."""
        if self._state == _std.RUN:
            raise ValueError("Pool is still running")
        if self._state not in (_std.CLOSE, _std.TERMINATE):
            raise ValueError("In unknown state")
        for feeder in self._feeders:
            feeder.thread.join()
        self._crew.collector.join()


set_module("multiprocessing.pool", "manyhands.multiprocessing.pool", Pool)


def _chunks(how: Any, func: Any, items: Any, size: int) -> list[Any]:
    return [(how, (func, *items[i : i + size])) for i in range(0, len(items), size)]


def _lazy_chunks(how: Any, func: Any, iterable: Iterable[Any], size: int) -> Iterator[Any]:
    source = iter(iterable)
    return ((how, (func, *chunk)) for chunk in iter(lambda: tuple(itertools.islice(source, size)), ()))


def _remote(text: str) -> BaseException:
    error: BaseException = _std.RemoteTraceback(f'\n"""\n{text}"""')
    return error


def _end(crew: Any, feeders: list[_Feeder]) -> None:
    """The pool is terminated, forgotten, or the interpreter ends."""
    for feeder in feeders:
        feeder.stop()
    crew.stop(coded(_crew.Failure("the pool was terminated before this task was done"), "MH-TERMINATED"))
    crew.wait_end()


def _check(processes: Any, initializer: Any, most: Any, retries: Any) -> None:
    if not isinstance(retries, int) or retries < 0:
        raise coded(ValueError("retries must be an int, 0 or more"), "MH-ARGUMENT")
    if processes is not None and processes < 1:
        raise ValueError("Number of processes must be at least 1")
    if most is not None and (not isinstance(most, int) or most <= 0):
        raise ValueError("maxtasksperchild must be a positive int or None")
    if initializer is not None and not callable(initializer):
        raise TypeError("initializer must be a callable")


def _default() -> Any:
    from manyhands.multiprocessing._contexts import _default_context

    return _default_context.get_context()
