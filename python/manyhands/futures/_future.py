"""The futures of our executors: the standard library's, made cheaper, and cancellable while their task runs."""

from __future__ import annotations

from typing import Any

from manyhands._facade import stdlib_of
from manyhands._impl.threading import Condition

_base: Any = stdlib_of("concurrent.futures._base")

__all__ = ["Future"]

PENDING, RUNNING, FINISHED = _base.PENDING, _base.RUNNING, _base.FINISHED
CANCELLED_AND_NOTIFIED = _base.CANCELLED_AND_NOTIFIED


class Future(_base.Future):  # type: ignore[misc]
    """A `concurrent.futures.Future` that is also the task itself, as its engine has it.

    `cancel(running=True)` ends a task that runs; what a kind of worker cannot do stands in docs/howto/executors.md.
    """

    _engine: Any = None  # which runs it
    _call: Any = None  # what there is to run, until it is certain that it will not be run again
    _options: Any = None
    _runs = 0  # that have begun
    _worker: Any = None  # which runs it now
    _ended: BaseException | None = None  # why the engine has ended the run
    _alarm: Any = None  # its limit of time
    _number = -1  # in the channel of processes

    def __init__(self) -> None:
        # The base's own, with our condition in the place of a slower one.
        self._condition = Condition()
        self._state = PENDING
        self._result = None
        self._exception = None
        self._waiters: list[Any] = []
        self._done_callbacks: list[Any] = []

    def cancel(self, *, running: bool = False) -> bool:
        """Cancel it, if it has not begun; with `running`, end it where it runs. Whether it is cancelled now."""
        if super().cancel():
            return True
        if not running or self._engine is None:
            return False
        with self._condition:
            if self._state != RUNNING:
                return bool(self._state == CANCELLED_AND_NOTIFIED)
            self._state = CANCELLED_AND_NOTIFIED
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            self._condition.notify_all()
        self._invoke_callbacks()
        self._engine.end(self, None)
        return True

    def result(self, timeout: float | None = None) -> Any:
        """What the call returned, or the exception that it raised. `TimeoutError` after `timeout` seconds,
        `CancelledError` where it was cancelled."""
        if self._state == FINISHED and self._exception is None:
            return self._result
        if self._state == PENDING and self._engine is not None:
            self._engine.help(self)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> Any:
        """The exception that the call raised; None where it returned."""
        if self._state == PENDING and self._engine is not None:
            self._engine.help(self)
        return super().exception(timeout)
