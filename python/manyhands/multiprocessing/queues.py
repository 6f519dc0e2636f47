"""Drop-in for the standard library's ``multiprocessing.queues``; ours are in ``_queues``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.queues")

if available:
    from manyhands.multiprocessing._queues import (
        JoinableQueue,
        Queue,
    )

facade(__name__, _std)
