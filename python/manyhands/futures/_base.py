"""Drop-in for the standard library's ``concurrent.futures._base``; our future is in ``_future``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("concurrent.futures._base")

if available:
    from manyhands.futures._future import Future as Future

facade(__name__, _std)
