"""A race, shown and cured: several threads add to one counter, without a lock and then with one.

`counter += 1` is three steps: read, add, write. Where another thread comes in between, its addition is lost. To show it
reliably the threads here let each other in at the worst moment, between the read and the write.

    python race.py
"""

import time

from manyhands.threading import Barrier, Lock, Thread

THREADS, TIMES = 4, 200


class Counter:
    """A number that threads add to."""

    def __init__(self):
        self.value = 0

    def add(self):
        seen = self.value  # read
        time.sleep(0)  # another thread runs
        self.value = seen + 1  # write: what the other wrote is gone


class LockedCounter(Counter):
    """The cure: one thread at a time does all three steps."""

    def __init__(self):
        super().__init__()
        self.lock = Lock()

    def add(self):
        with self.lock:
            super().add()


def count(counter):
    """Let the threads loose on it, all at once; what it says afterwards."""
    start = Barrier(THREADS)

    def work():
        start.wait()
        for _ in range(TIMES):
            counter.add()

    threads = [Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counter.value


def main():
    wanted = THREADS * TIMES
    without, with_lock = count(Counter()), count(LockedCounter())
    print(f"{THREADS} threads add 1 to a counter {TIMES} times each: it should say {wanted}.")
    print(f"Without a lock it says {without}: {wanted - without} additions were lost.")
    print(f"With a lock it says {with_lock}.")
    assert without < wanted, "the race did not show this time; run it again"
    assert with_lock == wanted, "the lock did not keep the threads apart"


if __name__ == "__main__":
    main()
