"""A clock that calls functions at given times: for limits of time and for pauses before a retry.

One daemon thread per process, started at the first use; it ends when it has had nothing to do for a while.
"""

from __future__ import annotations

import heapq
import itertools
import os
import sys
import time
from collections.abc import Callable

from manyhands._facade import stdlib_of
from manyhands._impl import core
from manyhands._impl.threading import Condition, Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Alarm", "alarm"]

_std_threading = stdlib_of("threading")
IDLE_SECONDS = 10.0


class Alarm:
    """A call that is due; `cancel()` takes it back, if it has not begun."""

    __slots__ = ("function", "when")

    def __init__(self, when: float, function: Callable[[], Any]) -> None:
        self.when = when
        self.function: Callable[[], Any] | None = function

    def cancel(self) -> None:
        """The call is not made. It may be running just now."""
        self.function = None


class _Clock:
    def __init__(self) -> None:
        self.condition = Condition()
        self.heap: list[tuple[float, int, Alarm]] = []
        self.numbers = itertools.count()
        self.thread: Thread | None = None

    def add(self, alarm: Alarm) -> None:
        with self.condition:
            heapq.heappush(self.heap, (alarm.when, next(self.numbers), alarm))
            if self.thread is None:
                with core.signals_put_off():
                    self.thread = Thread(target=self._run, name="manyhands-alarms", daemon=True)
                    self.thread.start()
            elif self.heap[0][2] is alarm:
                self.condition.notify()

    def _next(self) -> Alarm | None:
        """The alarm that is due next, once it is due; None when there was none for a while."""
        with self.condition:
            while True:
                while self.heap and self.heap[0][2].function is None:
                    heapq.heappop(self.heap)
                wait = self.heap[0][0] - time.monotonic() if self.heap else IDLE_SECONDS
                if self.heap and wait <= 0:
                    return heapq.heappop(self.heap)[2]
                if not self.condition.wait(min(wait, IDLE_SECONDS)) and not self._any_left():
                    self.thread = None
                    return None

    def _any_left(self) -> bool:
        """Drop what was taken back: a limit of an hour is not kept for an hour after its task. Under the lock."""
        self.heap = [entry for entry in self.heap if entry[2].function is not None]
        heapq.heapify(self.heap)
        return bool(self.heap)

    def _run(self) -> None:
        while (alarm := self._next()) is not None:
            function, alarm.function = alarm.function, None
            if function is None:
                continue
            try:
                function()
            except Exception:
                _std_threading.excepthook(
                    _std_threading.ExceptHookArgs((*sys.exc_info(), _std_threading.current_thread()))
                )
            del function, alarm


_clock = _Clock()


def _forget_in_child() -> None:
    global _clock
    _clock = _Clock()


os.register_at_fork(after_in_child=_forget_in_child)


def alarm(seconds: float, function: Callable[[], Any]) -> Alarm:
    """Call `function()` in the clock's thread, `seconds` from now; it must not wait for long."""
    made = Alarm(time.monotonic() + seconds, function)
    _clock.add(made)
    return made
