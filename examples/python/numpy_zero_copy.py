"""A large NumPy array that several processes work on at once: handed over, never copied.

Needs NumPy. `python numpy_zero_copy.py [rows]`
"""

import sys
import time

from manyhands import multiprocessing, shared

COLUMNS = 1000
WORKERS = 2


def smooth(queue, done):
    """A worker: takes parts of the array, changes them where they lie."""
    while (part := queue.get()) is not None:
        part[:, 1:-1] = (part[:, :-2] + part[:, 1:-1] + part[:, 2:]) / 3
        done.add(len(part))


def ping(ours, theirs):
    """The other side of the time trial: looks at one item of each array that comes."""
    while (array := ours.get()) is not None:
        theirs.put(float(array[0, 0]))


def seconds_to_send(context, array):
    """There, one look, and back: the fastest of five."""
    there, back = context.Queue(), context.Queue()
    process = context.Process(target=ping, args=(there, back))
    process.start()
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        there.put(array)
        back.get()
        best = min(best, time.perf_counter() - started)
    there.put(None)
    process.join()
    return best


def main():
    try:
        import numpy
    except ImportError:
        print("This example needs NumPy: pip install numpy")
        return 1
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    context = multiprocessing.get_context("spawn")

    # 1. An ndarray like any other. What NumPy computes from it is ordinary memory; the array itself can be shared.
    array = shared.zeros((rows, COLUMNS))
    array[:, COLUMNS // 2] = 1.0
    print(f"an array of {array.nbytes / 1e6:.0f} MB, {type(array).__module__}.{type(array).__name__}")

    # 2. Parts of it go to the workers, who write where they lie. A number says how many rows are done.
    queue, done = context.Queue(), shared.AtomicInt()
    workers = [context.Process(target=smooth, args=(queue, done)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for first in range(0, rows, 500):
        queue.put(array[first : first + 500])
    seen = 0
    while seen < rows:
        seen = done.wait(seen)
    for _ in workers:
        queue.put(None)
    for worker in workers:
        worker.join()
    middle = array[:, COLUMNS // 2 - 1 : COLUMNS // 2 + 2]
    assert numpy.allclose(middle, 1 / 3), "what the workers wrote is here"
    print(f"{WORKERS} workers have written all {seen} rows: nothing was sent back")

    # 3. What it saves: the same array from ordinary memory is copied once.
    handed, copied = seconds_to_send(context, array), seconds_to_send(context, array.copy())
    print(f"to send it: {handed * 1e3:.2f} ms where it is shared, {copied * 1e3:.2f} ms from ordinary memory")
    return 0


if __name__ == "__main__":
    sys.exit(main())
