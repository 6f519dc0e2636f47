"""python -m bench.deadlines: how late each blocking call comes back after its time limit, idle and on a loaded machine.

The calls are those of tests/py/unit/thread_calls.py, and the join of a process. Loaded means one busy process per
core. Exits with 1 where one is later than 10 ms on the idle machine, or 100 ms on the loaded one; the join of a
process: 1 ms in the median.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CALLS = Path(__file__).parent.parent / "tests" / "py" / "unit"
LIMIT_S, ROUNDS = 0.02, 30
JOIN = "Process.join"
BOUNDS_MS = {"idle": 10.0, "loaded": 100.0}


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    command = [sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def lateness_ms(make: Callable[[], Callable[..., Any]]) -> list[float]:
    late = []
    for _ in range(ROUNDS):
        call = make()
        began = time.perf_counter()
        call(timeout=LIMIT_S)
        late.append((time.perf_counter() - began - LIMIT_S) * 1e3)
    return sorted(late)


@contextlib.contextmanager
def sleeping() -> Iterator[Callable[..., Any]]:
    """The join of a process that sleeps for ever."""
    from manyhands.multiprocessing import get_context

    process = get_context("fork").Process(target=time.sleep, args=(3600,), die_with_parent=True)
    process.start()
    try:
        yield process.join
    finally:
        process.kill()
        process.join()


def main() -> int:
    sys.path.insert(0, str(CALLS))
    import thread_calls

    failed = 0
    print(f"ms late after {LIMIT_S * 1e3:g} ms, {ROUNDS} times: median, latest\n")
    print(f"{'call':26} {'idle':>16} {'loaded':>16}")
    results: dict[str, dict[str, list[float]]] = {}
    for state, processes in (("idle", 0), ("loaded", len(os.sched_getaffinity(0)))):
        with busy(processes):
            results[state] = {}
            for name, make in thread_calls.TIMED.items():
                results[state][name] = lateness_ms(make)
            with sleeping() as join:
                results[state][JOIN] = lateness_ms(lambda: join)
    for name in results["idle"]:
        figures = [results[state][name] for state in results]
        print(f"{name:26} " + " ".join(f"{statistics.median(f):7.2f} {f[-1]:8.2f}" for f in figures))
        failed += any(
            not 0 <= f[0] <= f[-1] <= bound for f, bound in zip(figures, BOUNDS_MS.values(), strict=True)
        )
    failed += statistics.median(results["idle"][JOIN]) > 1
    print(f"{failed} later than {BOUNDS_MS['idle']:g} ms idle, {BOUNDS_MS['loaded']:g} ms loaded")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
