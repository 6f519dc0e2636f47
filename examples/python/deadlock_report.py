"""Two threads that take two locks in opposite order: found, told with both stacks, and left without hanging.

    MANYHANDS_DEADLOCK=raise python deadlock_report.py

Without the variable this program would hang; it therefore sets it itself, before manyhands.threading is imported.
"""

import os

os.environ.setdefault("MANYHANDS_DEADLOCK", "raise")

import manyhands
import manyhands.threading as threading


def transfer(first: threading.RLock, second: threading.RLock, ready: threading.Barrier) -> None:
    """Take both locks, in the order of the arguments."""
    with first:
        ready.wait()  # each thread has one lock now, and wants the other's
        try:
            with second:
                print("has both locks")
        except manyhands.DeadlockError as error:
            print(error)  # leaving `with first` lets the other thread go on


def main() -> None:
    """Let two threads run into each other."""
    savings, current = threading.RLock(), threading.RLock()
    ready = threading.Barrier(2)
    threads = [
        threading.Thread(target=transfer, args=(savings, current, ready), name="to-current"),
        threading.Thread(target=transfer, args=(current, savings, ready), name="to-savings"),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
