"""Pauses, resumes and terminations of threads that contend for a lock; prints the figures.

    python tests/py/stress/pauses.py --pauses 1000000 --terminations 10000

Nobody may be parked with the lock, no lock may stay behind, everybody must end.
"""

from __future__ import annotations

import argparse
import sys
import time

import manyhands
from manyhands.threading import Lock, Thread

LONG = 30


class Work:
    """What the threads share: they count under the lock until `stop`."""

    def __init__(self) -> None:
        self.lock, self.turns, self.stop = Lock(), 0, False

    def run(self) -> None:
        while not self.stop:
            with self.lock:
                self.turns += 1
            manyhands.checkpoint()  # for Python 3.11


def pauses(count: int, threads: int) -> str:
    """Park all threads, see that the lock is free, let them go on; again and again."""
    work = Work()
    crew = [Thread(target=work.run) for _ in range(threads)]
    for thread in crew:
        thread.start()
    done = 0
    while done < count:
        for thread in crew:
            assert thread.pause(LONG), "a pause did not come"
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
        thread.join(LONG)
        assert not thread.is_alive(), "a thread does not end"
    return f"{done} pauses of {threads} threads, {work.turns} turns"


def terminations(count: int) -> str:
    """End a thread at some point of its loop; the lock is free then."""
    work = Work()
    for number in range(count):
        thread = Thread(target=work.run)
        thread.start()
        for _ in range(number % 7):
            time.sleep(0)
        thread.terminate()
        thread.join(LONG)
        assert not thread.is_alive() and thread.outcome == "terminated"
        assert not work.lock.locked(), "a lock is left behind"
    return f"{count} terminations"


def main() -> None:
    """Do as many as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pauses", type=int, default=1_000_000)
    parser.add_argument("--terminations", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=4)
    given = parser.parse_args()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)  # the pauser waits for the GIL less long
    for text in (pauses(given.pauses, given.threads), terminations(given.terminations)):
        print(text, flush=True)
    sys.setswitchinterval(before)
    print("OK: none late, no lock left behind")


if __name__ == "__main__":
    main()
