"""Drop-in for the standard library's ``multiprocessing.managers``; ours is in ``_managers``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available, strict

_std = stdlib_of("multiprocessing.managers")

if available and not strict:
    from manyhands.multiprocessing._managers import SharedMemoryManager as SharedMemoryManager
    from manyhands.multiprocessing._managers import SharedMemoryServer as SharedMemoryServer

facade(__name__, _std)
