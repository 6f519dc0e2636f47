"""`Pipe`: two connected ends whose messages go through shared memory; the rest is the standard library's.

An end is a `Connection` of the standard library's by type and by behaviour: `send`, `recv`, `send_bytes`,
`recv_bytes`, `recv_bytes_into`, `poll`, `fileno`, `wait`; EOFError once the other end is closed or dead and all read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select

from manyhands._facade import stdlib_of
from manyhands._impl import CancelToken, core, messages, set_module  # noqa: F401  # messages binds pickling to the core
from manyhands._troubles import coded
from manyhands.multiprocessing import _handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_std = stdlib_of("multiprocessing.connection")
_reduction = stdlib_of("multiprocessing.reduction")

__all__ = ["Pipe", "PipeConnection", "QueueConnection", "queue_connections", "recv_handle", "send_handle"]


class PipeConnection(_std.Connection):  # type: ignore[misc,name-defined]
    """One end of a `Pipe`."""

    def __init__(self, end: Any, readable: bool = True, writable: bool = True) -> None:
        self._end = end
        super().__init__(end.socket_fd, readable, writable)

    def __reduce__(self) -> Any:
        segment, socket, side, duplex = self._end.handle()
        if _handles.goes_outside():
            self._end.share_outside()
        fds = _reduction.DupFd(segment), _reduction.DupFd(socket)
        return _rebuild, (fds, side, duplex, self.readable, self.writable)

    def fileno(self) -> int:
        """A descriptor that is readable while a message or end of file is there; for `select` and `wait`."""
        self._check_closed()
        return int(self._end.select_fd())

    def _close(self, _close: Any = None) -> None:
        self._end.close()

    def send(self, obj: Any, *, cancel: CancelToken | None = None) -> None:
        """Send a picklable object. Like all of these it waits for the other end, unless `cancel` is cancelled."""
        self._check_closed()
        self._check_writable()
        self._end.send(obj, cancel=cancel)

    def recv(self, *, cancel: CancelToken | None = None) -> Any:
        """The next object; waits. EOFError where nothing is left and the other end is gone."""
        self._check_closed()
        self._check_readable()
        return self._end.recv(cancel=cancel)

    def _send_bytes(self, buf: Any) -> None:
        self._end.send_bytes(buf)

    def recv_bytes(self, maxlength: int | None = None, *, cancel: CancelToken | None = None) -> bytes:
        """The next message as bytes; OSError, and the end is closed for reading, if it is longer than `maxlength`."""
        self._check_closed()
        self._check_readable()
        if maxlength is not None and maxlength < 0:
            raise ValueError("negative maxlength")
        message: bytes = self._end.recv_bytes(cancel=cancel)
        if maxlength is not None and len(message) > maxlength:
            self._bad_message_length()
        return message

    def recv_bytes_into(self, buf: Any, offset: int = 0, *, cancel: CancelToken | None = None) -> int:
        """Put the next message into a writable buffer; its length. BufferTooShort, holding it, if it does not fit."""
        self._check_closed()
        self._check_readable()
        with memoryview(buf) as whole, whole.cast("B") as room:
            if offset < 0:
                raise ValueError("negative offset")
            if offset > len(room):
                raise ValueError("offset too large")
            message = self._end.recv_bytes(cancel=cancel)
            if len(room) - offset < len(message):
                raise _std.BufferTooShort(message)
            room[offset : offset + len(message)] = message
            return len(message)

    def poll(self, timeout: float | None = 0.0, *, cancel: CancelToken | None = None) -> bool:
        """True where a message or end of file is there, or comes within `timeout` seconds (None: whenever)."""
        self._check_closed()
        self._check_readable()
        return bool(self._end.poll(timeout, cancel=cancel))


def _rebuild(fds: Any, side: int, duplex: int, readable: bool, writable: bool) -> PipeConnection:
    segment, socket = (fd.detach() for fd in fds)
    try:
        end = core.PipeEnd._attach(segment, socket, side, duplex)
    finally:
        os.close(segment)
        os.close(socket)
    return PipeConnection(end, readable, writable)


class QueueConnection(PipeConnection):
    """A queue as a connection: `send` puts, `recv` takes the next object, whoever put it."""

    _life: int | None = (
        None  # of one that writes: held as long as it may; end of file is when nobody holds it
    )
    _both: Any = (
        None  # of one that reads, and was selected: an epoll object of what is there and of end of file
    )

    def __init__(
        self, end: Any, readable: bool = True, writable: bool = True, life: int | None = None
    ) -> None:
        super().__init__(end, readable, writable)
        if life is not None and readable:
            end.set_writers(life)
        else:
            self._life = life

    # At the interpreter's end this module's globals may have gone before the last connection.
    def _close(self, _close: Any = os.close, _dup2: Any = os.dup2) -> None:
        life, self._life = self._life, None
        if life is not None:
            _close(life)
            self._end.ring()
        elif self._end.writers_fd >= 0:
            # The view may live on, with the other end, and the descriptor is the view's: let go of the pipe behind it
            # alone, so that who puts sees that a reader is gone. The channel's memory never hangs up.
            _dup2(self._end.handle()[0], self._end.writers_fd, inheritable=False)
        if self._both is not None:
            self._both.close()
        super()._close()

    def fileno(self) -> int:
        fd, life = super().fileno(), self._end.writers_fd
        if life < 0:
            return fd
        if self._both is None:
            both = select.epoll()
            both.register(fd, select.EPOLLIN)
            both.register(life, 0)  # that it has hung up is told unasked
            self._both = both
        return int(self._both.fileno())

    def check_readers(self) -> None:
        """BrokenPipeError where nobody has the reading end any more: what is put would never be taken."""
        if self._life is not None:
            look = select.poll()
            look.register(
                self._life, 0
            )  # an end of a pipe whose other ends all readers hold; that it broke is told unasked
            if look.poll(0):
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def _life_to_send(self) -> Any:
        life = self._life if self._life is not None else self._end.writers_fd
        return None if life < 0 else _reduction.DupFd(life)

    def __reduce__(self) -> Any:
        fd, bell = self._end.handle()
        if not _handles.is_spawning():
            fds: Any = _reduction.DupFd(fd), _reduction.DupFd(bell)
            return _rebuild_queue, (False, *fds, self.readable, self.writable, self._life_to_send())
        if _handles.goes_outside():
            self._end.share_outside()
        file = os.fstat(fd).st_ino  # both ends have the same descriptors, and a child gets each of them once
        fds = _handles.send(self, fd, ("queue end", file)), _handles.send(self, bell, ("end bell", file))
        return _rebuild_queue, (True, *fds, self.readable, self.writable, self._life_to_send())


def _rebuild_queue(
    kept: bool, fd: Any, bell: Any, readable: bool, writable: bool, life: Any
) -> QueueConnection:
    if kept:
        end, _ = core.QueueEnd._attach(_handles.receive(fd), _handles.receive(bell))
    else:
        with contextlib.ExitStack() as stack:
            fds = [part.detach() for part in (fd, bell)]
            for own in fds:
                stack.callback(os.close, own)
            end, _ = core.QueueEnd._attach(*fds)
    return QueueConnection(end, readable, writable, None if life is None else life.detach())


def queue_connections() -> tuple[QueueConnection, QueueConnection]:
    """Where to take from and where to put into a new queue. The first sees end of file once nobody has the second."""
    reader, writer = core.QueueEnd._pair()
    there, here = os.pipe()
    return QueueConnection(reader, True, False, there), QueueConnection(writer, False, True, here)


def send_handle(conn: Any, handle: int, destination_pid: int) -> None:
    """Send a descriptor over a local connection: the receiver gets a duplicate."""
    if isinstance(conn, PipeConnection):
        conn._check_closed()
        conn._end.send_fd(handle)
    else:
        _reduction.send_handle(conn, handle, destination_pid)


def recv_handle(conn: Any) -> int:
    """The descriptor that `send_handle` has sent at the other end. RuntimeError where something else comes."""
    if not isinstance(conn, PipeConnection):
        return int(_reduction.recv_handle(conn))
    conn._check_closed()
    try:
        return int(conn._end.recv_fd())
    except OSError as error:
        if error.errno != errno.EBADMSG:
            raise
        raise coded(RuntimeError("what came over the connection was no descriptor"), "MH-TRAVEL") from error


def Pipe(duplex: bool = True) -> tuple[PipeConnection, PipeConnection]:
    """Two connected ends. Not `duplex`: the first only receives, the second only sends."""
    first, second = core.PipeEnd._pair(bool(duplex))
    return PipeConnection(first, True, bool(duplex)), PipeConnection(second, bool(duplex), True)


# A child imports them by these names first; the modules there import this one.
set_module(
    "multiprocessing.connection",
    "manyhands.multiprocessing.connection",
    PipeConnection,
    QueueConnection,
    _rebuild,
    _rebuild_queue,
)
