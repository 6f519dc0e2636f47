#!/usr/bin/env python3
"""The chart of messages from 1 KB to 1 GB through a queue between processes, and what queues and processes take.

    make bench ONLY='mp/queue-sweep-*' JSON=build/sweep.json
    make bench ONLY='mp/*[ei][md][ol]*-*' JSON=build/use.json     # mp/memory-*, mp/idle-*
    tools/docs/sweep.py build/sweep.json [build/use.json ...]

It draws docs/pictures/queue-sweep.svg, and writes the tables into their pages (figures.py says how they are marked).
`make docs` measures the first, for its site alone.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from math import log10
from pathlib import Path
from typing import Any

from svg import BLUE, EDGE, ORANGE, PALE, Picture

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"1kb": 1e3, "16kb": 16e3, "256kb": 256e3, "1mb": 1e6, "16mb": 16e6, "256mb": 256e6, "1gb": 1e9}
SWEEP = "mp/queue-sweep-"
LEFT, TOP, WIDTH, HEIGHT = 90, 56, 520, 300  # of the field
USES = {  # row: what it is, in words
    "mp/idle-get": "processor time of a process that waits in `get()`, per second",
    "mp/idle-acquire": "processor time of a process that waits for a lock, per second",
    "mp/memory-queue": "memory of a queue through which something went",
    "mp/memory-fork": "memory of a process of its own, `fork`",
    "mp/memory-forkserver": "memory of a process of its own, `forkserver`",
    "mp/memory-spawn": "memory of a process of its own, `spawn`",
}

Row = dict[str, Any]


def size_words(size: float) -> str:
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= one:
            return f"{size / one:g} {unit}"
    return f"{size:g} B"


def words(amount: float, unit: str) -> str:
    """An amount of ns or bytes; what was not to be measured is none."""
    if amount <= 1:
        return "none"
    steps = (
        (("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1))
        if unit == "B"
        else (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1))
    )
    for name, one in steps:
        if amount >= one:
            return f"{amount / one:.3g} {name}"
    return f"{amount:.3g} {steps[-1][0]}"


def points(rows: list[Row]) -> list[tuple[float, Row]]:
    """The rows of the sweep with their sizes, smallest first."""
    found = {row["name"]: row for row in rows}
    return [(size, found[SWEEP + name]) for name, size in SIZES.items() if SWEEP + name in found]


def chart(sweep: list[tuple[float, Row]]) -> Picture:
    """Time for one message by its size; both axes by the logarithm."""
    picture = Picture(700, TOP + HEIGHT + 60, "Time for one message through a queue, by its size")
    picture.text(16, 26, "One message through a queue between two processes, by its size", bold=True)
    times = [row[side] for _, row in sweep for side in ("ours_ns", "peer_ns")]
    low, high = 10 ** int(log10(min(times))), 10 ** (int(log10(max(times))) + 1)
    first, last = sweep[0][0], sweep[-1][0]

    def place(size: float, time: float) -> tuple[float, float]:
        across = log10(size / first) / log10(last / first) if last > first else 0.0
        up = log10(time / low) / log10(high / low)
        return round(LEFT + WIDTH * across, 1), round(TOP + HEIGHT * (1 - up), 1)

    step = low
    while step <= high:
        y = place(first, step)[1]
        picture.line([(LEFT, y), (LEFT + WIDTH, y)], "#e4e7eb", width=1)
        picture.text(LEFT - 8, y + 4, words(step, "ns"), 12, PALE, "end")
        step *= 10
    for size, _ in sweep:
        picture.text(place(size, low)[0], TOP + HEIGHT + 20, size_words(size), 12, PALE, "middle")
    for side, name, fill in (
        ("peer_ns", "multiprocessing.Queue", ORANGE),
        ("ours_ns", "manyhands.multiprocessing.Queue", BLUE),
    ):
        line = [place(size, row[side]) for size, row in sweep]
        picture.line(line, EDGE[fill], width=2.4)
        for x, y in line:
            picture.box(x - 4, y - 4, 8, 8, fill=fill)
        lower = side == "ours_ns"
        picture.text(
            LEFT + WIDTH * 0.30, TOP + HEIGHT * (0.86 if lower else 0.26), name, 13, EDGE[fill], bold=True
        )
    picture.text(
        LEFT + WIDTH / 2,
        TOP + HEIGHT + 44,
        "bytes; a step to the right or up is a factor",
        12,
        PALE,
        "middle",
    )
    return picture


def sweep_table(sweep: list[tuple[float, Row]]) -> str:
    out = "| `bytes` of | `multiprocessing.Queue` | manyhands | |\n|---|---|---|---|\n"
    for size, row in sweep:
        out += f"| {size_words(size)} | {words(row['peer_ns'], 'ns')} | {words(row['ours_ns'], 'ns')} "
        out += f"| {row['ratio']:.2g} times |\n"
    return out


def use_table(rows: list[Row]) -> str:
    found = {row["name"]: row for row in rows}
    out = "| | standard library | manyhands |\n|---|---|---|\n"
    for name, what in USES.items():
        if name in found:
            row = found[name]
            out += (
                f"| {what} | {words(row['peer_ns'], row['unit'])} | {words(row['ours_ns'], row['unit'])} |\n"
            )
    return out


def put(docs: Path, name: str, lines: str) -> None:
    """Into each page that has a place of that name."""
    for page in (docs / "guide").rglob("*.md"):
        text = page.read_text()
        mark = rf"(<!-- figures: {name} -->\n\n).*?(\n<!-- end of figures -->)"
        made = re.sub(mark, lambda match: match[1] + lines + match[2], text, flags=re.S)
        if made != text:
            page.write_text(made)


def write(rows: list[Row], docs: Path) -> None:
    sweep = points(rows)
    (docs / "pictures" / "queue-sweep.svg").write_text(chart(sweep).svg())
    put(docs, "sweep", sweep_table(sweep))
    if any(row["name"] in USES for row in rows):
        put(docs, "use", use_table(rows))


def renew(docs: Path) -> bool:
    """Measure, and write it into the pages below `docs`; False where it cannot be measured."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "sweep.json"
        command = ["make", "bench", f"ONLY={SWEEP}*", f"JSON={kept}"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        rows: list[Row] = json.loads(kept.read_text()) if kept.exists() else []
    if done.returncode or len(points(rows)) < 2:
        return False
    write(rows, docs)
    return True


def main(paths: list[str]) -> int:
    rows: list[Row] = [row for path in paths for row in json.loads(Path(path).read_text())]
    if len(points(rows)) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    write(rows, ROOT / "docs")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
