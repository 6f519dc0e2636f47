"""multiprocessing: primitives in one process, and messages between two."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.rows.thread import _pair, condition_turns
from bench.runner import repeated, row, timed


def _fork(side: Any) -> Any:
    return side.multiprocessing.get_context("fork")


@row("mp/lock", "multiprocessing.Lock")
def lock(side: Any) -> Any:
    return _pair(_fork(side).Lock())


@row("mp/lock-with", "multiprocessing.Lock")
def lock_with(side: Any) -> Any:
    return repeated("with guard: pass", guard=_fork(side).Lock())


@row("mp/event-set", "multiprocessing.Event")
def event_set(side: Any) -> Any:
    return timed(_fork(side).Event().set)


@row("mp/event-wait", "multiprocessing.Event")
def event_wait(side: Any) -> Any:
    event = _fork(side).Event()
    event.set()
    return timed(event.wait)


@row("mp/barrier", "multiprocessing.Barrier")
def barrier(side: Any) -> Any:
    return timed(_fork(side).Barrier(1).wait)


@row("mp/value-get", "multiprocessing.Value")
def value_get(side: Any) -> Any:
    return repeated("value.value", value=_fork(side).Value("i", 7))


@row("mp/array-item", "multiprocessing.Array")
def array_item(side: Any) -> Any:
    return repeated("array[3]", array=_fork(side).Array("i", 8))


def _repeat(operation: Any, n: int) -> None:
    for _ in range(n):
        operation()


def process_turns(context: Any, here: Any, there: Any) -> Any:
    """run(n): `here()` in this process answers `there()` in a forked one, n times."""

    def run(n: int) -> float:
        process = context.Process(target=_repeat, args=(there, n))
        process.start()
        here()  # the child is up once this returns
        started = time.perf_counter_ns()
        _repeat(here, n - 1)
        took = time.perf_counter_ns() - started
        process.join()
        return took * n / max(n - 1, 1)

    return run


@row("mp/pingpong-event", "multiprocessing.Event", pinned=True, n=2000)
def pingpong_event(side: Any) -> Any:
    context = _fork(side)
    ping, pong = context.Event(), context.Event()

    def here() -> None:
        ping.set()
        pong.wait()
        pong.clear()

    def there() -> None:
        ping.wait()
        ping.clear()
        pong.set()

    return process_turns(context, here, there)


@row("mp/pingpong-condition", "multiprocessing.Condition", pinned=True, n=2000)
def pingpong_condition(side: Any) -> Any:
    context = _fork(side)
    return process_turns(context, *condition_turns(context.Condition(), context.RawArray("i", 1)))


@row("mp/pipe-pingpong", "multiprocessing.Pipe", pinned=True, n=2000)
def pipe_pingpong(side: Any) -> Any:
    context = _fork(side)
    near, far = context.Pipe()

    def here() -> None:
        near.send(1)
        near.recv()

    def there() -> None:
        far.send(far.recv())

    return process_turns(context, here, there)


def _pipe(side: Any, size: int) -> Any:
    context = _fork(side)
    near, far = context.Pipe()
    data = b"x" * size

    def here() -> None:
        near.send(data)
        near.recv()

    def there() -> None:
        far.recv()
        far.send(None)

    return process_turns(context, here, there)


@row("mp/pipe-1mb", "multiprocessing.Pipe", n=40)
def pipe_1mb(side: Any) -> Any:
    return _pipe(side, 1_000_000)


@row("mp/pipe-100mb", "multiprocessing.Pipe", n=3)
def pipe_100mb(side: Any) -> Any:
    return _pipe(side, 100_000_000)


def _produce(queue: Any, items: Any, ready: Any, start: Any, n: int) -> None:
    ready.set()
    start.wait()
    for _ in range(n):
        queue.put(items)


def _produce_batches(queue: Any, items: Any, ready: Any, start: Any, n: int) -> None:
    ready.set()
    start.wait()
    batch = [items] * 100
    for _ in range(n // 100):
        queue.put_many(batch)


def _drain(queue: Any, n: int) -> None:
    get = queue.get
    for _ in range(n):
        get()


def _drain_batches(queue: Any, n: int) -> None:
    left = n
    while left:
        left -= len(queue.get_many(100))


def _stream(side: Any, item: Any, produce: Any = _produce, drain: Any = _drain) -> Any:
    """run(n): a forked producer puts n items, this process takes them; from the start signal to the last item."""
    context = _fork(side)

    def run(n: int) -> float:
        queue, ready, start = context.Queue(), context.Event(), context.Event()
        process = context.Process(target=produce, args=(queue, item, ready, start, n))
        process.start()
        ready.wait()
        started = time.perf_counter_ns()
        start.set()
        drain(queue, n)
        took = time.perf_counter_ns() - started
        process.join()
        return took

    return run


@row("mp/queue-int", "multiprocessing.Queue", n=20_000)
def queue_int(side: Any) -> Any:
    return _stream(side, 7)


@row("mp/queue-int-batch", "multiprocessing.Queue, one by one", n=20_000, other=lambda side: _stream(side, 7))
def queue_int_batch(side: Any) -> Any:
    return _stream(side, 7, _produce_batches, _drain_batches)


@row("mp/queue-1kb", "multiprocessing.Queue", n=10_000)
def queue_1kb(side: Any) -> Any:
    return _stream(side, b"x" * 1000)


@row("mp/queue-dict", "multiprocessing.Queue", n=10_000)
def queue_dict(side: Any) -> Any:
    return _stream(side, {"id": 7, "name": "seven", "tags": ["a", "b"], "price": 1.5})


@row("mp/queue-1mb", "multiprocessing.Queue", n=40)
def queue_1mb(side: Any) -> Any:
    return _stream(side, b"x" * 1_000_000)


def _array(side: Any, shared: bool) -> Any:
    import numpy

    if not (shared and side.ours):
        return numpy.ones(10_000_000)
    from manyhands._impl import core

    array = numpy.frombuffer(core.block(80_000_000), dtype=numpy.float64)
    array[:] = 1.0
    return array


def _stream_arrays(side: Any, shared: bool, use: Any) -> Any:
    """run(n): arrays go to a forked consumer, which uses each once and answers."""
    context = _fork(side)
    array = _array(side, shared)

    def consume(queue: Any, answers: Any, n: int) -> None:
        for _ in range(n):
            answers.put(float(use(queue.get())))

    def run(n: int) -> float:
        queue, answers = context.Queue(), context.Queue()
        process = context.Process(target=consume, args=(queue, answers, n + 1))
        process.start()
        queue.put(array)
        answers.get()  # the child is up, and its memory warm
        started = time.perf_counter_ns()
        for _ in range(n):
            queue.put(array)
            answers.get()
        took = time.perf_counter_ns() - started
        process.join()
        return took

    return run


@row("mp/queue-numpy-80mb", "multiprocessing.Queue", n=2)
def queue_numpy(side: Any) -> Any:
    return _stream_arrays(side, False, lambda array: array.sum())


@row("mp/queue-numpy-shared-80mb", "multiprocessing.Queue", n=2)
def queue_numpy_shared(side: Any) -> Any:
    return _stream_arrays(side, True, lambda array: array[::512].sum())


def _nothing() -> None:
    pass


def _start_join(side: Any, method: str) -> Iterator[Any]:
    context = side.multiprocessing.get_context(method)

    def operation() -> None:
        process = context.Process(target=_nothing)
        process.start()
        process.join()

    operation()  # the fork server, where there is one, is up
    yield timed(operation)


@row("mp/process-fork", "multiprocessing.Process", n=10)
def process_fork(side: Any) -> Any:
    return _start_join(side, "fork")


def _script_starts(method: str, count: int, before: int) -> Any:
    """pairs(n) of a script that is the main program; it starts and joins `count` processes, after so many `before`."""
    script = Path(__file__).parent.parent / "start_script.py"

    def once(package: str) -> float:
        command = [sys.executable, str(script), package, method, str(count), str(before)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def pairs(n: int) -> list[tuple[float, float]]:
        return [(once("manyhands."), once("")) for _ in range(n)]

    return pairs


# The fork server is up after one start, the zygote of spawned children after two.
row("mp/process-forkserver", "multiprocessing.Process", pairs=_script_starts("forkserver", 10, 1))(
    _start_join
)
row("mp/process-spawn", "multiprocessing.Process", pairs=_script_starts("spawn", 10, 2))(_start_join)
row("mp/first-spawn", "multiprocessing.Process", pairs=_script_starts("spawn", 1, 0))(_start_join)
