"""`progress=True`: a bar by rich or tqdm where they are installed, plain lines otherwise. On standard error.

Bars may be nested: rich shows them in one display, tqdm below each other. No thread is started for them: they move when
a result is taken. In a notebook both draw what notebooks show.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Iterable, Sized

from manyhands._troubles import coded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Bar", "bar", "total_of"]

PLAIN_EVERY = 5.0  # seconds between two lines


class Bar:
    """How far a map has come; this one shows nothing."""

    def advance(self, items: int) -> None:
        """So many more results were taken."""

    def close(self) -> None:
        """The map has ended, in whatever way; may be called twice."""


class PlainBar(Bar):
    """A line now and then, and one at the end."""

    def __init__(self, name: str, total: int | None) -> None:
        self.name, self.total, self.count, self.closed = name, total, 0, False
        self.begun = self.last = time.monotonic()

    def advance(self, items: int) -> None:
        self.count += items
        now = time.monotonic()
        if now - self.last >= PLAIN_EVERY:
            self.last = now
            self._print(now)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._print(time.monotonic())

    def _print(self, now: float) -> None:
        share = f" of {self.total} ({self.count / self.total:.0%})" if self.total else ""
        pace = self.count / max(now - self.begun, 1e-9)
        print(f"{self.name}: {self.count}{share}, {pace:.3g}/s", file=sys.stderr, flush=True)


class TqdmBar(Bar):
    """By tqdm, which knows notebooks."""

    def __init__(self, name: str, total: int | None) -> None:
        widgets = _in_notebook() and _installed("ipywidgets")  # else tqdm.auto would warn that there are none
        self.bar: Any = importlib.import_module("tqdm.auto" if widgets else "tqdm").tqdm(
            total=total, desc=name
        )

    def advance(self, items: int) -> None:
        self.bar.update(items)

    def close(self) -> None:
        self.bar.close()


class RichBar(Bar):
    """By rich: all bars that are open stand in one display, since it has only one per terminal."""

    _lock = threading.Lock()
    _display: Any = None
    _open = 0

    def __init__(self, name: str, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import Progress

        with RichBar._lock:
            if RichBar._display is None:
                RichBar._display = Progress(
                    *Progress.get_default_columns(), console=Console(stderr=True), auto_refresh=False
                )
                RichBar._display.start()
            RichBar._open += 1
            self.display, self.closed = RichBar._display, False
        self.task = self.display.add_task(name, total=total)
        self.drawn = 0.0

    def advance(self, items: int) -> None:
        self.display.advance(self.task, items)
        now = time.monotonic()
        if now - self.drawn > 0.1:
            self.drawn = now
            self.display.refresh()

    def close(self) -> None:
        with RichBar._lock:
            if self.closed:
                return
            self.closed = True
            self.display.refresh()
            RichBar._open -= 1
            if RichBar._open == 0:
                RichBar._display = None
                self.display.stop()


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _kind() -> type[TqdmBar] | type[RichBar] | type[PlainBar]:
    """In notebooks tqdm comes first: it shows text where there are no widgets, and rich then shows nothing."""
    if _in_notebook():
        if _installed("tqdm"):
            return TqdmBar
        return RichBar if _installed("rich") and _installed("ipywidgets") else PlainBar
    if sys.stderr is None or not sys.stderr.isatty():
        return PlainBar
    if _installed("rich"):
        return RichBar
    return TqdmBar if _installed("tqdm") else PlainBar


def bar(asked: bool | str, total: int | None, name: str) -> Bar:
    """The bar that was asked for: `False` none, a text stands before it."""
    if not isinstance(asked, (bool, str)):
        raise coded(TypeError(f"progress must be True, False or a text, not {asked!r}"), "MH-ARGUMENT")
    if asked is False:
        return Bar()
    return _kind()(asked if isinstance(asked, str) else name, total)


def total_of(iterables: tuple[Iterable[Any], ...]) -> int | None:
    """How many items there will be, where they say."""
    lengths = [len(i) for i in iterables if isinstance(i, Sized)]
    return min(lengths) if lengths else None
