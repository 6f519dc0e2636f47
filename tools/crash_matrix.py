"""The crash matrix: for each crash test of the core, at which trace points processes were killed, and the outcome.

    python tools/crash_matrix.py build/cp311

Each line: the operation (a test of tests/core/crash), the trace point, how many processes died there, and "well" where
the test found the survivors to go on, and nothing committed to be lost, doubled or leaked. Exit status 1 where
one did not. In core/sync the points are the atomic steps, by operation and line; tests/core/sched kills there, too, and
in every interleaving.

    python tools/crash_matrix.py build/cp311 sync    # only those whose program's name contains it
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path


def run(program: Path, test: str) -> tuple[Counter[str], bool]:
    """Where processes died in that test, and whether it passed."""
    with tempfile.NamedTemporaryFile("r") as log:
        environment = {**os.environ, "MH_CRASH_LOG": log.name}
        done = subprocess.run([program, test], env=environment, capture_output=True, timeout=600)
        return Counter(log.read().splitlines()), done.returncode == 0


def main() -> int:
    build, wrong = Path(sys.argv[1]), 0
    total: Counter[str] = Counter()
    pattern = f"crash_*{sys.argv[2]}*" if len(sys.argv) > 2 else "crash_*"
    for program in sorted((build / "tests/core/crash").glob(pattern)):
        if not os.access(program, os.X_OK) or program.is_dir():
            continue
        listed = subprocess.run([program, "-l"], capture_output=True, text=True, check=True)
        for test in listed.stdout.split():
            points, passed = run(program, test)
            wrong += not passed
            for point, count in sorted(points.items()):
                name = program.name.removeprefix("crash_")
                outcome = "well" if passed else "FAILED"
                where = re.sub(r"\(\S*/", "(", point)  # the file's name alone
                print(f"{name + ': ' + test:64} {where:32} {count:6}  {outcome}")
            if not points and not passed:
                print(f"{program.name}: {test}: FAILED")
            total += points
    print(f"{total.total()} kills at {len(total)} trace points, {wrong} tests failed")
    return int(wrong != 0)


if __name__ == "__main__":
    sys.exit(main())
