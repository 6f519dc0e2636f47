"""Executors beside the packages that people use instead: one job, two workers on each side, and chunks of one.

A row is called `pool/JOB-PEER`. The workers are there before the clock starts, but for the job `start`. Ours is the
process executor (against `Pool`: our `Pool`), by fork where the peer forks; loky and joblib start their workers by
a way of their own, which is nearest to our fork server.
"""

from __future__ import annotations

import collections
import contextlib
import glob
import importlib.util
import os
import re
import sysconfig
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.runner import ROWS, Row

WORKERS = 2

# ---- jobs


def same(x: Any) -> Any:
    """No work."""
    return x


def compute(seconds: float) -> float:
    """Keep a core busy for so long."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return seconds


def words_of(path: str) -> dict[str, int]:
    """How often each word is in a file."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return dict(collections.Counter(re.findall(r"[^\W\d]\w+", file.read())))


def sources(count: int) -> list[str]:
    """So many of the standard library's sources, small and large ones."""
    files = sorted(glob.glob(os.path.join(sysconfig.get_path("stdlib"), "**", "*.py"), recursive=True))
    return files[:: max(1, len(files) // count)][:count]


UNEQUAL = [0.001 + 0.018 * (i * 7 % 20) / 19 for i in range(40)]  # 10 ms on average, 1 to 19
# name: (function, items for n tasks, n)
JOBS: dict[str, tuple[Callable[[Any], Any], Callable[[int], Any], int]] = {
    "noop": (same, range, 500),
    "1ms": (compute, lambda n: [0.001] * n, 200),
    "1mb": (len, lambda n: [bytes(1 << 20)] * n, 40),
    "unequal": (compute, lambda n: UNEQUAL[:n], 40),
    "index": (words_of, sources, 200),
}
AUTOMATIC = {
    "joblib",
    "mpire",
}  # those that put small tasks together by themselves, as ours does with chunksize="auto"

# ---- the peers: context managers that hand out map(function, items), which returns when all results are here


def _taking(results: Any) -> None:
    collections.deque(results, 0)


@contextlib.contextmanager
def _executor(made: Any, **how: Any) -> Iterator[Any]:
    with made as executor:
        yield lambda function, items: _taking(executor.map(function, items, **how))


def _stdlib(side: Any) -> Any:
    context = side.multiprocessing.get_context("fork")
    return _executor(side.futures.ProcessPoolExecutor(WORKERS, mp_context=context))


def _pool(side: Any) -> Any:
    return _executor(side.multiprocessing.get_context("fork").Pool(WORKERS), chunksize=1)


def _ours(side: Any, method: str, chunksize: Any = 1) -> Any:
    context = side.multiprocessing.get_context(method)
    return _executor(side.futures.ProcessPoolExecutor(WORKERS, mp_context=context), chunksize=chunksize)


@contextlib.contextmanager
def _joblib(auto: bool) -> Iterator[Any]:
    import joblib

    with joblib.Parallel(WORKERS, batch_size="auto" if auto else 1) as parallel:
        yield lambda function, items: parallel(joblib.delayed(function)(item) for item in items)
    from joblib.externals import loky

    loky.get_reusable_executor().shutdown(wait=True)  # else the next one finds its workers there


def _loky(auto: bool) -> Any:
    import loky

    return _executor(loky.ProcessPoolExecutor(WORKERS))


@contextlib.contextmanager
def _mpire(auto: bool) -> Iterator[Any]:
    import mpire

    with mpire.WorkerPool(WORKERS, start_method="fork", keep_alive=True) as pool:
        yield lambda function, items: pool.map(function, items, chunk_size=None if auto else 1)


@contextlib.contextmanager
def _pebble(auto: bool) -> Iterator[Any]:
    import multiprocessing

    import pebble

    with pebble.ProcessPool(WORKERS, context=multiprocessing.get_context("fork")) as pool:
        yield lambda function, items: _taking(pool.map(function, items, chunksize=1).result())


PEERS: dict[str, tuple[Callable[[bool], Any], str]] = {
    "joblib": (_joblib, "forkserver"),
    "loky": (_loky, "forkserver"),
    "mpire": (_mpire, "fork"),
    "pebble": (_pebble, "fork"),
}

# ---- the rows


def _timed_job(make: Callable[[], Any], job: str) -> Iterator[Any]:
    function, items_for, _ = JOBS[job]
    with make() as run_all:
        run_all(same, range(4 * WORKERS))  # the workers are there

        def run(n: int) -> float:
            items = items_for(n)
            started = time.perf_counter_ns()
            run_all(function, items)
            return time.perf_counter_ns() - started

        yield run


def _timed_start(make: Callable[[], Any]) -> Any:
    def run(n: int) -> float:
        started = time.perf_counter_ns()
        for _ in range(n):
            with make() as run_all:
                run_all(same, range(WORKERS))
        return time.perf_counter_ns() - started

    return run


def _rows_of(peer: str, name: str, ours: Callable[[Any], Any], theirs: Callable[[Any], Any]) -> None:
    for job, (_, _, n) in JOBS.items():
        ROWS.append(
            Row(
                f"pool/{job}-{peer}",
                name,
                lambda side, job=job: _timed_job(lambda: ours(side), job),
                n=n,
                other=lambda side, job=job: _timed_job(lambda: theirs(side), job),
            )
        )
    ROWS.append(
        Row(
            f"pool/start-{peer}",
            name,
            lambda side: _timed_start(lambda: ours(side)),
            n=1,
            other=lambda side: _timed_start(lambda: theirs(side)),
        )
    )


_rows_of("executor", "ProcessPoolExecutor", _stdlib, _stdlib)
_rows_of("pool", "multiprocessing.Pool", _pool, _pool)
for _peer, (_make, _method) in PEERS.items():
    if importlib.util.find_spec(_peer) is None:
        continue
    _rows_of(
        _peer,
        _peer,
        lambda side, method=_method: _ours(side, method),
        lambda side, make=_make: make(False),
    )
    if _peer in AUTOMATIC:
        ROWS.append(
            Row(
                f"pool/noop-auto-{_peer}",
                _peer,
                lambda side, method=_method: _timed_job(lambda: _ours(side, method, "auto"), "noop"),
                n=5000,
                other=lambda side, make=_make: _timed_job(lambda: make(True), "noop"),
            )
        )


# ---- from one core to all


def _efficiency(kind: str) -> Callable[[int], list[tuple[float, float]]]:
    """Pairs (worker time for a task of 1 ms with all cores, with one worker): their ratio is the efficiency."""

    def pairs(count: int) -> list[tuple[float, float]]:
        import manyhands

        cores = len(os.sched_getaffinity(0))

        def per_task(workers: int, executor: Any) -> float:
            n = 150 * workers
            started = time.perf_counter_ns()
            _taking(executor.map(compute, [0.001] * n, buffersize=16 * workers))
            return (time.perf_counter_ns() - started) * workers / n

        with manyhands.Executor(kind, 1) as one, manyhands.Executor(kind, cores) as all_of_them:
            per_task(1, one), per_task(cores, all_of_them)
            return [(per_task(cores, all_of_them), per_task(1, one)) for _ in range(count)]

    return pairs


for _kind in ("processes", "interpreters"):
    if _kind == "processes" or importlib.util.find_spec("_interpreters") is not None:
        ROWS.append(Row(f"pool/scaling-{_kind}", "one worker", lambda side: None, pairs=_efficiency(_kind)))
