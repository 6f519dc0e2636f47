"""`ProcessPoolExecutor` on our own channels. A worker's death fails the task that it had taken, and no other.

Tasks lie in one channel from which all workers take, results in another. Of the tasks that were submitted only a few
more than there are workers are in the channel; the others wait in the parent, where they can still be cancelled.
"""

from __future__ import annotations

import collections
import os
import weakref
from collections.abc import Callable
from typing import Any

from manyhands._facade import stdlib_of
from manyhands.futures import _worker
from manyhands.futures._errors import WorkerDiedError

_std = stdlib_of("concurrent.futures.process")
_threading = stdlib_of("threading")
_mp_connection = stdlib_of("multiprocessing.connection")

__all__ = ["ProcessPoolExecutor"]

_AHEAD = 4  # tasks in the channel per worker
_BATCH = 64  # results taken at once
_SETTLE = 0.2  # seconds after which a task that nobody has is taken for lost with the worker that died


BROKEN = "a worker could not be set up: the executor runs no more tasks"


class _Task:
    """One submitted call."""

    __slots__ = ("future", "message")

    def __init__(self, future: Any, message: tuple[Any, ...]) -> None:
        self.future, self.message = future, message


class _Engine:
    """What the executor and its collector thread share; it does not keep the executor alive."""

    def __init__(self, context: Any, count: int, most: int | None, initializer: Any, initargs: Any) -> None:
        self.context, self.count, self.most = context, count, most
        self.initializer, self.initargs = initializer, initargs
        self.lock = _threading.RLock()
        self.tasks, self.results, self.wake = context.Queue(), context.Queue(), context.Queue()
        self.table = context.RawArray("q", count)
        self.workers: dict[int, Any] = {}  # place in the table -> process
        self.waiting: collections.deque[int] = collections.deque()  # not yet in the channel
        self.pending: dict[int, _Task] = {}  # not finished, by number
        self.sent: set[int] = set()  # in the channel or with a worker
        self.numbers = 0
        self.closing = self.broken = False
        self.broken_by: BaseException | None = None
        self.asked_to_end = 0
        self.suspects = 0.0  # since when tasks may be lost; 0: none are
        self.executor: Any = None  # a weak reference
        self.thread: Any = None  # runs collect()

    # ---- workers

    def start_workers(self) -> None:
        """Fill the empty places."""
        for place in range(self.count):
            if place not in self.workers:
                self.table[place] = 0
                process = self.context.Process(
                    target=_worker.run_worker,
                    args=(
                        self.tasks,
                        self.results,
                        self.table,
                        place,
                        self.most,
                        self.initializer,
                        self.initargs,
                    ),
                )
                process.start()
                self.workers[place] = process

    def bury(self) -> None:
        """Workers that have ended: charge their tasks, replace them."""
        for place, process in list(self.workers.items()):
            if process.exitcode is None:
                continue
            del self.workers[place]
            number = self.table[place]
            if number > 0:
                self.fail(number, process)
            elif number == 0 and not (self.closing and process.exitcode == 0):
                self.suspects = self.suspects or _now()  # perhaps between taking a task and saying so
            process.join()
        if not self.broken and (self.pending or not self.closing):
            self.start_workers()

    def fail(self, number: int, process: Any) -> None:
        """The worker of task `number` died."""
        task = self.pending.pop(number, None)
        self.sent.discard(number)
        if task is not None:
            task.future.set_exception(
                WorkerDiedError(
                    f"the worker process {process.pid} died while it ran this task ({_cause(process.exitcode)})"
                )
            )

    def look_for_lost(self) -> None:
        """A task that was sent, is not in the channel, and that no worker has: it went down with one that died."""
        if not self.suspects or _now() - self.suspects < _SETTLE:
            return
        taken = {self.table[place] for place in self.workers}
        if self.tasks.qsize() == 0:
            self.suspects = 0.0
            for number in list(self.sent - taken):
                self.sent.discard(number)
                self.waiting.appendleft(number)  # it had not begun: another worker runs it

    # ---- tasks

    def submit(self, future: Any, call: Any) -> None:
        """Take a call in."""
        message_of = _worker.pack_task
        with self.lock:
            self.numbers += 1
            number = self.numbers
        task = _Task(future, message_of(number, call))
        with self.lock:
            if self.broken_by is not None:  # it broke while this call was on its way in
                self.tell_broken(future)
                return
            self.pending[number] = task
            self.waiting.append(number)
            self.feed()

    def feed(self) -> None:
        """Move tasks into the channel, as many as may be there."""
        while self.waiting and len(self.sent) < self.count * _AHEAD:
            number = self.waiting.popleft()
            task = self.pending.get(number)
            if task is None:
                continue
            if task.future.running() or task.future.set_running_or_notify_cancel():
                self.sent.add(number)
                self.tasks.put(task.message)
            else:
                del self.pending[number]

    def settle(self, message: tuple[Any, ...]) -> None:
        """A result has come."""
        number, kind = message[0], message[1]
        if kind == _worker.INITIALIZER_FAILED:
            self.break_down(_value_of(message)[1])
            return
        self.sent.discard(number)
        task = self.pending.pop(number, None)
        if task is None:
            return
        ok, value = _value_of(message)
        if kind == _worker.RAISED or not ok:
            task.future.set_exception(value)
        else:
            task.future.set_result(value)

    def break_down(self, error: BaseException) -> None:
        """A worker could not be set up, or not be started: nothing will ever run."""
        self.broken = True
        self.broken_by = error
        for task in self.pending.values():
            self.tell_broken(task.future)
        self.pending.clear()
        self.waiting.clear()
        self.sent.clear()
        self.closing = True

    def tell_broken(self, future: Any) -> None:
        """This call will never run."""
        broken = _std.BrokenProcessPool(BROKEN)
        broken.__cause__ = self.broken_by
        if future.running() or future.set_running_or_notify_cancel():
            future.set_exception(broken)

    # ---- the collector's thread

    def collect(self) -> None:
        """The thread's life. What goes wrong here (no more processes can be started, say) fails what is pending."""
        try:
            self.collect_all()
        except BaseException as error:
            with self.lock:
                self.break_down(error)
            self.end()

    def collect_all(self) -> None:
        """Take results, feed tasks, bury and replace workers, until all is done and the executor is closed."""
        while True:
            ready = _mp_connection.wait(
                [self.results.fileno(), self.wake.fileno(), *[p.sentinel for p in self.workers.values()]],
                _SETTLE if self.suspects else None,
            )
            with self.lock:
                while self.wake.qsize():
                    self.wake.get()
                self.take_results()
                if not ready or any(p.exitcode is not None for p in self.workers.values()):
                    self.take_results()  # what a worker sent before it ended
                    self.bury()
                    self.look_for_lost()
                self.feed()
                if self.executor() is None:
                    self.closing = True
                if self.closing and not self.pending:
                    break
        self.end()

    def take_results(self) -> None:
        """All that are there."""
        while self.results.qsize():
            for message in self.results.get_many(_BATCH):
                self.settle(message)

    def end(self) -> None:
        """Let the workers go home, and see them out."""
        for _ in self.workers:
            self.tasks.put(None)
        for process in self.workers.values():
            process.join()
        self.workers.clear()

    def kick(self) -> None:
        """Have the collector look at the state again."""
        self.wake.put(None)


def _value_of(message: tuple[Any, ...]) -> tuple[bool, Any]:
    try:
        return True, _worker.unpack_result(message)
    except Exception as error:
        return False, error


def _now() -> float:
    import time

    return time.monotonic()


def _cause(code: int | None) -> str:
    import signal

    if code is not None and code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit code {code}"


_engines: weakref.WeakSet[_Engine] = weakref.WeakSet()
_ends_registered = False


def _at_exit() -> None:
    """The interpreter ends: what was submitted is finished first, as with the standard library's executors."""
    for engine in list(_engines):
        engine.closing = True
        engine.kick()
    for engine in list(_engines):
        engine.thread.join()


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
        self._engine.executor = weakref.ref(self, _kicker(self._engine))
        self._started = False

    @property
    def _processes(self) -> dict[int, Any]:
        """The living workers by process id, as in the standard library's executor."""
        engine = self._engine
        return {} if engine is None else {p.pid: p for p in list(engine.workers.values())}

    def _start(self, engine: _Engine) -> None:
        engine.start_workers()
        self._started = True
        _register_end()
        _engines.add(engine)
        engine.thread = _threading.Thread(target=engine.collect, name="manyhands-collector", daemon=True)
        engine.thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Have `fn(*args, **kwargs)` run by a worker; the `Future` of its result. A call that cannot be pickled
        raises here."""
        engine = self._engine
        if engine is not None and engine.broken:
            raise _std.BrokenProcessPool(BROKEN)
        if engine is None or engine.closing:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = stdlib_of("concurrent.futures").Future()
        with engine.lock:
            if not self._started:
                self._start(engine)
        engine.submit(future, (fn, args, kwargs))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with `wait`, return once all are done. `cancel_futures`: those not begun are not."""
        engine = self._engine
        if engine is None:
            return
        with engine.lock:
            engine.closing = True
            if cancel_futures:
                for number in engine.waiting:
                    task = engine.pending.pop(number, None)
                    if task is not None:
                        task.future.cancel()
                        task.future.set_running_or_notify_cancel()
                engine.waiting.clear()
        if self._started:
            engine.kick()
            if wait:
                engine.thread.join()
        self._engine = None


def _kicker(engine: _Engine) -> Callable[[Any], None]:
    """Called when the executor is forgotten without shutdown: the engine closes once its tasks are done."""
    reference = weakref.ref(engine)

    def kick(_: Any) -> None:
        living = reference()
        if living is not None:
            living.closing = True
            living.kick()

    return kick


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
