"""One task of ten kills its worker process.

stdlib: BrokenProcessPool for that task and for every other that is not finished.
Wanted: exactly that one future fails; the other nine deliver; the executor takes new work.
"""

import concurrent.futures
import os
import signal
import time


def work(x):
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return x


if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        futures = [executor.submit(work, i) for i in range(10)]
        failed = [i for i, f in enumerate(futures) if f.exception() is not None]
        print("failed:", failed)
        assert failed == [3]
        assert executor.submit(work, 11).result() == 11
    print("OK")
