"""The crew of an executor: as many workers as are wanted just now, each with a row of figures and a paper for its
last words, and tasks that can be ended or revoked."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable

from manyhands._facade import stdlib_of
from manyhands.futures import _process_worker as worker
from manyhands.futures._errors import WorkerDiedError
from manyhands.futures._executor import WorkerFigures
from manyhands.multiprocessing import _crew
from manyhands.multiprocessing._memory import Memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_std: Any = stdlib_of("concurrent.futures.process")
_threading: Any = stdlib_of("threading")

__all__ = ["Crew", "death"]

GROW = 64  # tells the collector to start what workers are wanted
KEPT = 256  # ended workers whose figures are kept apart
PAUSE_SECONDS = 1.0  # a worker to be ended is stopped first, to see what it has in hand


def death(process: Any, paper: worker.Paper | None) -> WorkerDiedError:
    """The exception for a task whose worker died; `_engine` adds what the task was.

    Its cause is the one that programs written for the standard library's executor look at from 3.15 on.
    """
    code = process.exitcode
    error = WorkerDiedError(f"the worker process {process.pid} died while it ran ")
    said = f"Process {process.pid} terminated abruptly with exit code {code}"
    error.__cause__ = _std._RemoteTraceback(f'\n"""\n{said}\n"""')
    error.pid, error.exitcode, error.cause = process.pid, code, _crew.cause_of(process)
    with contextlib.suppress(OSError, AttributeError):
        error.last_words = paper.read()  # type: ignore[union-attr]
    crash = error.last_words.find("Fatal Python error")
    if crash >= 0 and sys.stderr is not None:
        import faulthandler  # here, since interpreters that import this module refuse it

        if faulthandler.is_enabled():
            print(error.last_words[crash:], file=sys.stderr, flush=True)
    return error


class Crew(_crew.Crew):
    """See above."""

    def __init__(self, size: int, wanted: int, make: Callable[..., Any], gate: Any, **how: Any) -> None:
        more = how.pop("more")
        super().__init__(size, start=make, died=self._death_of, **how)
        self.table = Memory(8 * worker.words_for(size))
        self.claims = self.table.words()
        plain = self.setup
        self.setup = worker.Setup(
            plain.tasks,
            plain.results,
            self.table,
            plain.initializer,
            plain.initargs,
            plain.most,
            plain.passes,
        )
        self.setup.gate, self.setup.size = gate, size
        for name, value in more.items():
            setattr(self.setup, name, value)
        self.wanted = wanted  # workers, just now
        self.retiring = 0  # asked to leave, and not gone
        self.papers: dict[int, worker.Paper] = {}  # by process id
        self.dead: dict[int, worker.Paper] = {}
        self.past: list[WorkerFigures] = []
        self.starting = _threading.Lock()
        self.around_starts: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext

    # ---- workers

    def fill(self) -> None:
        """As many workers as are wanted."""
        missing = self.wanted - len(self.workers) + self.retiring
        if missing <= 0:
            return
        around = self.around_starts() if missing > 1 else contextlib.nullcontext()
        with self.whole(), _crew.without_interrupts(), around:
            for place in range(self.size):
                if len(self.workers) - self.retiring >= self.wanted:
                    break
                if place not in self.workers:
                    self._start_at(place)

    def _start_at(self, place: int) -> None:
        row = worker.row_of(self.size, place)
        self.claims[place] = 0
        for i in range(worker.ROW):
            self.claims[row + i] = 0
        self.claims[row + worker.ASKED] = time.monotonic_ns()
        paper = worker.Paper()
        try:
            process = self._start(worker.work, (self.setup, place, paper))
        except BaseException:
            paper.close()
            raise
        self.papers[process.pid] = paper
        self.workers[place] = process
        self.pool.append(process)

    def grow(self, wanted: int) -> None:
        """Have so many workers."""
        self.wanted = wanted
        self.tell(GROW)

    def retire(self, wanted: int) -> None:
        """Let go of those beyond `wanted`: whoever takes None leaves."""
        with self.sending:
            for _ in range(self.wanted - wanted):
                self.tasks.put(None)
                self.sent += 1
                self.retiring += 1
            self.wanted = wanted

    def _obey(self, what: int, *more: Any) -> None:
        if what == GROW:
            try:
                self.fill()
            except Exception as error:
                self.fail(error)
            self._kick_watcher()
        else:
            super()._obey(what, *more)

    def _bury(self, place: int, process: Any) -> None:
        self.past.append(self._figures_at(place, process, False))
        if len(self.past) > KEPT:
            self._sum_up()
        process.join()
        if process.exitcode == 0 and self.retiring:
            self.retiring -= 1
        self.dead[process.pid] = self.papers.pop(process.pid)
        super()._bury(place, process)
        for pid in [pid for pid in self.dead if pid not in self._doubtful]:
            self.dead.pop(pid).close()

    def _death_of(self, process: Any) -> BaseException:
        return death(process, self.dead.get(process.pid))

    def reap(self) -> None:
        left = list(self.workers.items())
        super().reap()
        self.past += [self._figures_at(place, process, False) for place, process in left]
        for papers in (self.papers, self.dead):
            while papers:
                papers.popitem()[1].close()

    def _go_home(self) -> None:
        super()._go_home()
        self.tasks.close()  # nobody puts any more: programs that ask the standard library's executor find it so

    # ---- tasks

    def place_of(self, number: int) -> int | None:
        """Whose hands the task is in: the place, or None."""
        for place in list(self.workers):
            claim = self.claims[place]
            if claim and claim & _crew.MASK == number:
                return place
        return None

    def began(self, number: int) -> float | None:
        """When the task that runs began; None where it does not run."""
        place = self.place_of(number)
        if place is None:
            return None
        began = self.claims[worker.row_of(self.size, place) + worker.BEGAN]
        return began / 1e9 if began and self.place_of(number) == place else None

    def end_task(self, number: int, mark: Callable[[], None]) -> bool:
        """Kill the worker that runs it, and no other. False where it does not run."""
        place = self.place_of(number)
        if place is None or (process := self.workers.get(place)) is None:
            return False
        with contextlib.suppress(ValueError, OSError):
            process.pause(PAUSE_SECONDS)  # so that it cannot go on to another task meanwhile
            if self.began(number) is not None:
                mark()
                process.kill()
                return True
            process.resume()
        return False

    def revoke(self, number: int) -> bool:
        """A task in the channel shall not begin; False where too many are revoked already."""
        words, control = self.claims, self.size
        with self.sending:
            for i in range(control + 1, control + 1 + worker.REVOKED):
                if words[i] == 0:
                    words[i] = number + 1
                    words[control] += 1
                    return True
        return False

    def unrevoke(self, number: int) -> None:
        """It has been settled."""
        words, control = self.claims, self.size
        with self.sending:
            for i in range(control + 1, control + 1 + worker.REVOKED):
                if words[i] == number + 1:
                    words[i] = 0
                    words[control] -= 1

    def hold(self, on: bool) -> None:
        """Workers look at this before they begin a task."""
        with self.sending:
            if on:
                self.claims[self.size] |= worker.HELD_BIT
            else:
                self.claims[self.size] &= ~worker.HELD_BIT

    # ---- figures

    def figures(self) -> list[WorkerFigures]:
        """Of all workers."""
        return [*self.past, *(self._figures_at(p, w, True) for p, w in list(self.workers.items()))]

    def _figures_at(self, place: int, process: Any, alive: bool) -> WorkerFigures:
        row = worker.row_of(self.size, place)
        asked, ready, _, wait, work, moved, tasks, _ = self.claims[row : row + worker.ROW]
        start = (ready - asked) / 1e9 if ready else 0.0
        return WorkerFigures(process.name, alive, tasks, start, wait / 1e9, work / 1e9, moved / 1e9)

    def _sum_up(self) -> None:
        first = WorkerFigures("earlier workers", False)
        for one in self.past[: KEPT // 2]:
            for name in ("tasks", "start", "wait", "work", "transfer"):
                setattr(first, name, getattr(first, name) + getattr(one, name))
        self.past[: KEPT // 2] = [first]
