#!/usr/bin/env python3
"""The pictures of the guide: `tools/docs/pictures.py FOLDER` draws all of them. Those of docs/pictures are kept so that
the pages can be read in the repository, too; a test holds that they are what this program draws."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import how
from svg import BLUE, EDGE, GREEN, GREY, ORANGE, PALE, RED, Picture

WIDTH = 720
NARROW = 480  # readable at the width of a telephone


def kitchen() -> Picture:
    p = Picture(NARROW, 318, "One cook with two dishes, and two cooks: who works when")
    p.text(16, 26, "One cook, two dishes: concurrent", bold=True)
    soup, cake = BLUE, ORANGE
    y = p.timeline(
        16,
        40,
        NARROW - 40,
        [
            (
                "Ana",
                [
                    (0, 0.16, "soup", soup),
                    (0.16, 0.34, "cake", cake),
                    (0.34, 0.5, "soup", soup),
                    (0.5, 0.66, "cake", cake),
                    (0.66, 0.8, "soup", soup),
                ],
            )
        ],
    )
    p.text(16, y + 14, "Two cooks, two dishes: concurrent and parallel", bold=True)
    p.timeline(
        16,
        y + 28,
        NARROW - 40,
        [
            ("Ana", [(0, 0.46, "soup", soup)]),
            ("Ben", [(0, 0.34, "cake", cake)]),
        ],
    )
    p.text(16, 304, "The soup that simmers needs no cook: meanwhile the cake goes on.", 13, PALE)
    return p


def waiting() -> Picture:
    p = Picture(NARROW, 334, "Four downloads, one after the other and at once")
    p.text(16, 26, "One after the other", bold=True)
    bars = [(i * 0.24, i * 0.24 + 0.22, f"wait {i + 1}", GREY) for i in range(4)]
    y = p.timeline(16, 40, NARROW - 40, [("program", bars)])
    p.text(16, y + 14, "Four threads", bold=True)
    row = [(f"thread {i + 1}", [(0.01 * i, 0.22 + 0.01 * i, f"wait {i + 1}", GREY)]) for i in range(4)]
    p.timeline(16, y + 28, NARROW - 40, row)
    return p


def race() -> Picture:
    p = Picture(NARROW, 190, "Two threads add one to a counter, and one addition is lost")
    p.timeline(
        16,
        44,
        NARROW - 40,
        [
            ("thread 1", [(0.02, 0.2, "reads 7", BLUE), (0.42, 0.6, "writes 8", RED)]),
            ("thread 2", [(0.22, 0.4, "reads 7", BLUE), (0.62, 0.8, "writes 8", RED)]),
        ],
        label=80,
    )
    p.text(16, 28, "counter is 7", 13, PALE)
    p.text(NARROW - 24, 28, "8: it should say 9", 13, EDGE[RED], "end", bold=True)
    return p


def memory() -> Picture:
    p = Picture(WIDTH, 290, "Threads live in one memory, processes each in their own")
    p.box(16, 44, 330, 200, fill="#f5f7fa")
    p.text(30, 32, "One process, three threads", bold=True)
    p.box(36, 60, 290, 62, "objects, files, modules: all of it shared", GREEN, 13)
    for i in range(3):
        p.box(36 + i * 100, 150, 90, 70, f"thread {i + 1}\nits stack", BLUE, 13)
        p.arrow(81 + i * 100, 150, 81 + i * 100, 124)
    p.text(386, 32, "Three processes", bold=True)
    for i in range(3):
        x = 376 + i * 112
        p.box(x, 44, 104, 144, fill="#f5f7fa")
        p.box(x + 8, 56, 88, 52, "its own\nobjects", GREEN, 12)
        p.box(x + 8, 122, 88, 54, f"process {i + 1}\nits threads", BLUE, 12)
        p.arrow(x + 52, 188, x + 52, 208)
    p.box(376, 210, 328, 34, "a queue, a pipe, shared memory: by agreement", ORANGE, 13)
    p.text(16, 276, "What one thread breaks is broken for all. What one process breaks is its own.", 13, PALE)
    return p


def gil() -> Picture:
    p = Picture(NARROW, 340, "Two threads that compute take turns; one that waits lets the GIL go")
    p.text(16, 26, "Both compute in Python: they take turns,\nand a core has nothing to do", bold=True)
    one = [(0.0, 0.22, "runs", BLUE), (0.44, 0.66, "runs", BLUE), (0.22, 0.44, "waits", GREY)]
    two = [
        (0.22, 0.44, "runs", BLUE),
        (0.0, 0.22, "waits", GREY),
        (0.44, 0.66, "waits", GREY),
        (0.66, 0.88, "runs", BLUE),
    ]
    y = p.timeline(16, 60, NARROW - 40, [("thread 1", one), ("thread 2", two)])
    p.text(
        16, y + 14, "One waits for the network, or runs C code\nthat lets the GIL go: both get on", bold=True
    )
    p.timeline(
        16,
        y + 48,
        NARROW - 40,
        [
            ("thread 1", [(0, 0.88, "runs Python", BLUE)]),
            (
                "thread 2",
                [(0, 0.1, "", BLUE), (0.1, 0.74, "reads from the network", GREEN), (0.74, 0.88, "", BLUE)],
            ),
        ],
    )
    return p


def amdahl() -> Picture:
    p = Picture(NARROW, 330, "How much faster more workers make a program, by the part that cannot be shared")
    left, bottom, width, height = 46, 280, 330, 240
    p.text(16, 26, "times as fast", 13, PALE)
    for speed in (1, 4, 8, 12, 16):
        y = bottom - (speed - 1) / 15 * height
        p.line([(left, y), (left + width, y)], "#e4e7eb", width=1)
        p.text(left - 8, y + 5, f"{speed}", 12, PALE, "end")
    for workers in (1, 2, 4, 8, 16):
        p.text(left + (workers - 1) / 15 * width, bottom + 20, f"{workers}", 12, PALE, "middle")
    p.text(left + width / 2, bottom + 42, "workers", 13, PALE, "middle")
    for serial, colour in ((0.0, EDGE[GREEN]), (0.05, EDGE[BLUE]), (0.2, EDGE[ORANGE]), (0.5, EDGE[RED])):
        points = []
        for n in range(1, 17):
            speed = 1 / (serial + (1 - serial) / n)
            points.append((left + (n - 1) / 15 * width, bottom - (speed - 1) / 15 * height))
        p.line(points, colour, width=2.4)
        p.text(left + width + 8, points[-1][1] + 5, f"{serial:.0%} alone", 12, colour, bold=True)
    return p


def choose() -> Picture:
    p = Picture(NARROW, 482, "A chart of questions: threads, processes, or neither")
    steps = (
        ("Is it fast enough as it is?", "yes", "leave it alone", GREY),
        ("Does it mostly wait (network,\ndisk, other programs)?", "yes", "threads, many", GREEN),
        ("May it crash, or must it be\nended from outside?", "yes", "processes", ORANGE),
        (
            "Is the time spent in C code that\nlets the GIL go (NumPy, hashing)?",
            "yes",
            "threads,\none for each core",
            GREEN,
        ),
        ("Are the calls shorter than\nhanding them over?", "yes", "chunks, or\nleave it alone", GREY),
    )
    for i, (question, answer, result, fill) in enumerate(steps):
        y = 16 + i * 80
        p.box(10, y, 258, 56, question, BLUE)
        p.arrow(268, y + 28, 324, y + 28, answer)
        p.box(326, y, 144, 56, result, fill)
        p.arrow(139, y + 56, 139, y + 79)
        p.text(147, y + 73, "no", 12, PALE)
    last = (
        "processes, one for each core (or interpreters from\n3.13 on, or threads on Python without the GIL)"
    )
    p.box(10, 416, 460, 56, last, ORANGE)
    return p


def bars(title: str, rows: list[tuple[str, float, str, str]], ratio: bool = False) -> Picture:
    """(name, value, words, fill): lengths by the logarithm, unless they are ratios."""
    from math import log10

    p = Picture(NARROW, 50 + 46 * len(rows), title)
    p.text(16, 26, title, bold=True)
    values = [value for _, value, _, _ in rows]
    low, high = min(values), max(values)
    for i, (name, value, words, fill) in enumerate(rows):
        y = 42 + i * 46
        share = (
            value / high
            if ratio
            else 0.06 + 0.94 * (log10(value / low) / log10(high / low) if high > low else 1)
        )
        p.text(16, y + 14, name, 13)
        p.box(16, y + 20, 370 * share, 16, fill=fill)
        p.text(24 + 370 * share, y + 33, words, 13, bold=True)
    return p


ALL: dict[str, Callable[[], Picture]] = {
    "kitchen": kitchen,
    "waiting": waiting,
    "race": race,
    "memory": memory,
    "gil": gil,
    "amdahl": amdahl,
    "choose": choose,
    **how.ALL,
}


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in ALL.items():
        (folder / f"{name}.svg").write_text(draw().svg())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
