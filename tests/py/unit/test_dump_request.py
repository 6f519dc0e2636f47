"""`python -m manyhands dump PID`: another process is asked, whatever its main thread does, and goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import manyhands
import pytest
from manyhands._impl import dump_request

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

BEGIN = """
import threading, time, sys
lock = threading.Lock()
lock.acquire()
waiter = threading.Thread(target=lock.acquire, name="the waiter", daemon=True)
waiter.start()
def main_is_here():
    print("ready", flush=True)
    {main}
main_is_here()
print("went on", flush=True)
"""


@contextmanager
def program(main: str, *run: str) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, *(run or ("-m", "manyhands", "run")), "-c", BEGIN.format(main=main)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def dump(pid: int, *more: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "manyhands", "dump", str(pid), *more]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


MAINS = {
    "computes": "while not sys.stdin.closed: [i * i for i in range(1000)]",
    "sleeps": "time.sleep(600)",
    "waits for a lock": "lock.acquire()",
    "waits for a queue": "import queue; queue.Queue().get()",
    "joins": "waiter.join()",
    "reads": "sys.stdin.readline()",
}


@pytest.mark.parametrize("main", MAINS.values(), ids=MAINS)
def test_it_tells(main: str) -> None:
    with program(main) as process:
        done = dump(process.pid)
        assert (done.returncode, done.stderr) == (0, "")
        assert "thread 'MainThread'" in done.stdout and "thread 'the waiter'" in done.stdout
        assert "waits for <locked manyhands.threading.Lock" in done.stdout
        assert "main_is_here" in done.stdout
        assert "dump_request" not in done.stdout, "the stack ends where the program was"


def test_it_goes_on_afterwards() -> None:
    with program("sys.stdin.readline()") as process:
        for _ in range(3):
            assert dump(process.pid).returncode == 0
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "went on\n"
        assert process.wait(30) == 0


def test_who_imports_our_threading_listens() -> None:
    with program("import manyhands.threading; print('now', flush=True); time.sleep(600)", "-q") as process:
        assert process.stdout is not None and process.stdout.readline() == "now\n"
        done = dump(process.pid)
        assert done.returncode == 0 and "main_is_here" in done.stdout


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_who_does_not_listen() -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        said = refused(dump(process.pid))
        process.kill()
    assert f"process {process.pid} does not listen: it is no Python program, or has not" in said
    assert process.returncode == -signal.SIGKILL, "it was not hurt before"


@pytest.mark.skipif(hasattr(sys, "remote_exec"), reason="from 3.14 on it can be made to answer")
def test_a_program_without_us() -> None:
    with program("time.sleep(600)", "-q") as process:
        assert "has not imported manyhands.threading" in refused(dump(process.pid))
        assert process.poll() is None


@pytest.mark.skipif(not hasattr(sys, "remote_exec"), reason="sys.remote_exec came with 3.14")
def test_a_program_without_us_is_made_to_answer() -> None:
    with program(MAINS["computes"], "-q") as process:
        done = dump(process.pid)
        assert done.returncode == 0 and "main_is_here" in done.stdout, done.stderr
        assert "dump_request" not in done.stdout
        assert process.poll() is None


def test_no_such_process() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert f"there is no process {process.pid}" in refused(dump(process.pid))
    assert "there is no process 0" in refused(dump(0))
    assert dump("x").returncode == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_bad_time_outs(seconds: str) -> None:
    done = dump(os.getpid(), "--timeout", seconds)
    assert done.returncode == 2 and "--timeout" in done.stderr and "Traceback" not in done.stderr


def test_who_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    monkeypatch.setattr(dump_request, "_open", lambda pid: os.open("/dev/null", os.O_RDONLY))
    with pytest.raises(dump_request.Refused, match="has ended"):
        dump_request.ask(process.pid, 1)


def test_a_stopped_process() -> None:
    with program("time.sleep(600)") as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        said = refused(dump(process.pid, "--timeout", "0.3"))
        process.send_signal(signal.SIGCONT)
        assert "did not answer within 0.3 s: it is stopped" in said
        assert dump(process.pid).returncode == 0, (
            "and it answers again, after a request that nobody waits for any more"
        )


def test_a_signal_that_another_thread_took() -> None:
    """It interrupts no sleep of the main thread, which takes the next one."""
    takes = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN + 9]);"
    code = (
        "import threading, time, signal, os\n"
        f"{takes}\n"  # the other thread is started with it blocked, too, and unblocks it for itself
        "def other():\n"
        "    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGRTMIN + 9])\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(600)\n"
        "threading.Thread(target=other, daemon=True).start()\n"
        "def main_is_here():\n"
        "    time.sleep(1)\n"
        "    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGRTMIN + 9])\n"
        "    time.sleep(600)\n"
        "main_is_here()\n"
    )
    words = [sys.executable, "-m", "manyhands", "run", "-c", code]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        done = dump(process.pid, "--timeout", "30")
        process.kill()
    assert done.returncode == 0 and "main_is_here" in done.stdout, done.stderr


def test_one_at_a_time() -> None:
    with program("time.sleep(600)") as process, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(dump_request._address(process.pid))
        assert "another dump of process" in refused(dump(process.pid))


def test_a_stranger_is_not_read() -> None:
    with program("time.sleep(600)") as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        words = [sys.executable, "-m", "manyhands", "dump", str(process.pid), "--timeout", "30"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as asking:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stranger:
                end = time.monotonic() + 30
                while stranger.connect_ex(dump_request._address(process.pid)) != 0:
                    assert time.monotonic() < end
                with contextlib.suppress(
                    BrokenPipeError, ConnectionResetError
                ):  # it may have been shut out already
                    stranger.sendall(b"a lie")
            process.send_signal(signal.SIGCONT)
            assert asking.stdout is not None
            said = asking.stdout.read()
    assert "a lie" not in said and "main_is_here" in said


def test_who_has_a_handler_of_its_own_keeps_it() -> None:
    code = """
import signal, sys
mine = lambda *_: None
signal.signal(signal.SIGRTMIN + 9, mine)
import manyhands.threading
assert signal.getsignal(signal.SIGRTMIN + 9) is mine
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_import_in_another_thread_does_no_harm() -> None:
    code = """
import _thread, time
done = []
def imports():
    import manyhands.threading
    done.append(1)
_thread.start_new_thread(imports, ())
while not done: time.sleep(0.01)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
