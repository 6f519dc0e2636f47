"""`inner_threads=`: how many threads BLAS and OpenMP may use in a worker.

Libraries that are loaded later read it from the environment; those that are loaded already are told by threadpoolctl,
where it is installed.
"""

from __future__ import annotations

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


def _tell(threads: int) -> Callable[[], Any] | None:
    """Tell the libraries that are loaded; how to take it back. None without threadpoolctl."""
    try:
        import threadpoolctl  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return None
    limits: Any = threadpoolctl.threadpool_limits(limits=threads)
    restore: Callable[[], Any] = limits.restore_original_limits
    return restore


def limit_process(threads: int, asked: bool) -> None:
    """In a worker process. Where nobody `asked`, what the environment says already stands."""
    for name in VARIABLES:
        if asked or name not in os.environ:
            os.environ[name] = str(threads)
    if any(name in sys.modules for name in USERS):
        _tell(threads)


def limit_thread(threads: int) -> Callable[[], Any]:
    """In a worker thread; how to take it back. Reaches the whole process, as these libraries are made."""
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
