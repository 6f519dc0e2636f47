"""pack: compress and hash bundles of source files. Computes in C, which releases the GIL."""

from __future__ import annotations

import hashlib
import zlib

from manyhands.advise.memory import MemoryMeter
from manyhands.advise.model import Report
from manyhands.advise.progress import Progress
from manyhands.advise.subjects import sample
from manyhands.advise.subjects.common import measure_items

FILES = 400
BUNDLE = 10
LEVEL = 9


def pack(paths: tuple[str, ...]) -> tuple[int, str]:
    """Size and SHA-256 of the compressed bundle."""
    parts = []
    for path in paths:
        with open(path, "rb") as file:
            parts.append(file.read())
    packed = zlib.compress(b"".join(parts), LEVEL)
    return len(packed), hashlib.sha256(packed).hexdigest()


class Pack:
    """The job for `compare`."""

    name = "pack"

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
        report.notes.append(f"compress and hash bundles of 10 files: {sample.in_words(self.files)}")
        report.sample = sample.as_data(self.files)
        bundles = [tuple(self.files[i : i + BUNDLE]) for i in range(0, len(self.files), BUNDLE)]
        measure_items(pack, bundles, report, seconds, workers, progress, meter)
