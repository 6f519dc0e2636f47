"""The example of the robust lock says what it should."""

import subprocess
import sys
from pathlib import Path

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)


def test_the_example():
    program = Path(__file__).parents[3] / "examples" / "python" / "robust_lock.py"
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and done.returncode == 0
    assert done.stdout.splitlines() == [
        "a clerk moved 10: exit code 0",
        "a clerk moved 20: exit code -9",
        "the last owner died inside: 70 + 110",
        "repaired: 90 + 110",
        "a clerk moved 30: exit code 0",
        "at the end: 60 + 140 = 200",
    ]
