"""The comparison as data: every sample, what was derived from them, and where they were taken."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Sequence
from typing import Any

from manyhands.advise import stats
from manyhands.advise.model import Report, Row
from manyhands.advise.render.text import speed_up

FORMAT = 1


def _row(report: Report, row: Row) -> dict[str, Any]:
    ratio = stats.compare_pairs(report.rows[0].walls, row.walls)
    return {
        "engine": row.engine,
        "workers": row.workers,
        "name": row.name,
        "executor": row.executor,
        "median_s": stats.median(row.walls),
        "spread": stats.spread(row.walls),
        "speed_up": speed_up(report, row),
        "speed_up_low": ratio.low,
        "speed_up_high": ratio.high,
        "p": ratio.p,
        "beyond_noise": ratio.outcome != "same",
        "cpu_s": stats.median([sample.cpu for sample in row.samples]),
        "peak_memory_bytes": row.peak_memory,
        "start_s": stats.median([sample.start for sample in row.samples]),
        "bytes_moved": row.bytes_moved,
        "equal": row.equal,
        "seen": row.seen,
        "failure": row.failure,
        "left_out": [dataclasses.asdict(sample) for sample in row.left_out],
        "samples": [dataclasses.asdict(sample) for sample in row.samples],
        "timeline": [dataclasses.asdict(span) for span in row.timeline],
    }


def _clean(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _clean(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(inner) for inner in value]
    return value


def as_dict(reports: Sequence[Report]) -> dict[str, Any]:
    """Plain dicts, lists, numbers and strings."""
    whole: dict[str, Any] = _clean(
        {
            "format": FORMAT,
            "machine": dataclasses.asdict(reports[0].machine) if reports else None,
            "comparisons": [
                {
                    "name": report.name,
                    "title": report.title,
                    "measure": report.measure,
                    "verdict": dataclasses.asdict(report.verdict) | {"text": report.verdict.text}
                    if report.verdict
                    else None,
                    "equality": report.equality,
                    "facts": dataclasses.asdict(report.facts) if report.facts else None,
                    "rows": [_row(report, row) for row in report.rows],
                    "failures": report.failures,
                    "notes": report.notes,
                    "sample": report.sample,
                    "seconds": report.seconds,
                    "interrupted": report.interrupted,
                }
                for report in reports
            ],
        }
    )
    return whole


def write_whole(path: str, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    folder = os.path.dirname(os.path.abspath(path))
    handle, scratch = tempfile.mkstemp(prefix=".manyhands-", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(scratch, 0o666 & ~umask)
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise


def save(reports: Sequence[Report], path: str) -> None:
    """Write the data to a file; `-` is standard output."""
    text = json.dumps(as_dict(reports), indent=1, ensure_ascii=False)
    if path == "-":
        print(text)
    else:
        write_whole(path, text + "\n")
