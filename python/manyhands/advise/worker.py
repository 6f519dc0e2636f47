"""What runs inside the workers of every engine: threads of this process, or other processes.

Kept small and with few imports, because a worker process that does not share our memory imports it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from manyhands.advise.target import Payload

_state: dict[str, Any] = {}
_stop = False
_ready = threading.local()


class Failure(NamedTuple):
    """One call that raised: strings only, since not every exception survives a pickle."""

    item: int
    error: str
    trace: str


class Chunk(NamedTuple):
    """What came of some calls on one worker."""

    worker: tuple[int, int]
    start: float
    end: float
    cpu: float
    results: list[Any]
    failures: list[Failure]


def set_function(function: Callable[[Any], Any]) -> None:
    """The function for the engines that run in this process."""
    global _stop
    _state["function"] = function
    _stop = False


def stop_soon() -> None:
    """Ask the threads that run chunks in this process to stop after the call they are in."""
    global _stop
    _stop = True


def become_thread_worker() -> None:
    """Initialiser of a thread worker: note when it was ready."""
    _ready.at = time.perf_counter()


def _load(payload: Payload, who: int) -> None:
    try:
        _state["function"] = payload.load()
        _state["error"] = ""
    except BaseException as error:
        _state["error"] = f"{type(error).__name__}: {error}"
    _state["ready"] = time.perf_counter()
    _state["who"] = who


def become_process_worker(payload: Payload) -> None:
    """Initialiser of a worker process.

    Ctrl-C is the parent's to handle: it ends the workers. What goes wrong here is kept for `ping`,
    since an initialiser that raises breaks the pool without a reason.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _load(payload, os.getpid())


def become_interpreter_worker(payload: Payload) -> None:
    """Initialiser of a worker that is an interpreter; what it may not import is kept for `ping` as well."""
    _load(payload, threading.get_native_id())


def ping(seconds: float) -> tuple[int, float, str]:
    """Which worker this is, when it was ready and what went wrong; dwells, so that others get one too."""
    time.sleep(seconds)
    return _state["who"], _state["ready"], _state["error"]


def greet(barrier: threading.Barrier) -> float:
    """When this thread was ready; returns when all have come."""
    barrier.wait(30)
    ready: float = _ready.at
    return ready


def run_chunk(first: int, items: Sequence[Any]) -> Chunk:
    """Call the function with each item; exceptions are results, too."""
    function = _state["function"]
    results: list[Any] = []
    failures: list[Failure] = []
    start, cpu = time.perf_counter(), time.thread_time()
    for item in items:
        if _stop:
            break
        try:
            results.append(function(item))
        except (Exception, SystemExit) as error:
            failures.append(_describe(first + len(results), error))
            results.append(None)
    end, cpu = time.perf_counter(), time.thread_time() - cpu
    return Chunk((os.getpid(), threading.get_native_id()), start, end, cpu, results, failures)


def _describe(index: int, error: BaseException) -> Failure:
    """The error and its traceback, less the frame of this file."""
    trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
    text = "".join(traceback.format_exception(type(error), error, trace))
    words = str(error)
    return Failure(index, f"{type(error).__name__}: {words}" if words else type(error).__name__, text)
