"""`map` of every executor: back-pressure, order, chunks by measurement, progress, and iteration in asyncio.

Tasks are chunks: lists of argument tuples. A `_Flow` hands them to the executor, as many as `buffersize` allows, and
hands out their futures; `Results` makes of that an iterator and an asynchronous iterator.
"""

from __future__ import annotations

import collections
import itertools
import time
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator

from manyhands._facade import stdlib_of
from manyhands._troubles import coded
from manyhands.futures._progress import Bar, bar, total_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from typing import Any

__all__ = ["Results", "start_map"]

AUTO_SECONDS = 0.01  # a chunk of chunksize="auto" takes about that long
AUTO_GROWTH = 4  # times the last size at most
AUTO_AHEAD = 64  # chunks on their way where chunksize="auto" has no buffersize


def run_chunk(fn: Callable[..., Any], chunk: list[tuple[Any, ...]]) -> list[Any]:
    """What a worker runs for a chunk."""
    return [fn(*args) for args in chunk]


def run_timed_chunk(fn: Callable[..., Any], chunk: list[tuple[Any, ...]]) -> tuple[float, list[Any]]:
    """The same, with the seconds that it took."""
    started = time.perf_counter()
    results = [fn(*args) for args in chunk]
    return time.perf_counter() - started, results


class _Flow:
    """Arguments in, futures out."""

    def __init__(
        self,
        executor: Any,
        options: Any,
        fn: Callable[..., Any],
        items: Iterator[tuple[Any, ...]],
        chunksize: int | None,
        buffersize: int | None,
    ) -> None:
        self.executor: Any = executor  # until all items are taken
        self.options, self.fn, self.items = options, fn, items
        self.engine = getattr(executor, "_engine", None)
        self.auto = chunksize is None
        self.chunksize = chunksize or 1
        self.buffersize = buffersize if buffersize or not self.auto else AUTO_AHEAD
        self.futures: collections.deque[Any] = collections.deque()  # in the order of their items

    def submit(self) -> Any:
        """The future of the next chunk; None where there are no more items."""
        if self.executor is None:
            return None
        if not self.auto and self.chunksize == 1:
            for args in self.items:
                return self._take(self.options, self.fn, args)
            return self._ended()
        chunk = list(itertools.islice(self.items, self.chunksize))
        if not chunk:
            return self._ended()
        run = run_timed_chunk if self.auto else run_chunk
        return self._take(self._limits(len(chunk)), run, (self.fn, chunk))

    def _ended(self) -> None:
        """No more items: whoever has the results alone does not keep the executor."""
        self.executor = None

    def _take(self, options: Any, fn: Any, args: tuple[Any, ...]) -> Any:
        future = self.executor._submit(options, fn, args, {})
        self.futures.append(future)
        return future

    def _limits(self, items: int) -> Any:
        """A chunk may take as long as its items together."""
        options = self.options
        if options is None or options.timeout is None or items == 1:
            return options
        return options.replaced(timeout=options.timeout * items)

    def fill(self) -> Iterator[Any]:
        """Submit what there is room for."""
        while self.buffersize is None or len(self.futures) < self.buffersize:
            future = self.submit()
            if future is None:
                return
            yield future

    def opened(self, value: Any) -> list[Any]:
        """The results in what a task returned."""
        if self.auto:
            seconds, results = value
            wanted = len(results) * AUTO_SECONDS / max(seconds, 1e-7)
            self.chunksize = max(1, int(min(wanted, self.chunksize * AUTO_GROWTH)))
            return list(results)
        return [value] if self.chunksize == 1 else list(value)

    def cancel(self) -> None:
        for future in self.futures:
            future.cancel()
        self.futures.clear()


class Results:
    """What `map` of an executor returns: an iterator over the results, and an asynchronous iterator.

    A result is the item's own, or its exception is raised, which ends the iteration. `TimeoutError` where `timeout`
    seconds have passed since `map` was called. `close()` cancels what has not begun; so does forgetting it.
    """

    __module__ = "manyhands.futures"

    def __init__(self, flow: _Flow, ordered: bool, timeout: float | None, shown: Bar) -> None:
        self._flow, self._ordered, self._bar = flow, ordered, shown
        self._ended = None if timeout is None else time.monotonic() + timeout
        self._done: Any = None if ordered else stdlib_of("queue").SimpleQueue()
        self._wake: Callable[[], Any] | None = None  # how to tell an event loop
        try:
            self._fill()
        except BaseException:
            self._finish()
            raise
        # The generator has no reference to this: who forgets the results ends it, and need not wait for the collector.
        self._values = self._iterate(weakref.proxy(self), flow, shown, ordered)

    def _fill(self) -> None:
        for future in self._flow.fill():
            if not self._ordered:
                future.add_done_callback(self._on_done)

    def _on_done(self, future: Any) -> None:
        self._done.put(future)
        wake = self._wake
        if wake is not None:
            wake()

    def _left(self) -> float | None:
        """Seconds that may be waited."""
        if self._ended is None:
            return None
        return max(0.0, self._ended - time.monotonic())

    def _finish(self) -> None:
        self._flow.cancel()
        self._bar.close()

    # ---- iteration

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._values)

    def close(self) -> None:
        """End it: what has not begun is cancelled."""
        self._values.close()
        self._finish()

    def __del__(self) -> None:
        values = getattr(self, "_values", None)
        if values is not None and not values.gi_running:
            self.close()

    @staticmethod
    def _iterate(own: Any, flow: _Flow, shown: Bar, ordered: bool) -> Generator[Any, None, None]:
        """`own` is these results, by a weak reference."""
        try:
            while flow.futures:
                future = flow.futures.popleft() if ordered else own._take_next()
                try:
                    value = future.result(own._left())
                finally:
                    future.cancel()
                    del future
                own._fill()
                results = flow.opened(value)
                del value
                shown.advance(len(results))
                results.reverse()
                while results:
                    yield results.pop()
        finally:
            flow.cancel()
            shown.close()

    def _take_next(self) -> Any:
        """The next future that is done, of those in any order."""
        left = self._left()
        if left is None and self._done.empty():
            self._help()
        try:
            future = self._done.get(timeout=left)
        except stdlib_of("queue").Empty:
            raise coded(TimeoutError(f"{len(self._flow.futures)} tasks unfinished"), "MH-TIMEOUT") from None
        self._flow.futures.remove(future)
        return future

    def _help(self) -> None:
        """Inside a task or a callback of the same executor nobody else may be there to run these."""
        engine = self._flow.engine
        if engine is None or not engine.inside():
            return
        for future in list(self._flow.futures):
            engine.help(future, False)
            if not self._done.empty():
                return

    # ---- asyncio

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._iterate_async()

    async def _iterate_async(self) -> AsyncIterator[Any]:
        import asyncio  # slow to import, and a coroutine that runs has it already

        flow = self._flow
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._wake = lambda: loop.call_soon_threadsafe(done.set)
        try:
            while flow.futures:
                future = flow.futures.popleft() if self._ordered else await self._take_next_async(done)
                try:
                    value = await asyncio.wait_for(asyncio.wrap_future(future), self._left())
                finally:
                    future.cancel()
                self._fill()
                results = flow.opened(value)
                self._bar.advance(len(results))
                for result in results:
                    yield result
        finally:
            self._wake = None
            self._finish()

    async def _take_next_async(self, done: asyncio.Event) -> Any:
        import asyncio

        while self._done.empty():
            done.clear()
            if self._done.empty():
                await asyncio.wait_for(done.wait(), self._left())
        return self._take_next()


def _chunks(given: Any) -> int | None:
    if given == "auto":
        return None
    if isinstance(given, bool) or not isinstance(given, int):
        raise coded(TypeError(f'chunksize must be an int, or "auto", not {given!r}'), "MH-ARGUMENT")
    if given < 1:
        raise coded(ValueError(f"chunksize must be >= 1, not {given}"), "MH-ARGUMENT")
    return given


def _buffer(given: Any) -> int | None:
    if given is not None and not isinstance(given, int):
        raise TypeError("buffersize must be an integer or None")
    if given is not None and given < 1:
        raise ValueError("buffersize must be None or > 0")
    return given


def start_map(
    executor: Any,
    options: Any,
    fn: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    *,
    timeout: float | None = None,
    chunksize: int | str = 1,
    buffersize: int | None = None,
    ordered: bool = True,
    progress: bool | str = False,
) -> Results:
    """`Executor.map`, which has the description."""
    chunks, room = _chunks(chunksize), _buffer(buffersize)
    shown = bar(progress, total_of(iterables), getattr(fn, "__name__", "map"))
    flow = _Flow(executor, options, fn, zip(*iterables, strict=False), chunks, room)
    return Results(flow, ordered, timeout, shown)
