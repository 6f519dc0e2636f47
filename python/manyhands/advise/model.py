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
    """One stretch of work on one worker: a chunk of calls. `Row.timeline` consists of them.

    `start` and `end`: seconds since the round began; `cpu`: seconds of processor time in between. `worker`: "worker 1",
    "worker 2", ..., in the order in which they began.
    """

    worker: str
    start: float
    end: float
    cpu: float


@dataclasses.dataclass(frozen=True)
class Sample:
    """One timed round of one engine. Times in seconds.

    `round`: its number, from 0. `wall` is what the round is judged by: how long it took; for the built-in job `respond`
    it is the 99th percentile latency. `cpu`: processor time of all workers; `start`: until they could work, which is
    not in `wall`. `extra` has further figures by name, such as `others`: cores that other programs used meanwhile.
    """

    round: int
    wall: float
    cpu: float
    start: float
    extra: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Row:
    """Everything known about one engine with one number of workers.

    `engine`: "serial", "threads", "processes" or "interpreters". `samples`: the rounds that count. `peak_memory`:
    bytes, None where it was not measured; `bytes_moved`: bytes of the arguments that are sent in a round. `equal`:
    whether the results are those of the first serial pass; None where they cannot be compared. `timeline`: of the round
    for warming up, which lasted `timeline_length` seconds. `failure`: why it could not do the work; None where it
    could. `executor`: whose executor it was, in words.
    """

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
        """What each round that counts is judged by, in seconds."""
        return [sample.wall for sample in self.samples]


@dataclasses.dataclass(frozen=True)
class Facts:
    """What was found out about the function itself, when it ran serially.

    `per_call`: seconds that a call takes. `items_used` of `items_total` items were measured, the others did not fit
    into the time box; `chunk` calls at a time were handed to a worker.
    """

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
    """Where it was measured.

    `cores`: how many this process may use; `cpu`, `system`, `python`: in words; `memory`: bytes, None where that is not
    known; `gil`: whether this Python has one; `executors`: whose were compared.
    """

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
    """The answer. `choice` is for programs, the rest for people.

    `choice`: "serial", "threads", "processes", "interpreters", "either", "processes-if-unshared", "suspect" (too good
    to be true), "differ" (the results do), "unclear" or "unknown" (nothing was measured to the end). `workers`: how
    many of them; None for serial and where nothing is advised. `pays_seconds`: seconds of serial work from which it is
    worth the start of the workers; None where that was not found.
    """

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
    """One function, compared: what `Comparison.reports` consists of.

    `rows`: one for each engine and number of workers, serial first. `facts` and `verdict` are None where it came to an
    end before. `equality` and `notes`: what the text says of the results, and of what was left out. `measure`: "time",
    or "p99" for the 99th percentile latency. `sample`: of a built-in job, what it ran on. `seconds`: how long the
    comparison took; `interrupted`: by Ctrl-C.
    """

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
        """Why engines could not do the work, one text for each."""
        return [row.failure for row in self.rows if row.failure is not None]
