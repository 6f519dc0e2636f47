"""`ProcessPoolExecutor` on our own engine. A worker's death fails the task that it had taken, and no other.

Of the tasks that were submitted only a few are in the channel; the others wait in the parent, where they can still be
cancelled. How many: about as many as the workers do in two milliseconds, so that none of them ever waits for work.
"""

from __future__ import annotations

import collections
import math
import time
from collections.abc import Callable

from manyhands._facade import stdlib_of
from manyhands.futures import _inner
from manyhands.futures._alarms import Alarm, alarm
from manyhands.futures._engine import Engine, OverEngine, cores, left_of, register, say
from manyhands.futures._errors import WorkerDiedError
from manyhands.futures._executor import WorkerFigures
from manyhands.futures._future import PENDING, Future
from manyhands.futures._process_crew import Crew
from manyhands.futures._thread import check_more, check_workers
from manyhands.multiprocessing import _crew

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_std: Any = stdlib_of("concurrent.futures.process")
_base: Any = stdlib_of("concurrent.futures._base")
_threading: Any = stdlib_of("threading")

__all__ = ["ProcessEngine", "ProcessPoolExecutor", "process_context"]

AHEAD_LEAST, AHEAD_MOST = 1, 64  # tasks per worker that are in the channel or with it, beyond the one it runs
AHEAD_SECONDS = 0.002
LOOK_AGAIN = 0.01  # seconds between two looks at a task that is to be ended and has not begun

BROKEN = "a worker could not be set up: the executor runs no more tasks"


def _remote(text: str) -> BaseException:
    error: BaseException = _std._RemoteTraceback(f'\n"""\n{text}"""')
    return error


class ProcessEngine(Engine):
    """Worker processes, the tasks that wait for them, and what is measured."""

    def __init__(
        self,
        context: Any,
        count: int,
        most: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        min_workers: int | None = None,
        idle_timeout: float | None = None,
        max_age: float | None = None,
        max_memory: int | None = None,
        inner_threads: int | None = None,
    ) -> None:
        super().__init__()
        self.given = (context, count, most, initializer, initargs)
        self.more: dict[str, Any] = {
            "min_workers": min_workers,
            "idle_timeout": idle_timeout,
            "max_age": max_age,
            "max_memory": max_memory,
            "inner_threads": inner_threads,
        }
        self.context, self.count = context, count
        self.least = count if min_workers is None and idle_timeout is None else (min_workers or 0)
        self.idle_timeout = idle_timeout
        self.waiting: collections.deque[tuple[Future, Any]] = collections.deque()
        self.ahead = AHEAD_LEAST
        self.started = False
        self.names: dict[Any, bytes] = {}
        self.gate = context.Event()
        self.gate.set()
        self.idle_alarm: Alarm | None = None
        self.peak = 0  # tasks at once since the last look
        self._rate = 0, 0.0  # tasks settled until this instant
        self.inner_threads, self.inner_asked = (
            inner_threads or max(1, cores() // count),
            inner_threads is not None,
        )
        self.crew = Crew(
            count,
            self.least,
            self._start_worker,
            self.gate,
            more={
                "max_age": max_age,
                "max_memory": max_memory,
                "inner_threads": self.inner_threads,
                "inner_asked": self.inner_asked,
            },
            initializer=initializer,
            initargs=initargs,
            most=most,
            remote=_remote,
            broken=self._break_down,
            idle=self._after_batch,
        )
        self.crew.whole = _crew.whole_starts(self.context)
        if self._forks():
            self.crew.around_starts = lambda: _inner.limited_fork(self.inner_threads, self.inner_asked)

    def anew(self) -> Engine:
        """In a forked child: the workers are the parent's, and there is no way to make others in their place."""
        self.stale = True
        return self

    def _start_worker(self, target: Any, args: Any) -> Any:
        process = self.context.Process(target=target, args=args)
        if self._forks():
            _inner.look()  # once, not in each worker
        process.start()
        return process

    def _forks(self) -> bool:
        return bool(getattr(self.context, "get_start_method", lambda: None)() == "fork")

    def start(self) -> None:
        """Start the workers and the crew's threads."""
        register(self)
        self.started = True
        self.crew.wanted = max(self.least, 1)
        try:
            self.crew.begin()
        except BaseException as error:
            self.started = False
            if type(error) is RuntimeError:  # no thread can be started, at the interpreter's end
                raise _std.BrokenProcessPool(f"the executor could not be started: {error}") from error
            raise
        if self.held:
            self.crew.hold(True)
        if self.idle_timeout is not None:
            self._watch_idle()

    # ---- tasks

    def submit(self, options: Any, fn: Callable[..., Any], args: Any, kwargs: Any) -> Future:
        """As `Executor.submit`."""
        if self.closing or self.broken_by is not None or self.stale:
            self.refuse()
        future = Future()
        named = _crew.named(self.names, fn)
        message: Any = (named, args, kwargs) if kwargs else (named, args)
        future._engine, future._worker = self, fn
        if options is not None:
            future._options = options
            if options.retries:
                try:
                    message = future._call = _crew.packed(message)
                except Exception as error:
                    self.fail(future, error)
                    return future
        with self.lock:
            if self.closing or self.broken_by is not None:
                self.refuse()
            if not self.started:
                self.start()
            self.unsettled[future] = None
            self._take(future, message)
        return future

    def _take(self, future: Future, message: Any) -> None:
        """Into the channel, or into the line; under the lock. What cannot be pickled fails."""
        try:
            if self.waiting or len(self.crew.pending) >= self._room():
                self.waiting.append((future, _crew.packed(message)))
            else:
                self._send(future, message)
        except Exception as error:
            self.fail(future, error)
        if self.crew.wanted < self.count or self.idle_timeout is not None:
            self._see_load()

    def dispatch(self, future: Future) -> None:
        with self.lock:
            self._take(future, future._call)
            if self.closing:  # and it may have failed at once
                self.crew.tell(_crew.KICK)

    def _send(self, future: Future, message: Any) -> None:
        new = future._state == PENDING or future.cancelled()  # else a further run
        if new and not future.set_running_or_notify_cancel():
            self.unsettled.pop(future, None)
            return
        future._runs += 1
        future._number = number = self.crew.sent & _crew.MASK
        options = future._options
        if (
            options is not None and options.timeout is not None
        ):  # first: its result may be here once it is sent
            self.limit(future, options.timeout, lambda: self.crew.began(number))
        self.crew.send(message, self._settled, future)

    def _settled(self, future: Future, worked: bool, value: Any) -> None:
        if future._ended is not None:
            self.crew.unrevoke(future._number)
        if not worked and isinstance(value, WorkerDiedError):
            value.task = say(future._worker)
            if future._ended is not None:
                value = future._ended
        if future._options is None or not future._options.retries:
            future._worker = None
        self.settle(future, worked, value)

    def _room(self) -> int:
        return 0 if self.held else self.count * (1 + self.ahead)

    def feed(self) -> None:
        """Move tasks into the channel, as many as may be there."""
        while self.waiting and len(self.crew.pending) < self._room():
            future, message = self.waiting.popleft()
            try:
                self._send(future, message)
            except Exception as error:  # too large for what memory is left, say
                self.fail(future, error)

    def inside(self) -> bool:
        return self.started and _threading.current_thread() is self.crew.collector

    def help(self, future: Future, limited: bool) -> None:
        """A callback that waits for a result runs in the collector: it has to collect that result itself."""
        if not limited and self.inside():
            self.crew.collect_until(future.done)

    def end(self, future: Future, error: BaseException | None) -> None:
        """Kill the worker that runs it; one that has not been taken is revoked."""
        number = future._number
        reason = error if error is not None else _base.CancelledError()

        def mark() -> None:
            future._ended = reason

        if self.crew.pending.get(number, (None, None))[1] is not future:
            return  # it has ended by itself
        if self.crew.end_task(number, mark):
            return
        if future._ended is None and self.crew.revoke(number):
            mark()
        # It may begin at this very moment, or be between the channel and its worker.
        alarm(LOOK_AGAIN, lambda: self.end(future, error))

    # ---- how many workers

    def _see_load(self) -> None:
        """More tasks than workers: more of these; under the lock."""
        load = len(self.crew.pending) + len(self.waiting)
        self.peak = max(self.peak, load)
        if min(load, self.count) > self.crew.wanted:
            self.crew.grow(min(load, self.count))

    def _watch_idle(self) -> None:
        assert self.idle_timeout is not None
        self.idle_alarm = alarm(self.idle_timeout, self._let_go)

    def _let_go(self) -> None:
        """Workers that had nothing to do since the last look leave."""
        with self.lock:
            if self.closing:
                return
            needed = max(self.least, self.peak)
            self.peak = len(self.crew.pending) + len(self.waiting)
            if needed < self.crew.wanted:
                self.crew.retire(needed)
        self._watch_idle()

    # ---- the collector calls these

    def _after_batch(self) -> None:
        self._measure()
        with self.lock:
            self.feed()
            if self.closing and not self.unsettled:
                self.crew.closing = True

    def _measure(self) -> None:
        """How many tasks the workers do in a moment."""
        done, since = self._rate
        now = time.monotonic()
        if now - since > AHEAD_SECONDS:
            pace = (self.crew.settled - done) / (now - since) * AHEAD_SECONDS / self.count
            self.ahead = int(min(max(pace, self.ahead / 2, AHEAD_LEAST), AHEAD_MOST))
            self._rate = self.crew.settled, now

    def after_return(self) -> None:
        self.crew.tell(_crew.KICK)

    def _break_down(self, error: BaseException) -> None:
        """A worker could not be set up, or not be started: nothing will ever run."""
        with self.lock:
            self.broken_by = error
            self.closing = True
            self.waiting.clear()
        self.crew.settle_all(self.broken)
        for future in list(self.unsettled):
            self.fail(future, self.broken())

    def broken(self) -> BaseException:
        told = self.broken_by
        broken: BaseException = _std.BrokenProcessPool(
            BROKEN if told is None or isinstance(told, _Ended) else f"{BROKEN} ({told!r})"
        )
        if isinstance(told, _Ended):
            broken = _std.BrokenProcessPool(str(told))
        broken.__cause__ = told
        return broken

    # ---- the end

    def hold(self, on: bool) -> None:
        with self.lock:
            self.held = on
            if on:
                self.gate.clear()
            if self.started:
                self.crew.hold(on)
            if not on:
                self.gate.set()
                if self.started:
                    self.feed()

    def close(self) -> None:
        if self.started:
            self.crew.tell(_crew.KICK)

    def join(self, timeout: float | None) -> bool:
        if not self.started or _threading.current_thread() is self.crew.collector:
            return True
        ended = None if timeout is None else time.monotonic() + timeout
        self.crew.collector.join(left_of(ended))
        return not self.crew.collector.is_alive()

    def cancel_waiting(self) -> None:
        """Those that have not begun never will."""
        while self.waiting:
            self.cancel(self.waiting.popleft()[0])

    def abort(self) -> None:
        self.stop("kill")

    def stop(self, how: str) -> None:
        """End the workers now, by their method `how`; what is not done fails."""
        with self.lock:
            self.closing = self.aborted = True
            self.cancel_waiting()
        if self.started:
            for process in list(self.crew.workers.values()):
                getattr(process, how)()
            self.crew.stop(
                _Ended(f"the executor's workers were ended before this task was done ({how}_workers)")
            )

    def figures(self) -> list[WorkerFigures]:
        return self.crew.figures()


class _Ended(_crew.Failure):
    """By whoever has the executor."""


class ProcessPoolExecutor(OverEngine, _std.ProcessPoolExecutor):  # type: ignore[misc]
    """Runs calls on a pool of processes: `submit`, `map`, `shutdown`, and what `manyhands.Executor` can beyond that.

    Takes what `concurrent.futures.ProcessPoolExecutor` takes. A worker that dies fails the task that it ran with
    `WorkerDiedError` (a `BrokenProcessPool`) and is replaced; the other tasks and later ones run. `min_workers`
    processes stay, others leave after `idle_timeout` seconds without a task. A worker is replaced after
    `max_tasks_per_child` tasks, `max_age` seconds, or a task after which it has more than `max_memory` bytes.
    `inner_threads`: of BLAS and OpenMP per worker; cores / workers where it is not given.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        min_workers: int | None = None,
        idle_timeout: float | None = None,
        max_age: float | None = None,
        max_memory: int | None = None,
        inner_threads: int | None = None,
    ) -> None:
        max_workers = check_workers(max_workers, cores(), min_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        check_more(
            idle_timeout=idle_timeout, max_age=max_age, max_memory=max_memory, inner_threads=inner_threads
        )
        self._mp_context = process_context(mp_context, max_tasks_per_child)
        self._max_workers = max_workers
        self._attach(
            ProcessEngine(
                self._mp_context,
                max_workers,
                max_tasks_per_child,
                initializer,
                initargs,
                min_workers=min_workers,
                idle_timeout=idle_timeout,
                max_age=max_age,
                max_memory=math.ceil(max_memory) if max_memory is not None else None,
                inner_threads=inner_threads,
            )
        )

    @property
    def _processes(self) -> dict[int, Any]:
        """The living workers by process id, as in the standard library's executor."""
        return {p.pid: p for p in list(self._engine.crew.pool)}

    # What programs that reach inside look for.

    @property
    def _executor_manager_thread(self) -> Any:
        return self._engine.crew.collector

    @property
    def _call_queue(self) -> Any:
        return self._engine.crew.tasks

    @property
    def _broken(self) -> Any:
        return self._engine.broken_by is not None and str(self._engine.broken())

    def terminate_workers(self) -> None:
        """End the workers by SIGTERM and close: what runs or was handed to them fails, what waits is cancelled."""
        self._force_shutdown(operation="terminate")

    def kill_workers(self) -> None:
        """End the workers by SIGKILL and close: what runs or was handed to them fails, what waits is cancelled."""
        self._force_shutdown(operation="kill")

    def _force_shutdown(self, operation: str) -> None:
        if operation not in ("terminate", "kill"):
            raise ValueError(f"Unsupported operation: {operation!r}")
        self._engine.stop(operation)


def process_context(given: Any, most: int | None) -> Any:
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
