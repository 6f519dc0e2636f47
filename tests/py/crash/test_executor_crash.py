"""Where a worker of an executor dies, and how: what that costs. `pytest -s` prints the table.

The deaths are those of `test_pool_crash.py`. One of ten tasks meets the death, once; the nine others give their own
results, and so does what the executor is asked for afterwards.
"""

import concurrent.futures
import os
import threading
import types

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

import test_pool_crash as deaths
from manyhands import WorkerDiedError, futures
from manyhands import multiprocessing as mp
from test_pool_crash import HOW, TASKS, VICTIM, WHERE, Argument, Plan, outcome, task, until

pytestmark = pytest.mark.timeout(120)
Broken = concurrent.futures.process.BrokenProcessPool


def executor_of(method, plan, **more):
    """An executor of two workers which have the plan from their start."""
    made = futures.ProcessPoolExecutor(
        2, mp.get_context(method), initializer=deaths.set_up, initargs=(plan,), **more
    )

    def process(*args, **kwargs):
        begun = deaths.PROCESSES[method](*args, **kwargs)
        begun.plan = plan
        return begun

    made._engine.context = types.SimpleNamespace(Process=process)
    return made


def expected(where, how):
    """What the victim gives: a class of exceptions, or its value."""
    told = {"exception": ValueError, "memory": MemoryError}.get(how)
    if where in ("start", "handed over", "exit"):
        return VICTIM
    if where == "initializer":
        return Broken if told else VICTIM
    return WorkerDiedError if where == "hand-over" or told is None else told


def asked(executor, plan):
    """Ten tasks; what each gave."""
    made = []
    for i in range(TASKS):
        try:
            made.append(executor.submit(task, Argument(plan, i) if i == VICTIM else i).result)
        except Broken as error:  # the first worker has told already
            made.append(lambda timeout, error=error: error)
    return [outcome(types.SimpleNamespace(get=result)) for result in made]


def judge(executor, plan, where, how):
    """Ten tasks, then ten more; what the victim gave."""
    outcomes = asked(executor, plan)
    wanted, victim = expected(where, how), outcomes[VICTIM]
    if where in ("handed over", "exit"):  # its result may be here before it dies
        until(lambda: os.path.exists(plan.path))
    assert os.path.exists(plan.path), "nobody died"
    if wanted is Broken:
        assert {type(one) for one in outcomes} == {Broken}
        assert deaths.expected(where, how).__name__ in repr(victim.__cause__) + str(victim)
        with pytest.raises(Broken):
            executor.submit(task, 1)
        return victim
    assert [o for i, o in enumerate(outcomes) if i != VICTIM] == [i for i in range(TASKS) if i != VICTIM]
    if isinstance(wanted, type):
        assert type(victim) is wanted, victim
        if wanted is WorkerDiedError:
            assert deaths.CAUSES.get(how, "exit code 1") in str(victim) and victim.task == "task", victim
    else:
        assert victim == wanted
    assert list(executor.map(task, range(TASKS))) == list(range(TASKS))
    return victim


@pytest.fixture(scope="module")
def table():
    found = {}
    yield found
    print("\n" + " " * 14 + "".join(f"{how:>20}" for how in HOW))
    for where in WHERE:
        print(f"{where:14}" + "".join(f"{found.get((where, how), '-'):>20}" for how in HOW))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("where", [w for w in WHERE if w != "exit"])
def test_a_death_costs_its_task_alone(where, how, tmp_path, table):
    plan = Plan(where, how, str(tmp_path / "died"))
    with executor_of("fork", plan) as executor:
        victim = judge(executor, plan, where, how)
    table[where, how] = type(victim).__name__ if isinstance(victim, Exception) else "all results"
    assert not mp.active_children()


@pytest.mark.parametrize("how", HOW)
def test_a_death_on_the_way_out_costs_nothing(how, tmp_path, table):
    """Workers that leave after two tasks; with fork the standard library refuses that, and so do we."""
    plan = Plan("exit", how, str(tmp_path / "died"))
    with executor_of("forkserver", plan, max_tasks_per_child=2) as executor:
        judge(executor, plan, "exit", how)
    table["exit", how] = "all results"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("how", ["exception", "kill"])
@pytest.mark.parametrize("where", [w for w in WHERE if w != "exit"])
def test_the_same_by_other_start_methods(where, how, method, tmp_path):
    plan = Plan(where, how, str(tmp_path / "died"))
    with executor_of(method, plan) as executor:
        judge(executor, plan, where, how)


@pytest.mark.parametrize("how", ["exit", "kill", "segfault", "overflow"])
@pytest.mark.parametrize("where", ["unpickle", "run", "pickle", "hand-over"])
def test_with_retries_the_task_is_run_again(where, how, tmp_path):
    plan = Plan(where, how, str(tmp_path / "died"))
    with executor_of("fork", plan) as executor:
        made = [
            executor.options(retries=1).submit(task, Argument(plan, i) if i == VICTIM else i)
            for i in range(TASKS)
        ]
        assert [future.result(60) for future in made] == list(range(TASKS))
        assert os.path.exists(plan.path)


# ---- threads and interpreters: what ends a worker there is an exception

running = threading.Event()
LEAVES = [ValueError, SystemExit, KeyboardInterrupt, manyhands.ThreadExit, GeneratorExit, RecursionError]


def leave(error):
    if error is RecursionError:
        leave(error)
    raise error


@pytest.mark.parametrize("error", LEAVES)
def test_no_exception_of_a_task_costs_a_thread(error):
    with futures.ThreadPoolExecutor(1) as executor:
        first = executor.submit(leave, error)
        assert type(first.exception(60)) is error
        assert executor.submit(task, 3).result(60) == 3
        assert len(executor.statistics().workers) == 1


@pytest.mark.parametrize("error", LEAVES[:-1])
def test_an_initializer_that_raises_breaks_threads(error, caplog):
    with futures.ThreadPoolExecutor(1, initializer=leave, initargs=(error,)) as executor:
        first = executor.submit(task, 3)
        assert isinstance(first.exception(60), concurrent.futures.thread.BrokenThreadPool)
        assert error.__name__ in str(first.exception())


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_callback_that_raises_beyond_exceptions_costs_its_thread_and_no_task(error, monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_type))
    with futures.ThreadPoolExecutor(1) as executor:
        first = executor.submit(deaths.time.sleep, 0.05)
        first.add_done_callback(lambda _: leave(error))
        others = [executor.submit(task, i) for i in range(3)]
        assert first.exception(60) is None and [other.result(60) for other in others] == [0, 1, 2]


def spin():
    running.set()
    while True:
        manyhands.checkpoint()


def test_a_thread_that_is_ended_from_outside_costs_its_task_alone():
    """Not by the executor: `terminate()` of the thread itself, as a program may do."""
    with futures.ThreadPoolExecutor(1) as executor:
        first = executor.submit(spin)
        assert running.wait(30)
        for thread in list(executor._threads):
            thread.terminate()
        assert isinstance(first.exception(60), manyhands.ThreadExit)
        assert executor.submit(task, 3).result(60) == 3
