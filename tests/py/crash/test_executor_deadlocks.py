"""Executors that are used from inside themselves, at their end, and by many: nobody waits for ever.

Each case is run on every kind of engine that can be in it, with as few workers as there may be.
"""

import concurrent.futures
import os
import subprocess
import sys
import threading

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import futures
from manyhands import multiprocessing as mp

pytestmark = pytest.mark.timeout(120)
LONG = 60
METHODS = ["fork", "spawn", "forkserver"]
KINDS = ["threads", *METHODS, "interpreters"]


def executor_of(kind, workers=1, **more):
    if kind == "threads":
        return futures.ThreadPoolExecutor(workers, **more)
    if kind == "interpreters":
        if sys.version_info < (3, 13):
            pytest.skip("from 3.13 on")
        return futures.InterpreterPoolExecutor(workers, **more)
    return futures.ProcessPoolExecutor(workers, mp.get_context(kind), **more)


@pytest.fixture(params=KINDS)
def executor(request):
    with executor_of(request.param) as made:
        yield made


@pytest.fixture
def threads():
    with futures.ThreadPoolExecutor(1) as made:
        yield made


# ---- nested submit

WAYS = {
    "result": lambda fs: [f.result() for f in fs],
    "exception": lambda fs: [f.exception() for f in fs] and [f.result() for f in fs],
    "wait": lambda fs: futures.wait(fs) and [f.result() for f in fs],
    "as_completed": lambda fs: sorted(f.result() for f in futures.as_completed(fs)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_task_waits_for_tasks_of_its_own_executor(threads, way):
    def down(depth):
        if depth == 0:
            return 1
        return sum(WAYS[way]([threads.submit(down, depth - 1) for _ in range(3)]))

    assert threads.submit(down, 4).result(LONG) == 3**4


def test_a_task_maps_over_its_own_executor(threads):
    assert threads.submit(lambda: sum(threads.map(abs, range(100)))).result(LONG) == 4950
    assert threads.submit(lambda: sum(threads.map(abs, range(100), ordered=False))).result(LONG) == 4950


def in_an_executor_of_its_own(method, depth):
    if depth == 0:
        return [os.getppid()]
    with futures.ProcessPoolExecutor(1, mp.get_context(method)) as inner:
        return [os.getpid(), *inner.submit(in_an_executor_of_its_own, method, depth - 1).result(LONG)]


@pytest.mark.parametrize("method", METHODS)
def test_executors_nest(method):
    with executor_of(method) as outer:
        assert len(outer.submit(in_an_executor_of_its_own, method, 2).result(LONG)) == 3


# ---- submit from a callback


def test_a_callback_waits_for_another_result(executor):
    found, done = [], threading.Event()

    def first(future):
        found.append(executor.submit(abs, -2).result())
        executor.submit(abs, -3).add_done_callback(second)

    def second(future):
        found.append(sum(executor.map(abs, range(20))))
        done.set()

    executor.submit(abs, -1).add_done_callback(first)
    assert done.wait(LONG) and found == [2, 190]


def test_a_callback_shuts_down(executor):
    done = threading.Event()
    executor.submit(abs, -1).add_done_callback(lambda _: (executor.shutdown(), done.set()))
    assert done.wait(LONG)


# ---- submit from an initializer


def test_an_initializer_uses_the_executor_that_it_is_for():
    found = []

    def set_up():
        if not found:
            found.append(0)
            found.append(threads.submit(abs, -7).result())

    with futures.ThreadPoolExecutor(1, initializer=set_up) as threads:
        assert threads.submit(abs, -1).result(LONG) == 1 and found == [0, 7]


def set_up_inside():
    global inner
    inner = futures.ThreadPoolExecutor(1)
    assert inner.submit(abs, -4).result(LONG) == 4


def use_inner():
    return inner.submit(abs, -5).result(LONG)


@pytest.mark.parametrize("kind", METHODS)
def test_an_initializer_makes_an_executor(kind):
    with executor_of(kind, initializer=set_up_inside) as made:
        assert made.submit(use_inner).result(LONG) == 5


# ---- during shutdown


def test_a_task_that_submits_while_it_closes_is_refused(threads):
    closed = threading.Event()

    def late():
        closed.wait(LONG)
        return threads.submit(abs, 1)

    task = threads.submit(late)
    threads.shutdown(wait=False)
    closed.set()
    with pytest.raises(RuntimeError, match="after shutdown"):
        task.result(LONG)


def test_every_task_that_was_taken_is_run_however_many_close(executor):
    """Four threads submit while four close: what submit() took has a result, and the rest was refused."""
    start, taken = threading.Barrier(8), []

    def submit():
        start.wait()
        try:
            while True:
                taken.append(executor.submit(abs, -1))
        except RuntimeError:
            return

    def close():
        start.wait()
        executor.shutdown()

    users = [threading.Thread(target=target) for target in [submit, close] * 4]
    for user in users:
        user.start()
    for user in users:
        user.join(LONG)
        assert not user.is_alive()
    assert all(future.result(LONG) == 1 for future in taken)


# ---- the interpreter's exit

AT_EXIT = """
import sys, atexit, threading
from manyhands import futures, multiprocessing as mp
kind = sys.argv[1]

def nap(x):
    import time
    time.sleep(0.05)
    return x

def again(future):
    try:
        executor.submit(nap, 0)
    except RuntimeError as error:
        print("refused:", "shutdown" in str(error), flush=True)

if __name__ == "__main__":
    executor = (
        futures.ThreadPoolExecutor(1) if kind == "threads"
        else futures.InterpreterPoolExecutor(1) if kind == "interpreters"
        else futures.ProcessPoolExecutor(1, mp.get_context(kind))
    )
    made = [executor.submit(nap, i) for i in range(4)]
    made[-1].add_done_callback(again)
    made[-1].add_done_callback(lambda f: print("last:", f.result(), flush=True))
    atexit.register(lambda: print("at exit:", all(f.done() for f in made), flush=True))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_interpreters_exit_what_was_taken_is_run(kind, tmp_path):
    if kind == "interpreters" and sys.version_info < (3, 13):
        pytest.skip("from 3.13 on")
    script = tmp_path / "app.py"
    script.write_text(AT_EXIT)
    done = subprocess.run([sys.executable, str(script), kind], capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["refused: True", "last: 3", "at exit: True"] and not done.stderr


# ---- after fork


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("kind", ["threads", *METHODS])
def test_after_fork(kind):
    """A child has threads of its own in the place of the parent's; over processes it is told to make an executor."""
    with executor_of(kind) as made:
        assert made.submit(abs, -1).result(LONG) == 1
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                try:
                    code = 0 if made.submit(abs, -2).result(LONG) == 2 and kind == "threads" else 2
                except RuntimeError as error:
                    code = 0 if kind != "threads" and "parent" in str(error) else 3
                made.shutdown()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert made.submit(abs, -3).result(LONG) == 3


# ---- from many threads


def test_from_many_threads(executor):
    start, wrong = threading.Barrier(8), []

    def use(me):
        start.wait()
        for i in range(50):
            if executor.submit(abs, -me * i).result(LONG) != me * i:
                wrong.append((me, i))

    users = [threading.Thread(target=use, args=(me,)) for me in range(8)]
    for user in users:
        user.start()
    for user in users:
        user.join(LONG)
        assert not user.is_alive()
    assert not wrong


def test_turns_do_not_make_a_pool_grow():
    """Who waits for each result before the next task needs one thread."""
    with futures.ThreadPoolExecutor(8) as threads:
        for i in range(300):
            assert threads.submit(abs, -i).result(LONG) == i
        assert len(threads._threads) == 1


def test_the_standard_librarys_wait_knows_our_futures(executor):
    made = [executor.submit(abs, -i) for i in range(10)]
    assert concurrent.futures.wait(made, LONG).done == set(made)
    assert {f.result() for f in concurrent.futures.as_completed(made, LONG)} == set(range(10))
