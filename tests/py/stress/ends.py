"""How sure `Thread.terminate()` is: threads of four kinds, each ended at a random moment; prints a table.

    python tests/py/stress/ends.py --each 300

The table of docs/howto/terminate.md has these rows. A kind that the version cannot end is said to be so, not tried.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable

import manyhands
from manyhands.queue import Queue
from manyhands.threading import Lock, Thread

LOCK = Lock()


def waits() -> None:
    Queue().get()


def passes_checkpoints() -> None:
    while True:
        manyhands.checkpoint()


def loops() -> None:
    while True:
        with LOCK:
            sum(range(20))


def deep(depth: int = 0) -> int:
    """Calls for some seconds, without a loop."""
    return 1 if depth > 22 else deep(depth + 1) + deep(depth + 1)


# what it is called in the table, what it runs, the first version that ends it
KINDS: list[tuple[str, Callable[[], object], tuple[int, int]]] = [
    ("waits in manyhands", waits, (3, 11)),
    ("passes `checkpoint()`", passes_checkpoints, (3, 11)),
    ("loops in Python, with a lock", loops, (3, 12)),
    ("runs functions without a loop", deep, (3, 12)),
]


def ends(target: Callable[[], object], count: int, patience: float) -> list[float]:
    """The milliseconds from `terminate()` to the end, of each that was ended."""
    found = []
    for _ in range(count):
        thread = Thread(target=target, daemon=True)
        thread.start()
        time.sleep(random.uniform(0, 0.01))
        began = time.monotonic()
        thread.terminate()
        thread.join(patience)
        if not thread.is_alive() and thread.outcome == "terminated":
            found.append((time.monotonic() - began) * 1000)
        assert not LOCK.locked(), "a lock is left behind"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=300, help="threads of each kind")
    parser.add_argument("--patience", type=float, default=30, help="seconds for one end")
    given = parser.parse_args()
    failed = 0
    print(f"| the thread | Python {sys.version_info[0]}.{sys.version_info[1]} |\n|---|---|")
    for name, target, since in KINDS:
        if sys.version_info < since:
            print(f"| {name} | not before it waits |")
            continue
        found = sorted(ends(target, given.each, given.patience))
        failed += given.each - len(found)
        within = (
            f"half within {found[len(found) // 2]:.1f} ms, all within {found[-1]:.0f} ms" if found else ""
        )
        print(f"| {name} | {len(found)} of {given.each}, {within} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
