"""What the checkers share: C text without comments and strings, its functions, files, the report."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# A comment, a string or a character constant; whichever begins first hides the others.
_HIDDEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.M)
_NAME = re.compile(r"\b([A-Za-z_]\w*)\s*\(")


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def strip_c(text: str) -> str:
    """The same text, line by line, with comments and the insides of strings made blank."""
    return _HIDDEN.sub(_blank, text)


@dataclass(frozen=True)
class Function:
    name: str
    line: int  # the first of its signature
    length: int  # lines from there to the closing brace


def c_functions(text: str) -> Iterator[Function]:
    """The functions that a C file defines: a block at the top level that follows a closing parenthesis."""
    text = _DIRECTIVE.sub(_blank, strip_c(text))
    depth, start, opened = 0, 0, -1
    for match in re.finditer(r"[{};]", text):
        at = match.start()
        if match[0] == "{":
            if depth == 0 and text[start:at].rstrip().endswith(")"):
                opened = start
            depth += 1
        elif match[0] == "}":
            depth -= 1
        if depth == 0 and match[0] != "{":
            name = _NAME.search(text, opened) if opened >= 0 else None
            if name is not None:
                first = len(text[:opened]) + len(text[opened:]) - len(text[opened:].lstrip())
                begin = text.count("\n", 0, first) + 1
                yield Function(name[1], begin, text.count("\n", 0, at) + 2 - begin)
            opened, start = -1, at + 1


@dataclass(frozen=True, order=True)
class Finding:
    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


def files(root: Path, folders: Iterable[str], suffixes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Path (relative to the root) and text of every file below these folders with one of the suffixes."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in suffixes and path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(root).as_posix(), path.read_text()


def report(findings: Iterable[Finding], warnings: Iterable[Finding] = ()) -> int:
    """Print them; 1 where there are findings, 0 where there are warnings at most."""
    for warning in sorted(warnings):
        print(f"warning: {warning}")
    found = sorted(findings)
    for finding in found:
        print(finding, file=sys.stderr)
    return int(bool(found))
