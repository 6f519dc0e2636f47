"""Queues between processes: several producers and consumers, messages from 1 KB to 1 GB, and faster-fifo as a peer."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from typing import Any

from bench.runner import row

Make = Callable[[Any], Any]  # a queue of a side


def _queue(side: Any) -> Any:
    return side.multiprocessing.get_context("fork").Queue()


def _put(queue: Any, item: Any, n: int, ready: Any, start: Any) -> None:
    ready.release()
    start.wait()
    for _ in range(n):
        queue.put(item)


def _take(queue: Any, n: int, ready: Any, start: Any, ended: Any) -> None:
    ready.release()
    start.wait()
    for _ in range(n):
        queue.get()
    ended.put(time.perf_counter_ns())


def _crowd(side: Any, item: Any, sides: int, make: Make = _queue) -> Any:
    """run(n): so many forked producers and as many consumers; from the start signal to the last item's arrival."""
    context = side.multiprocessing.get_context("fork")

    def run(n: int) -> float:
        queue, ended, start, ready = make(side), context.SimpleQueue(), context.Event(), context.Semaphore(0)
        share = max(n // sides, 1)
        processes = [
            context.Process(target=_put, args=(queue, item, share, ready, start)) for _ in range(sides)
        ]
        processes += [
            context.Process(target=_take, args=(queue, share, ready, start, ended)) for _ in range(sides)
        ]
        for process in processes:
            process.start()
        for _ in processes:
            ready.acquire()
        started = time.perf_counter_ns()
        start.set()
        took = max(ended.get() for _ in range(sides)) - started
        for process in processes:
            process.join()
        return float(took) * n / (share * sides)

    return run


for _sides in (1, 2, 4):
    row(f"mp/queue-{_sides}p{_sides}c", "multiprocessing.Queue", n=8_000)(
        lambda side, sides=_sides: _crowd(side, 7, sides)
    )

_SWEEP = {
    "1kb": (1_000, 4_000),
    "16kb": (16_000, 2_000),
    "256kb": (256_000, 200),
    "1mb": (1_000_000, 40),
    "16mb": (16_000_000, 6),
    "256mb": (256_000_000, 1),
    "1gb": (1_000_000_000, 1),
}


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


for _name, (_size, _count) in _SWEEP.items():
    if _memory() > 6 * _size:  # the message itself, in the pickle, on its way, and unpickled
        row(f"mp/queue-sweep-{_name}", "multiprocessing.Queue", n=_count)(
            lambda side, size=_size: _crowd(side, b"x" * size, 1)
        )

if importlib.util.find_spec("faster_fifo") is not None:

    def _faster_fifo(side: Any) -> Any:
        import faster_fifo

        return faster_fifo.Queue(max_size_bytes=10_000_000)

    for _sides in (1, 2, 4):
        row(
            f"mp/queue-{_sides}p{_sides}c-faster-fifo",
            "faster_fifo.Queue",
            n=8_000,
            other=lambda side, sides=_sides: _crowd(side, 7, sides, _faster_fifo),
        )(lambda side, sides=_sides: _crowd(side, 7, sides))
