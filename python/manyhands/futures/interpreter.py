"""Drop-in for the standard library's ``concurrent.futures.interpreter`` (3.14); ours is in ``_interpreter``."""

import sys

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available, strict

if available and not strict:
    from manyhands.futures._interpreter import (
        BrokenInterpreterPool as BrokenInterpreterPool,
    )
    from manyhands.futures._interpreter import (
        InterpreterPoolExecutor as InterpreterPoolExecutor,
    )

if sys.version_info >= (3, 14):
    facade(__name__, stdlib_of("concurrent.futures.interpreter"))
