"""Drop-in for the standard library's ``concurrent.futures.thread``; ours is in ``_thread``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available, strict

_std = stdlib_of("concurrent.futures.thread")

if available and strict:
    from manyhands.futures._thread import StrictThreadPoolExecutor as ThreadPoolExecutor
elif available:
    from manyhands.futures._thread import ThreadPoolExecutor as ThreadPoolExecutor  # type: ignore[assignment]

facade(__name__, _std)
