"""The one table of every blocking call of manyhands.threading and manyhands.queue.

A row makes its objects and returns `call(timeout, cancel=token)`, which would wait for ever, or for `timeout`
seconds, or until the token is cancelled; what it raises at the end of its time is taken here. Calls that have
no time limit (`join` of a queue, a `with` statement) have none here either.
"""

from __future__ import annotations

import threading as std
from collections.abc import Callable
from typing import Any

import manyhands.queue as queue
import manyhands.threading as threading

Call = Callable[..., Any]


STOPS: list[std.Event] = []  # end the threads that hold locks, and those that were made to be joined


def held(lock: Any, acquire: str = "acquire") -> Any:
    """The lock, held by a thread that stays: another may get the number of one that went, and an RLock goes by that."""
    stop, holding = std.Event(), std.Event()
    STOPS.append(stop)

    def hold() -> None:
        getattr(lock, acquire)()
        holding.set()
        stop.wait()

    std.Thread(target=hold, daemon=True).start()
    holding.wait()
    return lock


def unless(error: type[Exception], call: Call) -> Call:
    """The call, whose time-out is this exception."""

    def attempt(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except error:
            return False

    return attempt


def acquiring(acquire: Call) -> Call:
    return lambda timeout=None, **more: (
        acquire(**more) if timeout is None else acquire(timeout=timeout, **more)
    )


def in_condition(method: str, *args: Any) -> Call:
    condition = threading.Condition()

    def wait(timeout: float | None = None, **more: Any) -> Any:
        with condition:
            return getattr(condition, method)(*args, timeout, **more)

    return wait


def full() -> Any:
    made = queue.Queue[int](1)
    made.put(0)
    return made


def entering(thing: Any) -> Call:
    def enter() -> None:
        with thing:
            raise AssertionError("a lock that is held was entered")

    return enter


def unfinished() -> Call:
    made = full()
    return lambda **more: made.join(**more)


def sleeping_thread() -> Call:
    STOPS.append(std.Event())
    thread = threading.Thread(target=STOPS[-1].wait, daemon=True)
    thread.start()
    return thread.join


def putting(made: Any) -> Call:
    return unless(queue.Full, lambda timeout=None, **more: made.put(1, timeout=timeout, **more))


def getting(made: Any) -> Call:
    return unless(queue.Empty, lambda timeout=None, **more: made.get(timeout=timeout, **more))


# All that take a time limit.
TIMED: dict[str, Callable[[], Call]] = {
    "Lock.acquire": lambda: acquiring(held(threading.Lock()).acquire),
    "RLock.acquire": lambda: acquiring(held(threading.RLock()).acquire),
    "Semaphore.acquire": lambda: acquiring(threading.Semaphore(0).acquire),
    "BoundedSemaphore.acquire": lambda: acquiring(threading.BoundedSemaphore(0).acquire),
    "Condition.acquire": lambda: acquiring(held(threading.Condition()).acquire),
    "Condition.wait": lambda: in_condition("wait"),
    "Condition.wait_for": lambda: in_condition("wait_for", bool),
    "Event.wait": lambda: threading.Event().wait,
    "Barrier.wait": lambda: unless(threading.BrokenBarrierError, threading.Barrier(2).wait),
    "RWLock.acquire_read": lambda: acquiring(held(threading.RWLock(), "acquire_write").acquire_read),
    "RWLock.acquire_write": lambda: acquiring(held(threading.RWLock(), "acquire_read").acquire_write),
    "RWLock.read.acquire": lambda: acquiring(held(threading.RWLock(), "acquire_write").read.acquire),
    "RWLock.write.acquire": lambda: acquiring(held(threading.RWLock(), "acquire_read").write.acquire),
    "Queue.get": lambda: getting(queue.Queue()),
    "Queue.put": lambda: putting(full()),
    "LifoQueue.get": lambda: getting(queue.LifoQueue()),
    "PriorityQueue.get": lambda: getting(queue.PriorityQueue()),
    "SimpleQueue.get": lambda: getting(queue.SimpleQueue()),
    "Thread.join": sleeping_thread,
}

# Those that have none.
ENDLESS: dict[str, Callable[[], Call]] = {
    "with Lock": lambda: entering(held(threading.Lock())),
    "with RLock": lambda: entering(held(threading.RLock())),
    "with Semaphore": lambda: entering(threading.Semaphore(0)),
    "with Condition": lambda: entering(held(threading.Condition())),
    "with RWLock.read": lambda: entering(held(threading.RWLock(), "acquire_write").read),
    "with RWLock.write": lambda: entering(held(threading.RWLock(), "acquire_read").write),
    "Queue.join": unfinished,
}

ALL = TIMED | ENDLESS

# Those that take a cancel token: all but `with`.
CANCELLABLE = TIMED | {"Queue.join": unfinished}
