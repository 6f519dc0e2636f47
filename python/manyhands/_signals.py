"""Signal handlers put off: while something is started that is to be started whole, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from manyhands._impl import core

__all__ = ["signals_put_off"]


@contextlib.contextmanager
def signals_put_off() -> Iterator[None]:
    """Ctrl-C, and what else the program has handlers for (SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGUSR1, SIGUSR2), comes
    when the block ends, or before it begins. Not for blocks that may wait long. In a forked child it comes at once.

    In any thread but the first nothing is done, since Python runs handlers in that one alone. Blocks may be nested.
    """
    held = core._hold_signals()
    try:
        yield
    finally:
        if held:
            core._let_signals()
