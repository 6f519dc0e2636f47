#!/usr/bin/env python3
"""The figures of the guide: `tools/docs/figures.py` measures them, and keeps them in docs/ (`make docs` in its site).

A table of figures stands between two comments in its page, and the command that makes it above them:

    <!-- figures: comparison -->
    ...
    <!-- end of figures -->
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pictures
from svg import BLUE, ORANGE

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "examples" / "python" / "threads_or_processes.py"


BUSY = 0.15  # of the cores: past that, figures mislead


def busy_seconds() -> float:
    """Of all cores, since the machine was started."""
    words = Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    used = sum(map(int, words)) - int(words[3]) - int(words[4])  # not idle, not waiting for a disk
    return used / os.sysconf("SC_CLK_TCK")


def measure() -> dict[str, Any]:
    """Run the program; its figures, and `others`: the share of the cores that other programs had meanwhile."""
    began, busy = time.monotonic(), busy_seconds()
    found = run_program()
    ours = resource.getrusage(resource.RUSAGE_CHILDREN)
    cores = os.cpu_count() or 1
    others = busy_seconds() - busy - ours.ru_utime - ours.ru_stime
    found["others"] = max(0.0, others / (time.monotonic() - began) / cores)
    return found


def run_program() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        subprocess.run(
            [sys.executable, str(PROGRAM), "--json", str(path)], check=True, stdout=subprocess.DEVNULL
        )
        found: dict[str, Any] = json.loads(path.read_text())
    return found


def table(found: dict[str, Any]) -> str:
    cores = f"{found['cores']} core" + "s" * (found["cores"] != 1)
    out = f"| CPython {found['python']}, {cores} | threads | processes |\n|---|---|---|\n"
    for row in found["rows"]:
        out += f"| {row['what']} | {row['threads']} | {row['processes']} |\n"
    if found["others"] > BUSY:
        out += f"\nOther programs had {found['others']:.0%} of the cores meanwhile: figures of time are too high.\n"
    return out


def chart(found: dict[str, Any]) -> pictures.Picture:
    rows = []
    for row in found["rows"]:
        if row["unit"] == "s":
            for kind, value, fill in zip(
                ("threads", "processes"), row["values"], (BLUE, ORANGE), strict=True
            ):
                if value is not None:
                    rows.append((f"{row['what']}, {kind}", value, row[kind], fill))
    return pictures.bars("How long it takes (each step to the right is a factor)", rows)


def renew(docs: Path, found: dict[str, Any] | None = None) -> None:
    """Measure, and write the figures into the pages below `docs`."""
    found = measure() if found is None else found
    made = {"comparison": table(found)}
    for page in (docs / "guide").rglob("*.md"):
        text = page.read_text()
        for name, lines in made.items():
            text = re.sub(
                rf"(<!-- figures: {name} -->\n\n).*?(\n<!-- end of figures -->)",
                lambda match, lines=lines: match[1] + lines + match[2],
                text,
                flags=re.S,
            )
        page.write_text(text)
    (docs / "pictures" / "figures.svg").write_text(chart(found).svg())


def main() -> int:
    found = measure()
    if found["others"] > BUSY:
        print(
            f"figures: other programs had {found['others']:.0%} of the cores; nothing is kept",
            file=sys.stderr,
        )
        return 1
    renew(ROOT / "docs", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
