"""Signals put off while something starts: none is lost, what is started is known, and all is as it was afterwards."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import Executor
from manyhands._impl import core
from manyhands.futures import _thread

signals_put_off = core.signals_put_off

LONG = 60


def wait_for(true):
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.005)


@pytest.fixture
def came():
    """What a handler of SIGUSR1 was called for."""
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    yield seen
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_comes_when_the_block_ends(came):
    with signals_put_off():
        signal.raise_signal(signal.SIGUSR1)
        with signals_put_off():
            pass
        assert came == []
    assert came == [signal.SIGUSR1]
    signal.raise_signal(signal.SIGUSR1)
    assert len(came) == 2


def test_also_one_that_another_thread_takes(came):
    """Where the first thread blocks it, another gets it; Python's handler runs in the first all the same."""
    with signals_put_off():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        taker = threading.Thread(
            target=lambda: (
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1}),
                os.kill(os.getpid(), signal.SIGUSR1),
            )
        )
        taker.start()
        taker.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert came == []
    assert came == [signal.SIGUSR1]


def test_what_a_handler_raises_leaves_the_block_as_it_was(came):
    with pytest.raises(KeyboardInterrupt), signals_put_off():
        os.kill(os.getpid(), signal.SIGINT)
    with signals_put_off():  # it would be for ever, had the block not been left
        signal.raise_signal(signal.SIGUSR1)
        assert came == []
    assert came == [signal.SIGUSR1]
    signals_put_off().__exit__(None, None, None)  # once too often: nothing


def test_actions_are_given_back_as_they_were(came):
    signal.siginterrupt(signal.SIGUSR1, False)
    libc = ctypes.CDLL(None)

    def action():
        found = ctypes.create_string_buffer(256)
        assert libc.sigaction(int(signal.SIGUSR1), None, found) == 0
        return found.raw[:16] + found.raw[136:140]  # the handler, the mask, and after its room the flags

    before = action()
    with signals_put_off():
        assert action() != before
    assert action() == before


def test_in_another_thread_nothing_is_done(came):
    told = []

    def elsewhere():
        with signals_put_off():
            told.append(True)

    with signals_put_off():
        worker = threading.Thread(target=elsewhere)
        worker.start()
        worker.join()
        signal.raise_signal(signal.SIGUSR1)
        assert told == [True] and came == []
    assert came == [signal.SIGUSR1]


FORKS = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def ended_well(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@FORKS
def test_a_child_forked_within_is_not_in_its_parent_s_program_when_one_comes(came):
    with signals_put_off():
        signal.raise_signal(signal.SIGUSR1)
        pid = os.fork()
        if pid == 0:
            signal.raise_signal(signal.SIGUSR1)
            before = list(came)
            core._signals_come()
            os._exit(0 if before == [] and came == [signal.SIGUSR1] else 1)  # its own, and not its parent's
        assert ended_well(pid)
    assert came == [signal.SIGUSR1]


@FORKS
def test_a_child_that_another_thread_forks_meanwhile_takes_them_at_once(came):
    pids = []

    def fork():
        pid = os.fork()
        if pid == 0:
            signal.raise_signal(signal.SIGUSR1)
            os._exit(0 if came == [signal.SIGUSR1] else 1)
        pids.append(pid)

    with signals_put_off():
        other = threading.Thread(target=fork)
        other.start()
        other.join()
    assert ended_well(*pids) and came == []


def test_a_storm_loses_none(came):
    """Sent one at a time, each once the one before it was handled, while blocks begin and end."""
    rounds = 60
    done = threading.Event()

    def storm():
        for number in range(rounds):
            os.kill(os.getpid(), signal.SIGUSR1)
            while len(came) <= number and not done.is_set():
                pass

    sender = threading.Thread(target=storm)
    sender.start()
    try:
        while sender.is_alive():
            with signals_put_off():
                pass
    finally:
        done.set()
        sender.join()
    assert len(came) == rounds


# ---- what is started under it

INTERRUPTED_FORK = """
import os, signal, sys, time
from manyhands import multiprocessing as mp

once = [1]

def hook():
    while once:
        once.pop()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.02)  # time for another thread to take it; what is asserted does not rest on it

def child(gate):
    gate.get()

if __name__ == "__main__":
    mp.set_start_method("fork")
    os.register_at_fork(after_in_parent=hook)
    gate = mp.SimpleQueue()
    process = mp.Process(target=child, args=(gate,))
    try:
        process.start()
    except KeyboardInterrupt:
        assert mp.active_children() == [process] and process.is_alive()
        gate.put(1)
        process.join()
        assert process.exitcode == 0, process.exitcode
        print("told, and known")
"""


def test_ctrl_c_in_a_fork_is_raised_and_the_child_is_known():
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_FORK], capture_output=True, text=True, timeout=LONG
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("told, and known\n", "", 0)


NOBODY_READS = """
import os, sys
from manyhands import multiprocessing as mp

if __name__ == "__main__":
    mp.set_start_method("fork")
    os.set_blocking(1, False)
    try:
        while True:
            os.write(1, bytes(4096))
    except BlockingIOError:
        os.set_blocking(1, True)
    sys.stdout = open(1, "w", closefd=False)  # it may be unbuffered
    sys.stdout.write("stays in the buffer")
    os.write(2, b"full")
    try:
        mp.Process(target=int).start()
    finally:
        os._exit(7)
"""


def test_ctrl_c_while_a_start_waits_for_who_reads_the_output():
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", NOBODY_READS], stdout=pipe, stderr=pipe) as program:
        try:
            assert program.stderr.read(4) == b"full"
            status = Path(f"/proc/{program.pid}/status")
            wait_for(lambda: status.read_text().partition("State:\t")[2][0] == "S")
            program.send_signal(signal.SIGINT)
            assert program.wait(LONG) == 7
        finally:
            program.kill()


INTERRUPTED_CHILD = (
    INTERRUPTED_FORK.partition("    once =")[0].partition("    gate =")[0].replace("parent=", "child=")
    + """
    try:
        process = mp.Process(target=int)
        process.start()
        process.join()
        print(process.exitcode)
    finally:
        print("once", flush=True)
"""
)


def test_ctrl_c_in_a_child_that_begins_does_not_go_on_with_its_parent():
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_CHILD], capture_output=True, text=True, timeout=LONG
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("1\nonce\n", "", 0)


INTERRUPTED_POOL = (
    INTERRUPTED_FORK.partition("    gate =")[0]
    + """
    import threading
    from manyhands import Executor
    done = threading.Event()
    threading.Thread(target=done.wait).start()  # who has the signal while the first thread blocks it
    executor = Executor(kind="processes", max_workers=2)
    try:
        executor.submit(abs, -1)
    except KeyboardInterrupt:
        assert mp.active_children() == []
        assert executor.submit(abs, -2).result() == 2
        print("told, and goes on")
    executor.shutdown()
    done.set()
"""
)


def test_ctrl_c_while_a_pool_forks_its_workers_is_raised():
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INTERRUPTED_POOL], capture_output=True, text=True, timeout=LONG
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("told, and goes on\n", "", 0)


def test_ctrl_c_while_a_worker_thread_starts_is_raised_and_the_worker_works(monkeypatch):
    class Interrupted(_thread.Thread):
        def start(self):
            super().start()
            if self.name.endswith("_1"):
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(_thread, "Thread", Interrupted)
    both = threading.Barrier(2)
    with Executor(kind="threads", max_workers=2) as executor:
        first = executor.submit(both.wait, LONG)
        with pytest.raises(KeyboardInterrupt):
            executor.submit(both.wait, LONG)
        assert first.result(LONG) in (0, 1)  # two threads have met
        with contextlib.suppress(AttributeError):
            assert len(executor._engine.workers) == 2
