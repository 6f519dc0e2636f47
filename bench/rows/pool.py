"""futures and pools: what a task costs that does nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from bench.runner import row, timed


def _same(x: Any) -> Any:
    return x


@row("future/cycle", "concurrent.futures.Future")
def future_cycle(side: Any) -> Any:
    Future = side.futures.Future

    def operation() -> None:
        future = Future()
        future.set_result(1)
        future.result()

    return timed(operation)


def _submit(executor: Any, n: int) -> float:
    started = time.perf_counter_ns()
    futures = [executor.submit(_same, i) for i in range(n)]
    for future in futures:
        future.result()
    return time.perf_counter_ns() - started


@row("pool/threads-submit", "ThreadPoolExecutor", n=1000)
def threads_submit(side: Any) -> Iterator[Any]:
    with side.futures.ThreadPoolExecutor(2) as executor:
        yield lambda n: _submit(executor, n)


if sys.version_info >= (3, 14):  # where the standard library has one to compare with

    @row("pool/interpreters-submit", "InterpreterPoolExecutor", n=500)
    def interpreters_submit(side: Any) -> Iterator[Any]:
        with side.futures.InterpreterPoolExecutor(2) as executor:
            yield lambda n: _submit(executor, n)


def _processes(side: Any) -> Any:
    return side.futures.ProcessPoolExecutor(2, mp_context=side.multiprocessing.get_context("fork"))


@row("pool/processes-submit", "ProcessPoolExecutor", n=500)
def processes_submit(side: Any) -> Iterator[Any]:
    with _processes(side) as executor:
        yield lambda n: _submit(executor, n)


@row("pool/processes-map", "ProcessPoolExecutor", n=500)
def processes_map(side: Any) -> Iterator[Any]:
    with _processes(side) as executor:

        def run(n: int) -> float:
            started = time.perf_counter_ns()
            for _ in executor.map(_same, range(n)):
                pass
            return time.perf_counter_ns() - started

        yield run


@row("pool/processes-roundtrip", "ProcessPoolExecutor", n=200, pinned=True)
def processes_roundtrip(side: Any) -> Iterator[Any]:
    with _processes(side) as executor:
        yield timed(lambda: executor.submit(_same, 1).result())


@row("pool/pool-map", "multiprocessing.Pool", n=2000)
def pool_map(side: Any) -> Iterator[Any]:
    with side.multiprocessing.get_context("fork").Pool(2) as pool:

        def run(n: int) -> float:
            started = time.perf_counter_ns()
            pool.map(_same, range(n), chunksize=1)
            return time.perf_counter_ns() - started

        yield run


def _create(side: Any, method: str) -> Any:
    context = side.multiprocessing.get_context(method)

    def operation() -> None:
        with context.Pool(2) as pool:
            pool.close()
            pool.join()

    return timed(operation)


@row("pool/create-fork", "multiprocessing.Pool", n=5)
def create_fork(side: Any) -> Any:
    return _create(side, "fork")


@row("pool/create-forkserver", "multiprocessing.Pool", n=3)
def create_forkserver(side: Any) -> Any:
    return _create(side, "forkserver")


@row("pool/create-spawn", "multiprocessing.Pool", n=1)
def create_spawn(side: Any) -> Any:
    return _create(side, "spawn")
