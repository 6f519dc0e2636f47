"""`manyhands.compare`, and the comparison that it returns."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from manyhands._troubles import coded
from manyhands.advise import engines, machine, progress, target
from manyhands.advise.errors import BadInput, CompareError
from manyhands.advise.measure import Measurement
from manyhands.advise.memory import MemoryMeter
from manyhands.advise.model import Machine, Report
from manyhands.advise.target import Target
from manyhands.advise.verdict import judge

DEFAULT_SECONDS = 15.0


@dataclasses.dataclass
class Comparison:
    """What `compare` found: `print` it, show it in a notebook, or save it.

    `reports`: the figures, a `Report` for each function; `compare` has one. `builtin`: whether these are built-in jobs.
    """

    reports: list[Report] = dataclasses.field(default_factory=list)
    builtin: bool = False

    @property
    def verdict(self) -> str:
        """The verdict on the (first) function in words."""
        found = self.reports[0].verdict if self.reports else None
        return found.text if found is not None else "No verdict."

    @property
    def choice(self) -> str:
        """The verdict in a word: serial, threads, processes, either, processes-if-unshared, suspect, ..."""
        found = self.reports[0].verdict if self.reports else None
        return found.choice if found is not None else "unknown"

    @property
    def failed(self) -> bool:
        """Whether an engine could not do the work, or the engines' results differ."""
        return any(
            report.failures or (report.verdict is not None and report.verdict.choice == "differ")
            for report in self.reports
        )

    def text(self, width: int = 80) -> str:
        """The tables and verdicts as plain text."""
        from manyhands.advise.render import text

        lines: list[str] = []
        for number, report in enumerate(self.reports, 1):
            lines += [line for line, _ in text.report_lines(report, number, len(self.reports), width)]
        lines += [line for line, _ in text.closing_lines(self.reports, width, self.builtin)]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def data(self) -> dict[str, Any]:
        """Everything, every sample included, as JSON has it."""
        from manyhands.advise.render import data

        return data.as_dict(self.reports)

    def save_json(self, path: str | os.PathLike[str]) -> None:
        """Write `data()` to a file."""
        from manyhands.advise.render import data

        data.save(self.reports, os.fspath(path))

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write one self-contained page."""
        from manyhands.advise.render import page

        page.save(self.reports, os.fspath(path), self.builtin)

    def _repr_html_(self) -> str:
        from manyhands.advise.render import page

        return page.fragment(self.reports)


def compare(
    function: Callable[[Any], Any],
    items: Iterable[Any] | int,
    *,
    workers: Iterable[int] | int | None = None,
    seconds: float = DEFAULT_SECONDS,
    show_progress: bool = False,
) -> Comparison:
    """Run `function(item)` for all items serially, on threads, on processes and, where it computes and Python is
    3.13 or newer, on interpreters; and say which to use.

    items          any iterable, or a number N for range(N).
    workers        how many workers to try; default: as many as there are cores, more if the function waits.
    seconds        the time box. Items that do not fit are left out, evenly.
    show_progress  tell on standard error how far it is.

    The function is called many times for each item, so it should be free to repeat.
    Raises `manyhands.advise.CompareError` if the function fails, `ValueError` for no items.
    """
    subject = target.from_function(function)
    listed = target.as_items(items)
    chosen = check_workers(workers)
    if not seconds > 0:
        raise coded(ValueError(f"seconds must be more than 0, not {seconds!r}"), "MH-ARGUMENT")
    shown = progress.choose() if show_progress else progress.Silent()
    comparison = Comparison()
    report = new_report(subject, listed, machine.describe(engines.executors_in_use()))
    comparison.reports.append(report)
    with MemoryMeter() as meter:
        measure(Measurement(subject, listed, report, seconds, shown, meter, chosen))
    return comparison


def check_workers(workers: Iterable[int] | int | None) -> tuple[int, ...] | None:
    """Numbers of workers, in order and once each."""
    if workers is None:
        return None
    listed = [workers] if isinstance(workers, int) else list(workers)
    if not listed or any(not isinstance(w, int) or isinstance(w, bool) or not 1 <= w <= 1000 for w in listed):
        raise coded(ValueError(f"workers must be numbers from 1 to 1000, not {workers!r}"), "MH-ARGUMENT")
    return tuple(sorted(set(listed)))


def new_report(subject: Target, items: Sequence[Any], where: Machine) -> Report:
    """An empty report on a user's function."""
    count = f"{len(items):,} item" + ("" if len(items) == 1 else "s")
    return Report(subject.name, count, where)


def measure(measurement: Measurement) -> None:
    """Run a measurement, then judge it; after Ctrl-C, judge what there is and raise it again."""
    report = measurement.report
    measurement.progress.begin(report.name)
    try:
        measurement.run()
    except KeyboardInterrupt:
        report.interrupted = True
        serial = report.row("serial")
        if serial is not None and len(serial.samples) >= 2:
            report.verdict = judge(report)
        raise
    finally:
        measurement.progress.end()
    report.verdict = judge(report)


__all__ = ["BadInput", "CompareError", "Comparison", "compare"]
