"""Workers are replaced after two tasks each.

stdlib (3.11 to early 3.14): the executor hangs.  Wanted: all ten results.
"""

import concurrent.futures
import multiprocessing
import os

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, max_tasks_per_child=2, mp_context=context) as executor:
        pids = [f.result() for f in [executor.submit(os.getpid) for _ in range(10)]]
    assert len(set(pids)) == 5, pids
    print("OK")
