"""The example programs of executors say what they should, on every kind."""

import subprocess
import sys
from pathlib import Path

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

FOLDER = Path(__file__).parents[3] / "examples" / "python"
KINDS = ["threads", "processes"] + ["interpreters"] * (sys.version_info >= (3, 13))


def run(name, *words):
    done = subprocess.run(
        [sys.executable, str(FOLDER / name), *words], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_pool_timeout(kind):
    out, _ = run("pool_timeout.py", kind)
    assert "first: first done" in out and "last: last done" in out and "cancelled: True, True" in out
    assert "endless: the task was ended: it ran for longer than 0.5 seconds" in out
    assert "flaky: done in run 3" in out
    assert ("dies: the worker process" in out) == (kind == "processes")


@pytest.mark.parametrize("kind", KINDS)
def test_progress(kind):
    out, err = run("progress.py", kind, "100")
    assert "sum: 1415" in out and "largest: 25" in out and "worker " in out
    assert "primes: 100 of 100 (100%)" in err


@pytest.mark.parametrize("kind", KINDS)
def test_asyncio_pool(kind):
    out, _ = run("asyncio_pool.py", kind)
    assert "one: 49" in out and "map: [0, 1, 4, 9, 16, 25]" in out
    assert "late: the task was ended" in out and "all: 30" in out
