"""The queues of the compiled core, and ShutDown where the standard library has none (before Python 3.13)."""

from __future__ import annotations

import struct
import sys

from manyhands._facade import stdlib_of
from manyhands._impl import core, set_module, strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LifoQueue", "PriorityQueue", "Queue", "ShutDown", "SimpleQueue"]

std: Any = stdlib_of("queue")


class _ShutDown(Exception):
    """Raised by put() and get() of a queue that was shut down."""


_ShutDown.__module__, _ShutDown.__name__, _ShutDown.__qualname__ = "manyhands.queue", "ShutDown", "ShutDown"
if TYPE_CHECKING:

    class ShutDown(Exception): ...

else:
    ShutDown = getattr(std, "ShutDown", _ShutDown)

for _name, _value in (("Empty", std.Empty), ("Full", std.Full), ("ShutDown", ShutDown)):
    core._bind(_name, _value)

LifoQueue = core.LifoQueue
PriorityQueue = core.PriorityQueue
Queue = core.Queue
SimpleQueue = core.SimpleQueue
if strict and sys.version_info >= (3, 15):

    def _sizeof(queue: Any) -> int:
        """What the standard library's would take: its C struct, and a ring of a power of two, eight at least."""
        return struct.calcsize("nP?nnPnnP0n") + struct.calcsize("P") * max(
            8, 1 << (queue.qsize() - 1).bit_length()
        )

    SimpleQueue.__sizeof__ = _sizeof

set_module("queue", "manyhands.queue", LifoQueue, PriorityQueue, Queue)
set_module("_queue", "manyhands.queue", SimpleQueue)
