"""From figures to an answer: which engine, why, and from how much work on.

The order of the questions matters, and `docs/design/0009-compare.md` gives the reasons:

1. Is there anything to decide on (more than one call, more than one round, equal results)?
2. Is a speed-up too good to be true?
3. Which engines are faster than serial *beyond noise*?
4. Why: does the work compute or wait, did it hold the GIL, did threads overlap?
"""

from __future__ import annotations

import dataclasses
import math

from manyhands.advise import stats
from manyhands.advise.machine import cores_text
from manyhands.advise.model import Facts, Report, Row, Verdict
from manyhands.advise.stats import Ratio, compare_pairs, median
from manyhands.advise.units import bytes_text, count_text, rough_seconds_text, seconds_text, times_text

WAITS_BELOW = 0.5
"""CPU / wall below which work counts as waiting."""
GIL_HELD_ABOVE = 0.5
"""Share of time with the GIL held above which it is the GIL that threads queue for."""
SUSPECT_MARGIN = 1.15
"""A speed-up may exceed what the cores can give by this much before it is suspect: clocks vary."""
WORTHWHILE = 1.15
"""Less of a speed-up, however certain, is worth nobody's workers."""
PREFER_THREADS_WITHIN = 1.10
"""Threads are lighter, so processes must win by more than this to be preferred."""
PREFER_MANY_THREADS_WITHIN = 1.5
"""The same for waiting work, where there are many workers and each process costs memory and start."""
BUSY_ABOVE = 0.2
"""Share of the cores that other programs may use before it is worth a warning."""
SHORTEST_FOR_LOAD = 0.5
"""Seconds of measuring below which the kernel's ticks are too coarse to tell of other programs."""
HANDED_OVER_EASILY = 0.001
"""Calls of this length take far longer than handing them over, on any engine."""
SEEN_WAITING = 0.2
"""Share of the threads' time above which what they were seen waiting for is the reason."""
SEEN_LEAST = 0.05
"""Shares below this are not told."""
SHORTFALL = 1.15
"""An overhead of this share of a call's own time is called the reason."""


@dataclasses.dataclass(frozen=True)
class _Case:
    """What the questions are asked about."""

    report: Report
    facts: Facts
    serial: Row
    threads: Row | None
    processes: Row | None
    t: Ratio | None
    p: Ratio | None
    p_over_t: Ratio | None
    interpreters: Row | None = None
    i: Ratio | None = None
    i_over_p: Ratio | None = None

    @property
    def waits(self) -> bool:
        return self.facts.cpu_share < WAITS_BELOW

    @property
    def holds_gil(self) -> bool:
        return self.facts.gil_share is not None and self.facts.gil_share > GIL_HELD_ABOVE

    @property
    def gil_free(self) -> bool:
        """Known not to hold the GIL (which is not the same as not known to hold it)."""
        return self.facts.gil_share is not None and not self.holds_gil

    @property
    def queues_for_gil(self) -> bool:
        """The threads were seen waiting for the GIL, and more than for locks."""
        seen = self.threads.seen if self.threads is not None else None
        return seen is not None and seen["gil"] > max(SEEN_WAITING, seen["lock"])

    @property
    def cores(self) -> int:
        return self.report.machine.cores


def best(report: Report, kind: str) -> Row | None:
    """The fastest row of that engine; of those not slower beyond noise, the one with the fewest workers."""
    rows = [row for row in report.measured() if row.engine == kind]
    if not rows:
        return None
    fastest = min(rows, key=lambda row: median(row.walls))
    for row in sorted(rows, key=lambda row: row.workers):
        ratio = compare_pairs(row.walls, fastest.walls)
        if row is fastest or (not ratio.faster and ratio.value < stats.RELEVANT):
            return row
    return fastest


def judge(report: Report) -> Verdict:
    """The verdict on a report whose samples are complete (or as complete as Ctrl-C left them)."""
    serial, facts = report.row("serial"), report.facts
    if serial is None or facts is None or not serial.samples:
        return Verdict("unknown", None, "No verdict.", "Nothing was measured to the end.")
    threads, processes = best(report, "threads"), best(report, "processes")
    interpreters = best(report, "interpreters")
    case = _Case(
        report,
        facts,
        serial,
        threads,
        processes,
        compare_pairs(serial.walls, threads.walls) if threads else None,
        compare_pairs(serial.walls, processes.walls) if processes else None,
        compare_pairs(threads.walls, processes.walls) if threads and processes else None,
        interpreters,
        compare_pairs(serial.walls, interpreters.walls) if interpreters else None,
        compare_pairs(processes.walls, interpreters.walls) if processes and interpreters else None,
    )
    verdict = _suspect(case) or _different(case) or _with_interpreters(case, _decide(case))
    reason = f"{verdict.reason} {_seen(case)}".rstrip()
    return dataclasses.replace(verdict, reason=reason, warnings=verdict.warnings + _warnings(case))


def speed_limit(facts: Facts, workers: int, cores: int) -> float:
    """The speed-up that the machine can give: the workers, or the cores over the share of computing."""
    return min(workers, cores / max(facts.cpu_share, 0.001))


def _suspect(case: _Case) -> Verdict | None:
    """A speed-up on computing work that the cores cannot have given."""
    if case.waits:
        return None
    for row in case.report.measured():
        if row.engine == "serial":
            continue
        ratio = compare_pairs(case.serial.walls, row.walls)
        limit = max(1.0, speed_limit(case.facts, max(row.workers, case.cores), case.cores))
        if ratio.faster and ratio.value > limit * SUSPECT_MARGIN and ratio.low > limit:
            cpu_serial = median([s.cpu for s in case.serial.samples])
            cpu_row = median([s.cpu for s in row.samples])
            less = cpu_row < 0.8 * cpu_serial
            why = (
                f"It used {seconds_text(cpu_row)} of CPU where serial used {seconds_text(cpu_serial)}, so it "
                "did less work: a cache, or a shortcut outside the main thread?"
                if less
                else "Look for a cache, for work that was skipped, or for a machine that was busy meanwhile."
            )
            cores = cores_text(case.cores)
            return Verdict(
                "suspect",
                None,
                f"Suspect: {ratio.value:.1f}x by {row.name} is more than {cores} can give to computing work.",
                why,
            )
    return None


def _different(case: _Case) -> Verdict | None:
    if not case.report.equality.startswith("RESULTS DIFFER"):
        return None
    return Verdict(
        "differ",
        None,
        "Mend it first: the engines do not give the same results.",
        "Calls that change something they share (a global, a file) lose updates on threads, and do not see "
        "each other's changes on processes.",
    )


def _decide(case: _Case) -> Verdict:
    if case.facts.items_used < 2:
        return Verdict("serial", None, "Stay serial.", "There is one item only: nothing to share out.")
    t_gains = case.t is not None and case.t.faster and case.t.value >= WORTHWHILE
    p_gains = case.p is not None and case.p.faster and case.p.value >= WORTHWHILE
    if t_gains and (not p_gains or not _processes_clearly_better(case)):
        return _threads(case, p_gains)
    if p_gains:
        return _turns(case) if _takes_turns(case) else _processes(case, t_gains)
    return _serial(case)


def _with_interpreters(case: _Case, verdict: Verdict) -> Verdict:
    """Interpreters come in where processes do, or where nothing else pays; processes isolate more, and need not be
    beaten by little."""
    row, ratio = case.interpreters, case.i
    if row is None or ratio is None or verdict.choice not in ("processes", "serial"):
        return verdict
    if not (ratio.faster and ratio.value >= WORTHWHILE):
        return verdict
    if verdict.choice == "processes":
        ahead = case.i_over_p
        if ahead is None or not ahead.faster or ahead.value <= PREFER_THREADS_WITHIN:
            more = f" Interpreters, in one process: {_times(ratio)}."
            return dataclasses.replace(verdict, reason=verdict.reason + more)
    pays, work = _pays(case, row, ratio)
    others = ", ".join(
        f"{name} {_times(other)}" for name, other in (("threads", case.t), ("processes", case.p)) if other
    )
    reason = f"Each has a GIL of its own: {_times(ratio)} with {row.workers}"
    reason += f", against {others}." if others else "."
    return Verdict("interpreters", row.workers, "Use interpreters.", reason, pays, work)


def _processes_clearly_better(case: _Case) -> bool:
    ratio = case.p_over_t
    margin = PREFER_MANY_THREADS_WITHIN if case.waits else PREFER_THREADS_WITHIN
    return ratio is not None and ratio.faster and ratio.value > margin


def _takes_turns(case: _Case) -> bool:
    """Processes overlap and threads do not, and it is not the GIL that the threads queue for."""
    if case.t is None or (case.t.faster and case.t.value >= WORTHWHILE) or case.queues_for_gil:
        return False
    return case.gil_free or (case.waits and not case.holds_gil)


_DOING = {
    "python": "ran Python",
    "c": "ran C without the GIL",
    "gil": "waited for the GIL",
    "lock": "waited for a lock or for work",
    "outside": "waited for the outside",
}


def _seen(case: _Case) -> str:
    """What the threads were seen doing, the most first."""
    seen = case.threads.seen if case.threads is not None else None
    told = sorted(
        ((share, name) for name, share in (seen or {}).items() if share >= SEEN_LEAST), reverse=True
    )
    parts = [f"{_DOING[name]} {share:.0%}" for share, name in told]
    if not parts:
        return ""
    return f"Seen from outside, the threads {' and '.join([', '.join(parts[:-1])] * bool(parts[1:]) + parts[-1:])}."


def _times(ratio: Ratio | None) -> str:
    return times_text(ratio.value) if ratio is not None else "?"


def _row_start(row: Row) -> float:
    return median([sample.start for sample in row.samples])


def _pays(case: _Case, row: Row, ratio: Ratio) -> tuple[str, float | None]:
    """The serial work from which the start of the workers is earned back."""
    if ratio.value <= 1.0:
        return "", None
    work = _row_start(row) / (1 - 1 / ratio.value)
    calls = work / case.facts.per_call if case.facts.per_call > 0 else 0.0
    if calls <= 2:
        return "Pays from the second call on.", work
    return f"Pays above about {rough_seconds_text(work)} of work ({count_text(calls)} calls).", work


def _threads(case: _Case, p_gains: bool) -> Verdict:
    row, ratio = case.threads, case.t
    assert row is not None and ratio is not None
    pays, work = _pays(case, row, ratio)
    if case.waits:
        share = 1 - case.facts.cpu_share
        many = "Use threads, many." if row.workers > case.cores else "Use threads."
        together = f"threads wait together: {_times(ratio)} with {row.workers}"
        reason = f"The work waits {share:.0%} of its time, and {together}."
        if p_gains:
            reason += f" Processes reach {_times(case.p)}, at more cost."
        return Verdict("threads", row.workers, many, reason, pays, work)
    why = "There is no GIL here" if not case.report.machine.gil else "It computes in C that releases the GIL"
    if case.holds_gil:
        why = "It holds the GIL only part of the time"
    if p_gains and case.processes is not None:
        lighter = f"threads are lighter{_lighter(row, case.processes)}"
        reason = f"{why}, so both use the cores ({_times(ratio)} and {_times(case.p)}); {lighter}."
        return Verdict("either", row.workers, "Either will do: take threads.", reason, pays, work)
    reason = f"{why}, so threads use the cores: {_times(ratio)} with {row.workers}."
    if case.p is not None:
        moved = case.processes.bytes_moved if case.processes is not None else None
        cost = f" (they move {bytes_text(moved)})" if moved and moved > 1_000_000 else ""
        reason += f" Processes give {_times(case.p)}{cost}."
    return Verdict("threads", row.workers, "Use threads.", reason, pays, work)


def _lighter(threads: Row, processes: Row) -> str:
    if threads.peak_memory and processes.peak_memory and processes.peak_memory > 1.1 * threads.peak_memory:
        return f" ({bytes_text(threads.peak_memory)} against {bytes_text(processes.peak_memory)})"
    return ""


def _processes(case: _Case, t_gains: bool) -> Verdict:
    row, ratio = case.processes, case.p
    assert row is not None and ratio is not None
    pays, work = _pays(case, row, ratio)
    if case.threads is None:
        reason = "Threads could not be measured."
    elif t_gains:
        reason = f"Threads give {_times(case.t)} only"
        reason += ": part of the work holds the GIL." if case.report.machine.gil else "."
    elif case.holds_gil or case.queues_for_gil:
        reason = "Python code holds the GIL, so threads take turns."
    else:
        reason = f"Threads do not overlap here ({_times(case.t)})."
    reason += f" Processes: {_times(ratio)}."
    return Verdict("processes", row.workers, "Use processes.", reason, pays, work)


def _turns(case: _Case) -> Verdict:
    """Threads take turns on something that each process has for itself."""
    row, ratio = case.processes, case.p
    assert row is not None and ratio is not None
    lock = f"the lock '{case.facts.locks[0]}'" if case.facts.locks else "one lock, or something like it"
    how = f"The calls wait {1 - case.facts.cpu_share:.0%} of their time" if case.waits else "The GIL is free"
    reason = (
        f"{how}, but threads take turns on {lock}: {_times(case.t)} with {_workers(case.threads)}. "
        f"Processes reach {_times(ratio)} with {row.workers}, because each has its own: "
        "right only if what it guards need not be shared."
    )
    pays, work = _pays(case, row, ratio)
    headline = "Not threads. Processes, if each may have its own lock; otherwise stay serial."
    return Verdict("processes-if-unshared", row.workers, headline, reason, pays, work)


def _workers(row: Row | None) -> str:
    return f"{row.workers}" if row is not None else "any number"


def _serial(case: _Case) -> Verdict:
    """Nothing is faster beyond noise: say whether that is noise, turn-taking, overhead or one core."""
    slower = [r for r in (case.t, case.p, case.i) if r is not None and r.slower]
    each = (("threads", case.t), ("processes", case.p), ("interpreters", case.i))
    compared = ", ".join(f"{name} {_times(ratio)}" for name, ratio in each if ratio is not None)
    if not compared:
        return Verdict("serial", None, "Stay serial.", "No other engine could do the work.")
    if _is_crowded(case):
        return _crowded(case, compared)
    least = _break_even_call(case)
    if least is not None and slower:
        reason = (
            f"One call takes {seconds_text(case.facts.per_call)}, less than handing it over ({compared}). "
            f"Workers pay when a call takes more than about {rough_seconds_text(least)}, "
            "or when one call does many items."
        )
        return Verdict("serial", None, "Stay serial.", reason, "", least)
    if case.waits and case.facts.cpu_share < 0.3:
        lock = (
            f"the lock '{case.facts.locks[0]}'"
            if case.facts.locks
            else "one lock, file, connection or server"
        )
        reason = f"The calls wait, but no engine overlaps them ({compared}): they take turns on {lock}."
        return Verdict("serial", None, "Stay serial.", reason)
    if case.cores == 1:
        reason = f"Computing work cannot be shared out on one core ({compared})."
        return Verdict("serial", None, "Stay serial.", reason)
    if slower:
        reason = f"Nothing is faster beyond noise ({compared}).{_start(case)}"
        return Verdict("serial", None, "Stay serial.", reason)
    reason = f"Compared with serial: {compared}. Serial is the simplest."
    return Verdict("serial", None, "No difference beyond noise.", reason)


def _is_crowded(case: _Case) -> bool:
    """Others had the cores, and the calls are long enough for handing them over not to matter."""
    crowded = others_load(case.report) > BUSY_ABOVE * case.cores
    return crowded and not case.waits and case.cores > 1 and case.facts.per_call >= HANDED_OVER_EASILY


def _crowded(case: _Case, compared: str) -> Verdict:
    """Computing work gained nothing, on cores that others were using: that says little of the work."""
    hope = "on a quiet machine workers may help."
    if case.holds_gil:
        hope = "it holds the GIL, so on a quiet machine processes may help, threads will not."
    reason = f"Compared with serial: {compared}; {hope}"
    return Verdict("unclear", None, "No difference beyond noise, for want of a free core.", reason)


def _start(case: _Case) -> str:
    if case.processes is None:
        return ""
    work, start = median(case.serial.walls), _row_start(case.processes)
    if start < work / 2:
        return ""
    return f" All the work takes {seconds_text(work)}; starting processes takes {seconds_text(start)}."


def _break_even_call(case: _Case) -> float | None:
    """How long a call must take for handing it over to pay, if handing over is what costs.

    What a call costs on an engine beyond its share of the computing, c - own / k, is the overhead; with k
    workers, own > overhead + own / k pays.
    """
    estimates = []
    for row in (case.threads, case.processes):
        if row is None or (row.engine == "threads" and case.holds_gil):
            continue
        k = min(row.workers, case.cores if not case.waits else row.workers)
        if k < 2:
            continue
        own = case.facts.per_call
        overhead = median(row.walls) / max(1, case.facts.items_used) - own / k
        if overhead > (SHORTFALL - 1) * own:
            estimates.append(overhead / (1 - 1 / k))
    return min(estimates) if estimates and min(estimates) > case.facts.per_call else None


def others_load(report: Report) -> float:
    """Cores that other programs used while engines ran that could have used them all."""
    samples = [sample for row in report.measured() for sample in row.samples if "others" in sample.extra]
    measured = sum(sample.wall for sample in samples)
    if measured < SHORTEST_FOR_LOAD:
        return 0.0
    return max(0.0, sum(sample.extra["others"] * sample.wall for sample in samples) / measured)


def _warnings(case: _Case) -> tuple[str, ...]:
    found = []
    rounds = len(case.serial.samples)
    if rounds < stats.ENOUGH_ROUNDS and rounds < 3:
        word = "round" if rounds == 1 else "rounds"
        found.append(f"Only {rounds} {word} fitted in the time box: give it more --seconds.")
    load = others_load(case.report)
    if not case.waits and load > BUSY_ABOVE * case.cores:
        found.append(
            f"Other programs used {load:.1f} of the {cores_text(case.cores)} meanwhile: repeat it when it is quiet."
        )
    scatter = [stats.spread(row.walls) for row in case.report.measured()]
    worst = max((s for s in scatter if s is not None), default=0.0)
    if worst > 0.25:
        found.append(f"The machine is noisy (times scatter by ±{worst:.0%}).")
    if case.facts.first_calls > 3 and case.facts.per_call > 1e-5 and math.isfinite(case.facts.first_calls):
        found.append(
            f"The first calls took {case.facts.first_calls:.0f} times as long as later ones: something is "
            "cached, and these are the times with a warm cache."
        )
    return tuple(found)
