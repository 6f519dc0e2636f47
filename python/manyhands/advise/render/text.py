"""The comparison as text: one table and one verdict for each function."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from manyhands.advise import stats
from manyhands.advise.model import Report, Row
from manyhands.advise.stats import median
from manyhands.advise.units import bytes_text, percent_text, seconds_text, times_text
from manyhands.advise.verdict import BUSY_ABOVE, others_load

NARROWEST, WIDEST = 78, 120
BLOCKS = " ▏▎▍▌▋▊▉█"

Line = tuple[str, str]
"""A line and its style: "", "title", "head", "verdict", "bad", "note"."""


def width_of_terminal() -> int:
    """The columns to use."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((80, 24)).columns))


def bar(value: float, full: float, width: int) -> str:
    """A bar of eighths of a character: `full` fills `width`."""
    if not full > 0 or not value > 0:
        return ""
    eighths = max(1, round(min(1.0, value / full) * width * 8))
    return BLOCKS[8] * (eighths // 8) + (BLOCKS[eighths % 8] if eighths % 8 else "")


def speed_up(report: Report, row: Row) -> float | None:
    """The speed-up over the report's base row, pair by pair."""
    base = report.rows[0] if report.rows else None
    if base is None or not base.samples or not row.samples:
        return None
    return 1.0 if row is base else stats.compare_pairs(base.walls, row.walls).value


def report_lines(report: Report, number: int, total: int, width: int) -> list[Line]:
    """One report: title, table, verdict."""
    where = f"{number}/{total}  " if total > 1 else ""
    lines: list[Line] = []
    for part in _wrap(f"{where}{report.name}   {report.title}   {report.machine.line}", width, "     "):
        lines.append((part, "title"))
    lines += [(part, "note") for note in report.notes for part in _wrap(f"     {note}", width, "     ")]
    if any(row.samples for row in report.rows):
        lines += table(report, width)
    for failure in report.failures:
        first, *rest = failure.splitlines()
        lines += [(part, "bad") for part in _wrap(f"  !! {first}", width, "     ")]
        lines += [(f"     {part}", "note") for part in rest]
    if report.interrupted:
        lines.append(("  Interrupted: the table has what was measured until then.", "bad"))
    if report.verdict is not None:
        words = f"  -> {report.verdict.text}"
        equal = report.equality
        style = "bad" if report.verdict.choice in ("suspect", "differ") else "verdict"
        lines += [(part, style) for part in _wrap(f"{words} {equal}".rstrip(), width, "     ")]
    return lines


def _wrap(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        subsequent_indent=indent,
        drop_whitespace=True,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def table(report: Report, width: int) -> list[Line]:
    """The rows under their heads. The bar takes the room that is left."""
    names = [row.name for row in report.rows]
    first = max(len(name) for name in names)
    fixed = 2 + first + 1 + 8 + 1 + 6 + 8 + 1 + 8 + 8 + 8 + 8
    room = max(6, min(24, width - fixed))
    ups = [speed_up(report, row) or 0.0 for row in report.rows]
    full = max([*ups, 1.0])
    quality = "faster" if report.measure != "time" else "speed-up"
    head = (
        f"  {'':<{first}} {report.measure:>8} {'':<6}{quality:>8} {'':<{room}}"
        f"{'CPU':>8}{'memory':>8}{'start':>8}{'moved':>8}"
    )
    lines: list[Line] = [(head.rstrip(), "head")]
    lines += [(_line(row, up, full, first, room), "") for row, up in zip(report.rows, ups, strict=True)]
    return lines


def _line(row: Row, up: float, full: float, first: int, room: int) -> str:
    if not row.samples:
        return f"  {row.name:<{first}} {'failed' if row.failure else '-':>8}"
    cpu = median([sample.cpu for sample in row.samples])
    start = median([sample.start for sample in row.samples])
    spread = percent_text(stats.spread(row.walls))
    moved = bytes_text(row.bytes_moved) if row.bytes_moved else ""
    return (
        f"  {row.name:<{first}} {seconds_text(median(row.walls)):>8} {spread:<6}"
        f"{times_text(up):>8} {bar(up, full, room):<{room}}{seconds_text(cpu):>8}"
        f"{bytes_text(row.peak_memory):>8}{seconds_text(start) if start else '':>8}{moved:>8}"
    ).rstrip()


def advice_line(reports: Sequence[Report]) -> str:
    """`What to use`, from the verdicts that were really reached."""
    kinds = (
        ("index", "compute in Python"),
        ("pack", "compute in C that releases the GIL"),
        ("fetch", "wait"),
        ("respond", "stay responsive"),
    )
    words = {word: word for word in ("processes", "interpreters", "either", "serial", "inline")}
    parts = []
    for name, kind in kinds:
        for report in reports:
            if report.name == name and report.verdict is not None and report.verdict.choice != "unknown":
                verdict = report.verdict
                many = (verdict.workers or 0) > report.machine.cores
                threads = "threads, many" if name == "fetch" and many else "threads"
                chosen = threads if verdict.choice == "threads" else words.get(verdict.choice, "unclear here")
                if name in ("index", "pack") and others_load(report) > BUSY_ABOVE * report.machine.cores:
                    chosen += " (busy machine: repeat it)"
                parts.append(f"{kind}: {chosen}")
    return " | ".join(parts)


def closing_lines(reports: Sequence[Report], width: int, builtin: bool) -> list[Line]:
    """What stands below the last table."""
    if not builtin:
        return []
    advice = advice_line(reports)
    lines: list[Line] = []
    if advice:
        lines += [(part, "verdict") for part in _wrap(f"What to use   {advice}", width, " " * 14)]
    lines.append(("Your own:     python -m manyhands compare job.py:work --items 'data/*'", ""))
    return lines
