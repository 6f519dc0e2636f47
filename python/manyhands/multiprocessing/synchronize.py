"""Drop-in for the standard library's ``multiprocessing.synchronize``; ours are in ``_synchronize``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.synchronize")

if available:
    from manyhands.multiprocessing._synchronize import Barrier as Barrier
    from manyhands.multiprocessing._synchronize import BoundedSemaphore as BoundedSemaphore
    from manyhands.multiprocessing._synchronize import Condition as Condition
    from manyhands.multiprocessing._synchronize import Event as Event
    from manyhands.multiprocessing._synchronize import Lock as Lock
    from manyhands.multiprocessing._synchronize import RLock as RLock
    from manyhands.multiprocessing._synchronize import RWLock as RWLock
    from manyhands.multiprocessing._synchronize import RWLockSide as RWLockSide
    from manyhands.multiprocessing._synchronize import Semaphore as Semaphore
    from manyhands.multiprocessing._synchronize import SemLock as SemLock

facade(
    __name__,
    _std,
    extra=("Barrier", "RWLock") if available else ("Barrier",),
    returned={"RWLockSide": "manyhands.multiprocessing._synchronize"} if available else None,
)
