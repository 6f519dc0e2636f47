"""index: tokenise source files and count the identifiers. Computes in Python, holds the GIL."""

from __future__ import annotations

import collections
import tokenize

from manyhands.advise.memory import MemoryMeter
from manyhands.advise.model import Report
from manyhands.advise.progress import Progress
from manyhands.advise.subjects import sample
from manyhands.advise.subjects.common import measure_items

FILES = 400


def count_identifiers(path: str) -> dict[str, int]:
    """The ten most frequent names in a file."""
    counts: collections.Counter[str] = collections.Counter()
    with open(path, "rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.NAME:
                counts[token.string] += 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:10])


class Index:
    """The job for `compare`."""

    name = "index"

    def __init__(self) -> None:
        self.files = sample.standard_library(FILES)

    def title(self) -> str:
        return sample.in_few_words(self.files)

    def measure(
        self,
        report: Report,
        seconds: float,
        workers: tuple[int, ...] | None,
        progress: Progress,
        meter: MemoryMeter,
    ) -> None:
        report.notes.append(f"tokenise each file, count its identifiers: {sample.in_words(self.files)}")
        report.sample = sample.as_data(self.files)
        measure_items(count_identifiers, self.files, report, seconds, workers, progress, meter)
