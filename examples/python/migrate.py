"""The same work by multiprocessing.Pool, joblib and concurrent.futures, and by manyhands: what changes, line by line.

    python migrate.py

joblib is left out where it is not installed.
"""

import collections
import concurrent.futures
import glob
import multiprocessing
import os
import sys

import manyhands
import manyhands.multiprocessing

FILES = sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), "*.py")))[:60]


def count_words(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return collections.Counter(file.read().split())


def total(counters):
    whole = collections.Counter()
    for counter in counters:
        whole += counter
    return whole


# ---- multiprocessing.Pool


def with_pool():
    with multiprocessing.Pool(2) as pool:
        return total(pool.imap_unordered(count_words, FILES, chunksize=4))


def with_our_pool():
    """One import changed. A worker that is killed fails its task, instead of a program that waits for ever."""
    with manyhands.multiprocessing.Pool(2) as pool:
        return total(pool.imap_unordered(count_words, FILES, chunksize=4))


# ---- joblib


def with_joblib():
    from joblib import Parallel, delayed

    return total(Parallel(n_jobs=2)(delayed(count_words)(path) for path in FILES))


def with_map():
    """A function and its items; `progress=True` in the place of `verbose=`."""
    return total(manyhands.map(count_words, FILES, kind="processes", max_workers=2))


# ---- concurrent.futures


def with_futures():
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        return total(executor.map(count_words, FILES, chunksize=4))


def with_executor():
    """The same interface; `options` adds a limit of time and retries."""
    with manyhands.Executor("processes", 2) as executor:
        return total(executor.options(timeout=60, retries=1).map(count_words, FILES, chunksize=4))


def main():
    pairs = [(with_pool, with_our_pool), (with_joblib, with_map), (with_futures, with_executor)]
    for before, after in pairs:
        try:
            expected = before()
        except ImportError as error:
            print(f"{before.__name__}: left out, {error}")
            expected = total(map(count_words, FILES))
        found = after()
        word, times = found.most_common(1)[0]
        same = "the same" if found == expected else "NOT the same"
        print(f"{before.__name__} -> {after.__name__}: {same}; most often: {word!r}, {times} times")
        if found != expected:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
