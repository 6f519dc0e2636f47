"""Drop-in for the standard library's ``multiprocessing.shared_memory``; ours is in ``_shared_memory``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.shared_memory")

if available:
    from manyhands.multiprocessing._shared_memory import SharedMemory

facade(__name__, _std)
