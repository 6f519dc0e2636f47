"""Queues between processes, in C: no feeder thread, and what `put` returned from is in the queue.

Names and behaviour are the standard library's, with these differences: a value that cannot be pickled raises in `put`,
not in a thread; an item is safe once `put` has returned, even if its producer is killed at once; `qsize()` and
`empty()` are exact.
"""

from __future__ import annotations

from typing import Any

from manyhands._impl import CancelToken, core, messages, strict  # noqa: F401  # messages binds pickling to the core
from manyhands.multiprocessing import _handles
from manyhands.multiprocessing._synchronize import Condition, Semaphore

__all__ = ["JoinableQueue", "Queue"]

_Base: Any = core.MessageQueue
if strict:
    from manyhands.multiprocessing._strict import StrictMessageQueue as _Base


class Queue(_Base):  # type: ignore[misc]
    """A first-in first-out queue for any number of producing and consuming processes.

    `maxsize`: `put` waits while that many items are in it; 0: until a share of the memory is used up, when `put`
    raises MemoryError. ``put(obj, block=True, timeout=None)`` raises `queue.Full`, ``get(block=True, timeout=None)``
    `queue.Empty`; both take ``cancel=``, a `manyhands.CancelToken`.
    """

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        super().__init__(max(maxsize, 0))
        if strict:
            self._made_in(ctx)

    def __getstate__(self) -> Any:
        fd, select_fd, name, maxsize = self._handle()
        return (
            _handles.send(self, fd, ("queue", name)),
            _handles.send(self, select_fd, ("bell", name)),
            maxsize,
        )

    def __setstate__(self, state: Any) -> None:
        channel, bell, maxsize = state
        self._attach(_handles.receive(channel), _handles.receive(bell), channel[1][1], maxsize)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self).__new__, (type(self),), self.__getstate__()

    def put_nowait(self, obj: Any) -> None:
        """``put(obj, block=False)``."""
        self.put(obj, False)

    def get_nowait(self) -> Any:
        """``get(block=False)``."""
        return self.get(False)

    def join_thread(self) -> None:
        """For programs written for the standard library: there is no thread to join."""
        assert self._closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self) -> None:
        """For programs written for the standard library: there is no thread to join."""


class JoinableQueue(Queue):
    """A queue whose consumers say when an item is done: `task_done()` after each, `join()` waits for all."""

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        super().__init__(maxsize, ctx=ctx)
        self._unfinished = Semaphore(0)
        self._all_done = Condition()

    def __getstate__(self) -> Any:
        return super().__getstate__(), self._unfinished, self._all_done

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state[0])
        self._unfinished, self._all_done = state[1:]

    def put(
        self,
        obj: Any,
        block: bool = True,
        timeout: float | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> None:
        """As `Queue.put`; counts one more unfinished task."""
        # Counted first: a consumer may be done with the item before this process runs again.
        self._unfinished.release()
        try:
            super().put(obj, block, timeout, cancel=cancel)
        except BaseException:
            self.task_done()
            raise

    def task_done(self) -> None:
        """The caller is done with one item that it got. ValueError where there was none."""
        with self._all_done:
            if not self._unfinished.acquire(False):
                raise ValueError("task_done() called too many times")
            if self._unfinished.get_value() == 0:
                self._all_done.notify_all()

    def join(self, *, cancel: CancelToken | None = None) -> None:
        """Wait until every item that was put is done."""
        with self._all_done:
            while self._unfinished.get_value() != 0:
                self._all_done.wait(cancel=cancel)
