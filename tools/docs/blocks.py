"""The code blocks of a page in Markdown, as the tests run them.

A block of Python is a whole program. Where the next block of the page is `text`, that is what the program prints; where
it is not, it prints nothing. A comment on the line above a block says what there is to say about it:

    <!-- block: file=job.py figures needs=numpy,gil slow text skip="it waits for ever" -->

file     the block is kept under this name, beside those that follow on the same page
figures  the numbers in the output vary: they are compared as if each were the same
needs    what must be there: a version (3.12), numpy, gil, interpreters
slow     left out of the fast tests
text     this block of text is no output
root     runs in the folder of the repository
unshown  it is run and must succeed; why the page does not show what it prints
by       what runs it, on the same page: it is kept as a file
part     lines of a program in examples/, which the tests run as a whole
skip     not run, and why
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
_DIRECTIVE = re.compile(r"<!-- block: (.*?) -->\n$")


@dataclass
class Block:
    page: str
    line: int
    language: str
    code: str
    options: dict[str, str] = field(default_factory=dict)
    output: str | None = None  # what it prints; None where the page shows nothing

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def needs(self) -> list[str]:
        return [one for one in self.options.get("needs", "").split(",") if one]


def _options(before: str) -> dict[str, str]:
    match = _DIRECTIVE.search(before)
    if match is None:
        return {}
    words = [word.partition("=") for word in shlex.split(match[1])]
    return {name: value or "yes" for name, _, value in words}


def blocks(path: Path, name: str = "") -> list[Block]:
    """All blocks of the page, in order; the outputs are part of the blocks that print them."""
    text = path.read_text()
    found: list[Block] = []
    for match in _FENCE.finditer(text):
        options = _options(text[: match.start()])
        previous = found[-1] if found else None
        if match[1] == "text":
            if "text" not in options:
                if previous is None or previous.output is not None:
                    raise ValueError(f"{path}: this output belongs to no block:\n{match[2]}")
                previous.output = match[2]
            continue
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(name or path.stem, line, match[1], match[2], options))
    return found


def same(shown: str, printed: str, figures: bool) -> bool:
    """Whether it is what the page shows. Where figures vary, the number of blanks before and after one varies, too."""
    if figures:
        shown, printed = (re.sub(r"[\s#]*\d[\d.,]*[\s#]*", "#", text) for text in (shown, printed))
    return shown.rstrip() == printed.rstrip()
