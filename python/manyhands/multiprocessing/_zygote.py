"""Spawned children without waiting for a new interpreter: from a zygote, an interpreter that is empty and forks.

A child of it is a child of this process, and nothing in it tells it from an interpreter that was executed; where
anything that a child inherits has changed meanwhile, one is executed. docs/design/0026-zygote.md says how and why.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import pickle
import select
import signal
import socket
import struct
import sys
import time
import types
from collections.abc import Iterator

from manyhands._facade import stdlib_of
from manyhands._impl import core, strict
from manyhands.multiprocessing import _popen
from manyhands.multiprocessing._forkserver import MOST_FDS, OURS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_spawn: Any = stdlib_of("multiprocessing.spawn")
_util: Any = stdlib_of("multiprocessing.util")

__all__ = ["Zygote", "heritage", "main", "zygote"]

TOLD = struct.Struct("q")  # the child's process id, or minus the error number
READY, UNFIT, GO = b"R", b"U", b"G"
STREAMS = (0, 1, 2)
MOST_BYTES = 65536  # of a request
LONGEST = 3.0  # seconds that an answer may take: the zygote may have been stopped
APART = 0.02  # seconds between two starts that are not of one pool: who asks again begins a zygote, for those to come
_FLAG = "--multiprocessing-fork"  # by which a child knows itself, and people find it in a list of processes
_HERE = os.path.dirname(os.path.abspath(__file__))
# The standard library's names first: where ours stand in for them, they load in the order that a program has.
_COMMAND = (
    "__import__('sys').path.insert(0, %r); __import__('multiprocessing.queues'); __import__('multiprocessing.spawn'); "
    "exec(__import__('manyhands.multiprocessing._zygote', fromlist=['main']).main(%d, %d))"
)


# ---- what a child inherits ----------------------------------------------------------------------------------------

_LINES = (
    b"Umask",
    b"Uid",
    b"Gid",
    b"Groups",
    b"SigIgn",
    b"Cap",
    b"NoNewPrivs",
    b"Seccomp",
    b"Cpus_",
    b"Mems_",
)
_FILES = ("self/limits", "self/cgroup", "self/oom_score_adj", "thread-self/attr/current")
_SPACES = ("cgroup", "ipc", "mnt", "net", "pid_for_children", "time_for_children", "user", "uts")


def heritage(command: list[str], executable: Any) -> tuple[Any, ...] | None:
    """All that this process and its environment would give a child. None: that cannot be said here."""
    if command[-3:-2] != ["-c"] or command[-1] != _FLAG or _is_patched():
        return None
    try:
        return (
            (os.fsencode(executable), *command[:-3]),
            dict(os.environ),
            [line for line in _read("thread-self/status").splitlines() if line.startswith(_LINES)],
            [_read(name) for name in _FILES],
            [_space(name) for name in _SPACES],
            [(at.st_dev, at.st_ino) for at in (os.stat("/"), os.stat("."))],
            (os.getsid(0), os.getpgid(0), os.getpriority(os.PRIO_PROCESS, 0)),
            (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority),
            [_is_terminal(fd) for fd in STREAMS],
        )
    except OSError:
        return None


def _is_patched() -> bool:
    """Debuggers and packers change how a child is executed: then it is."""
    fork_exec = getattr(sys.modules.get("_posixsubprocess"), "fork_exec", len)
    ours = (_spawn.get_command_line, _spawn.__name__), (_util.spawnv_passfds, _util.__name__)
    return type(fork_exec) is not type(len) or any(
        getattr(one, "__module__", "") != home for one, home in ours
    )


def _read(name: str) -> bytes:
    try:
        fd = os.open(f"/proc/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.read(fd, 65536)
    except OSError:  # no security module keeps an attribute
        return b""
    finally:
        os.close(fd)


def _space(name: str) -> int:
    try:
        return os.stat(f"/proc/thread-self/ns/{name}").st_ino
    except FileNotFoundError:  # older kernels have fewer
        return 0


def _is_terminal(fd: int) -> bool:
    """What the streams of an interpreter depend on. OSError where a child would have none."""
    if not os.get_inheritable(fd):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return os.isatty(fd)


_PUT_OFF = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2}


@contextlib.contextmanager
def _no_signals() -> Iterator[set[int]]:
    """Block those that programs have handlers for. Gives the mask that the thread has, and a child inherits."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _PUT_OFF)
    try:
        yield {int(number) for number in mask}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Be the one above the zygote to whom its children fall. Under `_popen.forking`."""
    before = core.adopt_orphans(True)
    try:
        yield
    finally:
        core.adopt_orphans(before)


def _bury(group: int, end: float) -> None:
    """Those of a dead zygote's group that fell to this process. They end at once; who holds them up is not awaited."""
    while time.monotonic() < end:
        if os.waitpid(-group, os.WNOHANG) == (0, 0):
            time.sleep(0.001)


# ---- the parent's side ----------------------------------------------------------------------------------------------


class Zygote:
    """At most one for this process. Begun by a start some time after another one that inherited the same."""

    _socket: socket.socket | None = None
    _finalizer: Any = None
    _pid = _pidfd = -1
    _ready = _busy = False
    _seen: Any = None  # what the last child inherited
    _at = 0.0  # when it was started
    _made_in: Any = None  # what the zygote did
    _unfit: Any = None  # what one inherited that was of no use

    def start(self, command: list[str], executable: Any, fds: list[int]) -> int | None:
        """The child that `command` would execute with these descriptors. None: it is to be executed."""
        if strict or os.environ.get("MANYHANDS_ZYGOTE") == "0":
            return None
        with _popen.forking:
            if self._busy:  # a signal's handler that came while an answer is awaited
                return None
            self._busy = True
            try:
                return self._start(command, executable, fds)
            finally:
                self._busy = False

    def _start(self, command: list[str], executable: Any, fds: list[int]) -> int | None:
        now, before, at = heritage(command, executable), self._seen, time.monotonic()
        apart = at - self._at > APART
        self._seen, self._at = now, at
        if now is None or now == self._unfit:
            return None
        if self._socket is None or now != self._made_in:
            if now == before and apart:
                self.end()
                # No descriptor or process is left, or it may not adopt: what is executed meets that, or does not.
                with contextlib.suppress(OSError):
                    core.adopt_orphans(core.adopt_orphans(True))
                    self._begin(command, executable, now)
            return None
        return self._ask(command, fds) if self._is_ready() else None

    def _begin(self, command: list[str], executable: Any, now: Any) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until it ignores Ctrl-C
        try:
            code = _COMMAND % (os.path.dirname(os.path.dirname(_HERE)), theirs.fileno(), os.getpid())
            arguments = [*command[:-2], code, _FLAG]
            self._pid = _util.spawnv_passfds(executable, arguments, [theirs.fileno()])
            self._pidfd = os.pidfd_open(self._pid)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._socket, self._made_in, self._ready = ours, now, False
        self._finalizer = _util.Finalize(None, self.end, exitpriority=-100)

    def _is_ready(self) -> bool:
        assert self._socket is not None
        if self._ready:
            return True
        try:
            word = self._socket.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            word = UNFIT
        if word != READY:
            self._unfit = self._made_in
            self.end()
        self._ready = word == READY
        return self._ready

    def _ask(self, command: list[str], fds: list[int]) -> int | None:
        numbers = list(dict.fromkeys([*STREAMS, *fds]))
        with _no_signals() as mask, _adopting():
            request = pickle.dumps((command[-2:], numbers, mask))
            if len(request) > MOST_BYTES or len(numbers) > MOST_FDS:
                return None
            try:
                told = self._answer(request, numbers)
            except BaseException:
                self.end()
                raise
        if told is not None and told < 0:
            raise OSError(-told, os.strerror(-told))
        return told

    def _answer(self, request: bytes, numbers: list[int]) -> int | None:
        """None: it has died, and left no child."""
        assert self._socket is not None
        self._socket.settimeout(LONGEST)
        try:
            socket.send_fds(self._socket, [request], numbers)
            told = self._socket.recv(TOLD.size)
        except OSError:
            told = b""
        if len(told) != TOLD.size:
            self.end()
            return None
        number: int = TOLD.unpack(told)[0]
        return number

    def end(self) -> None:
        """Leave it; it dies, and is no zombie."""
        if self._socket is None:
            return
        self._socket.close()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
            _bury(self._pid, time.monotonic() + 1)
        self._forget()

    def _forget(self) -> None:
        os.close(self._pidfd)
        self._finalizer.cancel()
        self._socket, self._pid, self._pidfd = None, -1, -1

    def in_child(self) -> None:
        """It is the parent's."""
        if self._socket is not None:
            self._socket.close()
            self._forget()
        self._busy, self._seen, self._made_in = False, None, None


zygote = Zygote()
os.register_at_fork(after_in_child=zygote.in_child)


# ---- the zygote -----------------------------------------------------------------------------------------------------


def main(fd: int, parent: int) -> types.CodeType:
    """Serve, until the parent ends or closes its end. Returns in each child: what it is to execute."""
    group = os.getpgid(0)
    os.setpgid(0, 0)
    listener = socket.socket(fileno=fd)
    ended = os.pidfd_open(parent)
    if os.getppid() != parent:
        os._exit(0)
    for name in OURS:
        importlib.import_module(name)
    del sys.path[0]
    if not _is_fit({*STREAMS, fd, ended}):
        listener.send(UNFIT)
        os._exit(0)
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _let_go_of_the_streams()
    gc.collect()
    gc.disable()
    gc.freeze()  # else each child's first collection would copy all these pages
    listener.send(READY)
    command, numbers, mask, received = _serve(listener, ended)
    os.setpgid(0, group)
    listener.close()
    os.close(ended)
    _place(received, numbers)
    signal.signal(signal.SIGINT, handler)
    gc.enable()
    code, *rest = command
    sys.argv[1:] = rest
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return compile(code, "<string>", "exec")


def _is_fit(fds: set[int]) -> bool:
    """Has nothing that was imported at the start begun what a fork does not take along or would share?"""
    monitoring = getattr(sys, "monitoring", None)
    watched = monitoring is not None and any(monitoring.get_tool(number) for number in range(6))
    if watched or sys.gettrace() is not None or sys.getprofile() is not None:
        return False
    more = {int(name) for name in os.listdir("/proc/self/fd")} - fds
    for fd in more:
        with contextlib.suppress(OSError):  # the listing's own
            os.fstat(fd)
            return False
    with open("/proc/thread-self/children", "rb") as file:
        return len(os.listdir("/proc/self/task")) == 1 and not file.read()


def _let_go_of_the_streams() -> None:
    """Who reads them waits for their end. Each child gets those of the moment."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in STREAMS:
        os.dup2(nothing, fd)
    os.close(nothing)


Request = tuple[list[str], list[int], set[int], list[int]]


def _serve(listener: socket.socket, ended: int) -> Request:
    """Have a process wait for each request, which forks the child and ends. Returns in it, then the program's."""
    while True:
        told, tell = os.pipe()
        gone, go = os.pipe()
        between = os.fork()
        if between == 0:
            _util.close_fds(told, go)
            request = _receive(listener, ended)
            _leave_a_child(tell, request)
            os.close(tell)
            if os.read(gone, 1) != GO:
                os._exit(255)  # the zygote has died before it told of this one
            os.close(gone)
            return request
        _util.close_fds(tell, gone)
        with contextlib.suppress(ChildProcessError):  # where SIGCHLD is ignored nobody has to bury
            os.waitpid(between, 0)
        answer = os.read(told, TOLD.size)
        if not answer:  # nobody can ask any more
            os._exit(0)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            listener.send(answer)
            os.write(go, GO)
        _util.close_fds(told, go)


def _receive(listener: socket.socket, ended: int) -> Request:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(ended, select.POLLIN)
    if ended in dict(poll.poll()):
        os._exit(0)
    data, fds, _, _ = socket.recv_fds(listener, MOST_BYTES, MOST_FDS)
    if not data:
        os._exit(0)
    command, numbers, mask = pickle.loads(data)
    return command, numbers, mask, fds


def _leave_a_child(tell: int, request: Request) -> None:
    """Returns in the child; else this process's work is done."""
    try:
        if len(request[3]) != len(request[1]):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        child = os.fork()
    except OSError as error:
        child = -(error.errno or errno.EAGAIN)
    if child != 0:
        os.write(tell, TOLD.pack(child))
        os._exit(0)


def _place(received: list[int], numbers: list[int]) -> None:
    """Give each descriptor the number that it has in the parent."""
    taken, lifted = set(numbers), []
    for fd in received:
        left = []
        while fd in taken:
            left.append(fd)
            fd = os.dup(fd)
        _util.close_fds(*left)
        lifted.append(fd)
    for fd, number in zip(lifted, numbers, strict=True):
        os.dup2(fd, number, inheritable=True)
        os.close(fd)
