"""Drop-in for the standard library's ``multiprocessing.pool``; ours is in ``_pool``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.pool")

if available:
    from manyhands.multiprocessing._pool import Pool as Pool
    from manyhands.multiprocessing._thread_pool import ThreadPool as ThreadPool

facade(__name__, _std)
