"""What users of the standard library suffer from: each program here hangs or fails there, and is OK with ours.

Each is run unmodified, as `python -m manyhands run PROGRAM`, in a session of its own.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import manyhands
import pytest

HERE = Path(__file__).parent
PROGRAMS = sorted(path.stem for path in HERE.glob("*.py") if not path.name.startswith("test_"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not manyhands.compiled(), reason="these are what the core is for"),
]


def run(folder, *command):
    """Exit status and output; a program that hangs is ended with all that it started, and its files lie in `folder`."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"TMPDIR": str(folder)},
    )
    try:
        output, _ = process.communicate(timeout=60)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        return None, "it hangs"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_pain_is_gone(name, tmp_path):
    status, output = run(tmp_path, "-m", "manyhands", "run", str(HERE / f"{name}.py"))
    assert status == 0 and output.rstrip().endswith("OK"), output


def test_a_pain_of_the_standard_library_is_one(tmp_path):
    """The programs do fail where nothing helps: they could not pass by doing nothing."""
    status, output = run(tmp_path, str(HERE / "lock_owner_killed.py"))
    assert status == 1 and "no word of the dead owner" in output
    status, output = run(tmp_path, str(HERE / "pool_lambda.py"))
    assert (status == 1 and "PicklingError" in output) or "pickle" in output
