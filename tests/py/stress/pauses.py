"""Pauses, resumes and terminations of threads that contend for a lock; prints the figures.

    python tests/py/stress/pauses.py --pauses 1000000 --terminations 10000

Nobody may be parked with the lock, no lock may stay behind, everybody must end.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from typing import Any

import manyhands
from manyhands.threading import Lock, Thread

LOCKS = {"ours": Lock, "stdlib": threading.Lock}  # of the second nobody knows who holds it


class Work:
    """What the threads share: they count under the lock until `stop`."""

    def __init__(self, lock: Any) -> None:
        self.lock, self.turns, self.stop = lock, 0, False

    def run(self) -> None:
        while not self.stop:
            with self.lock:
                self.count()
            manyhands.checkpoint()  # for Python 3.11

    def count(self) -> None:
        """A call, so that there is a place to park at while the lock is held."""
        self.turns += 1


def pauses(count: int, threads: int, lock: Any, patience: float) -> str:
    """Park all threads, see that the lock is free, let them go on; again and again."""
    work = Work(lock)
    crew = [Thread(target=work.run, daemon=True) for _ in range(threads)]
    for thread in crew:
        thread.start()
    done = 0
    while done < count:
        for thread in crew:
            assert thread.pause(patience), "a pause did not come"
            done += 1
        assert not work.lock.locked(), "somebody is parked with the lock"
        turns = work.turns
        for thread in crew:
            assert thread.state == "paused"
        assert work.turns == turns, "somebody goes on while paused"
        for thread in crew:
            thread.resume()
    work.stop = True
    for thread in crew:
        thread.join(patience)
        assert not thread.is_alive(), "a thread does not end"
    return f"{done} pauses of {threads} threads, {work.turns} turns"


def terminations(count: int, lock: Any, patience: float) -> str:
    """End a thread at some point of its loop; the lock is free then."""
    work = Work(lock)
    for number in range(count):
        thread = Thread(target=work.run, daemon=True)
        thread.start()
        for _ in range(number % 7):
            time.sleep(0)
        thread.terminate()
        thread.join(patience)
        assert not thread.is_alive() and thread.outcome == "terminated"
        assert not work.lock.locked(), "a lock is left behind"
    return f"{count} terminations"


def main() -> None:
    """Do as many as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pauses", type=int, default=1_000_000)
    parser.add_argument("--terminations", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--patience", type=float, default=30, help="seconds for one pause or end")
    parser.add_argument("--lock", choices=LOCKS, default="ours", help="stdlib: to see that a fault is found")
    given = parser.parse_args()
    lock = LOCKS[given.lock]()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # the pauser waits for the GIL less long
    print(pauses(given.pauses, given.threads, lock, given.patience), flush=True)
    print(terminations(given.terminations, lock, given.patience), flush=True)
    sys.setswitchinterval(before)
    print("OK: none late, no lock left behind")


if __name__ == "__main__":
    main()
