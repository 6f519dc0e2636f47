"""The verbs that all executors of manyhands have, over a few hooks that each kind of engine fills in.

An executor class is `class XExecutor(Verbs, stdlib's class)`. `Verbs` is all that users see; it calls these hooks:

``_submit(options, fn, args, kwargs)``
    take one task in; return its `Future` (of ``manyhands.futures._future``). `options` is an `Options`, or None for a
    task without limits: the fast path. Raises what `submit` raises. The engine ends a run after `options.timeout`
    seconds and sets `TimeoutError`; after a failed run it asks `options.again(error, runs)`, and runs the task again
    `options.delay(runs)` seconds later (`_alarms.py` has a clock).
``_hold(on)``
    `on`: workers begin no task from now on, those that run go on; False: they do again.
``_wait_settled(timeout)``
    wait until no submitted task is left; whether that came within `timeout` seconds.
``_close(cancel_futures)``
    refuse new tasks; with `cancel_futures` those that wait are cancelled. Repeatable.
``_join(timeout)``
    after `_close`: wait until all is done and the workers have ended; whether it came. Must end a hold, since a closed
    executor that holds would never end.
``_figures()``
    a list of `WorkerFigures`, one per worker that lives or lived.

The engine also makes running tasks cancellable: `future.cancel(running=True)` sets the future cancelled at once and
calls ``future._engine.end(future, None)``, which ends the task; what the engine sets later is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from manyhands._troubles import coded
from manyhands.futures._map import Results, start_map
from manyhands.futures._options import PLAIN, Options
from manyhands.futures._record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import Future
    from typing import Any

__all__ = ["Statistics", "Verbs", "View", "WorkerFigures"]


class WorkerFigures(Record):
    """What one worker did, as `executor.statistics().workers` lists it. All times in seconds.

    `name`: of its thread or process; `alive`: whether it lives; `tasks`: how many ended in it. `start`: from the
    request for it until it could take a task, the initializer included; `wait`: for tasks; `work`: in tasks;
    `transfer`: arguments and results between processes or interpreters. It does not change, and can be pickled.
    """

    __module__ = "manyhands.futures"
    __slots__ = ("name", "alive", "tasks", "start", "wait", "work", "transfer")  # noqa: RUF023  # as they are shown

    def __init__(
        self,
        name: str,
        alive: bool = True,
        tasks: int = 0,
        start: float = 0.0,
        wait: float = 0.0,
        work: float = 0.0,
        transfer: float = 0.0,
    ) -> None:
        self.name, self.alive, self.tasks = name, alive, tasks
        self.start, self.wait, self.work, self.transfer = start, wait, work, transfer


class Statistics(Record):
    """What `executor.statistics()` returns: the figures of each worker, and their sums. All times in seconds.

    `workers`: a list of `WorkerFigures`, those that have ended included. `print` shows a table. It is how things stood
    at the call, and can be pickled.
    """

    __module__ = "manyhands.futures"
    __slots__ = ("workers",)

    def __init__(self, workers: list[WorkerFigures]) -> None:
        self.workers = workers

    def _sum(self, name: str) -> Any:
        return sum(getattr(worker, name) for worker in self.workers)

    @property
    def tasks(self) -> int:
        """Tasks that ended."""
        return int(self._sum("tasks"))

    @property
    def start(self) -> float:
        """Seconds that workers took to start."""
        return float(self._sum("start"))

    @property
    def wait(self) -> float:
        """Seconds that workers waited for tasks."""
        return float(self._sum("wait"))

    @property
    def work(self) -> float:
        """Seconds that workers spent in tasks."""
        return float(self._sum("work"))

    @property
    def transfer(self) -> float:
        """Seconds for arguments and results on their way."""
        return float(self._sum("transfer"))

    def __str__(self) -> str:
        head = f"{'worker':<28} {'tasks':>8} {'start':>9} {'wait':>9} {'work':>9} {'transfer':>9}"
        rows = [
            f"{w.name + ('' if w.alive else ' (ended)'):<28} {w.tasks:>8} {w.start:>8.3f}s {w.wait:>8.3f}s"
            f" {w.work:>8.3f}s {w.transfer:>8.3f}s"
            for w in self.workers
        ]
        return "\n".join([head, *rows])


class View:
    """What `executor.options(...)` returns: the same executor with options for its tasks, which are those of `Options`.

    It has `submit`, `map`, `run`, and `options` for further ones: `executor.options(timeout=2).submit(f, x)`. Light: it
    owns nothing and needs no closing. Once the executor is closed, `submit` raises RuntimeError as the executor's does.
    It stays in its process: give the options to others, who have executors of their own.
    """

    __module__ = "manyhands.futures"
    __slots__ = ("_executor", "_options")

    def __init__(self, executor: Verbs, options: Options) -> None:
        self._executor, self._options = executor, options

    def __repr__(self) -> str:
        return f"<{self._options} of {self._executor!r}>"

    def options(self, **changes: Any) -> View:
        """These options with some changed. TypeError for a name that is no option, and errors as of `Options`."""
        return View(self._executor, self._options.replaced(**changes))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `Executor.submit`, with these options."""
        return self._executor._submit(self._options, fn, args, kwargs)

    def map(self, fn: Callable[..., Any], /, *iterables: Iterable[Any], **how: Any) -> Results:
        """As `Executor.map`, with these options; a limit of time holds for each item."""
        return start_map(self._executor, self._options, fn, iterables, **how)

    async def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As `Executor.run`, with these options."""
        return await _result_of(self.submit(fn, *args, **kwargs))


async def _result_of(future: Any) -> Any:
    import asyncio  # slow to import, and a coroutine that runs has it already

    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        future.cancel(running=True)
        raise


class Verbs:
    """The common interface; see the top of this file for the hooks below it."""

    # ---- filled in by the engine

    def _submit(
        self, options: Options | None, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Future[Any]:
        raise NotImplementedError

    def _hold(self, on: bool) -> None:
        raise NotImplementedError

    def _wait_settled(self, timeout: float | None) -> bool:
        raise NotImplementedError

    def _close(self, cancel_futures: bool) -> None:
        raise NotImplementedError

    def _join(self, timeout: float | None) -> bool:
        raise NotImplementedError

    def _figures(self) -> list[WorkerFigures]:
        raise NotImplementedError

    # ---- what users call

    def options(self, **options: Any) -> View:
        """The same executor with options for its tasks: `timeout`, `retries`, `retry_on`, `backoff`.

        `manyhands.futures.Options` says what they mean. TypeError for a name that is none of them, or a value of
        another type; ValueError for one that cannot be.
        """
        return View(self, PLAIN.replaced(**options))

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Have `fn(*args, **kwargs)` run by a worker; the `Future` of its result."""
        return self._submit(None, fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | str = 1,
        buffersize: int | None = None,
        ordered: bool = True,
        progress: bool | str = False,
    ) -> Results:
        """`fn` of each item (or of one item of each iterable): an iterator over the results, also for `async for`.

        `timeout`: seconds from now until which results may be waited for, then `TimeoutError`. `chunksize`: items per
        task; "auto" makes tasks of about 10 ms by measurement. `buffersize`: so many tasks at most are on their way
        or done and not taken; then the iterables may be endless. `ordered=False`: results as they come. `progress`:
        True, or a text to stand before the bar.
        """
        return start_map(
            self,
            None,
            fn,
            iterables,
            timeout=timeout,
            chunksize=chunksize,
            buffersize=buffersize,
            ordered=ordered,
            progress=progress,
        )

    async def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """`await executor.run(f, x)`: the result of `f(x)` in a worker. Where the waiting task is cancelled, so is this
        one, also if it runs."""
        return await _result_of(self.submit(fn, *args, **kwargs))

    def pause(self) -> None:
        """Begin no more tasks until `resume()`; those that run go on, and new ones may be submitted."""
        self._hold(True)

    def resume(self) -> None:
        """Take back `pause()`."""
        self._hold(False)

    def drain(self, timeout: float | None = None) -> None:
        """Wait until every task that was submitted has ended; the executor stays open. `TimeoutError` after `timeout`
        seconds."""
        if not self._wait_settled(timeout):
            raise coded(TimeoutError(f"tasks are left after {timeout} seconds"), "MH-TIMEOUT")

    def shutdown(
        self, wait: bool = True, *, cancel_futures: bool = False, timeout: float | None = None
    ) -> None:
        """Take no more tasks; with `wait`, return once all are done and the workers have ended.

        `cancel_futures`: those that have not begun are cancelled. `timeout`: seconds to wait, then `TimeoutError`; the
        executor is closed all the same, and what runs goes on.
        """
        self._close(cancel_futures)
        if wait and not self._join(timeout):
            raise coded(
                TimeoutError(f"workers still run tasks {timeout} seconds after shutdown()"), "MH-TIMEOUT"
            )

    def statistics(self) -> Statistics:
        """What each worker did so far: start, wait, work and transfer in seconds, tasks."""
        return Statistics(self._figures())

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        """As leaving `with`, but the event loop runs on meanwhile. After an exception what has not begun is
        cancelled."""
        import asyncio

        self._close(kind is not None)
        await asyncio.to_thread(self._join, None)
