"""Stress bodies for what happens to the whole process: a fork while threads contend, its end while threads wait."""

from __future__ import annotations

import os
import signal
import sys
import threading as std
import time
import traceback
import warnings
from typing import Any

from stress_crew import Crew, Fault, die_after, expect

CHILD_LIMIT = 60


class Things:
    """What the parent's threads contend for, and what a forked child must find usable."""

    def __init__(self, subject: Any) -> None:
        self.subject = subject
        self.lock, self.rlock = subject.Lock(), subject.RLock()
        self.condition, self.semaphore = subject.Condition(), subject.Semaphore(1)
        self.queue = subject.SimpleQueue()

    def use(self) -> None:
        with self.lock, self.rlock, self.semaphore:
            self.queue.put(1)
        with self.condition:
            self.condition.notify()
            self.condition.wait(0.0001)
        self.queue.get()

    def take(self) -> None:
        self.lock.acquire(), self.rlock.acquire(), self.condition.acquire(), self.semaphore.acquire()

    def give(self) -> None:
        self.lock.release(), self.rlock.release(), self.condition.release(), self.semaphore.release()


def in_child(things: Things, limit: float) -> None:
    """What the forking thread held is held by it here, and free after its release; new things work as ever."""
    die_after(limit)
    things.give()
    for one in (things.lock, things.rlock, things.condition, things.semaphore):
        expect(one.acquire(timeout=limit / 4), f"{one!r} cannot be had in the child")
        one.release()
    fresh = Things(things.subject)
    threads = [things.subject.Thread(target=lambda: [fresh.use() for _ in range(5)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    things.queue.put(2)
    expect(things.queue.get() in (1, 2), "another item")


def fork_once(things: Things, limit: float) -> int:
    things.take()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads is what is tested
        pid = os.fork()
    if pid:
        things.give()
        return pid
    try:
        in_child(things, limit)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def reap(pid: int, limit: float) -> int:
    """The child's exit status. One that has outlived its own limit twice is killed, and counts as failed."""
    end = time.monotonic() + 2 * limit
    while time.monotonic() < end:
        gone, status = os.waitpid(pid, os.WNOHANG)
        if gone:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fork(subject: Any, crew: Crew, rounds: int) -> None:
    """Thread 0 forks while the others contend; each child finds everything usable."""
    things, done = Things(subject), [False]
    limit = min(CHILD_LIMIT, crew.stall / 4)

    def contend(me: int) -> None:
        while not done[0]:
            things.use()
            crew.step(me)

    def forks(me: int) -> None:
        for _ in range(max(3, rounds // 20)):
            status = reap(fork_once(things, limit), limit)
            expect(status == 0, f"a forked child ended with {status}")
            crew.step(me)
        done[0] = True

    crew.run(lambda me: contend(me) if me else forks(me))


def waits(subject: Any) -> list[Any]:
    """Calls that never return."""
    held, rheld, rw = subject.Lock(), subject.RLock(), subject.RWLock()
    full = subject.Queue(1)
    full.put(0)
    busy = subject.Queue()
    busy.put(0)
    holder = std.Thread(target=lambda: (held.acquire(), rheld.acquire(), rw.acquire_write()))
    holder.start()
    holder.join()
    asleep = subject.Thread(target=subject.Event().wait, daemon=True)
    asleep.start()
    condition = subject.Condition()

    def in_condition() -> None:
        with condition:
            condition.wait()

    return [
        held.acquire,
        rheld.acquire,
        rw.acquire_read,
        rw.acquire_write,
        in_condition,
        subject.Semaphore(0).acquire,
        subject.BoundedSemaphore(0).acquire,
        subject.Event().wait,
        subject.Barrier(1000).wait,
        subject.Queue().get,
        lambda: full.put(1),
        busy.join,
        subject.LifoQueue().get,
        subject.PriorityQueue().get,
        subject.SimpleQueue().get,
        asleep.join,
    ]


def shutdown(subject: Any, crew: Crew, rounds: int) -> None:
    """The interpreter ends while daemon threads wait in every way there is, and others contend.

    What is seen of it, its exit status and what it writes, is the parent's to judge.
    """
    calls, things = waits(subject), Things(subject)
    going = std.Semaphore(0)

    def wait(call: Any) -> None:
        going.release()
        call()
        raise Fault(f"{call} returned")

    def contend() -> None:
        going.release()
        while True:
            things.use()

    for i in range(crew.count):
        call = calls[i // 2 % len(calls)] if i % 2 == 0 else None
        target, args = (contend, ()) if call is None else (wait, (call,))
        subject.Thread(target=target, args=args, daemon=True).start()
    for _ in range(crew.count):
        going.acquire()
    time.sleep(0.02)  # most of them sleep by now; that some do not is as well
    die_after(crew.stall)
