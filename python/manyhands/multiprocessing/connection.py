"""Drop-in for the standard library's ``multiprocessing.connection``; ours are in ``_pipe``."""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.connection")

if available:
    from manyhands.multiprocessing._pipe import (
        Pipe,
        PipeConnection,
    )

facade(__name__, _std, extra=("PipeConnection",))
