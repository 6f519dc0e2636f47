"""The four built-in jobs: real work on real input, one for each kind of work there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from manyhands.advise.errors import BadInput
from manyhands.advise.memory import MemoryMeter
from manyhands.advise.model import Report
from manyhands.advise.progress import Progress


class Subject(Protocol):
    """A built-in job."""

    name: str

    def title(self) -> str: ...

    def measure(
        self,
        report: Report,
        seconds: float,
        workers: tuple[int, ...] | None,
        progress: Progress,
        meter: MemoryMeter,
    ) -> None: ...


def everything() -> list[Subject]:
    """All four, in the order in which they are shown."""
    from manyhands.advise.subjects.fetch import Fetch
    from manyhands.advise.subjects.index import Index
    from manyhands.advise.subjects.pack import Pack
    from manyhands.advise.subjects.respond import Respond

    return [Index(), Pack(), Fetch(), Respond()]


def choose(names: Sequence[str]) -> list[Subject]:
    """Those of that name, or all."""
    known = everything()
    unknown = [name for name in names if name not in {subject.name for subject in known}]
    if unknown:
        raise BadInput(f"there is no built-in job '{unknown[0]}': {', '.join(s.name for s in known)}")
    return [subject for subject in known if not names or subject.name in names]
