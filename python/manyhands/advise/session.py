"""One call of `compare` from the command line: what was asked for, run and shown as it comes."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from manyhands.advise import engines, machine, progress, target
from manyhands.advise.api import DEFAULT_SECONDS, Comparison, measure, new_report
from manyhands.advise.errors import BadInput
from manyhands.advise.measure import Measurement
from manyhands.advise.memory import MemoryMeter
from manyhands.advise.model import Report
from manyhands.advise.render import text

BUILTIN_SECONDS = 30.0
STYLES = {"title": "bold", "head": "dim", "verdict": "bold green", "bad": "bold red", "note": "dim"}


@dataclasses.dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    function: str | None = None
    items: str | None = None
    workers: tuple[int, ...] | None = None
    seconds: float | None = None
    only: tuple[str, ...] = ()


def run(request: Request) -> tuple[Comparison, bool]:
    """Run and print. The second value says whether Ctrl-C cut it short."""
    if request.function is None:
        if request.items is not None:
            raise BadInput("--items without a function: write FILE.py:FUNCTION or MODULE:FUNCTION before it")
        return _builtins(request)
    if request.only:
        raise BadInput("--only picks among the built-in jobs: leave it out, or the function")
    subject = target.parse_target(request.function)
    items = target.parse_items(request.items)
    return _own(request, subject, items)


def _own(request: Request, subject: target.Target, items: Sequence[Any]) -> tuple[Comparison, bool]:
    report = new_report(subject, items, machine.describe(engines.executors_in_use()))
    comparison = Comparison([report])
    with MemoryMeter() as meter, _shown(report, 1, 1) as outcome:
        seconds = request.seconds or DEFAULT_SECONDS
        measure(Measurement(subject, items, report, seconds, progress.choose(), meter, request.workers))
    return comparison, outcome.interrupted


def _builtins(request: Request) -> tuple[Comparison, bool]:
    from manyhands.advise import subjects

    chosen = subjects.choose(request.only)
    comparison = Comparison(builtin=True)
    where = machine.describe(engines.executors_in_use())
    for number, subject in enumerate(chosen, 1):
        report = Report(subject.name, subject.title(), where)
        comparison.reports.append(report)
        with MemoryMeter() as meter, _shown(report, number, len(chosen)) as outcome:
            seconds = request.seconds or BUILTIN_SECONDS
            subject.measure(report, seconds, request.workers, progress.choose(), meter)
        if outcome.interrupted:
            return comparison, True
    say(text.closing_lines(comparison.reports, text.width_of_terminal(), builtin=True))
    return comparison, False


@dataclasses.dataclass
class _Outcome:
    interrupted: bool = False


@contextlib.contextmanager
def _shown(report: Report, number: int, total: int) -> Iterator[_Outcome]:
    """Print the report when the block ends, also when it ends by Ctrl-C."""
    outcome = _Outcome()
    try:
        yield outcome
    except KeyboardInterrupt:
        outcome.interrupted = report.interrupted = True
    say([*text.report_lines(report, number, total, text.width_of_terminal()), ("", "")])


def say(lines: Sequence[text.Line]) -> None:
    """Print lines, in colour where there is a terminal and rich."""
    console = None
    if sys.stdout.isatty():
        with contextlib.suppress(ImportError):
            import rich.console

            console = rich.console.Console(highlight=False)
    for line, style in lines:
        if console is None:
            print(line)
        else:
            console.print(
                line, style=STYLES.get(style), markup=False, no_wrap=True, overflow="ignore", crop=False
            )
    sys.stdout.flush()
