"""Pauses and terminations under contention: a short run of pauses.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import manyhands
import pytest

PROGRAM = Path(__file__).with_name("pauses.py")
SCALE = int(os.environ.get("MANYHANDS_STRESS", "1"))
pytestmark = [pytest.mark.stress, pytest.mark.timeout(300 * SCALE)]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=280 * SCALE, check=False)


@pytest.mark.skipif(not manyhands.compiled(), reason="there is nothing of ours to stress")
def test_nobody_is_late_and_no_lock_stays_behind() -> None:
    done = run("--pauses", str(2000 * SCALE), "--terminations", str(200 * SCALE))
    assert done.returncode == 0 and done.stdout.splitlines()[-1].startswith("OK"), done.stdout + done.stderr


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="3.11 parks at checkpoints, where these threads hold nothing"
)
@pytest.mark.skipif(not manyhands.compiled(), reason="there is nothing of ours to stress")
def test_a_lock_whose_holder_is_not_known_is_found_out() -> None:
    done = run("--pauses", "200000", "--terminations", "0", "--lock", "stdlib", "--patience", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "parked with the lock" in done.stderr or "a pause did not come" in done.stderr, done.stderr


@pytest.mark.skipif(not manyhands.compiled(), reason="there is nothing of ours to stress")
def test_threads_of_each_kind_are_ended() -> None:
    command = [sys.executable, str(PROGRAM.with_name("ends.py")), "--each", str(8 * SCALE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280 * SCALE, check=False)
    rows = done.stdout.splitlines()[2:]
    assert done.returncode == 0 and len(rows) == 4, done.stdout + done.stderr
    assert all(f"{8 * SCALE} of {8 * SCALE}" in row or "not before it waits" in row for row in rows), rows
