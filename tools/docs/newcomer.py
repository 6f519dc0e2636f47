#!/usr/bin/env python3
"""The path of a newcomer, with a clock: `tools/docs/newcomer.py [SECONDS]`, for `make newcomer`.

In a new folder: a clone of the last commit, the first command of the README, a file with a function (that of
docs/index.md), and the README's command that compares it. Both commands are taken from the README as they stand there.
Past SECONDS (300) the exit status is 1. With `--keep` the figures go into docs/index.md.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "index.md"
VARIABLES = ("PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MANYHANDS_BUILD")


def commands() -> list[str]:
    """Of the README: what a newcomer types, first and second."""
    found = re.findall(r"^(make run\b[^#\n]*)", (ROOT / "README.md").read_text(), re.M)
    return [found[0].strip(), next(one.strip() for one in found if "ARGS=" in one)]


def function() -> str:
    """The file that they write."""
    match = re.search(r"<!-- block: file=job.py -->\n```python\n(.*?)```", PAGE.read_text(), re.S)
    assert match is not None
    return match[1]


def walk() -> list[tuple[str, float]]:
    """Each step and the seconds that it took."""
    first, second = commands()
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    steps = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "manyhands"

        def step(command: str, where: str | Path, said: str = "") -> None:
            began = time.monotonic()
            done = subprocess.run(
                command, shell=True, cwd=where, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            assert said in done.stdout, done.stdout
            steps.append((command, time.monotonic() - began))

        step(f"git clone -q {ROOT} manyhands", folder)
        steps[0] = ("git clone", steps[0][1])
        step(first, place, "-> ")
        (place / "job.py").write_text(function())
        step(second, place, "-> ")
    return steps


def table(steps: list[tuple[str, float]]) -> str:
    lines = [f"| `{name}` | {seconds:.0f} |" for name, seconds in steps]
    total = sum(seconds for _, seconds in steps)
    head = f"| CPython {sys.version.split()[0]}, {os.cpu_count()} cores | seconds |\n|---|---|\n"
    return head + "\n".join(lines) + f"\n| all of it | {total:.0f} |\n"


def main() -> int:
    words = [word for word in sys.argv[1:] if word != "--keep"]
    limit = float(words[0]) if words else 300.0
    steps = walk()
    print(table(steps))
    if "--keep" in sys.argv:
        text = re.sub(
            r"(<!-- figures: newcomer -->\n\n).*?(\n<!-- end of figures -->)",
            lambda match: match[1] + table(steps) + match[2],
            PAGE.read_text(),
            flags=re.S,
        )
        PAGE.write_text(text)
    return 1 if sum(seconds for _, seconds in steps) > limit else 0


if __name__ == "__main__":
    sys.exit(main())
