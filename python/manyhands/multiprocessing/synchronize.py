"""Drop-in for the standard library's ``multiprocessing.synchronize``; ours are in ``_synchronize``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.synchronize")

if available:
    from manyhands.multiprocessing._synchronize import (
        Barrier,
        BoundedSemaphore,
        Condition,
        Event,
        Lock,
        RLock,
        RWLock,
        Semaphore,
        SemLock,
    )

facade(__name__, _std, extra=("Barrier", "RWLock") if available else ("Barrier",))
