"""`wait` and `as_completed` for those who wait inside a task or a callback of the very executor that they wait for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from manyhands._facade import stdlib_of
from manyhands._impl import core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_base: Any = stdlib_of("concurrent.futures._base")

__all__ = ["as_completed", "wait"]


def _help(fs: Iterable[Any], limited: bool) -> None:
    """As `result()` does it for one future. In the order in which they were given."""
    for future in fs:
        if isinstance(future, core.FutureBase) and not future.done():
            engine = future._engine
            if engine is not None:
                engine.help(future, limited)


def wait(fs: Iterable[Any], timeout: float | None = None, return_when: Any = _base.ALL_COMPLETED) -> Any:
    """Wait for futures: all, the first, or the first that raised; the named tuple of those that are done and not done.

    As `concurrent.futures.wait`. Inside a task it first runs the futures of the same executor that have not begun.
    """
    fs = list(fs)
    if timeout is None and return_when == _base.ALL_COMPLETED:
        _help(fs, False)
    return _base.wait(fs, timeout, return_when)


def as_completed(fs: Iterable[Any], timeout: float | None = None) -> Iterator[Any]:
    """The futures, each as soon as it is done.

    As `concurrent.futures.as_completed`. Inside a task it first runs those of the same executor that have not begun.
    """
    fs = list(fs)
    if timeout is None:
        _help(fs, False)
    completed = _base.as_completed(fs, timeout)
    del fs  # a future that was handed out is not kept here
    yield from completed
