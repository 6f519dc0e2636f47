"""The fork server: a process with one thread that has the imports done, and forks a child for each start.

The protocol and why it is so: docs/design/0021-fork-server.md. The standard library's server keeps its place under its
own name; ours serves the contexts of manyhands.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import select
import signal
import socket
import struct
import sys
import warnings
from collections.abc import Iterator

from manyhands._facade import stdlib_of
from manyhands._impl import strict
from manyhands.multiprocessing._popen import _start_tracker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_connection = stdlib_of("multiprocessing.connection")
_std = stdlib_of("multiprocessing.forkserver")
_process = stdlib_of("multiprocessing.process")
_spawn = stdlib_of("multiprocessing.spawn")
_util = stdlib_of("multiprocessing.util")
_tracker = stdlib_of("multiprocessing.resource_tracker")

__all__ = ["ForkServer", "connect_to_new_process", "ensure_running", "get_inherited_fds", "main", "server"]

STARTED = struct.Struct("q")  # the child's process id, or minus the error number
PLAIN, QUIET = (
    b"F",
    b"Q",
)  # a request; the second where Ctrl-C is blocked in who asks, as it is to be in the child
ENDED = struct.Struct("qd")  # its exit code, and the processor seconds that it has used
KEY_BYTES = getattr(_std, "_AUTHKEY_LEN", 0)  # the standard library's server asks for a key from 3.14 on
MOST_FDS = 253  # the kernel's limit for one message
# What every child needs, or a worker of a pool, and would else have to look for; the first for the main module.
OURS = (
    "pkgutil",
    "faulthandler",
    "multiprocessing.popen_forkserver",
    "multiprocessing.popen_spawn_posix",
    "manyhands.multiprocessing",
    "manyhands.multiprocessing._crew_worker",
    "manyhands.multiprocessing._memory",
    "manyhands.multiprocessing._pipe",
    "manyhands.multiprocessing._popen",
    "manyhands.multiprocessing._queues",
    "manyhands.multiprocessing._synchronize",
    "manyhands.multiprocessing.connection",
    "manyhands.multiprocessing.queues",
    "manyhands.multiprocessing.synchronize",
)


class ForkServer(_std.ForkServer):  # type: ignore[misc,name-defined]
    """The parent's side. Its children reach the same server, by the socket that they inherit."""

    _forkserver_pid: int | None
    _forkserver_alive_fd: int | None  # the socket; when all copies of it are closed, the server ends
    _forkserver_address: str | None
    _forkserver_authkey: bytes | None = None  # in strict mode, where the standard library's server has one
    _owner: int | None = None  # the process whose child the server is

    def connect_to_new_process(self, fds: list[int]) -> tuple[int, int]:
        """Ask for a child: (what the server tells of it, where to write what it is to do)."""
        if len(fds) + 4 > MOST_FDS:
            raise ValueError("too many fds")
        self.ensure_running()
        try:
            return self._request(fds)
        except (BrokenPipeError, ConnectionResetError):
            with self._lock:
                self._forget()  # it died, and is not a child of this process, which would have been told
            self.ensure_running()
            return self._request(fds)

    def _request(self, fds: list[int]) -> tuple[int, int]:
        assert self._forkserver_alive_fd is not None
        if self._forkserver_authkey is not None:
            _connection.Client(self._forkserver_address, authkey=self._forkserver_authkey).close()
        made: list[int] = []
        try:
            made += os.pipe()
            made += os.pipe()
            told, tell, read, write = made
            blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
            sent = [tell, read, self._forkserver_alive_fd, _tracker.getfd(), *fds]
            with socket.socket(fileno=os.dup(self._forkserver_alive_fd)) as client:
                socket.send_fds(client, [QUIET if blocked else PLAIN], sent)
        except BaseException:
            _util.close_fds(*made)
            raise
        _util.close_fds(tell, read)
        return told, write

    def ensure_running(self) -> None:
        """Start the server where there is none, or where it has died."""
        with self._lock:
            _start_tracker()
            if self._forkserver_alive_fd is not None and self._lives():
                return
            self._forget()
            self._launch()

    def _lives(self) -> bool:
        if self._owner != os.getpid():
            return True  # another's child: sending will tell
        try:
            return os.waitpid(self._forkserver_pid or 0, os.WNOHANG) == (0, 0)
        except ChildProcessError:
            return False

    def _forget(self) -> None:
        if self._forkserver_alive_fd is not None:
            os.close(self._forkserver_alive_fd)
        self._forkserver_alive_fd = self._forkserver_pid = self._owner = None
        if self._forkserver_authkey is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._forkserver_address or "")
        self._forkserver_address = self._forkserver_authkey = None

    def _stop_unlocked(self) -> None:
        """For tests: let the server end once its last child has, and wait for it."""
        pid, mine = self._forkserver_pid, self._owner == os.getpid()
        self._forget()
        if mine and pid is not None:
            os.waitpid(pid, 0)

    def _launch(self) -> None:
        client, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with (
            client,
            server,
            os.fdopen(os.memfd_create("manyhands-fork-server"), "w+b") as config,
            socket.socket(socket.AF_UNIX) as gate,
        ):
            fds = [server.fileno(), config.fileno()]
            configuration = _configuration()
            if strict and KEY_BYTES:
                configuration["gate"] = self._open_gate(gate)
                fds.append(gate.fileno())
            pickle.dump(configuration, config)
            config.flush()
            command = _COMMAND % (os.path.dirname(os.path.dirname(_HERE)), *fds[:2])
            executable = _spawn.get_executable()
            arguments = [executable, *_util._args_from_interpreter_flags(), "-c", command]
            self._forkserver_pid = _util.spawnv_passfds(executable, arguments, fds)
            self._forkserver_alive_fd = client.detach()
            self._owner = os.getpid()

    def _open_gate(self, gate: socket.socket) -> tuple[int, bytes]:
        """An address where the server asks for the key, for strict mode: ours takes requests from nobody but those who
        inherit its socket, and needs neither. What the server has to know of it."""
        self._forkserver_address = address = _connection.arbitrary_address("AF_UNIX")
        gate.bind(address)
        if not _util.is_abstract_socket_namespace(address):
            os.chmod(address, 0o600)
        gate.listen()
        self._forkserver_authkey = os.urandom(KEY_BYTES)
        return gate.fileno(), self._forkserver_authkey


@contextlib.contextmanager
def perhaps_for_want_of_a_module() -> Iterator[None]:
    """A server that ends where a module cannot be imported (``on_error="fail"``) has said why on stderr."""
    try:
        yield
    except (EOFError, ConnectionError) as error:
        if _std._forkserver._preload_modules and _on_error() == "fail":
            others = error.__dict__.pop("__notes__", [])
            for note in (_SEE_STDERR, *others):  # first, where the standard library's tests look
                error.add_note(note)
        raise


def _on_error() -> str:
    """What becomes of a module that cannot be imported beforehand; from 3.15 on that can be said."""
    return getattr(_std._forkserver, "_preload_on_error", "ignore")


_SEE_STDERR = "Forkserver process may have crashed during module preloading. Check stderr."
_HERE = os.path.dirname(os.path.abspath(__file__))
# The standard library's names first: where ours stand in for them, they load in the order that a program has.
_COMMAND = (
    "import sys; sys.path.insert(0, %r); import multiprocessing.queues, multiprocessing.forkserver; "
    "from manyhands.multiprocessing._forkserver import main; main(%d, %d)"
)


def _configuration() -> dict[str, Any]:
    """What the server imports beforehand, and where it looks for it."""
    preload = list(_std._forkserver._preload_modules or ())
    data = _spawn.get_preparation_data("ignore") if preload else {}
    keys = ("sys_path", "sys_argv", "init_main_from_name", "init_main_from_path")
    return {
        "preload": preload,
        "on_error": _on_error(),
        **{key: data[key] for key in keys if key in data},
    }


# ---- the server ------------------------------------------------------------------------------------------------------


def main(socket_fd: int, config_fd: int) -> None:
    """Run the server, until nobody is left who could ask."""
    for name in OURS:
        importlib.import_module(name)
    os.lseek(config_fd, 0, os.SEEK_SET)
    with os.fdopen(os.dup(config_fd), "rb") as file:
        config = pickle.load(file)
    if config["preload"]:
        _import_beforehand(config, socket_fd, config_fd)
    elif config.get("sys_path"):
        sys.path[:] = config["sys_path"]
    os.close(config_fd)
    _util._close_stdin()
    gc.collect()
    gc.disable()
    gc.freeze()  # else each child's first collection would copy all these pages
    fd, key = config.get("gate", (-1, b""))
    _serve(socket.socket(fileno=socket_fd), socket.socket(fileno=fd) if fd >= 0 else None, key)


def _import_beforehand(config: dict[str, Any], *fds: int) -> None:
    if "sys_argv" in config:
        sys.argv[:] = config["sys_argv"]
    if "sys_path" in config:
        sys.path[:] = config["sys_path"]
    failed = None
    try:
        if "__main__" in config["preload"]:
            _import_main(config)
    except BaseException as error:  # a child will meet it, too, and say so
        failed = f"__main__ cannot be imported beforehand: {error!r}"
    for name in config["preload"]:
        try:
            importlib.import_module(name)
        except ImportError as error:
            if config["on_error"] == "fail":
                raise
            if config["on_error"] == "warn":
                warnings.warn(f"forkserver: failed to preload {name!r}: {error}", ImportWarning, stacklevel=2)
    _util._flush_std_streams()  # or each child prints it once more
    if failed is None and _threads_stay():
        failed = (
            "the modules that were imported beforehand have started threads, with which a fork is not safe"
        )
    if failed is not None:
        _start_anew(failed, config.get("gate"), *fds)


def _import_main(config: dict[str, Any]) -> None:
    me: Any = _process.current_process()
    me._inheriting = True  # a main module without its guard is told so
    try:
        if "init_main_from_path" in config:
            _spawn.import_main_path(config["init_main_from_path"])
        elif "init_main_from_name" in config:
            _spawn._fixup_main_from_name(config["init_main_from_name"])
    finally:
        del me._inheriting


def _threads_stay() -> bool:
    """Are there threads that do not go when a fork is prepared? (BLAS libraries end theirs then, and begin anew.)"""
    if len(os.listdir("/proc/self/task")) == 1:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return len(os.listdir("/proc/self/task")) > 1


def _start_anew(why: str, gate: tuple[int, bytes] | None, socket_fd: int, config_fd: int) -> None:
    """The same server without anything imported beforehand: children import for themselves, which is always right."""
    _util.info("forkserver: %s; each child imports for itself", why)
    _util._flush_std_streams()
    os.ftruncate(config_fd, 0)
    os.lseek(config_fd, 0, os.SEEK_SET)
    kept = {} if gate is None else {"gate": gate}
    os.write(config_fd, pickle.dumps({"preload": [], "sys_path": sys.path, **kept}))
    for fd in (socket_fd, config_fd, *([] if gate is None else gate[:1])):
        os.set_inheritable(fd, True)
    command = _COMMAND % (os.path.dirname(os.path.dirname(_HERE)), socket_fd, config_fd)
    os.execv(sys.executable, [sys.executable, *_util._args_from_interpreter_flags(), "-c", command])


class _Children:
    """Those that live, and whom to tell of their end."""

    def __init__(self) -> None:
        self.told: dict[int, int] = {}  # process id -> where its end is told

    def bury(self) -> None:
        """Tell of each that has ended."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            tell = self.told.pop(pid, None)
            if tell is not None:
                code = os.waitstatus_to_exitcode(status)
                _say(tell, ENDED.pack(code, used.ru_utime + used.ru_stime))
                os.close(tell)


def _say(fd: int, words: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody is left who asks
        os.write(fd, words)  # fewer bytes than a pipe takes at once


def _admit(gate: socket.socket, key: bytes) -> None:
    """Ask whoever comes for the key, and show that it is known here, too. That is all that is to be had."""
    with gate.accept()[0] as client:
        connection = _connection.Connection(client.detach())
    with connection, contextlib.suppress(EOFError, OSError, _connection.AuthenticationError):
        _connection.deliver_challenge(connection, key)
        _connection.answer_challenge(connection, key)


def _serve(listener: socket.socket, gate: socket.socket | None = None, key: bytes = b"") -> None:
    children = _Children()
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_r, False)
    os.set_blocking(wake_w, False)
    before = {
        signal.SIGCHLD: signal.signal(signal.SIGCHLD, lambda *_: None),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
    }
    signal.pthread_sigmask(
        signal.SIG_UNBLOCK, {signal.SIGINT}
    )  # whoever has started the server had it blocked, maybe
    signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(listener.fileno(), select.POLLIN)
    poll.register(wake_r, select.POLLIN)
    if gate is not None:
        poll.register(gate.fileno(), select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if wake_r in ready:
            os.read(wake_r, 65536)
            children.bury()
        if gate is not None and gate.fileno() in ready:
            _admit(gate, key)
        if listener.fileno() in ready:
            fds, quiet = _receive(listener)
            if fds is None:
                raise SystemExit(0)
            if fds and _fork(fds, children) == 0:
                unused = [wake_r, wake_w, fds[0], *children.told.values()]
                listener.close()
                if gate is not None:
                    gate.close()
                _util.close_fds(*unused)
                _be_child(fds, before, quiet)


def _receive(listener: socket.socket) -> tuple[list[int] | None, bool]:
    """The descriptors of a request, and whether Ctrl-C is to be blocked in the child. None of them: they did not all
    arrive, which was told; None: nobody can ask any more."""
    data, fds, flags, _ = socket.recv_fds(listener, 1, MOST_FDS)
    if not data:
        return None, False
    if flags & socket.MSG_CTRUNC or len(fds) < 4:
        if fds:
            _say(fds[0], STARTED.pack(-24))  # EMFILE
        _util.close_fds(*fds)
        return [], False
    return fds, data == QUIET


def _fork(fds: list[int], children: _Children) -> int:
    tell = fds[0]
    try:
        pid = os.fork()
    except OSError as error:
        _say(tell, STARTED.pack(-(error.errno or 11)))
        _util.close_fds(*fds)
        return -1
    if pid != 0:
        _say(tell, STARTED.pack(pid))
        children.told[pid] = tell
        _util.close_fds(*fds[1:])
    return pid


def _be_child(fds: list[int], handlers: dict[Any, Any], quiet: bool) -> None:
    code, exits = 1, getattr(_std, "atexit", None)  # from 3.13 on atexit's functions run in children
    try:
        if exits is not None:
            exits._clear()
            exits.register(_util._exit_function)
        signal.set_wakeup_fd(-1)
        if quiet:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        for number, handler in handlers.items():
            signal.signal(number, handler)
        gc.enable()
        _, read, server._forkserver_alive_fd, _tracker._resource_tracker._fd, *inherited = fds
        server._forkserver_pid = server._owner = None
        server._inherited_fds = _std._forkserver._inherited_fds = inherited
        code = _spawn._main(read, os.dup(read))
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
        sys.stderr.flush()
    finally:
        if exits is not None:
            exits._run_exitfuncs()
        os._exit(code)


server = ForkServer()
ensure_running = server.ensure_running
get_inherited_fds = server.get_inherited_fds
connect_to_new_process = server.connect_to_new_process
