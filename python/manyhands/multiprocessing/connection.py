"""Drop-in for the standard library's ``multiprocessing.connection``; ours are in ``_pipe``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.connection")

if available:
    from manyhands.multiprocessing._pipe import (
        Pipe as Pipe,
    )
    from manyhands.multiprocessing._pipe import (
        PipeConnection as PipeConnection,
    )
    from manyhands.multiprocessing._pipe import (
        QueueConnection as QueueConnection,
    )
    from manyhands.multiprocessing._pipe import (
        _rebuild as _rebuild,
    )
    from manyhands.multiprocessing._pipe import (
        _rebuild_queue as _rebuild_queue,
    )

facade(__name__, _std, extra=("PipeConnection", "QueueConnection"))
