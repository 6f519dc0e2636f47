"""Uses of a `Pool` that wait for each other: each comes to an end, with a result or with an error that says why."""

import contextlib
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

from manyhands import multiprocessing as mp

METHODS = ["fork", "spawn", "forkserver"]
pytestmark = pytest.mark.timeout(60)


def square(x):
    return x * x


def nap(seconds):
    time.sleep(seconds)


def in_a_pool_of_its_own(depth):
    if depth == 0:
        return [os.getppid()]
    with mp.Pool() as pool:
        assert pool._processes >= 1
        return [os.getpid(), *pool.map(in_a_pool_of_its_own, [depth - 1])[0]]


def default_size(_):
    with mp.Pool() as pool:
        return pool._processes


@pytest.fixture
def pool():
    with mp.get_context("fork").Pool(2) as made:
        yield made
    made.join()


@pytest.mark.parametrize("method", METHODS)
def test_pools_nest(method):
    with mp.get_context(method).Pool(2) as pool:
        chains = pool.map(in_a_pool_of_its_own, [2, 2, 2])
        assert all(len(chain) == 3 for chain in chains)


def test_nested_pools_share_the_cores():
    """Three levels of pools are not cores ** 3 processes."""
    cores = os.cpu_count()
    with mp.get_context("fork").Pool(cores) as pool:
        assert set(pool.map(default_size, range(4))) == {1}


def test_workers_still_look_daemonic(pool):
    assert pool.apply(is_daemon) is True


def is_daemon():
    return mp.current_process().daemon


def test_a_callback_waits_for_another_result(pool):
    found, done = [], threading.Event()

    def waits(value):
        found.append(pool.apply(square, (value,)))
        found.append(pool.map(square, range(50), 1)[-1])
        found.append(list(pool.imap(square, range(50)))[-1])
        found.append(sum(pool.imap_unordered(square, range(3))))
        found.append(other.get())
        pool.apply_async(square, (5,), callback=inner)

    def inner(value):
        found.append(pool.apply(square, (value,)))
        done.set()

    other = pool.apply_async(nap, (0.2,))
    pool.apply_async(square, (2,), callback=waits)
    assert done.wait(30)
    assert found == [16, 49 * 49, 49 * 49, 5, None, 625]


def test_callbacks_end_the_pool():
    for end in ("close", "terminate"):
        pool, done = mp.get_context("fork").Pool(2), threading.Event()

        def callback(value, pool=pool, end=end, done=done):
            getattr(pool, end)()
            done.set()

        pool.apply_async(square, (2,), callback=callback)
        assert done.wait(30)
        pool.join()


def asks_the_pool_it_is_in(x):
    return shared.apply(square, (x,))


def asks_as_initializer():
    shared.apply(square, (1,))


def test_a_worker_that_asks_its_own_pool_is_told():
    global shared
    shared = mp.get_context("fork").Pool(1)
    told = pytest.raises(RuntimeError, match="make a pool of its own")
    with shared, mp.get_context("fork").Pool(2) as inner, told:
        inner.apply(asks_the_pool_it_is_in, (3,))
    with (
        mp.get_context("fork").Pool(1) as shared,
        mp.get_context("fork").Pool(1, asks_as_initializer) as other,
        told,
    ):
        other.apply(square, (1,))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_fork_the_child_is_told(pool):
    pending = pool.apply_async(nap, (1,))
    lazy = pool.imap(nap, [1])
    child = os.fork()
    if child == 0:
        told = 0
        for ask in (
            lambda: pool.apply(square, (2,)),
            lambda: pool.map(square, [1]),
            pending.get,
            lambda: next(lazy),
        ):
            try:
                ask()
            except RuntimeError:
                told += 1
        pool.terminate()  # the parent's: not ours to end
        os._exit(told)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    assert pool.apply(square, (3,)) == 9


def test_from_many_threads(pool):
    wrong = []

    def ask(seed):
        for i in range(40):
            x = seed * 1000 + i
            if pool.apply(square, (x,)) != x * x or sum(pool.imap_unordered(square, range(3))) != 5:
                wrong.append(x)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
        assert not thread.is_alive()
    assert not wrong


def test_tasks_that_come_while_it_closes():
    """Each is refused, or done; none is forgotten."""
    pool = mp.get_context("fork").Pool(2)
    taken, refused = [], threading.Event()

    def ask():
        try:
            while True:
                taken.append(pool.apply_async(square, (len(taken),)))
        except ValueError:
            refused.set()

    thread = threading.Thread(target=ask)
    thread.start()
    while len(taken) < 100:
        time.sleep(0.001)
    pool.close()
    pool.join()
    assert refused.wait(30)
    thread.join()
    assert [r.get(0) for r in taken] == [i * i for i in range(len(taken))]


def run(tmp_path, text):
    script = tmp_path / "program.py"
    script.write_text(text)
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


AT_EXIT = """
import atexit, threading, time
from manyhands import multiprocessing as mp
def square(x):
    return x * x
def late():
    try:
        print("late", pool.apply(square, (3,)), flush=True)
    except (ValueError, RuntimeError) as error:
        print("late", error, flush=True)
def thread():
    time.sleep(0.3)
    print("thread", pool.apply(square, (2,)), flush=True)
if __name__ == "__main__":
    atexit.register(late)
    pool = mp.get_context("fork").Pool(2)
    threading.Thread(target=thread).start()
    pending = pool.map_async(time.sleep, [100] * 1)
"""


def test_at_the_interpreters_exit(tmp_path):
    program = run(tmp_path, AT_EXIT)
    out, err = program.communicate(timeout=30)
    assert program.returncode == 0, err
    first, late = (
        out.splitlines()
    )  # its end and the program's callback come in the order of their registration
    assert first == "thread 4" and late in (
        "late 9",
        "late the pool was terminated before this task was done",
    ), err


INTERRUPTED = """
import os, time
from manyhands import multiprocessing as mp
def busy(x):
    if x < 2:
        os.write(1, b"ready\\n")
    time.sleep(60)
if __name__ == "__main__":
    with mp.get_context(METHOD).Pool(2) as pool:
        pool.map(busy, range(20), 1)
"""


@pytest.mark.parametrize("method", METHODS)
def test_ctrl_c_ends_everything_within_a_second(method, tmp_path):
    program = run(tmp_path, INTERRUPTED.replace("METHOD", repr(method)))
    try:
        assert program.stdout.readline() == program.stdout.readline() == "ready\n"
        os.killpg(program.pid, signal.SIGINT)
        asked = time.monotonic()
        _, err = program.communicate(timeout=30)
        took = time.monotonic() - asked
        assert err.count("Traceback") == 1 and err.rstrip().endswith("KeyboardInterrupt"), err
        assert program.returncode in (1, 130, -signal.SIGINT)
        deadline = time.monotonic() + 5
        while members(program.pid):
            assert time.monotonic() < deadline, f"orphans: {members(program.pid)}"
            time.sleep(0.02)
        assert took < 5, f"{took:.1f} s"  # a second on a machine that is not busy
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.communicate()


def members(group):
    """The processes of a group that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = path.read_text().rsplit(")", 1)[1].split()[:3]
            if int(its_group) == group and state not in "ZX":
                found.append(int(path.parent.name))
    return found
