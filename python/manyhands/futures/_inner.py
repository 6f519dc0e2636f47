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


# What each kind of library, by threadpoolctl's name for it, reads when it is loaded.
READ_BY = {
    "openblas": ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"),
    "mkl": ("MKL_NUM_THREADS", "OMP_NUM_THREADS"),
    "blis": ("BLIS_NUM_THREADS", "OMP_NUM_THREADS"),
    "openmp": ("OMP_NUM_THREADS",),
}

_found: Any = None  # the libraries that were loaded when this process last looked; a forked worker has it
_modules = 0  # that were imported then: without a new one there is no new library


def look(always: bool = False) -> None:
    """Look which libraries are loaded, where one of theirs is; before a worker is forked, too: to import threadpoolctl
    takes ten times as long as to tell them, and each worker would."""
    global _found, _modules
    if always or (len(sys.modules) != _modules and any(name in sys.modules for name in USERS)):
        with contextlib.suppress(ImportError):
            import threadpoolctl  # type: ignore[import-not-found,import-untyped,unused-ignore]

            _found = threadpoolctl.ThreadpoolController()
            _modules = len(sys.modules)


def limit_process(threads: int, asked: bool) -> None:
    """In a worker process. Where nobody `asked`, what the environment says already stands, and none gets more than it
    was told in the parent."""
    said = set() if asked else set(VARIABLES).intersection(os.environ)
    for name in VARIABLES:
        if name not in said:
            os.environ[name] = str(threads)
    if _found is None:
        look()
    for library in [] if _found is None else _found.lib_controllers:
        if said.isdisjoint(READ_BY.get(library.internal_api, ())):
            _limit(library, threads if asked else min(threads, library.num_threads))


def _limit(library: Any, threads: int) -> None:
    before = library.num_threads
    if threads != before and not (threads < before and _is_told_by_its_variable(library, before, threads)):
        library.set_num_threads(threads)


def _is_told_by_its_variable(library: Any, before: int, threads: int) -> bool:
    """OpenBLAS's function for it would start the threads anew that a fork has left behind, as many as there are cores
    however few it may use, and these spin: 3 ms of each worker's start. All else that it does for fewer threads is to
    write this variable."""
    if library.internal_api != "openblas" or getattr(library, "threading_layer", None) != "pthreads":
        return False
    import ctypes  # threadpoolctl has imported it

    try:
        number = ctypes.c_int.in_dll(library.dynlib, "blas_cpu_number")
    except (AttributeError, ValueError):
        return False
    if number.value == before:
        number.value = threads
    return bool(library.num_threads == threads)


def limit_thread(threads: int) -> Callable[[], Any]:
    """In a worker thread; how to take it back. Reaches the whole process, as these libraries are made."""
    look(always=True)
    if _found is None:
        raise coded(
            RuntimeError("inner_threads= for threads needs the package threadpoolctl; it is not installed"),
            "MH-PACKAGE",
        )
    restore: Callable[[], Any] = _found.limit(limits=threads).restore_original_limits
    return restore


def can_limit_threads() -> bool:
    """Is threadpoolctl installed?"""
    return importlib.util.find_spec("threadpoolctl") is not None
