"""What the worker threads of a round spend their time on, by `manyhands.observe()`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from manyhands.advise.model import Row

INTERVAL = 0.002
ENOUGH_SAMPLES = 30


def living() -> set[int | None]:
    """The numbers of the threads that there are now."""
    return {thread.ident for thread in threading.enumerate()}


@contextlib.contextmanager
def watched(row: Row, others: set[int | None]) -> Iterator[None]:
    """Watch every thread but the `others`; `row.seen` then has the shares, where there was enough to see."""
    from manyhands._impl import core
    from manyhands._impl.observe import SHARES, Observation

    if core is None or row.engine != "threads":
        yield
        return
    seen = Observation(INTERVAL)
    try:
        seen.start()
    except OSError:  # not to be had on this system: the verdict does without
        yield
        return
    try:
        yield
    finally:
        seen.stop()
    workers = [each for each in seen.threads if each.ident not in others]
    if sum(each.samples for each in workers) < ENOUGH_SAMPLES:
        return
    total = sum(each.seconds for each in workers)
    row.seen = {name: sum(getattr(each, name) * each.seconds for each in workers) / total for name in SHARES}
