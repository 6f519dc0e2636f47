"""Drop-in for the standard library's ``concurrent.futures.thread``; ours is in ``_thread``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("concurrent.futures.thread")

if available:
    from manyhands.futures._thread import ThreadPoolExecutor as ThreadPoolExecutor

facade(__name__, _std)
