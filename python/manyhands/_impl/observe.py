"""observe(): what each thread spends its time on, seen from outside by the core's sampler."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from manyhands._facade import stdlib_of
from manyhands._impl import core
from manyhands._troubles import coded

__all__ = ["Observation", "ThreadTimes", "observe"]

INTERVAL = 0.005
SHARES = ("python", "c", "gil", "lock", "outside")
_SHORTEST_NAME = 6


class ThreadTimes(NamedTuple):
    """What one thread was seen doing, or all of them: what `threads` and `total()` of an `Observation` consist of.

    `name`, `ident`, `native_id`: the thread's, as of `threading.Thread`; of all threads "all threads", 0 and 0.
    `seconds`: how long it was observed. Shares of that time, from 0 to 1, which add up to 1: `python` (it ran Python,
    or C code that keeps the GIL), `c` (it ran C code that let the GIL go), `gil` (it waited for the GIL), `lock` (it
    waited for a lock, queue, event, condition), `outside` (it slept, or waited for files, the network, a process).
    `cpu`: seconds of processor time that the kernel counted meanwhile. `samples`: how often it was looked at.
    """

    name: str
    ident: int
    native_id: int
    seconds: float
    python: float
    c: float
    gil: float
    lock: float
    outside: float
    cpu: float
    samples: int


_FIELDS = {  # what help() and the reference say of each
    "name": "The thread's name; where `threading` does not know it, the system's name or number.",
    "ident": "As `Thread.ident`; 0 for all threads together.",
    "native_id": "The system's number, as `Thread.native_id`; 0 for all threads together.",
    "seconds": "How long it was observed, in seconds.",
    "python": "The share of that time in which it ran Python, or C code that keeps the GIL: 0 to 1.",
    "c": "The share in which it ran C code that let the GIL go.",
    "gil": "The share in which it waited for the GIL.",
    "lock": "The share in which it waited for a lock, a queue, an event, a condition or the like.",
    "outside": "The share in which it slept, or waited for files, the network or another process.",
    "cpu": "Seconds of processor time that the kernel counted meanwhile.",
    "samples": "How often it was looked at.",
}
for _field, _text in _FIELDS.items():
    getattr(ThreadTimes, _field).__doc__ = _text
ThreadTimes.__module__ = "manyhands"


class Observation:
    """What `observe()` returns: start it by ``with`` or `start()`; `threads` has the figures, at any time.

    `print` shows a table. RuntimeError where it is made without the compiled core; OSError from `start()` where the
    system does not let a process read its own threads. It stays in its process; what `threads` and `total()` return can
    be pickled.
    """

    __module__ = "manyhands"

    def __init__(self, interval: float = INTERVAL) -> None:
        if core is None:
            raise coded(
                RuntimeError("observe() needs the compiled core, which is not usable here"), "MH-CORE"
            )
        self._sampler = core.Sampler(interval)
        self._names: dict[int, str] = {}
        self._program = _name_of_program()

    def start(self) -> Observation:
        """Begin to look. Once: another look is another observation, and a second `start()` a RuntimeError."""
        self._sampler.start()
        self._learn_names()
        return self

    def stop(self) -> None:
        """Look no more. ``threads`` stays as it is."""
        self._learn_names()
        self._sampler.stop()

    def __enter__(self) -> Observation:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _learn_names(self) -> None:
        for module in (threading, stdlib_of("threading")):
            self._names |= {thread.ident: thread.name for thread in module.enumerate()}

    @property
    def threads(self) -> list[ThreadTimes]:
        """Every thread that was looked at twice or more, in the order in which they were first seen."""
        self._learn_names()
        return [self._times(*each) for each in self._sampler.read() if sum(each[3]) > 0]

    def _times(
        self, ident: int, native_id: int, name: str, spent: Any, cpu: float, samples: int
    ) -> ThreadTimes:
        total = sum(spent)
        python, c, gil, lock, outside = (part / total for part in spent)
        name = self._names.get(ident) or (f"thread {native_id}" if name in ("", self._program) else name)
        return ThreadTimes(name, ident, native_id, total, python, c, gil, lock, outside, cpu, samples)

    def total(self) -> ThreadTimes | None:
        """All threads as one, each counted by its time; None where none was seen."""
        seen = self.threads
        seconds = sum(each.seconds for each in seen)
        if not seen:
            return None
        python, c, gil, lock, outside = (
            sum(getattr(each, name) * each.seconds for each in seen) / seconds for name in SHARES
        )
        cpu, samples = sum(each.cpu for each in seen), sum(each.samples for each in seen)
        return ThreadTimes("all threads", 0, 0, seconds, python, c, gil, lock, outside, cpu, samples)

    def __str__(self) -> str:
        seen = self.threads
        if not seen:
            return "nothing was observed"
        total = self.total()
        rows = [*seen, total] if len(seen) > 1 and total is not None else seen
        wide = max(_SHORTEST_NAME, *(len(each.name) for each in rows))
        head = f"{'thread':<{wide}}  seconds  Python       C     GIL    lock  outside\n"
        return head + "\n".join(_line(each, wide) for each in rows)


def _name_of_program() -> str:
    """The system's name of a thread that nobody named."""
    try:
        with open("/proc/self/comm") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def _line(each: ThreadTimes, wide: int) -> str:
    shares = "".join(f"{share:>8.0%}" for share in (each.python, each.c, each.gil, each.lock))
    return f"{each.name:<{wide}}  {each.seconds:7.2f}{shares}{each.outside:>9.0%}"


def observe(interval: float = INTERVAL) -> Observation:
    """Tell for each thread the share of time in which it ran Python, ran C without the GIL, waited for the GIL, waited
    for a lock, or waited for the outside.

        with manyhands.observe() as seen:
            work()
        print(seen)

    A thread of the core looks every `interval` seconds on average (0.0001 to 10). It never takes the GIL, and costs
    about one per cent of a core for ten threads at 5 ms. OSError where the system does not let a process read its own
    threads (process_vm_readv, /proc).
    """
    return Observation(interval)
