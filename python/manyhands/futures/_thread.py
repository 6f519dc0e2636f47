"""`ThreadPoolExecutor` on threads that can be ended, which take tasks from a queue of ours.

A task is its future. Everything a worker does beside the user's function is inside `shield()`: a thread that is asked
to end, since its task is out of time or was cancelled, ends in the function or not at all. Who ends a task first takes
it from its worker, under the future's lock; so a worker whose task has gone knows that it was meant, and leaves.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from manyhands._facade import stdlib_of
from manyhands._impl import core, shield
from manyhands._impl.queue import SimpleQueue
from manyhands._impl.threading import Event, Semaphore, Thread
from manyhands._troubles import coded
from manyhands.errors import ThreadExit
from manyhands.futures import _inner
from manyhands.futures._engine import Engine, OverEngine, cores, left_of, register
from manyhands.futures._executor import WorkerFigures
from manyhands.futures._future import Future

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_std: Any = stdlib_of("concurrent.futures.thread")
_base: Any = stdlib_of("concurrent.futures._base")
_threading: Any = stdlib_of("threading")

__all__ = ["StrictThreadPoolExecutor", "ThreadEngine", "ThreadPoolExecutor"]

SPENT, ASKED, IDLE = range(3)  # why a worker's loop has ended: ext/task_loop.c
STATE = {"closing", "stale", "broken_by", "held"}  # of an engine; its line knows of it

_local = _threading.local()  # .worker: the worker whose thread this is
_numbers = itertools.count()


class Worker(core.TaskWorker):  # type: ignore[misc]
    """One thread and what it does."""

    # run(fn, args, kwargs or None), outside of the shield; None: the loop makes the call itself
    run: Any = None

    def __init__(self, engine: ThreadEngine, name: str) -> None:
        self.engine, self.name = engine, name
        self.asked = time.monotonic()
        self.started = self.transfer = 0.0  # seconds
        self.alive = True
        self.sent_home = False
        self.thread = engine.make_thread(self._live, name)

    def figures(self) -> WorkerFigures:
        """What it did so far."""
        wait, work = self.wait_ns / 1e9, self.work_ns / 1e9
        return WorkerFigures(self.name, self.alive, self.tasks, self.started, wait, work, self.transfer)

    # ---- what the subclass for interpreters changes

    def open(self) -> None:
        """Before the first task; what it raises breaks the executor."""
        if self.engine.initializer is not None:
            self.engine.initializer(*self.engine.initargs)

    def interrupt(self) -> None:
        """End what `run` is doing."""
        self.thread.terminate()

    def shut(self) -> None:
        """After the last task."""

    # ---- life

    def _live(self) -> None:
        _local.worker = self
        guard = shield()
        guard.__enter__()
        try:
            if self._opened():
                self._serve()
        except ThreadExit:
            pass  # it came at the very end of a task that had been taken away
        finally:
            self.alive = False
            self.shut()
            self.engine.left(self)

    def _opened(self) -> bool:
        try:
            if self.engine.inner_threads is not None:
                self.engine.limits.append(_inner.limit_thread(self.engine.inner_threads))
            self.open()
        except BaseException as error:
            self.engine.break_down(error)
            return False
        self.started = time.monotonic() - self.asked
        return True

    def _serve(self) -> None:
        """Run tasks until this worker is to leave. The loop itself is in C; see ext/task_loop.c."""
        engine = self.engine
        end = None if engine.max_age is None else engine.max_age + self.asked
        while True:
            why = engine.line.serve(self, self.run, engine.most, left_of(end), engine.idle_timeout)
            if why == SPENT or (why == ASKED and engine.nothing_comes()):
                self.sent_home = why == ASKED
                return
            if why == IDLE and engine.lets_go(self):
                self.sent_home = True
                return


class ThreadEngine(Engine):
    """Threads, started as they are needed, and the queue from which they take tasks."""

    worker = Worker

    def __init__(
        self,
        most_workers: int,
        prefix: str = "",
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        min_workers: int | None = None,
        idle_timeout: float | None = None,
        most: int | None = None,
        max_age: float | None = None,
        inner_threads: int | None = None,
    ) -> None:
        super().__init__()
        self.given = (most_workers, prefix, initializer, initargs)
        self.more: dict[str, Any] = {
            "min_workers": min_workers,
            "idle_timeout": idle_timeout,
            "most": most,
            "max_age": max_age,
            "inner_threads": inner_threads,
        }
        self.count, self.prefix = most_workers, prefix or f"ThreadPoolExecutor-{next(_numbers)}"
        self.initializer, self.initargs = initializer, initargs
        self.least, self.idle_timeout = min_workers or 0, idle_timeout
        self.most, self.max_age, self.inner_threads = most, max_age, inner_threads
        self.gate = Event()
        self.gate.set()
        self.threads: set[Any] = set()
        self.workers: dict[Any, None] = {}  # of those that are alive and wanted
        self.line: Any = core.TaskLine(self, self.workers, self.unsettled, most_workers)
        self.ready = True
        self.past: list[WorkerFigures] = []
        self.names = itertools.count()
        self.limits: list[Any] = []  # of inner threads, to take back

    def anew(self) -> ThreadEngine:
        """One with the same settings: for a forked child, whose parent has this one's threads."""
        made = type(self)(*self.given, **self.more)
        made.closing = self.closing
        return made

    def make_thread(self, target: Callable[[], None], name: str) -> Any:
        """Daemonic, so that one which cannot be ended does not hold up the interpreter's end; the others are joined."""
        return Thread(target=target, name=name, daemon=True)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in STATE and "ready" in self.__dict__:
            self.line.closed = self.closing or self.stale or self.broken_by is not None
            self.line.held = self.held

    # ---- tasks

    def submit(self, options: Any, fn: Callable[..., Any], args: Any, kwargs: Any) -> Future:
        """As `Executor.submit`."""
        return self.line.submit(fn, args, kwargs, options)  # type: ignore[no-any-return]

    def dispatch(self, future: Future) -> None:
        with self.lock:
            self.line.put(future)
            if self.closing:
                self.line.put(None)

    def after_return(self) -> None:
        if self.closing:
            self.line.put(None)

    def grow(self) -> None:
        """One more worker, if there may be one."""
        with self.lock:
            self._grow()

    def _grow(self) -> None:
        # Whole: a thread whose start was left by Ctrl-C may run, and may not. The shield is for a thread that is ended.
        with shield(), core.signals_put_off():
            while len(self.workers) < self.count and not self.stale:
                if not self._start_one() or len(self.workers) >= self.least:
                    return

    def _start_one(self) -> bool:
        """False: the system gives no thread, but there are others. Where there is none, nobody would run the task."""
        register(self)
        worker = self.worker(self, f"{self.prefix}_{next(self.names)}")
        self.workers[worker] = None
        self.threads.add(worker.thread)
        try:
            worker.thread.start()
        except BaseException:
            del self.workers[worker]
            self.threads.discard(worker.thread)
            if not self.workers:
                raise
            return False
        return True

    def nothing_comes(self) -> bool:
        """A worker has got None: whether that is the end, which the next one is to hear of, too."""
        if self.broken_by is None and (not self.closing or self.returning):
            return False  # a leftover; or tasks will come back
        self.line.put(None)
        return True

    def lets_go(self, worker: Worker) -> bool:
        """A worker had nothing to do for as long as it may: whether it leaves."""
        with self.lock:
            if len(self.workers) <= self.least or self.closing:
                return False
            self.workers.pop(worker, None)
            # Whoever put a task in before this saw all workers there, and started none for it.
            if self.line.empty():
                return True
            self.workers[worker] = None
            return False

    def wait_gate(self) -> None:
        """Before each task of an executor that holds."""
        self.gate.wait()

    def limit_task(self, future: Future) -> None:
        """A task with options begins."""
        options = future._options
        if options.timeout is not None:
            now = time.monotonic()
            self.limit(future, options.timeout, lambda: now)

    def end(self, future: Future, error: BaseException | None) -> None:
        """Take it from its worker, which ends as soon as it can; its place goes to a new one at once."""
        worker = future._take_away()
        if worker is None:
            return  # it has ended by itself, or waits for its next run
        self._abandon(worker)
        worker.interrupt()
        if error is not None:
            self.settle(future, False, error)
        else:
            self.unsettled.pop(future, None)

    def _abandon(self, worker: Worker) -> None:
        with self.lock:
            worker.abandoned = True
            self.workers.pop(worker, None)
            self.threads.discard(worker.thread)
            self._refill()

    def _refill(self) -> None:
        """A worker has gone: another for what waits; under the lock."""
        wanted = not self.line.empty() or (len(self.workers) < self.least and not self.closing)
        if wanted and self.broken_by is None and not self.stale:
            self.grow()

    def inside(self) -> bool:
        worker = getattr(_local, "worker", None)
        return worker is not None and worker.engine is self

    def help(self, future: Future, limited: bool) -> None:
        """Who waits inside a task for another one of the same executor runs it here, if nobody has begun it: else all
        workers might wait for tasks that wait for a worker."""
        worker = getattr(_local, "worker", None)
        if worker is None or future._worker is not None or worker.engine is not self or self.held:
            return
        options = future._options
        if options is not None and options.timeout is not None:
            return
        self.line.help(worker, future, worker.run)
        if worker.abandoned:  # the end was meant for the task that waits
            raise ThreadExit

    # ---- the end

    def left(self, worker: Worker) -> None:
        """A worker's thread ends."""
        with self.lock:
            self.past.append(worker.figures())
            if self.workers.pop(worker, worker) is None and not worker.sent_home:
                self._refill()
            if not (self.closing or worker.abandoned):
                self.threads.discard(worker.thread)
            if not self.workers:
                while self.limits:
                    self.limits.pop()()

    def break_down(self, error: BaseException) -> None:
        """The initializer failed: nothing will ever run."""
        _base.LOGGER.critical("Exception in initializer:", exc_info=error)
        with self.lock:
            self.broken_by = error
            for future in list(self.unsettled):
                if future._worker is None:
                    self.fail(future, self.broken())
            self.line.put(None)

    def broken(self) -> BaseException:
        error: BaseException = _std.BrokenThreadPool(
            f"a worker thread could not be set up, the initializer raised {self.broken_by!r}: "
            "the executor runs no more tasks"
        )
        error.__cause__ = self.broken_by
        return error

    def hold(self, on: bool) -> None:
        with self.lock:
            self.held = on
            if on:
                self.gate.clear()
            else:
                self.gate.set()

    def cancel_waiting(self) -> None:
        """Those that have not begun never will."""
        for future in list(self.unsettled):
            if future._worker is None:
                self.cancel(future)

    def close(self) -> None:
        self.closing = True
        self.line.put(None)

    def join(self, timeout: float | None) -> bool:
        ended = None if timeout is None else time.monotonic() + timeout
        for thread in list(self.threads):
            if thread is _threading.current_thread():
                continue
            thread.join(left_of(ended))
            if thread.is_alive():
                return False
        return True

    def abort(self) -> None:
        with self.lock:
            self.aborted = self.closing = True
            self.cancel_waiting()
        for future in list(self.unsettled):
            self.end(future, _base.CancelledError("ended with its executor"))
        self.gate.set()
        self.close()

    def figures(self) -> list[WorkerFigures]:
        with self.lock:
            return [*self.past, *(worker.figures() for worker in self.workers)]


def check_workers(most: int | None, default: int, least: int | None, names: str = "max_workers") -> int:
    """How many workers there may be; errors as the standard library's."""
    if most is None:
        most = max(default, least or 0)
    if most <= 0:
        raise ValueError(f"{names} must be greater than 0")
    if least is not None and not 0 <= least <= most:
        raise coded(
            ValueError(f"min_workers must be between 0 and {names} ({most}), not {least}"), "MH-ARGUMENT"
        )
    return most


def check_more(**given: Any) -> None:
    """Further options of executors that are numbers above 0."""
    for name, value in given.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise coded(TypeError(f"{name} must be a number, not {value!r}"), "MH-ARGUMENT")
        if value <= 0:
            raise coded(ValueError(f"{name} must be more than 0, not {value!r}"), "MH-ARGUMENT")


class ThreadPoolExecutor(core.Submitter, OverEngine, _std.ThreadPoolExecutor):  # type: ignore[misc]
    """Runs calls on a pool of threads: `submit`, `map`, `shutdown`, and what `manyhands.Executor` can beyond that.

    Takes what `concurrent.futures.ThreadPoolExecutor` takes. `min_workers` threads stay, others leave after
    `idle_timeout` seconds without a task; a thread is replaced after `max_tasks_per_child` tasks or `max_age` seconds.
    `inner_threads`: of BLAS and OpenMP, set by threadpoolctl.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        min_workers: int | None = None,
        idle_timeout: float | None = None,
        max_tasks_per_child: int | None = None,
        max_age: float | None = None,
        inner_threads: int | None = None,
    ) -> None:
        max_workers = check_workers(max_workers, min(32, cores() + 4), min_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        check_more(
            idle_timeout=idle_timeout,
            max_tasks_per_child=max_tasks_per_child,
            max_age=max_age,
            inner_threads=inner_threads,
        )
        self._max_workers = max_workers
        self._attach(
            ThreadEngine(
                max_workers,
                thread_name_prefix,
                initializer,
                initargs,
                min_workers=min_workers,
                idle_timeout=idle_timeout,
                most=max_tasks_per_child,
                max_age=max_age,
                inner_threads=inner_threads,
            )
        )

    if TYPE_CHECKING:

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any: ...

    def _attach(self, engine: Engine) -> None:
        super()._attach(engine)
        self._line = self._engine.line  # `submit`, which is in C, puts tasks there

    # What programs that reach inside look for.

    @property
    def _threads(self) -> set[Any]:
        threads: set[Any] = self._engine.threads
        return threads

    @property
    def _work_queue(self) -> Any:
        return self._engine.line

    @property
    def _idle_semaphore(self) -> Any:
        return Semaphore(self._engine.line.free_workers())

    @property
    def _thread_name_prefix(self) -> Any:
        return self._engine.prefix

    @property
    def _shutdown(self) -> bool:
        return bool(self._engine.closing)

    @property
    def _broken(self) -> Any:
        return self._engine.broken_by is not None and str(self._engine.broken())

    @property
    def _initializer(self) -> Any:
        return self._engine.initializer

    @property
    def _initargs(self) -> Any:
        return self._engine.initargs


class StrictThreadPoolExecutor(_std.ThreadPoolExecutor):  # type: ignore[misc]
    """For strict compatibility: the standard library's life cycle on our queue."""

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        **context: Any,
    ) -> None:
        super().__init__(max_workers, thread_name_prefix, initializer, initargs, **context)
        self._work_queue: Any = SimpleQueue()
        self._idle_semaphore = Semaphore(0)


StrictThreadPoolExecutor.__name__ = StrictThreadPoolExecutor.__qualname__ = "ThreadPoolExecutor"
