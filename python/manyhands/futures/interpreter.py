"""Drop-in for the standard library's ``concurrent.futures.interpreter`` (3.14); ours is in ``_interpreter``."""

import types

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available, strict

try:
    _std = stdlib_of("concurrent.futures.interpreter")
except ImportError:  # before 3.14
    _std = types.ModuleType("concurrent.futures.interpreter")

if available and not strict:
    from manyhands.futures._interpreter import (
        BrokenInterpreterPool as BrokenInterpreterPool,
    )
    from manyhands.futures._interpreter import (
        InterpreterPoolExecutor as InterpreterPoolExecutor,
    )

facade(__name__, _std)
