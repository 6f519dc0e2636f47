"""A process is killed while it holds a Lock.

stdlib: the lock stays locked for ever.  Wanted: whoever asks next is told (an exception), and can then recover it.
"""

import multiprocessing
import os
import signal


def hold(lock):
    lock.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    for make in (multiprocessing.Lock, multiprocessing.RLock):
        lock = make()
        process = multiprocessing.Process(target=hold, args=(lock,))
        process.start()
        process.join()
        try:
            got = lock.acquire(timeout=10)
        except Exception as error:
            print(make.__name__ if hasattr(make, "__name__") else make, "->", type(error).__name__, error)
        else:
            raise SystemExit(f"acquire returned {got!r} with no word of the dead owner")
        lock.recover()  # takes the lock, knowing that what it guards may be half changed
        lock.release()
        with lock:
            pass
    print("OK")
