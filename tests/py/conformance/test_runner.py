"""The runner itself: it passes a faithful subject, finds a broken one, and excuses only what is listed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
needs_tests = pytest.mark.skipif(
    importlib.util.find_spec("test.test_queue") is None,
    reason="this interpreter was installed without CPython's own tests (Debian: libpython3-testsuite)",
)
SELECTION = r"\.(PyQueueTest|CQueueTest|QueueTest)\.test_(basic|fifo|queue_join|shrinking_queue|simple_queue)"


def run(tmp_path, subject, *words):
    """The exit status and the JSON document of a run of some queue tests on `subject`."""
    report = tmp_path / "report.json"
    done = subprocess.run(
        [
            *(sys.executable, str(HERE), "--python", sys.executable, "--subject", subject),
            *("--subject-path", str(HERE / "subjects"), "--suite", "queue", "-k", SELECTION),
            *("--json", str(report), "--retries", "1", "--timeout", "30", *words),
        ],
        capture_output=True,
        text=True,
        timeout=100,
    )
    document = json.loads(report.read_text()) if report.exists() else {}
    return done, document.get("suites", {}).get("queue", {})


def verdicts(suite):
    return {test.split(".", 2)[2]: r["verdict"] for test, r in suite["results"].items() if "verdict" in r}


@needs_tests
def test_a_faithful_subject_passes(tmp_path):
    done, suite = run(tmp_path, "faithful")
    assert done.returncode == 0, done.stdout + done.stderr
    assert suite["results"] and all(r["status"] == "pass" for r in suite["results"].values())
    assert suite["substitution"]["alias queue"] > 0


@needs_tests
def test_a_broken_subject_is_held_to_account_and_excused_only_where_listed(tmp_path):
    done, suite = run(tmp_path, "reversing")
    held = verdicts(suite)
    assert done.returncode == 1 and held["CQueueTest.test_basic"] == "regression", done.stdout + done.stderr
    assert "regression" in done.stdout and "test_basic" in done.stdout

    listed = tmp_path / "deliberate.txt"
    listed.write_text("# a comment\n\nqueue *Queue*Test.test_basic gives the newest first\n")
    done, suite = run(tmp_path, "reversing", "--deliberate", str(listed))
    held = verdicts(suite)
    assert held["CQueueTest.test_basic"] == "deliberate", held
    assert done.returncode == 0 and "regression" not in held.values(), done.stdout


@needs_tests
def test_a_launcher_that_substitutes_nothing_is_found(tmp_path):
    done, _ = run(tmp_path, "faithful", "--via", "launcher")  # it has no launcher at all
    assert done.returncode != 0


def test_a_line_without_a_reason_is_refused(tmp_path):
    listed = tmp_path / "deliberate.txt"
    listed.write_text("queue test_basic\n")
    done, _ = run(tmp_path, "faithful", "--deliberate", str(listed))
    assert done.returncode != 0 and "deliberate.txt:1: wants SUITE TEST REASON" in done.stderr


def test_a_subject_that_is_not_there_is_an_error(tmp_path):
    done, _ = run(tmp_path, "no_such_package")
    assert done.returncode == 2 and "cannot import no_such_package" in done.stdout
