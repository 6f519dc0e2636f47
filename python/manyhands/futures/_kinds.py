"""`manyhands.Executor`: one interface over threads, processes and interpreters; and `manyhands.map`, the one-liner."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from manyhands._facade import stdlib_of
from manyhands._troubles import coded
from manyhands.futures._engine import Engine, OverEngine, cores
from manyhands.futures._thread import ThreadEngine, check_more, check_workers

_base: Any = stdlib_of("concurrent.futures._base")

__all__ = ["Executor", "parallel_map"]

KINDS = ("threads", "processes", "interpreters")
# What each kind takes beyond max_workers, initializer and initargs; and why not, where a user might expect it.
OPTIONS = {
    "threads": ("name", "min_workers", "idle_timeout", "max_tasks_per_child", "max_age", "inner_threads"),
    "processes": (
        "mp_context",
        "min_workers",
        "idle_timeout",
        "max_tasks_per_child",
        "max_age",
        "max_memory",
        "inner_threads",
    ),
    "interpreters": ("name", "min_workers", "idle_timeout", "max_tasks_per_child", "max_age"),
}
WHY_NOT = {
    "mp_context": "only processes are started by a context",
    "max_memory": "they share the memory of one process; kind='processes' has it",
    "inner_threads": "BLAS in an interpreter is the whole process's; kind='threads' and 'processes' have it",
    "name": "name a process in its initializer",
}


class Executor(OverEngine, _base.Executor):  # type: ignore[misc]
    """Runs calls on a pool of threads, processes or interpreters, with the same verbs for all.

    `kind`: "threads" (for waits, and C code without the GIL), "processes" (for computing in Python; a crash costs one
    task), "interpreters" (the same inside one process, Python 3.13 and newer). `max_workers`: one per core, for threads
    a few more. Options of the kinds: `min_workers` and `idle_timeout` (elastic size), `max_tasks_per_child`, `max_age`
    and `max_memory` (replace a worker), `inner_threads` (of BLAS), `mp_context`, `name`; docs/howto/executors.md has
    the table of what each kind can do.
    """

    def __init__(
        self,
        kind: str = "threads",
        max_workers: int | None = None,
        *,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        **options: Any,
    ) -> None:
        _check_kind(kind, options)
        default = min(32, cores() + 4) if kind == "threads" else cores()
        max_workers = check_workers(max_workers, default, options.get("min_workers"))
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        check_more(**{k: v for k, v in options.items() if k not in ("mp_context", "name", "min_workers")})
        self.kind, self.max_workers = kind, max_workers
        self._attach(_engine(kind, max_workers, initializer, initargs, options))

    def __repr__(self) -> str:
        state = "closed" if self._engine.closing else "paused" if self._engine.held else "open"
        return f"<Executor of {self.max_workers} {self.kind}, {state}>"

    def terminate_workers(self) -> None:
        """End the workers and close: what waits is cancelled, what runs is asked to end (processes: SIGTERM)."""
        self._end("terminate")

    def kill_workers(self) -> None:
        """As `terminate_workers`; processes by SIGKILL. A thread in a C call cannot be killed: it ends after it."""
        self._end("kill")

    def _end(self, how: str) -> None:
        if self.kind == "processes":
            self._engine.stop(how)
        else:
            self._engine.abort()


def _check_kind(kind: str, options: dict[str, Any]) -> None:
    if kind not in KINDS:
        raise coded(
            ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, not {kind!r}"), "MH-ARGUMENT"
        )
    for name in options:
        if name not in OPTIONS[kind]:
            why = f": {WHY_NOT[name]}" if name in WHY_NOT else ""
            raise coded(
                TypeError(
                    f"an executor of {kind} takes no {name}={why}; it takes {', '.join(OPTIONS[kind])}"
                ),
                "MH-ARGUMENT",
            )


def _engine(kind: str, count: int, initializer: Any, initargs: Any, options: dict[str, Any]) -> Engine:
    options = dict(options)
    if kind == "processes":
        from manyhands.futures._process import ProcessEngine, process_context

        most = options.pop("max_tasks_per_child", None)
        context = process_context(options.pop("mp_context", None), most)
        return ProcessEngine(context, count, most, initializer, initargs, **options)
    options["most"] = options.pop("max_tasks_per_child", None)
    prefix = options.pop("name", None) or f"manyhands-{kind}"
    if kind == "threads":
        return ThreadEngine(count, prefix, initializer, initargs, **options)
    from manyhands.futures._interpreter import InterpreterEngine, check_available

    check_available()
    return InterpreterEngine(count, prefix, initializer, initargs, **options)


def parallel_map(
    function: Callable[..., Any],
    *iterables: Iterable[Any],
    kind: str = "processes",
    max_workers: int | None = None,
    timeout: float | None = None,
    chunksize: int | str = "auto",
    ordered: bool = True,
    progress: bool | str = False,
    **options: Any,
) -> Iterator[Any]:
    """`map` in parallel: an iterator over the results. The executor is made for it, and closed at its end.

    `timeout`: seconds for each item. Items may be endless: what is on its way is bounded. Further options are those of
    `Executor`, and `retries`, `retry_on` and `backoff` of its tasks.
    """
    per_task: dict[str, Any] = {n: options.pop(n) for n in ("retries", "retry_on", "backoff") if n in options}
    if timeout is not None:
        per_task["timeout"] = timeout
    executor = Executor(kind, max_workers, **options)
    how = {"chunksize": chunksize, "ordered": ordered, "progress": progress}
    if chunksize != "auto":
        how["buffersize"] = 4 * executor.max_workers
    try:
        results = executor.options(**per_task).map(function, *iterables, **how)
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    return _closing(executor, results)


def _closing(executor: Executor, results: Any) -> Iterator[Any]:
    try:
        with executor:
            yield from results
    finally:
        results.close()
        executor.shutdown(wait=False, cancel_futures=True)
