"""Calls go down only: pool -> proc -> shm -> sync -> os. Fails where an include or an import breaks that.

* core/: a file includes its own layer, those below, and the public headers of these.
* include/: public headers keep the same order among themselves, and need only the C standard's headers.
* ext/: the public headers and Python.h; nothing of core/.
* The operating system (its headers, syscall(), its #ifdefs) is known to core/os/ alone.
* python/: only manyhands/_impl imports the compiled module.
"""

from __future__ import annotations

import ast
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from source import ROOT, Finding, files, report, strip_c

# debug/ serves every layer above os: lock ranks, traces, fault points.
LEVEL = {"os": 0, "debug": 1, "sync": 2, "shm": 3, "proc": 4, "pool": 5}
PUBLIC = {
    "base": "os",
    "deadline": "os",
    "error": "os",
    **dict.fromkeys(
        ("barrier", "cond", "event", "lock", "number", "robust_sem", "rwlock", "sem", "wait"), "sync"
    ),
    **dict.fromkeys(("arena", "channel", "pipe", "segment", "slab"), "shm"),
    **dict.fromkeys(("look", "process", "thread"), "proc"),
    "manyhands": "pool",
    "pool": "pool",
    "process_pool": "pool",
}
STANDARD = {
    "assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "math.h", "stdalign.h", "stdarg.h",
    "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "time.h",
    # numbers of signals, names of types: no calls into the system
    "signal.h", "sys/types.h",
}  # fmt: skip
PYTHON = {"Python.h", "structmember.h", "stdatomic.h"}
# (file, header): why. Anything else is a finding.
ALLOWED = {
    ("ext/held.c", "threads.h"): "tss_create(): to learn that a thread has ended",
    (
        "ext/monitor.c",
        "pthread.h",
    ): "pthread_atfork(): to learn of a fork before any Python code of the child runs",
    ("ext/mpqueue.c", "unistd.h"): "getpid(): part of a queue's name",
    ("ext/process.c", "unistd.h"): "getpid(): what settles a forked child in its place",
    ("ext/signals.c", "signal.h"): "sigaction(): to put the handlers of a Python program off",
    ("ext/signals.c", "unistd.h"): "getpid(): which process a signal came to",
    ("ext/shared_lock.c", "unistd.h"): "getpid(): whether this process owns the lock",
}
OS_CONDITION = re.compile(r"__linux__|__GLIBC__|__GNU_LIBRARY__|__APPLE__|__FreeBSD__|_WIN32|__unix__")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.M)


def includes(text: str) -> Iterator[tuple[int, str]]:
    """Line and name of each."""
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[1]


def resolve(root: Path, path: str, name: str) -> str:
    """The file of the tree that an include means, from the root; a system header's name is left as it is."""
    for candidate in (posixpath.join(posixpath.dirname(path), name), name, posixpath.join("include", name)):
        candidate = posixpath.normpath(candidate)
        if (root / candidate).is_file():
            return candidate
    return name


def level(path: str) -> int | None:
    """The layer of a file of core/ or include/; the highest for core/'s own files; None for all others."""
    parts = path.split("/")
    if parts[0] == "core":
        return LEVEL.get(parts[1], max(LEVEL.values()))
    if parts[:2] == ["include", "manyhands"]:
        return LEVEL.get(PUBLIC.get(parts[-1].removesuffix(".h"), ""), max(LEVEL.values()))
    return None


def check_include(root: Path, path: str, name: str) -> str | None:
    """What is wrong with one include, or None."""
    if (path, name) in ALLOWED:
        return None
    target = resolve(root, path, name)
    outside = target == name and level(target) is None and not target.startswith("ext/")
    in_ext = path.startswith("ext/")
    if outside and not path.startswith("core/os/"):
        allowed = STANDARD | (PYTHON if in_ext else set())
        return None if name in allowed else f"<{name}>: only core/os/ knows the operating system"
    if in_ext and target.startswith("core/"):
        return f"{name}: the extension uses the public headers only"
    if not in_ext and target.startswith("ext/"):
        return f"{name}: the core does not know the extension"
    if path.startswith("include/") and not outside and not target.startswith("include/"):
        return f"{name}: a public header may not include a private one"
    mine, theirs = level(path), level(target)
    if mine is not None and theirs is not None and theirs > mine:
        return f"{name}: calls go down only (pool -> proc -> shm -> sync -> os)"
    return None


def check_c(root: Path) -> Iterator[Finding]:
    for path, text in files(root, ("core", "ext", "include"), (".c", ".h")):
        for line, name in includes(text):
            wrong = check_include(root, path, name)
            if wrong is not None:
                yield Finding(path, line, wrong)
        if path.startswith("core/os/"):
            continue
        for number, line_text in enumerate(strip_c(text).split("\n"), 1):
            if line_text.lstrip().startswith("#") and OS_CONDITION.search(line_text):
                yield Finding(path, number, "a condition on the operating system belongs into core/os/")
            if re.search(r"\bsyscall\s*\(", line_text):
                yield Finding(path, number, "syscall() belongs into core/os/")


def imports_core(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(name.name.split(".")[-1] == "_core" for name in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[-1] == "_core" or any(
            name.name == "_core" for name in node.names
        )
    return False


def check_python(root: Path) -> Iterator[Finding]:
    for path, text in files(root, ("python",), (".py",)):
        if path.startswith("python/manyhands/_impl/"):
            continue
        for node in ast.walk(ast.parse(text, path)):
            if imports_core(node):
                yield Finding(
                    path, getattr(node, "lineno", 1), "only manyhands._impl imports the compiled module"
                )


def main(root: Path = ROOT) -> int:
    return report([*check_c(root), *check_python(root)])


if __name__ == "__main__":
    sys.exit(main())
