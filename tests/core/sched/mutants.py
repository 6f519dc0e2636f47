#!/usr/bin/env python3
"""Break the code in core/ in the ways listed in mutants.txt, and fail unless the exhaustive runs notice each.

usage: mutants.py [--cc CC] [--only TEXT]     (from anywhere; builds in a temporary folder)
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
ENGINE = ["machine.c", "fake_os.c", "explore.c"]
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-U_FORTIFY_SOURCE", "-w", "-DMH_SCHED"]
RUN_LIMIT_S = 120


@dataclass
class Mutant:
    """One entry of mutants.txt."""

    line: int
    program: str
    file: str
    scenario: str
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"mutants.txt:{self.line}: {self.program} {self.file}: {(self.old or [''])[0].strip()}"


def read_list(path: Path) -> list[Mutant]:
    """The entries, in order."""
    found: list[Mutant] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("@"):
            words = line[1:].split(None, 2)
            if len(words) < 2:
                sys.exit(f"mutants.txt:{number}: @ PROGRAM FILE [SCENARIO]")
            found.append(Mutant(number, words[0], words[1], words[2] if len(words) > 2 else ""))
        elif line[:1] in "-+" and line:
            if not found:
                sys.exit(f"mutants.txt:{number}: no @ line before it")
            (found[-1].old if line[0] == "-" else found[-1].new).append(line[2:])
        elif line.strip() and not line.startswith("#"):
            sys.exit(f"mutants.txt:{number}: not understood: {line}")
    return found


class Builder:
    """Compiles each file once, and the changed one anew for each mutant."""

    def __init__(self, cc: str, folder: Path) -> None:
        self.cc = shlex.split(cc)
        self.folder = folder
        self.objects: dict[Path, Path] = {}

    def compile(self, source: Path, name: str, include: Path | None = None) -> Path:
        """An object file from `source`; headers in `include` go before those of the tree."""
        out = self.folder / f"{name}.o"
        paths = [f"-I{include}"] if include else []
        paths += [f"-I{ROOT}", f"-I{ROOT / 'include'}", f"-I{HERE}"]
        subprocess.run([*self.cc, *FLAGS, *paths, "-c", str(source), "-o", str(out)], check=True)
        return out

    def object_of(self, source: Path) -> Path:
        """The object of an unchanged file."""
        if source not in self.objects:
            self.objects[source] = self.compile(source, f"{source.parent.name}-{source.stem}")
        return self.objects[source]

    def program(self, mutant: Mutant) -> Path:
        """The scenario program with the mutant in it."""
        changed = ROOT / mutant.file
        text, old, new = changed.read_text(), "\n".join(mutant.old), "\n".join(mutant.new)
        if not old or text.count(old) != 1:
            sys.exit(f"{mutant}: its '-' text occurs {text.count(old)} times in {mutant.file}, not once")
        place = self.folder / "changed" / mutant.file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text.replace(old, new))
        sources = [HERE / name for name in ENGINE] + [HERE / f"{mutant.program}.c"]
        sources += sorted((ROOT / "core" / "sync").glob("*.c"))
        if changed.suffix == ".c":
            objects = [
                self.compile(place, "changed", changed.parent) if s == changed else self.object_of(s)
                for s in sources
            ]
        else:  # a header: everything anew
            objects = [self.compile(s, f"h-{s.stem}", place.parents[mutant.file.count("/")]) for s in sources]
        place.unlink()
        out = self.folder / "program"
        subprocess.run([*self.cc, "-o", str(out), *map(str, objects)], check=True)
        return out


def caught(program: Path, mutant: Mutant) -> str:
    """What the run said about the mutant; empty where it noticed nothing."""
    command = [str(program), "-x", *([mutant.scenario] if mutant.scenario else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return ""
    said = [
        line for line in done.stdout.splitlines() if line.startswith("FAIL") and "too many states" not in line
    ]
    return said[0] if done.returncode == 1 and said else ""


def main() -> int:
    """Run all mutants, one line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--only", default="", help="only entries whose line contains this")
    options = parser.parse_args()
    missed = 0
    entries = [m for m in read_list(HERE / "mutants.txt") if options.only in str(m)]
    with tempfile.TemporaryDirectory() as folder:
        builder = Builder(options.cc, Path(folder))
        for mutant in entries:
            said = caught(builder.program(mutant), mutant)
            missed += not said
            print(f"{'ok  ' if said else 'NOT CAUGHT'} {mutant}\n     {said}", flush=True)
    print(f"{len(entries) - missed} of {len(entries)} broken variants caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
