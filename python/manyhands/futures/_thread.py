"""`ThreadPoolExecutor` on our own queue; the life cycle of its threads is the standard library's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from manyhands._facade import stdlib_of
from manyhands._impl.queue import SimpleQueue
from manyhands._impl.threading import Semaphore

_std = stdlib_of("concurrent.futures.thread")

__all__ = ["ThreadPoolExecutor"]


class ThreadPoolExecutor(_std.ThreadPoolExecutor):  # type: ignore[misc,name-defined]
    """Runs calls on a pool of threads: `submit`, `map`, `shutdown`. See `concurrent.futures.ThreadPoolExecutor`."""

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        **context: Any,
    ) -> None:
        super().__init__(max_workers, thread_name_prefix, initializer, initargs, **context)
        self._work_queue: Any = SimpleQueue()
        self._idle_semaphore = Semaphore(0)
