"""Drop-in for the standard library's ``multiprocessing.context``; ours are in ``_contexts``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.context")

if available:
    from manyhands.multiprocessing._contexts import BaseContext as BaseContext
    from manyhands.multiprocessing._contexts import DefaultContext as DefaultContext
    from manyhands.multiprocessing._contexts import ForkContext as ForkContext
    from manyhands.multiprocessing._contexts import ForkProcess as ForkProcess
    from manyhands.multiprocessing._contexts import ForkServerContext as ForkServerContext
    from manyhands.multiprocessing._contexts import ForkServerProcess as ForkServerProcess
    from manyhands.multiprocessing._contexts import Process as Process
    from manyhands.multiprocessing._contexts import SpawnContext as SpawnContext
    from manyhands.multiprocessing._contexts import SpawnProcess as SpawnProcess
    from manyhands.multiprocessing._contexts import _concrete_contexts, _default_context, _force_start_method

facade(__name__, _std)
