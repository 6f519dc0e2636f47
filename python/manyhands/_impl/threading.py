"""Threads that can be paused, resumed and terminated, and the synchronisation types of the compiled core.

``Thread`` keeps the life cycle of the standard library's (start, registries, hooks, fork handling) and adds a control,
which the thread adopts before it runs and disowns at its end.
"""

from __future__ import annotations

import enum
import functools
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Mapping

from manyhands._facade import stdlib_of
from manyhands._impl import CancelToken, core, deadlock, set_module, strict
from manyhands._impl.cleanup import marks
from manyhands._impl.dump_request import listen
from manyhands._troubles import coded
from manyhands.errors import ThreadExit

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "Outcome",
    "RLock",
    "RWLock",
    "RWLockSide",
    "Semaphore",
    "Thread",
    "ThreadState",
    "Timer",
]

std: Any = stdlib_of("threading")
core._bind("BrokenBarrierError", std.BrokenBarrierError)
deadlock.bind()
core._bind("marks", marks)
if not strict:
    listen()  # for `python -m manyhands dump PID`

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import Thread as _StdThread
    from typing import Any

    from manyhands._core import (
        Barrier,
        BoundedSemaphore,
        Condition,
        Event,
        Lock,
        RLock,
        RWLock,
        RWLockSide,
        Semaphore,
    )
else:
    _StdThread = std.Thread
    Barrier = core.Barrier
    BoundedSemaphore = core.BoundedSemaphore
    Condition = core.Condition
    Event = core.Event
    # A function before 3.13, as in the standard library, whose tests want that type(lock) cannot be called.
    Lock = core.Lock if sys.version_info >= (3, 13) else core.allocate_lock
    RLock = core.RLock
    RWLock = core.RWLock
    RWLockSide = core.RWLockSide
    Semaphore = core.Semaphore

_MAIN = "cannot {verb} the main thread: it takes the signals and ends the program; move its work to a Thread"
_ANYWHERE = sys.version_info >= (3, 12)  # sys.monitoring
_PATIENCE = 0.1


class ThreadState(enum.StrEnum):
    """What a thread is doing. A string: ``thread.state == "paused"``."""

    NEW = "new"  # not started
    RUNNING = "running"
    PAUSING = "pausing"  # asked to park, and has not come to a place where it can
    PAUSED = "paused"
    TERMINATING = "terminating"  # asked to end
    FINISHED = "finished"


class Outcome(str):
    """How a thread ended: a string, ``"returned"``, ``"raised"`` or ``"terminated"``, with what came of it. A process
    can also have been ``"killed"``, and keeps what came of it to itself.

    ``value`` is what ``run()`` or the target returned, and None otherwise; ``exception`` what was raised, and None
    otherwise. They live as long as the thread object does.
    """

    value: Any
    exception: BaseException | None
    RETURNED: Outcome  # run() returned, or left by SystemExit
    RAISED: Outcome  # an exception left run()
    TERMINATED: Outcome  # by terminate(), or a process by kill()
    KILLED: Outcome  # a process, by a signal from elsewhere

    def __new__(cls, how: str, value: Any = None, exception: BaseException | None = None) -> Outcome:
        self = super().__new__(cls, how)
        self.value, self.exception = value, exception
        return self

    def __repr__(self) -> str:
        tail = (
            f" {self.exception!r}"
            if self.exception is not None
            else f" {self.value!r}"
            if self == "returned"
            else ""
        )
        return f"<Outcome {self}{tail}>"


Outcome.RETURNED, Outcome.RAISED = Outcome("returned"), Outcome("raised")
Outcome.TERMINATED, Outcome.KILLED = Outcome("terminated"), Outcome("killed")


def _renamed(function: Any, **names: Any) -> Any:
    """A copy of a function of the standard library that finds other objects under some names of its module.

    It still sees whatever else is bound there, now and later.
    """
    code, own = function.__code__, {name: f"_manyhands_{name}" for name in names}
    for name, value in names.items():
        function.__globals__[own[name]] = value
    code = code.replace(co_names=tuple(own.get(name, name) for name in code.co_names))
    copy = types.FunctionType(code, function.__globals__, function.__name__, function.__defaults__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return functools.update_wrapper(copy, function)


def _make_report() -> Callable[[Thread], None]:
    """What a thread calls with itself when an exception leaves run(). Not a method: that would refer to the thread."""
    return functools.partial(_note_failure, std._make_invoke_excepthook())


class Thread(_StdThread):
    """A thread of control that others can pause, resume and terminate.

    It does so at safe points only: inside every wait of manyhands (locks, queues, events, ...), at
    ``manyhands.checkpoint()`` and, from Python 3.12 on, wherever it runs Python code. A thread that holds a lock of
    manyhands is parked once it has released its last one. See docs/howto/pause-resume.md and terminate.md.
    """

    _failed: Outcome | None = None
    _value: Any = None
    _started: Any  # made by __init__

    # The standard library's, but for the event that says that the thread runs: to make one of its own takes half of the
    # time that it takes to make a thread. Ours brings the thread's control.
    __init__ = _renamed(std.Thread.__init__, Event=core.Started, _make_invoke_excepthook=_make_report)

    @property
    def _control(self) -> Any:
        return self._started.control

    def _bootstrap(self) -> None:
        """The whole life of the thread, in the thread itself."""
        control = self._started.control
        control.adopt(self._name)  # type: ignore[attr-defined]
        try:
            if getattr(self.run, "__func__", None) is _own_run:
                _std_bootstrap(self)
            else:
                self._keep_what_run_returns()
        finally:
            control.disown()

    def _keep_what_run_returns(self) -> None:
        """The standard library calls self.run() and drops what it returns."""
        own, attributes = self.__dict__.get("run"), self.__dict__
        attributes["run"] = functools.partial(self._run_and_keep, self.run)
        try:
            _std_bootstrap(self)
        finally:
            del attributes["run"]
            if own is not None:
                attributes["run"] = own

    def _run_and_keep(self, run: Callable[[], Any]) -> None:
        self._value = run()

    def run(self) -> Any:
        """What the thread does; override it, or give a target. What it returns is ``outcome.value``."""
        try:
            if self._target is not None:  # type: ignore[attr-defined]
                self._value = value = self._target(*self._args, **self._kwargs)  # type: ignore[attr-defined]
                return value
        finally:
            # The target may refer to this thread.
            del self._target, self._args, self._kwargs  # type: ignore[attr-defined]

    def _require_started(self, verb: str) -> None:
        if not self._initialized:  # type: ignore[attr-defined]
            raise coded(RuntimeError("Thread.__init__() was not called"), "MH-STATE")
        if not self._started.is_set():
            raise coded(RuntimeError(f"cannot {verb} a thread that is not running"), "MH-STATE")

    def _require_alive(self, verb: str) -> None:
        self._require_started(verb)
        if not self.is_alive():
            raise coded(RuntimeError(f"cannot {verb} a thread that is not running"), "MH-STATE")
        if self is std.main_thread():  # of a forked child, whose only thread this was
            raise coded(RuntimeError(_MAIN.format(verb=verb)), "MH-MAIN-THREAD")

    def pause(self, timeout: float | None = None, *, cancel: CancelToken | None = None) -> bool:
        """Ask the thread to park, and wait until it has, at most `timeout` seconds.

        Return whether it is parked; if not, the request stands, and the thread parks at its next safe point: it is
        "pausing" until then. A thread that calls this for itself parks until another resumes it; while it holds a lock
        or is inside ``shield()`` it gets False, and parks when it leaves them. RuntimeError for a thread that is not
        running and for the main thread, which must stay able to take signals. Cancelled where `cancel` was cancelled
        first; the request stands then, too.

        Python 3.11 can park a thread only in a wait of manyhands or at ``manyhands.checkpoint()``; a RuntimeWarning
        says so where that does not come within a tenth of a second.
        """
        self._require_alive("pause")
        if _ANYWHERE or self is std.current_thread():
            return bool(self._control.pause(timeout, cancel=cancel))
        return self._pause_at_checkpoint(timeout, cancel)

    def _pause_at_checkpoint(self, timeout: float | None, cancel: CancelToken | None) -> bool:
        if self._control.pause(_PATIENCE if timeout is None else min(timeout, _PATIENCE), cancel=cancel):
            return True
        if timeout is not None and timeout <= _PATIENCE:
            return False
        warnings.warn(
            f"{self.name} runs code in which Python {sys.version_info[0]}.{sys.version_info[1]} cannot park it: it "
            "parks at its next wait in manyhands or manyhands.checkpoint()",
            RuntimeWarning,
            stacklevel=3,
        )
        return bool(self._control.pause(None if timeout is None else timeout - _PATIENCE, cancel=cancel))

    def join(self, timeout: float | None = None, *, cancel: CancelToken | None = None) -> None:
        """Wait until the thread has ended, at most `timeout` seconds. Cancelled where `cancel` was cancelled first.

        A wait as any other of manyhands: here the calling thread can be paused and ended.
        """
        if self._initialized and self._started.is_set():  # type: ignore[attr-defined]
            ended = self._started.control.join(timeout, cancel=cancel)
            if ended is False:
                return
            if ended:
                timeout = None  # what is left to do for it takes no time
        _std_join(self, timeout)

    def resume(self) -> None:
        """Let a paused thread go on; also takes back a pause that has not been reached."""
        self._require_alive("resume")
        self._control.resume()

    def terminate(self) -> None:
        """Ask the thread to end: at its next safe point ``manyhands.ThreadExit`` is raised in it, once.

        ``finally`` blocks and ``with`` statements run as for any exception. A thread that has ended stays as it is.
        Where the thread catches ThreadExit and goes on, another terminate() raises it again.
        """
        self._require_started("terminate")
        if self is std.main_thread():
            raise coded(RuntimeError(_MAIN.format(verb="terminate")), "MH-MAIN-THREAD")
        if self.is_alive():
            self._control.terminate()

    @property
    def state(self) -> ThreadState:
        """What the thread is doing just now."""
        if not self._started.is_set():
            return ThreadState.NEW
        if not self.is_alive():
            return ThreadState.FINISHED
        return ThreadState(self._control.state)

    @property
    def outcome(self) -> Outcome | None:
        """How the thread ended, with its value or exception; None while it has not."""
        if not self._started.is_set() or self.is_alive():
            return None
        return self._failed or Outcome("returned", self._value)

    @property
    def cpu_time(self) -> float:
        """Seconds of processor time that the thread has used; 0.0 before its start."""
        return float(self._control.cpu_time)


def _note_failure(report: Callable[[Thread], None], thread: Thread) -> None:
    """Called by the standard library in its handler of what left run()."""
    error = std._sys.exc_info()[1]
    if isinstance(error, ThreadExit):
        thread._failed = Outcome.TERMINATED
        return  # asked for: nothing to report
    if not isinstance(error, SystemExit):
        thread._failed = Outcome("raised", exception=error)
    del error
    report(thread)


_own_run, _std_bootstrap, _std_join = Thread.run, std.Thread._bootstrap, std.Thread.join


class _MainThread(type(std.main_thread())):  # type: ignore[misc]
    """The main thread: it takes the signals and ends the program, and so it is neither parked nor ended."""

    state = ThreadState.RUNNING
    outcome = None

    def pause(self, timeout: float | None = None) -> bool:
        """RuntimeError, always."""
        raise coded(RuntimeError(_MAIN.format(verb="pause")), "MH-MAIN-THREAD")

    def resume(self) -> None:
        """RuntimeError, always."""
        raise coded(RuntimeError(_MAIN.format(verb="resume")), "MH-MAIN-THREAD")

    def terminate(self) -> None:
        """RuntimeError, always."""
        raise coded(RuntimeError(_MAIN.format(verb="terminate")), "MH-MAIN-THREAD")


if not strict and type(std.main_thread()) is getattr(std, "_MainThread", None):
    set_module("threading", "threading", _MainThread)
    std.main_thread().__class__ = _MainThread


class Timer(Thread):
    """A thread that calls a function once, after a number of seconds, unless it is cancelled before."""

    def __init__(
        self,
        interval: float,
        function: Callable[..., object],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.interval = interval
        self.function = function
        self.args = args if args is not None else []
        self.kwargs = kwargs if kwargs is not None else {}
        self.finished = Event()

    def cancel(self) -> None:
        """Stop the timer, if it has not gone off."""
        self.finished.set()

    def run(self) -> None:
        """Wait, then call, unless cancelled."""
        if not self.finished.wait(self.interval):
            self.function(*self.args, **self.kwargs)
        self.finished.set()


set_module(
    "threading",
    "manyhands.threading",
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    RLock,
    Semaphore,
    Thread,
    Timer,
)
set_module("manyhands.threading", "manyhands.threading", Outcome, ThreadState)
