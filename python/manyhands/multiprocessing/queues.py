"""Drop-in for the standard library's ``multiprocessing.queues``; ours are in ``_queues``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.queues")

if available:
    from manyhands.multiprocessing._queues import (
        JoinableQueue as JoinableQueue,
    )
    from manyhands.multiprocessing._queues import (
        OwnQueue as OwnQueue,
    )
    from manyhands.multiprocessing._queues import (
        Queue as Queue,
    )
    from manyhands.multiprocessing._queues import (
        SimpleQueue as SimpleQueue,
    )

facade(__name__, _std)
