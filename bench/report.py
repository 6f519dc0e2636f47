"""The table, the JSON file, and the judgement."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import os
import pathlib
import platform
import sys
from collections.abc import Iterable

from bench.reasons import REASONS, SINCE
from bench.runner import GOALS, Result

__all__ = ["check", "show", "write"]


def _amount(r: Result, amount: float) -> str:
    if r.unit == "B":
        return f"{amount / 1024:.3g} KiB" if amount < 1 << 20 else f"{amount / (1 << 20):.3g} MiB"
    return _duration(amount)


def _duration(ns: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.3g} ns"


def show(results: Iterable[Result]) -> list[Result]:
    """Print each row as it comes; a row behind its goal gets a line that says why. The rows."""
    gil = "" if getattr(sys, "_is_gil_enabled", lambda: True)() else ", no GIL"
    print(
        f"CPython {platform.python_version()}{gil}, {len(os.sched_getaffinity(0))} cores. "
        "Ratio: peer's time (or memory) / ours, median of pairs [lowest, highest].\n"
    )
    print(f"{'row':28} {'ours':>9} {'peer':>9} {'ratio':>8} {'':17} {'goal':>6}  peer")
    shown = []
    for r in results:
        goal = "" if r.goal is None else f"{r.goal:g}x"
        behind = r.goal is not None and r.ratio < r.goal
        spread = f"[{r.ratio_low:.3g}, {r.ratio_high:.3g}]"
        amounts = f"{_amount(r, r.ours_ns):>9} {_amount(r, r.peer_ns):>9}"
        print(
            f"{r.name:28} {amounts} {r.ratio:>7.3g}x {spread:17} {goal:>6}  "
            f"{r.peer}{'   BEHIND' if behind else ''}",
            flush=True,
        )
        if behind:
            print(f"    {REASONS.get(r.name, 'not explained yet')}", flush=True)
        shown.append(r)
    return shown


def write(path: str, results: list[Result]) -> None:
    """The rows as a JSON list."""
    pathlib.Path(path).write_text(json.dumps([dataclasses.asdict(r) for r in results], indent=1) + "\n")


def read(path: str) -> dict[str, float]:
    """The ratios in what write() wrote; OSError, or ValueError where that is something else."""
    try:
        return {row["name"]: row["ratio"] for row in json.loads(pathlib.Path(path).read_text())}
    except (KeyError, TypeError, json.JSONDecodeError):
        raise ValueError("not the figures of a run; make them with --json FILE") from None


def check(ratios: dict[str, float], only: list[str]) -> int:
    """Print the rows behind their goal, missing ones among them; 1 if there are any."""
    behind = 0
    for name, goal in GOALS.items():
        if only and not any(fnmatch.fnmatch(name, pattern) for pattern in only):
            continue
        ratio = ratios.get(name)
        if ratio is None and sys.version_info < SINCE.get(name, (3, 0)):
            print(f"{name:28} not judged: the peer is there from Python {'.'.join(map(str, SINCE[name]))} on")
            continue
        if ratio is None or ratio < goal:
            behind += 1
            had = "missing" if ratio is None else f"{ratio:.3g}x"
            print(f"{name:28} {had:>9}, goal {goal:g}x   {REASONS.get(name, '')}")
    print(f"{behind} rows behind their goal" if behind else "every row reaches its goal")
    return 1 if behind else 0
