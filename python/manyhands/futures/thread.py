"""`ThreadPoolExecutor` on our own queue; the life cycle of its threads is the standard library's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("concurrent.futures.thread")

if available:
    from manyhands.queue import SimpleQueue
    from manyhands.threading import Semaphore

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


facade(__name__, _std)
