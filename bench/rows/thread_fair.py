"""threading under contention: how evenly turns are given, and in which order waiters wake. Not times: see each row."""

from __future__ import annotations

import statistics
import time
from typing import Any

from bench.runner import row


def longest_over_median(count: int) -> Any:
    """The longest wait of a turn over the median one, while `count` threads take turns at one lock.

    Printed as if it were ns: 100 ns is a factor of 100. Each holder lets go of the GIL once, as one that does I/O
    would.
    """

    def prepare(side: Any) -> Any:
        guard = side.threading.Lock()

        def run(n: int) -> float:
            start = side.threading.Barrier(count)
            waits: list[int] = []

            def turns() -> None:
                start.wait()
                for _ in range(max(1, n // count)):
                    asked = time.perf_counter_ns()
                    with guard:
                        waits.append(time.perf_counter_ns() - asked)
                        time.sleep(0)

            threads = [side.threading.Thread(target=turns) for _ in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return max(waits) / statistics.median(waits) * n

        return run

    return prepare


for threads in (4, 8):
    row(f"thread/fairness-{threads}", "threading.Lock", n=2000)(longest_over_median(threads))


@row("thread/wake-order", "threading.Condition", n=1)
def wake_order(side: Any) -> Any:
    """How many of 31 waiters wake out of turn, plus one: 1 ns is the order in which they came."""
    condition, count = side.threading.Condition(), 31

    asleep, awake, woken = side.threading.Semaphore(0), side.threading.Semaphore(0), list[int]()

    def wait(number: int) -> None:
        with condition:
            asleep.release()
            condition.wait()
            woken.append(number)
            awake.release()

    def run(n: int) -> float:
        out_of_turn = 0
        for _ in range(n):
            woken.clear()
            threads = [side.threading.Thread(target=wait, args=(i,)) for i in range(count)]
            for thread in threads:
                thread.start()
                asleep.acquire()
                with condition:  # it holds the lock until it waits
                    pass
            for _ in range(count):
                with condition:
                    condition.notify()
                awake.acquire()
            for thread in threads:
                thread.join()
            out_of_turn += sum(number != i for i, number in enumerate(woken))
        return out_of_turn + n

    return run
