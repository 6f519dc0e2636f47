"""The crew of a `Pool`: its workers can have pools of their own, and a death is told in full, or mended.

A worker is started with a paper for its last words.
"""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable

from manyhands._facade import stdlib_of
from manyhands._impl import strict
from manyhands._impl.threading import Lock
from manyhands.multiprocessing import _crew, _crew_worker
from manyhands.multiprocessing._last_words import Paper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_process = stdlib_of("multiprocessing.process")

__all__ = ["Again", "PoolCrew", "cores", "starter"]


class Again:
    """A task that is run again when its worker has died."""

    __slots__ = ("function", "left", "message")

    def __init__(self, function: Any, message: Any, left: int) -> None:
        self.function, self.message, self.left = function, message, left


class PoolCrew(_crew.Crew):
    """See above. What a task is, for `send`: its function, or `Again`."""

    def __init__(self, size: int, *, start: Callable[..., Any], **how: Any) -> None:
        super().__init__(size, start=start, died=_nobody, **how)
        self.papers: dict[int, Paper] = {}  # by place

    def _start_at(self, place: int) -> Any:
        old = self.papers.pop(place, None)
        if old is not None:
            old.close()
        paper = None if strict else Paper()
        if paper is not None:
            self.papers[place] = paper
        return self._start(_crew_worker.work, (self.setup, place, paper))

    def _bury(self, place: int, process: Any) -> None:
        process.join()
        paper = self.papers.get(place)
        # Before its place is filled anew; and only where it will be asked for.
        process.last_words = paper.read() if paper is not None and self.claims[place] else ""
        super()._bury(place, process)

    def reap(self) -> None:
        super().reap()
        while self.papers:
            self.papers.popitem()[1].close()

    def _lost(self, number: int, process: Any) -> None:
        entry = self.pending[number]
        what = entry[2]
        if self._stopped is None and isinstance(what, Again) and what.left > 0:
            what.left -= 1
            del self.pending[number]
            try:
                self.send(what.message, *entry)
            except Exception as error:  # no memory for it any more, say
                entry[0](entry[1], False, error)
            return
        self._settle(number, False, self._stopped or _death(process, what))


def _nobody(process: Any) -> BaseException:
    return _death(process, None)


def _death(process: Any, what: Any) -> BaseException:
    from manyhands.futures._errors import WorkerDiedError

    error = WorkerDiedError(f"the worker process {process.pid} died while it ran ")
    error.pid, error.exitcode, error.cause = process.pid, process.exitcode, _crew.cause_of(process)
    error.task = _name(what.function if isinstance(what, Again) else what)
    error.last_words = getattr(process, "last_words", "")
    return error


def _name(function: Any) -> str | None:
    if type(function) is bytes:
        with contextlib.suppress(Exception):
            function = pickle.loads(function)
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else None if function is None else type(function).__qualname__


def cores() -> int:
    """How many workers a pool has unless it is told: in a worker, its share of the cores."""
    count = getattr(os, "process_cpu_count", os.cpu_count)() or 1
    return count if strict else max(1, int(count) // _crew_worker.among)


_starting = Lock()
os.register_at_fork(after_in_child=_starting._at_fork_reinit)


def _start_from_anywhere(process: Any) -> None:
    """The workers of pools are daemonic, and those may start no processes, since nothing would end these. A pool's
    workers end by themselves when their parent is gone, so they may."""
    config = _process.current_process()._config
    if strict or not config.get("daemon"):
        process.start()
        return
    with _starting:
        config["daemon"] = False
        try:
            process.start()
        finally:
            config["daemon"] = True


def starter(context: Any, pool: Any) -> Callable[..., Any]:
    """What starts a worker."""

    def start(target: Any, args: Any) -> Any:
        process = pool.Process(context, target=target, args=args)
        process.name = process.name.replace("Process", "PoolWorker")
        process.daemon = True
        _start_from_anywhere(process)
        return process

    return start
