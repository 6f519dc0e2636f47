"""Executors on our queues: results, errors, death of workers, shutdown."""

import concurrent.futures
import inspect
import os
import signal
import subprocess
import sys
import threading

import manyhands
import mp_helpers as helpers
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import WorkerDiedError, futures
from manyhands import multiprocessing as mp


@pytest.fixture
def pool():
    with futures.ProcessPoolExecutor(2, mp_context=mp.get_context("fork")) as executor:
        yield executor


@pytest.fixture(params=["threads", "fork", "spawn", "forkserver"])
def executor(request):
    if request.param == "threads":
        made = futures.ThreadPoolExecutor(2)
    else:
        made = futures.ProcessPoolExecutor(2, mp_context=mp.get_context(request.param))
    with made:
        yield made


def test_submit_and_map(executor):
    assert executor.submit(helpers.square, 7).result(30) == 49
    assert list(executor.map(helpers.square, range(20))) == [x * x for x in range(20)]
    assert list(executor.map(helpers.square, range(20), chunksize=7)) == [x * x for x in range(20)]


def test_an_exception_arrives_as_itself_with_its_traceback(executor):
    error = executor.submit(helpers.fail, 3).exception(30)
    assert type(error) is ValueError and str(error) == "bad 3"
    if isinstance(executor, futures.ProcessPoolExecutor):
        assert "in fail" in str(error.__cause__)


def test_the_futures_are_the_standard_librarys(executor):
    future = executor.submit(helpers.square, 2)
    assert isinstance(future, concurrent.futures.Future) and isinstance(executor, concurrent.futures.Executor)
    assert list(concurrent.futures.as_completed([future])) == [future]


def test_no_standard_library_queue_is_in_use(monkeypatch):
    import multiprocessing.queues
    import queue

    def refuse(*_args, **_kwargs):
        raise AssertionError("a queue of the standard library is in use")

    for module, name in (
        (queue, "Queue"),
        (multiprocessing.queues, "Queue"),
        (multiprocessing.queues, "SimpleQueue"),
    ):
        monkeypatch.setattr(getattr(module, name), "put", refuse)
        monkeypatch.setattr(getattr(module, name), "get", refuse)
    with (
        futures.ThreadPoolExecutor(1) as threads,
        futures.ProcessPoolExecutor(1, mp_context=mp.get_context("fork")) as processes,
    ):
        assert type(threads._work_queue).__module__.startswith("manyhands")
        assert threads.submit(helpers.square, 3).result(30) == 9
        assert processes.submit(helpers.square, 3).result(30) == 9


def test_submit_is_what_the_standard_librarys_is():
    """In C, and yet: its signature, names of the user's own, a subclass that overrides it, no call before __init__."""

    def echo(*args, **kwargs):
        return args, kwargs

    class Counting(futures.ThreadPoolExecutor):
        count = 0

        def submit(self, fn, /, *args, **kwargs):
            self.count += 1
            return super().submit(fn, *args, **kwargs)

    class Early(futures.ThreadPoolExecutor):
        def __init__(self):
            self.submit(echo)

    ours = inspect.signature(futures.ThreadPoolExecutor.submit)
    theirs = inspect.signature(concurrent.futures.ThreadPoolExecutor.submit)
    assert [(p.name, p.kind) for p in ours.parameters.values()] == [
        (p.name, p.kind) for p in theirs.parameters.values()
    ]
    with Counting(1) as executor:
        assert executor.submit(echo, 1, self=2, fn=3, args=4).result(60) == (
            (1,),
            {"self": 2, "fn": 3, "args": 4},
        )
        assert executor.submit(echo).result(60) == ((), {})
        assert executor.submit(str.upper, "a").result(60) == "A"
        assert executor.count == 3
        with pytest.raises(TypeError, match="fn"):
            super(Counting, executor).submit()
    with pytest.raises(RuntimeError, match="__init__"):
        Early()


@pytest.mark.parametrize("kill, word", [(helpers.kill_at, "SIGKILL"), (helpers.exit_at, "exit code 7")])
def test_a_dead_worker_fails_its_task_alone(pool, kill, word):
    tasks = [pool.submit(kill, i, 3) for i in range(10)]
    errors = {i: task.exception(30) for i, task in enumerate(tasks) if task.exception(30) is not None}
    assert list(errors) == [3] and isinstance(errors[3], WorkerDiedError) and word in str(errors[3])
    assert isinstance(errors[3], concurrent.futures.process.BrokenProcessPool)
    cause = errors[3].__cause__  # what the stdlib's executor says from 3.15 on
    assert f"Process {errors[3].pid} terminated abruptly with exit code {errors[3].exitcode}" in cause.tb
    assert pool.submit(helpers.square, 11).result(30) == 121


def test_every_worker_may_die(pool):
    tasks = [pool.submit(helpers.die) for _ in range(5)]
    assert all(isinstance(task.exception(30), WorkerDiedError) for task in tasks)
    assert pool.submit(helpers.square, 4).result(30) == 16


def test_an_idle_worker_may_die(pool):
    assert pool.submit(helpers.square, 2).result(30) == 4
    for pid in list(pool._processes):
        os.kill(pid, signal.SIGKILL)
    assert [task.result(30) for task in [pool.submit(helpers.square, i) for i in range(6)]] == [
        i * i for i in range(6)
    ]


def test_an_exception_that_does_not_unpickle_is_told_of(pool):
    error = pool.submit(helpers.raise_two, 7).exception(30)
    assert "TwoArguments" in str(error) and "7 and 7" in str(error) and "raise_two" in str(error)


def test_what_cannot_be_pickled_says_so(pool):
    error = pool.submit(helpers.square, threading.Lock()).exception(30)
    assert isinstance(error, TypeError) and "pickle" in str(error)
    error = pool.submit(threading.Lock).exception(30)
    assert isinstance(error, TypeError) and "pickle" in str(error)
    assert pool.submit(helpers.square, 5).result(30) == 25


def test_lambdas_and_closures_run(pool):
    offset = 10
    assert list(pool.map(lambda x: x + offset, range(4))) == [10, 11, 12, 13]


def test_large_arguments_and_results(pool):
    data = b"x" * 2_000_000
    assert pool.submit(bytes.upper, data).result(30) == data.upper()


def test_an_initializer_that_fails_breaks_the_executor():
    with futures.ProcessPoolExecutor(
        1, mp_context=mp.get_context("fork"), initializer=helpers.fail, initargs=("start",)
    ) as executor:
        error = executor.submit(helpers.square, 1).exception(30)
        assert isinstance(error, concurrent.futures.process.BrokenProcessPool)
        assert "bad start" in repr(error.__cause__)
        with pytest.raises(concurrent.futures.process.BrokenProcessPool):
            executor.submit(helpers.square, 1)


def test_max_tasks_per_child_replaces_workers():
    with futures.ProcessPoolExecutor(1, max_tasks_per_child=2) as executor:
        pids = [executor.submit(os.getpid).result(60) for _ in range(6)]
    assert len(set(pids)) == 3


def test_cancel_and_shutdown():
    with futures.ProcessPoolExecutor(1, mp_context=mp.get_context("fork")) as executor:
        first = executor.submit(os.getpid)
        assert first.result(30)
        tasks = [executor.submit(helpers.sleep_for, 0.05) for _ in range(30)]
        executor.shutdown(wait=False, cancel_futures=True)
        assert any(task.cancelled() for task in tasks)
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(helpers.square, 1)
    assert not concurrent.futures.wait(tasks, 30).not_done


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"max_workers": 0}, ValueError),
        ({"initializer": 5}, TypeError),
        ({"max_tasks_per_child": 0}, ValueError),
        ({"max_tasks_per_child": "3"}, TypeError),
    ],
)
def test_bad_arguments(arguments, error):
    with pytest.raises(error):
        futures.ProcessPoolExecutor(**arguments)


def test_the_interpreter_finishes_what_was_submitted(tmp_path):
    import subprocess
    import sys

    script = tmp_path / "app.py"
    script.write_text(
        "from manyhands.futures import ProcessPoolExecutor\n"
        "if __name__ == '__main__':\n"
        "    e = ProcessPoolExecutor(2)\n"
        "    for i in range(5): e.submit(print, i, flush=True)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert sorted("".join(done.stdout.split())) == list("01234") and done.returncode == 0, done


@pytest.mark.parametrize("made", ["ThreadPoolExecutor(1)", "ProcessPoolExecutor(1)"])
@pytest.mark.parametrize("used", [True, False])
def test_a_task_after_the_end_of_the_interpreter_is_refused(made, used):
    code = f"""
import atexit
@atexit.register
def last():
    try:
        executor.submit(id, None)
    except RuntimeError as error:
        print(error)
from manyhands.futures import ProcessPoolExecutor, ThreadPoolExecutor
executor = {made}
if {used}:
    executor.submit(id, 1).result(30)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("cannot schedule new futures after interpreter shutdown\n", "")
