"""What executors of every kind can do: one test for each thing that users ask for, by its name."""

import asyncio
import concurrent.futures
import gc
import itertools
import os
import subprocess
import sys
import threading
import time
import weakref

import executor_helpers as tasks
import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import Executor, WorkerDiedError
from manyhands import multiprocessing as mp
from manyhands.futures import _alarms
from manyhands.futures._map import Results

_alarms.IDLE_SECONDS = 0.1  # each test shall leave no thread behind

INTERPRETERS = sys.version_info >= (3, 13)
KINDS = ["threads", "processes"] + ["interpreters"] * INTERPRETERS
LONG = 60  # seconds after which a test gives up


def make(kind, workers=2, **options):
    if kind == "processes":
        options.setdefault("mp_context", mp.get_context("fork"))
    return Executor(kind, workers, **options)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def executor(kind):
    with make(kind) as made:
        yield made


def until(path, seconds=LONG):
    """Wait until the file is there."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not come"
        time.sleep(0.005)


def wait_for(true, seconds=LONG):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.005)


# ---- the interface


def test_it_is_an_executor_of_the_standard_library(executor):
    future = executor.submit(tasks.add, 1, 2, z=3)
    assert isinstance(executor, concurrent.futures.Executor)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(LONG) == 6
    assert list(executor.map(tasks.square, range(30))) == [x * x for x in range(30)]
    assert concurrent.futures.wait([executor.submit(tasks.square, 2)], LONG).done


def test_kinds_and_options_are_checked():
    with pytest.raises(ValueError, match="'threads', 'processes', 'interpreters'"):
        Executor("fibres")
    with pytest.raises(TypeError, match="max_memory=: they share the memory"):
        Executor("threads", max_memory=1)
    with pytest.raises(TypeError, match="colour=; it takes"):
        Executor("processes", colour="red")
    for bad in ({"max_workers": 0}, {"min_workers": 3, "max_workers": 2}, {"idle_timeout": 0}):
        with pytest.raises(ValueError):
            Executor("threads", **bad)
    with pytest.raises(TypeError):
        Executor("threads", initializer=3)
    with pytest.raises(TypeError, match="there is no option 'time'; the options are timeout, retries"):
        Executor("threads").options(time=3)


@pytest.mark.skipif(INTERPRETERS, reason="they are there")
def test_interpreters_say_from_which_python_on():
    with pytest.raises(RuntimeError, match=r"need Python 3\.13 or newer.*threads.*processes"):
        Executor("interpreters")


def test_an_exception_arrives_as_itself(executor):
    error = executor.submit(tasks.fail, "so").exception(LONG)
    assert type(error) is ValueError and str(error) == "so"


def test_map_in_one_line(kind):
    assert list(manyhands.map(tasks.square, range(50), kind=kind, max_workers=2)) == [
        x * x for x in range(50)
    ]


def test_map_in_one_line_takes_an_endless_iterable():
    results = manyhands.map(tasks.square, itertools.count(), kind="threads", max_workers=2)
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    results.close()


# ---- the table


def test_a_time_limit_ends_the_task(executor, kind, tmp_path):
    spin = tasks.spin_here if kind == "interpreters" else tasks.spin
    limited = executor.options(timeout=0.5)
    begun = time.monotonic()
    future = limited.submit(spin, str(tmp_path / "begun"))
    with pytest.raises(TimeoutError, match=r"longer than 0\.5 seconds"):
        future.result(LONG)
    assert 0.5 <= time.monotonic() - begun < 20 and (tmp_path / "begun").exists()
    assert executor.submit(tasks.square, 3).result(LONG) == 9
    assert limited.submit(tasks.square, 4).result(LONG) == 16


def test_a_time_limit_is_each_tasks_own(executor):
    limited = executor.options(timeout=30)
    assert list(limited.map(tasks.square, range(10))) == [x * x for x in range(10)]
    short = executor.options(
        timeout=0.3
    )  # ten tasks of 0.1 seconds on two workers: the last begins after 0.4
    assert list(short.map(tasks.nap, [0.1] * 10)) == [0.1] * 10


def test_a_time_limit_holds_on_maps(executor, kind, tmp_path):
    spin = tasks.spin_here if kind == "interpreters" else tasks.spin
    with pytest.raises(TimeoutError):
        list(executor.options(timeout=0.3).map(spin, [str(tmp_path / "begun")]))


def test_other_tasks_outlive_a_time_limit():
    with make("processes") as executor:
        others = [executor.submit(tasks.nap, 0.05) for _ in range(20)]
        late = executor.options(timeout=0.2).submit(tasks.spin)
        others += [executor.submit(tasks.nap, 0.05) for _ in range(20)]
        assert isinstance(late.exception(LONG), TimeoutError)
        assert [f.result(LONG) for f in others] == [0.05] * 40


def test_cancel_a_running_task(executor, kind, tmp_path):
    spin = tasks.spin_here if kind == "interpreters" else tasks.spin
    future = executor.submit(spin, str(tmp_path / "begun"))
    until(tmp_path / "begun")
    assert future.cancel() is False
    assert future.cancel(running=True) is True and future.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result(LONG)
    assert executor.submit(tasks.square, 3).result(LONG) == 9
    assert executor.submit(tasks.square, 3).cancel(running=True) in (True, False)


def test_cancel_of_a_task_that_has_not_begun_keeps_it_from_running(kind, tmp_path):
    with make(kind, 1) as executor:
        first = executor.submit(tasks.touch, str(tmp_path / "first"), 0.3)
        until(tmp_path / "first")
        second = executor.submit(tasks.touch, str(tmp_path / "second"))
        assert second.cancel(running=True)
        assert first.result(LONG) is None
        assert executor.submit(tasks.square, 2).result(LONG) == 4
        executor.drain(LONG)
    assert not (tmp_path / "second").exists()


def test_run_again_after_an_exception(executor, tmp_path):
    path = str(tmp_path / "runs")
    again = executor.options(retries=2, retry_on=KeyError)
    assert again.submit(tasks.fail_until, path, 2).result(LONG) == 3
    with pytest.raises(KeyError):
        again.submit(tasks.fail_until, path + "2", 3).result(LONG)
    with pytest.raises(ValueError):  # not among those
        again.submit(tasks.fail, "once").result(LONG)


def test_run_again_after_a_death(tmp_path):
    with make("processes") as executor:
        path = str(tmp_path / "runs")
        assert executor.options(retries=2).submit(tasks.fail_until, path, 2, "die").result(LONG) == 3
        error = executor.options(retries=1).submit(tasks.fail_until, path + "2", 9, "die").exception(LONG)
        assert isinstance(error, WorkerDiedError) and os.path.getsize(path + "2") == 2


def test_backoff_waits_before_each_run(kind, tmp_path):
    with make(kind, 1) as executor:
        asked = []
        options = executor.options(retries=3, retry_on=KeyError, backoff=lambda n: asked.append(n) or 0.05)
        assert options.submit(tasks.fail_until, str(tmp_path / "runs"), 3).result(LONG) == 4
        assert asked == [1, 2, 3]
        begun = time.monotonic()
        again = executor.options(retries=2, retry_on=KeyError, backoff=0.1)
        again.submit(tasks.fail_until, str(tmp_path / "runs2"), 2).result(LONG)
        assert time.monotonic() - begun >= 0.3


def test_shutdown_waits_for_tasks_that_are_run_again(kind, tmp_path):
    executor = make(kind, 1)
    options = executor.options(retries=2, retry_on=KeyError, backoff=0.2)
    future = options.submit(tasks.fail_until, str(tmp_path / "runs"), 2)
    executor.shutdown()
    assert future.result(0) == 3


def test_elastic_size(kind):
    with make(kind, 3, min_workers=1, idle_timeout=0.2) as executor:
        list(executor.map(tasks.nap, [0.2] * 6))
        assert sum(w.alive for w in executor.statistics().workers) >= 2
        wait_for(lambda: sum(w.alive for w in executor.statistics().workers) == 1)
        assert list(executor.map(tasks.square, range(20))) == [x * x for x in range(20)]


def test_recycle_workers_after_tasks(kind):
    options = {"mp_context": mp.get_context("spawn")} if kind == "processes" else {}
    with make(kind, 1, max_tasks_per_child=2, **options) as executor:
        seen = [executor.submit(tasks.worker_name).result(LONG) for _ in range(5)]
    assert seen[0] == seen[1] and seen[2] == seen[3] and len(set(seen)) >= 2 + (kind == "processes")


def test_recycle_workers_by_age(kind):
    with make(kind, 1, max_age=0.2) as executor:
        first = executor.statistics, executor.submit(tasks.nap, 0.3).result(LONG)
        assert executor.submit(tasks.square, 3).result(LONG) == 9 and first
        wait_for(lambda: len(executor.statistics().workers) >= 2)


def test_recycle_workers_by_memory():
    with make("processes", 1) as executor:  # what a forked worker begins with
        begins = executor.submit(tasks.resident).result(LONG)
    with make("processes", 1, max_memory=begins + 150_000_000) as executor:
        small = executor.submit(tasks.eat, 1000).result(LONG)
        large = executor.submit(tasks.eat, 300_000_000).result(LONG)
        assert small == large
        assert executor.submit(tasks.pid).result(LONG) != large


def test_back_pressure_takes_an_endless_iterator(executor):
    taken = []

    def endless():
        for x in itertools.count():
            taken.append(x)
            yield x

    results = executor.map(tasks.square, endless(), buffersize=3)
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    assert len(taken) <= 5 + 3
    results.close()


def test_unordered_results_come_as_they_are_done(executor):
    long = 5.0 if executor.kind == "interpreters" else 1.0  # longer than a worker takes to start
    results = executor.map(tasks.nap, [long, 0.01], ordered=False)
    assert next(results) == 0.01 and next(results) == long


def test_chunks_by_measurement(executor):
    assert list(executor.map(tasks.square, range(5000), chunksize="auto")) == [x * x for x in range(5000)]
    unordered = executor.map(tasks.square, range(500), chunksize="auto", ordered=False)
    assert sorted(unordered) == [x * x for x in range(500)]


def test_progress_on_every_map(executor, capfd, monkeypatch):
    monkeypatch.setattr(
        "manyhands.futures._progress._installed", lambda name: False
    )  # test_executor_packages has bars
    assert len(list(executor.map(tasks.square, range(7), progress="squares"))) == 7
    assert "squares: 7 of 7 (100%)" in capfd.readouterr().err
    results = executor.map(tasks.square, range(7), progress=True)
    next(results)
    results.close()  # as Ctrl-C would
    assert "square: 1 of 7" in capfd.readouterr().err


def test_an_initializer_sets_up_each_worker(kind, tmp_path):
    with make(kind, 2, initializer=tasks.set_up, initargs=(str(tmp_path / "set"),)) as executor:
        assert executor.submit(tasks.square, 2).result(LONG) == 4
        assert executor.submit(tasks.nap, 0.01).result(LONG)
        until(tmp_path / "set")


def test_a_failing_initializer_names_itself_and_its_traceback(kind, caplog):
    with make(kind, 1, initializer=tasks.fail, initargs=("no set-up",)) as executor:
        error = executor.submit(tasks.square, 2).exception(LONG)
        assert isinstance(error, concurrent.futures.BrokenExecutor)
        assert "no set-up" in str(error) and "ValueError" in str(error)
        import traceback

        assert "in fail" in "".join(traceback.format_exception(error))
        with pytest.raises(concurrent.futures.BrokenExecutor):
            executor.submit(tasks.square, 2)


def test_inner_threads_of_worker_processes(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with make("processes", 1, inner_threads=3) as executor:
        assert executor.submit(tasks.environment, "OMP_NUM_THREADS").result(LONG) == "3"
    with make("processes", 1000, min_workers=1) as executor:
        assert executor.submit(tasks.environment, "OMP_NUM_THREADS").result(LONG) == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # what the user has set stands
    with make("processes", 1) as executor:
        assert executor.submit(tasks.environment, "OMP_NUM_THREADS").result(LONG) == "7"


def test_inner_threads_of_threads_say_what_they_need():
    try:
        import threadpoolctl  # noqa: F401
    except ImportError:
        with Executor("threads", 1, inner_threads=1) as executor:
            error = executor.submit(tasks.square, 2).exception(LONG)
            assert "threadpoolctl" in str(error)
    else:
        with Executor("threads", 1, inner_threads=1) as executor:
            assert executor.submit(tasks.square, 2).result(LONG) == 4


def test_nested_pools():
    with make("processes", 2) as executor:
        assert list(executor.map(tasks.nested, ["fork", "fork"], [4, 5])) == [14, 30]


def test_nested_pools_share_the_cores():
    with make("processes", 1000, min_workers=1) as executor:
        assert executor.submit(tasks.default_workers).result(LONG) == 1


def test_shutdown_with_a_time_limit(kind, tmp_path):
    executor = make(kind, 1)
    future = executor.submit(tasks.touch, str(tmp_path / "begun"), 0.6)
    until(tmp_path / "begun")
    with pytest.raises(TimeoutError):
        executor.shutdown(timeout=0.05)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(tasks.square, 2)
    executor.shutdown(timeout=LONG)
    assert future.result(0) is None


def test_drain_waits_and_leaves_it_open(executor, tmp_path):
    futures = [executor.submit(tasks.nap, 0.05) for _ in range(6)]
    executor.drain(LONG)
    assert all(f.done() for f in futures)
    slow = executor.submit(tasks.touch, str(tmp_path / "begun"), 0.5)
    with pytest.raises(TimeoutError):
        executor.drain(0.05)
    assert slow.result(LONG) is None and executor.submit(tasks.square, 2).result(LONG) == 4


def test_pause_and_resume(kind, tmp_path):
    with make(kind, 1) as executor:
        assert executor.submit(tasks.square, 2).result(LONG) == 4
        executor.pause()
        held = [executor.submit(tasks.touch, str(tmp_path / "held")) for _ in range(5)]
        assert not concurrent.futures.wait(held, 0.3).done and not (tmp_path / "held").exists()
        executor.resume()
        assert [f.result(LONG) for f in held] == [None] * 5


def test_shutdown_ends_a_pause(kind):
    executor = make(kind, 1)
    executor.pause()
    held = executor.submit(tasks.square, 3)
    executor.shutdown()
    assert held.result(0) == 9


def test_statistics_say_what_each_worker_did(executor):
    list(executor.map(tasks.nap, [0.05] * 6))
    executor.drain(LONG)
    wait_for(lambda: executor.statistics().tasks == 6)
    figures = executor.statistics()
    assert 0.25 < figures.work < 30 and figures.start >= 0 and figures.wait >= 0
    assert len(str(figures).splitlines()) == len(figures.workers) + 1


def test_asyncio(kind):
    async def main():
        async with make(kind) as executor:
            assert await executor.run(tasks.add, 1, 2, z=3) == 6
            assert [r async for r in executor.map(tasks.square, range(10))] == [x * x for x in range(10)]
            unordered = [r async for r in executor.map(tasks.square, range(10), ordered=False)]
            assert sorted(unordered) == [x * x for x in range(10)]
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(executor, tasks.square, 7) == 49
            assert await asyncio.wrap_future(executor.submit(tasks.square, 8)) == 64
            with pytest.raises(ValueError):
                await executor.run(tasks.fail, "so")
            with pytest.raises(TimeoutError):
                spin = tasks.nap if kind == "interpreters" else tasks.spin
                await executor.options(timeout=0.2).run(spin, *([1.0] if kind == "interpreters" else []))

    asyncio.run(main())


def test_a_cancelled_wait_in_asyncio_ends_the_task(tmp_path):
    async def main():
        async with make("processes", 1) as executor:
            running = asyncio.ensure_future(executor.run(tasks.spin, str(tmp_path / "begun")))
            while not (tmp_path / "begun").exists():
                await asyncio.sleep(0.01)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert await executor.run(tasks.square, 3) == 9

    asyncio.run(main())


# ---- deaths


@pytest.mark.parametrize(
    "how, word", [("kill", "SIGKILL"), ("exit", "exit code 3"), ("segfault", "SIGSEGV"), ("abort", "SIGABRT")]
)
def test_a_death_is_told_with_its_cause_its_task_and_the_last_words(how, word):
    with make("processes", 1) as executor:
        error = executor.submit(tasks.die, how, "it hurts here").exception(LONG)
        assert isinstance(error, WorkerDiedError) and isinstance(
            error, concurrent.futures.process.BrokenProcessPool
        )
        text = str(error)
        assert word in text and "ran die" in text and "it hurts here" in text, text
        if how == "segfault":
            assert "string_at" in error.last_words  # where it crashed
        assert executor.submit(tasks.square, 3).result(LONG) == 9


def test_terminate_and_kill_workers(tmp_path):
    for verb in ("terminate_workers", "kill_workers"):
        executor = make("processes", 1)
        running = executor.submit(tasks.spin, str(tmp_path / verb))
        until(tmp_path / verb)
        waiting = [executor.submit(tasks.square, i) for i in range(200)]
        getattr(executor, verb)()
        assert isinstance(running.exception(LONG), concurrent.futures.process.BrokenProcessPool)
        assert all(f.cancelled() or f.exception(LONG) is not None for f in waiting)
        executor.shutdown(timeout=LONG)


def test_a_loop_that_is_left_by_an_exception_cancels_the_rest_at_once(executor):
    """Without the collector, and while the exception is still on its way."""
    gc.disable()
    try:
        with pytest.raises(KeyError) as caught:
            for number in executor.map(tasks.nap, [0.01] * 10**6, buffersize=4):
                raise KeyError(number)
        assert not [one for one in gc.get_objects() if isinstance(one, Results)], caught
    finally:
        gc.enable()


SLOW = {"asyncio", "ctypes", "dataclasses", "inspect", "typing"}  # to import
WORKER = """
import sys
from manyhands import multiprocessing

def names():
    return list(sys.modules)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    if "futures" in {made!r}:
        from manyhands import futures
    with {made} as made:
        print(*made.{call}(names){end})
"""


def imported(*command):
    done = subprocess.run(
        [sys.executable, "-I", "-S", *command], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["threading", "queue", "multiprocessing", "futures"])
def test_what_is_slow_to_import_is_not_imported_before_it_is_used(module):
    """`inspect` alone takes longer than all of ours. What the standard library's module imports is its own affair."""
    path = os.path.dirname(os.path.dirname(manyhands.__file__))
    code = f"import sys; sys.path.insert(0, {path!r}); import {{}}; print(*sys.modules)"
    standard = imported("-c", code.format("concurrent." * (module == "futures") + module))
    assert not (imported("-c", code.format(f"manyhands.{module}")) - standard) & SLOW


@pytest.mark.parametrize(
    "made, call, end",
    [
        ("context.Pool(1)", "apply", ""),
        ("futures.ProcessPoolExecutor(1, mp_context=context)", "submit", ".result()"),
    ],
)
def test_a_spawned_worker_imports_little(tmp_path, made, call, end):
    (tmp_path / "program.py").write_text(WORKER.format(made=made, call=call, end=end))
    done = subprocess.run(
        [sys.executable, "-S", str(tmp_path / "program.py")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    names = set(done.stdout.split())
    standard = (
        imported("-c", "import concurrent.futures, sys; print(*sys.modules)") if call == "submit" else set()
    )
    slow = SLOW - {"typing"} - standard  # pkgutil's; from 3.14 on futures' traceback imports more
    assert "manyhands.multiprocessing._crew_worker" in names and not names & slow
    if call == "apply":
        assert not names & {"multiprocessing.connection", "tempfile", "traceback"}


# ---- interpreters

interpreters = pytest.mark.skipif(not INTERPRETERS, reason="from 3.13 on")


@interpreters
def test_no_interpreter_is_made_while_a_process_is_forked(monkeypatch):
    """The child would hang: it has the other thread's half-made interpreter, and its locks."""
    real = os.fork
    calls = []

    def slow():
        calls.append(executor.submit(abs, -1))
        with pytest.raises(TimeoutError):
            calls[0].result(1)
        monkeypatch.undo()
        return real()

    process = mp.get_context("fork").Process(target=tasks.square, args=(1,))
    with make("interpreters", 1) as executor:
        monkeypatch.setattr(os, "fork", slow)
        process.start()
        assert calls[0].result(LONG) == 1
    process.join()
    assert process.exitcode == 0


@interpreters
def test_a_task_that_is_taken_away_before_it_began_does_not_begin(monkeypatch, tmp_path):
    """Its worker is told while it still hands the task over, and there is nothing to raise an exception in."""
    from manyhands.futures import _interpreter

    handing, on = threading.Event(), threading.Event()
    step = _interpreter.InterpreterWorker._exec

    def late(self, script):
        if "step" in script:
            handing.set()
            assert on.wait(LONG)
        step(self, script)

    monkeypatch.setattr(_interpreter.InterpreterWorker, "_exec", late)
    with make("interpreters", 1) as executor:
        future = executor.submit(tasks.spin_here, str(tmp_path / "begun"))
        assert handing.wait(LONG) and future.cancel(running=True)
        (ending,) = _interpreter._ending
        time.sleep(0.1)  # the thread inside takes the message meanwhile; where it does not, nothing is tried
        on.set()
        ending.join(10)
        assert not ending.is_alive() and not (tmp_path / "begun").exists()


@interpreters
def test_a_fork_is_refused_while_interpreters_live():
    with make("interpreters", 1) as executor:
        assert executor.submit(tasks.square, 3).result(LONG) == 9
        with pytest.raises(RuntimeError, match="would kill the child"):
            os.fork()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


@interpreters
def test_a_refused_import_names_the_module_and_advises_processes():
    with make("interpreters", 1) as executor:
        error = executor.submit(__import__, "faulthandler").exception(LONG)
        assert isinstance(error, ImportError) and "faulthandler" in str(error)
        assert any("faulthandler" in note and "processes" in note for note in error.__notes__)


def test_forgotten_executors_end_their_workers(kind):
    executor = make(kind, 1)
    assert executor.submit(tasks.square, 2).result(LONG) == 4
    engine = executor._engine
    del executor
    import gc

    gc.collect()
    assert engine.closing and engine.join(LONG)
    assert threading.current_thread() is threading.main_thread()


def test_an_executor_that_is_forgotten_in_a_cycle_ends_its_workers(kind):
    """A weak reference that goes together with what it refers to tells nobody."""
    executor = make(kind, 1)
    executor.itself = executor
    assert executor.submit(tasks.square, 2).result(LONG) == 4
    engine = executor._engine
    del executor
    import gc

    gc.collect()
    assert engine.closing and engine.join(LONG)


def test_the_results_of_a_map_do_not_keep_the_executor(kind):
    executor = make(kind, 1)
    results = executor.map(tasks.square, range(5))
    engine = executor._engine
    del executor
    import gc

    gc.collect()
    assert engine.closing and engine.join(LONG)
    assert list(results) == [0, 1, 4, 9, 16]


def test_what_was_submitted_is_not_kept(executor):
    holder = tasks.Holder()
    gone = weakref.ref(holder)
    assert executor.submit(holder.look).result(LONG) == 7
    del holder
    wait_for(lambda: gone() is None)


@pytest.mark.parametrize("which", ["manyhands-watcher", "manyhands-collector"])
def test_a_start_that_fails_leaves_nothing_and_may_be_tried_again(which, monkeypatch):
    from manyhands.multiprocessing import _crew

    class Thread(threading.Thread):
        def start(self):
            if self.name == which:
                raise RuntimeError("can't start new thread")
            super().start()

    with make("processes") as executor:
        with monkeypatch.context() as patch:
            patch.setattr(_crew._threading, "Thread", Thread)
            with pytest.raises(concurrent.futures.process.BrokenProcessPool, match="can't start new thread"):
                executor.submit(tasks.square, 2)
        assert not mp.active_children()
        assert executor.submit(tasks.square, 3).result(LONG) == 9


def test_a_limit_that_was_taken_back_keeps_no_thread():
    taken_back = _alarms.alarm(3600, lambda: None)
    assert _alarms._clock.thread is not None
    taken_back.cancel()
    wait_for(lambda: _alarms._clock.thread is None)


def test_chunks_that_wait_in_line_may_be_run_again(kind):
    """More chunks than there are places: those that wait are pickled, and were so twice."""
    with make(kind) as executor:
        results = executor.options(retries=1).map(tasks.square, range(40), chunksize=4)
        assert list(results) == [x * x for x in range(40)]
