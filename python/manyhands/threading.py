"""Drop-in for the standard library's ``threading``: its public names, and RWLock, ThreadState and Outcome.

The synchronisation types are C; a ``Thread`` can be paused, resumed and terminated.
"""

from __future__ import annotations

from manyhands import _impl
from manyhands._facade import facade, stdlib_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    # What a type checker sees: ours, and the standard library's rest.
    import sys
    from threading import TIMEOUT_MAX as TIMEOUT_MAX
    from threading import BrokenBarrierError as BrokenBarrierError
    from threading import ExceptHookArgs as ExceptHookArgs
    from threading import ThreadError as ThreadError
    from threading import active_count as active_count
    from threading import current_thread as current_thread
    from threading import enumerate as enumerate
    from threading import excepthook as excepthook
    from threading import get_ident as get_ident
    from threading import get_native_id as get_native_id
    from threading import getprofile as getprofile
    from threading import gettrace as gettrace
    from threading import local as local
    from threading import main_thread as main_thread
    from threading import setprofile as setprofile
    from threading import settrace as settrace
    from threading import stack_size as stack_size

    if sys.version_info >= (3, 12):
        from threading import setprofile_all_threads as setprofile_all_threads
        from threading import settrace_all_threads as settrace_all_threads

    from manyhands._impl.threading import Barrier as Barrier
    from manyhands._impl.threading import BoundedSemaphore as BoundedSemaphore
    from manyhands._impl.threading import Condition as Condition
    from manyhands._impl.threading import Event as Event
    from manyhands._impl.threading import Lock as Lock
    from manyhands._impl.threading import Outcome as Outcome
    from manyhands._impl.threading import RLock as RLock
    from manyhands._impl.threading import RWLock as RWLock
    from manyhands._impl.threading import RWLockSide as RWLockSide
    from manyhands._impl.threading import Semaphore as Semaphore
    from manyhands._impl.threading import Thread as Thread
    from manyhands._impl.threading import ThreadState as ThreadState
    from manyhands._impl.threading import Timer as Timer

_extra: tuple[str, ...] = ()
if _impl.available and not TYPE_CHECKING:
    from manyhands._impl.threading import (
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

facade(
    __name__,
    stdlib_of("threading"),
    _extra,
    returned={"RWLockSide": "manyhands._impl.threading"} if _impl.available else None,
)
