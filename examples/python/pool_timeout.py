"""Tasks with a limit of time, retries, and a worker that dies: each costs one task, and the pool goes on.

python pool_timeout.py [KIND [SECONDS]]      KIND: processes (the default), threads, interpreters
"""

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import manyhands


def work(name: str) -> str:
    if name == "endless":
        while True:
            manyhands.checkpoint()  # where a thread of Python 3.11 can be ended; elsewhere it is not needed
    if name == "dies":
        os._exit(1)
    return f"{name} done"


def flaky(path: str) -> str:
    with open(path, "a") as file:
        file.write(".")
    runs = os.path.getsize(path)
    if runs < 3:
        raise ConnectionError(f"run {runs}")
    return f"flaky: done in run {runs}"


def main() -> None:
    kind, seconds, *_ = [*sys.argv[1:], *["processes", "0.5"][len(sys.argv) - 1 :]]
    names = ["first", "endless", *(["dies"] if kind == "processes" else []), "last"]
    with manyhands.Executor(kind, max_workers=2) as executor, TemporaryDirectory() as folder:
        limited = executor.options(timeout=float(seconds))
        futures = {name: limited.submit(work, name) for name in names}
        for name, future in futures.items():
            error = future.exception()
            print(f"{name}: {error or future.result()}")
        again = executor.options(retries=3, retry_on=ConnectionError, backoff=0.01)
        print(again.submit(flaky, str(Path(folder) / "runs")).result())
        begun = time.monotonic()
        running = executor.submit(work, "endless")
        time.sleep(0.1)
        running.cancel(running=True)
        print(f"cancelled: {running.cancelled()}, {time.monotonic() - begun < 30}")


if __name__ == "__main__":
    main()
