"""The extension uses CPython's public interface, in the way that several interpreters in one process allow.

Fails on private names (_Py..., internal headers, Py_BUILD_CORE), on PyGILState_... (it knows the main
interpreter only), and on Python objects in static variables (they would be shared between interpreters).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from source import ROOT, Finding, files, report, strip_c

# Private names that are used nevertheless: why, and since when there is no public way.
ALLOWED: dict[str, str] = {
    "_Py_IsFinalizing": "3.11 and 3.12: public since 3.13, as Py_IsFinalizing",
    "_PyThreadState_UncheckedGet": "3.11: who holds the GIL, which later versions say in the thread state",
}

RULES = (
    (re.compile(r"\b(_Py\w*)"), "{0} is private to CPython"),
    (re.compile(r"\b(PyGILState_\w+)"), "{0} knows the main interpreter only: use PyThreadState_*"),
    (re.compile(r"\b(Py_BUILD_CORE\w*)"), "{0}: CPython's internal headers change without notice"),
    (
        re.compile(
            r"\bstatic\s+(?:_Thread_local\s+|volatile\s+)*(Py\w*(?:Object|Type))\s*\*\s*(?:const\s+)?\w+\s*(?:[;=,\[])"
        ),
        "a static {0} * is shared between interpreters: it belongs into the module's state",
    ),
    (
        re.compile(r"\bstatic\s+(PyTypeObject)\s+\w+"),
        "a static {0} is shared between interpreters: make a heap type",
    ),
)
INTERNAL = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]((?:internal|cpython)/[^">]*|pycore_[^">]*)', re.M)


def check_text(path: str, text: str) -> Iterator[Finding]:
    stripped = strip_c(text)
    for pattern, message in RULES:
        for match in pattern.finditer(stripped):
            if match[1] not in ALLOWED:
                yield Finding(path, stripped.count("\n", 0, match.start()) + 1, message.format(match[1]))
    for match in INTERNAL.finditer(text):
        yield Finding(
            path, text.count("\n", 0, match.start()) + 1, f"{match[1]} is an internal header of CPython"
        )


def main(root: Path = ROOT) -> int:
    return report(
        finding for path, text in files(root, ("ext",), (".c", ".h")) for finding in check_text(path, text)
    )


if __name__ == "__main__":
    sys.exit(main())
