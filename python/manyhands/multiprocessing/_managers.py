"""`SharedMemoryManager` whose blocks are ours: who attaches is not tracked."""

from __future__ import annotations

from typing import Any

from manyhands._facade import stdlib_of
from manyhands._impl import set_module
from manyhands.multiprocessing import _shared_memory
from manyhands.multiprocessing._shared_memory import with_ours

_std = stdlib_of("multiprocessing.managers")

__all__ = ["SharedMemoryManager"]


class _Tracker(_std._SharedMemoryTracker):  # type: ignore[misc,name-defined]
    """What the server has to remove at its end."""

    destroy_segment = with_ours(_std._SharedMemoryTracker.destroy_segment, shared_memory=_shared_memory)


class SharedMemoryServer(_std.SharedMemoryServer):  # type: ignore[misc,name-defined]
    """The server process of a `SharedMemoryManager`."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        context: Any = self.shared_memory_context  # type: ignore[has-type]
        self.shared_memory_context = _Tracker(context.shared_memory_context_name, context.segment_names)


class SharedMemoryManager(_std.SharedMemoryManager):  # type: ignore[misc,name-defined]
    """Makes blocks of shared memory that are removed when it ends: ``with SharedMemoryManager() as manager: ...``."""

    _Server = SharedMemoryServer
    SharedMemory = with_ours(_std.SharedMemoryManager.SharedMemory, shared_memory=_shared_memory)
    ShareableList = with_ours(_std.SharedMemoryManager.ShareableList, shared_memory=_shared_memory)


# Where a child that unpickles them looks: the public module, which imports this one, and not the other way round.
set_module(
    "multiprocessing.managers", "manyhands.multiprocessing.managers", SharedMemoryManager, SharedMemoryServer
)
