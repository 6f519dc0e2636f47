"""Drop-in for the standard library's ``multiprocessing.reduction``; descriptors also travel through our connections."""

from typing import Any

from manyhands._facade import facade, stdlib_of
from manyhands._impl import available

_std = stdlib_of("multiprocessing.reduction")

if available:
    # Connections are imported by then, and not before: they import this module's original.

    def send_handle(conn: Any, handle: int, destination_pid: int) -> None:
        """Send a descriptor over a local connection: the receiver gets a duplicate."""
        from manyhands.multiprocessing import _pipe

        _pipe.send_handle(conn, handle, destination_pid)

    def recv_handle(conn: Any) -> int:
        """The descriptor that `send_handle` has sent at the other end. RuntimeError where something else comes."""
        from manyhands.multiprocessing import _pipe

        return _pipe.recv_handle(conn)


facade(__name__, _std)
