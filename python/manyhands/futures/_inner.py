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


_found: Any = None  # the libraries that were loaded when this process last looked; a forked worker has it
_modules = 0  # that were imported then: without a new one there is no new library
# While a worker is forked: what they were told, the thread that told them, and how to take it back.
_told: tuple[int, int, Callable[[], Any]] | None = None
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


def _tell(threads: int) -> Callable[[], Any] | None:
    """Tell the libraries that were found; how to take it back. None without threadpoolctl."""
    if _found is None:
        return None
    restore: Callable[[], Any] = _found.limit(limits=threads).restore_original_limits
    return restore


@contextlib.contextmanager
def limited_fork(threads: int) -> Iterator[None]:
    """Around the fork of workers, which inherit what is told here. To be told there takes 3 ms: OpenBLAS
    then starts the threads again that a fork leaves behind, however few it may use; and so does taking it back here."""
    global _told
    if _told is not None and _told[1] == threading.get_ident():
        yield
        return
    with _telling:
        look()
        restore = _tell(threads)
        _told = (threads, threading.get_ident(), restore) if restore is not None else None
        try:
            yield
        finally:
            _told = None
            if restore is not None:
                restore()


def _after_fork() -> None:
    """In a child. One that another thread forked meanwhile is no worker, and has its threads back."""
    global _telling, _told
    _telling = threading.Lock()
    if _told is not None and _told[1] != threading.get_ident():
        _told[2]()
        _told = None


os.register_at_fork(after_in_child=_after_fork)


def limit_process(threads: int, asked: bool) -> None:
    """In a worker process. Where nobody `asked`, what the environment says already stands."""
    global _told
    for name in VARIABLES:
        if asked or name not in os.environ:
            os.environ[name] = str(threads)
    told, _told = _told, None
    if told is not None and told[0] == threads:
        return
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
