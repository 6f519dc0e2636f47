"""Threads that stress one primitive, watched: a fault ends the process with 3, a hang with 4 and every thread's stack.

The crew itself uses the standard library only, so that a broken primitive cannot hide a fault of its own.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable

FAULT, HANG = 3, 4


class Fault(AssertionError):
    """The primitive did what it must not do."""


def expect(condition: object, text: str) -> None:
    """Raise Fault unless the condition holds."""
    if not condition:
        raise Fault(text)


def die_after(seconds: float) -> None:
    """End this process by SIGALRM, with all stacks, if it is still there then. Works in a forked child, too."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
    signal.setitimer(signal.ITIMER_REAL, seconds)


class Crew:
    """`count` threads, of which the calling one is number 0, and one that watches that they get on."""

    def __init__(self, count: int, stall: float) -> None:
        self.count, self.stall = count, stall
        self.steps = [0] * count  # each thread counts its own
        self.ended = threading.Event()

    def step(self, me: int) -> None:
        """Tell the watcher that this thread gets on."""
        self.steps[me] += 1

    def run(self, *works: Callable[[int], None]) -> None:
        """Run works[me % len(works)](me) in each thread, and return when all have returned."""
        started = threading.Barrier(self.count)
        self.ended.clear()

        def work(me: int) -> None:
            try:
                started.wait()
                works[me % len(works)](me)
            except BaseException:
                self.report()

        watcher = threading.Thread(target=self.watch, daemon=True)
        others = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(1, self.count)]
        for thread in [watcher, *others]:
            thread.start()
        work(0)
        for thread in others:
            thread.join()  # the watcher ends the process if one never comes
        self.ended.set()
        watcher.join()

    def report(self) -> None:
        """In the thread that found the fault; the others may never return."""
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(FAULT)

    def watch(self) -> None:
        """No thread has made a step for `stall` seconds: show where they are, and end."""
        before, since = -1, time.monotonic()
        while not self.ended.wait(0.05):
            now = sum(self.steps)
            if now != before:
                before, since = now, time.monotonic()
            elif time.monotonic() - since > self.stall:
                print(
                    f"HANG: {self.count} threads, none got on for {self.stall} s; steps {self.steps}",
                    file=sys.stderr,
                )
                faulthandler.dump_traceback(all_threads=True)
                os._exit(HANG)
