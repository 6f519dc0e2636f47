"""`inner_threads=`: how many threads BLAS and OpenMP may use in a worker.

Libraries that are loaded later read it from the environment; those that are loaded already are told by threadpoolctl,
where it is installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator

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
_set: dict[
    str, str
] = {}  # what this process, as a worker, has put into its environment; its own workers know of it
# While workers are forked: the thread that does it, and what takes back what was told.
_told: tuple[int, Any] | None = None
_telling = threading.Lock()


def look(always: bool = False) -> None:
    """Look which libraries are loaded, where one of theirs is; before a worker is forked, too: to import threadpoolctl
    takes ten times as long as to tell them, and each worker would."""
    global _found, _modules
    if always or (len(sys.modules) != _modules and any(name in sys.modules for name in USERS)):
        with contextlib.suppress(ImportError):
            import threadpoolctl  # type: ignore[import-not-found,import-untyped,unused-ignore]

            _found = threadpoolctl.ThreadpoolController()
            _modules = len(sys.modules)


@contextlib.contextmanager
def limited_fork(threads: int, asked: bool) -> Iterator[None]:
    """Around the fork of several workers: libraries that would start threads in each one to be told there are told here
    before, and get all of them back after, for which they start threads once."""
    global _told
    if _told is not None and _told[0] == threading.get_ident():
        yield
        return
    with _telling:
        look()
        costly = [
            one.filepath
            for one in _to_tell(_said(asked))
            if _starts_threads(one) and one.num_threads > threads
        ]
        limit = _found.select(filepath=costly).limit(limits=threads) if costly else None
        _told = threading.get_ident(), limit
        try:
            yield
        finally:
            _told = None
            if limit is not None:
                limit.restore_original_limits()


def _after_fork() -> None:
    """In a child. One that another thread forked meanwhile is no worker, and has its threads back."""
    global _telling, _told
    _telling = threading.Lock()
    told, _told = _told, None
    if told is not None and told[0] != threading.get_ident() and told[1] is not None:
        told[1].restore_original_limits()


os.register_at_fork(after_in_child=_after_fork)


def limit_process(threads: int, asked: bool) -> None:
    """In a worker process. Where nobody `asked`, what the environment says already stands, and none gets more than it
    was told in the parent."""
    said = _said(asked)
    for name in VARIABLES:
        if name not in said:
            os.environ[name] = _set[name] = str(threads)
    if _found is None:
        look()
    for library in _to_tell(said):
        _limit(library, threads if asked else min(threads, library.num_threads))


def _said(asked: bool) -> set[str]:
    """The variables that stand: what an executor has put into a worker's environment is not the user's word."""
    if asked:
        return set()
    return {name for name in VARIABLES if name in os.environ and os.environ[name] != _set.get(name)}


def _to_tell(said: set[str]) -> list[Any]:
    """The libraries whose number is not said by the environment."""
    libraries = [] if _found is None else _found.lib_controllers
    return [one for one in libraries if said.isdisjoint(READ_BY.get(one.internal_api, ()))]


def _limit(library: Any, threads: int) -> None:
    before = library.num_threads
    if threads < before:
        number = _variable(library)
        if number is not None:
            number.value = threads
    if library.num_threads != threads:
        library.set_num_threads(threads)


def _starts_threads(library: Any) -> bool:
    """Does telling it start threads in a forked process? OpenBLAS starts those anew that a fork has left behind, as
    many as there are cores however few it may use, and they spin: 3 ms of a worker's start on two cores."""
    return _is_openblas(library) and _variable(library) is None


def _is_openblas(library: Any) -> bool:
    return library.internal_api == "openblas" and getattr(library, "threading_layer", None) == "pthreads"


def _variable(library: Any) -> Any:
    """Where OpenBLAS has its number, which is all that its function writes for fewer threads. None where it is another
    library, or does not export it (the NumPy packages from 2.5 on), or another number is there."""
    if not _is_openblas(library):
        return None
    import ctypes  # threadpoolctl has imported it

    try:
        number = ctypes.c_int.in_dll(library.dynlib, "blas_cpu_number")
    except (AttributeError, ValueError):
        return None
    return number if number.value == library.num_threads else None


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
