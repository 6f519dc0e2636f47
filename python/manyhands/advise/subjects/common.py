"""What the built-in jobs share with each other, and with a user's function."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import manyhands
from manyhands.advise.api import measure
from manyhands.advise.measure import Measurement
from manyhands.advise.memory import MemoryMeter
from manyhands.advise.model import Report
from manyhands.advise.progress import Progress
from manyhands.advise.target import from_function


def measure_items(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    report: Report,
    seconds: float,
    workers: tuple[int, ...] | None,
    progress: Progress,
    meter: MemoryMeter,
) -> None:
    """Compare a function over the whole of a fixed sample."""
    target = from_function(function)
    measure(Measurement(target, items, report, seconds, progress, meter, workers, use_all=True))


def python_command(module: str) -> tuple[list[str], dict[str, str]]:
    """The command that runs a module of this package in a process of its own, and its environment."""
    place = str(Path(manyhands.__path__[0]).parent)
    environment = dict(os.environ)
    known = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = place + (os.pathsep + known if known else "")
    return [sys.executable, "-m", module], environment
