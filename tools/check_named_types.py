"""Each public class can be named in an annotation: mypy knows it under its public name, and not as Any.

mypy reads the drop-in modules, which are put together when they are imported, by what they say to type checkers. A name
that is forgotten there is an error in programs whose annotations use it.
"""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
import tempfile
from pathlib import Path

MODULES = ("", "threading", "queue", "futures", "multiprocessing", "shared", "named", "advise")
SUBMODULES = (
    "synchronize",
    "queues",
    "pool",
    "connection",
    "sharedctypes",
    "context",
    "shared_memory",
    "managers",
)
GENERIC = {
    "Queue",
    "LifoQueue",
    "PriorityQueue",
    "SimpleQueue",
}  # of manyhands.queue: seen as the standard library's


def names(place: str) -> list[str]:
    """The public classes of a module; of a submodule those that are ours."""
    module = importlib.import_module(place)
    public = {*getattr(module, "__all__", ()), *getattr(module, "_returned", ())}
    if place.count(".") > 1:
        public = {
            n for n, v in vars(module).items() if str(getattr(v, "__module__", "")).startswith("manyhands")
        }
    return sorted(n for n in public if inspect.isclass(getattr(module, n)) and not n.startswith("_"))


def program() -> str:
    """A function for each class, which takes one."""
    places = [f"manyhands.{name}".rstrip(".") for name in MODULES]
    places += [f"manyhands.multiprocessing.{name}" for name in SUBMODULES]
    lines = [f"import {place}" for place in places]
    for place in places:
        for name in names(place):
            items = "[int]" if place == "manyhands.queue" and name in GENERIC else ""
            lines.append(f"def f{len(lines)}(x: {place}.{name}{items}) -> None: reveal_type(x)")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Say what cannot be named."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "annotated.py")
        path.write_text(program())
        words = [
            "--strict",
            "--follow-imports=silent",
            "--no-error-summary",
            "--hide-error-context",
            str(path),
        ]
        done = subprocess.run(
            [sys.executable, "-m", "mypy", *words], capture_output=True, text=True, check=False
        )
        text = path.read_text().splitlines()
    bad = [line for line in done.stdout.splitlines() if ": error:" in line or 'type is "Any"' in line]
    for line in bad:
        number = line.split(":")[1]
        print(f"{text[int(number) - 1] if number.isdigit() else ''}\n    {line.partition(': ')[2]}")
    if done.returncode not in (0, 1) or done.stderr:
        print(done.stdout + done.stderr)
    return int(bool(bad) or done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
