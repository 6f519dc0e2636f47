"""Measuring: warm-up rounds that look closely, then timed rounds, interleaved, within a time box.

A round runs one engine once over all items: start it, run, stop it. The first round of each engine
warms up and is the one in which memory is sampled, results are compared and the timeline is taken; it
is not among the samples. In each later round every engine runs once, and the order rotates, so that
round k of one engine and round k of another saw the same machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

from manyhands.advise import engines, stats, tree
from manyhands.advise.engines import Engine, Outcome
from manyhands.advise.errors import EngineFailed
from manyhands.advise.machine import busy_seconds
from manyhands.advise.memory import MemoryMeter
from manyhands.advise.model import Facts, Report, Row, Sample, Span
from manyhands.advise.pilot import CHUNK_SECONDS, Pilot, cpu_share, describe_failures
from manyhands.advise.progress import Progress
from manyhands.advise.target import Target, locks_used
from manyhands.advise.watch import living, watched

PILOT_SHARE = 0.15
ROUNDS_WANTED = 8
ROUNDS_LEAST = 3
ROUNDS_MOST = 40
WAITS_BELOW = 0.5
SWEEP_WAITING = (2, 8, 32)
CHUNKS_PER_WORKER = 4
MAX_SPANS = 2000
CROWDED_ABOVE = 0.15
"""Share of the cores that other programs may use in a round that counts."""
SHORTEST_FOR_TICKS = 0.2
"""Seconds below which the kernel's ticks are too coarse to tell one round's load."""

SENT = ("processes", "interpreters")
"""Engines to whose workers items are sent, and results back."""

Config = tuple[str, int]


def default_workers(cores: int, cpu_share: float) -> tuple[int, ...]:
    """Numbers of workers to try: up to the cores for computing work, beyond them for waiting work."""
    if cpu_share < WAITS_BELOW:
        return tuple(sorted({max(2, cores), *SWEEP_WAITING}))
    steps = {max(2, cores)}
    if cores >= 4:
        steps |= {2, cores // 2}
    return tuple(sorted(steps))


@dataclasses.dataclass
class Measurement:
    """One function over one list of items.

    `run` fills the report as it goes, so that it is useful at any moment, also after Ctrl-C.
    """

    target: Target
    items: Sequence[Any]
    report: Report
    seconds: float
    progress: Progress
    meter: MemoryMeter
    workers: tuple[int, ...] | None = None
    use_all: bool = False
    """Take every item, whatever it costs (the built-ins, whose samples are fixed)."""

    def run(self) -> None:
        """Measure. Raises what the function or Ctrl-C raise; faults of one engine stay in its rows."""
        self._began = time.monotonic()
        self._spare = set(tree.descendants())
        self._engine: Engine | None = None
        self._prints: dict[int, bytes | None] = {}
        try:
            pilot = self._pilot()
            used, chunk = self._plan(pilot)
            self._warm_up(used, chunk, pilot)
            self._rounds(used, chunk)
            self._conclude(pilot, used, chunk)
        except BaseException:
            self._end_engine()
            raise
        finally:
            self.report.seconds = time.monotonic() - self._began

    def _tick(self, text: str) -> Callable[[], None]:
        return lambda: self.progress.update((time.monotonic() - self._began) / self.seconds, text)

    def _end_engine(self) -> None:
        """Leave no worker behind, whatever state the engine is in."""
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.abandon()
            if engine.kind == "processes":
                tree.end_all(tree.workers_below(self._spare), grace=0.2)
                engine.await_end()
                tree.end_all(tree.workers_below(self._spare), grace=0.2)  # and one that came meanwhile

    def _pilot(self) -> Pilot:
        total = len(self.items)
        pilot = Pilot(self.target.function, self.items)
        budget = float("inf") if self.use_all else self.seconds * PILOT_SHARE
        pilot.run(budget, min(total, 2), self._tick("one pass, serially"))
        self._facts(pilot, total, total, 1)
        return pilot

    def _facts(self, pilot: Pilot, used: int, total: int, chunk: int) -> None:
        self.report.facts = Facts(
            cpu_share=pilot.cpu_share,
            gil_share=pilot.gil_share if self.report.machine.gil else 0.0,
            per_call=pilot.per_call,
            items_used=used,
            items_total=total,
            chunk=chunk,
            locks=locks_used(self.target.function),
        )

    def _plan(self, pilot: Pilot) -> tuple[list[int], int]:
        """Choose the workers, the items that the time box has room for, and the chunks."""
        cores = self.report.machine.cores
        waits = pilot.cpu_share < WAITS_BELOW
        chosen = self.workers or default_workers(cores, pilot.cpu_share)
        kinds: tuple[str, ...] = ("threads", "processes")
        if not waits and engines.has_interpreters():  # for waits they are nothing but heavy threads
            kinds += ("interpreters",)
        sent = len(kinds) - 1
        units = 1.0 + sum(len(kinds) / w if waits else 1 + sent / min(w, cores) for w in chosen)
        room = self.seconds * (1 - PILOT_SHARE) / units / max(pilot.per_call, 1e-9)
        count = int(room / (ROUNDS_WANTED + 1))
        if waits:
            count = max(count, min(int(room / (ROUNDS_LEAST + 1)), 2 * max(chosen)))
        count = min(len(pilot.seen), max(count, min(cores, len(pilot.seen)), 2))
        used = sorted(pilot.seen if self.use_all else pilot.seen[:count])
        if self.workers is None:
            chosen = tuple(w for w in chosen if w <= max(2, len(used)))
        self._prints = {index: pilot.prints[index] for index in used}
        self.report.rows = [Row("serial", 1)]
        self.report.rows += [Row(kind, w) for kind in kinds for w in chosen]
        chunk = self._chunk(pilot.per_call, len(used), max(chosen))
        self._facts(pilot, len(used), len(self.items), chunk)
        if len(used) < len(self.items):
            self.report.notes.append(
                f"{len(used):,} of {len(self.items):,} items, evenly spread: more do not fit in "
                f"{self.seconds:g} s (--seconds)"
            )
        return used, chunk

    @staticmethod
    def _chunk(per_call: float, count: int, workers: int) -> int:
        """Calls that are handed over together: about a millisecond's worth, but some for every worker."""
        by_time = int(CHUNK_SECONDS / max(per_call, 1e-9))
        return max(1, min(by_time, count // (workers * CHUNKS_PER_WORKER)))

    def _warm_up(self, used: list[int], chunk: int, pilot: Pilot) -> None:
        items = [self.items[index] for index in used]
        self._costs: dict[Config, float] = {}
        verdicts: list[tuple[Row, bool | None, list[int]]] = []
        for row in self.report.rows:
            if row.engine in SENT and pilot.pickle_fault:
                row.failure = f"{row.name}: {pilot.pickle_fault}"
                continue
            outcome = self._round(row, items, chunk, -1)
            if outcome is None:
                continue
            row.equal, differing = self._equal(outcome, used)
            verdicts.append((row, row.equal, differing))
            row.bytes_moved = sum(pilot.sizes[i] for i in used) if row.engine in SENT else 0
            row.timeline, row.timeline_length = timeline(outcome), outcome.ended - outcome.began
        self._leave_out_interpreters()
        self.report.equality = equality(verdicts)

    def _leave_out_interpreters(self) -> None:
        """Not all modules can be imported in them: that is a note, and no fault of the function."""
        failed = [row for row in self.report.rows if row.engine == "interpreters" and row.failure]
        if failed:
            self.report.notes.append(f"Left out: {str(failed[0].failure).splitlines()[0]}")
            self.report.rows = [row for row in self.report.rows if row not in failed]

    def _equal(self, outcome: Outcome, used: list[int]) -> tuple[bool | None, list[int]]:
        """Whether all results are those of the pilot; None if some cannot be compared."""
        from manyhands.advise.fingerprint import fingerprint

        results = [result for part in outcome.chunks for result in part.results]
        prints = [fingerprint(result) for result in results]
        reference = [self._prints[index] for index in used]
        differing = [i for i, a, b in zip(used, prints, reference, strict=False) if a != b]
        if len(prints) != len(reference):
            return False, differing or used[len(prints) :][:1]
        return (None if None in reference else not differing), differing

    def _round(self, row: Row, items: Sequence[Any], chunk: int, number: int) -> Outcome | None:
        """Start the engine, run, stop. A fault of the engine is noted in its row: it runs no more."""
        began = time.monotonic()
        words = "warming up" if number < 0 else f"round {number + 1}"
        engine = self._engine = engines.make(row.engine, self.target, row.workers)
        if number < 0:
            self.meter.begin()
        try:
            others = living()
            start = engine.start()
            busy = busy_seconds()
            with watched(row, others) if number < 0 else contextlib.nullcontext():
                outcome = engine.run(items, chunk, self._tick(f"{words}, {row.name}"))
            outcome.others = _others(busy, busy_seconds(), outcome)
            failures = [failure for part in outcome.chunks for failure in part.failures]
            if failures:
                raise EngineFailed(f"{row.name}: {describe_failures(failures, items, len(items))}")
            if number < 0:  # while the workers and the results are still there
                row.peak_memory = self.meter.end()
            engine.stop()
        except EngineFailed as fault:
            row.failure = f"{fault} [{fault.code}]"
            self._end_engine()
            return None
        self._engine = None
        row.executor = engine.executor
        self._costs[row.engine, row.workers] = time.monotonic() - began
        if number >= 0:
            extra = {} if outcome.others is None else {"others": outcome.others}
            if row.engine == "serial":
                extra["queued"] = outcome.queued
            row.samples.append(Sample(number, outcome.ended - outcome.began, outcome.cpu, start, extra))
        return outcome

    def _rounds(self, used: list[int], chunk: int) -> None:
        items = [self.items[index] for index in used]
        for number in range(ROUNDS_MOST):
            rows = [row for row in self.report.rows if row.failure is None]
            elapsed = time.monotonic() - self._began
            ahead = sum(self._costs[row.engine, row.workers] for row in rows)
            late = elapsed + ahead > self.seconds
            if (late and number >= ROUNDS_LEAST) or (number >= 1 and elapsed + ahead > 1.5 * self.seconds):
                break
            for row in rows[number % len(rows) :] + rows[: number % len(rows)]:
                self._round(row, items, chunk, number)

    def _conclude(self, pilot: Pilot, used: list[int], chunk: int) -> None:
        """Facts again, now from the timed rounds, which no probe disturbed."""
        leave_out_crowded(self.report)
        serial = self.report.row("serial")
        facts = self.report.facts
        if serial is None or not serial.samples or facts is None:
            return
        wall = stats.median(serial.walls)
        share = stats.median([cpu_share(s.cpu, s.wall, s.extra.get("queued", 0.0)) for s in serial.samples])
        per_call = wall / len(used)
        self.report.facts = dataclasses.replace(
            facts,
            cpu_share=min(1.0, share),
            per_call=per_call,
            first_calls=pilot.per_call / per_call if per_call > 0 else 1.0,
        )


def _others(before: float | None, after: float | None, outcome: Outcome) -> float | None:
    """Cores that other programs used during a run.

    The kernel counts in ticks of 10 ms, so one short run's figure is coarse and may be below zero; the sum
    over many runs is not.
    """
    wall = outcome.ended - outcome.began
    if before is None or after is None or wall <= 0:
        return None
    return (after - before - outcome.cpu) / wall


def leave_out_crowded(report: Report) -> None:
    """Set aside rounds in which other programs used the cores, as long as enough quiet ones remain.

    What decides is the others' load alone, never the round's result, so this favours no engine.
    """
    limit = CROWDED_ABOVE * report.machine.cores
    rounds = {sample.round for row in report.rows for sample in row.samples}
    crowded = {
        sample.round
        for row in report.measured()
        for sample in row.samples
        if sample.wall >= SHORTEST_FOR_TICKS and sample.extra.get("others", 0.0) > limit
    }
    if not crowded or len(rounds - crowded) < ROUNDS_LEAST:
        return
    for row in report.rows:
        row.left_out = [sample for sample in row.samples if sample.round in crowded]
        row.samples = [sample for sample in row.samples if sample.round not in crowded]
    report.notes.append(
        f"{len(crowded)} of {len(rounds)} rounds left out: other programs were using the cores"
    )


def timeline(outcome: Outcome) -> list[Span]:
    """The chunks as spans on the round's own clock, workers numbered in the order they began."""
    names: dict[tuple[int, int], str] = {}
    spans = []
    for part in sorted(outcome.chunks, key=lambda part: part.start)[:MAX_SPANS]:
        name = names.setdefault(part.worker, f"worker {len(names) + 1}")
        spans.append(Span(name, part.start - outcome.began, part.end - outcome.began, part.cpu))
    return spans


def equality(verdicts: Sequence[tuple[Row, bool | None, list[int]]]) -> str:
    """What the comparison of results says, in words."""
    for row, equal, _ in verdicts:
        if equal is False and row.engine == "serial":
            return "Results vary from run to run even serially, so they were not compared."
    for row, equal, differing in verdicts:
        if equal is False:
            first = f", first at item {differing[0]}" if differing else ""
            return f"RESULTS DIFFER: {row.name} against serial{first}."
    if any(equal is None for _, equal, _ in verdicts):
        return "Results have no value to compare by."
    engines_compared = {row.engine for row, _, _ in verdicts}
    return "Results equal." if len(engines_compared) > 1 else ""
