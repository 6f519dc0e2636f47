"""A child puts 256 KiB on a Queue and ends; the parent joins it before it reads.

stdlib: deadlock, because the child's feeder thread waits for the pipe to drain.
Wanted: join returns and the item is there.
"""

import multiprocessing


def produce(queue):
    queue.put(b"x" * 262_144)


if __name__ == "__main__":
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=produce, args=(queue,))
    process.start()
    process.join(20)
    assert process.exitcode == 0, process.exitcode
    assert len(queue.get(timeout=5)) == 262_144
    print("OK")
