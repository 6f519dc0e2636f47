"""What threads spend their time on: three kinds of work, each on two threads, seen from outside."""

import hashlib
import time

import manyhands
from manyhands.threading import Thread

SECONDS = 1.0
BLOCK = bytes(1_000_000)


def squares() -> None:
    sum(i * i for i in range(10_000))


def hashes() -> None:
    hashlib.sha256(BLOCK).digest()


def waits() -> None:
    time.sleep(0.01)


def keep_doing(work, until: float) -> None:
    while time.monotonic() < until:
        work()


for work in (squares, hashes, waits):
    until = time.monotonic() + SECONDS
    threads = [Thread(target=keep_doing, args=(work, until), name=f"{work.__name__} {i}") for i in (1, 2)]
    with manyhands.observe() as seen:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(seen, end="\n\n")
