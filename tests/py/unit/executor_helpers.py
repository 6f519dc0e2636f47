"""Tasks for executors of every kind: found by name in processes and in interpreters, and no others' modules needed."""

import os
import signal
import sys
import time

STARTED = []


def square(x):
    return x * x


def add(x, y, *, z=0):
    return x + y + z


class Holder:
    def look(self):
        return 7


def pid(*_):
    return os.getpid()


def worker_name(*_):
    """Something that tells workers of one kind apart."""
    import threading

    return os.getpid(), threading.get_native_id()


def spin(path=None):
    """Until it is ended; a place for threads of Python 3.11 to be ended at."""
    import manyhands

    if path is not None:
        open(path, "w").close()
    while True:
        manyhands.checkpoint()


def spin_here(path):
    """As `spin`, in an interpreter that need not know us."""
    open(path, "w").close()
    while True:
        pass


def touch(path, seconds=0.0):
    with open(path, "a") as file:
        file.write(".")
    time.sleep(seconds)


def nap(seconds):
    time.sleep(seconds)
    return seconds


def fail_until(path, count, how="raise"):
    """Fail `count` times, by what is written down in `path`; then the number of the run."""
    with open(path, "a") as file:
        file.write(".")
        file.flush()
    runs = os.path.getsize(path)
    if runs > count:
        return runs
    if how == "raise":
        raise KeyError(runs)
    os.kill(os.getpid(), signal.SIGKILL)


def fail(text):
    raise ValueError(text)


def die(how="kill", say=None):
    if say is not None:
        print(say, file=sys.stderr, flush=True)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "exit":
        os._exit(3)
    elif how == "segfault":
        import ctypes

        ctypes.string_at(0)
    elif how == "abort":
        os.abort()
    elif how == "raise":
        raise RuntimeError("as asked")
    elif how == "overflow":
        import ctypes

        deep = ctypes.CFUNCTYPE(None)
        made = []
        made.append(deep(lambda: made[0]()))
        sys.setrecursionlimit(10**9)
        made[0]()


class DiesInPickle:
    """Dies where it is pickled or unpickled."""

    def __init__(self, how, where):
        self.how, self.where, self.home = how, where, os.getpid()

    def __reduce__(self):
        if self.where == "pickle":
            die(self.how)
        return _arrive, (self.how, self.where, self.home)


def _arrive(how, where, home):
    if where == "unpickle" and os.getpid() != home:
        die(how)
    return DiesInPickle(how, where)


def take(thing):
    return type(thing).__name__


def give(how, where):
    return DiesInPickle(how, where)


def resident():
    """Bytes of memory that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def eat(size):
    """Keep so many bytes."""
    STARTED.append(b"x" * size)
    return os.getpid()


def set_up(path):
    with open(path, "a") as file:
        file.write(".")


def environment(name):
    return os.environ.get(name)


def refused_import():
    import _does_not_load_here  # noqa: F401


def nested(method, x):
    """An executor inside a worker."""
    from manyhands import futures
    from manyhands import multiprocessing as mp

    with futures.ProcessPoolExecutor(2, mp_context=mp.get_context(method)) as inner:
        return sum(inner.map(square, range(x)))


def default_workers():
    from manyhands import futures

    executor = futures.ProcessPoolExecutor()
    executor.shutdown()
    return executor._max_workers


def register_exit(how):
    import atexit
    from multiprocessing import util

    util.Finalize(None, die, args=(how,), exitpriority=1)
    atexit.register(die, how)
    return "done"
