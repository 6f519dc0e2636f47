"""The futures of our executors: the standard library's, made cheap in C, and cancellable while their task runs."""

from __future__ import annotations

from manyhands._facade import stdlib_of
from manyhands._impl import core, set_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_base: Any = stdlib_of("concurrent.futures._base")

__all__ = ["Future"]

PENDING, RUNNING = _base.PENDING, _base.RUNNING


class _AnyFuture(type):
    """`isinstance(x, manyhands.futures.Future)` asks what it asks with `concurrent.futures.Future`: programs that we
    were put under get futures of both classes."""

    def __instancecheck__(cls, thing: Any) -> bool:
        return isinstance(thing, _base.Future) if cls is Future else super().__instancecheck__(thing)

    def __subclasscheck__(cls, other: Any) -> bool:
        return issubclass(other, _base.Future) if cls is Future else super().__subclasscheck__(other)


class Future(core.FutureBase, _base.Future, metaclass=_AnyFuture):  # type: ignore[misc]
    """A `concurrent.futures.Future` that is also the task itself, as its engine has it.

    `cancel(running=True)` ends a task that runs; what a kind of worker cannot do stands in docs/howto/executors.md.
    """

    # Of the engine, in C: _engine, which runs it; _call, what there is to run, until it is certain that it will not be
    # run again; _options; _runs that have begun; _worker, which runs it now; _ended, why the engine has ended the run;
    # _alarm, its limit of time; _number in the channel of processes.
    __slots__ = ()

    def cancel(self, *, running: bool = False) -> bool:
        """Cancel it, if it has not begun; with `running`, end it where it runs. Whether it is cancelled now."""
        if super().cancel():
            return True
        engine = self._engine
        if not running or engine is None or not self._cancel_running():
            return bool(running and self.cancelled())
        engine.end(self, None)
        return True


set_module("concurrent.futures._base", "manyhands.futures", Future)


def callback_failed(future: Any, error: BaseException) -> None:
    """As the standard library's futures tell of a callback that raised."""
    _base.LOGGER.error("exception calling callback for %r", future, exc_info=error)


core._bind("CancelledError", _base.CancelledError)
core._bind("Future", Future)
core._bind("std_Future", _base.Future)
core._bind("callback_failed", callback_failed)
