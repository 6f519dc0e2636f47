"""Drop-in for the standard library's ``concurrent.futures``, and the executor above its kinds."""

from __future__ import annotations

from manyhands._facade import facade, stdlib_of

_std = stdlib_of("concurrent.futures")

from manyhands._impl import available, strict  # noqa: E402
from manyhands.futures._errors import WorkerDiedError as WorkerDiedError  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ThreadPoolExecutor: Any
if available:
    from manyhands.futures._future import Future as Future
if available and strict:
    from manyhands.futures._thread import StrictThreadPoolExecutor as ThreadPoolExecutor
elif available:
    # Strict compatibility asks for an executor that refuses all work after one death: the standard library's.
    from manyhands.futures._interpreter import InterpreterPoolExecutor
    from manyhands.futures._process import ProcessPoolExecutor
    from manyhands.futures._thread import ThreadPoolExecutor
    from manyhands.futures._wait import as_completed as as_completed
    from manyhands.futures._wait import wait as wait

facade(
    __name__, _std, extra=("WorkerDiedError",) if strict else ("InterpreterPoolExecutor", "WorkerDiedError")
)
