"""The queues of the compiled core, and ShutDown where the standard library has none (before Python 3.13)."""

from __future__ import annotations

import sys
from typing import Any

from manyhands._facade import stdlib_of
from manyhands._impl import core, set_module, strict

__all__ = ["LifoQueue", "PriorityQueue", "Queue", "ShutDown", "SimpleQueue"]

std: Any = stdlib_of("queue")


class _ShutDown(Exception):
    """Raised by put() and get() of a queue that was shut down."""


_ShutDown.__module__, _ShutDown.__name__, _ShutDown.__qualname__ = "manyhands.queue", "ShutDown", "ShutDown"
ShutDown: type[Exception] = getattr(std, "ShutDown", _ShutDown)

for _name, _value in (("Empty", std.Empty), ("Full", std.Full), ("ShutDown", ShutDown)):
    core._bind(_name, _value)

LifoQueue = core.LifoQueue
PriorityQueue = core.PriorityQueue
Queue = core.Queue
SimpleQueue = core.SimpleQueue
if strict and sys.version_info >= (3, 15):  # whose tests want the size of its C struct, to the byte
    SimpleQueue = std.SimpleQueue

set_module("queue", "manyhands.queue", LifoQueue, PriorityQueue, Queue)
if SimpleQueue is core.SimpleQueue:
    set_module("_queue", "manyhands.queue", SimpleQueue)
