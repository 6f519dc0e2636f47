"""Does the function hold the GIL? Asked of the interpreter itself, not of the function's source.

A second thread (the ticker) sleeps for a millisecond, again and again. After each sleep it needs the
GIL. If the function holds it, the ticker gets it late: by up to the switch interval (5 ms) if the function
is Python code, by up to the length of the call if it is C code that does not let go. Each tick answers for
the time since the tick before, and the share of time in late ticks is the share in which the GIL was held.

How late a tick is on this machine when nobody holds the GIL is measured first, for some 20 ticks. A busy
machine delays the ticker, too. That part of the delay the kernel knows (the thread was ready to run and
had no core, `schedstat`), and it is taken off.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence

from manyhands.advise.machine import gil_enabled
from manyhands.advise.stats import quantile

TICK = 0.001
MARGIN = 0.00015
"""A tick is late if it is this much later than three of four ticks without work were."""
CALIBRATION = 0.025
ENOUGH_TICKS = 20


class GilProbe:
    """Use as a context manager around the work; `share` then has the answer."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._stop = False
        self._ticks: list[tuple[float, float]] = []
        self._idle = 0

    def __enter__(self) -> GilProbe:
        if gil_enabled():
            self._stop = False
            self._thread = threading.Thread(target=self._tick, name="manyhands-gil-probe", daemon=True)
            self._thread.start()
            time.sleep(CALIBRATION)
            self._idle = len(self._ticks)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        if self._thread is not None:
            self._thread.join()

    @property
    def enough(self) -> bool:
        """Whether there are ticks enough for an answer (there is nothing to wait for without a GIL)."""
        return len(self._ticks) - self._idle >= ENOUGH_TICKS or self._thread is None

    @property
    def share(self) -> float | None:
        """The share of time in which the GIL was held; None where there is no GIL, or too few ticks."""
        if self._thread is None or not self.enough:
            return None
        return held_share(self._ticks[: self._idle], self._ticks[self._idle :])

    def _tick(self) -> None:
        delays = RunDelay()
        try:
            queued = delays.read()
            while not self._stop:
                before = time.perf_counter()
                time.sleep(TICK)
                took = time.perf_counter() - before
                queued, queued_before = delays.read(), queued
                self._ticks.append((took, max(0.0, took - TICK - (queued - queued_before))))
        finally:
            delays.close()


def held_share(idle: Sequence[tuple[float, float]], ticks: Sequence[tuple[float, float]]) -> float | None:
    """From ticks, each (how long it took, how late it was), without and with work: the share of held time."""
    usual = quantile([late for _, late in idle], 0.75) if idle else 0.0
    total = sum(took for took, _ in ticks)
    held = sum(took for took, late in ticks if late > usual + MARGIN)
    return held / total if total > 0 else None


class RunDelay:
    """How long the calling thread has been ready to run without a core to run on, in seconds."""

    def __init__(self) -> None:
        self._file = -1
        with contextlib.suppress(OSError, AttributeError):
            self._file = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)

    def __enter__(self) -> RunDelay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> float:
        """Seconds since the thread began."""
        if self._file < 0:
            return 0.0
        try:
            return int(os.pread(self._file, 100, 0).split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            return 0.0

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
