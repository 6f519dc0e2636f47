"""Two programs that are no relatives: one sends pages, the other prints them, and is killed in the middle of it.

The queue and the lock are found by their names, and stay when a program ends, also by a kill. Here the second program
is started by the first one only so that the example is one file; it could come from another terminal, or a service.

python named_queue.py
"""

import os
import subprocess
import sys

from manyhands import OwnerDiedError, named

PAGES, PRINTER, COUNT = (f"example-{os.getuid()}-{what}" for what in ("pages", "printer", "count"))


def press(killed_at: int) -> None:
    """Print pages until there are none; die at that one, with the printer in hand."""
    pages, printer, count = named.Queue.open(PAGES), named.Lock.open(PRINTER), named.Memory.open(COUNT)
    while not pages.empty():
        try:
            printer.acquire()
        except OwnerDiedError:
            printer.recover(timeout=30)
            print(
                f"the next one repaired it: {count.buf[0]} page was printed, {pages.qsize()} are left",
                flush=True,
            )
        page = pages.get()
        if page == killed_at:
            pages.put(page)  # back in line, behind the others
            os.kill(os.getpid(), 9)
        count.buf[0] += 1
        print(f"the press has printed page {page}", flush=True)
        printer.release()


def main() -> None:
    made = [named.Queue.ensure(PAGES), named.Lock.ensure(PRINTER), named.Memory.ensure(COUNT, 1)]
    try:
        for page in (1, 2, 3):
            made[0].put(page)
        for killed_at in (2, 0):
            end = subprocess.run([sys.executable, __file__, str(killed_at)], check=False).returncode
            if end < 0:
                print("the press was killed while it held the printer", flush=True)
    finally:
        for each in made:
            each.unlink()  # they would stay for ever


if __name__ == "__main__":
    press(int(sys.argv[1])) if len(sys.argv) > 1 else main()
