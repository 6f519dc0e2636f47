"""Process: its verbs, its end and its parent's, and a system that refuses."""

import contextlib
import ctypes
import errno
import gc
import os
import resource
import select
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import manyhands
import mp_helpers as helpers
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import Cancelled, CancelToken
from manyhands import multiprocessing as mp
from manyhands.multiprocessing import _popen

METHODS = ("fork", "spawn", "forkserver")


@pytest.fixture(params=METHODS)
def context(request):
    return mp.get_context(request.param)


@pytest.fixture
def fork():
    return mp.get_context("fork")


@contextlib.contextmanager
def sleeper(context, **options):
    process = context.Process(target=time.sleep, args=(120,), **options)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join(30)


def ended(pid, seconds=20):
    """Has the process of that id ended, or does it within so many seconds?"""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], seconds)[0])
    finally:
        os.close(fd)


# ---- how it ended


@pytest.mark.parametrize(
    ("target", "args", "code", "outcome"),
    [
        (helpers.square, (2,), 0, "returned"),
        (helpers.leave, (0,), 0, "returned"),
        (helpers.raise_on_purpose, (), 1, "raised"),
        (helpers.leave, (3,), 3, "raised"),
        (helpers.die, (), -signal.SIGKILL, "killed"),
    ],
)
def test_the_outcome_tells_how_it_ended(fork, target, args, code, outcome):
    process = fork.Process(target=target, args=args)
    assert process.outcome is None
    process.start()
    process.join(30)
    assert (process.exitcode, process.outcome) == (code, outcome)
    assert process.cpu_time >= 0 and process.memory == 0


@pytest.mark.parametrize("verb", ["terminate", "kill"])
def test_who_is_ended_by_us_was_terminated(context, verb):
    with sleeper(context) as process:
        assert process.outcome is None and process.state == "running"
        getattr(process, verb)()
        process.join(30)
        assert process.outcome == "terminated" and process.state == "finished"


def test_the_cpu_time_outlives_the_process(fork):
    def work():
        while time.process_time() < 0.05:
            pass

    process = fork.Process(target=work)
    process.start()
    while process.is_alive():  # takes the status, without a join
        os.sched_yield()
    assert process.cpu_time >= 0.04


def test_a_start_within_a_start(fork, monkeypatch):
    """As by a signal handler, in the middle of the fork."""
    real = os.fork
    inner, outer = (fork.Process(target=helpers.square, args=(1,)) for _ in range(2))

    def interrupted():
        monkeypatch.undo()
        inner.start()
        return real()

    monkeypatch.setattr(os, "fork", interrupted)
    outer.start()
    for process in (inner, outer):
        process.join()
        assert process.exitcode == 0


def test_a_finished_process_is_no_zombie_once_it_was_looked_at(fork):
    process = fork.Process(target=helpers.square, args=(1,))
    process.start()
    assert ended(process.pid) and process.state == "finished"
    assert not os.path.exists(f"/proc/{process.pid}")
    process.join()
    assert process.exitcode == 0


def count_collections():
    return sum(generation["collections"] for generation in gc.get_stats())


def test_a_forked_childs_start_collects_nothing(fork):
    """A collection of all generations writes to every object: each page of them is copied, in each child. As many
    objects more as begin one are left to the parent, which needs some for the start, and the child."""
    for left in range(4, 120, 4):
        told, tell = os.pipe()
        process = fork.Process(target=lambda: os.write(tell, count_collections().to_bytes(8, "little")))  # noqa: B023
        gc.disable()
        try:
            young = [set() for _ in range(gc.get_threshold()[0] - gc.get_count()[0] - left)]
            gc.enable()
            process.start()
            collections = count_collections()
            process.join(30)
        finally:
            gc.enable()
        assert int.from_bytes(os.read(told, 8), "little") == collections and process.exitcode == 0
        os.close(told), os.close(tell)
        del young


def test_no_fork_collects_where_the_program_has_switched_it_off(fork):
    threshold = gc.get_threshold()
    for off, on in (
        (gc.disable, gc.enable),
        (lambda: gc.set_threshold(0), lambda: gc.set_threshold(*threshold)),
    ):
        off()
        try:
            young = [set() for _ in range(2 * threshold[0])]
            before = count_collections()
            process = fork.Process(target=helpers.square, args=(2,))
            process.start()
            assert count_collections() == before
            process.join(30)
        finally:
            on()
        del young


# ---- pausing where it makes no sense, or twice


def test_a_process_that_is_not_started_cannot_be_paused_or_ended(context):
    process = context.Process(target=helpers.square)
    for verb in (process.pause, process.resume, process.terminate, process.kill, lambda: process.cpu_time):
        with pytest.raises(ValueError, match="has not been started"):
            verb()
    assert process.state == "new"


def test_a_finished_process_cannot_be_paused_and_the_rest_is_harmless(context):
    process = context.Process(target=helpers.square, args=(1,))
    process.start()
    process.join(30)
    with pytest.raises(ValueError, match="has ended"):
        process.pause()
    process.resume()
    process.terminate()
    process.kill()
    assert process.exitcode == 0 and process.outcome == "returned"
    process.close()
    for verb in (process.pause, process.resume, process.terminate, process.join, lambda: process.state):
        with pytest.raises(ValueError, match="closed"):
            verb()


def test_one_resume_ends_two_pauses(context):
    with sleeper(context) as process:
        assert process.pause(10) and process.pause(10) and process.state == "paused"
        process.resume()
        assert process.state == "running"
        process.resume()
        assert process.state == "running"


def test_a_process_cannot_pause_itself(context):
    results = context.Queue()
    process = context.Process(target=helpers.report_self, args=(results,))
    process.start()
    assert (
        results.get(timeout=30)
        == ["running", None, True] + ["a process cannot do this to itself; its parent can"] * 4
    )
    process.join(30)


def test_another_than_the_parent_cannot_pause(fork):
    with sleeper(fork) as process:

        def sibling():
            try:
                process.pause()
            except ChildProcessError:
                raise SystemExit(7) from None

        other = fork.Process(target=sibling)
        other.start()
        other.join(30)
        assert other.exitcode == 7 and process.state == "running"


def test_a_paused_process_can_be_killed_and_its_join_waits(fork):
    with sleeper(fork) as process:
        assert process.pause(10)
        process.join(0.05)
        assert process.exitcode is None and process.state == "paused"
        process.kill()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL


def test_a_paused_process_holds_up_nobody(fork):
    queue = fork.Queue()
    queue.put_many(range(3))
    workers = [fork.Process(target=helpers.pass_around, args=(queue,), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(40):
            assert workers[0].pause(20)
            queue.put(queue.get(timeout=20), timeout=20)  # it would wait for the one who stands inside
            workers[0].resume()
    finally:
        for worker in workers:
            worker.kill()
            worker.join(30)


# ---- join


def test_join_comes_back_on_time(fork):
    late = []
    with sleeper(fork) as process:
        for _ in range(15):
            began = time.perf_counter()
            process.join(0.02)
            late.append(time.perf_counter() - began - 0.02)
    assert min(late) >= 0, "it came back before its time"
    assert min(late) < 0.001 and statistics.median(late) < 0.05, "it came back late"


def test_join_comes_back_at_the_end_of_the_process(context):
    read, write = os.pipe()
    with sleeper(context) as process:
        timer = threading.Timer(0.1, process.kill)
        timer.start()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
        timer.join()
    os.close(read)
    os.close(write)


def test_ctrl_c_leaves_a_join(context):
    with sleeper(context) as process:
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            process.join(60)
        timer.join()
        assert process.is_alive()


def test_a_join_can_be_cancelled(context):
    token = CancelToken()
    with sleeper(context) as process:
        timer = threading.Timer(0.05, token.cancel)
        timer.start()
        with pytest.raises(Cancelled):
            process.join(60, cancel=token)
        timer.join()
        assert process.is_alive()


# ---- parents and children


@pytest.fixture
def pids(fork):
    queue = fork.Queue()
    told = []

    def next_pid():
        told.append(queue.get(timeout=40))
        assert isinstance(told[-1], int), told[-1]
        return told[-1]

    yield queue, next_pid
    for pid in told:
        with contextlib.suppress(ProcessLookupError, TypeError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_dies_with_its_parent(fork, pids, method, how):
    queue, next_pid = pids
    parent = fork.Process(target=helpers.start_child, args=(method, queue, {"die_with_parent": True}))
    parent.start()
    pid = next_pid()
    os.kill(parent.pid, how)
    parent.join(30)
    assert ended(pid), "the child of a dead parent lives on"


@pytest.mark.parametrize("method", METHODS)
def test_a_child_lives_on_where_nothing_was_asked_for(fork, pids, method):
    queue, next_pid = pids
    parent = fork.Process(target=helpers.start_child, args=(method, queue, {}))
    parent.start()
    pid = next_pid()
    parent.kill()
    parent.join(30)
    assert not ended(pid, 0.3)


def test_a_child_does_not_die_with_the_thread_that_started_it(context):
    process = context.Process(target=time.sleep, args=(120,), die_with_parent=True)
    thread = threading.Thread(target=process.start)
    thread.start()
    thread.join()
    try:
        process.join(0.3)
        assert process.is_alive()
    finally:
        process.kill()
        process.join(30)


def test_the_death_of_one_child_is_nothing_to_its_siblings(context):
    with sleeper(context, die_with_parent=True) as first, sleeper(context, die_with_parent=True) as second:
        first.kill()
        first.join(30)
        second.join(0.2)
        assert second.is_alive()


def test_a_daemonic_process_has_no_children_unless_it_was_asked_for(fork, pids):
    queue, _ = pids
    parent = fork.Process(target=helpers.start_child, args=("fork", queue, {}), daemon=True)
    parent.start()
    assert "daemonic processes are not allowed" in queue.get(timeout=30)
    parent.join(30)


@pytest.mark.parametrize("method", METHODS)
def test_a_daemonic_process_may_have_children_which_die_with_it(fork, pids, method):
    queue, next_pid = pids
    parent = fork.Process(
        target=helpers.start_child, args=(method, queue, {}), daemon=True, allow_children=True
    )
    parent.start()
    pid = next_pid()
    assert not ended(pid, 0)
    parent.terminate()  # as at the end of the program
    parent.join(30)
    assert ended(pid)


def test_children_of_a_daemonic_process_may_outlive_it(fork, pids):
    queue, next_pid = pids
    options = {"die_with_parent": False, "daemon": False}
    parent = fork.Process(
        target=helpers.start_child, args=("fork", queue, options), daemon=True, allow_children=True
    )
    parent.start()
    pid = next_pid()
    parent.kill()
    parent.join(30)
    assert not ended(pid, 0.3)


# ---- a system that refuses


def free_descriptors():
    taken = []
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.dup(0))
    for fd in taken:
        os.close(fd)
    return len(taken)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
def test_a_fork_that_fails_says_which_limit_it_was_and_leaves_nothing(fork, monkeypatch, number):
    with sleeper(fork, die_with_parent=True):
        pass  # what is made once is there
    before = descriptors()

    def refuse():
        raise OSError(number, os.strerror(number))

    process = fork.Process(target=helpers.square, args=(1,), die_with_parent=True)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", refuse)
        with pytest.raises(OSError, match="no process could be started") as caught:
            process.start()
    assert caught.value.errno == number and descriptors() == before
    assert process.state == "new" and not mp.active_children()
    process.start()
    process.join(30)
    assert process.exitcode == 0


def test_without_descriptors_a_start_fails_cleanly(context):
    with sleeper(context, die_with_parent=True):
        pass
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()  # what earlier tests left is not to be closed while descriptors are counted
    gc.disable()
    highest = max(int(fd) for fd in os.listdir("/proc/self/fd"))
    failed, filled = 0, []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
        with contextlib.suppress(OSError):
            while True:
                filled.append(os.dup(0))
        while filled:  # one more is free each time
            process = context.Process(target=helpers.square, args=(1,), die_with_parent=True)
            try:
                process.start()
            except OSError as error:
                assert error.errno == errno.EMFILE, error
            if process.pid is not None:
                break
            failed += 1
            os.close(filled.pop())
            assert free_descriptors() == failed, "a start that failed has kept descriptors"
        process.join(30)
        assert failed > 0 and process.exitcode == 0
    finally:
        gc.enable()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in filled:
            os.close(fd)


def test_a_stopped_child_is_waited_for_and_can_be_ended(fork):
    with sleeper(fork) as process:
        os.kill(process.pid, signal.SIGSTOP)
        process.join(0.1)
        assert process.is_alive()
        process.terminate()
        process.join(30)
        assert process.exitcode == -signal.SIGTERM


def test_no_signal_goes_to_another_that_has_the_id_by_now(fork, monkeypatch):
    process = fork.Process(target=helpers.square, args=(1,))
    process.start()
    os.waitpid(process.pid, 0)  # somebody else takes the status: the number is free
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a signal by number"))
    process.terminate()
    process.kill()
    process.join(30)
    assert process.state == "finished" and process.exitcode == 255, "its status is lost"


def test_no_signal_by_number_to_a_child_of_the_fork_server(monkeypatch):
    process = mp.get_context("forkserver").Process(target=helpers.square, args=(1,))
    process.start()
    assert ended(process.pid)  # and the server has buried it, or will
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a signal by number"))
    process.terminate()
    process.join(30)
    assert process.exitcode == 0


PTRACE_ATTACH, PTRACE_DETACH, PTRACE_CONT = 16, 17, 7


def trace(pid, attached, leave):
    """A debugger: attach, let it run, and do not look at its end before `leave`."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    refused = libc.ptrace(PTRACE_ATTACH, pid, None, None) != 0
    if not refused:
        os.waitpid(pid, 0)
        libc.ptrace(PTRACE_CONT, pid, None, None)
    attached.put(refused)
    leave.wait(60)


def test_join_is_on_time_while_a_debugger_has_the_status(fork):
    attached, leave = fork.Queue(), fork.Event()
    with sleeper(fork) as process:
        debugger = fork.Process(target=trace, args=(process.pid, attached, leave))
        debugger.start()
        try:
            if attached.get(timeout=30):
                pytest.skip("nobody may trace here")
            process.kill()
            assert ended(process.pid)
            began = time.monotonic()
            process.join(0.2)
            assert 0.15 < time.monotonic() - began < 10 and process.exitcode is None
        finally:
            leave.set()
            debugger.join(30)
        process.join(30)
        assert process.exitcode == -signal.SIGKILL


def test_limits_are_explained_in_strict_words():
    told = _popen.explained(BlockingIOError(errno.EAGAIN, "x"))
    assert isinstance(told, BlockingIOError) and "RLIMIT_NPROC" in str(told)
    other = OSError(errno.EPERM, "x")
    assert _popen.explained(other) is other


def test_the_example():
    program = Path(__file__).parents[3] / "examples" / "python" / "pause_process.py"
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    looks = [f"look {n}: paused, stands still: True" for n in (1, 2, 3)]
    assert ran.stdout.splitlines() == [*looks, "alive: True", "finished: terminated"]
