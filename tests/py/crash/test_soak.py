"""The soak, a short one; and that it finds what is broken on purpose."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

SOAK = Path(__file__).with_name("soak.py")
pytestmark = [pytest.mark.stress, pytest.mark.timeout(400)]


def run(*options: str, kills: int) -> tuple[int, dict[str, float], str]:
    """Exit status, counters, all that it said."""
    command = [sys.executable, str(SOAK), "--minutes", "4", "--kills", str(kills), "--seed", "4711", *options]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=390,
        env=dict(os.environ),
    )
    counters = dict(re.findall(r"^(\w[\w ,]*?) {2,}([\d.]+)$", done.stdout, re.MULTILINE))
    return done.returncode, {name: float(value) for name, value in counters.items()}, done.stdout


def test_nothing_is_lost_when_processes_are_killed() -> None:
    status, counters, output = run(kills=150)
    assert status == 0 and output.endswith("OK\n"), output
    assert counters["kills"] >= 150 and counters["messages"] > 1000, output


@pytest.mark.parametrize(
    ("broken", "found", "kills"),
    [
        ("drop", "lost", 40),
        ("duplicate", "duplicated", 40),
        ("reorder", "reordered", 40),
        ("corrupt", "lost, corrupt", 40),
        ("leak", "leaked blocks", 10),
        ("file", "files left", 10),
        ("silent", "not alone or not told", 400),
    ],
)
def test_a_broken_one_is_found(broken: str, found: str, kills: int) -> None:
    status, counters, output = run("--broken", broken, kills=kills)
    assert status == 1 and all(counters[name] > 0 for name in found.split(", ")), output
    assert output.endswith(f"FAILED: {found}\n"), output


def test_a_standstill_is_found() -> None:
    status, counters, output = run("--broken", "stall", "--stall", "2", kills=20)
    assert status == 1 and counters["longest stall"] >= 2, output
    assert output.endswith("FAILED: longest stall\n"), output
