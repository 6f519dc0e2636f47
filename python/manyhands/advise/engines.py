"""The engines that are compared, each behind the same four verbs: start, run, pids, stop.

The executors are manyhands' own; where the package has none for this system they are those of
`concurrent.futures`. Only `submit`, `shutdown` and the initialiser are used, so either will do.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import importlib
import os
import pickle
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from manyhands.advise import machine, tree, worker
from manyhands.advise.errors import EngineFailed
from manyhands.advise.gil import RunDelay
from manyhands.advise.target import Payload, Target
from manyhands.advise.worker import Chunk

START_PATIENCE = 30.0
END_PATIENCE = 1.0
INTERRUPT_SLICE = 0.5


def _executors() -> tuple[Any, Any]:
    try:
        futures: Any = importlib.import_module("manyhands.futures")
    except ImportError:
        return concurrent.futures.ThreadPoolExecutor, concurrent.futures.ProcessPoolExecutor
    return futures.ThreadPoolExecutor, futures.ProcessPoolExecutor


def has_interpreters() -> bool:
    """Whether interpreters with a GIL each can be an engine; where there is no GIL they are not worth a round."""
    try:
        available: Any = importlib.import_module("manyhands.futures._interpreter").check_available
        available()
    except (ImportError, RuntimeError):
        return False
    return machine.gil_enabled()


def origin(executor: type) -> str:
    """Whose an executor class is: "manyhands" or "concurrent.futures"."""
    return "manyhands" if executor.__module__.startswith("manyhands") else "concurrent.futures"


def executors_in_use() -> str:
    """The executors in words, for the line that describes the machine."""
    return ", ".join(dict.fromkeys(origin(executor) for executor in _executors()))


@dataclasses.dataclass
class Outcome:
    """One run of one engine over the items."""

    began: float
    ended: float
    cpu: float
    chunks: list[Chunk]
    queued: float = 0.0
    """Seconds in which the serial engine could have run but other programs had the core."""
    others: float | None = None
    """Cores that other programs used meanwhile."""


class Engine(Protocol):
    """What measuring needs of an engine."""

    kind: str
    workers: int
    executor: str

    def start(self) -> float: ...
    def run(self, items: Sequence[Any], chunk: int, tick: Callable[[], None] | None = None) -> Outcome: ...
    def stop(self) -> None: ...
    def abandon(self) -> None: ...
    def await_end(self) -> None: ...


def cut(items: Sequence[Any], chunk: int) -> Iterator[tuple[int, Sequence[Any]]]:
    """The items in chunks, each with the index of its first item."""
    for first in range(0, len(items), chunk):
        yield first, items[first : first + chunk]


class Serial:
    """The caller's own thread, one call after the other."""

    kind, workers, executor = "serial", 1, "none"

    def __init__(self, target: Target) -> None:
        worker.set_function(target.function)

    def start(self) -> float:
        return 0.0

    def run(self, items: Sequence[Any], chunk: int, tick: Callable[[], None] | None = None) -> Outcome:
        own = [os.getpid()]
        chunks = []
        with RunDelay() as delay:
            cpu, queued = tree.cpu_seconds(own), delay.read()
            began = time.perf_counter()
            for first, part in cut(items, chunk):
                chunks.append(worker.run_chunk(first, part))
                if tick is not None:
                    tick()
            ended = time.perf_counter()
            return Outcome(began, ended, tree.cpu_seconds(own) - cpu, chunks, delay.read() - queued)

    def stop(self) -> None:
        pass

    def abandon(self) -> None:
        pass

    def await_end(self) -> None:
        pass


left_behind: list[
    threading.Thread
] = []  # of pools that were abandoned: they may be in a call that takes long


class _Pool:
    """What both kinds of pool share: submit all, wait for all, in order."""

    kind = ""

    def __init__(self, target: Target, workers: int) -> None:
        self.workers = workers
        self.executor = ""
        self._target = target
        self._pool: Any = None
        self._left: Any = None  # the pool, once it was abandoned
        worker.set_function(target.function)

    def pool(self) -> Any:
        """The executor, for who wants to submit by himself."""
        return self._pool

    def _pids(self) -> list[int]:
        return [os.getpid()]

    def run(self, items: Sequence[Any], chunk: int, tick: Callable[[], None] | None = None) -> Outcome:
        pids = self._pids()
        cpu = tree.cpu_seconds(pids)
        began = time.perf_counter()
        futures = [self._pool.submit(worker.run_chunk, first, part) for first, part in cut(items, chunk)]
        chunks = []
        for number, future in enumerate(futures):
            try:
                chunks.append(_result(future))
            except concurrent.futures.BrokenExecutor as error:
                self._cancel(futures)
                raise EngineFailed(self._died(number * chunk, items, chunk, error)) from None
            except Exception as error:
                self._cancel(futures)
                raise EngineFailed(self._lost(number * chunk, items, chunk, error)) from None
            if tick is not None:
                tick()
        ended = time.perf_counter()
        return Outcome(began, ended, tree.cpu_seconds(pids) - cpu, chunks)

    @staticmethod
    def _cancel(futures: list[Any]) -> None:
        for future in futures:
            future.cancel()

    def _died(self, first: int, items: Sequence[Any], chunk: int, error: BaseException) -> str:
        return f"{self.kind} {self.workers}: {type(error).__name__}: {error}"

    def _lost(self, first: int, items: Sequence[Any], chunk: int, error: BaseException) -> str:
        return f"{self.kind} {self.workers}: {type(error).__name__}: {error}"

    def stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def abandon(self) -> None:
        """Stop without waiting for calls that run: nothing new starts."""
        worker.stop_soon()
        if self._pool is not None:
            self._left = self._pool
            left_behind.extend(getattr(self._pool, "_threads", ()))
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def await_end(self) -> None:
        """Nothing to wait for."""


class Threads(_Pool):
    """A thread pool in this process."""

    kind = "threads"

    def start(self) -> float:
        """Start all workers; the time from the call until the last one was ready."""
        executor = _executors()[0]
        self.executor = origin(executor)
        barrier = threading.Barrier(self.workers)
        began = time.perf_counter()
        self._pool = executor(max_workers=self.workers, initializer=worker.become_thread_worker)
        greetings = [self._pool.submit(worker.greet, barrier) for _ in range(self.workers)]
        return float(max(greeting.result(START_PATIENCE) for greeting in greetings) - began)


class _Sent(_Pool):
    """What the pools share to whose workers the function is sent: each gets it by its initialiser, once."""

    def __init__(self, target: Target, workers: int) -> None:
        super().__init__(target, workers)
        self._seen: list[int] = []  # what tells the workers apart

    def _made(self, payload: Payload) -> Any:
        """The executor."""
        raise NotImplementedError

    def start(self) -> float:
        """Start all workers; the time from the call until the last one had loaded the function."""
        payload = self._target.payload
        if payload is None:
            raise EngineFailed(
                f"{self.kind}: the function cannot be sent to another process: {self._target.travel_error}"
            )
        began = time.perf_counter()
        with _signals_held():
            self._pool = self._made(payload)
        self.executor = origin(type(self._pool))
        return self._gather(began + START_PATIENCE) - began

    def _ping(self, dwell: float) -> list[Any]:
        """One ping for each worker. The first ones start them, so Ctrl-C waits meanwhile."""
        with _signals_held(), warnings.catch_warnings():
            # fork in a program with threads: our own are gone by now, a notebook's are its own affair
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                return [self._pool.submit(worker.ping, dwell) for _ in range(self.workers)]
            except concurrent.futures.BrokenExecutor as fault:
                raise EngineFailed(
                    f"{self.kind} {self.workers}: the workers could not be started ({fault})"
                ) from None

    def _gather(self, deadline: float) -> float:
        """Ping until every worker has answered: the instant at which the last one was ready."""
        ready: dict[int, float] = {}
        dwell = 0.0
        while len(ready) < self.workers:
            for ping in self._ping(dwell):
                try:
                    who, instant, error = ping.result(max(0.1, deadline - time.perf_counter()))
                except concurrent.futures.BrokenExecutor as fault:
                    raise EngineFailed(
                        f"{self.kind} {self.workers}: a worker died at its start ({fault})"
                    ) from None
                except (TimeoutError, concurrent.futures.TimeoutError):
                    raise EngineFailed(f"{self.kind} {self.workers}: the workers did not start") from None
                if error:
                    raise EngineFailed(
                        f"{self.kind} {self.workers}: a worker cannot load the function: {error}"
                    )
                ready[who] = instant
            if time.perf_counter() > deadline:
                break
            dwell = min(0.05, dwell * 2 + 0.001)
        self._seen = list(ready)
        return max(ready.values())

    def _lost(self, first: int, items: Sequence[Any], chunk: int, error: BaseException) -> str:
        for index in range(first, min(first + chunk, len(items))):
            fault = pickle_fault(items[index])
            if fault:
                return (
                    f"{self.kind}: item {index}, {shorten(items[index])}, cannot be sent to a worker: {fault}"
                )
        words = f"{type(error).__name__}: {error}"
        return f"{self.kind}: a result of item {first} or after cannot be sent back: {words}"


class Processes(_Sent):
    """A process pool."""

    kind = "processes"

    def _made(self, payload: Payload) -> Any:
        return _executors()[1](
            max_workers=self.workers, initializer=worker.become_process_worker, initargs=(payload,)
        )

    def _pids(self) -> list[int]:
        own = os.getpid()
        return [own, *(pid for pid in self._seen if pid != own)]

    def await_end(self) -> None:
        """After abandon(), and once the workers were ended: a moment for the executor, which may be replacing one."""
        if hasattr(self._left, "_engine"):
            with contextlib.suppress(TimeoutError):
                self._left.shutdown(timeout=END_PATIENCE)

    def _died(self, first: int, items: Sequence[Any], chunk: int, error: BaseException) -> str:
        last = min(first + chunk, len(items)) - 1
        which = f"item {first}" if first == last else f"items {first} to {last}"
        return (
            f"processes {self.workers}: a worker process died (killed, out of memory, or it left by itself) "
            f"at or after {which}, {shorten(items[first])}"
        )


class Interpreters(_Sent):
    """A pool of interpreters with a GIL each, in threads of this process."""

    kind = "interpreters"

    def _made(self, payload: Payload) -> Any:
        executor: Any = importlib.import_module("manyhands.futures").InterpreterPoolExecutor
        return executor(self.workers, initializer=worker.become_interpreter_worker, initargs=(payload,))

    def abandon(self) -> None:
        """Calls that run are ended, in Python code: the flag of this process's threads is not theirs.

        While an interpreter lives there is no fork, and processes may come next: a moment for them to go.
        """
        if self._pool is not None:
            self._pool._engine.abort()
            with contextlib.suppress(TimeoutError):
                self._pool.shutdown(timeout=END_PATIENCE, cancel_futures=True)
        super().abandon()


def _result(future: concurrent.futures.Future[Chunk]) -> Chunk:
    """The result, waited for in slices: a Ctrl-C that comes just before a wait begins does not end that wait."""
    while not future.done():
        concurrent.futures.wait([future], INTERRUPT_SLICE)
    return future.result()


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Hold Ctrl-C back: a child born here inherits that until it ignores the signal by itself."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def pickle_fault(value: Any) -> str:
    """Why a value cannot be pickled and restored; "" if it can."""
    try:
        pickle.loads(pickle.dumps(value, protocol=5))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def shorten(value: Any, length: int = 60) -> str:
    """A value in a message."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= length else text[: length - 3] + "..."


def make(kind: str, target: Target, workers: int) -> Engine:
    """The engine of that kind."""
    if kind == "serial":
        return Serial(target)
    pools: dict[str, Callable[[Target, int], Engine]] = {
        "threads": Threads,
        "processes": Processes,
        "interpreters": Interpreters,
    }
    return pools[kind](target, workers)
