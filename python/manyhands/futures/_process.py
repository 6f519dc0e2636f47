"""`ProcessPoolExecutor` on our own engine. A worker's death fails the task that it had taken, and no other.

Of the tasks that were submitted only a few are in the channel; the others wait in the parent, where they can still be
cancelled. How many: about as many as the workers do in two milliseconds, so that none of them ever waits for work.
"""

from __future__ import annotations

import collections
import os
import time
import weakref
from collections.abc import Callable
from typing import Any

from manyhands._facade import stdlib_of
from manyhands.futures._errors import WorkerDiedError
from manyhands.multiprocessing import _crew

_std = stdlib_of("concurrent.futures.process")
_base = stdlib_of("concurrent.futures._base")
_threading = stdlib_of("threading")

__all__ = ["ProcessPoolExecutor"]

AHEAD_LEAST, AHEAD_MOST = 1, 64  # tasks per worker that are in the channel or with it, beyond the one it runs
AHEAD_SECONDS = 0.002

BROKEN = "a worker could not be set up: the executor runs no more tasks"


def _set_future(future: Any, worked: bool, value: Any) -> None:
    if worked:
        future.set_result(value)
    else:
        future.set_exception(value)


def _died(process: Any) -> BaseException:
    cause = _crew.cause_of(process)
    return WorkerDiedError(f"the worker process {process.pid} died while it ran this task ({cause})")


def _remote(text: str) -> BaseException:
    error: BaseException = _std._RemoteTraceback(f'\n"""\n{text}"""')
    return error


class _Engine:
    """What the executor and the crew's collector share; it does not keep the executor alive."""

    def __init__(self, context: Any, count: int, most: int | None, initializer: Any, initargs: Any) -> None:
        self.context, self.count = context, count
        self.lock = _threading.RLock()
        self.waiting: collections.deque[tuple[Any, Any]] = collections.deque()  # (future, message)
        self.ahead = AHEAD_LEAST
        self.started = self.closing = False
        self.broken_by: BaseException | None = None
        self._rate = 0, 0.0  # tasks settled until this instant
        self.crew = _crew.Crew(
            count,
            initializer=initializer,
            initargs=initargs,
            most=most,
            start=self._start_worker,
            died=_died,
            remote=_remote,
            broken=self._break_down,
            idle=self._after_batch,
        )

    def _start_worker(self, target: Any, args: Any) -> Any:
        process = self.context.Process(target=target, args=args)
        process.start()
        return process

    def start(self) -> None:
        """Start the workers and the crew's threads."""
        self.started = True
        self.crew.begin()
        _register_end()
        _engines.add(self)

    def submit(self, future: Any, message: Any) -> None:
        """Take a call in; one that cannot be pickled raises."""
        with self.lock:
            if self.broken_by is not None:  # it broke while this call was on its way in
                self._tell_broken(future)
            elif self.waiting or len(self.crew.pending) >= self._room():
                self.waiting.append((future, _crew.packed(message)))
            else:
                self._send(future, message)

    def _send(self, future: Any, message: Any) -> None:
        if future.running() or future.set_running_or_notify_cancel():
            self.crew.send(message, _set_future, future)

    def _room(self) -> int:
        return self.count * (1 + self.ahead)

    def feed(self) -> None:
        """Move tasks into the channel, as many as may be there."""
        while self.waiting and len(self.crew.pending) < self._room():
            future, message = self.waiting.popleft()
            try:
                self._send(future, message)
            except Exception as error:  # too large for what memory is left, say
                future.set_exception(error)

    # ---- the collector calls these

    def _after_batch(self) -> None:
        self._measure()
        with self.lock:
            self.feed()
            if self.closing and not self.waiting:
                self.crew.closing = True

    def _measure(self) -> None:
        """How many tasks the workers do in a moment."""
        done, since = self._rate
        now = time.monotonic()
        if now - since > AHEAD_SECONDS:
            pace = (self.crew.settled - done) / (now - since) * AHEAD_SECONDS / self.count
            self.ahead = int(min(max(pace, self.ahead / 2, AHEAD_LEAST), AHEAD_MOST))
            self._rate = self.crew.settled, now

    def _break_down(self, error: BaseException) -> None:
        """A worker could not be set up, or not be started: nothing will ever run."""
        with self.lock:
            self.broken_by = error
            self.closing = True
            waiting, self.waiting = self.waiting, collections.deque()
        self.crew.settle_all(self._broken_error)
        for future, _ in waiting:
            self._tell_broken(future)

    def _broken_error(self) -> BaseException:
        broken: BaseException = _std.BrokenProcessPool(BROKEN)
        broken.__cause__ = self.broken_by
        return broken

    def _tell_broken(self, future: Any) -> None:
        if future.running() or future.set_running_or_notify_cancel():
            future.set_exception(self._broken_error())

    # ---- the end

    def close(self) -> None:
        """No more calls come."""
        with self.lock:
            self.closing = True
        if self.started:
            self.crew.tell(_crew.KICK)

    def cancel_waiting(self) -> None:
        """Those that have not begun never will."""
        while self.waiting:
            future, _ = self.waiting.popleft()
            future.cancel()
            future.set_running_or_notify_cancel()


_engines: weakref.WeakSet[_Engine] = weakref.WeakSet()
_ends_registered = False


def _at_exit() -> None:
    """The interpreter ends: what was submitted is finished first, as with the standard library's executors."""
    engines = list(_engines)
    for engine in engines:
        engine.close()
    for engine in engines:
        engine.crew.collector.join()


def _register_end() -> None:
    global _ends_registered
    if not _ends_registered:
        _ends_registered = True
        _threading._register_atexit(_at_exit)


class ProcessPoolExecutor(_std.ProcessPoolExecutor):  # type: ignore[misc,name-defined]
    """Runs calls on a pool of processes: `submit`, `map`, `shutdown`.

    Takes what `concurrent.futures.ProcessPoolExecutor` takes. A worker that dies fails the task that it ran with
    `WorkerDiedError` (a `BrokenProcessPool`) and is replaced; the other tasks and later ones run.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
    ) -> None:
        if max_workers is None:
            max_workers = len(os.sched_getaffinity(0))
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        context = _context(mp_context, max_tasks_per_child)
        self._max_workers = max_workers
        self._mp_context = context
        self._engine: _Engine | None = _Engine(
            context, max_workers, max_tasks_per_child, initializer, initargs
        )
        self._forgotten = weakref.ref(self, _closer(self._engine))
        self._names: dict[Any, bytes | None] = {}

    @property
    def _processes(self) -> dict[int, Any]:
        """The living workers by process id, as in the standard library's executor."""
        engine = self._engine
        return {} if engine is None else {p.pid: p for p in list(engine.crew.pool)}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Have `fn(*args, **kwargs)` run by a worker; the `Future` of its result. A call that cannot be pickled
        raises here."""
        engine = self._engine
        if engine is not None and engine.broken_by is not None:
            raise _std.BrokenProcessPool(BROKEN)
        if engine is None or engine.closing:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if not engine.started:
            with engine.lock:
                if not engine.started:
                    engine.start()
        future = _base.Future()
        named = self._named(fn)
        engine.submit(future, (named, args, kwargs) if kwargs else (named, args))
        return future

    def _named(self, function: Any) -> Any:
        """The function as it travels, remembered for the functions of late."""
        try:
            return self._names[function] or function
        except KeyError:
            if len(self._names) > 64:
                self._names.clear()
            return self._names.setdefault(function, _crew.name_of(function)) or function
        except TypeError:  # not hashable
            return function

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Any,
        timeout: float | None = None,
        chunksize: int = 1,
        **more: Any,
    ) -> Any:
        """`submit` for each item; an iterator over the results, in order. `chunksize`: items per task; `timeout`:
        seconds from now until which results may be waited for."""
        if chunksize == 1:  # no chunks to pack and unpack
            return _base.Executor.map(self, fn, *iterables, timeout=timeout, **more)
        return super().map(fn, *iterables, timeout=timeout, chunksize=chunksize, **more)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with `wait`, return once all are done. `cancel_futures`: those not begun are not."""
        engine = self._engine
        if engine is None:
            return
        with engine.lock:
            engine.closing = True
            if cancel_futures:
                engine.cancel_waiting()
        if engine.started:
            engine.close()
            if wait:
                engine.crew.collector.join()
        self._engine = None


def _closer(engine: _Engine) -> Callable[[Any], None]:
    """Called when the executor is forgotten without shutdown: the engine closes once its tasks are done."""
    reference = weakref.ref(engine)

    def close(_: Any) -> None:
        living = reference()
        if living is not None:
            living.close()

    return close


def _context(given: Any, most: int | None) -> Any:
    """A context of ours for the start method of `given`."""
    from manyhands.multiprocessing._contexts import _default_context as ours

    if most is not None:
        if not isinstance(most, int):
            raise TypeError("max_tasks_per_child must be an integer")
        if most <= 0:
            raise ValueError("max_tasks_per_child must be >= 1")
    if given is None:
        return ours.get_context("spawn") if most is not None else ours.get_context()
    if most is not None and given.get_start_method(allow_none=False) == "fork":
        raise ValueError(
            "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method; "
            "supply a different mp_context."
        )
    return ours.get_context(given.get_start_method())
