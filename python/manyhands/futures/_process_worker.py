"""What runs in the worker processes of executors: the crew's worker, and what limits, holds and figures need.

Behind the table of claims (see `multiprocessing/_crew.py`) lie one word for all (HELD: wait before you begin; or how
many numbers are revoked), the revoked numbers, and for each place a row of words, which are this worker's figures. The
instant in which the task in hand began, CLOCK_MONOTONIC in nanoseconds, is how the parent measures limits of time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable

from manyhands._facade import stdlib_of
from manyhands._impl.messages import dumps, loads
from manyhands.futures import _inner
from manyhands.multiprocessing import _crew_worker as base
from manyhands.multiprocessing import _last_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_base: Any = stdlib_of("concurrent.futures._base")
_reduction: Any = stdlib_of("multiprocessing.reduction")
_threading: Any = stdlib_of("threading")

__all__ = ["BEGAN", "MASK", "REVOKED", "ROW", "Paper", "Setup", "row_of", "words_for", "work"]

MASK = 0xFFFFFFFF
REVOKED = 32  # numbers that can be revoked at a time
HELD_BIT = 1 << 32
ASKED, READY, BEGAN, WAITED, WORKED, MOVED, TASKS = range(7)
ROW = 8
CRASH, CRASH_LINES = "Fatal Python error", 24  # by faulthandler, which shows the deepest frames first
LOOK_FOR_PARENT = 0.5  # seconds between two looks


def words_for(size: int) -> int:
    """Words that the table has."""
    return size + 1 + REVOKED + size * ROW


def row_of(size: int, place: int) -> int:
    """Where the row of a place begins."""
    return size + 1 + REVOKED + place * ROW


class Paper(_last_words.Paper):
    """The same with the stacks of all threads at a crash, of which the first lines are told."""

    def read(self) -> str:
        """The end of what was said."""
        size = os.fstat(self.fd).st_size
        data = os.pread(self.fd, 8 * _last_words.LAST_WORDS, max(0, size - 8 * _last_words.LAST_WORDS))
        said, crash, stacks = data.decode("utf-8", "replace").strip("\0 \n").partition(CRASH)
        return said[-_last_words.LAST_WORDS :] + crash + "\n".join(stacks.splitlines()[:CRASH_LINES])


class Setup(base.Setup):
    """What a worker is started with, beyond what the crew's has."""

    gate: Any  # an Event: set unless the executor is paused
    max_age: float | None = None
    max_memory: int | None = None
    inner_threads: int
    inner_asked = False


def work(setup: Setup, place: int, paper: Paper | None) -> None:
    """The life of a worker."""
    from manyhands.futures import _engine

    _engine.share_cores(setup.size)
    base.spare_what_is_inherited()
    _inner.limit_process(setup.inner_threads, setup.inner_asked)
    if paper is not None:
        _listen(paper)
    worker = _Worker(setup, place)
    worker.take_signals()
    if setup.initializer is not None:
        try:
            setup.initializer(*setup.initargs)
        except Exception as error:
            _base.LOGGER.critical("Exception in initializer:", exc_info=True)
            setup.results.put(base.describe(0, base.UNSET, error))
            return
    with contextlib.suppress(KeyboardInterrupt):  # while it told of another one
        worker.serve()


def _listen(paper: Paper) -> None:
    import faulthandler  # refused by interpreters beside the main one, which import this module as well

    _last_words.remember(paper)
    faulthandler.enable(paper.fd)  # where it was enabled before, the parent prints what it says


class _Worker(base._Worker):
    """As the crew's."""

    setup: Setup

    def __init__(self, setup: Setup, place: int) -> None:
        super().__init__(setup, place)
        self.row = row_of(setup.size, place)
        self.control = setup.size
        self.in_task = False
        self.moved = 0

    def take_signals(self) -> None:
        """Ctrl-C ends the task that runs; between tasks it is the parent's to say what it means."""
        if _threading.current_thread() is _threading.main_thread():
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, self._on_interrupt)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def _on_interrupt(self, number: int, frame: Any) -> None:
        if self.in_task:
            raise KeyboardInterrupt

    def serve(self) -> None:
        """Take tasks until one is None, this worker is spent, or the parent is gone."""
        setup, words, place, row, control = self.setup, self.words, self.place, self.row, self.control
        put, get, empty, clock = setup.results.put, setup.tasks.get, self.empty, time.monotonic_ns
        born = since = clock()
        words[row + READY] = born
        done, most = 0, setup.most
        oldest = None if setup.max_age is None else born + int(setup.max_age * 1e9)
        while most is None or done < most:
            try:
                task = get(True, LOOK_FOR_PARENT)
            except empty:
                if self.parent is not None and not self.parent.is_alive():
                    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of this process
                    return
                if oldest is not None and clock() > oldest:
                    break
                continue
            except Exception as error:
                words[row + BEGAN] = began = clock()
                self.moved = 0
                put(base.describe(words[place] & MASK, base.RAISED, error))
                ended = began
            else:
                if task is None:
                    break
                number = words[place] & MASK
                if words[control] and not self.may_begin(number):
                    put(base.describe(number, base.RAISED, _base.CancelledError()))
                    words[place] = 0
                    continue
                words[row + BEGAN] = began = clock()
                self.moved = 0
                result = self.run(number, task)
                ended = clock()
                del task  # the next one may be long in coming
                self.send(number, result)
                del result
            words[row + BEGAN] = 0
            words[place] = 0
            now = clock()
            words[row + WAITED] += began - since
            words[row + WORKED] += ended - began - self.moved
            words[row + MOVED] += now - ended + self.moved
            words[row + TASKS] += 1
            since = now
            done += 1
            if oldest is not None and now > oldest:
                break
            if setup.max_memory is not None and _resident() > setup.max_memory:
                break
        words[row + BEGAN] = 0
        words[place] = 0

    def may_begin(self, number: int) -> bool:
        """Wait while the executor is paused; whether the task is still wanted."""
        words, control = self.words, self.control
        while words[control] & HELD_BIT:
            if self.setup.gate.wait(LOOK_FOR_PARENT):
                break
            if self.parent is not None and not self.parent.is_alive():
                return False
        return not any(words[control + 1 + i] == number + 1 for i in range(REVOKED))

    def run(self, number: int, task: tuple[Any, ...]) -> tuple[Any, ...]:
        """Run it; the result as a message."""
        try:
            function: Any = task[0]
            if function is None:
                begun = time.monotonic_ns()
                task = loads(*task[1:])
                function = task[0]
                self.moved = time.monotonic_ns() - begun
            if type(function) is bytes:
                function = self.function_of(function)
            self.in_task = True
            try:
                value = function(*task[1]) if len(task) == 2 else function(*task[1], **task[2])
            finally:
                self.in_task = False
        except BaseException as error:
            return base.describe(number, base.RAISED, error)
        if type(value) in base.PLAIN:
            return base.plain(number, value)
        begun = time.monotonic_ns()
        try:
            data, buffers = dumps(value)
        except BaseException as error:
            return base.describe(number, base.RAISED, error)
        self.moved += time.monotonic_ns() - begun
        return (number, base.PICKLED, *base.beside(data, buffers))


def _resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


Work = Callable[[Setup, int, "Paper | None"], None]
