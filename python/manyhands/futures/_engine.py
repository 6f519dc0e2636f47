"""What the engines of all executors share: futures that are their own tasks, runs that are repeated, the end.

An engine does not keep its executor alive: an executor that is forgotten closes it. Workers refer to the engine alone.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from collections.abc import Callable

from manyhands._facade import stdlib_of
from manyhands._impl.threading import Event
from manyhands._troubles import coded
from manyhands.futures._alarms import alarm
from manyhands.futures._executor import Verbs, WorkerFigures
from manyhands.futures._future import Future

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_base: Any = stdlib_of("concurrent.futures._base")
_threading: Any = stdlib_of("threading")

__all__ = ["Engine", "OverEngine", "cores", "left_of", "say"]

AFTER_CTRL_C = 0.5  # seconds for tasks to end in, once Ctrl-C has ended the `with` block


class Engine:
    """The state of an executor, and what becomes of its tasks. The subclasses bring the workers."""

    ABOUT = "a worker"

    def __init__(self) -> None:
        self.lock: Any = _threading.RLock()
        self.unsettled: dict[Future, None] = {}  # in the order of their coming
        self.returning = 0  # tasks that wait for their next run
        self.closing = self.aborted = self.stale = False
        self.held = False
        self.broken_by: BaseException | None = None
        self.at_exit = False
        self.forgotten: Any = None  # tells when the executor has gone

    # ---- the subclass brings these

    def dispatch(self, future: Future) -> None:
        """Have it run. Raises nothing; called under the lock, for a repeated run."""
        raise NotImplementedError

    def end(self, future: Future, error: BaseException | None) -> None:
        """End its run, which fails with `error`; None: its future has been cancelled already."""
        raise NotImplementedError

    def hold(self, on: bool) -> None:
        """Begin no task, or do again."""
        raise NotImplementedError

    def close(self) -> None:
        """No more tasks come."""
        raise NotImplementedError

    def join(self, timeout: float | None) -> bool:
        """Wait until the workers have ended."""
        raise NotImplementedError

    def abort(self) -> None:
        """End what runs, as far as it can be ended; cancel the rest."""
        raise NotImplementedError

    def figures(self) -> list[WorkerFigures]:
        """Of every worker, also of those that have ended."""
        raise NotImplementedError

    def broken(self) -> BaseException:
        """What tasks fail with where no worker could be set up."""
        raise NotImplementedError

    def inside(self) -> bool:
        """Whether the calling thread is one on which this engine counts."""
        return False

    def help(self, future: Future, limited: bool) -> None:
        """Called by who is about to wait for a task; `limited`: not for ever."""

    # ---- tasks

    def refuse(self) -> None:
        """Raise where no task is taken any more."""
        if self.broken_by is not None:
            raise self.broken()
        if self.stale:
            text = "this executor belongs to the parent process: its workers are not the forked child's; make a new one"
            raise coded(RuntimeError(text), "MH-FORKED")
        if self.closing:
            late = " after interpreter shutdown" if self.at_exit else " after shutdown"
            raise RuntimeError(f"cannot schedule new futures{late}")

    def settle(self, future: Future, worked: bool, value: Any) -> None:
        """A run has ended: the future's result, or another run."""
        options = future._options
        if options is not None:
            if future._alarm is not None:
                future._alarm.cancel()
                future._alarm = None
            if not worked and self._goes_again(future, options, value):
                return
        self.unsettled.pop(future, None)
        future._call = None
        try:
            if worked:
                future.set_result(value)
            else:
                future.set_exception(value)
        except _base.InvalidStateError:
            pass  # cancelled, or out of time, while it ran

    def _goes_again(self, future: Future, options: Any, error: BaseException) -> bool:
        if self.aborted or future.done() or not options.again(error, future._runs):
            return False
        try:
            delay = options.delay(future._runs)
        except Exception as wrong:  # in the user's function
            error.add_note(f"It is not run again: backoff() raised {wrong!r}")
            return False
        future._ended = None
        with self.lock:
            self.returning += 1
        if delay > 0:
            alarm(delay, lambda: self._return(future))
        else:
            self._return(future)
        return True

    def _return(self, future: Future) -> None:
        with self.lock:
            self.returning -= 1
            if future.done() or self.aborted or self.broken_by is not None:  # cancelled while it waited
                self.unsettled.pop(future, None)
                if not future.done():
                    self.fail(future, self.broken() if self.broken_by is not None else _base.CancelledError())
                self.after_return()
            else:
                self.dispatch(future)

    def after_return(self) -> None:
        """A task that was to be run again will not be."""

    def fail(self, future: Future, error: BaseException) -> None:
        """It will never run."""
        self.unsettled.pop(future, None)
        future._call = None
        try:
            if future.running() or future.set_running_or_notify_cancel():
                future.set_exception(error)
        except _base.InvalidStateError:
            pass  # it has been settled meanwhile

    def cancel(self, future: Future) -> None:
        """It has not begun, and never will."""
        self.unsettled.pop(future, None)
        future._call = None
        if future.cancel() and future._state != _base.CANCELLED_AND_NOTIFIED:
            future.set_running_or_notify_cancel()

    def limit(self, future: Future, seconds: float, began: Callable[[], float | None]) -> None:
        """End this run `seconds` after it has begun, which `began()` tells: None while it has not.

        While it has not, it is looked at again after `seconds`: it cannot be too late by then.
        """
        run = future._runs

        def look() -> None:
            if future.done() or future._runs != run:
                return
            since = began()
            left = seconds if since is None else since + seconds - time.monotonic()
            if left > 0:
                future._alarm = alarm(left, look)
            else:
                text = f"the task was ended: it ran for longer than {seconds:g} seconds"
                self.end(future, coded(TimeoutError(text), "MH-TASK-TIME"))

        future._alarm = alarm(seconds, look)

    def wait_settled(self, timeout: float | None) -> bool:
        """Until what was submitted so far has ended."""
        ended = time.monotonic() + timeout if timeout is not None else None
        for future in list(self.unsettled):
            if future.done():
                continue
            done = Event()
            future.add_done_callback(lambda _, done=done: done.set())
            if not done.wait(left_of(ended)):
                return False
        return True


def left_of(ended: float | None) -> float | None:
    """Seconds until that instant."""
    return None if ended is None else max(0.0, ended - time.monotonic())


def say(fn: Any) -> str:
    """What a task is called in messages."""
    return str(getattr(fn, "__qualname__", None) or repr(fn))


_outer = 1  # workers among which this process's cores are shared out


def share_cores(among: int) -> None:
    """In a worker process: executors made here have its part of the machine."""
    global _outer
    _outer *= max(1, among)


def cores() -> int:
    """How many workers an executor has where nobody says: a nested one has its worker's share."""
    count = getattr(os, "process_cpu_count", None)
    whole = count() if count is not None else len(os.sched_getaffinity(0))
    return max(1, (whole or 1) // _outer)


class OverEngine(Verbs):
    """The hooks of `Verbs`, answered by an engine."""

    _engine: Any

    def _attach(self, engine: Engine) -> None:
        self._engine = engine
        # Kept by the engine, which lives on: one that went with the executor, as part of a cycle, would tell nobody.
        engine.forgotten = weakref.ref(self, _closer(engine))
        _executors.add(self)

    def _submit(self, options: Any, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return self._engine.submit(options, fn, args, kwargs)

    def _hold(self, on: bool) -> None:
        self._engine.hold(on)

    def _wait_settled(self, timeout: float | None) -> bool:
        return bool(self._engine.wait_settled(timeout))

    def _close(self, cancel_futures: bool) -> None:
        engine = self._engine
        with engine.lock:
            engine.closing = True
            if cancel_futures:
                engine.cancel_waiting()
        engine.close()

    def _join(self, timeout: float | None) -> bool:
        engine = self._engine
        if engine.held:
            engine.hold(False)
        return bool(engine.join(timeout))

    def _figures(self) -> list[WorkerFigures]:
        figures: list[WorkerFigures] = self._engine.figures()
        return figures

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        """Leave `with`: wait for what was submitted. After Ctrl-C end it instead."""
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._abort()
        else:
            self.shutdown(wait=True)

    def _abort(self) -> None:
        self._close(True)
        self._engine.abort()
        self._join(AFTER_CTRL_C)

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        """As leaving `with`, but the event loop runs on meanwhile. After an exception what has not begun is
        cancelled, after Ctrl-C or a cancellation what runs is ended."""
        stops = kind is not None and not issubclass(kind, Exception)
        if stops:
            self._close(True)
            self._engine.abort()
        await super().__aexit__(kind, error, traceback)


def _closer(engine: Engine) -> Callable[[Any], None]:
    reference = weakref.ref(engine)

    def close(_: Any, finalizing: Any = sys.is_finalizing) -> None:
        living = reference()
        # At the interpreter's end all is closed already, and the modules' globals may be gone.
        if living is not None and not living.stale and not finalizing():
            living.closing = True
            living.close()

    return close


_executors: weakref.WeakSet[OverEngine] = weakref.WeakSet()
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_registered = _ended = False


def register(engine: Engine) -> None:
    """This engine is to have workers: at the interpreter's end they finish what was submitted. RuntimeError then."""
    global _registered, _ended
    if not _registered:
        try:
            _threading._register_atexit(_at_exit)
        except RuntimeError:
            _ended = True
        _registered = True
    if _ended:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")
    _engines.add(engine)


def _at_exit() -> None:
    """What was submitted is finished first, as with the standard library's executors; but not after Ctrl-C."""
    global _ended
    _ended = True
    engines = [engine for engine in _engines if not engine.stale]
    last = getattr(sys, "last_type", None)
    interrupted = isinstance(last, type) and issubclass(last, KeyboardInterrupt)
    for engine in engines:
        engine.at_exit = True
        with engine.lock:
            engine.closing = True
        if interrupted:
            engine.abort()
        if engine.held:
            engine.hold(False)
        engine.close()
    for engine in engines:
        engine.join(AFTER_CTRL_C if interrupted else None)


def _in_child() -> None:
    """The workers are the parent's."""
    for engine in list(_engines):
        engine.stale = True
    _engines.clear()
    for executor in list(_executors):
        executor._attach(executor._engine.anew())


os.register_at_fork(after_in_child=_in_child)
