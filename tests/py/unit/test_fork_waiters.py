"""A fork while other threads wait: in the child they are gone, and what they waited at is as good as new."""

from __future__ import annotations

import os
import signal
import threading as std
import traceback
from collections.abc import Callable
from typing import Any

import manyhands.queue as queue
import manyhands.threading as threading
import pytest

WAITERS = 3


def in_condition(condition: Any) -> None:
    with condition:
        condition.wait()


def use_condition(condition: Any) -> None:
    with condition:
        condition.notify()
        condition.notify_all()
        assert condition.wait(0.01) is False


def use_queue(made: Any) -> None:
    made.put("child's")
    assert made.get(timeout=30) == "child's"


def use_barrier(barrier: Any) -> None:
    with pytest.raises(std.BrokenBarrierError):
        barrier.wait(0.01)
    assert barrier.n_waiting == 0
    barrier.reset()


def read_locked() -> Any:
    lock = threading.RWLock()
    lock.acquire_read()
    return lock


def use_rwlock(lock: Any) -> None:
    lock.release_read()
    with lock.write:
        assert lock.writing
    lock.acquire_read()


# what is waited at, the wait, its use in the child; what ends a wait in the parent
CASES: dict[
    str, tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]
] = {
    "Queue": (queue.Queue, lambda q: q.get(), use_queue, lambda q: q.put(1)),
    "SimpleQueue": (queue.SimpleQueue, lambda q: q.get(), use_queue, lambda q: q.put(1)),
    "Condition": (
        threading.Condition,
        in_condition,
        use_condition,
        lambda c: (c.acquire(), c.notify(), c.release()),
    ),
    "Event": (threading.Event, lambda e: e.wait(), lambda e: (e.set(), e.wait(30)), lambda e: e.set()),
    "Semaphore": (
        lambda: threading.Semaphore(0),
        lambda s: s.acquire(),
        lambda s: (s.release(), s.acquire(timeout=30)),
        lambda s: s.release(),
    ),
    "Barrier": (
        lambda: threading.Barrier(WAITERS + 1),
        lambda b: b.wait(),
        use_barrier,
        lambda b: b.n_waiting and b.wait(30),
    ),
    "RWLock": (
        read_locked,
        lambda lock: lock.acquire_write() and lock.release_write(),
        use_rwlock,
        lambda lock: lock.readers and lock.release_read(),
    ),
}


def stacks_used_anew() -> None:
    """New threads take the memory of the stacks on which the parent's threads waited."""
    for _ in range(2):
        threads = [std.Thread(target=bytes, args=(10,)) for _ in range(2 * WAITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", CASES)
def test_the_child_can_use_it(name: str) -> None:
    make, wait, use, wake = CASES[name]
    thing = make()
    threads = [threading.Thread(target=wait, args=(thing,)) for _ in range(WAITERS)]
    for thread in threads:
        thread.start()
        assert thread.pause(30)  # inside its wait
        thread.resume()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(60)
            stacks_used_anew()
            for _ in range(3):
                use(thing)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for _ in threads:
        wake(thing)
    for thread in threads:
        thread.join(30)
    assert status == 0
    assert not any(thread.is_alive() for thread in threads), "the parent's own wake"
