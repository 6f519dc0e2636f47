"""Drop-in for the standard library's ``concurrent.futures``, and the executor above its kinds."""

from __future__ import annotations

from manyhands._facade import facade, stdlib_of

_std = stdlib_of("concurrent.futures")

from manyhands._impl import available, strict  # noqa: E402
from manyhands.futures._errors import WorkerDiedError as WorkerDiedError  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    # What a type checker sees: ours, and the standard library's rest.
    from concurrent.futures import ALL_COMPLETED as ALL_COMPLETED
    from concurrent.futures import FIRST_COMPLETED as FIRST_COMPLETED
    from concurrent.futures import FIRST_EXCEPTION as FIRST_EXCEPTION
    from concurrent.futures import BrokenExecutor as BrokenExecutor
    from concurrent.futures import CancelledError as CancelledError
    from concurrent.futures import Executor as Executor
    from concurrent.futures import TimeoutError as TimeoutError

    from manyhands.futures._executor import Statistics as Statistics
    from manyhands.futures._executor import View as View
    from manyhands.futures._executor import WorkerFigures as WorkerFigures
    from manyhands.futures._future import Future as Future
    from manyhands.futures._interpreter import InterpreterPoolExecutor as InterpreterPoolExecutor
    from manyhands.futures._map import Results as Results
    from manyhands.futures._options import Options as Options
    from manyhands.futures._process import ProcessPoolExecutor as ProcessPoolExecutor
    from manyhands.futures._thread import ThreadPoolExecutor as ThreadPoolExecutor
    from manyhands.futures._wait import as_completed as as_completed
    from manyhands.futures._wait import wait as wait

if available and not TYPE_CHECKING:
    from manyhands.futures._future import Future as Future
if available and strict and not TYPE_CHECKING:
    from manyhands.futures._thread import StrictThreadPoolExecutor as ThreadPoolExecutor
elif available and not TYPE_CHECKING:
    # Strict compatibility asks for an executor that refuses all work after one death: the standard library's.
    from manyhands.futures._interpreter import InterpreterPoolExecutor
    from manyhands.futures._process import ProcessPoolExecutor
    from manyhands.futures._thread import ThreadPoolExecutor
    from manyhands.futures._wait import as_completed as as_completed
    from manyhands.futures._wait import wait as wait

_RETURNED = {
    "Options": "manyhands.futures._options",
    "Results": "manyhands.futures._map",
    "Statistics": "manyhands.futures._executor",
    "View": "manyhands.futures._executor",
    "WorkerFigures": "manyhands.futures._executor",
}

facade(
    __name__,
    _std,
    extra=("WorkerDiedError",) if strict else ("InterpreterPoolExecutor", "WorkerDiedError"),
    returned=_RETURNED if available else None,
)
