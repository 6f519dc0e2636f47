"""Rows, sides and pairs: how a figure comes about.

A row is a function `build(side)` that prepares its operation with the modules of one side and returns `run(n)`, which
does the operation n times and returns the nanoseconds that took, timed where the work is done. Both sides are built
by the same function, so that what differs is the library alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import importlib
import json
import os
import pathlib
import statistics
import textwrap
import time
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["ROWS", "Result", "Row", "measure", "repeated", "row", "select", "timed"]

SAMPLE_NS = 20_000_000  # a sample takes at least this long ...
BOX_NS = 6_000_000_000  # ... and a row about this long at most, with never fewer than three pairs
FOLDER = pathlib.Path(__file__).parent

Run = Callable[[int], float]


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    peer: str
    build: Callable[[Any], Any]
    pinned: bool = False  # both sides on one core
    n: int = 0  # operations per sample; 0: found by measuring
    unit: str = "ns"  # or B: what run(n) returns the sum of
    other: Callable[[Any], Any] | None = None  # the peer's own way, where it is not the same function
    pairs: Callable[[int], list[tuple[float, float]]] | None = (
        None  # a program of its own that times both sides
    )


@dataclasses.dataclass(frozen=True)
class Result:
    """What was measured; ns (bytes, where that is the unit) per operation are medians, ratios are peer / ours."""

    name: str
    peer: str
    ours_ns: float
    peer_ns: float
    ratio: float
    ratio_low: float
    ratio_high: float
    goal: float | None
    unit: str = "ns"


ROWS: list[Row] = []
GOALS: dict[str, float] = {r["name"]: r["goal"] for r in json.loads((FOLDER / "goals.json").read_text())}


def row(name: str, peer: str, **options: Any) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Decorator: make `build` the row `name`."""

    def register(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
        ROWS.append(Row(name, peer, build, **options))
        return build

    return register


_UNROLLED = 10  # the loop of a sample costs as much as a short call: it is paid once for so many operations


def repeated(statement: str, **names: Any) -> Run:
    """run(n) for one line of Python, written out ten times in the loop; `names` are those that it uses."""
    source = f"""
def run(n):
    rounds, rest = range(n // {_UNROLLED}), range(n % {_UNROLLED})
    started = clock()
    for _ in rounds:
{(f"        {statement}" + chr(10)) * _UNROLLED}
    for _ in rest:
        {statement}
    return clock() - started
"""
    # locals are what a function of a program would have: names of a closure, not of a module
    outer = (
        f"def outer({', '.join(['clock', *names])}):\n" + textwrap.indent(source, "    ") + "    return run\n"
    )
    space: dict[str, Any] = {}
    exec(compile(outer, f"<{statement}>", "exec"), space)
    run: Run = space["outer"](time.perf_counter_ns, *names.values())
    return run


def timed(operation: Callable[[], Any]) -> Run:
    """run(n) for an operation without arguments."""
    return repeated("operation()", operation=operation)


def _side(package: str) -> types.SimpleNamespace:
    names = {
        "threading": "threading",
        "queue": "queue",
        "multiprocessing": "multiprocessing",
        "futures": "futures" if package else "concurrent.futures",
    }
    side = {k: importlib.import_module(f"manyhands.{v}" if package else v) for k, v in names.items()}
    return types.SimpleNamespace(ours=bool(package), **side)


def select(patterns: Iterable[str]) -> list[Row]:
    """The rows whose names match one of the patterns, in the order of the goals' table."""
    for module in sorted((FOLDER / "rows").glob("[a-z]*.py")):
        importlib.import_module(f"bench.rows.{module.stem}")
    wanted = list(patterns) or ["*"]
    order = {name: i for i, name in enumerate(GOALS)}
    rows = [r for r in ROWS if any(fnmatch.fnmatch(r.name, p) for p in wanted)]
    return sorted(rows, key=lambda r: (order.get(r.name, len(order)), r.name))


@contextlib.contextmanager
def _cores(pinned: bool) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    if pinned:
        os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _built(stack: contextlib.ExitStack, build: Callable[[Any], Any], package: str) -> Run:
    """A row may yield its run(n) to clean up afterwards, or return it."""
    made = build(_side(package))
    if isinstance(made, types.GeneratorType):
        run: Run = next(made)
        stack.callback(lambda: next(made, None))
        return run
    return made  # type: ignore[no-any-return]


def _count(run: Run) -> int:
    """How many operations a sample needs; runs a warm-up on the way."""
    n = 1
    while True:
        took = run(n)
        if took >= SAMPLE_NS or n >= 10_000_000:
            return n
        n = max(n * 2, int(n * min(SAMPLE_NS / max(took, 1), 20)))


def measure(row: Row, pairs: int) -> Result:
    """Time both sides in turn."""
    if row.pairs is not None:
        return result(row.name, row.peer, row.pairs(pairs))
    with _cores(row.pinned), contextlib.ExitStack() as stack:
        ours = _built(stack, row.build, "manyhands")
        peer = _built(stack, row.other or row.build, "")
        n_ours, n_peer = (row.n, row.n) if row.n else (_count(ours), _count(peer))
        if row.n:
            ours(row.n), peer(row.n)
        samples: list[tuple[float, float]] = []
        started = time.perf_counter_ns()
        while len(samples) < pairs and (len(samples) < 3 or time.perf_counter_ns() - started < BOX_NS):
            if len(samples) % 2:
                second = peer(n_peer) / n_peer
                samples.append((ours(n_ours) / n_ours, second))
            else:
                samples.append((ours(n_ours) / n_ours, peer(n_peer) / n_peer))
    return dataclasses.replace(result(row.name, row.peer, samples), unit=row.unit)


def result(name: str, peer: str, samples: list[tuple[float, float]]) -> Result:
    """The figures of a row from its pairs (ours, peer), ns per operation."""
    ratios = sorted(p / o for o, p in samples)
    return Result(
        name,
        peer,
        statistics.median(o for o, _ in samples),
        statistics.median(p for _, p in samples),
        statistics.median(ratios),
        ratios[0],
        ratios[-1],
        GOALS.get(name),
    )
