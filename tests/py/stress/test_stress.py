"""Every primitive under stress, and every stress test under a broken primitive.

MANYHANDS_STRESS=n (make stress SCALE=n) runs n times as long, and with more numbers of threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import manyhands
import pytest
from stress_child import BODIES
from stress_crew import FAULT, HANG
from stress_subjects import TWINS

CHILD = Path(__file__).with_name("stress_child.py")
SCALE = int(os.environ.get("MANYHANDS_STRESS", "1"))
THREADS = "2,8,32" if SCALE == 1 else "2,3,4,8,16,32"
# Of two the alarm has another use; and it takes the main thread out of the line for a lock, which is then no fair one.
RINGING = [body for body in BODIES if body not in ("fork", "shutdown", "fairness")]
pytestmark = [pytest.mark.stress, pytest.mark.timeout(300 * SCALE)]
compiled = pytest.mark.skipif(not manyhands.compiled(), reason="there is nothing of ours to stress")


def run(body: str, subject: str, *options: str, limit: float) -> tuple[int, str]:
    """Exit status and output. The child ends itself when it hangs; the limit is for one that cannot."""
    command = [sys.executable, str(CHILD), body, subject, *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit)
    return done.returncode, done.stdout


def check_well(body: str, subject: str, *options: str) -> str:
    rounds = str((30 if body == "shutdown" else 60) * SCALE)
    status, output = run(body, subject, "--threads", THREADS, "--rounds", rounds, *options, limit=280 * SCALE)
    assert status == 0 and output.startswith("OK") and output.count("\n") == 1, output
    return output


@compiled
@pytest.mark.parametrize("body", BODIES)
def test_ours(body: str) -> None:
    check_well(body, "ours")


@compiled
@pytest.mark.parametrize("body", RINGING)
def test_ours_while_signals_arrive(body: str) -> None:
    check_well(body, "ours", "--signals")


@pytest.mark.parametrize("body", BODIES)
def test_the_standard_library(body: str) -> None:
    """The stress tests find no fault where there is none."""
    check_well(body, "stdlib")


@pytest.mark.parametrize("twin", TWINS)
def test_a_broken_twin_is_reported(twin: str) -> None:
    body, report = TWINS[twin][1:]
    options = ["--threads", "32" if body == "shutdown" else "2,8,16", "--rounds", "30", "--stall", "2"]
    if twin == "event-left-by-signal":
        options.append("--signals")
    status, output = run(body, twin, *options, limit=100)
    expected = HANG if report == "HANG" else -14 if body == "shutdown" else FAULT
    assert status == expected and report in output, output
    if status != FAULT:
        assert "most recent call first" in output, "a hang is shown with the stacks of all threads"


def test_every_stress_test_has_a_broken_twin() -> None:
    assert {body for _, body, _ in TWINS.values()} == set(BODIES)
