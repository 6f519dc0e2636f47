"""Drop-in for the standard library's ``concurrent.futures.process``; ours is in ``_process``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available, strict

_std = stdlib_of("concurrent.futures.process")

if available and not strict:
    from manyhands.futures._process import ProcessPoolExecutor as ProcessPoolExecutor

facade(__name__, _std)
