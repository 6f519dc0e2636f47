"""multiprocessing: what processes and queues take while nothing happens. Bytes, and processor time per second."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.runner import row


def _field(pid: int | str, *names: str) -> float:
    """Bytes, from the sums that the kernel keeps of a process's memory."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024.0 * sum(
        float(kb) for name, kb in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M) if name in names
    )


def _wait_for(ready: Any, go: Any) -> None:
    ready.release()
    go.acquire()


def _memory_of_processes(side: Any, method: str) -> Any:
    """run(n): n processes that wait; the memory that each has for itself alone."""
    context = side.multiprocessing.get_context(method)

    def run(n: int) -> float:
        ready, go = context.Semaphore(0), context.Semaphore(0)
        processes = [context.Process(target=_wait_for, args=(ready, go)) for _ in range(n)]
        for process in processes:
            process.start()
        for _ in processes:
            ready.acquire()
        taken = sum(_field(process.pid, "Private_Clean", "Private_Dirty") for process in processes)
        for _ in processes:
            go.release()
        for process in processes:
            process.join()
        return taken

    return run


@row("mp/memory-fork", "multiprocessing.Process", n=4, unit="B")
def memory_fork(side: Any) -> Any:
    return _memory_of_processes(side, "fork")


@row("mp/memory-forkserver", "multiprocessing.Process", n=4, unit="B")
def memory_forkserver(side: Any) -> Any:
    return _memory_of_processes(side, "forkserver")


@row("mp/memory-spawn", "multiprocessing.Process", n=4, unit="B")
def memory_spawn(side: Any) -> Any:
    return _memory_of_processes(side, "spawn")


@row("mp/memory-queue", "multiprocessing.Queue", n=100, unit="B")
def memory_queue(side: Any) -> Any:
    """run(n): n queues through each of which an item went."""
    context = side.multiprocessing.get_context("fork")

    def run(n: int) -> float:
        before = _field("self", "Pss")
        queues = [context.Queue() for _ in range(n)]
        for queue in queues:
            queue.put(1)
            queue.get()
        taken = _field("self", "Pss") - before
        for queue in queues:
            queue.close()
            queue.join_thread()
        return max(taken, 1.0)

    return run


def _processor_ns(pid: int) -> float:
    return float(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def _idle(side: Any, target: Any, *args: Any) -> Iterator[Any]:
    """run(n): processor time that a waiting process uses in n seconds."""
    context = side.multiprocessing.get_context("fork")
    process = context.Process(target=target, args=args, daemon=True)
    process.start()
    time.sleep(0.2)  # it waits by now

    def run(n: int) -> float:
        before = _processor_ns(process.pid)
        time.sleep(n)
        return max(_processor_ns(process.pid) - before, 1.0)

    yield run
    process.kill()
    process.join()


def _get(queue: Any) -> None:
    queue.get()


@row("mp/idle-get", "multiprocessing.Queue", n=1)
def idle_get(side: Any) -> Any:
    return _idle(side, _get, side.multiprocessing.get_context("fork").Queue())


def _acquire(lock: Any) -> None:
    lock.acquire()


@row("mp/idle-acquire", "multiprocessing.Lock", n=1)
def idle_acquire(side: Any) -> Any:
    lock = side.multiprocessing.get_context("fork").Lock()
    lock.acquire()
    return _idle(side, _acquire, lock)
