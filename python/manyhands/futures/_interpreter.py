"""`InterpreterPoolExecutor`: threads with an interpreter each, which has its own GIL. From Python 3.13 on.

A worker is one of the thread engine's, and has an interpreter of its own. For each task it puts a message into a
mailbox of ours, lets the interpreter take and run it, in this same thread, and takes the result from another mailbox:
no hop. Messages are as between processes: what has an inline encoding is not pickled.

A second thread inside each interpreter sleeps until a task is to be ended; only a thread of its own interpreter can
raise an exception in another.
"""

from __future__ import annotations

import importlib
import itertools
import os
import re
import sys
import time
from collections.abc import Callable

from manyhands._facade import stdlib_of
from manyhands._impl import available
from manyhands._troubles import coded
from manyhands.errors import RemoteError
from manyhands.futures._engine import cores
from manyhands.futures._thread import (
    ThreadEngine,
    ThreadPoolExecutor,
    Worker,
    check_more,
    check_workers,
)
from manyhands.multiprocessing import _crew, _popen
from manyhands.multiprocessing._crew_worker import PICKLED, RAISED, TOLD
from manyhands.multiprocessing.queues import OwnQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_interpreters: Any
try:
    _interpreters = importlib.import_module("_interpreters")
except ImportError:
    _interpreters = None

ENDING_SECONDS = 1.0

_threading: Any = stdlib_of("threading")
_thread: Any = stdlib_of("concurrent.futures.thread")
_reduction: Any = stdlib_of("multiprocessing.reduction")

try:
    _std: Any = stdlib_of("concurrent.futures.interpreter")  # 3.14
except ImportError:
    _std = None

__all__ = ["BrokenInterpreterPool", "InterpreterEngine", "InterpreterPoolExecutor", "check_available"]

supported = available and _interpreters is not None

if _std is not None:
    BrokenInterpreterPool = _std.BrokenInterpreterPool
else:

    class BrokenInterpreterPool(_thread.BrokenThreadPool):  # type: ignore[misc,no-redef]
        """An interpreter could not be made or set up."""


ADVICE = (
    "This module cannot be used in an interpreter of its own beside the main one; where it is needed, use processes: "
    'ProcessPoolExecutor or Executor(kind="processes").'
)
FORK = (
    "os.fork() while an interpreter of an executor lives would kill the child: shut the executor down before, or "
    'start processes by "spawn" or "forkserver"'
)

_START = """
import sys
sys.path[:] = {path!r}
from manyhands._impl import interpreter_worker as _w
_w = _w.Worker({handles!r}, {main!r})
"""


def check_available() -> None:
    """RuntimeError below Python 3.13, which says what to use instead."""
    if not supported:
        version = ".".join(map(str, sys.version_info[:2]))
        text = (
            f"executors over interpreters need Python 3.13 or newer, this is {version}: use threads (for waits and C "
            "code) or processes (for computing in Python)"
        )
        raise coded(RuntimeError(text), "MH-INTERPRETERS")


# ---- the fork guard

_numbers = itertools.count()
_living = 0
_real: dict[str, Any] = {}


def _refuse(*_: Any) -> Any:
    raise coded(RuntimeError(FORK), "MH-FORK-INTERPRETERS")


def _guard(change: int) -> None:
    """Forks are refused while interpreters live; one of ours that has begun ends first."""
    global _living
    with _popen.forking:
        _living += change
        if _living and not _real:
            for name in ("fork", "forkpty"):
                _real[name] = getattr(os, name)
                setattr(os, name, _refuse)
        elif not _living and _real:
            while _real:
                name, function = _real.popitem()
                if getattr(os, name) is _refuse:
                    setattr(os, name, function)


_ending: set[Any] = (
    set()
)  # threads whose task was taken away; each closes its interpreter once the task has ended
_registered = False


def _leave_time(thread: Any) -> None:
    """The program does not end before this thread has, but for a second: an interpreter that is left open CPython ends
    it, waits for its threads, and these cannot run any more."""
    global _registered
    _ending.add(thread)
    if not _registered:
        _registered = True
        _threading._register_atexit(_wait_for_the_ending)


def _wait_for_the_ending() -> None:
    end = time.monotonic() + ENDING_SECONDS
    for thread in list(_ending):
        thread.join(max(0.0, end - time.monotonic()))


class InterpreterWorker(Worker):
    """A thread with an interpreter."""

    engine: InterpreterEngine
    interpreter: Any = None

    def open(self) -> None:
        """Make the interpreter and run the initializer in it."""
        self.boxes = [OwnQueue() for _ in range(3)]
        _guard(1)
        try:
            self.interpreter = _interpreters.create("isolated", reqrefs=False)
        except BaseException:
            _guard(-1)
            raise
        handles = [_twin(box._handle()) for box in self.boxes]
        self._exec(_START.format(path=sys.path, handles=handles, main=_main_path()))
        if self.engine.initializer is not None:
            self.run(self.engine.initializer, self.engine.initargs, None)

    def _exec(self, script: str) -> None:
        failed = _interpreters.exec(self.interpreter, script)
        if failed is not None:
            text = getattr(failed, "formatted", None) or getattr(failed, "msg", "")
            raise BrokenInterpreterPool(f"the interpreter ended the code of its worker: {text}")

    def run(self, fn: Any, args: Any, kwargs: Any) -> Any:
        """Run a task in the interpreter."""
        begun = time.monotonic()
        named = _crew.named(self.engine.names_of, fn)
        tasks, results, _ = self.boxes
        tasks.put(_crew.packed((named, args, kwargs) if kwargs else (named, args)))
        packed = time.monotonic()
        self._exec("_w.step()")
        done = time.monotonic()
        message = results.get(False)
        try:
            return _opened(*message)
        finally:
            self.transfer += packed - begun + time.monotonic() - done

    def interrupt(self) -> None:
        """By the thread inside that waits for this."""
        _leave_time(self.thread)
        self.boxes[2].put(True)

    def shut(self) -> None:
        """End the interpreter."""
        if self.interpreter is None:
            return
        self.boxes[2].put(False)
        try:
            self._exec("_w.shut()")
            _interpreters.destroy(self.interpreter)
        except Exception as error:  # a thread of the user's is left in it: it stays until the process ends
            if sys.flags.dev_mode:
                sys.excepthook(type(error), error, error.__traceback__)
        self.interpreter = None
        _guard(-1)
        for box in self.boxes:
            box.close()
        _ending.discard(self.thread)


def _twin(handle: tuple[Any, ...]) -> tuple[Any, ...]:
    """The handle with descriptors of its own: each side closes its own."""
    segment, bell, *more = handle
    return (os.dup(segment), os.dup(bell), *more)


def _opened(number: int, kind: int, *parts: Any) -> Any:
    """The result of a message."""
    if kind == RAISED:
        worked, error = _crew._loaded(parts[0])
        error.__cause__ = _remote(parts[1])
        raise _advised(error)
    if kind == TOLD:
        raise RemoteError(*parts)
    if kind == PICKLED:
        worked, value = _crew._loaded(*parts)
        if not worked:
            raise value
        return value
    return parts[0]


def _advised(error: BaseException) -> BaseException:
    if isinstance(error, ImportError) and "subinterpreter" in str(error):
        found = re.match(r"module (\S+) ", str(error))
        error.add_note(f"{found[1] if found else error.name}: {ADVICE}")
    return error


def _remote(text: str) -> BaseException:
    cause: BaseException = stdlib_of("concurrent.futures.process")._RemoteTraceback(f'\n"""\n{text}"""')
    return cause


def _main_path() -> str | None:
    """The script, for what is defined in it."""
    main = sys.modules.get("__main__")
    if getattr(main, "__spec__", None) is not None:
        return None
    file = getattr(main, "__file__", None)
    return os.path.abspath(file) if isinstance(file, str) and os.path.exists(file) else None


class InterpreterEngine(ThreadEngine):
    """As of threads."""

    worker = InterpreterWorker

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.names_of: dict[Any, bytes] = {}

    def broken(self) -> BaseException:
        error: BaseException = BrokenInterpreterPool(
            f"an interpreter could not be set up ({self.broken_by!r}): the executor runs no more tasks"
        )
        error.__cause__ = self.broken_by
        return error


class InterpreterPoolExecutor(ThreadPoolExecutor):
    """Runs calls in interpreters that have a GIL each, in threads of this process. Python 3.13 and newer.

    Takes what `concurrent.futures.InterpreterPoolExecutor` (3.14) takes, and what our `ThreadPoolExecutor` takes beyond
    that. Arguments, results and exceptions are copied, as between processes.
    """

    BROKEN = BrokenInterpreterPool  # where the standard library's has it

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
    ) -> None:
        check_available()
        max_workers = check_workers(max_workers, cores(), min_workers)
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        check_more(idle_timeout=idle_timeout, max_tasks_per_child=max_tasks_per_child, max_age=max_age)
        self._max_workers = max_workers
        self._attach(
            InterpreterEngine(
                max_workers,
                thread_name_prefix or f"InterpreterPoolExecutor-{next(_numbers)}",
                initializer,
                initargs,
                min_workers=min_workers,
                idle_timeout=idle_timeout,
                most=max_tasks_per_child,
                max_age=max_age,
            )
        )
