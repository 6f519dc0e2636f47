"""Zeroed memory that reaches child processes while they are being started."""

from __future__ import annotations

from manyhands._impl import core
from manyhands.multiprocessing import _handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Memory"]


class Memory:
    """So many bytes of it, a buffer."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._core = core.SharedBuffer(size)

    def create_memoryview(self) -> memoryview:
        """The memory, as `rebuild_ctype` wants it."""
        return memoryview(self._core)

    def __getstate__(self) -> Any:
        fd, slab, offset = self._core.place
        return _handles.send(self, fd, ("slab", slab)), offset, self._size

    def __setstate__(self, state: Any) -> None:
        token, offset, self._size = state
        self._core = core.SharedBuffer._rebuild(_handles.receive(token), token[1][1], offset, self._size)

    def words(self) -> memoryview:
        """The memory, as words of 64 bits."""
        return memoryview(self._core).cast("B").cast("Q")
