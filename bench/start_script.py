"""A program that starts processes: python start_script.py PACKAGE METHOD N BEFORE prints the ns of one start and join,
of N after so many BEFORE.

It is the main script, which children of forkserver and spawn import: what that costs is part of the figure.
"""

import importlib
import sys
import time

multiprocessing = importlib.import_module(f"{sys.argv[1]}multiprocessing")


def nothing() -> None:
    pass


def start_and_join(context: object) -> None:
    process = context.Process(target=nothing)  # type: ignore[attr-defined]
    process.start()
    process.join()
    assert process.exitcode == 0


def main() -> None:
    context, count, before = multiprocessing.get_context(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    for _ in range(before):
        start_and_join(context)
    began = time.perf_counter_ns()
    for _ in range(count):
        start_and_join(context)
    print((time.perf_counter_ns() - began) / count)


if __name__ == "__main__":
    main()
