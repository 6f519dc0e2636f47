"""Drop-in for the standard library's ``multiprocessing``: same names, engines of ours.

What is ours and what still the standard library's: ``python -m manyhands status``.
"""

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available as _available

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

facade(__name__, _std, extra=("RWLock",) if _available else ())
