"""What can be put under stress: ours, the standard library's, and broken twins of the standard library's.

A twin has one fault, which it shows at every Nth call; the stress bodies must report it (test_stress.py).
"""

from __future__ import annotations

import os
import queue as std_queue
import threading as std
import time
from collections import deque
from types import SimpleNamespace
from typing import Any

EVERY = 7


class PlainRWLock:
    """A right and slow one, first come first served; the standard library has none."""

    def __init__(self) -> None:
        self.condition = std.Condition()
        self.readers, self.writing, self.line = 0, False, deque[object]()
        self.read = Side(self.acquire_read, self.release_read)
        self.write = Side(self.acquire_write, self.release_write)

    def may_read(self, ticket: object) -> bool:
        return not self.writing and self.line[0] is ticket

    def may_write(self, ticket: object) -> bool:
        return not self.writing and self.readers == 0 and self.line[0] is ticket

    def enter(self, may: Any, blocking: bool, timeout: float) -> bool:
        """Wait for one's turn. The lock is not taken yet, but nobody else is in between."""
        ticket = object()
        limit = 0.0 if not blocking else None if timeout < 0 else timeout
        self.line.append(ticket)
        try:
            return self.condition.wait_for(lambda: may(ticket), limit)
        finally:
            self.line.remove(ticket)
            self.condition.notify_all()

    def acquire_read(self, blocking: bool = True, timeout: float = -1) -> bool:
        with self.condition:
            got = self.enter(self.may_read, blocking, timeout)
            self.readers += got
            return got

    def acquire_write(self, blocking: bool = True, timeout: float = -1) -> bool:
        with self.condition:
            got = self.enter(self.may_write, blocking, timeout)
            self.writing = self.writing or got
            return got

    def release_read(self) -> None:
        with self.condition:
            self.readers -= 1
            self.condition.notify_all()

    def release_write(self) -> None:
        with self.condition:
            self.writing = False
            self.condition.notify_all()


class Side:
    def __init__(self, acquire: Any, release: Any) -> None:
        self.acquire, self.release = acquire, release

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Nth:
    """True at every Nth call; the calls may come from any thread."""

    def __init__(self) -> None:
        self.calls, self.guard = 0, std.Lock()

    def __call__(self) -> bool:
        with self.guard:
            self.calls += 1
            return self.calls % EVERY == 0


# ---- locks


class LetsTwoIn:
    """A lock that is had at every Nth call although another holds it."""

    make: Any = std.Lock

    def __init__(self) -> None:
        self.lock, self.nth, self.guests, self.guard = self.make(), Nth(), list[int](), std.Lock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self.nth() or std.get_ident() in self.guests:
            self.guests.append(std.get_ident())
            return True
        return self.lock.acquire(blocking, timeout)

    def release(self) -> None:
        if std.get_ident() in self.guests:
            self.guests.remove(std.get_ident())
        else:
            self.lock.release()

    def locked(self) -> bool:
        return False


class RLockLetsTwoIn(LetsTwoIn):
    make = std.RLock


class ConditionLetsTwoIn(std.Condition):
    def __init__(self) -> None:
        super().__init__(LetsTwoIn())  # type: ignore[arg-type]


class Unfair:
    """A lock that never goes to the thread that asked first of all while another wants it."""

    def __init__(self) -> None:
        self.condition, self.held, self.wanting, self.victim = std.Condition(), False, 0, 0

    def __enter__(self) -> None:
        with self.condition:
            me = std.get_ident()
            self.victim = self.victim or me
            self.wanting += 1
            self.condition.wait_for(lambda: not self.held and (me != self.victim or self.wanting == 1))
            self.wanting -= 1
            self.held = True

    def __exit__(self, *_: object) -> None:
        with self.condition:
            self.held = False
            self.condition.notify_all()
        time.sleep(0)


class StuckInChild:
    """A lock of which a forked child can have nothing any more."""

    def __init__(self) -> None:
        self.lock, self.pid = std.Lock(), os.getpid()
        self.acquire, self.release = self.have, self.lock.release

    def have(self, blocking: bool = True, timeout: float = -1) -> bool:
        return os.getpid() == self.pid and self.lock.acquire(blocking, timeout)

    def __enter__(self) -> None:
        self.have()

    def __exit__(self, *_: object) -> None:
        self.release()


class WritesBesideReaders(PlainRWLock):
    def __init__(self) -> None:
        super().__init__()
        self.nth = Nth()

    def may_write(self, ticket: object) -> bool:
        return super().may_write(ticket) or (self.line[0] is ticket and not self.writing and self.nth())


class ReadsBesideWriters(PlainRWLock):
    def __init__(self) -> None:
        super().__init__()
        self.nth = Nth()

    def may_read(self, ticket: object) -> bool:
        return super().may_read(ticket) or self.nth()


class ReadersFirst(PlainRWLock):
    """Readers overtake a writer for as long as there are any."""

    def may_read(self, ticket: object) -> bool:
        return not self.writing

    def acquire_write(self, blocking: bool = True, timeout: float = -1) -> bool:
        with self.condition:
            limit = 0.0 if not blocking else None if timeout < 0 else timeout
            got = self.condition.wait_for(lambda: not self.writing and self.readers == 0, limit)
            self.writing = self.writing or got
            return got


# ---- conditions, semaphores, events, barriers


class LosesNotify(std.Condition):
    def __init__(self, lock: Any = None) -> None:
        super().__init__(lock)
        self.nth = Nth()

    def notify(self, n: int = 1) -> None:
        if not self.nth():
            super().notify(n)


class WaitsOnlyOnce(std.Condition):
    """A wait_for() that does not look whether what it waits for is true."""

    def wait_for(self, predicate: Any, timeout: float | None = None) -> Any:
        if not predicate():
            self.wait(0.0001)
        return predicate()


class WakesTheLast(std.Condition):
    def notify(self, n: int = 1) -> None:
        self._waiters: Any
        self._waiters.reverse()
        super().notify(n)
        self._waiters.reverse()


class WakesOneMore(std.Condition):
    def notify(self, n: int = 1) -> None:
        super().notify(n + 1)


def semaphore_that(fault: int) -> Any:
    class Miscounts(std.Semaphore):
        """Releases one permit too many, or too few, at every Nth call."""

        def __init__(self, value: int = 1) -> None:
            super().__init__(value)
            self.nth = Nth()

        def release(self, n: int = 1) -> None:
            n += fault * self.nth()
            if n:
                super().release(n)

    return Miscounts


class LosesSet(std.Event):
    """A set() that does not wake those who are on their way to sleep, or sleep."""

    nth = Nth()

    def set(self) -> None:
        if not self.nth():
            super().set()


class LeftBySignal(std.Event):
    """A wait that ends as soon as a signal has been handled."""

    def wait(self, timeout: float | None = None) -> bool:
        before = SIGNALS[0]
        while not super().wait(0.001):
            if SIGNALS[0] != before:
                return False
        return True


class PassesEarly(std.Barrier):
    def __init__(self, parties: int) -> None:
        super().__init__(parties)
        self.nth = Nth()

    def wait(self, timeout: float | None = None) -> int:
        return 0 if self.nth() else super().wait(timeout)


class SameIndex(std.Barrier):
    def wait(self, timeout: float | None = None) -> int:
        return super().wait(timeout) and 1


# ---- queues and threads


def queue_that(base: Any, fault: str) -> Any:
    class Broken(base):  # type: ignore[misc]
        """Drops, doubles or holds back every Nth item. An END (a large number) is passed as it is."""

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.nth, self.back = Nth(), deque[Any]()

        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            if item[0] < 1 << 40 and fault == "drops" and self.nth():
                return
            if item[0] < 1 << 40 and fault == "swaps" and self.nth():
                self.back.append(item)
                return
            super().put(item, block, timeout)
            if item[0] < 1 << 40 and fault == "doubles" and self.nth():
                super().put(item)
            while self.back:
                super().put(self.back.pop())

    return Broken


class LosesWakeUps(std_queue.Queue):  # type: ignore[type-arg]
    """Every Nth put() wakes nobody."""

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self.not_empty = LosesNotify(self.mutex)


class LastIsFirst(std_queue.PriorityQueue):  # type: ignore[type-arg]
    """Keeps no order."""

    def _put(self, item: Any) -> None:
        self.queue.append(item)

    def _get(self) -> Any:
        return self.queue.pop()


class JoinsEarly(std_queue.Queue):  # type: ignore[type-arg]
    def join(self) -> None:
        with self.all_tasks_done:
            self.all_tasks_done.wait_for(lambda: self.unfinished_tasks < 3, 0.0001)


class JoinReturnsEarly(std.Thread):
    nth = Nth()

    def join(self, timeout: float | None = None) -> None:
        if not self.nth():
            super().join(timeout)


class KeepsTheProcess(std.Event):
    """A wait that leaves something behind for which the interpreter waits at its end."""

    def wait(self, timeout: float | None = None) -> bool:
        std.Thread(target=super().wait, args=(timeout,), daemon=False).start()
        return super().wait(timeout)


SIGNALS = [0]  # how many were handled

# name: what is replaced, the body that must see it, how it is reported (in the words of the report)
TWINS: dict[str, tuple[dict[str, Any], str, str]] = {
    "lock-lets-two-in": ({"Lock": LetsTwoIn}, "lock", "inside at once"),
    "rlock-lets-two-in": ({"RLock": RLockLetsTwoIn}, "rlock", "inside at once"),
    "condition-lets-two-in": ({"Condition": ConditionLetsTwoIn}, "condition_lock", "inside at once"),
    "lock-unfair": ({"Lock": Unfair}, "fairness", "starved"),
    "lock-stuck-in-child": ({"Lock": StuckInChild}, "fork", "a forked child ended with"),
    "rwlock-writes-beside-readers": ({"RWLock": WritesBesideReaders}, "rwlock", "while"),
    "rwlock-reads-beside-writers": ({"RWLock": ReadsBesideWriters}, "rwlock", "while"),
    "rwlock-readers-first": ({"RWLock": ReadersFirst}, "rwlock_fairness", "overtook a writer"),
    "condition-loses-notify": ({"Condition": LosesNotify}, "condition_turns", "HANG"),
    "condition-waits-only-once": ({"Condition": WaitsOnlyOnce}, "condition_tokens", "without a token"),
    "condition-wakes-the-last": (
        {"Condition": WakesTheLast},
        "condition_order",
        "a thread woke that was not",
    ),
    "condition-wakes-one-more": (
        {"Condition": WakesOneMore},
        "condition_order",
        "a thread woke that was not",
    ),
    "semaphore-one-more": ({"Semaphore": semaphore_that(1)}, "semaphore", "permits"),
    "semaphore-one-less": ({"Semaphore": semaphore_that(-1)}, "semaphore", "HANG"),
    "event-loses-set": ({"Event": LosesSet}, "event", "HANG"),
    "event-left-by-signal": ({"Event": LeftBySignal}, "event", "came back without the event"),
    "barrier-passes-early": ({"Barrier": PassesEarly}, "barrier", "before all had come"),
    "barrier-same-index": ({"Barrier": SameIndex}, "barrier", "index"),
    "queue-loses-wake-ups": ({"Queue": LosesWakeUps}, "queue_bounded", "HANG"),
    "queue-joins-early": ({"Queue": JoinsEarly}, "queue_join", "tasks undone"),
    "queue-priority-without-order": ({"PriorityQueue": LastIsFirst}, "queue_priority", "out of order"),
    "queue-lifo-first-in": ({"LifoQueue": std_queue.Queue}, "queue_lifo", "out of order"),
    "thread-join-returns-early": ({"Thread": JoinReturnsEarly}, "thread_join", "before the thread had ended"),
    "event-keeps-the-process": ({"Event": KeepsTheProcess}, "shutdown", "in _shutdown"),
}
for _name, _body in (
    ("Queue", "queue"),
    ("SimpleQueue", "queue_simple"),
    ("LifoQueue", "queue_lifo"),
    ("PriorityQueue", "queue_priority"),
):
    for _fault, _report in (("drops", "lost"), ("doubles", "doubled"), ("swaps", "out of order")):
        if _fault != "swaps" or _body in ("queue", "queue_simple"):  # of the others the order shows otherwise
            _base = getattr(std_queue, _name)
            if _name == "SimpleQueue":
                _base = std_queue._PySimpleQueue  # type: ignore[attr-defined]  # the C one has no subclasses
            _key = f"{_body.replace('_', '-')}-{_fault}"
            TWINS[_key] = ({_name: queue_that(_base, _fault)}, _body, _report)

NAMES = ["Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier", "Thread"]
QUEUES = ["Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "Empty", "Full"]


def subject(name: str) -> SimpleNamespace:
    """The classes called `name`: ours, stdlib, or a twin."""
    if name == "ours":
        import manyhands.queue as our_queue
        import manyhands.threading as ours

        found = {n: getattr(ours, n) for n in [*NAMES, "RWLock"]}
        return SimpleNamespace(**found, **{n: getattr(our_queue, n) for n in QUEUES})
    found = {n: getattr(std, n) for n in NAMES} | {n: getattr(std_queue, n) for n in QUEUES}
    replaced = {} if name == "stdlib" else TWINS[name][0]
    return SimpleNamespace(**(found | {"RWLock": PlainRWLock} | replaced))
