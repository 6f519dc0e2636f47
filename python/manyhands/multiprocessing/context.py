"""Drop-in for the standard library's ``multiprocessing.context``; ours are in ``_contexts``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.context")

if available:
    from manyhands.multiprocessing._contexts import (
        BaseContext,
        DefaultContext,
        ForkContext,
        ForkProcess,
        ForkServerContext,
        ForkServerProcess,
        Process,
        SpawnContext,
        SpawnProcess,
        _concrete_contexts,
        _default_context,
        _force_start_method,
    )

facade(__name__, _std)
