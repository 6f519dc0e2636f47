"""What stands in for types of the compiled core where that is not usable."""

from __future__ import annotations

from manyhands._facade import stdlib_of
from manyhands.errors import Cancelled

__all__ = ["CancelToken"]


class CancelToken:
    """Cancellation as a value. Without the core no wait takes it; a loop that asks it still ends."""

    def __init__(self) -> None:
        self._event = stdlib_of("threading").Event()
        self.reason: str | None = None

    def cancel(self, reason: str | None = None) -> None:
        """Cancel, for good."""
        if not self._event.is_set():
            self.reason = reason
            self._event.set()

    def cancelled(self) -> bool:
        """Return whether cancel() was called."""
        return bool(self._event.is_set())

    def raise_if_cancelled(self) -> None:
        """Raise Cancelled where cancel() was called."""
        if self._event.is_set():
            raise Cancelled(self.reason or "cancelled by the CancelToken")

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until cancel() is called, at most `timeout` seconds. Return whether it was."""
        return bool(self._event.wait(timeout))
