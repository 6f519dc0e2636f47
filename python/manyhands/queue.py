"""Drop-in for the standard library's ``queue``; the queues are C, and have ``shutdown()`` on every Python."""

from __future__ import annotations

from manyhands import _impl
from manyhands._facade import facade, stdlib_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue import *  # noqa: F403

    from manyhands._impl.queue import ShutDown as ShutDown

_extra: tuple[str, ...] = ()
if _impl.available and not TYPE_CHECKING:
    from manyhands._impl.queue import (
        LifoQueue,
        PriorityQueue,
        Queue,
        ShutDown,
        SimpleQueue,
    )

    _extra = ("ShutDown",)

facade(__name__, stdlib_of("queue"), _extra)
