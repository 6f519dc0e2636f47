"""End a thread from outside: its `with` and `finally` run, its lock is free again, and the rest goes on."""

import manyhands
from manyhands.threading import Event, Lock, Thread

lock = Lock()
begun = Event()


def work() -> None:
    try:
        while True:
            with lock:
                begun.set()
            manyhands.checkpoint()  # needed on Python 3.11 only
    finally:
        print("worker: tidied up")


worker = Thread(target=work)
worker.start()
begun.wait()
worker.terminate()
worker.join()
print(f"main: the worker {worker.outcome}, the lock is {'held' if lock.locked() else 'free'}")
