"""What is done about threads that wait for each other's locks, in a ring: MANYHANDS_DEADLOCK=warn or raise.

The core looks for the ring when a thread begins to wait for a lock, and calls report() with it. Unless the variable is
set nothing is bound, and nothing is looked for.
"""

from __future__ import annotations

import functools
import os
import warnings

from manyhands._facade import stdlib_of
from manyhands._impl import core
from manyhands._impl.dump import Wait, current_frames, describe, stack_of
from manyhands.errors import DeadlockError, DeadlockWarning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["bind", "report", "text_of"]

std: Any = stdlib_of("threading")
MODES = ("", "off", "warn", "raise")


def mode() -> str:
    """What is asked for. A value that is none of MODES counts as "warn", and that is said."""
    asked = os.environ.get("MANYHANDS_DEADLOCK", "")
    if asked in MODES:
        return asked
    warnings.warn(
        f"MANYHANDS_DEADLOCK={asked!r} is not known; it is off, warn or raise. Taken for warn.",
        RuntimeWarning,
        stacklevel=2,
    )
    return "warn"


def text_of(ring: list[Wait]) -> str:
    """The ring in words, with the stacks of all its threads."""
    names = {thread.ident: thread.name for thread in std.enumerate()}
    frames = current_frames()
    parts = [f"deadlock: {len(ring)} threads wait for each other's locks\n"]
    for at, wait in enumerate(ring):
        holder = ring[(at + 1) % len(ring)].ident
        parts.append(
            f"  thread {names.get(wait.ident, wait.ident)!r} waits for {describe(wait.what)}, "
            f"held by {names.get(holder, holder)!r}\n"
        )
        if wait.ident in frames:
            parts.append(stack_of(frames[wait.ident]))
    return "".join(parts)


def report(asked: str, ring: list[tuple[int, int, Any, float, int]], may_raise: bool) -> None:
    """Called by the core, in the thread whose wait closes the ring, before it sleeps."""
    text = text_of([Wait(*item) for item in ring])
    if may_raise and asked == "raise":
        raise DeadlockError(text)
    warnings.warn(text, DeadlockWarning, stacklevel=2)


def bind() -> None:
    """Make the core look for rings, if the environment asks for it."""
    asked = mode()
    if asked in ("warn", "raise"):
        core._bind("deadlock", functools.partial(report, asked))
