"""The C library beside the C library's own and the kernel's: `bench_c` times both sides in turn and prints samples."""

from __future__ import annotations

import functools
import json
import pathlib
import subprocess
import sys
from typing import Any

from bench.runner import ROWS, Row


def _program() -> pathlib.Path | None:
    """`make bench` builds the program beside the folder that it puts on the path."""
    for folder in sys.path:
        found = pathlib.Path(folder or ".").resolve().parent / "bench" / "bench_c"
        if found.is_file():
            return found
    return None


def _lines(program: pathlib.Path, *arguments: str) -> list[str]:
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    return done.stdout.splitlines()


def _pairs(program: pathlib.Path, name: str, rounds: int) -> list[tuple[float, float]]:
    (line,) = _lines(program, "--only", name, "--rounds", str(rounds))
    found: dict[str, Any] = json.loads(line)
    return list(zip(found["ours_ns"], found["peer_ns"], strict=True))


def _register() -> None:
    program = _program()
    if program is None:
        print(
            "bench: the c/ rows are left out: no bench_c beside the build; `make bench` builds it",
            file=sys.stderr,
        )
        return
    for line in _lines(program, "--list"):
        name, _, peer = line.partition("\t")
        pairs = functools.partial(_pairs, program, name)
        ROWS.append(Row(name, peer, build=lambda side: None, pairs=pairs))


_register()
