"""manyhands: threads, processes and everything between them, in C, under the names you know.

Three ways in, easiest first::

    python -m manyhands run app.py                           # an unmodified program
    import manyhands.multiprocessing as multiprocessing      # one line changed
    import manyhands                                         # the new things

``manyhands.threading``, ``.queue``, ``.multiprocessing`` and ``.futures`` are drop-ins for the standard library's
modules. ``manyhands.compare(function, items)`` answers "threads or processes?" for a function of yours.
"""

from __future__ import annotations

import importlib
from importlib.machinery import PathFinder

from manyhands._substitute import install, installed, uninstall
from manyhands.errors import (
    Cancelled,
    DeadlockError,
    DeadlockWarning,
    Error,
    OwnerDiedError,
    PoisonError,
    RemoteError,
    SegmentError,
    ThreadExit,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from manyhands._impl import CancelToken, checkpoint, shield
    from manyhands._impl.dump import dump
    from manyhands._impl.observe import Observation, ThreadTimes, observe
    from manyhands.advise import compare
    from manyhands.futures import WorkerDiedError
    from manyhands.futures._kinds import Executor
    from manyhands.futures._kinds import parallel_map as map

__version__ = "0.1.0"

__all__ = [
    "CancelToken",
    "Cancelled",
    "DeadlockError",
    "DeadlockWarning",
    "Error",
    "Executor",
    "Observation",
    "OwnerDiedError",
    "PoisonError",
    "RemoteError",
    "SegmentError",
    "ThreadExit",
    "ThreadTimes",
    "WorkerDiedError",
    "checkpoint",
    "compare",
    "compiled",
    "dump",
    "install",
    "installed",
    "map",
    "observe",
    "shield",
    "uninstall",
]

# Imported on first use, so that `import manyhands` costs next to nothing.
_LAZY = {
    "CancelToken": "manyhands._impl",
    "Executor": "manyhands.futures._kinds",
    "Observation": "manyhands._impl.observe",
    "ThreadTimes": "manyhands._impl.observe",
    "WorkerDiedError": "manyhands.futures",
    "checkpoint": "manyhands._impl",
    "compare": "manyhands.advise",
    "dump": "manyhands._impl.dump",
    "observe": "manyhands._impl.observe",
    "shield": "manyhands._impl",
}
_MODULES = ("threading", "queue", "multiprocessing", "futures", "shared", "named", "advise")


def compiled() -> bool:
    """True where the compiled core is in use; False where manyhands runs on the standard library alone."""
    return bool(importlib.import_module("manyhands._impl").available)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    if name == "map":
        value = globals()["map"] = importlib.import_module("manyhands.futures._kinds").parallel_map
        return value
    if name in _MODULES:
        return importlib.import_module(f"manyhands.{name}")
    raise AttributeError(f"module 'manyhands' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, "__version__"])


if PathFinder.find_spec("manyhands._core", __path__) is None:
    importlib.import_module("manyhands._impl")  # it says that the standard library does the work
