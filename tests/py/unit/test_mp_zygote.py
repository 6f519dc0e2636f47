"""The zygote: its children cannot be told from interpreters that were executed, and where they could be, one is."""

import contextlib
import errno
import gc
import multiprocessing.spawn
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import manyhands
import pytest
import zygote_helpers as helpers

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import multiprocessing as mp
from manyhands.multiprocessing import _zygote
from manyhands.multiprocessing._zygote import zygote

CONTEXT = mp.get_context("spawn")
LONG = 60


def wait_for(true):
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def none(monkeypatch):
    """Each test begins without one, and leaves none. Any two starts are far enough apart."""
    monkeypatch.setattr(_zygote, "APART", 0)
    zygote.end()
    zygote._seen = zygote._unfit = None
    yield
    zygote.end()


def ask(target=helpers.tell_origin, *args, queue=None):
    """What a spawned child answers."""
    queue = queue or CONTEXT.SimpleQueue()
    process = CONTEXT.Process(target=target, args=(*args, queue))
    process.start()
    process.join()
    assert process.exitcode == 0
    return queue.get()


def warm():
    """Have a zygote that is ready. Return its process id."""
    ask()
    ask()
    wait_for(zygote._is_ready)
    return zygote._pid


def is_from_a_zygote():
    return ask()[0]


def test_the_second_start_begins_one_and_later_ones_come_from_it():
    assert not is_from_a_zygote()
    assert zygote._socket is None
    assert not is_from_a_zygote()
    assert zygote._socket is not None
    wait_for(zygote._is_ready)
    assert is_from_a_zygote()
    assert is_from_a_zygote()


def test_the_workers_of_one_pool_begin_none(monkeypatch):
    """They would wait for the cores that it takes."""
    monkeypatch.setattr(_zygote, "APART", LONG)
    for _ in range(3):
        assert not is_from_a_zygote()
    assert zygote._socket is None
    with CONTEXT.Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]
    assert zygote._socket is None
    monkeypatch.setattr(_zygote, "APART", 0)
    warm()
    with CONTEXT.Pool(2) as pool:
        assert pool.map(helpers.origin, range(20)) == [True] * 20


# ---- nothing tells its children from others


def test_a_child_of_it_is_as_one_that_was_executed(monkeypatch):
    gc.collect()  # or descriptors that earlier tests have left behind are closed between the two
    warm()  # before both: it has descriptors of its own, and a child has the numbers that its parent had free
    queue = (
        CONTEXT.SimpleQueue()
    )  # one for both: of two, the locks may lie in one slab of shared memory or in two
    from_it, forked, fds_now, random_now = ask(helpers.tell, queue=queue)
    with monkeypatch.context() as without:
        without.setattr(zygote, "start", lambda *_: None)
        from_it_too, executed, fds_then, random_then = ask(helpers.tell, queue=queue)
    assert from_it and not from_it_too
    for name in executed:
        assert forked[name] == executed[name], name
    assert fds_now.keys() == fds_then.keys(), (fds_now, fds_then)
    assert [fds_now[fd] for fd in range(3)] == [fds_then[fd] for fd in range(3)]
    assert {fd: one[1] for fd, one in fds_now.items()} == {fd: one[1] for fd, one in fds_then.items()}
    assert random_now != random_then
    assert ask(helpers.tell)[3] != random_now


def test_its_child_is_a_child_of_this_process():
    warm()
    process = CONTEXT.Process(target=helpers.leave, args=(7,))
    process.start()
    assert process.pid in {int(pid) for pid in Path("/proc/thread-self/children").read_text().split()}
    assert os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT).si_status == 7
    process.join()
    assert process.exitcode == 7


def test_a_signal_that_ends_it_is_its_exit_code():
    warm()
    process = CONTEXT.Process(target=time.sleep, args=(LONG,))
    process.start()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_its_child_ends_as_an_interpreter_does(tmp_path):
    warm()
    process = CONTEXT.Process(target=helpers.write_at_exit, args=(str(tmp_path / "said"),))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert (tmp_path / "said").read_text() == "buffered\nat exit\n"


def test_an_error_is_told_on_the_stderr_of_the_moment(capfd):
    warm()
    process = CONTEXT.Process(target=helpers.leave, args=("said at the end",))
    process.start()
    process.join()
    assert process.exitcode == 1
    assert "said at the end" in capfd.readouterr().err


def test_descriptors_keep_their_numbers():
    warm()
    ends = [socket.socketpair() for _ in range(20)]
    try:
        for ours, theirs in reversed(ends):
            ours.send(b"for you")
            queue = CONTEXT.SimpleQueue()
            process = CONTEXT.Process(target=helpers.read_descriptor, args=(mp.reduction.DupFd, queue))
            process._args = (Duplicate(theirs.fileno()), queue)
            process.start()
            assert queue.get() == (theirs.fileno(), b"for you")
            process.join()
    finally:
        for pair in ends:
            for one in pair:
                one.close()


class Duplicate:
    def __init__(self, fd):
        self.fd = fd

    def __reduce__(self):
        from multiprocessing import reduction

        return _same, (reduction.DupFd(self.fd),)


def _same(duplicate):
    return duplicate


PLACE = """
import os, sys
from manyhands.multiprocessing import _zygote
numbers = {numbers}
received = list(range(40, 40 + len(numbers)))
before = {{}}
for fd, number in zip(received, numbers):
    memory = os.memfd_create("number")
    os.dup2(memory, fd)
    os.close(memory)
    before[number] = os.fstat(fd).st_ino
opened = len(os.listdir("/proc/self/fd"))
_zygote._place(received, numbers)
assert {{number: os.fstat(number).st_ino for number in numbers}} == before
assert all(os.get_inheritable(number) for number in numbers)
assert len(os.listdir("/proc/self/fd")) == opened
"""


@pytest.mark.parametrize("numbers", [[40, 41, 42], [42, 40, 41], [41, 42, 40], [50, 40, 51], [42, 41, 40]])
def test_numbers_that_are_each_others(numbers, tmp_path):
    run(tmp_path, PLACE.format(numbers=numbers))


def test_a_mask_of_signals_is_the_callers():
    warm()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        from_it, facts, *_ = ask(helpers.tell)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert from_it and facts["mask"] == before | {signal.SIGUSR1}
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


# ---- what has changed since


@contextlib.contextmanager
def a_variable():
    os.environ["MANYHANDS_TEST"] = "there"
    try:
        yield lambda facts: facts["environment"]["MANYHANDS_TEST"] == "there"
    finally:
        del os.environ["MANYHANDS_TEST"]


@contextlib.contextmanager
def an_umask():
    before = os.umask(0o077)
    try:
        yield lambda facts: "Umask:\t0077" in facts["status"]
    finally:
        os.umask(before)


@contextlib.contextmanager
def a_limit():
    before = resource.getrlimit(resource.RLIMIT_CORE)
    soft = 0 if before[0] else 4096
    resource.setrlimit(resource.RLIMIT_CORE, (soft, before[1]))
    try:
        yield lambda facts: facts["limits"][resource.RLIMIT_CORE] == (soft, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


@contextlib.contextmanager
def an_affinity():
    before = os.sched_getaffinity(0)
    one = {min(before)}
    if one == before:
        pytest.skip("there is one core")
    os.sched_setaffinity(0, one)
    try:
        yield lambda facts: facts["groups"][3] == one
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def an_ignored_signal():
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        yield lambda facts: facts["handlers"][str(signal.SIGUSR2)] == str(signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGUSR2, before)


@contextlib.contextmanager
def a_switch():
    before = list(sys.warnoptions)
    sys.warnoptions.append("error::ImportWarning")
    try:
        yield lambda facts: True
    finally:
        sys.warnoptions[:] = before


CHANGES = [a_variable, an_umask, a_limit, an_affinity, an_ignored_signal, a_switch]


@pytest.mark.parametrize("change", CHANGES)
def test_where_what_a_child_inherits_has_changed_one_is_executed(change):
    before = warm()
    with change() as holds:
        from_it, facts, *_ = ask(helpers.tell)
        assert not from_it and holds(facts)
        assert zygote._pid == before
        ask()  # the second one of this kind begins another
        wait_for(zygote._is_ready)
        assert zygote._pid != before
        from_it, facts, *_ = ask(helpers.tell)
        assert from_it and holds(facts)
    assert not is_from_a_zygote()


CHANGED_FOR_EVER = """
import os, sys
from manyhands import multiprocessing as mp
import zygote_helpers as helpers

def ask():
    queue = mp.get_context("spawn").SimpleQueue()
    process = mp.get_context("spawn").Process(target=helpers.tell_origin, args=(queue,))
    process.start()
    print(*queue.get())
    process.join()

if __name__ == "__main__":
    from manyhands.multiprocessing import _zygote
    from manyhands.multiprocessing._zygote import zygote
    import time
    _zygote.APART = 0
    ask()
    ask()
    while zygote._socket is not None and not zygote._is_ready():
        time.sleep(0.005)
    ask()
    {change}
    ask()
"""


def run(tmp_path, text, status=0, **environment):
    program = tmp_path / "program.py"
    program.write_text(text)
    path = os.pathsep.join([str(tmp_path), os.path.dirname(__file__), os.environ["PYTHONPATH"]])
    ran = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        timeout=LONG,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert ran.returncode == status, ran.stderr
    return ran


CHANGES_FOR_EVER = {
    "nice": "os.nice(1)",
    "session": "os.setsid() if os.getpid() != os.getpgid(0) else os.setpgid(0, os.getppid())",
    "folder": "os.chdir('/')",
    "closed": "os.close(0)",
    "replaced": "import functools, multiprocessing.util as u; u.spawnv_passfds = functools.partial(u.spawnv_passfds)",
    "patched": "import multiprocessing.spawn as s; f = s.get_command_line; s.get_command_line = lambda **k: f(**k)",
}


@pytest.mark.parametrize("change", CHANGES_FOR_EVER)
def test_what_cannot_be_taken_back(change, tmp_path):
    said = run(tmp_path, CHANGED_FOR_EVER.format(change=CHANGES_FOR_EVER[change])).stdout.split()
    assert said[::2] == ["False", "False", "True", "False"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs the rights to become somebody else")
def test_who_gives_up_rights_inherits_something_else():
    def look(queue):
        command = multiprocessing.spawn.get_command_line()
        before = _zygote.heritage(command, "python")
        assert before is not None and before == _zygote.heritage(command, "python")
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        queue.put(before != _zygote.heritage(command, "python"))

    queue = mp.get_context("fork").SimpleQueue()
    process = mp.get_context("fork").Process(target=look, args=(queue,))
    process.start()
    process.join()
    assert process.exitcode == 0 and queue.get()


# ---- trouble


THREAD_AT_START = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
FILE_AT_START = "import os; kept = os.open('/dev/null', os.O_RDONLY)"
TRACE_AT_START = "import sys; sys.settrace(lambda *_: None)"


@pytest.mark.parametrize("what", [THREAD_AT_START, FILE_AT_START, TRACE_AT_START])
def test_an_interpreter_that_begins_something_of_its_own_is_executed_each_time(what, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(what)
    text = CHANGED_FOR_EVER.format(change="assert zygote._unfit is not None")
    assert run(tmp_path, text).stdout.split()[::2] == ["False"] * 4


def test_it_can_be_switched_off(tmp_path):
    text = CHANGED_FOR_EVER.format(change="assert zygote._seen is None")
    assert run(tmp_path, text, MANYHANDS_ZYGOTE="0").stdout.split()[::2] == ["False"] * 4


def test_one_that_was_killed_is_replaced():
    before = warm()
    os.kill(before, signal.SIGKILL)
    os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
    assert not is_from_a_zygote()
    assert not is_from_a_zygote()
    wait_for(zygote._is_ready)
    assert zygote._pid != before and is_from_a_zygote()


def test_one_that_cannot_begin_costs_nothing(monkeypatch):
    def none_left(*args):
        raise OSError(errno.EMFILE, "no descriptor is left")

    monkeypatch.setattr(_zygote.socket, "socketpair", none_left)
    for _ in range(3):
        assert not is_from_a_zygote()
    assert zygote._socket is None


def test_a_program_with_thousands_of_descriptors():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 1200:
        pytest.skip("so many are not allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    fds = []
    try:
        while not fds or fds[-1] < 1100:
            fds.append(os.open(os.devnull, os.O_RDONLY))
        warm()
        assert is_from_a_zygote()
    finally:
        for fd in fds:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_one_that_was_stopped_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(_zygote, "LONGEST", 0.05)
    os.kill(warm(), signal.SIGSTOP)
    assert not is_from_a_zygote()
    assert zygote._socket is None


def test_a_forked_child_has_its_own():
    before = warm()

    def look(queue):
        assert zygote._socket is None
        queue.put((warm(), is_from_a_zygote()))

    queue = mp.get_context("fork").SimpleQueue()
    process = mp.get_context("fork").Process(target=look, args=(queue,))
    process.start()
    pid, from_it = queue.get()
    process.join()
    assert process.exitcode == 0
    assert from_it and pid != before
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    assert zygote._pid == before and is_from_a_zygote()


def test_a_spawned_child_has_its_own():
    warm()
    queue = CONTEXT.SimpleQueue()
    process = CONTEXT.Process(target=helpers.spawn_three, args=(queue,))
    process.start()
    origins = [queue.get() for _ in range(3)]
    process.join()
    assert process.exitcode == 0 and len({pid for _, pid in origins}) == 3


def test_many_threads_start_at_once():
    warm()
    answers, queue = [], CONTEXT.Queue()

    def start():
        process = CONTEXT.Process(target=helpers.tell_origin, args=(queue,))
        process.start()
        process.join()
        answers.append(process.exitcode)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [0] * 8
    told = [queue.get() for _ in range(8)]
    assert all(from_it for from_it, _ in told) and len({pid for _, pid in told}) == 8


def test_a_handler_that_starts_one_meanwhile():
    warm()
    answers = []
    real = zygote._answer

    def answer(*args):
        if not answers:
            answers.append(None)
            answers.append(is_from_a_zygote())
        return real(*args)

    zygote._answer = answer
    try:
        assert is_from_a_zygote()
    finally:
        del zygote._answer
    assert answers == [None, False]


def test_an_exception_meanwhile_leaves_none_behind():
    pid = warm()

    def answer(*args):
        raise KeyboardInterrupt

    zygote._answer = answer
    try:
        with pytest.raises(KeyboardInterrupt):
            ask()
    finally:
        del zygote._answer
    assert zygote._socket is None and not Path(f"/proc/{pid}").exists()
    assert not is_from_a_zygote()


@pytest.mark.parametrize("end", ["pass", "os._exit(0)", "os.kill(os.getpid(), 9)", "sys.exit()"])
def test_it_ends_with_its_parent(end, tmp_path):
    text = CHANGED_FOR_EVER.format(change="print('pid', zygote._pid, flush=True)") + f"    {end}\n"
    ran = run(tmp_path, text, status=-9 if "kill" in end else 0)
    words = ran.stdout.split()
    pid = words[words.index("pid") + 1]
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or " Z " in Path(f"/proc/{pid}/stat").read_text())


def test_it_lets_go_of_the_streams():
    """Who reads a program's output waits until nobody has it any more."""
    pid = warm()
    assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)} == {os.devnull}


def zombies():
    """Ended children of this process that nobody has waited for."""
    pids = {int(pid) for one in Path("/proc/self/task").glob("*/children") for pid in one.read_text().split()}
    return {pid for pid in pids if ") Z " in Path(f"/proc/{pid}/stat").read_text()}


@pytest.mark.stress
def test_killed_at_any_moment_each_start_makes_one_child(tmp_path):
    """Whenever it dies: each start runs its target once, or tells by the exit code that it did not."""
    said, stop = str(tmp_path / "said"), threading.Event()

    def kill():
        while not stop.wait(0.003):
            pidfd = zygote._pidfd
            if zygote._ready and pidfd >= 0:
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    before = zombies()
    killer = threading.Thread(target=kill)
    killer.start()
    codes = []
    try:
        for number in range(150):
            process = CONTEXT.Process(target=helpers.write_one, args=(said, number))
            process.start()
            process.join()
            codes.append(process.exitcode)
    finally:
        stop.set()
        killer.join()
    zygote.end()
    assert zombies() <= before, "those that fell to this process were not buried"
    ran = [int(line) for line in Path(said).read_text().split()]
    assert len(ran) == len(set(ran))
    assert ran == [number for number, code in enumerate(codes) if code == 0]
    assert set(codes) <= {0, 255}
