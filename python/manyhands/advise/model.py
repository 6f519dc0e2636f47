"""The records that a comparison consists of: what was measured, and what follows from it.

Measuring fills them, the statistics and the verdict read them, the renderers show them. Times are
seconds, sizes bytes, unless a name says otherwise. None of them does any work of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

Kind = Literal["serial", "threads", "processes", "interpreters"]


@dataclasses.dataclass(frozen=True)
class Span:
    """One stretch of work on one worker: a chunk of calls, on the clock of the whole round."""

    worker: str
    start: float
    end: float
    cpu: float


@dataclasses.dataclass(frozen=True)
class Sample:
    """One timed round of one engine.

    `wall` is what the round is judged by: for `respond` it is the 99th percentile latency, and
    `extra` has the other figures.
    """

    round: int
    wall: float
    cpu: float
    start: float
    extra: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Row:
    """Everything known about one engine with one number of workers."""

    engine: str
    workers: int
    label: str = ""
    samples: list[Sample] = dataclasses.field(default_factory=list)
    left_out: list[Sample] = dataclasses.field(default_factory=list)
    """Samples of rounds in which other programs were too busy."""
    peak_memory: int | None = None
    bytes_moved: int | None = None
    equal: bool | None = None
    timeline: list[Span] = dataclasses.field(default_factory=list)
    timeline_length: float = 0.0
    failure: str | None = None
    executor: str = ""
    seen: dict[str, float] | None = None
    """Threads only: the shares of the workers' time in which they were seen running Python, C, or waiting."""

    @property
    def name(self) -> str:
        """How the row is called in tables: the engine and its number of workers."""
        if self.label:
            return self.label
        return self.engine if self.engine == "serial" else f"{self.engine} {self.workers}"

    @property
    def walls(self) -> list[float]:
        return [sample.wall for sample in self.samples]


@dataclasses.dataclass(frozen=True)
class Facts:
    """What was found out about the function itself, before any engine was compared."""

    cpu_share: float
    """CPU time / wall time of the serial rounds: 1 computes, 0 waits."""
    gil_share: float | None
    """Share of the time in which another thread could not get the GIL; None: no GIL, or not measured."""
    per_call: float
    items_used: int
    items_total: int
    chunk: int
    first_calls: float = 1.0
    """Time of the first pass / time of the later ones: well above 1 means that something is cached."""
    locks: tuple[str, ...] = ()
    """Names of locks that the function's own code mentions."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where it was measured."""

    cores: int
    cpu: str
    memory: int | None
    system: str
    python: str
    gil: bool
    executors: str
    cores_note: str = ""

    @property
    def line(self) -> str:
        """The machine in the words that head a table."""
        cores = f"{self.cores} core" + ("" if self.cores == 1 else "s")
        return f"{cores}   {self.python}, {'GIL' if self.gil else 'no GIL'}"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The answer. `choice` is for machines, the rest for people."""

    choice: str
    workers: int | None
    headline: str
    reason: str
    pays: str = ""
    pays_seconds: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The verdict as one paragraph."""
        return " ".join(part for part in (self.headline, self.reason, self.pays, *self.warnings) if part)


@dataclasses.dataclass
class Report:
    """One function, compared."""

    name: str
    title: str
    machine: Machine
    rows: list[Row] = dataclasses.field(default_factory=list)
    facts: Facts | None = None
    verdict: Verdict | None = None
    equality: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)
    measure: str = "time"
    sample: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    interrupted: bool = False
    timeline_note: str = ""

    def row(self, engine: str, workers: int | None = None) -> Row | None:
        """The row of that engine (and number of workers), if there is one."""
        for row in self.rows:
            if row.engine == engine and workers in (None, row.workers):
                return row
        return None

    def measured(self) -> Iterator[Row]:
        """The rows that have samples and did not fail."""
        return (row for row in self.rows if row.samples and row.failure is None)

    @property
    def failures(self) -> list[str]:
        return [row.failure for row in self.rows if row.failure is not None]
