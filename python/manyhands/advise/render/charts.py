"""The charts of the page, by plotly. Only this file knows it; without it the page has no charts."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

from manyhands.advise import stats
from manyhands.advise.model import Report, Row, Span
from manyhands.advise.render.text import speed_up
from manyhands.advise.units import seconds_text, times_text

COLOURS = {
    "serial": "#8b93a1",
    "threads": "#2b6cb0",
    "processes": "#dd6b20",
    "interpreters": "#805ad5",
    "inline": "#8b93a1",
    "thread": "#2b6cb0",
    "process": "#dd6b20",
    "none": "#cbd2dc",
}
RUNNING, WAITING, TRANSFERRING = "#2f9e6e", "#d9dee6", "#d64545"
INK, FAINT = "#1d2733", "#e6eaf0"


def available() -> bool:
    """Whether plotly is installed."""
    return importlib.util.find_spec("plotly") is not None


def _module(name: str) -> Any:
    """A module of plotly, which has no types to check against."""
    return importlib.import_module(name)


def library() -> str:
    """The drawing library itself, to be put into the page once."""
    text: str = _module("plotly.offline").get_plotlyjs()
    return text


def _figure(title: str, height: int, left: int = 96) -> Any:
    go = _module("plotly.graph_objects")

    figure = go.Figure()
    figure.update_layout(
        title={"text": title, "font": {"size": 14, "color": INK}, "x": 0, "xref": "paper"},
        height=height,
        margin={"l": left, "r": 24, "t": 44, "b": 48},
        font={"family": "system-ui, sans-serif", "size": 12, "color": INK},
        paper_bgcolor="white",
        plot_bgcolor="white",
        showlegend=False,
        bargap=0.3,
    )
    figure.update_xaxes(gridcolor=FAINT, zeroline=False, fixedrange=True)
    figure.update_yaxes(gridcolor=FAINT, zeroline=False, fixedrange=True)
    return figure


def _html(figure: Any) -> str:
    text: str = _module("plotly.io").to_html(
        figure, include_plotlyjs=False, full_html=False, config={"displayModeBar": False, "responsive": True}
    )
    return text


def bars(report: Report) -> str:
    """Median times with their quartiles, one bar for each engine and number of workers."""
    go = _module("plotly.graph_objects")

    rows = list(report.measured())
    middles = [stats.median(row.walls) for row in rows]
    scale, unit = (1.0, "s") if max(middles, default=0) >= 1 else (1e3, "ms")
    what = "99th percentile latency" if report.measure == "p99" else "Time"
    figure = _figure(f"{what}: median and quartiles, shorter is better", 110 + 34 * len(rows))
    figure.add_trace(
        go.Bar(
            y=[row.name for row in rows],
            x=[value * scale for value in middles],
            orientation="h",
            marker_color=[COLOURS.get(row.engine, INK) for row in rows],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [
                    (stats.quantile(row.walls, 0.75) - middle) * scale
                    for row, middle in zip(rows, middles, strict=True)
                ],
                "arrayminus": [
                    (middle - stats.quantile(row.walls, 0.25)) * scale
                    for row, middle in zip(rows, middles, strict=True)
                ],
                "thickness": 1.5,
                "color": INK,
            },
            hoverinfo="skip",
        )
    )
    figure.add_trace(
        go.Scatter(
            y=[row.name for row in rows],
            x=[stats.quantile(row.walls, 0.75) * scale for row in rows],
            mode="text",
            text=[f"  {seconds_text(value)}" for value in middles],
            textposition="middle right",
            cliponaxis=False,
            hoverinfo="skip",
        )
    )
    figure.update_yaxes(autorange="reversed", gridcolor="white")
    figure.update_xaxes(title={"text": unit, "standoff": 4})
    if report.measure == "p99":
        figure.update_xaxes(type="log", title={"text": f"{unit}, logarithmic"})
    else:
        figure.update_xaxes(range=[0, max(middles, default=1) * scale * 1.18])
    return _html(figure)


def speed_ups(report: Report) -> str:
    """Speed-up against the number of workers, with the line of the core count."""
    go = _module("plotly.graph_objects")

    figure = _figure("Speed-up over serial, against workers", 110 + 34 * max(4, len(report.rows)), left=56)
    counts = sorted({row.workers for row in report.measured()})
    places = {count: place for place, count in enumerate(sorted({1, *counts}))}
    cores = report.machine.cores
    for engine in ("threads", "processes", "interpreters"):
        rows = [row for row in report.measured() if row.engine == engine]
        ups = [stats.compare_pairs(report.rows[0].walls, row.walls) for row in rows]
        if not rows:
            continue
        # Serial is one worker: the line starts there if the engine was not tried with one.
        begin: tuple[list[int], list[float], list[float]] = ([], [], [])
        if rows[0].workers > 1:
            begin = ([places[1]], [1.0], [0.0])
        figure.add_trace(
            go.Scatter(
                x=begin[0] + [places[row.workers] for row in rows],
                y=begin[1] + [up.value for up in ups],
                mode="lines+markers+text",
                text=[""] * len(begin[0]) + [times_text(up.value) for up in ups],
                textposition="top center" if engine == "threads" else "bottom center",
                name=engine,
                line={"color": COLOURS[engine], "width": 2.5},
                marker={"size": 9},
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": begin[2] + [up.high - up.value for up in ups],
                    "arrayminus": begin[2] + [up.value - up.low for up in ups],
                    "thickness": 1.2,
                },
                hovertemplate=f"{engine}, %{{text}}<extra></extra>",
            )
        )
    top = max([speed_up(report, row) or 1.0 for row in report.measured()] + [float(cores)])
    figure.add_hline(
        y=cores,
        line={"dash": "dash", "color": "#a0a8b4"},
        annotation={"text": f"{cores} core{'s' if cores != 1 else ''}", "font": {"color": "#6b7480"}},
    )
    figure.add_hline(y=1, line={"dash": "dot", "color": COLOURS["serial"]}, annotation_text="serial")
    figure.update_yaxes(range=[0, top * 1.25])
    figure.update_xaxes(
        tickvals=list(places.values()),
        ticktext=[str(count) for count in places],
        range=[-0.5, max(places.values(), default=0) + 0.5],
        title={"text": "workers", "standoff": 4},
    )
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "y": 1.0, "x": 1, "xanchor": "right", "yanchor": "bottom"},
        margin={"t": 70},
        title={"y": 0.96},
    )
    return _html(figure)


def states(spans: Sequence[Span], shortest: float = 0.0) -> dict[str, list[tuple[str, float, float]]]:
    """Stretches (worker, start, length) of each state; shorter hand-overs than `shortest` are left out.

    Of a call it is known how much of it ran and how much it waited, not in which order: it is drawn as
    running first. Between two calls of a worker lies the hand-over.
    """
    found: dict[str, list[tuple[str, float, float]]] = {"running": [], "waiting": [], "transferring": []}
    last: dict[str, float] = {}
    for span in spans:
        length = span.end - span.start
        ran = min(length, span.cpu)
        before = last.get(span.worker, 0.0)
        if span.start - before > shortest:
            found["transferring"].append((span.worker, before, span.start - before))
        found["running"].append((span.worker, span.start, ran))
        if length > ran:
            found["waiting"].append((span.worker, span.start + ran, length - ran))
        last[span.worker] = span.end
    return found


def timeline(report: Report, row: Row) -> str:
    """What every worker of a row did in its warm-up round."""
    go = _module("plotly.graph_objects")

    workers = sorted({span.worker for span in row.timeline}, key=lambda name: int(name.split()[-1]))
    figure = _figure(row.name, 96 + max(1, len(workers)) * (26 if len(workers) < 12 else 13))
    colours = {"running": RUNNING, "waiting": WAITING, "transferring": TRANSFERRING}
    for state, stretches in states(row.timeline, row.timeline_length / 1200).items():
        figure.add_trace(
            go.Bar(
                y=[worker for worker, _, _ in stretches],
                base=[round(start * 1e3, 4) for _, start, _ in stretches],
                x=[round(length * 1e3, 4) for _, _, length in stretches],
                orientation="h",
                name=state,
                marker={"color": colours[state], "line": {"width": 0}},
                hovertemplate=f"{state}: %{{x:.2f}} ms<extra></extra>",
            )
        )
    figure.update_layout(barmode="overlay", bargap=0.15)
    figure.update_yaxes(
        categoryorder="array", categoryarray=workers[::-1], gridcolor="white", tickfont={"size": 10}
    )
    figure.update_xaxes(range=[0, row.timeline_length * 1e3], title={"text": "ms", "standoff": 2})
    return _html(figure)
