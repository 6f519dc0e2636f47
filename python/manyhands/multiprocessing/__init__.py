"""Drop-in for the standard library's ``multiprocessing``: same names, engines of ours.

What is ours and what still the standard library's: ``python -m manyhands status``.
"""

from __future__ import annotations

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available as _available

TYPE_CHECKING = False
if TYPE_CHECKING:
    from manyhands.multiprocessing._logging import Forwarding as Forwarding

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
