"""Drop-in for the standard library's ``concurrent.futures.process``; ours is in ``_process``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("concurrent.futures.process")

if available:
    pass

facade(__name__, _std)
