"""How children are started: the standard library's three ways, with a place in the arena for each child.

These classes are not put in the place of the standard library's, which build on each other.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import io
import os
import select
import signal
import sys
import time

from manyhands._facade import stdlib_of
from manyhands._impl import core, strict
from manyhands._impl.by_value import without_false_main
from manyhands._troubles import coded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_process = stdlib_of("multiprocessing.process")
_util = stdlib_of("multiprocessing.util")
_context = stdlib_of("multiprocessing.context")
_reduction = stdlib_of("multiprocessing.reduction")
_popen_fork = stdlib_of("multiprocessing.popen_fork")

__all__ = ["popen"]

_WITH_ATEXIT = hasattr(_popen_fork, "atexit")  # from 3.13 on the functions of atexit run in children


class _Ended:
    """In place of the core's handle, for a child that had ended before it could be looked at."""

    def pause(self, timeout: float | None = None, *, cancel: Any = None) -> bool:
        raise coded(ValueError("the process has ended: it cannot be paused"), "MH-STATE")

    def join(self, timeout: float | None = None, *, cancel: Any = None) -> bool:
        return True

    def resume(self) -> None:
        """Nothing to resume."""

    terminate = kill = resume

    def state(self) -> str:
        return "finished"

    def cpu_time(self) -> float:
        raise coded(ValueError("the CPU time of this process is not known any more"), "MH-STATE")

    def memory(self) -> int:
        return 0


def _guide() -> str:
    """What to tell a script that starts processes while a child imports it: what to change, by its own line."""
    import linecache

    frame: Any = sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__") not in ("__main__", "__mp_main__"):
        frame = frame.f_back
    file, number = frame.f_code.co_filename, frame.f_lineno
    line = linecache.getline(file, number).strip() or "..."
    return f"""
        An attempt has been made to start a new process before the current process has finished its bootstrapping
        phase: a child imports the script once more, to find its functions, and it came to {file}, line {number}.

        Put what shall run only once, in the main process, into a function, and add these lines:

            def main():
                {line}
            if __name__ == "__main__":
                main()
        """


_LIMITS = {
    errno.EAGAIN: "the user's limit of processes (RLIMIT_NPROC) or the control group's (pids.max) is reached",
    errno.ENOMEM: "the system has no memory for it",
    errno.EMFILE: "this process has no descriptor left (RLIMIT_NOFILE)",
    errno.ENFILE: "the system has no descriptor left",
}


def explained(error: OSError) -> OSError:
    """The error of a start that failed, of the same class and number, in words that say which limit it was."""
    if error.errno not in _LIMITS:
        return error
    return coded(OSError(error.errno, f"no process could be started: {_LIMITS[error.errno]}"), "MH-START")


class Launch:
    """Mixed into the start methods' Popen classes: a place in the arena, a lifeline where the child is to die with this
    process, and the core's handle of the child."""

    pid: int
    method: str
    sentinel: int
    returncode: int | None
    control: Any = None
    _take: Any  # (flag): learn the exit status, where it can be told
    _manyhands_place: int | None = None

    def _launch(self, process_obj: Any) -> None:
        if self.method != "fork" and getattr(_process.current_process(), "_inheriting", False):
            raise coded(RuntimeError(_guide()), "MH-GUARD")
        self.asked: set[int] = set()  # signals that terminate() and kill() have sent
        self._starter = os.getpid()
        try:
            self._launch_with_place(process_obj)
        except OSError as error:
            raise explained(error) from None

    def _launch_with_place(self, process_obj: Any) -> None:
        place = core.arena_reserve()
        process_obj._manyhands_place = self._manyhands_place = place
        process_obj._manyhands_method = None if self.method == "fork" else self.method
        forwarding: Any = sys.modules.get("manyhands.multiprocessing._logging")
        process_obj._manyhands_logging = forwarding and forwarding.current
        try:
            if process_obj._die_with_parent:
                process_obj._manyhands_lifeline = core.lifeline()
            if self.method == "fork":
                self._begin(process_obj)
            else:
                with without_false_main():
                    self._begin(process_obj)
        except BaseException:
            if place is not None:
                core.arena_unreserve(place)
            raise
        finally:
            if process_obj._manyhands_lifeline is not None:
                os.close(process_obj._manyhands_lifeline)
                process_obj._manyhands_lifeline = None
        try:
            if place is not None:  # None: more processes than places, this one goes without
                core.arena_settle(place, self.pid)
            self.control = core.ProcessControl(self.pid, place)
        except ProcessLookupError:
            # A fork server's child is not ours: when it ends at once, the server may have buried it by now.
            if place is not None:
                core.arena_unreserve(place)
            self.control = _Ended()

    def _begin(self, process_obj: Any) -> None:
        super()._launch(process_obj)  # type: ignore[misc]

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """Its exit status, None while it runs. With it goes its place, and what it held in shared memory to its end."""
        ended = False
        if self.returncode is None and self.control is not None and os.getpid() == self._starter:
            # The core looks first: once the status is taken, the CPU time is gone.
            ended = self.control.join(0 if flag == os.WNOHANG else None)
            if not ended and flag == os.WNOHANG:
                return None  # it may end just now: that is for the next look
        return self._bury(ended, flag)

    def _bury(self, ended: bool, flag: int) -> int | None:
        if self.returncode is None:
            self._take(flag)
        if ended and self.returncode is None and self._status_is_lost():
            self.returncode = 255  # as the standard library says where a fork server took it into its grave
        place = self._manyhands_place
        if self.returncode is not None and place is not None:
            self._manyhands_place = None
            core.arena_unreserve(place)
        return self.returncode

    def _status_is_lost(self) -> bool:
        """Did somebody else take it (a waitpid elsewhere, SIGCHLD ignored)?"""
        if self.method == "forkserver" or strict:
            return False
        try:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return False

    def collect(self, end: float | None, cancel: Any) -> bool:
        """It has ended: wait for its status, which a debugger or the fork server may have before us."""
        step = 0.001
        while self._bury(True, os.WNOHANG) is None:
            if strict and self.method != "forkserver":
                return True  # the standard library's join() says nothing of a status that is lost
            left = step if end is None else min(step, end - time.monotonic())
            if left <= 0:
                return False
            if self.method == "forkserver":
                _wait(self.sentinel, left)
            elif cancel is not None:
                cancel.wait(left)
            else:
                time.sleep(left)
            if cancel is not None:
                cancel.raise_if_cancelled()
            step = min(step * 2, 0.05)
        return True

    def _send_signal(self, sig: int) -> None:
        """To this very process: its number may be another's by now, where somebody else took its status."""
        if self.returncode is not None:
            return
        if os.getpid() != self._starter:
            super()._send_signal(sig)  # type: ignore[misc]
            return
        self.asked.add(int(sig))
        if sig == signal.SIGTERM:
            self.control.terminate()
        elif sig == signal.SIGKILL:
            self.control.kill()
        elif self.control.state() != "finished":
            signal.pidfd_send_signal(self.control.fileno(), sig)


class ForkLaunch(Launch):
    """By fork, leaving no descriptors behind where the fork fails.

    Where a process is started and joined, a function of Python less is two or three pages less that a fork makes
    read-only and the next write copies: what is short stands in line.
    """

    _take = _popen_fork.Popen.poll

    def _begin(self, process_obj: Any) -> None:
        ours, theirs = _two_pipes()
        try:
            self.pid = _forked()
        except BaseException:
            _util.close_fds(*ours, *theirs)
            raise
        if self.pid != 0:
            _util.close_fds(*theirs)
            self.finalizer = _util.Finalize(self, _util.close_fds, ours)
            self.sentinel = ours[0]
            return
        # The child.
        code = 1
        try:
            if _WITH_ATEXIT:
                atexit._clear()
                atexit.register(_util._exit_function)
            os.close(ours[0])
            os.close(ours[1])
            if self._manyhands_place is not None:
                core.arena_settle(self._manyhands_place, 0)
            if process_obj._manyhands_lifeline is not None:
                core.die_with(process_obj._manyhands_lifeline)
            if process_obj._manyhands_logging is not None:
                process_obj._manyhands_logging._install()
            core._signals_come()  # not before: what a handler raises would go on with the parent's program
            code = process_obj._bootstrap(parent_sentinel=theirs[0])
        finally:
            if _WITH_ATEXIT:
                atexit._run_exitfuncs()
            os._exit(code)


class SpawnLaunch(Launch):
    """By a new interpreter, which begins with the signals blocked that are blocked here."""

    _take = _popen_fork.Popen.poll

    _fds: list[int]

    def _begin(self, process_obj: Any) -> None:
        _start_tracker()
        tracker = stdlib_of("multiprocessing.resource_tracker").getfd()
        self._fds.append(tracker)
        data = _for_child(self, process_obj)
        ours, theirs = _two_pipes()
        self.sentinel = ours[0]
        self.finalizer = _util.Finalize(self, _util.close_fds, ours)
        try:
            self._fds += [theirs[0], theirs[1]]
            self.pid = self._interpreter(tracker_fd=tracker, pipe_handle=theirs[0])
            with open(ours[1], "wb", closefd=False) as file:
                file.write(data)
        finally:
            _util.close_fds(*theirs)

    def _interpreter(self, **handles: int) -> int:
        from manyhands.multiprocessing._zygote import zygote

        command, executable = _spawn().get_command_line(**handles), _spawn().get_executable()
        pid = zygote.start(command, executable, self._fds)
        return _util.spawnv_passfds(executable, command, self._fds) if pid is None else pid


def _start_tracker() -> None:
    """Up to 3.13.0 its start leaves Ctrl-C unblocked in the calling thread, and in the child that is started next."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        stdlib_of("multiprocessing.resource_tracker").ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _two_pipes() -> tuple[tuple[int, int], tuple[int, int]]:
    """Two pipes: (read end of the child's end, write end of ours), and the other ends, which are the child's."""
    parent_r, child_w = os.pipe()
    try:
        child_r, parent_w = os.pipe()
    except BaseException:
        _util.close_fds(parent_r, child_w)
        raise
    return (parent_r, parent_w), (child_r, child_w)


# Held over each fork of ours, and by who is about to make an interpreter: a fork meanwhile would hang the child. It is
# released in the child, too. A signal handler may start a process while its thread is at that: it may enter again.
forking = stdlib_of("threading").RLock()


def _forked() -> int:
    # Collect what is young, else a child that makes a few more objects than its parent begins a collection, of all
    # generations it may be, which writes to every object and so copies every page of them: twice the time of its start.
    threshold = gc.get_threshold()[0]  # 0: no collection
    if threshold and gc.isenabled() and gc.get_count()[0] > threshold // 2:
        gc.collect(0)
    intent = getattr(sys.modules.get("multiprocessing.resource_tracker"), "_fork_intent", None)
    with forking:
        if intent is None:
            return os.fork()
        intent.preserve_fd = True  # the child goes on using this process's resource tracker
        try:
            return os.fork()
        finally:
            intent.preserve_fd = False


class ServerLaunch(Launch):
    """By our fork server, which also tells what the child has used."""

    _fds: list[int]
    cpu_time: float | None = None  # once it has ended

    def _begin(self, process_obj: Any) -> None:
        from manyhands.multiprocessing import _forkserver

        data = _for_child(self, process_obj)
        with _forkserver.perhaps_for_want_of_a_module():
            if not self._ask(data) and not self._ask(data):
                raise coded(EOFError("the fork server has died"), "MH-FORK-SERVER")
        self.pid = _forkserver.STARTED.unpack(self._first)[0]
        if self.pid < 0:
            self.finalizer()
            raise OSError(-self.pid, os.strerror(-self.pid))

    def _ask(self, data: Any) -> bool:
        """Ask for a child. False: the server died before it made one; another may be asked."""
        from manyhands.multiprocessing import _forkserver

        self.sentinel, write = _forkserver.connect_to_new_process(self._fds)
        # A copy of where it reads from tells the child when this process ends.
        kept = os.dup(write)
        self.finalizer = _util.Finalize(self, _util.close_fds, (self.sentinel, kept))
        with contextlib.suppress(BrokenPipeError), open(write, "wb") as file:  # why not comes below
            file.write(data)
        try:
            self._first = self._told(_forkserver.STARTED.size)
            return True
        except EOFError:
            nobody_reads = _is_read_by_nobody(kept)
            self.finalizer()
            if not nobody_reads:
                raise  # it may have made one
            return False

    def _told(self, size: int) -> bytes:
        """So many bytes from the server. EOFError where it is gone."""
        told = b""
        while len(told) < size:
            more = os.read(self.sentinel, size - len(told))
            if not more:
                raise coded(EOFError("the fork server has died"), "MH-FORK-SERVER")
            told += more
        return told

    def _take(self, flag: int) -> None:
        if not _wait(self.sentinel, 0 if flag == os.WNOHANG else None):
            return
        from manyhands.multiprocessing import _forkserver

        try:
            self.returncode, self.cpu_time = _forkserver.ENDED.unpack(self._told(_forkserver.ENDED.size))
        except (OSError, EOFError):
            self.returncode = 255  # the server died before the child


def _for_child(popen: Any, process_obj: Any) -> Any:
    """What a child reads that does not share our memory."""
    data = io.BytesIO()
    _context.set_spawning_popen(popen)
    try:
        _reduction.dump(_spawn().get_preparation_data(process_obj._name), data)
        _reduction.dump(process_obj, data)
    finally:
        _context.set_spawning_popen(None)
    return data.getbuffer()


def _is_read_by_nobody(fd: int) -> bool:
    """Is the other end of that pipe closed, or within a second? The dead server's copies go one after the other."""
    poll = select.poll()
    poll.register(fd, 0)
    return any(event & select.POLLERR for _, event in poll.poll(1000))


def _wait(fd: int, timeout: float | None) -> bool:
    """Until it is readable."""
    return bool(stdlib_of("multiprocessing.connection").wait([fd], timeout))


def _spawn() -> Any:
    return stdlib_of("multiprocessing.spawn")


_made: dict[str, Any] = {}


def popen(method: str) -> Any:
    """The Popen class of a start method; the standard library's module is imported on first use, as it does itself."""
    if method not in _made:
        module = {"fork": "popen_fork", "spawn": "popen_spawn_posix", "forkserver": "popen_forkserver"}[
            method
        ]
        std = stdlib_of(f"multiprocessing.{module}").Popen
        launch = {"fork": ForkLaunch, "spawn": SpawnLaunch, "forkserver": ServerLaunch}[method]
        _made[method] = type(
            "Popen", (launch, std), {"__module__": __name__, "__doc__": "One started child."}
        )
    return _made[method]
