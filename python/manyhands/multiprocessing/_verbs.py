"""What our processes can do beyond the standard library's: pause, resume, state, CPU time and memory.

A mixin before the standard library's process classes, whose life cycle stays.
"""

from __future__ import annotations

import functools
import io
import os
import pickle
from typing import Any

from manyhands._impl import CancelToken, core
from manyhands._impl.by_value import ByValuePickler
from manyhands._impl.messages import keep_aside
from manyhands.multiprocessing import _handles

__all__ = ["Verbs"]


class Verbs:
    """Mixed into every process class."""

    _popen: Any
    _manyhands_place: int | None = None  # this child's place in the arena, reserved by its parent

    def _control(self) -> Any:
        """The core's handle of the started child; ValueError before start, AssertionError in another process."""
        self._check_closed()  # type: ignore[attr-defined]
        if self._popen is None:
            raise ValueError("the process has not been started")
        return self._popen.control

    def pause(self, timeout: float | None = None, *, cancel: CancelToken | None = None) -> bool:
        """Stop the process and wait until it stands still; False where `timeout` seconds passed first.

        It is never left stopped inside a shared section of manyhands, where it would hold up the others: then it goes
        on for a moment and is stopped again. ``resume()`` lets it go on. ValueError where it is not running.
        """
        return bool(self._control().pause(timeout, cancel=cancel))

    def join(self, timeout: float | None = None, *, cancel: CancelToken | None = None) -> None:
        """Wait until the process has ended, at most `timeout` seconds. Cancelled where `cancel` was cancelled first."""
        self._check_closed()  # type: ignore[attr-defined]
        if self._popen is not None and self._parent_pid == os.getpid():  # type: ignore[attr-defined]
            if not self._popen.control.join(timeout, cancel=cancel):
                return
            timeout = None  # its status is there
        super().join(timeout)  # type: ignore[misc]

    def resume(self) -> None:
        """Let a paused process go on; nothing where it was not paused."""
        self._control().resume()

    @property
    def state(self) -> str:
        """One of new, running, pausing, paused, terminating, finished."""
        return "new" if self._popen is None else str(self._control().state())

    @property
    def cpu_time(self) -> float:
        """Processor seconds, user and system, that the process has used."""
        return float(self._control().cpu_time())

    @property
    def memory(self) -> int:
        """Bytes of memory, pages shared with others counted by their share (PSS); 0 once it has ended."""
        return int(self._control().memory())

    def __reduce_ex__(self, protocol: Any) -> Any:
        """On the way to a child by spawn or forkserver: first join the arena, then unpickle the rest. A target that the
        child would not find by name goes by value; large buffers of the arguments go in shared memory."""
        reduced: Any = super().__reduce_ex__(protocol)
        if not _handles.is_spawning():
            return reduced
        parts, place = tuple(reduced[:3]), self._manyhands_place
        if place is None:
            return _join_and_make, (None, None, _pickle(parts, None), [])
        buffers: list[pickle.PickleBuffer] = []
        data = core._share(_pickle, parts, functools.partial(keep_aside, buffers))
        try:
            records = core._blocks_give(place, buffers)
        except MemoryError:  # through the pipe, then
            data, records = _pickle(parts, None), []
        return _join_and_make, (_handles.send(self, core.arena_fd(), "arena"), place, data, records)

    def _bootstrap(self, *args: Any, **kwargs: Any) -> Any:
        if self._manyhands_place is not None:
            core.arena_settle(self._manyhands_place, 0)
        return super()._bootstrap(*args, **kwargs)  # type: ignore[misc]


def _pickle(parts: Any, aside: Any) -> bytes:
    file = io.BytesIO()
    ByValuePickler(file, pickle.HIGHEST_PROTOCOL, True, aside).dump(parts)
    return file.getvalue()


def _join_and_make(token: Any, place: int | None, data: bytes, records: list[Any]) -> Any:
    buffers = []
    if place is not None:
        core.arena_join(_handles.receive(token), place)
        buffers = core._blocks_take(records)
    make, arguments, state = pickle.loads(data, buffers=buffers)
    process = make(*arguments)
    if hasattr(process, "__setstate__"):
        process.__setstate__(state)
    else:
        process.__dict__.update(state)
    return process
