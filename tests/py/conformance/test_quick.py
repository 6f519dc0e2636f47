"""A quick selection of CPython's own tests on manyhands; all of them: `make conformance`."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import manyhands
import pytest

HERE = Path(__file__).parent
SITE = Path(manyhands.__file__).parent.parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("test.lock_tests") is None,
        reason="this interpreter was installed without CPython's own tests (Debian: libpython3-testsuite)",
    ),
    pytest.mark.skipif(not manyhands.compiled(), reason="without the core there is nothing of ours to test"),
]
# suite, and the tests of it that are quick
QUICK = {
    "threading": r"(Lock|RLock|Event|Condition|Semaphore|Barrier|Timer|Misc|Hook)\w*Tests?\.(?!.*timeout)",
    "queue": r"QueueTest\.test_(basic|fifo|shutdown|queue_(join|task)|simple|order)",
    "sched": ".",
    "fork1": "threaded_import_lock_fork",
    "mp_fork": r"WithProcessesTest(Lock|Event|Barrier|Value|Array|Semaphore)\.(?!.*(timeout|abort|reset))",
}
if (
    importlib.util.find_spec("test.test_concurrent_futures") is not None
):  # 3.11.5 and 3.12.0 do not install it
    QUICK["futures"] = (
        r"(ThreadPool\w*|FutureTests|ProcessPoolFork\w*)\.test_"
        r"(submit|map|init|done|result|exc|cancel|free|no_stale|killed)"
    )


# of the four combinations the two that share nothing
@pytest.mark.parametrize("mode, via", [("strict", "hook"), ("default", "launcher")])
def test_a_quick_selection(mode, via):
    env = {k: v for k, v in os.environ.items() if k not in ("MANYHANDS_COMPAT", "MANYHANDS_INSTALLED")}
    if mode == "strict":
        env["MANYHANDS_COMPAT"] = "strict"
    words = [] if mode == "strict" else ["--deliberate", str(HERE / "deliberate.txt")]
    match = "|".join(f"(?:{pattern})" for pattern in QUICK.values() if pattern != ".")
    for suite in QUICK:
        words += ["--suite", suite]
    done = subprocess.run(
        [
            *(sys.executable, str(HERE), "--python", sys.executable, "--subject-path", str(SITE)),
            *("--via", via, "-k", f"{match}|test_sched", "--retries", "2", "-j", "2", *words),
        ],
        env=env,
        capture_output=True,
        text=True,
        timeout=115,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    total = re.search(r"^sum +(\d+) +(\d+)", done.stdout, re.M)
    assert total and int(total[2]) > 100, done.stdout
