"""`python -m manyhands dump PID`: how one process asks another for its dump.

The asking process listens on a socket whose name has the other's number in it, and sends it a real-time signal. The
other's handler, which runs in its main thread, connects and writes. No thread waits for that, and no file lies about.
Each side looks who the other is (SO_PEERCRED): a dump goes to the process's own user and to root.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Refused", "answer", "ask", "listen"]

SIGNAL = signal.SIGRTMIN + 9 if hasattr(signal, "SIGRTMIN") else None
PATIENCE = 5.0
TOLD_AGAIN = 0.5


class Refused(Exception):
    """There is no dump to be had; the message says why."""

    code = "MH-DUMP"


def _address(pid: int) -> bytes:
    return b"\0manyhands-dump-%d" % pid  # an abstract one: it goes with its socket


# ---- in the process that is asked


def listen() -> None:
    """Be ready to answer, where the signal is free and this thread may set handlers. Calling it again does no harm."""
    if SIGNAL is not None:
        with contextlib.suppress(ValueError, OSError):  # not the main thread, or not the main interpreter
            if signal.getsignal(SIGNAL) is signal.SIG_DFL:
                signal.signal(SIGNAL, answer)


def answer(number: int = 0, frame: Any = None) -> None:
    """The handler. Whatever goes wrong, the program goes on."""
    with contextlib.suppress(Exception):
        _write_dump(frame)


def _write_dump(frame: Any) -> None:
    import socket

    from manyhands._impl.dump import report

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as out:
        out.settimeout(PATIENCE)
        out.connect(_address(os.getpid()))
        if _user(out) in (0, os.geteuid()):
            out.sendall(report(frame or sys._getframe(2)).encode("utf-8", "backslashreplace"))


def _peer(connection: Any) -> tuple[int, int]:
    """Process and user at the other end."""
    import socket
    import struct

    pid, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, user


def _user(connection: Any) -> int:
    return _peer(connection)[1]


# ---- in the process that asks


def ask(pid: int, seconds: float) -> str:
    """The dump of that process. Refused where there is none within that time."""
    import socket

    process = _open(pid)
    end = time.monotonic() + seconds
    try:
        inner, catches = _status(pid)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as inbox:
            try:
                inbox.bind(_address(inner))
            except OSError:
                raise Refused(f"another dump of process {pid} is under way") from None
            inbox.listen()
            with _teller(pid, process, catches) as tell:
                return _read(inbox, pid, end, tell)
    except (ProcessLookupError, FileNotFoundError):
        raise Refused(f"process {pid} has ended") from None
    except TimeoutError:
        raise Refused(f"process {pid} did not answer within {seconds:g} s: {_why(pid)}") from None
    finally:
        os.close(process)


def _open(pid: int) -> int:
    """A descriptor of the process: its number may not go to another meanwhile."""
    try:
        if pid <= 0:
            raise ProcessLookupError
        os.kill(pid, 0)
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise Refused(f"there is no process {pid}") from None
    except PermissionError:
        raise Refused(f"process {pid} belongs to another user") from None


def _status(pid: int) -> tuple[int, bool]:
    """The number by which the process knows itself, and whether it has a handler for the signal."""
    fields = {}
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            name, _, value = line.partition(":")
            fields[name] = value.split()
    caught = int(fields["SigCgt"][0], 16)
    return int(fields.get("NSpid", [str(pid)])[-1]), bool(caught >> (int(SIGNAL or 1) - 1) & 1)


def _is_python(pid: int) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps") as file:
        return any("python" in os.path.basename(line.split(" ")[-1]) for line in file)
    return False


@contextlib.contextmanager
def _teller(pid: int, process: int, catches: bool) -> Any:
    """What tells the process to answer: a signal, or, from 3.14 on, code that it is made to run, once."""
    number = SIGNAL if catches and _is_python(pid) else None
    if number is not None:
        yield lambda: signal.pidfd_send_signal(process, number)
    elif _is_python(pid) and (execute := getattr(sys, "remote_exec", None)) is not None:
        with _script() as script:
            try:
                execute(pid, script)
            except (OSError, RuntimeError) as error:
                raise Refused(f"process {pid} does not listen, and cannot be made to: {error}") from None
            yield lambda: None
    else:
        raise Refused(
            f"process {pid} does not listen: it is no Python program, or has not imported manyhands.threading "
            "(python -m manyhands run APP does that for it)"
        )


@contextlib.contextmanager
def _script() -> Any:
    import tempfile

    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    with tempfile.NamedTemporaryFile("w", suffix=".py", prefix="manyhands-dump-") as file:
        file.write(
            f"import sys\nsys.path.append({package!r})\ntry:\n"
            "    from manyhands._impl.dump_request import answer\nfinally:\n    sys.path.pop()\nanswer()\n"
        )
        file.flush()
        os.chmod(file.name, 0o644)
        yield file.name


def _read(inbox: Any, pid: int, end: float, tell: Callable[[], None]) -> str:
    """Told again now and then: another thread of the process may take the signal, which then interrupts no sleep."""
    while True:
        tell()
        with contextlib.suppress(TimeoutError):
            inbox.settimeout(min(TOLD_AGAIN, max(0.001, end - time.monotonic())))
            connection, _ = inbox.accept()
            with connection:
                if _peer(connection)[0] == pid:  # or else a stranger
                    return _all_of(connection)
        if time.monotonic() >= end:
            raise TimeoutError


def _all_of(connection: Any) -> str:
    connection.settimeout(PATIENCE)
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts).decode()


def _why(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        state = file.read().rpartition(")")[2].split()[0]
        if state in "Tt":
            return "it is stopped (kill -CONT lets it go on)"
        if state in "ZX":
            return "it has ended"
        return "its main thread is in a call that Python cannot interrupt; a debugger can look (gdb, py-spy)"
    return "it has ended"
