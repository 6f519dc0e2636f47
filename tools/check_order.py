"""Each release of core/ says what it pairs with, within a few lines of it: "pairs with ...". What is ordered by a lock,
and is a release for the death in between alone, is a step: mh_store_step(), see core/os/atomic.h."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from source import ROOT, Finding, files, report

RELEASE = re.compile(r"\bmh_(store|cas|xchg)_rel\(")
SAYS = re.compile(r"\bpairs?\b", re.I)
BEFORE, AFTER = 6, 2


def unexplained(path: str, text: str) -> Iterator[Finding]:
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if RELEASE.search(line) and not line.startswith("#define"):
            near = "\n".join(lines[max(0, number - BEFORE) : number + AFTER + 1])
            if not SAYS.search(near):
                yield Finding(path, number + 1, "a release that does not say what it pairs with")


def main(root: Path = ROOT) -> int:
    return report(
        [found for path, text in files(root, ("core",), (".c", ".h")) for found in unexplained(path, text)]
    )


if __name__ == "__main__":
    sys.exit(main())
