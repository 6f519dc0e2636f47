"""The first, serial pass over the items: what the function is like, before engines are compared.

It finds calls that raise, results that no other process could get, how long a call takes, whether it
computes or waits, and whether it holds the GIL. What follows is planned from that.
"""

from __future__ import annotations

import itertools
import math
import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from manyhands.advise import tree, worker
from manyhands.advise.engines import shorten
from manyhands.advise.errors import WorkFailed
from manyhands.advise.fingerprint import fingerprint
from manyhands.advise.gil import GilProbe, RunDelay
from manyhands.advise.worker import Failure

PROBE_AT_LEAST = 0.3
CHECK_LOADS = 50
CHUNK_SECONDS = 0.001


def spread_order(count: int) -> Iterator[int]:
    """Every index once, such that any beginning of the order is spread evenly over the whole."""
    step = max(1, round(count * 0.6180339887))
    while math.gcd(step, count) != 1:
        step += 1
    return (k * step % count for k in range(count))


def cpu_share(cpu: float, wall: float, queued: float) -> float:
    """CPU time / time on hand: 1 computes, 0 waits. Time queued for a core taken by others is neither."""
    on_hand = max(wall - queued, cpu)
    return min(1.0, cpu / on_hand) if on_hand > 0 else 1.0


class Pilot:
    """What the pass has found out. Made by `run`."""

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self.items = items
        self.seen: list[int] = []
        self.prints: dict[int, bytes | None] = {}
        self.sizes: dict[int, int] = {}
        self.seconds = 0.0
        self.cpu = 0.0
        self.queued = 0.0
        """Seconds in which the calls could have run but other programs had the core."""
        self._delay: RunDelay | None = None
        self.gil_share: float | None = None
        self.failures: list[Failure] = []
        self.pickle_fault = ""
        self._function = function

    @property
    def per_call(self) -> float:
        """Mean time of a call."""
        return self.seconds / len(self.seen) if self.seen else 0.0

    @property
    def cpu_share(self) -> float:
        """CPU time / wall time: 1 computes, 0 waits."""
        return cpu_share(self.cpu, self.seconds, self.queued)

    def run(self, budget: float, at_least: int, tick: Callable[[], None]) -> Pilot:
        """Call the function until all items are done or the budget is spent."""
        worker.set_function(self._function)
        began = time.monotonic()
        order = spread_order(len(self.items))
        with RunDelay() as self._delay, GilProbe() as probe:
            while True:
                picked = list(itertools.islice(order, self._batch()))
                if not picked:
                    break
                self._take(picked)
                tick()
                if time.monotonic() - began > budget and len(self.seen) >= at_least:
                    break
            self._raise_failures()
            self._probe_on(probe, began + min(budget, PROBE_AT_LEAST))
        self.gil_share = probe.share
        return self

    def _batch(self) -> int:
        """One call at a time until their length is known; short ones then in larger portions."""
        if len(self.seen) < 8 or self.per_call >= CHUNK_SECONDS:
            return 1
        return min(10_000, max(1, math.ceil(CHUNK_SECONDS / max(self.per_call, 1e-8))))

    def _take(self, picked: list[int]) -> None:
        cpu, queued = tree.cpu_seconds([os.getpid()]), self._delay.read() if self._delay else 0.0
        chunk = worker.run_chunk(0, [self.items[index] for index in picked])
        used = tree.cpu_seconds([os.getpid()]) - cpu
        self.queued += self._delay.read() - queued if self._delay else 0.0
        self.seconds += chunk.end - chunk.start
        self.cpu += min(used, max(chunk.cpu, used))
        self.failures += [Failure(picked[f.item], f.error, f.trace) for f in chunk.failures]
        for index, result in zip(picked, chunk.results, strict=False):
            self.seen.append(index)
            self.prints[index] = fingerprint(result)
            self._check_travel(index, result)

    def _check_travel(self, index: int, result: Any) -> None:
        """The size of what a worker process would get and send back, and whether it could."""
        if self.pickle_fault:
            return
        for what, value in (("item", self.items[index]), ("result of item", result)):
            try:
                data = pickle.dumps(value, protocol=5)
                if len(self.seen) <= CHECK_LOADS:
                    pickle.loads(data)
            except Exception as error:
                self.pickle_fault = (
                    f"the {what} {index}, {shorten(value)}, cannot be sent between processes: "
                    f"{type(error).__name__}: {error}"
                )
                return
            self.sizes[index] = self.sizes.get(index, 0) + len(data)

    def _raise_failures(self) -> None:
        if self.failures:
            raise WorkFailed(describe_failures(self.failures, self.items, len(self.seen)))

    def _probe_on(self, probe: GilProbe, until: float) -> None:
        """Short work is over before the probe has an answer: call again, for the probe alone."""
        picked = self.seen[:100]
        items = [self.items[index] for index in picked]
        while picked and not (probe.enough and time.monotonic() > until):
            if time.monotonic() > until + 2:
                break
            worker.run_chunk(0, items)


def describe_failures(failures: Sequence[Failure], items: Sequence[Any], called: int) -> str:
    """How many calls raised, which, and the first traceback."""
    ordered = sorted(failures)
    shown = ", ".join(f"{f.item} ({shorten(items[f.item], 40)})" for f in ordered[:5])
    more = f" and {len(ordered) - 5} more" if len(ordered) > 5 else ""
    items_word = "item" if len(ordered) == 1 else "items"
    return (
        f"the function raises for {len(ordered)} of {called} {items_word if called == 1 else 'items'}: "
        f"{shown}{more}\nthe first: {ordered[0].error}\n{ordered[0].trace.rstrip()}"
    )
