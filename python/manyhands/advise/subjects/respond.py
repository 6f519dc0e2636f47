"""respond: a small web server answers while a computing job runs inline, on a thread, on a process.

What counts is the time that a patient user sees: the 99th percentile latency. Requests are sent at fixed
instants whether or not the last answer has come (an open loop); a latency counts from the instant at which
the request was due. Otherwise a server that stalls for a second would be asked once in that second, and
one bad figure would stand for a hundred.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from manyhands.advise import stats, tree
from manyhands.advise.errors import WorkFailed
from manyhands.advise.machine import busy_seconds, cores_text
from manyhands.advise.memory import MemoryMeter
from manyhands.advise.model import Report, Row, Sample, Verdict
from manyhands.advise.progress import Progress
from manyhands.advise.stats import compare_pairs, median
from manyhands.advise.subjects import sample
from manyhands.advise.subjects.common import python_command
from manyhands.advise.units import seconds_text, times_text
from manyhands.advise.verdict import BUSY_ABOVE

FILES = 400
MODES = ("inline", "thread", "process", "none")
LABELS = {"none": "no job"}
INTERVAL = 0.01
ROUND_SECONDS = 1.5
WARM_UP_SECONDS = 0.5
ROUNDS_LEAST = 3
CLEARLY = 1.5
"""A process whose p99 is this much better is preferred to a thread, also where few rounds prove little."""


class _Server:
    """One server process, from its start to its end."""

    def __init__(self, mode: str, files: list[str]) -> None:
        command, environment = python_command("manyhands.advise.subjects.respond_server")
        self.process = subprocess.Popen(
            [*command, mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,
        )
        try:
            self.tell(json.dumps(files))
            hello = self.hear()
        except BaseException:
            self.close()
            raise
        self.port: int = hello["port"]
        self.start: float = hello["start"]

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except OSError:
            raise WorkFailed("respond: the server ended too early") from None

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise WorkFailed("respond: the server ended too early")
        told: dict[str, Any] = json.loads(line)
        return told

    def close(self) -> None:
        """End it, its worker first if it does not go by itself."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            below = {
                pid: tree.started(pid) for pid in [*tree.descendants(self.process.pid), self.process.pid]
            }
            tree.end_all(below)
            self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def _server(mode: str, files: list[str]) -> Iterator[_Server]:
    server = _Server(mode, files)
    try:
        yield server
    finally:
        server.close()


def ask(port: int, seconds: float) -> list[float]:
    """Latencies of requests that are due every `INTERVAL`, for that long."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        _get(connection, "/")
        _get(connection, "/begin")
        latencies = []
        first = time.perf_counter() + 0.05
        for number in range(max(1, int(seconds / INTERVAL))):
            due = first + number * INTERVAL
            ahead = due - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
            _get(connection, "/")
            latencies.append(time.perf_counter() - due)
        return latencies
    finally:
        connection.close()


def _get(connection: http.client.HTTPConnection, path: str) -> None:
    connection.request("GET", path)
    response = connection.getresponse()
    if response.status != 200 or not response.read():
        raise WorkFailed(f"respond: the server answered {response.status}")


class Respond:
    """The job for `compare`."""

    name = "respond"

    def __init__(self) -> None:
        self.files = sample.standard_library(FILES)

    def title(self) -> str:
        return sample.in_few_words(self.files)

    def measure(
        self,
        report: Report,
        seconds: float,
        workers: tuple[int, ...] | None,
        progress: Progress,
        meter: MemoryMeter,
    ) -> None:
        report.notes.append(
            f"answer {1 / INTERVAL:.0f} requests a second while a job counts identifiers: "
            f"{sample.in_words(self.files)}"
        )
        report.sample = sample.as_data(self.files) | {"interval_s": INTERVAL}
        report.measure = "p99"
        report.rows = [Row(mode, 1, LABELS.get(mode, mode)) for mode in MODES]
        began = time.monotonic()
        progress.begin(self.name)
        try:
            self._measure(report, seconds, progress, meter, began)
        except KeyboardInterrupt:
            report.interrupted = True
            raise
        finally:
            progress.end()
            report.seconds = time.monotonic() - began
            if len(report.rows[0].samples) >= (2 if report.interrupted else 1):
                report.verdict = dataclasses.replace(judge(report), warnings=_crowd(report))

    def _measure(
        self, report: Report, seconds: float, progress: Progress, meter: MemoryMeter, began: float
    ) -> None:
        prints: dict[str, str] = {}
        differing = ""
        number, cost = -1, 0.0
        length = min(ROUND_SECONDS, seconds / 20)
        while number < ROUNDS_LEAST or time.monotonic() - began + cost < seconds:
            if number >= 1 and time.monotonic() - began > 1.5 * seconds:
                break
            round_began = time.monotonic()
            for row in report.rows[number % 4 :] + report.rows[: number % 4]:
                done = self._round(row, number, length, meter)
                progress.update((time.monotonic() - began) / seconds, f"round {number + 1}, {row.name}")
                differs = [file for file, made in done.items() if prints.setdefault(file, made) != made]
                differing = differing or (row.name if differs else "")
            cost = time.monotonic() - round_began
            number += 1
        report.equality = f"RESULTS DIFFER: {differing}." if differing else "Results equal."

    def _round(self, row: Row, number: int, length: float, meter: MemoryMeter) -> dict[str, str]:
        """One mode once; the results of its job."""
        with _server(row.engine, self.files) as server:
            if number < 0:
                meter.begin()
            own, busy, began = time.process_time(), busy_seconds(), time.perf_counter()
            latencies = ask(server.port, WARM_UP_SECONDS if number < 0 else length)
            own, wall = time.process_time() - own, time.perf_counter() - began
            total = busy_seconds()
            if number < 0:
                row.peak_memory = meter.end()
            server.tell("end")
            told = server.hear()
        if number >= 0:
            extra = {
                "p50": stats.quantile(latencies, 0.5),
                "max": max(latencies),
                "requests": float(len(latencies)),
                "jobs_per_second": told["done"] / told["seconds"],
            }
            if busy is not None and total is not None:
                extra["others"] = (total - busy - own - told["cpu"]) / wall
                extra["asked_s"] = wall
            p99 = stats.quantile(latencies, 0.99)
            row.samples.append(Sample(number, p99, told["cpu"], server.start, extra))
        prints: dict[str, str] = told["prints"]
        return prints


def _crowd(report: Report) -> tuple[str, ...]:
    """A warning where other programs used the cores meanwhile."""
    samples = [sample for row in report.rows for sample in row.samples if "others" in sample.extra]
    wall = sum(sample.extra["asked_s"] for sample in samples)
    load = sum(sample.extra["others"] * sample.extra["asked_s"] for sample in samples) / wall if wall else 0.0
    if load <= BUSY_ABOVE * report.machine.cores:
        return ()
    return (
        f"Other programs used {load:.1f} of the {cores_text(report.machine.cores)} meanwhile: "
        "repeat it when it is quiet.",
    )


def _jobs(row: Row) -> float:
    return median([sample.extra["jobs_per_second"] for sample in row.samples])


def judge(report: Report) -> Verdict:
    """Which place for the job leaves the server most responsive."""
    rows = {row.engine: row for row in report.rows}
    inline, thread, process, none = (rows[mode] for mode in MODES)
    figures = ", ".join(
        f"{row.name} {seconds_text(median(row.walls))} ({_jobs(row):.0f} files/s)"
        for row in (inline, thread, process)
    )
    reason = f"p99 and job: {figures}; {seconds_text(median(none.walls))} without a job."
    t, p = compare_pairs(inline.walls, thread.walls), compare_pairs(inline.walls, process.walls)
    between = compare_pairs(thread.walls, process.walls)
    if p.faster and (between.faster or between.value > CLEARLY or not t.faster):
        why = "In the same process the job and the server share one GIL." if report.machine.gil else ""
        gain = f"The slowest 1 % of answers come {times_text(p.value)} sooner than inline."
        return Verdict("processes", 1, "Use a process.", f"{why} {gain} {reason}".strip())
    if t.faster:
        gain = f"The slowest 1 % of answers come {times_text(t.value)} sooner than inline"
        return Verdict(
            "threads", 1, "Use a thread.", f"{gain}; a process is not faster beyond noise. {reason}"
        )
    if t.slower and p.slower:
        return Verdict("inline", None, "Leave it inline.", reason)
    return Verdict("inline", None, "No difference beyond noise.", reason)
