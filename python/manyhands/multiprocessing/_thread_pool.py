"""`ThreadPool` on our own engine: workers take tasks from one line and settle them; no thread stands between.

Callbacks of the standard library's pool never run at the same time, since one thread settles all results. Here the
worker that has a result settles it, unless another one is settling: then that one does it, too. A callback that waits
for another result settles what comes meanwhile.

A task that waits for a task of its own pool, which has not begun, runs it itself: pools whose threads are all busy
with tasks that wait do not stand still.
"""

from __future__ import annotations

import collections
import itertools
import os
import sys
from collections.abc import Callable, Iterable

from manyhands._facade import stdlib_of
from manyhands._impl import set_module
from manyhands._impl.threading import Event, Lock, Semaphore
from manyhands.multiprocessing import _crew, _crew_worker
from manyhands.multiprocessing._pool import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # A task in the line: its number, and a cell with the message that whoever runs it takes out.
    Task = tuple[int, list[Any]]

_std = stdlib_of("multiprocessing.pool")
_dummy = stdlib_of("multiprocessing.dummy")
_threading = stdlib_of("threading")

__all__ = ["ThreadPool"]

FEEDER_SLICE = 0.02  # seconds between two looks for tasks of an `imap` that is waited for by a worker


class _Everyone:
    """Stands for the thread that one waits for at the end."""

    def __init__(self, crew: ThreadCrew) -> None:
        self._crew = crew

    def join(self, timeout: float | None = None) -> None:
        for thread in list(self._crew.pool):
            if thread is not _threading.current_thread():
                thread.join(timeout)


class ThreadCrew:
    """What `Pool` asks of a crew, by threads."""

    def __init__(
        self, size: int, start: Callable[[Any], Any], initializer: Any, initargs: tuple[Any, ...]
    ) -> None:
        self.size, self._start = size, start
        self._initializer, self._initargs = initializer, initargs
        self.pool: list[Any] = []
        self.pending: dict[int, tuple[Any, Any]] = {}  # by number: setter and key
        self.failure: BaseException | None = None
        self.closing = False
        self.feeding = 0
        self.owner = os.getpid()
        self.collector = _Everyone(self)
        self._numbers = itertools.count()
        self._line: collections.deque[Task | None] = collections.deque()
        self._waiting = Semaphore(0)  # how many are in the line
        self._done: collections.deque[tuple[int, bool, Any]] = collections.deque()
        self._settling = Lock()
        self._settler: int | None = None  # the thread that settles now
        self._news = Event()  # for a settler that waits in a callback
        self._guard = Lock()  # of feeding and of the end
        self._sent_home = False

    # ---- for who has work

    check_owner = _crew.Crew.check_owner

    def begin(self) -> None:
        """Start the threads."""
        for _ in range(self.size):
            self.pool.append(self._start(self._work))

    def send(self, message: Any, setter: Any, key: Any, what: Any = None) -> None:
        """One task."""
        number = next(self._numbers)
        with self._guard:
            self._check_open()
            self.pending[number] = setter, key
        self._line.append((number, [message]))
        self._waiting.release()
        self._settle_if_failed()

    def send_many(self, messages: list[Any], setter: Any, keys: Iterable[Any], whats: Any = None) -> None:
        """Many tasks."""
        tasks = list(zip(self._numbers, map(list, zip(messages, strict=True)), strict=False))
        with self._guard:
            self._check_open()
            for (number, _), key in zip(tasks, keys, strict=True):
                self.pending[number] = setter, key
        self._line.extend(tasks)
        self._waiting.release(len(tasks))
        self._settle_if_failed()

    def _check_open(self) -> None:
        if self._sent_home and self.failure is None:
            raise _crew.Closed("Pool not running")

    def _settle_if_failed(self) -> None:
        failure = self.failure
        if failure is not None:
            self.settle_all(lambda: failure)

    def settle_all(self, error_of: Callable[[], BaseException]) -> None:
        """Every task that is not settled fails."""
        for number in list(self.pending):
            self._done.append((number, False, error_of()))
        self._settle()

    def feeder(self, change: int) -> None:
        """One more or one less who sends tasks even after `close`."""
        with self._guard:
            self.feeding += change
        self._go_home_if_finished()

    def close(self) -> None:
        """No more tasks come: once all are settled the threads end."""
        self.closing = True
        self._go_home_if_finished()

    def stop(self, error: BaseException) -> None:
        """Nothing begins any more, and what is not settled fails with `error`. Threads end after the task they run."""
        self.failure = self.failure or error
        self.closing = True
        self.settle_all(lambda: error)
        self._go_home_if_finished()

    def wait_end(self) -> None:
        """After `stop`: a task that runs cannot be ended, and is not waited for."""

    def _go_home_if_finished(self) -> None:
        if not self.closing or self._sent_home or (self.failure is None and (self.pending or self.feeding)):
            return
        with self._guard:
            if not self._sent_home and (self.failure is not None or not (self.pending or self.feeding)):
                self._sent_home = True
                self._line.extend([None] * self.size)
                self._waiting.release(self.size)

    # ---- who waits

    def help(self, result: Any, timeout: float | None) -> None:
        """A worker that waits for a result runs what of it has not begun; a settler settles meanwhile."""
        here = _threading.get_ident()
        if any(thread.ident == here for thread in self.pool):
            while not result._is_there():
                task = self._task_of(result)
                if task is not None:
                    self._run(task)
                elif timeout is not None or not hasattr(result, "room"):
                    break
                else:  # of an imap: its feeder may send what nobody else is free to run
                    self._news.wait(FEEDER_SLICE)
                    if self._settler == here:
                        self._settle_some()
                    self._news.clear()
        if self._settler == here:
            self._settle_until(result._is_there, timeout)

    def _waiting_tasks(self) -> list[Task | None]:
        while True:
            try:
                return list(self._line)
            except RuntimeError:  # without a GIL: it changed meanwhile
                continue

    def _task_of(self, result: Any) -> Task | None:
        for task in self._waiting_tasks():
            entry = self.pending.get(task[0]) if task is not None and task[1] else None
            if entry is not None and entry[1][0] is result:
                return task
        return None

    def _settle_until(self, ready: Callable[[], bool], timeout: float | None) -> None:
        while True:
            self._news.clear()
            self._settle_some()
            if ready() or not self._news.wait(timeout):
                return

    # ---- the threads

    def _work(self) -> None:
        try:
            if self._initializer is not None:
                self._initializer(*self._initargs)
        except BaseException as error:
            self.stop(error)
            return
        line, wait = self._line, self._waiting.acquire
        while True:
            wait()
            task = line.popleft()
            if task is None:
                return
            self._run(task)
            del task

    def _run(self, task: Task) -> None:
        number, cell = task
        try:
            message = cell.pop()
        except IndexError:  # one that waited for it has run it
            return
        if self.failure is not None:
            return
        try:
            value = _call(message)
        except BaseException as error:
            self._done.append((number, False, error))
        else:
            self._done.append((number, True, value))
            del value
        del message
        self._settle()

    # ---- results: one settles at a time

    def _settle(self) -> None:
        self._news.set()
        here = _threading.get_ident()
        while self._done and self._settler != here and self._settling.acquire(False):
            try:
                self._settler = here
                self._settle_some()
            finally:
                self._settler = None
                self._settling.release()
            # what came between the last look and the release is seen by the loop's condition

    def _settle_some(self) -> None:
        done, pending = self._done, self.pending
        while done:
            number, worked, value = done.popleft()
            entry = pending.pop(number, None)
            if entry is None:
                continue
            try:
                entry[0](entry[1], worked, value)
            except Exception:  # a callback of the user's
                _threading.excepthook(
                    _threading.ExceptHookArgs((*sys.exc_info(), _threading.current_thread()))
                )
            del value, entry
        if self.closing:
            self._go_home_if_finished()


def _call(message: tuple[Any, ...]) -> Any:
    if len(message) == 2:
        return message[0](*message[1])
    if message[2] is None:
        return [message[0](*message[1])]
    return message[0](*message[1], **message[2])


class ThreadPool(Pool, _std.ThreadPool):  # type: ignore[misc,name-defined]
    """A pool of threads with the methods of `Pool`.

    Takes what `multiprocessing.pool.ThreadPool` takes. An initialiser that raises fails all tasks with what it raised.
    A task may wait for another one of the same pool.
    """

    _EACH: Any = staticmethod(_crew_worker.apply_each)
    _STARRED: Any = staticmethod(_crew_worker.apply_starred)

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        Pool.__init__(self, processes, initializer, initargs)

    def _make_crew(self) -> Any:
        context, kind = self._ctx, type(self)

        def start(target: Any) -> Any:
            thread = kind.Process(context, target=target)
            thread.name = thread.name.replace("Process", "PoolWorker")
            thread.daemon = True
            thread.start()
            return thread

        return ThreadCrew(self._processes, start, self._initializer, self._initargs)

    def _named(self, func: Any) -> Any:
        return func

    @staticmethod
    def Process(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        """A thread that looks like a process."""
        return _dummy.Process(*args, **kwargs)


set_module("multiprocessing.pool", "manyhands.multiprocessing.pool", ThreadPool)
