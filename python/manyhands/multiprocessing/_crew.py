"""The engine of pools and executors over processes: workers that take tasks from one channel, and what a death costs.

Tasks lie in one channel from which all workers take, results in another. The number of a task is its place in the
order of the puts. Before a worker takes a task it writes the task's number into its place of a table in shared memory,
under the lock of the channel's head; after it has sent the result it clears it. So when a worker has died,

    its place is clear                       it had nothing in hand, or the result is in the channel: nothing is lost
    the number is not taken yet              it died before it took the task: that is still in the channel
    another worker's place has the number    the same, and the other one has taken it since
    else                                     it had the task in hand: this one fails, and no other

A result that is still in the channel settles its task first: the judgement stands behind it, in the same channel.

Two threads serve a crew, both asleep unless there is something for them: the collector takes results in batches and
does everything that changes the state; the watcher sleeps on the workers' sentinels and tells the collector.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import signal
import sys
import types
from collections.abc import Callable, Iterable, Iterator

from manyhands._facade import stdlib_of
from manyhands._impl import core
from manyhands._impl.by_value import needs_value
from manyhands._impl.messages import dumps, loads
from manyhands._troubles import coded
from manyhands.errors import RemoteError
from manyhands.multiprocessing import _crew_worker as worker
from manyhands.multiprocessing._memory import Memory
from manyhands.multiprocessing.queues import OwnQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Setter = Callable[[Any, bool, Any], None]  # (key, did it work, the value or exception)

_threading = stdlib_of("threading")
_connection = stdlib_of("multiprocessing.connection")
_pickler = stdlib_of("multiprocessing.reduction").ForkingPickler


__all__ = [
    "Closed",
    "Crew",
    "Failure",
    "cause_of",
    "name_of",
    "named",
    "packed",
    "whole_starts",
    "without_interrupts",
]

BATCH = 256  # results taken at once
MASK = 0xFFFFFFFF
KICK, JUDGE, JUDGE_AGAIN, STOP = range(4)  # what the crew tells its own collector: (None, one of these, ...)
FAST_DEATHS = 8  # workers in a row that die before they have done anything: it is no use to start more

PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL

_NOTHING = itertools.repeat(None)


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Workers start with Ctrl-C blocked: until one has its handler, it would print a traceback of its start."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def whole_starts(context: Any) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """What to start several processes of the context in, so that each of them is known to who starts them."""
    around: Callable[[], contextlib.AbstractContextManager[None]]
    around = getattr(context.Process, "_around_start", contextlib.nullcontext)
    return around


class Failure(RuntimeError):
    """Why a crew runs no more tasks."""


class Closed(ValueError):
    """A task came when the workers had been sent home."""


def name_of(function: Any) -> bytes | None:
    """The pickle of a function that is found by its name; None for any other callable."""
    if type(function) not in (types.FunctionType, types.BuiltinFunctionType, type):
        return None
    if type(function) is types.BuiltinFunctionType and not isinstance(
        function.__self__, (types.ModuleType, type(None))
    ):
        return None
    if type(function) is not types.BuiltinFunctionType and needs_value(function):
        return None
    try:
        return bytes(_pickler.dumps(function, 5))
    except Exception:
        return None


def named(names: dict[Any, bytes], function: Any) -> Any:
    """The function as it travels: by its name, which is remembered, or itself, which is not: it may keep much alive."""
    try:
        return names[function]
    except KeyError:
        name = name_of(function)
    except TypeError:  # not hashable
        return function
    if name is None:
        return function
    if len(names) > 64:
        names.clear()
    return names.setdefault(function, name)


def packed(message: tuple[Any, ...]) -> tuple[Any, ...]:
    """The message as it can wait: pickled now, unless there is nothing in it that could change meanwhile, or it is."""
    if message[0] is None:
        return message
    if len(message) == 2 and type(message[0]) is bytes and worker.PLAIN.issuperset(map(type, message[1])):
        return message
    data, buffers = dumps(message)
    return (None, data, buffers) if buffers else (None, data)


class Crew:
    """Workers, their channels, and the tasks that are not settled.

    `died(process)` makes the exception of a task whose worker died, `remote(text)` the cause of an exception that came
    from a worker, `unsent(error, value)` the exception for a value that cannot be pickled, `broken(error)` is called
    once when no worker can be set up, `idle()` by the collector after each batch of results, `passes` is what of a
    task's exceptions counts as its result (others end the worker).
    """

    def __init__(
        self,
        size: int,
        *,
        initializer: Callable[..., Any] | None,
        initargs: tuple[Any, ...],
        most: int | None,
        start: Callable[..., Any],
        died: Callable[[Any], BaseException],
        remote: Callable[[str], BaseException],
        broken: Callable[[BaseException], None],
        unsent: Callable[[BaseException, str], BaseException] = lambda error, value: error,
        idle: Callable[[], None] = lambda: None,
        passes: type[BaseException] = BaseException,
    ) -> None:
        self.size, self.most = size, most
        self.tasks, self.results = OwnQueue(), OwnQueue()
        self.table = Memory(8 * size)
        self.claims = self.table.words()
        self.setup = worker.Setup(self.tasks, self.results, self.table, initializer, initargs, most, passes)
        self.setup.size = size
        self._start, self._died, self._remote = start, died, remote
        self._broken, self._unsent, self._idle = broken, unsent, idle
        self.workers: dict[int, Any] = {}  # place -> process
        self.pool: list[Any] = []  # the same, in the order of their start
        self.pending: dict[int, tuple[Setter, Any, Any]] = {}  # by number: setter, key, what the task is
        self.whole: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
        self.sending = _threading.Lock()
        self.sent = 0
        self.feeding = 0  # of those who will send more, also after close()
        self.closing = self._over = False
        self._stopped: BaseException | None = None
        self.failure: BaseException | None = None
        self.dead_at_once = 0
        self.settled = 0
        self.collector: Any = None  # the thread
        self.watcher: Any = None
        self.ended = False
        self._doubtful: dict[
            int, Any
        ] = {}  # dead workers whose task may have a result on its way, by process id
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.owner = os.getpid()
        self._inbox: collections.deque[tuple[Any, ...]] = collections.deque()

    # ---- for who has work

    def check_owner(self) -> None:
        """RuntimeError in a forked child: results come to the process that made the crew."""
        if os.getpid() != self.owner:
            text = (
                f"this pool belongs to process {self.owner}, and no result would come here, to its child "
                f"{os.getpid()}; make a pool of its own"
            )
            raise coded(RuntimeError(text), "MH-FORKED")

    def begin(self) -> None:
        """Start the workers, then the threads: in this order, since a fork takes no thread along."""
        try:
            self.fill()
            with core.signals_put_off():
                self._begin_threads()
        except BaseException:
            self.kill()
            self.reap()
            raise

    def _begin_threads(self) -> None:
        self.collector = _threading.Thread(target=self._collect, name="manyhands-collector", daemon=True)
        self.watcher = _threading.Thread(target=self._watch, name="manyhands-watcher", daemon=True)
        self.watcher.start()  # first: the collector joins it
        try:
            self.collector.start()
        except BaseException:
            self.ended = True
            self._kick_watcher()
            self.watcher.join()
            self.ended = False
            raise

    def send(self, message: Any, setter: Setter, key: Any, what: Any = None) -> None:
        """One task; `what` it is, for the day it is lost. What cannot be pickled raises here."""
        with self.sending:
            self._check_open()
            number = self.sent & MASK
            self.pending[number] = setter, key, what
            try:
                self.tasks.put(message)
            except BaseException:
                del self.pending[number]
                raise
            self.sent += 1

    def send_many(
        self, messages: list[Any], setter: Setter, keys: Iterable[Any], whats: Iterable[Any] = _NOTHING
    ) -> None:
        """Many tasks; one that cannot be pickled fails by itself."""
        with self.sending:
            self._check_open()
            numbers = map(MASK.__and__, range(self.sent, self.sent + len(messages)))
            entries = dict(zip(numbers, zip(itertools.repeat(setter), keys, whats), strict=False))
            self.pending.update(entries)
            try:
                self.sent += self.tasks.put_many(messages)
                return
            except Exception:
                before, self.sent = self.sent, self._count_puts()
            for number in list(entries)[self.sent - before :]:
                del self.pending[number]
        for message, (_, key, what) in list(zip(messages, entries.values(), strict=True))[
            self.sent - before :
        ]:
            try:
                self.send(message, setter, key, what)
            except Exception as error:
                setter(key, False, error)

    def _count_puts(self) -> int:
        """How many tasks are in the channel or were taken from it, as the channel says."""
        while True:
            taken = self.tasks._taken()
            waiting = self.tasks.qsize()
            if taken == self.tasks._taken():
                return self.sent + (int(taken + waiting - self.sent) & MASK)

    def close(self) -> None:
        """No more tasks come: once all are settled the workers go home."""
        self.closing = True
        self.tell(KICK)

    def stop(self, error: BaseException) -> None:
        """End the workers now; what is not settled fails with `error`."""
        self._stopped = error
        self.kill()
        self.tell(STOP)

    def feeder(self, change: int) -> None:
        """One more (1) or one less (-1) who will send tasks even after `close`."""
        with self.sending:
            self.feeding += change
        if change < 0:
            self.tell(KICK)

    def finished(self) -> bool:
        """Closed, and nothing left to do: then no more is taken either, from who had looked before it was closed."""
        if not self.closing or self.pending or self.feeding:
            return False
        with self.sending:
            self._over = not self.pending and not self.feeding
        return self._over

    def _check_open(self) -> None:
        if self._over:
            raise Closed("Pool not running")

    def tell(self, what: int, *more: Any) -> None:
        """Have the collector do something, after all results that are in the channel now."""
        self.results.put((None, what, *more))

    def kill(self) -> None:
        """End the workers at once."""
        for process in list(self.workers.values()):
            if process.exitcode is None:
                process.terminate()

    # ---- workers

    def fill(self) -> None:
        """A worker for each empty place."""
        if len(self.workers) == self.size:
            return
        with self.whole(), without_interrupts():
            for place in range(self.size):
                if place not in self.workers:
                    self.claims[place] = 0
                    process = self._start_at(place)
                    self.workers[place] = process
                    self.pool.append(process)

    def _start_at(self, place: int) -> Any:
        return self._start(worker.work, (self.setup, place))

    def reap(self) -> None:
        """Wait for all workers; one that does not end when asked to is killed."""
        for process in list(self.workers.values()):
            if self.failure is not None:
                process.join(PATIENCE)
                if process.exitcode is None:
                    process.kill()
            process.join()  # without an argument: a context's own class of processes may take none
        self.workers.clear()
        self.pool.clear()

    def _bury(self, place: int, process: Any) -> None:
        """A worker has ended, and all that it sent is settled."""
        claim = self.claims[place]
        del self.workers[place]
        self.pool.remove(process)
        process.join()
        if claim:
            self._judge(claim & MASK, process, JUDGE_AGAIN)
        self._notice_fast_deaths(process, bool(claim))
        if self.failure is None and self._stopped is None and not self.finished():
            try:
                self.fill()
            except Exception as error:
                self.fail(error)
        self._kick_watcher()

    def _notice_fast_deaths(self, process: Any, had_a_task: bool) -> None:
        quick = process.exitcode != 0 and not had_a_task and self.settled == 0
        self.dead_at_once = self.dead_at_once + 1 if quick else 0
        if self.dead_at_once >= max(FAST_DEATHS, 2 * self.size):
            self.fail(
                coded(
                    Failure(
                        f"{self.dead_at_once} workers died before they took a task ({cause_of(process)})"
                    ),
                    "MH-WORKERS-START",
                )
            )

    def _judge(self, number: int, process: Any, then: int) -> None:
        """Whether a dead worker had task `number` in hand. A result of another's that is on its way comes first."""
        taken = ((self.tasks._taken() - number - 1) & MASK) < 1 << 31
        with_others = any(c and c & MASK == number for p, c in enumerate(self.claims) if p in self.workers)
        if taken and not with_others and number in self.pending:
            if then == JUDGE_AGAIN:
                self._doubtful[process.pid] = process
                self.tell(JUDGE_AGAIN, number, process.pid)
            else:
                self._lost(number, process)

    def _lost(self, number: int, process: Any) -> None:
        """A worker died with this task in hand."""
        self._settle(number, False, self._stopped or self._died(process))

    # ---- the collector

    def _collect(self) -> None:
        try:
            while self._collect_some():
                pass
        except BaseException as error:
            self.fail(error)
        self._go_home()

    def _collect_some(self) -> bool:
        """One batch of results; False once all is done."""
        inbox = self._inbox
        if not inbox:
            try:
                inbox.extend(self.results.get_many(BATCH))
            except OSError:
                return False
        while inbox:  # a callback that waits for another result is in here, too: see collect_until
            message = inbox.popleft()
            number, kind = message[0], message[1]
            if number is None:
                self._obey(*message[1:])
            elif kind == worker.VALUE:
                self._settle(number, True, message[2])
            elif kind == worker.LIST:
                self._settle(number, True, list(message[2]))
            else:
                self._take(*message)
        self._idle()
        return self.failure is None and not self.finished()

    def help(self, result: Any, timeout: float | None) -> None:
        """Before `result` is waited for: in the collector, have it collected."""
        if timeout is None and _threading.current_thread() is self.collector:
            self.collect_until(result._is_there)

    def wait_end(self) -> None:
        """After `stop`: until all workers are gone."""
        if _threading.current_thread() is not self.collector:
            self.collector.join()

    def collect_until(self, ready: Callable[[], Any]) -> None:
        """For a callback that waits for a result: it runs in the collector, so it collects meanwhile."""
        while not ready() and self._collect_some():
            pass

    def _obey(self, what: int, *more: Any) -> None:
        if what == JUDGE:
            place, pid = more
            process = self.workers.get(place)
            if process is not None and process.pid == pid:
                self._bury(place, process)
        elif what == STOP and self._stopped is not None:
            self.fail(self._stopped)
        elif what == JUDGE_AGAIN:
            number, pid = more
            self._judge(number, self._doubtful.pop(pid), JUDGE)

    def _take(self, number: int, kind: int, *parts: Any) -> None:
        if kind == worker.PICKLED:
            self._settle(number, *_loaded(*parts))
        elif kind == worker.BYTES:
            self._settle(number, *_copied(*parts))
        elif kind == worker.UNSET:
            self.fail(self._caused(*parts))
        elif kind == worker.TOLD:
            self._settle(number, False, _told(*parts))
        elif kind == worker.UNSENT:
            self._settle(number, False, self._unsent(_loaded(parts[0])[1], parts[1]))
        else:
            self._settle(number, False, self._caused(*parts))

    def _caused(self, data: bytes, text: str) -> BaseException:
        error: BaseException = _loaded(data)[1]
        error.__cause__ = self._remote(text)
        return error

    def _settle(self, number: int, worked: bool, value: Any) -> None:
        entry = self.pending.pop(number, None)
        if entry is not None:
            self.settled += 1
            try:
                entry[0](entry[1], worked, value)
            except Exception:  # a callback of the user's: the crew goes on
                _threading.excepthook(
                    _threading.ExceptHookArgs((*sys.exc_info(), _threading.current_thread()))
                )

    def fail(self, error: BaseException) -> None:
        """Nothing will ever run: by the collector."""
        if self.failure is None:
            self.failure = error
            self.closing = True
            self._broken(error)

    def settle_all(self, error_of: Callable[[], BaseException]) -> None:
        """Every task that is not settled fails."""
        while self.pending:
            try:
                number = next(iter(self.pending))
            except (StopIteration, RuntimeError):
                continue
            self._settle(number, False, error_of())

    def _go_home(self) -> None:
        if self.failure is not None:
            self.kill()
        else:
            for _ in self.workers:
                self.tasks.put(None)
        self.reap()
        self.ended = True
        self._kick_watcher()
        self.watcher.join()
        os.close(self._wake)

    # ---- the watcher

    def _kick_watcher(self) -> None:
        os.eventfd_write(self._wake, 1)

    def _watch(self) -> None:
        told: set[int] = set()
        while not self.ended:
            workers = list(self.workers.items())
            watched = {
                process.sentinel: (place, process.pid)
                for place, process in workers
                if process.pid not in told
            }
            for sentinel in _connection.wait([*watched, self._wake]):
                if sentinel == self._wake:
                    os.eventfd_read(self._wake)
                else:
                    told.add(watched[sentinel][1])
                    self.tell(JUDGE, *watched[sentinel])


def _told(type_name: str, message: str, traceback: str, *notes: str) -> RemoteError:
    error = RemoteError(type_name, message, traceback)
    for note in notes:
        error.add_note(note)
    return error


def _loaded(data: bytes, buffers: Any = None) -> tuple[bool, Any]:
    try:
        return True, loads(data, buffers)
    except Exception as error:
        return False, error


def _copied(view: Any) -> tuple[bool, Any]:
    try:
        return True, bytes(view)
    except MemoryError as error:
        return False, error


def cause_of(process: Any) -> str:
    """How a process ended, in words."""
    code = process.exitcode
    if code is not None and code < 0:
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"
    return f"exit code {code}"
