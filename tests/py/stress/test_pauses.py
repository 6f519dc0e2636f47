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


@pytest.mark.skipif(not manyhands.compiled(), reason="there is nothing of ours to stress")
def test_nobody_is_late_and_no_lock_stays_behind() -> None:
    counts = ["--pauses", str(2000 * SCALE), "--terminations", str(200 * SCALE)]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *counts],
        capture_output=True,
        text=True,
        timeout=280 * SCALE,
        check=False,
    )
    assert done.returncode == 0 and done.stdout.splitlines()[-1].startswith("OK"), done.stdout + done.stderr
