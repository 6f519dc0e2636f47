"""The comparison as one self-contained page: it needs no network, and prints well."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence

from manyhands.advise import stats
from manyhands.advise.model import Machine, Report, Row
from manyhands.advise.render import charts, data
from manyhands.advise.render.text import advice_line, speed_up
from manyhands.advise.stats import median
from manyhands.advise.units import bytes_text, percent_text, seconds_text, times_text

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2733; background: #f4f6f9; margin: 0; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 28px; margin: 0 0 2px; } h2 { font-size: 20px; margin: 0; }
h3 { font-size: 14px; margin: 22px 0 6px; color: #4a5563; }
.faint { color: #667080; } .small { font-size: 13px; }
section { background: white; border: 1px solid #e1e6ed; border-radius: 10px; }
section { padding: 22px 26px; margin: 22px 0; }
.verdict { border-left: 5px solid #2f9e6e; background: #eefaf4; border-radius: 4px; }
.verdict { padding: 12px 16px; margin: 14px 0; }
.verdict b { font-size: 18px; display: block; } .verdict.bad { border-color: #d64545; background: #fdf0f0; }
.verdict.plain { border-color: #8b93a1; background: #f3f5f8; }
.bad-line { color: #b03030; white-space: pre-wrap; font-family: ui-monospace, monospace; font-size: 12px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; }
.pair > div { min-width: 0; }
@media (max-width: 820px) { .pair { grid-template-columns: 1fr; } }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; text-align: right; border-bottom: 1px solid #edf0f4; }
th:first-child, td:first-child { text-align: left; } th { color: #667080; font-weight: 600; }
.key span { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin: 0 5px 0 14px; }
details { margin-top: 14px; } summary { cursor: pointer; color: #4a5563; }
pre { background: #f4f6f9; padding: 12px; overflow: auto; font-size: 12px; max-height: 420px; }
"""


def _text(value: object) -> str:
    return html.escape(str(value))


def _verdict(report: Report) -> str:
    verdict = report.verdict
    if verdict is None:
        return '<div class="verdict bad"><b>No verdict.</b></div>'
    kind = {"suspect": " bad", "differ": " bad", "serial": " plain", "inline": " plain", "unknown": " bad"}
    rest = " ".join(
        part for part in (verdict.reason, verdict.pays, *verdict.warnings, report.equality) if part
    )
    look = kind.get(verdict.choice, "")
    return f'<div class="verdict{look}"><b>{_text(verdict.headline)}</b>{_text(rest)}</div>'


def _table(report: Report) -> str:
    quality = "speed-up" if report.measure == "time" else "faster"
    heads = ["", report.measure, "spread", quality, "CPU", "peak memory", "start-up", "moved", "rounds"]
    lines = ["<table><tr>" + "".join(f"<th>{_text(head)}</th>" for head in heads) + "</tr>"]
    for row in report.rows:
        cells = _cells(report, row)
        lines.append("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>")
    return "".join(lines) + "</table>"


def _cells(report: Report, row: Row) -> list[str]:
    if not row.samples:
        return [row.name, "failed" if row.failure else "-", *[""] * 7]
    start = median([sample.start for sample in row.samples])
    return [
        row.name,
        seconds_text(median(row.walls)),
        percent_text(stats.spread(row.walls)),
        times_text(speed_up(report, row)),
        seconds_text(median([sample.cpu for sample in row.samples])),
        bytes_text(row.peak_memory),
        seconds_text(start) if start else "",
        bytes_text(row.bytes_moved) if row.bytes_moved else "",
        str(len(row.samples)),
    ]


def _timelines(report: Report) -> str:
    """The row with the most workers tells most, as long as it can still be read; one for each engine."""
    parts = []
    for engine in ("serial", "threads", "processes", "interpreters"):
        rows = [row for row in report.measured() if row.engine == engine and row.timeline]
        small = [row for row in rows if row.workers <= 8] or rows
        if small:
            parts.append(charts.timeline(report, max(small, key=lambda row: row.workers)))
    if not parts:
        return ""
    key = "".join(
        f'<span style="background:{colour}"></span>{name}'
        for name, colour in (
            ("running", charts.RUNNING),
            ("waiting (for I/O, a lock or the GIL)", charts.WAITING),
            ("transferring (hand-over between calls)", charts.TRANSFERRING),
        )
    )
    return (
        f'<h3>What every worker did <span class="key small faint">{key}</span></h3>'
        + "".join(f"<div>{part}</div>" for part in parts)
        + '<p class="small faint">One round each, the warm-up. How much of a call ran and how much waited is '
        "measured, the order within the call is not: it is drawn as running first.</p>"
    )


def _section(report: Report, number: int, total: int, drawn: bool) -> str:
    where = f'<span class="faint">{number}/{total}</span> ' if total > 1 else ""
    notes = "".join(f'<div class="small faint">{_text(note)}</div>' for note in report.notes)
    failures = "".join(f'<p class="bad-line">{_text(failure)}</p>' for failure in report.failures)
    parts = [
        f"<section><h2>{where}{_text(report.name)}</h2>",
        f'<div class="faint">{_text(report.title)}</div>',
    ]
    parts += [notes, _verdict(report), failures]
    if drawn and any(report.measured()):
        if report.measure == "time":
            pair = f"<div>{charts.bars(report)}</div><div>{charts.speed_ups(report)}</div>"
            parts.append(f'<div class="pair">{pair}</div>')
        else:
            parts.append(f"<div>{charts.bars(report)}</div>")
    parts.append(_table(report))
    if drawn:
        parts.append(_timelines(report))
    short = data.as_dict([report])["comparisons"][0]
    for row in short["rows"]:
        row.pop("timeline", None)
    raw = json.dumps(short, indent=1, ensure_ascii=False)
    parts.append(f"<details><summary>Raw figures</summary><pre>{_text(raw)}</pre></details></section>")
    return "".join(parts)


def _machine(machine: Machine) -> str:
    rows = [
        ("processor", machine.cpu),
        ("cores for us", f"{machine.cores} {f'({machine.cores_note})' if machine.cores_note else ''}"),
        ("memory", bytes_text(machine.memory)),
        ("system", machine.system),
        ("Python", f"{machine.python}, {'with' if machine.gil else 'without'} GIL"),
        ("executors", machine.executors),
    ]
    cells = "".join(f"<tr><td>{_text(name)}</td><td>{_text(value)}</td></tr>" for name, value in rows)
    return f"<section><h2>The machine</h2><table>{cells}</table></section>"


HOW = """<section><h2>How to read it</h2><p>Every round ran every engine once, in turn, so that a slow
moment of the machine is a slow moment for all. Times are medians, the spread is half the distance between
the quartiles, and a difference counts only beyond noise: Wilcoxon's signed-rank test over the pairs of a
round at 5&nbsp;%, and at least 5&nbsp;%. Start-up is not in the times: it is shown beside them, and it is
what "pays above" is computed from. Memory is the peak of the whole process tree, shared pages counted
once.</p></section>"""


def whole(reports: Sequence[Report], builtin: bool) -> str:
    """The whole page."""
    drawn = charts.available()
    library = f"<script>{charts.library()}</script>" if drawn else ""
    hint = "" if drawn else '<p class="faint">For charts install plotly: pip install plotly</p>'
    advice = advice_line(reports) if builtin else ""
    summary = f'<div class="verdict"><b>What to use</b>{_text(advice)}</div>' if advice else ""
    machine = reports[0].machine
    total = len(reports)
    where = f"measured by manyhands on {' · '.join(machine.line.split('   '))}"
    sections = "".join(_section(report, number, total, drawn) for number, report in enumerate(reports, 1))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Threads or processes?</title><style>{STYLE}</style>{library}</head><body><main>"
        f'<h1>Threads or processes?</h1><div class="faint">{_text(where)}</div>'
        f"{summary}{hint}{sections}{_machine(machine)}{HOW}</main></body></html>\n"
    )


def fragment(reports: Sequence[Report]) -> str:
    """Verdicts and tables for a notebook cell."""
    return "".join(f"<div><b>{_text(r.name)}</b>{_verdict(r)}{_table(r)}</div>" for r in reports)


def save(reports: Sequence[Report], path: str, builtin: bool) -> None:
    """Write the page to a file."""
    data.write_whole(path, whole(reports, builtin))
