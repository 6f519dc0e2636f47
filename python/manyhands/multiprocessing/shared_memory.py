"""Drop-in for the standard library's ``multiprocessing.shared_memory``; ours is in ``_shared_memory``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available, strict

_std = stdlib_of("multiprocessing.shared_memory")

# Strict compatibility: who attaches is tracked, too.
if available and not strict:
    from manyhands.multiprocessing._shared_memory import ShareableList as ShareableList
    from manyhands.multiprocessing._shared_memory import SharedMemory as SharedMemory

facade(__name__, _std)
