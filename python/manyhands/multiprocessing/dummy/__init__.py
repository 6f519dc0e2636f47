"""The standard library's ``multiprocessing.dummy``, under our name."""

from typing import Any

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.dummy")


class _Absent:
    """An attribute that is inherited and shall not be there."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        raise AttributeError("a DummyProcess has no terminate()")


# Where `threading` is substituted it derives from our Thread; a pool takes what has `terminate` for a process.
if hasattr(_std.DummyProcess, "terminate"):
    _std.DummyProcess.terminate = _Absent()

if available:

    def Pool(processes: Any = None, initializer: Any = None, initargs: Any = ()) -> Any:
        """A pool of threads."""
        from manyhands.multiprocessing.pool import ThreadPool

        return ThreadPool(processes, initializer, initargs)


facade(__name__, _std)
