"""The input of the built-in jobs: source files of the running Python's own standard library.

Which files is fixed by a rule, so that a sample is the same on every machine with that Python: the
modules and packages in the order of their names, tests and installed packages left out, of a middling
size, and of those every k-th.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sysconfig
from collections.abc import Sequence
from typing import Any

from manyhands.advise.errors import BadInput
from manyhands.advise.units import bytes_text

SMALLEST, LARGEST = 2_000, 64_000
LEFT_OUT = {
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "turtledemo",
    "ensurepip",
    "idle_test",
    "pydoc_data",
}


@functools.cache
def _candidates() -> tuple[tuple[str, int], ...]:
    root = sysconfig.get_paths()["stdlib"]
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name for name in folders if name not in LEFT_OUT and not name.startswith("config-")
        )
        for name in sorted(files):
            path = os.path.join(folder, name)
            if name.endswith(".py") and SMALLEST <= os.path.getsize(path) <= LARGEST:
                found.append((path, os.path.getsize(path)))
    return tuple(sorted(found))


def standard_library(count: int) -> list[str]:
    """`count` of its files (or as many as there are), spread evenly over the alphabet."""
    known = _candidates()
    if not known:
        raise BadInput(f"the standard library's source files are not in {sysconfig.get_paths()['stdlib']}")
    count = min(count, len(known))
    return [known[i * len(known) // count][0] for i in range(count)]


def short_name(path: str) -> str:
    """A file's path inside the standard library."""
    return os.path.relpath(path, sysconfig.get_paths()["stdlib"])


def in_few_words(paths: Sequence[str]) -> str:
    """A sample in a title."""
    return f"{len(paths)} files of the standard library"


def in_words(paths: Sequence[str]) -> str:
    """How a sample is printed: how much, and from which file to which."""
    size = sum(os.path.getsize(path) for path in paths)
    return f"{bytes_text(size)}, {short_name(paths[0])} ... {short_name(paths[-1])}"


def as_data(paths: Sequence[str]) -> dict[str, Any]:
    """The sample for JSON: every file, and a digest of all that they hold."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            digest.update(file.read())
    return {"files": [short_name(path) for path in paths], "sha256": digest.hexdigest()}
