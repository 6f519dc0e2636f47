"""Small tasks by workers that are killed at random: does every task end once, with its own result or error?

usage: python tests/py/crash/chaos_pool.py [--engine pool|executor] [--tasks N] [--kills K] [--workers W] [--seed S]

Every task writes down in shared memory that it ran. Exit status 0 where none was lost, ran twice, or gave another's
result, no error came without a kill, and no process or descriptor is left.
"""

import argparse
import collections
import gc
import os
import random
import resource
import sys
import threading
import time

from manyhands import WorkerDiedError, futures
from manyhands import multiprocessing as mp
from manyhands.multiprocessing import sharedctypes

WINDOW = 1000  # tasks that are not done, at most


def set_up(table):
    global runs
    runs = memoryview(table).cast("B")


def task(number):
    runs[number] += 1
    sum(range(2000))  # so that a kill hits a task now and then
    return number


def memory():
    """Kilobytes that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


class OfPool:
    """What the run needs, by a `Pool`."""

    def __init__(self, size, initargs):
        self.size, self.inner = size, mp.get_context("fork").Pool(size, set_up, initargs)

    def submit(self, number):
        """A function that waits for the result."""
        return self.inner.apply_async(task, (number,)).get

    def victims(self):
        return list(self.inner._pool)

    def end(self):
        self.inner.close()
        self.inner.join()


class OfExecutor:
    """The same by a `ProcessPoolExecutor`."""

    def __init__(self, size, initargs):
        context = mp.get_context("fork")
        self.size = size
        self.inner = futures.ProcessPoolExecutor(size, context, initializer=set_up, initargs=initargs)

    def submit(self, number):
        return self.inner.submit(task, number).result

    def victims(self):
        return list((self.inner._processes or {}).values())

    def end(self):
        self.inner.shutdown()


ENGINES = {"pool": OfPool, "executor": OfExecutor}


class Killer:
    """Kills workers at random moments, `kills` of them, spread over the run."""

    def __init__(self, pool, kills, dice):
        self.pool, self.kills, self.dice = pool, kills, dice
        self.killed, self.pause, self.stopped = 0, 0.002, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def keeps_up(self, share):
        """Whether its kills are spread over the tasks."""
        return self.killed >= int(self.kills * share)

    def run(self):
        while self.killed < self.kills and not self.stopped.wait(self.dice.random() * self.pause):
            victims = self.pool.victims()
            if len(victims) == self.pool.size:
                victim = self.dice.choice(victims)
                victim.kill()
                victim.join()
                self.killed += 1


def run(options):
    """The figures, and whether all is well."""
    table = sharedctypes.RawArray("B", options.tasks)
    counts = collections.Counter()
    engine = ENGINES[options.engine]
    pool = engine(1, (table,))  # what stays for later ones is there now
    pool.submit(1)(60)
    pool.end()
    memoryview(table).cast("B")[1] = 0
    fds, first = len(os.listdir("/proc/self/fd")), None
    began = time.monotonic()
    pool = engine(options.workers, (table,))
    try:
        killer = Killer(pool, options.kills, random.Random(options.seed))
        waiting = collections.deque()
        asked = 0
        while asked < options.tasks or waiting:
            while asked < options.tasks and len(waiting) < WINDOW and killer.keeps_up(asked / options.tasks):
                waiting.append((asked, pool.submit(asked)))
                asked += 1
            if not waiting:
                time.sleep(0.001)
                continue
            number, result = waiting.popleft()
            try:
                counts["right" if result(120) == number else "wrong"] += 1
            except WorkerDiedError:
                counts["died"] += 1
            except (mp.TimeoutError, TimeoutError):
                counts["lost"] += 1
            if first is None and asked > options.tasks // 10:
                first = memory()
        last = memory()
    finally:
        killer.stopped.set()
        killer.thread.join()
        pool.end()
    ran = memoryview(table).cast("B").tobytes()
    counts["twice"] = options.tasks - ran.count(0) - ran.count(1)
    counts["right but never ran"] = max(0, counts["right"] - (options.tasks - ran.count(0)))
    gc.collect()  # an error and its traceback refer to each other, and to the process of which they tell
    left = len(os.listdir("/proc/self/fd")) - fds
    print(
        f"{options.engine}: {options.tasks} tasks, {killer.killed} kills, {time.monotonic() - began:.0f} s: "
        f"{counts['right']} right, {counts['died']} WorkerDiedError, {counts['lost']} lost, "
        f"{counts['wrong']} wrong, {counts['twice']} ran twice; "
        f"memory {first} -> {last} KB, {len(mp.active_children())} processes and {left} descriptors left"
    )
    bad = counts["lost"] + counts["wrong"] + counts["twice"] + counts["right but never ran"]
    return not bad and counts["died"] <= killer.killed and not mp.active_children() and left <= 2


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=list(ENGINES), default="pool")
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    return 0 if run(parser.parse_args(argv)) else 1


if __name__ == "__main__":
    sys.exit(main())
