"""What our processes can do beyond the standard library's: pause, resume, state, outcome, CPU time and memory, and to
live no longer than their parent.

A mixin before the standard library's process classes, whose life cycle stays.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import pickle
import time
from collections.abc import Callable, Iterable, Mapping

from manyhands._facade import stdlib_of
from manyhands._impl import CancelToken, core
from manyhands._impl.by_value import ByValuePickler
from manyhands._impl.messages import keep_aside
from manyhands._troubles import coded
from manyhands.multiprocessing import _handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from manyhands._impl.threading import Outcome

__all__ = ["Verbs"]

_process = stdlib_of("multiprocessing.process")
_reduction = stdlib_of("multiprocessing.reduction")


class Verbs:
    """Mixed into every process class."""

    _popen: Any
    _manyhands_place: int | None = None  # this child's place in the arena, reserved by its parent
    _manyhands_lifeline: int | None = None  # hangs up when the parent ends, if the child is to die then
    _die_with_parent: bool | None = None
    _allow_children = False
    _manyhands_logging: Any = None  # where its log records go
    _manyhands_method: str | None = None  # how it was started, and starts others unless it is told otherwise

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] = {},  # it is copied
        *,
        daemon: bool | None = None,
        die_with_parent: bool | None = None,
        allow_children: bool = False,
    ) -> None:
        """As the standard library's, and:

        `die_with_parent`: the process is killed (SIGKILL) when this one ends, however it ends. `allow_children`: it may
        start processes although it is daemonic; these die with it, unless they are told otherwise.
        """
        super().__init__(group, target, name, args, kwargs, daemon=daemon)  # type: ignore[call-arg]
        if die_with_parent is not None:
            self._die_with_parent = bool(die_with_parent)
        if allow_children:
            self._allow_children = True

    # ---- its life

    @staticmethod
    def _around_start() -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def start(self) -> None:
        """Start the process. A daemonic process may do so where it was made with ``allow_children=True``."""
        parent: Any = _process._current_process
        with self._around_start():
            if not (parent._config.get("daemon") and getattr(parent, "_allow_children", False)):
                super().start()  # type: ignore[misc]
                return
            if self._die_with_parent is None:
                self._die_with_parent = (
                    True  # a daemonic process is ended by a signal, and leaves its children behind
                )
            self._start_under_daemon()

    def _start_under_daemon(self) -> None:
        """What the standard library's start() does, without its refusal."""
        this: Any = self
        this._check_closed()
        assert self._popen is None, "cannot start a process twice"
        assert this._parent_pid == os.getpid(), "can only start a process object created by current process"
        _process._cleanup()
        self._popen = this._Popen(self)
        this._sentinel = self._popen.sentinel
        del this._target, this._args, this._kwargs
        _process._children.add(self)

    def join(self, timeout: float | None = None, *, cancel: CancelToken | None = None) -> None:
        """Wait until the process has ended, at most `timeout` seconds. Cancelled where `cancel` was cancelled first."""
        self._check_closed()  # type: ignore[attr-defined]
        if self._popen is None or self._parent_pid != os.getpid():  # type: ignore[attr-defined]
            super().join(timeout)  # type: ignore[misc]
            return
        end = None if timeout is None else time.monotonic() + timeout
        joined = self._popen.control.join(timeout, cancel=cancel) and self._popen.collect(end, cancel)
        if joined and self._popen.returncode is not None:  # as the standard library's join()
            _process._children.discard(self)

    def terminate(self) -> None:
        """Ask the process to end (SIGTERM); a paused one goes on, to end."""
        self._need_started()
        super().terminate()  # type: ignore[misc]

    def kill(self) -> None:
        """End the process (SIGKILL), wherever it is."""
        self._need_started()
        super().kill()  # type: ignore[misc]

    def _need_started(self) -> None:
        self._check_closed()  # type: ignore[attr-defined]
        if self._popen is None:
            raise coded(
                ValueError(
                    "a process cannot do this to itself; its parent can"
                    if self._is_this()
                    else "the process has not been started"
                ),
                "MH-STATE",
            )

    def _is_this(self) -> bool:
        """Is it the calling process?"""
        return self is _process.current_process()

    # ---- pausing

    def _control(self) -> Any:
        """The core's handle of the started child; ValueError before start, ChildProcessError in another process."""
        self._need_started()
        return self._popen.control

    def pause(self, timeout: float | None = None, *, cancel: CancelToken | None = None) -> bool:
        """Stop the process and wait until it stands still; False where `timeout` seconds passed first.

        It is never left stopped inside a shared section of manyhands, where it would hold up the others: then it goes
        on for a moment and is stopped again. Where it stands already, True; one ``resume()`` lets it go on. ValueError
        where it is not running, and for the calling process itself.
        """
        return bool(self._control().pause(timeout, cancel=cancel))

    def resume(self) -> None:
        """Let a paused process go on; nothing where it was not paused, or has ended."""
        self._control().resume()

    # ---- what it is and uses

    @property
    def state(self) -> str:
        """One of new, running, pausing, paused, terminating, finished."""
        self._check_closed()  # type: ignore[attr-defined]
        if self._popen is None:
            return "running" if self._is_this() else "new"
        state = str(self._popen.control.state())
        if state == "finished":
            self._popen.poll()  # no zombie is left where nobody joins
        return state

    @property
    def outcome(self) -> Outcome | None:
        """How it ended: "returned", "raised", "terminated" (by a call of terminate() or kill()) or "killed" (by a
        signal from elsewhere); None while it has not. Its value and exception stay in the process; see ``exitcode``."""
        code = self.exitcode  # type: ignore[attr-defined]
        if code is None:
            return None
        from manyhands._impl.threading import Outcome

        if code >= 0:
            return Outcome.RAISED if code else Outcome.RETURNED
        return Outcome.TERMINATED if -code in self._popen.asked else Outcome.KILLED

    @property
    def cpu_time(self) -> float:
        """Processor seconds, user and system, that the process has used."""
        if self._popen is None and self._is_this():
            return time.process_time()
        told: float | None = getattr(self._popen, "cpu_time", None)
        return float(self._control().cpu_time()) if told is None else told

    @property
    def memory(self) -> int:
        """Bytes of memory, pages shared with others counted by their share (PSS); 0 once it has ended."""
        return int(self._control().memory())

    # ---- on the way to a child

    def __reduce_ex__(self, protocol: Any) -> Any:
        """On the way to a child by spawn or forkserver: first join the arena, then unpickle the rest. A target that the
        child would not find by name goes by value; large buffers of the arguments go in shared memory."""
        reduced: Any = super().__reduce_ex__(protocol)
        if not _handles.is_spawning():
            return reduced
        parts, place, line = tuple(reduced[:3]), self._manyhands_place, self._manyhands_lifeline
        lifeline = None if line is None else _reduction.DupFd(line)
        if place is None:
            return _join_and_make, (None, None, lifeline, _pickle(parts, None), [])
        buffers: list[pickle.PickleBuffer] = []
        data = core._share(_pickle, parts, functools.partial(keep_aside, buffers))
        try:
            records = core._blocks_give(place, buffers)
        except MemoryError:  # through the pipe, then
            data, records = _pickle(parts, None), []
        return _join_and_make, (_handles.send(self, core.arena_fd(), "arena"), place, lifeline, data, records)


def _pickle(parts: Any, aside: Any) -> bytes:
    file = io.BytesIO()
    ByValuePickler(file, pickle.HIGHEST_PROTOCOL, True, aside).dump(parts)
    return file.getvalue()


def _join_and_make(token: Any, place: int | None, lifeline: Any, data: bytes, records: list[Any]) -> Any:
    line = None if lifeline is None else lifeline.detach()
    if line is not None:
        core.die_with(line)  # before anything that takes time
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
    process.__dict__["_manyhands_lifeline"] = line
    _settle(process)
    return process


def _settle(process: Any) -> None:
    """In a child that was not forked, before its bootstrap. What a forked one does is in `ForkLaunch`."""
    if process._manyhands_place is not None:
        core.arena_settle(process._manyhands_place, 0)
    if process._manyhands_logging is not None:
        process._manyhands_logging._install()
    if process._manyhands_method is not None:
        from manyhands.multiprocessing._contexts import _force_start_method

        _force_start_method(process._manyhands_method)
