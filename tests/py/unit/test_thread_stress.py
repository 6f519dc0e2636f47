"""Threads that use everything at once while others pause, end and replace them; then all must be free and whole."""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import manyhands
import manyhands.queue as queue
import manyhands.threading as threading
import pytest

SECONDS = 1.5
WORKERS = 5


class Everything:
    """One of each, and a step that uses one of them."""

    def __init__(self) -> None:
        self.lock, self.rlock = threading.Lock(), threading.RLock()
        self.rw = threading.RWLock()
        self.condition, self.event = threading.Condition(), threading.Event()
        self.semaphore, self.barrier = threading.Semaphore(2), threading.Barrier(3)
        self.queue: Any = queue.Queue(5)
        self.heap: Any = queue.PriorityQueue(3)
        self.simple: Any = queue.SimpleQueue()
        self.inside = 0
        self.clashes = 0

    def with_lock(self, random_: random.Random, timeout: float) -> None:
        if self.lock.acquire(timeout=timeout):
            try:
                self.inside += 1
                self.clashes += self.inside != 1
                self.inside -= 1
            finally:
                self.lock.release()

    def with_rlock(self, random_: random.Random, timeout: float) -> None:
        with self.rlock, self.rlock:
            pass

    def with_rwlock(self, random_: random.Random, timeout: float) -> None:
        if random_.random() < 0.6:
            if self.rw.acquire_read(timeout=timeout):
                self.rw.release_read()
        elif self.rw.acquire_write(timeout=timeout):
            self.rw.release_write()

    def with_condition(self, random_: random.Random, timeout: float) -> None:
        with self.condition:
            if random_.random() < 0.5:
                self.condition.wait(timeout)
            else:
                self.condition.notify(random_.randrange(3))

    def with_semaphore(self, random_: random.Random, timeout: float) -> None:
        if self.semaphore.acquire(timeout=timeout):
            self.semaphore.release()

    def with_event(self, random_: random.Random, timeout: float) -> None:
        if random_.random() < 0.5:
            self.event.set()
        else:
            self.event.clear()
        self.event.wait(timeout)

    def with_barrier(self, random_: random.Random, timeout: float) -> None:
        try:
            self.barrier.wait(timeout)
        except threading.BrokenBarrierError:
            self.barrier.reset()

    def with_queues(self, random_: random.Random, timeout: float) -> None:
        with contextlib.suppress(queue.Full, queue.Empty):
            which = random_.choice([self.queue, self.heap, self.simple])
            which.put(random_.random(), timeout=timeout)
            if which is self.heap:
                with which.mutex:
                    assert len(which.queue) <= 3
            which.get(timeout=timeout)

    def step(self, random_: random.Random) -> None:
        names = ["lock", "rlock", "rwlock", "condition", "semaphore", "event", "barrier", "queues"]
        method = getattr(self, "with_" + random_.choice(names))
        method(random_, random_.choice([0, 0.0005, 0.003]))

    def all_free(self) -> bool:
        held = [self.lock.locked(), self.rlock.locked(), self.rw.readers, self.rw.writing]  # type: ignore[attr-defined]
        held += [self.condition._waiters, self.queue.mutex.locked(), self.heap.mutex.locked()]  # type: ignore[attr-defined]
        return not any(held) and self.semaphore._value == 2


@pytest.fixture
def signals() -> Iterator[list[float]]:
    """A signal every few ms, handled in the main thread."""
    seen: list[float] = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(time.monotonic()))
    signal.setitimer(signal.ITIMER_REAL, 0.004, 0.004)
    yield seen
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.stress
def test_everything_at_once(signals: list[float]) -> None:
    things, end = Everything(), time.monotonic() + SECONDS

    def work(seed: int) -> None:
        random_ = random.Random(seed)
        while time.monotonic() < end:
            things.step(random_)
            manyhands.checkpoint()

    def start(seed: int) -> threading.Thread:
        thread = threading.Thread(target=work, args=(seed,))
        thread.start()
        return thread

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    random_, seed = random.Random(7), WORKERS
    threads, paused, ended = [start(i) for i in range(WORKERS)], 0, 0
    try:
        while time.monotonic() < end - 0.1:
            place = random_.randrange(WORKERS)
            if random_.random() < 0.7:
                paused += threads[place].pause(10)
                threads[place].resume()
            else:
                threads[place].terminate()
                threads[place].join(30)
                assert threads[place].outcome == "terminated"
                ended += 1
                seed += 1
                threads[place] = start(seed)
    finally:
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert things.all_free()
    assert things.clashes == 0
    assert min(paused, ended, len(signals)) > 10
