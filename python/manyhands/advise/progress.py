"""Progress while it measures: a bar by rich on a terminal, plain lines elsewhere, or nothing.

Everything goes to standard error. No thread refreshes the bar: a thread would compete with the
measured work, and would be there when worker processes are forked.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

PLAIN_EVERY = 10.0


class Progress(Protocol):
    """What measuring tells of itself."""

    def begin(self, name: str) -> None: ...
    def update(self, share: float, text: str) -> None: ...
    def end(self) -> None: ...


class Silent:
    """No progress at all."""

    def begin(self, name: str) -> None:
        pass

    def update(self, share: float, text: str) -> None:
        pass

    def end(self) -> None:
        pass


class Plain:
    """A line now and then."""

    def __init__(self) -> None:
        self._name = ""
        self._last = 0.0

    def begin(self, name: str) -> None:
        self._name = name
        self._last = time.monotonic()
        print(f"{name}: warming up", file=sys.stderr, flush=True)

    def update(self, share: float, text: str) -> None:
        now = time.monotonic()
        if now - self._last >= PLAIN_EVERY:
            self._last = now
            print(f"{self._name}: {text}, {min(share, 1):.0%}", file=sys.stderr, flush=True)

    def end(self) -> None:
        pass


class Rich:
    """A bar that is gone when it is done."""

    def __init__(self) -> None:
        import rich.console
        import rich.progress

        self._progress: Any = rich.progress.Progress(
            rich.progress.TextColumn("{task.fields[name]:<8}"),
            rich.progress.BarColumn(bar_width=30),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("{task.description}"),
            console=rich.console.Console(stderr=True),
            auto_refresh=False,
            transient=True,
        )
        self._task: Any = None
        self._last = 0.0

    def begin(self, name: str) -> None:
        self._task = self._progress.add_task("warming up", total=1.0, name=name)
        self._progress.start()
        self._progress.refresh()

    def update(self, share: float, text: str) -> None:
        now = time.monotonic()
        if self._task is not None and now - self._last > 0.1:
            self._last = now
            self._progress.update(self._task, completed=min(share, 1.0), description=text)
            self._progress.refresh()

    def end(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._progress.stop()


def choose() -> Progress:
    """Rich on a terminal if it is installed, else plain lines."""
    if sys.stderr.isatty():
        try:
            return Rich()
        except ImportError:
            pass
    return Plain()
