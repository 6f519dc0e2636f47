"""`inner_threads=`: how many threads BLAS and OpenMP may use in a worker.

Libraries that are loaded later read it from the environment; those that are loaded already are told by threadpoolctl,
where it is installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable

from manyhands._troubles import coded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["limit_process", "limit_thread"]

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
USERS = (
    "numpy",
    "scipy",
    "torch",
    "sklearn",
    "faiss",
)  # where none of them is loaded there is nothing to tell


_found: Any = None  # the libraries that were loaded when this process last looked; a forked worker has it


def look(always: bool = False) -> None:
    """Look which libraries are loaded, where one of theirs is; before a worker is forked, too: to import threadpoolctl
    takes ten times as long as to tell them, and each worker would."""
    global _found
    if always or any(name in sys.modules for name in USERS):
        with contextlib.suppress(ImportError):
            import threadpoolctl  # type: ignore[import-not-found,import-untyped,unused-ignore]

            _found = threadpoolctl.ThreadpoolController()


def _tell(threads: int) -> Callable[[], Any] | None:
    """Tell the libraries that were found; how to take it back. None without threadpoolctl."""
    if _found is None:
        return None
    restore: Callable[[], Any] = _found.limit(limits=threads).restore_original_limits
    return restore


def limit_process(threads: int, asked: bool) -> None:
    """In a worker process. Where nobody `asked`, what the environment says already stands."""
    for name in VARIABLES:
        if asked or name not in os.environ:
            os.environ[name] = str(threads)
    if _found is None:
        look()
    _tell(threads)


def limit_thread(threads: int) -> Callable[[], Any]:
    """In a worker thread; how to take it back. Reaches the whole process, as these libraries are made."""
    look(always=True)
    restore = _tell(threads)
    if restore is None:
        raise coded(
            RuntimeError("inner_threads= for threads needs the package threadpoolctl; it is not installed"),
            "MH-PACKAGE",
        )
    return restore


def can_limit_threads() -> bool:
    """Is threadpoolctl installed?"""
    return importlib.util.find_spec("threadpoolctl") is not None
