"""Drop-in for the standard library's ``threading``: its public names, and RWLock, ThreadState and Outcome.

The synchronisation types are C; a ``Thread`` can be paused, resumed and terminated.
"""

from __future__ import annotations

from manyhands import _impl
from manyhands._facade import facade, stdlib_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import *  # noqa: F403

_extra: tuple[str, ...] = ()
if _impl.available:
    from manyhands._impl.threading import (  # type: ignore[assignment]  # Timer derives from our Thread
        Barrier,
        BoundedSemaphore,
        Condition,
        Event,
        Lock,
        Outcome,
        RLock,
        RWLock,
        Semaphore,
        Thread,
        ThreadState,
        Timer,
    )

    _extra = () if _impl.strict else ("Outcome", "RWLock", "ThreadState")

facade(__name__, stdlib_of("threading"), _extra)
