"""Where a worker of a `Pool` dies, and how: what that costs. `pytest -s` prints the table.

One of ten tasks meets the death, once. Whatever happens, the nine others give their own results, and so does what the
pool is asked for afterwards.
"""

import ctypes
import faulthandler
import multiprocessing.util
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import WorkerDiedError
from manyhands import multiprocessing as mp
from manyhands.multiprocessing import _crew_worker
from manyhands.multiprocessing.pool import MaybeEncodingError, Pool

pytestmark = pytest.mark.timeout(120)

WHERE = ["start", "initializer", "unpickle", "run", "pickle", "hand-over", "handed over", "exit"]
HOW = ["exception", "exit", "kill", "segfault", "overflow", "memory"]
TASKS = 10
VICTIM = 5


def raise_it():
    raise ValueError("as planned")


def segfault():
    faulthandler.disable()  # pytest's, which would write to the standard error of the tests
    ctypes.string_at(0)


def overflow():
    """The stack of C, not Python's recursion limit: the regular expressions of libc recurse at each bracket."""
    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))
    ctypes.CDLL(None).regcomp(ctypes.create_string_buffer(4096), b"(" * 1_000_000, 1)
    os._exit(99)  # it did not overflow


def use_up_memory():
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (32 << 20), resource.RLIM_INFINITY))
    hold = []
    while True:
        hold.append(bytearray(1 << 16))


DEATHS = {
    "exception": raise_it,
    "exit": lambda: os._exit(7),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": segfault,
    "overflow": overflow,
    "memory": use_up_memory,
}
CAUSES = {"exit": "exit code 7", "kill": "SIGKILL", "segfault": "SIGSEGV", "overflow": "SIGSEGV"}


class Plan:
    """Die at `where`, once in all processes: whoever makes the file does."""

    def __init__(self, where, how, path):
        self.where, self.how, self.path = where, how, path

    def at(self, where):
        if where == self.where:
            try:
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                if not (where in ("initializer", "pickle") and self.how in ("exception", "memory")):
                    return  # what raises does so every time
            DEATHS[self.how]()


def come_out(plan, value):
    plan.at("unpickle")
    return Argument(plan, value)


class Argument:
    def __init__(self, plan, value):
        self.plan, self.value = plan, value

    def __reduce__(self):
        return come_out, (self.plan, self.value)


class Value:
    def __init__(self, plan, value):
        self.plan, self.value = plan, value

    def __reduce__(self):
        self.plan.at("pickle")
        return int, (self.value,)


def task(argument):
    if isinstance(argument, Argument):
        argument.plan.at("run")
        return Value(argument.plan, argument.value)
    return argument


def set_up(plan):
    plan.at("initializer")
    send = _crew_worker._Worker.send

    def send_or_die(self, number, result):
        if number == VICTIM:
            plan.at("hand-over")
        send(self, number, result)
        if number == VICTIM:
            plan.at("handed over")

    _crew_worker._Worker.send = send_or_die
    multiprocessing.util.Finalize(None, plan.at, args=("exit",), exitpriority=1)


def dying(kind):
    class Dying(kind):
        plan = None

        def run(self):
            self.plan.at("start")
            super().run()

    Dying.__name__ = Dying.__qualname__ = f"Dying{kind.__name__}"
    return Dying


DyingForkProcess = dying(mp.get_context("fork").Process)
DyingSpawnProcess = dying(mp.get_context("spawn").Process)
DyingForkServerProcess = dying(mp.get_context("forkserver").Process)
PROCESSES = {"fork": DyingForkProcess, "spawn": DyingSpawnProcess, "forkserver": DyingForkServerProcess}


def pool_of(method, plan, **more):
    """A pool of two whose workers have the plan from their start."""

    class Planned(Pool):
        @staticmethod
        def Process(ctx, *args, **kwargs):
            process = PROCESSES[method](*args, **kwargs)
            process.plan = plan
            return process

    return Planned(2, set_up, (plan,), context=mp.get_context(method), **more)


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def outcome(result):
    try:
        return result.get(60)
    except Exception as error:
        return error


def expected(where, how):
    """What the victim gives: a class of exceptions, or its value."""
    if where in ("start", "handed over", "exit"):
        return VICTIM
    told = {"exception": ValueError, "memory": MemoryError}.get(how)
    if where == "initializer":
        return told or VICTIM
    if where == "hand-over" or told is None:
        return WorkerDiedError
    return MaybeEncodingError if where == "pickle" else told


@pytest.fixture(scope="module")
def table():
    found = {}
    yield found
    print("\n" + " " * 14 + "".join(f"{how:>20}" for how in HOW))
    for where in WHERE:
        print(f"{where:14}" + "".join(f"{found.get((where, how), '-'):>20}" for how in HOW))


def judge(pool, plan, where, how):
    """Ten tasks, then ten more; what the victim gave."""
    results = [pool.apply_async(task, (Argument(plan, i) if i == VICTIM else i,)) for i in range(TASKS)]
    outcomes = [outcome(result) for result in results]
    wanted = expected(where, how)
    victim = outcomes[VICTIM]
    if where == "handed over":  # its result may be here before it dies
        until(lambda: os.path.exists(plan.path))
    assert os.path.exists(plan.path), "nobody died"
    if where == "initializer" and isinstance(wanted, type):
        assert {type(one) for one in outcomes} == {wanted}
        return victim
    if where == "exit":  # it has been fulfilled, whenever the death came
        pool.close()
        pool.join()
    assert [o for i, o in enumerate(outcomes) if i != VICTIM] == [i for i in range(TASKS) if i != VICTIM]
    if isinstance(wanted, type):
        assert type(victim) is wanted, victim
        if wanted is WorkerDiedError:
            assert CAUSES.get(how, "exit code 1") in str(victim) and victim.task == "task", victim
    else:
        assert victim == wanted
    if where != "exit":
        assert pool.map(task, range(TASKS), 1) == list(range(TASKS))
        until(lambda: len(pool._pool) == 2)
    return victim


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("where", WHERE)
def test_a_death_costs_its_task_alone(where, how, tmp_path, table):
    plan = Plan(where, how, str(tmp_path / "died"))
    more = {"maxtasksperchild": 2} if where == "exit" else {}
    with pool_of("fork", plan, **more) as pool:
        victim = judge(pool, plan, where, how)
    pool.join()
    table[where, how] = type(victim).__name__ if isinstance(victim, Exception) else "all results"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("how", ["exception", "kill"])
@pytest.mark.parametrize("where", WHERE)
def test_the_same_by_other_start_methods(where, how, method, tmp_path):
    plan = Plan(where, how, str(tmp_path / "died"))
    more = {"maxtasksperchild": 2} if where == "exit" else {}
    with pool_of(method, plan, **more) as pool:
        judge(pool, plan, where, how)
    pool.join()


@pytest.mark.parametrize("how", ["exit", "kill", "segfault", "overflow"])
@pytest.mark.parametrize("where", ["unpickle", "run", "pickle", "hand-over"])
def test_with_retries_the_task_is_run_again(where, how, tmp_path):
    plan = Plan(where, how, str(tmp_path / "died"))
    with pool_of("fork", plan, retries=1) as pool:
        results = [pool.apply_async(task, (Argument(plan, i) if i == VICTIM else i,)) for i in range(TASKS)]
        assert [r.get(60) for r in results] == list(range(TASKS))
        assert os.path.exists(plan.path)
    pool.join()


@pytest.mark.parametrize("engine", ["pool", "executor"])
def test_a_short_chaos(engine):
    """`make chaos` at length is for by hand; this holds it to its word."""
    chaos = str(Path(__file__).parent / "chaos_pool.py")
    done = subprocess.run(
        [sys.executable, chaos, f"--engine={engine}", "--tasks=3000", "--kills=10"],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3000 tasks" in done.stdout and " 0 lost, 0 wrong, 0 ran twice" in done.stdout
