"""Our own tests of what `deliberate.txt` lists: ours by default, the standard library's in strict mode."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import manyhands
import pytest
from runner.judge import read_deliberate
from runner.suites import SUITES

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    not manyhands.compiled(), reason="without the core both modes are the stdlib's"
)


def output(mode, code):
    """The words that `code` prints in a process in that mode."""
    env = {k: v for k, v in os.environ.items() if k != "MANYHANDS_COMPAT"}
    if mode == "strict":
        env["MANYHANDS_COMPAT"] = "strict"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_line_names_a_suite_and_a_replacement_that_exists():
    tests = Path(__file__).read_text()
    for suite, _, reason in read_deliberate(HERE / "deliberate.txt"):
        assert any(suite.rstrip("*") in name for name in SUITES), suite
        replacement = reason.rstrip(")\n").rpartition(" ")[2]
        assert f"def {replacement}(" in tests, f"no test {replacement!r} stands for: {reason}"


def test_public_names():
    code = """
        import threading, manyhands.threading as ours
        print(*sorted(set(ours.__all__) ^ set(threading.__all__)))
    """
    assert output("strict", code) == []
    extra = output("default", code)
    assert {"Outcome", "RWLock", "ThreadState"} <= set(extra)
    for name in extra:
        assert hasattr(manyhands.threading, name)
