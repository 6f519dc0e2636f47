"""What every thread is doing: its state, its stack, what it holds, what it waits for and since when."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import FrameType

from manyhands._facade import stdlib_of
from manyhands._impl import core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

__all__ = ["Wait", "current_frames", "describe", "dump", "held", "report", "stack_of", "waits"]

std: Any = stdlib_of("threading")


class Wait:
    """One thread's wait in a call of manyhands.

    `ident` is the thread's, `key` the same in the words of locks, `what` the lock, queue or event, `seconds` how long
    it has lasted, `owner` the key of the thread that holds `what`; 0: nobody does, or it is no lock.
    """

    __slots__ = ("ident", "key", "owner", "seconds", "what")

    def __init__(self, ident: int, key: int, what: Any, seconds: float, owner: int) -> None:
        self.ident, self.key, self.what, self.seconds, self.owner = ident, key, what, seconds, owner


def current_frames() -> dict[int, FrameType]:
    """The innermost frame of each thread of this interpreter, by ident.

    `sys._current_frames()` also reaches into other interpreters, whose GIL we do not hold: memory is corrupted.
    """
    return sys._current_frames() if core is None else core._current_frames()


def waits() -> list[Wait]:
    """Every wait of this interpreter, the newest first. A thread whose signal handler waits, too, is there twice."""
    return [] if core is None else [Wait(*item) for item in core._waits()]


def held() -> list[tuple[int, Any]]:
    """Each lock that is held, with the ident of the thread that acquired it."""
    return [] if core is None else core._held()


def describe(thing: Any) -> str:
    """The thing in a few words: its repr, where that one may be called."""
    try:
        return repr(thing)
    except Exception as error:  # a subclass's repr may do anything; the report goes on
        return f"<{type(thing).__name__} at {id(thing):#x}, whose repr raised {type(error).__name__}>"


def stack_of(frame: Any) -> str:
    """The stack below `frame`, outermost call first, indented."""
    import traceback  # here: from 3.14 on it imports dataclasses, and these inspect: 5 ms of a start

    return "".join(f"    {line}\n" for entry in traceback.format_stack(frame) for line in entry.splitlines())


def _names(found: Iterable[Wait]) -> dict[int, str]:
    """Names of threads by key. A thread that waits tells its key; of others it is the system's thread id."""
    by_ident = {thread.ident: thread.name for thread in std.enumerate()}
    names = {thread.native_id: thread.name for thread in std.enumerate()}
    return names | {wait.key: by_ident.get(wait.ident, f"ident {wait.ident}") for wait in found}


def _state(thread: Any, waiting: bool) -> str:
    state = str(getattr(thread, "state", ""))
    if state in ("", "running"):
        return "waiting" if waiting else "running"
    return state


def _holds(
    ident: int, mine: list[Wait], thread: Any, found: list[Wait], locks: list[tuple[int, Any]]
) -> list[str]:
    keys = {wait.key for wait in mine} or {getattr(thread, "native_id", 0)}
    wanted = {id(wait.what): wait.what for wait in found if wait.owner in keys}
    own = {id(what): what for holder, what in locks if holder == ident}
    waited = [f"  holds {describe(what)}, which others wait for\n" for what in wanted.values()]
    return waited + [f"  holds {describe(what)}\n" for number, what in own.items() if number not in wanted]


def _report(
    ident: int, frame: Any, found: list[Wait], locks: list[tuple[int, Any]], names: dict[int, str]
) -> str:
    thread = std._active.get(ident)
    mine = [wait for wait in found if wait.ident == ident]
    name = thread.name if thread is not None else "(not started by threading)"
    lines = [
        f"thread {name!r} (ident {ident}, id {getattr(thread, 'native_id', '?')}): {_state(thread, bool(mine))}\n"
    ]
    for wait in mine:
        owner = f", held by {names.get(wait.owner, wait.owner)!r}" if wait.owner else ""
        lines.append(f"  waits for {describe(wait.what)} since {wait.seconds:.3f} s{owner}\n")
    lines += _holds(ident, mine, thread, found, locks)
    return "".join(lines) + stack_of(frame)


def dump(file: TextIO | None = None) -> None:
    """Write to `file` (standard error) what every Python thread of this interpreter is doing.

    For each thread: its name and state, the stack of its calls, for what it waits in a call of manyhands, for how many
    seconds and which thread holds it, and which locks of manyhands it holds. The standard library's own primitives are
    not among them: a wait in one of those only the stack shows.

    Any thread may call it, and a signal handler of Python. It stops nobody: what it says of running threads is out of
    date when you read it. In a forked child it tells of the child's threads.
    """
    (sys.stderr if file is None else file).write(report(sys._getframe(1)))


def report(here: Any) -> str:
    """The text of `dump()`. `here` is the frame of the calling thread to begin at."""
    found = waits()
    names = _names(found)
    frames = current_frames() | {std.get_ident(): here}
    locks = held()
    return "\n".join(_report(ident, frame, found, locks, names) for ident, frame in frames.items())
