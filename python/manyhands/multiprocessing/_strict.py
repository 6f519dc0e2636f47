"""What ``MANYHANDS_COMPAT=strict`` brings back: the standard library's behaviour where ours is better by default."""

from __future__ import annotations

import importlib
import secrets
import traceback
from typing import Any

from manyhands._facade import stdlib_of
from manyhands._impl import core

_reduction = stdlib_of("multiprocessing.reduction")

_semaphores = importlib.import_module("_multiprocessing")
_process = stdlib_of("multiprocessing.process")
_tracker = stdlib_of("multiprocessing.resource_tracker")
_util = stdlib_of("multiprocessing.util")

__all__ = ["NamedSemLock", "StrictMessageQueue"]


class NamedSemLock:
    """The `_semlock` of a lock or semaphore, with the name that the standard library's has outside of a fork context.

    A semaphore of the system by that name stands for ours: the resource tracker knows of it from the beginning, and
    removes it after its process.
    """

    name: str | None = None

    def __init__(self, owner: Any, core_object: Any, context: Any) -> None:
        self._core = core_object
        if context is None:
            from manyhands.multiprocessing._contexts import _default_context as context
        if context.get_start_method() != "fork":
            self.name = f"{_process.current_process()._config['semprefix']}-{secrets.token_hex(8)}"
            _semaphores.SemLock(1, 1, 1, self.name, False)
            _tracker.register(self.name, "semaphore")
            _util.Finalize(owner, _remove, (self.name,), exitpriority=0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


def _remove(name: str) -> None:
    _semaphores.sem_unlink(name)
    _tracker.unregister(name, "semaphore")


class StrictMessageQueue(core.MessageQueue):  # type: ignore[misc]
    """The queue that drops what cannot be pickled, and that a spawned child may not have from a fork context."""

    _forked = _used = False
    _left = 0  # objects in it when it was closed here

    def _made_in(self, context: Any) -> None:
        self._forked = context is not None and context.get_start_method() == "fork"

    def _handle(self) -> Any:
        if self._forked:
            raise RuntimeError(
                "A SemLock created in a fork context is being shared with a process in a spawn context. This is "
                "not supported. Please use the same context to create multiprocessing objects and Process."
            )
        return super()._handle()

    def put(self, obj: Any, block: bool = True, timeout: float | None = None, *, cancel: Any = None) -> None:
        if not self._closed:
            self._used = True
            try:
                _reduction.ForkingPickler.dumps(obj)
            except Exception as error:
                self._on_queue_feeder_error(error, obj)
                return
        super().put(obj, block, timeout, cancel=cancel)

    def close(self) -> None:
        if not self._closed:
            self._left = self.qsize()
        super().close()

    def _on_queue_feeder_error(self, e: BaseException, obj: Any) -> None:
        traceback.print_exception(e)

    def empty(self) -> bool:
        if not self._closed:
            return bool(super().empty())
        if self._used:
            raise OSError("handle is closed")
        return not self._left  # the standard library closes nothing that was not used
