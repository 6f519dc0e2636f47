"""threading: primitives used by one thread, and two threads that take turns on one core."""

from __future__ import annotations

import time
from typing import Any

from bench.runner import repeated, row, timed


def _pair(primitive: Any) -> Any:
    return repeated("acquire(); release()", acquire=primitive.acquire, release=primitive.release)


@row("thread/lock", "threading.Lock")
def lock(side: Any) -> Any:
    return _pair(side.threading.Lock())


@row("thread/rlock", "threading.RLock")
def rlock(side: Any) -> Any:
    return _pair(side.threading.RLock())


@row("thread/semaphore", "threading.Semaphore")
def semaphore(side: Any) -> Any:
    return _pair(side.threading.Semaphore())


@row("thread/bounded-semaphore", "threading.BoundedSemaphore")
def bounded_semaphore(side: Any) -> Any:
    return _pair(side.threading.BoundedSemaphore())


@row("thread/lock-with", "threading.Lock")
def lock_with(side: Any) -> Any:
    return repeated("with guard: pass", guard=side.threading.Lock())


@row("thread/condition-notify", "threading.Condition")
def condition_notify(side: Any) -> Any:
    return repeated("with condition: condition.notify()", condition=side.threading.Condition())


@row("thread/event-set", "threading.Event")
def event_set(side: Any) -> Any:
    return timed(side.threading.Event().set)


@row("thread/event-wait", "threading.Event")
def event_wait(side: Any) -> Any:
    event = side.threading.Event()
    event.set()
    return timed(event.wait)


@row("thread/barrier", "threading.Barrier")
def barrier(side: Any) -> Any:
    return timed(side.threading.Barrier(1).wait)


@row("thread/python-loop", "threading.Thread")
def python_loop(side: Any) -> Any:
    """Python code in a thread that could be paused and ended at any moment, while nobody asks for it."""

    def run(n: int) -> float:
        took: list[int] = []

        def work() -> None:
            total = 0
            started = time.perf_counter_ns()
            for i in range(n):
                total += i
            took.append(time.perf_counter_ns() - started)

        thread = side.threading.Thread(target=work)
        thread.start()
        thread.join()
        return took[0]

    return run


@row("thread/start-join", "threading.Thread")
def start_join(side: Any) -> Any:
    Thread = side.threading.Thread

    def operation() -> None:
        thread = Thread(target=int)
        thread.start()
        thread.join()

    return timed(operation)


def take_turns(Thread: Any, here: Any, there: Any) -> Any:
    """run(n): `here()` in this thread answers `there()` in another, n times."""

    def run(n: int) -> float:
        def other() -> None:
            for _ in range(n):
                there()

        thread = Thread(target=other)
        thread.start()
        started = time.perf_counter_ns()
        for _ in range(n):
            here()
        took = time.perf_counter_ns() - started
        thread.join()
        return took

    return run


@row("thread/pingpong-lock", "threading.Lock", pinned=True)
def pingpong_lock(side: Any) -> Any:
    ping, pong = side.threading.Lock(), side.threading.Lock()
    ping.acquire()
    pong.acquire()

    def here() -> None:
        ping.release()
        pong.acquire()

    def there() -> None:
        ping.acquire()
        pong.release()

    return take_turns(side.threading.Thread, here, there)


@row("thread/pingpong-event", "threading.Event", pinned=True)
def pingpong_event(side: Any) -> Any:
    ping, pong = side.threading.Event(), side.threading.Event()

    def here() -> None:
        ping.set()
        pong.wait()
        pong.clear()

    def there() -> None:
        ping.wait()
        ping.clear()
        pong.set()

    return take_turns(side.threading.Thread, here, there)


def condition_turns(condition: Any, turn: Any) -> tuple[Any, Any]:
    """Two operations that hand `turn[0]` back and forth under one condition."""

    def give(mine: int) -> None:
        with condition:
            turn[0] = 1 - mine
            condition.notify()
            while turn[0] != mine:
                condition.wait()

    def answer(mine: int) -> None:
        with condition:
            while turn[0] != mine:
                condition.wait()
            turn[0] = 1 - mine
            condition.notify()

    return (lambda: give(0)), (lambda: answer(1))


@row("thread/pingpong-condition", "threading.Condition", pinned=True)
def pingpong_condition(side: Any) -> Any:
    return take_turns(side.threading.Thread, *condition_turns(side.threading.Condition(), [0]))


def contend(count: int) -> Any:
    """A row's function: `count` threads take turns at one lock, n turns in all, from first start to last end."""

    def prepare(side: Any) -> Any:
        guard = side.threading.Lock()

        def run(n: int) -> float:
            start = side.threading.Barrier(count)
            starts, ends = list[int](), list[int]()

            def turns() -> None:
                start.wait()
                starts.append(time.perf_counter_ns())
                for _ in range(max(1, n // count)):
                    with guard:
                        pass
                ends.append(time.perf_counter_ns())

            threads = [side.threading.Thread(target=turns) for _ in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return max(ends) - min(starts)

        return run

    return prepare


for threads in (1, 2, 4, 8):
    row(f"thread/contend-{threads}", "threading.Lock")(contend(threads))
