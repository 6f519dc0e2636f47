"""Drop-in for the standard library's ``multiprocessing``: same names, engines of ours.

What is ours and what still the standard library's: ``python -m manyhands status``.
"""

from __future__ import annotations

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available as _available

TYPE_CHECKING = False
if TYPE_CHECKING:
    # What a type checker sees: the default context's methods, as they are bound below.
    from multiprocessing import AuthenticationError as AuthenticationError
    from multiprocessing import BufferTooShort as BufferTooShort
    from multiprocessing import ProcessError as ProcessError
    from multiprocessing import TimeoutError as TimeoutError

    from manyhands.multiprocessing._contexts import Process as Process
    from manyhands.multiprocessing._contexts import _default_context as _default
    from manyhands.multiprocessing._logging import Forwarding as Forwarding

    Array = _default.Array
    Barrier = _default.Barrier
    BoundedSemaphore = _default.BoundedSemaphore
    Condition = _default.Condition
    Event = _default.Event
    JoinableQueue = _default.JoinableQueue
    Lock = _default.Lock
    Manager = _default.Manager
    Pipe = _default.Pipe
    Pool = _default.Pool
    Queue = _default.Queue
    RLock = _default.RLock
    RWLock = _default.RWLock
    RawArray = _default.RawArray
    RawValue = _default.RawValue
    Semaphore = _default.Semaphore
    SimpleQueue = _default.SimpleQueue
    Value = _default.Value
    active_children = _default.active_children
    allow_connection_pickling = _default.allow_connection_pickling
    cpu_count = _default.cpu_count
    current_process = _default.current_process
    freeze_support = _default.freeze_support
    get_all_start_methods = _default.get_all_start_methods
    get_context = _default.get_context
    get_logger = _default.get_logger
    get_start_method = _default.get_start_method
    log_to_stderr = _default.log_to_stderr
    parent_process = _default.parent_process
    reducer = _default.reducer
    set_executable = _default.set_executable
    set_forkserver_preload = _default.set_forkserver_preload
    set_start_method = _default.set_start_method

_std = stdlib_of("multiprocessing")

if _available:
    from manyhands.multiprocessing import _contexts, context

    # The module's functions are the default context's methods, as in the standard library.
    globals().update(
        {
            name: getattr(_contexts._default_context, name)
            for name in (*_std.__all__, "RWLock")
            if hasattr(_contexts._default_context, name)
        }
    )

    def forward_logging() -> Forwarding:
        """From now on, log records of processes that are started here go to the handlers of this process, in one order.

        Until ``stop()`` of what it returns, or the end of its ``with`` block. Children have the levels that the loggers
        had here when they were started, and no handlers of their own; their children forward to the same place.
        """
        from manyhands.multiprocessing import _logging

        return _logging.forward_logging()


facade(
    __name__,
    _std,
    extra=("RWLock", "forward_logging") if _available else (),
    returned={"Forwarding": "manyhands.multiprocessing._logging"} if _available else None,
)
