"""A Pool worker is killed, as the kernel's OOM killer would do.

stdlib: `map` waits for ever.  Wanted: that call fails with an error that says so, and the pool goes on working.
"""

import multiprocessing
import os
import signal


def work(x):
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        try:
            pool.map(work, range(6), chunksize=1)
        except Exception as error:
            print("map failed:", type(error).__name__, error)
        else:
            raise SystemExit("the death of a worker went unnoticed")
        assert pool.map(work, [1, 2], chunksize=1) == [1, 4]
    print("OK")
