"""queue: one thread, producers and consumers, and two threads that take turns on one core."""

from __future__ import annotations

import time
from typing import Any

from bench.rows.thread import take_turns
from bench.runner import repeated, row


def _through(queue: Any) -> Any:
    return repeated("put(1); get()", put=queue.put, get=queue.get)


@row("queue/queue", "queue.Queue")
def queue(side: Any) -> Any:
    return _through(side.queue.Queue())


@row("queue/simple", "queue.SimpleQueue")
def simple(side: Any) -> Any:
    return _through(side.queue.SimpleQueue())


def _crowd(side: Any, producers: int, consumers: int) -> Any:
    """run(n): n items through one queue; from the first put to the last get, by the consumers' clocks."""

    def run(n: int) -> float:
        channel = side.queue.Queue()
        share = max(n // producers, 1)
        begins: list[int] = []
        ends: list[int] = []

        def produce() -> None:
            begins.append(time.perf_counter_ns())
            for i in range(share):
                channel.put(i)

        def consume() -> None:
            while channel.get() is not None:
                pass
            ends.append(time.perf_counter_ns())

        makers = [side.threading.Thread(target=produce) for _ in range(producers)]
        takers = [side.threading.Thread(target=consume) for _ in range(consumers)]
        for thread in takers + makers:
            thread.start()
        for thread in makers:
            thread.join()
        for _ in takers:
            channel.put(None)
        for thread in takers:
            thread.join()
        return (max(ends) - min(begins)) * n / (share * producers)

    return run


@row("queue/queue-1p1c", "queue.Queue", n=20_000)
def one_to_one(side: Any) -> Any:
    return _crowd(side, 1, 1)


@row("queue/queue-2p2c", "queue.Queue", n=20_000)
def two_to_two(side: Any) -> Any:
    return _crowd(side, 2, 2)


@row("queue/pingpong", "queue.Queue", pinned=True)
def pingpong(side: Any) -> Any:
    ping, pong = side.queue.Queue(), side.queue.Queue()

    def here() -> None:
        ping.put(1)
        pong.get()

    def there() -> None:
        ping.get()
        pong.put(1)

    return take_turns(side.threading.Thread, here, there)
