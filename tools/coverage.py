"""Lines and branches of core/ that the C tests reach, from gcov: `tools/coverage.py BUILD [LINES BRANCHES]`.

With two figures in per cent it fails below either. Each file is listed with the lines that no test reached. What only a
process that is killed or leaves by _exit() reached is not counted: such a process writes nothing down.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# line number -> how often it ran, and how often each of its branches was taken; by file
Lines = dict[int, int]
Branches = dict[tuple[int, int], int]


def read(build: Path) -> tuple[dict[str, Lines], dict[str, Branches]]:
    """Files of core/ alone; what was compiled into several objects counts once."""
    lines: dict[str, Lines] = defaultdict(lambda: defaultdict(int))
    branches: dict[str, Branches] = defaultdict(lambda: defaultdict(int))
    # the library's own objects first: those of the exhaustive runs, compiled with a step at each access, add to them
    data = [*sorted(build.glob("core/**/*.gcda")), *sorted(build.glob("tests/core/sched/**/*.gcda"))]
    if not data:
        raise SystemExit(
            f"coverage: no .gcda file in {build}/core: run the tests of a -Db_coverage=true build first"
        )
    gcov = os.environ.get("GCOV", "gcov")
    for name in data:
        command = [gcov, "--json-format", "--branch-probabilities", "--stdout", str(name.resolve())]
        done = subprocess.run(command, cwd=build, capture_output=True, text=True, check=True)
        for text in done.stdout.splitlines():
            for file in json.loads(text)["files"]:
                path = os.path.relpath(build / file["file"], ROOT)
                if path.startswith("core/"):
                    count(file["lines"], lines[path], branches[path])
    return lines, branches


def count(found: list[dict[str, object]], lines: Lines, branches: Branches) -> None:
    for line in found:
        number = int(str(line["line_number"]))
        lines[number] += int(str(line["count"]))
        taken = line["branches"]
        assert isinstance(taken, list)
        known = sum(1 for one, _ in branches if one == number)
        if known and known != len(taken):
            continue  # another compilation of the line: its branches are not the same
        for place, branch in enumerate(taken):
            branches[number, place] += branch["count"]


def share(counts: list[int]) -> float:
    return 100 * sum(1 for one in counts if one > 0) / len(counts) if counts else 100.0


def ranges(numbers: list[int]) -> str:
    """1, 2, 3, 7 as "1-3 7"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def main(arguments: list[str]) -> int:
    if len(arguments) not in (1, 3):
        print(__doc__, file=sys.stderr)
        return 2
    lines, branches = read(Path(arguments[0]).resolve())
    print(f"{'file':<32} {'lines':>7} {'branches':>9}  not reached")
    for path in sorted(lines):
        missing = sorted(number for number, ran in lines[path].items() if ran == 0)
        line, branch = share(list(lines[path].values())), share(list(branches[path].values()))
        print(f"{path:<32} {line:6.1f}% {branch:8.1f}%  {ranges(missing)}")
    line = share([ran for one in lines.values() for ran in one.values()])
    branch = share([taken for one in branches.values() for taken in one.values()])
    print(f"{'core/':<32} {line:6.1f}% {branch:8.1f}%")
    wanted = [float(word) for word in arguments[1:]]
    if wanted and (line < wanted[0] or branch < wanted[1]):
        print(
            f"coverage: wanted {wanted[0]:g} % of the lines and {wanted[1]:g} % of the branches",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
