"""Threads that can be paused, resumed and terminated, and the synchronisation types of the compiled core.

``Thread`` keeps the life cycle of the standard library's (start, registries, hooks, fork handling) and adds a control,
which the thread adopts before it runs and disowns at its end.
"""

from __future__ import annotations

import enum
import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from manyhands._facade import stdlib_of
from manyhands._impl import core, deadlock, set_module
from manyhands._impl.cleanup import marks
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
    "Semaphore",
    "Thread",
    "ThreadState",
    "Timer",
]

std: Any = stdlib_of("threading")
core._bind("BrokenBarrierError", std.BrokenBarrierError)
deadlock.bind()
core._bind("marks", marks)

Barrier = core.Barrier
BoundedSemaphore = core.BoundedSemaphore
Condition = core.Condition
Event = core.Event
# A function before 3.13, as in the standard library, whose tests want that type(lock) cannot be called.
Lock = core.Lock if sys.version_info >= (3, 13) else core.allocate_lock
RLock = core.RLock
RWLock = core.RWLock
Semaphore = core.Semaphore

if TYPE_CHECKING:
    from threading import Thread as _StdThread
else:
    _StdThread = std.Thread


class ThreadState(enum.StrEnum):
    """What a thread is doing. A string: ``thread.state == "paused"``."""

    NEW = "new"  # not started
    RUNNING = "running"
    PAUSING = "pausing"  # asked to park, and has not come to a place where it can
    PAUSED = "paused"
    TERMINATING = "terminating"  # asked to end
    FINISHED = "finished"


class Outcome(enum.StrEnum):
    """How a thread ended."""

    RETURNED = "returned"  # run() returned, or left by SystemExit
    RAISED = "raised"  # an exception left run()
    TERMINATED = "terminated"  # by terminate()


class Thread(_StdThread):
    """A thread of control that others can pause, resume and terminate.

    It does so at safe points only: inside every wait of manyhands (locks, queues, events, ...) and at
    ``manyhands.checkpoint()``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._control = core.Control()
        self._failed: Outcome | None = None
        # The standard library's Event would do; this one is a hundred times faster.
        self._started = Event()
        self._report = self.__dict__.pop("_invoke_excepthook")

    def _bootstrap(self) -> None:
        """The whole life of the thread, in the thread itself."""
        control = self._control
        control.adopt()
        try:
            super()._bootstrap()  # type: ignore[misc]
        finally:
            control.disown()

    def _invoke_excepthook(self, thread: Thread) -> None:
        """Called by the standard library in its handler of what left run()."""
        error = std._sys.exc_info()[1]
        if isinstance(error, ThreadExit):
            self._failed = Outcome.TERMINATED
            return  # asked for: nothing to report
        if not isinstance(error, SystemExit):
            self._failed = Outcome.RAISED
        del error
        self._report(thread)

    def _require_started(self, verb: str) -> None:
        if not self._initialized:  # type: ignore[attr-defined]
            raise RuntimeError("Thread.__init__() was not called")
        if not self._started.is_set():
            raise RuntimeError(f"cannot {verb} a thread that is not running")

    def _require_alive(self, verb: str) -> None:
        self._require_started(verb)
        if not self.is_alive():
            raise RuntimeError(f"cannot {verb} a thread that is not running")

    def pause(self, timeout: float | None = None) -> bool:
        """Ask the thread to park, and wait until it has, at most `timeout` seconds.

        Return whether it is parked; if not, the request stands, and the thread parks at its next safe point. A thread
        that calls this for itself parks until another resumes it.
        """
        self._require_alive("pause")
        return bool(self._control.pause(timeout))

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
        """How the thread ended; None while it has not."""
        if not self._started.is_set() or self.is_alive():
            return None
        return self._failed or Outcome.RETURNED

    @property
    def cpu_time(self) -> float:
        """Seconds of processor time that the thread has used; 0.0 before its start."""
        return float(self._control.cpu_time)


functools.update_wrapper(Thread.__init__, std.Thread.__init__)  # its documentation and its signature


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
