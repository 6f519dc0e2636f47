"""Every public function keeps the promise of having a contract, and exists.

* Above each MH_API declaration, or group of declarations without a blank line between, stands a comment
  with a line
  `Safety: MT-... PROC-... AS-... FORK-... | waits or never waits | cancellation | allocs: ... | death: ...`
* What the headers declare is exported by libmanyhands.so, and nothing else is.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from source import ROOT, Finding, files, report, strip_c

SAFETY = re.compile(r"Safety:(.*?)(?:\*/|\n[ \t]*\*[ \t]*\n|\Z)", re.S)
DECLARED = re.compile(r"^MH_API\b[^;{]*?\b(mh_\w+)\s*(?:\(|\[|;|=)", re.M)
# What a Safety line must say, and how that is looked for.
PARTS = {
    "MT-": r"\bMT-\w+",
    "PROC-": r"\bPROC-\w+",
    "AS-": r"\bAS-\w+",
    "FORK-": r"\bFORK-\w+",
    "waits or never waits": r"\bwaits\b",
    "allocs:": r"\ballocs:",
    "death:": r"\bdeath:",
}


def groups(text: str) -> Iterator[tuple[int, str]]:
    """First line and text of each run of lines without a blank line (one inside a comment is none)."""
    blank = re.compile(r"\n[ \t]*\n")
    comments = [match.span() for match in re.finditer(r"/\*.*?\*/", text, re.S)]
    start = 0
    for match in blank.finditer(text):
        if any(begin < match.start() < end for begin, end in comments):
            continue
        yield text.count("\n", 0, start) + 1, text[start : match.start()]
        start = match.end()
    yield text.count("\n", 0, start) + 1, text[start:]


def faults(group: str) -> list[str]:
    """What a group that declares something lacks."""
    before = group[: DECLARED.search(group).start()]  # type: ignore[union-attr]
    safety = SAFETY.search(before)
    if safety is None:
        return ["no Safety: line above it"]
    words = safety[1]
    lacking = [
        f"the Safety: line does not say '{part}'"
        for part, pattern in PARTS.items()
        if not re.search(pattern, words)
    ]
    if re.search(r"\|\s*waits", words) and "cancellation" not in words:
        lacking.append("it waits, and the Safety: line does not say 'cancellation:'")
    return lacking


def check_header(path: str, text: str) -> Iterator[Finding]:
    for line, group in groups(text):
        declared = DECLARED.search(group)
        if declared is not None:
            where = line + group.count("\n", 0, declared.start())
            yield from (Finding(path, where, f"{declared[1]}: {fault}") for fault in faults(group))


def declared_names(root: Path) -> dict[str, str]:
    found = {}
    for path, text in files(root, ("include",), (".h",)):
        found |= {match[1]: path for match in DECLARED.finditer(strip_c(text))}
    return found


def exported_names(library: Path) -> set[str]:
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", "--format=posix", str(library)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # 'A' is the name of the version node
    symbols = (line.split() for line in listing.splitlines())
    return {name.split("@")[0] for name, kind, *_ in symbols if kind not in ("A", "a")}


def check_exports(declared: dict[str, str], exported: set[str], library: str) -> Iterator[Finding]:
    for name in sorted(declared.keys() - exported):
        yield Finding(declared[name], 1, f"{name} is declared, but {library} does not export it")
    for name in sorted(exported - declared.keys()):
        yield Finding(library, 1, f"{name} is exported, but no header declares it")


def main(arguments: list[str], root: Path = ROOT) -> int:
    """check_contracts.py [LIBRARY]: without one, the newest that lies below build/."""
    findings = [
        finding for path, text in files(root, ("include",), (".h",)) for finding in check_header(path, text)
    ]
    built = sorted((root / "build").glob("*/core/libmanyhands.so"), key=lambda path: path.stat().st_mtime)
    if not arguments and not built:
        print("no libmanyhands.so below build/: run `make build`", file=sys.stderr)
        return 2
    library = Path(arguments[0]) if arguments else built[-1]
    findings += check_exports(declared_names(root), exported_names(library), str(library))
    return report(findings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
