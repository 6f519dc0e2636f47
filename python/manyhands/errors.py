"""The exceptions that manyhands adds. Wherever the standard library has one, that very one is raised instead.

Each also subclasses what existing handlers catch. ``WorkerDiedError`` is in ``manyhands.futures``, with its base class.
"""

from __future__ import annotations

import errno

from manyhands._troubles import Code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "Cancelled",
    "DeadlockError",
    "DeadlockWarning",
    "Error",
    "OwnerDiedError",
    "PoisonError",
    "RemoteError",
    "SegmentError",
    "ThreadExit",
]


class Error(Exception):
    """The root of manyhands' own exceptions. `code` is what `python -m manyhands explain` takes."""

    code: str | None = None
    __notes__ = Code()  # pyright: ignore[reportAssignmentType]


class OwnerDiedError(Error, OSError):
    """The owner of a lock was killed while it held it. The lock is not held now; ``lock.recover()`` takes it.

    An ``OSError`` with ``errno.EOWNERDEAD``.
    """

    code = "MH-OWNER-DIED"

    def __init__(self, *args: Any) -> None:
        if not args:
            args = (
                "the owner of this lock died while it held it; lock.recover() acquires it, "
                "and what it guards may be half changed",
            )
        if len(args) == 1:
            args = (errno.EOWNERDEAD, args[0])
        super().__init__(*args)


class Cancelled(Error):
    """A wait was ended by the CancelToken that it was given. The message is the reason given to ``cancel()``."""

    code = "MH-CANCELLED"


class DeadlockError(Error, RuntimeError):
    """This wait would close a ring of threads that wait for each other's locks (``MANYHANDS_DEADLOCK=raise``).

    The lock is not held. The message has the stacks of all threads of the ring.
    """

    code = "MH-DEADLOCK"


class DeadlockWarning(RuntimeWarning):
    """Threads wait for each other's locks, in a ring (``MANYHANDS_DEADLOCK=warn``)."""


class PoisonError(Error):
    """So many consumers died while they had this item of a ``JoinableQueue(redeliver=N)`` that it comes no more.

    Raised by `get`, once, in the place of the item, which counts as done. It was not unpickled: that may be what kills.
    """

    code = "MH-POISON"

    def __init__(self, deaths: int, data: bytes, tag: int) -> None:
        super().__init__(deaths, data, tag)
        self.deaths, self.data, self.tag = deaths, data, tag

    def load(self) -> Any:
        """The item."""
        from manyhands._impl import core

        return core.MessageQueue._load(self.data, self.tag)

    def __str__(self) -> str:
        dead = (
            f"{self.deaths} consumers died while they had this item"
            if self.deaths != 1
            else "a consumer died with it"
        )
        return (
            f"{dead}; it is given up, and counts as done. load() of this exception gives it, where you dare"
        )


class SegmentError(Error, ValueError):
    """What a name stands for cannot be used: another version made it, it is something else, or it is damaged.

    Where it is the version, the message names both.
    """

    code = "MH-SEGMENT"


class RemoteError(Error):
    """Stands for an exception of another process that cannot be sent as itself: its type, message and traceback."""

    def __init__(self, type_name: str, message: str, traceback: str = "") -> None:
        super().__init__(type_name, message, traceback)
        self.type_name, self.message, self.traceback = type_name, message, traceback

    def __str__(self) -> str:
        tail = f"\n\n{self.traceback}" if self.traceback else ""
        return f"{self.type_name}: {self.message}{tail}"


class ThreadExit(SystemExit):
    """Raised inside a thread that was asked to terminate. A ``SystemExit``: ``except Exception`` lets it pass."""
