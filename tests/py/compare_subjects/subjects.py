"""Functions to compare, each of a kind whose verdict is known."""

import functools
import hashlib
import multiprocessing
import os
import signal
import threading
import time

LOCK = threading.Lock()
BUFFER = bytes(range(256)) * 16384


def nap(_item):
    time.sleep(0.01)


def loop(item):
    total = 0
    for number in range(100_000):
        total += number * item
    return total


def sha(item):
    return hashlib.sha256(BUFFER).hexdigest() + str(item)


def turns(item):
    with LOCK:
        time.sleep(0.01)
    return item


def turns_hashing(item):
    with LOCK:
        return hashlib.sha256(BUFFER).hexdigest() + str(item)


def tiny(item):
    return item * item


def shortcut(item):
    """Does its work on the main thread of the first process only."""
    if threading.current_thread() is threading.main_thread() and multiprocessing.parent_process() is None:
        loop(item)
        loop(item)
    return item


@functools.cache
def remembered(item):
    return loop(item)


def raises_for_some(item):
    if item % 10 == 3:
        raise ValueError(f"no {item} today")
    return item


def exits(_item):
    raise SystemExit(3)


def generator(item):
    return (number for number in range(item))


def differs(item):
    return item if multiprocessing.parent_process() is None else -item


def random_result(_item):
    return os.urandom(4)


def killed_in_worker(item):
    if item == 0 and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return loop(item % 3)


def raises_on_threads(item):
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("main thread only")
    return item


def long_nap(item):
    time.sleep(30)
    return item


def some_nap(item):
    time.sleep(0.05)
    return item


def line_length(line):
    return len(line)


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return isinstance(other, Point) and other.x == self.x

    __hash__ = None


def point(item):
    return Point(item)


not_a_function = 3
