"""The fork server: what is imported once, what is as fresh as ever, and its trouble."""

import array
import errno
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import manyhands
import mp_helpers as helpers
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import multiprocessing as mp
from manyhands.multiprocessing import _forkserver


@pytest.fixture
def context():
    return mp.get_context("forkserver")


def run(tmp_path, text, *arguments):
    """The program, and what it printed."""
    program = tmp_path / "program.py"
    program.write_text(text)
    ran = subprocess.run(
        [sys.executable, program, *arguments], capture_output=True, text=True, timeout=90, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


IMPORTS = """
import os, sys, threading
from manyhands import multiprocessing as mp
seen = os.path.join(os.path.dirname(os.path.abspath(__file__)), "imports")
with open(seen, "a") as file:
    print(os.getpid(), file=file)
{more}

def look(queue):
    import gc, signal
    handler = signal.getsignal(signal.SIGINT)
    tasks = len(os.listdir("/proc/self/task"))
    queue.put((os.getppid(), tasks, gc.isenabled(), handler is signal.default_int_handler, sys.argv[1:], os.getcwd()))

if __name__ == "__main__":
    context = mp.get_context("forkserver")
    {preload}
    queue = context.Queue()
    os.mkdir("there")
    os.chdir("there")
    for _ in range(3):
        process = context.Process(target=look, args=(queue,))
        process.start()
        ppid, *facts = queue.get(timeout=60)
        process.join()
        assert process.exitcode == 0
        print(*facts)
    print(len(open(seen).readlines()))
"""


def fresh(path):
    return f"1 True True ['a', 'b'] {path / 'there'}"


def test_main_is_imported_once_for_all_children(tmp_path):
    lines = run(tmp_path, IMPORTS.format(more="", preload=""), "a", "b")
    assert lines == [fresh(tmp_path)] * 3 + ["2"]  # here and in the server


def test_nothing_is_imported_beforehand_where_that_is_asked_for(tmp_path):
    lines = run(tmp_path, IMPORTS.format(more="", preload="context.set_forkserver_preload([])"), "a", "b")
    assert lines == [fresh(tmp_path)] * 3 + ["4"]


def test_a_main_that_starts_threads_is_imported_by_each_child(tmp_path):
    more = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
    lines = run(tmp_path, IMPORTS.format(more=more, preload=""), "a", "b")
    assert lines == [fresh(tmp_path).replace("1", "2", 1)] * 3 + ["5"]  # the server tried once


def test_a_main_that_cannot_be_imported_is_told_by_the_child(tmp_path):
    text = """
import os
from manyhands import multiprocessing as mp
if __name__ != "__main__":
    raise ValueError("not as a module")
def nothing():
    pass
process = mp.get_context("forkserver").Process(target=nothing)
process.start()
process.join()
print(process.exitcode)
"""
    assert run(tmp_path, text) == ["1"]


BLOCKED = """
import signal
from manyhands import multiprocessing as mp

def look(queue):
    queue.put(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))

def ask(context):
    queue = context.SimpleQueue()
    process = context.Process(target=look, args=(queue,))
    process.start()
    print(queue.get())
    process.join()

if __name__ == "__main__":
    context = mp.get_context("{method}")
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGINT}})
    ask(context)  # the first one also starts the tracker, or the server
    ask(context)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {{signal.SIGINT}})
    ask(context)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_ctrl_c_is_blocked_in_a_child_where_it_is_in_who_starts_it(method, tmp_path):
    assert run(tmp_path, BLOCKED.format(method=method)) == ["True", "True", "False"]


def test_modules_named_are_imported_by_the_server(tmp_path):
    (tmp_path / "told_once.py").write_text("import os\npid = os.getpid()\n")
    text = """
import os
from manyhands import multiprocessing as mp
def look(queue):
    import told_once
    queue.put(told_once.pid == os.getppid())
if __name__ == "__main__":
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["told_once", "there_is_no_such_module"])
    queue = context.Queue()
    process = context.Process(target=look, args=(queue,))
    process.start()
    print(queue.get(timeout=60))
    process.join()
"""
    assert run(tmp_path, text) == ["True"]


def test_the_names_of_modules_are_strings(context):
    with pytest.raises(TypeError, match="list of strings"):
        context.set_forkserver_preload([1])


def test_children_of_children_have_the_same_server(context):
    queue = context.Queue()
    process = context.Process(target=helpers.tell_parents, args=("forkserver", queue, 2))
    process.start()
    assert len({queue.get(timeout=60) for _ in range(3)}) == 1
    process.join(30)


def test_a_forked_process_has_the_same_server(context):
    queue = context.Queue()
    context.Process(target=helpers.tell_parents, args=("forkserver", queue, 0)).start()
    forked = mp.get_context("fork").Process(target=helpers.tell_parents, args=("forkserver", queue, 1))
    forked.start()
    told = [queue.get(timeout=60) for _ in range(3)]
    forked.join(30)
    assert sorted(map(told.count, set(told))) == [1, 2] and os.getpid() in told


def test_the_server_tells_what_the_child_has_used(context):
    process = context.Process(target=helpers.burn, args=(0.05,))
    process.start()
    process.join(60)
    assert 0.04 < process.cpu_time < 30 and process.exitcode == 0


def test_a_dead_server_is_replaced(context):
    for how in (signal.SIGKILL, signal.SIGTERM):
        _forkserver.ensure_running()
        os.kill(_forkserver.server._forkserver_pid, how)
        process = context.Process(target=helpers.square, args=(1,))
        process.start()
        process.join(60)
        assert process.exitcode == 0


def test_a_forked_process_replaces_a_dead_server(context):
    _forkserver.ensure_running()
    pid = _forkserver.server._forkserver_pid
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    queue = context.Queue()
    forked = mp.get_context("fork").Process(target=helpers.tell_parents, args=("forkserver", queue, 1))
    forked.start()
    assert queue.get(timeout=60) and queue.get(timeout=60)
    forked.join(30)
    assert forked.exitcode == 0


def test_the_server_ends_when_the_last_is_killed_who_could_ask(context):
    queue = context.Queue()
    process = mp.get_context("spawn").Process(target=helpers.start_child, args=("forkserver", queue, {}))
    process.start()
    child = queue.get(timeout=60)
    server = int(Path(f"/proc/{child}/stat").read_text().rsplit(") ", 1)[1].split()[1])
    watch = os.pidfd_open(server)
    process.kill()
    process.join(30)
    os.kill(child, signal.SIGKILL)
    try:
        assert select.select([watch], [], [], 30)[0]
    finally:
        os.close(watch)


def test_a_fork_that_fails_in_the_server_is_told(monkeypatch):
    told, tell = os.pipe()
    other = os.dup(0)

    def refuse():
        raise OSError(errno.EAGAIN, "no more")

    monkeypatch.setattr(os, "fork", refuse)
    assert _forkserver._fork([tell, other], _forkserver._Children()) == -1
    assert _forkserver.STARTED.unpack(os.read(told, 100)) == (-errno.EAGAIN,)
    assert os.read(told, 1) == b"", "the server has kept its end"
    os.close(told)


def test_what_the_server_says_of_a_failed_fork_is_raised(context, monkeypatch):
    def connect(fds):
        told, tell = os.pipe()
        os.write(tell, _forkserver.STARTED.pack(-errno.EAGAIN))
        os.close(tell)
        return told, os.open(os.devnull, os.O_WRONLY)

    monkeypatch.setattr(_forkserver, "connect_to_new_process", connect)
    process = context.Process(target=helpers.square, args=(1,))
    with pytest.raises(BlockingIOError, match="RLIMIT_NPROC"):
        process.start()
    assert process.state == "new"


def test_a_request_whose_descriptors_did_not_all_arrive_is_refused():
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    told, tell = os.pipe()
    with near, far:
        fds = array.array("i", [tell, 0, 0])
        near.sendmsg([b"F"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        os.close(tell)
        assert _forkserver._receive(far) == ([], False)
        assert _forkserver.STARTED.unpack(os.read(told, 100)) == (-errno.EMFILE,)
        assert os.read(told, 1) == b""
        near.close()
        assert _forkserver._receive(far) == (None, False)
    os.close(told)


def test_too_many_descriptors_are_refused():
    with pytest.raises(ValueError, match="too many"):
        _forkserver.connect_to_new_process([0] * 250)


METHOD = """
import sys
from manyhands import multiprocessing as mp
mp.get_context()  # a default is chosen by whoever imports this
def tell(queue):
    queue.put((mp.get_start_method(), mp.get_context().get_start_method()))
if __name__ == "__main__":
    mp.set_start_method(sys.argv[1], force=True)
    queue = mp.Queue()
    process = mp.Process(target=tell, args=(queue,))
    process.start()
    print(*queue.get(timeout=60))
    process.join()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("hook", [False, True])
def test_a_child_starts_others_as_it_was_started(tmp_path, method, hook):
    program = tmp_path / "program.py"
    program.write_text(
        METHOD.replace("from manyhands import multiprocessing", "import multiprocessing") if hook else METHOD
    )
    command = [sys.executable, *(["-m", "manyhands", "run"] if hook else []), program, method]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert ran.stdout.split() == [method, method], ran.stderr


ASKS = """
import sys
from unittest import mock
from manyhands import multiprocessing as mp
from manyhands.multiprocessing import _forkserver
from multiprocessing.connection import Client

if __name__ == "__main__":
    context, server = mp.get_context("forkserver"), _forkserver.server
    server.ensure_running()
    Client(server._forkserver_address, authkey=server._forkserver_authkey).close()
    with mock.patch.object(server, "_forkserver_authkey", b"wrong" * 6):
        try:
            context.Process(target=sys.exit).start()
        except mp.AuthenticationError as error:
            print(type(error).__name__)
    process = context.Process(target=sys.exit, args=(3,))
    process.start()
    process.join()
    print(process.exitcode)
    server._stop()
"""


@pytest.mark.skipif(not _forkserver.KEY_BYTES, reason="the standard library's server has no key before 3.14")
def test_strict_asks_for_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("MANYHANDS_COMPAT", "strict")
    assert run(tmp_path, ASKS) == ["AuthenticationError", "3"]


def test_nobody_else_can_ask_the_server(context):
    """It has no address: it hears those alone who inherited its socket."""
    with context.Pool(1):
        server = _forkserver.server
        assert getattr(server, "_forkserver_address", None) is None
        with socket.socket(fileno=os.dup(server._forkserver_alive_fd)) as ours:
            assert ours.getsockname() in ("", b"")


def test_a_server_that_wants_for_a_module_says_where_to_look(context, monkeypatch):
    """``set_forkserver_preload(..., on_error="fail")`` is 3.15's; the server reads its attributes in all versions."""
    _forkserver.server._stop()
    monkeypatch.setattr(_forkserver._std._forkserver, "_preload_modules", ["no_such_module"])
    monkeypatch.setattr(_forkserver._std._forkserver, "_preload_on_error", "fail", raising=False)
    with pytest.raises((EOFError, ConnectionError)) as caught:
        context.Process(target=abs, args=(3,)).start()
    assert "Check stderr" in caught.value.__notes__[0]
    _forkserver.server._stop()
