"""`multiprocessing.Pool`: what the standard library's does, and what it does not survive."""

import gc
import itertools
import multiprocessing.pool
import os
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures.process import BrokenProcessPool

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from manyhands import RemoteError, WorkerDiedError
from manyhands import multiprocessing as mp

METHODS = ["fork", "spawn", "forkserver"]
pytestmark = pytest.mark.timeout(120)


def square(x):
    return x * x


def add(a, b=0):
    return a + b


def die(x, how=signal.SIGKILL):
    if x == 3:
        if isinstance(how, int):
            os.kill(os.getpid(), how)
        raise how
    return x


def leave(x):
    if x == 3:
        os._exit(7)
    return x


def fail(x):
    raise ValueError(f"bad {x}")


class Awkward(Exception):
    """Pickles, but does not unpickle."""

    def __init__(self, a, b):
        super().__init__(f"{a} {b}")


def awkward(x):
    raise Awkward(x, x)


class Sulky:
    def __reduce__(self):
        raise RuntimeError("not me")


class Delayed:
    """Cannot be unpickled."""

    def __reduce__(self):
        return fail, (1,)


def give_sulky(x):
    return Sulky()


def give_delayed(x):
    return Delayed()


def set_up(word):
    if word == "fail":
        raise LookupError("no set-up today")
    global prepared
    prepared = word


def show_set_up(_):
    return prepared


def pid(_):
    return os.getpid()


def nap(seconds):
    time.sleep(seconds)
    return os.getpid()


@pytest.fixture(params=METHODS)
def pool(request):
    with mp.get_context(request.param).Pool(2) as made:
        yield made
    made.join()


@pytest.fixture
def forked():
    with mp.get_context("fork").Pool(2) as made:
        yield made
    made.join()


def test_it_is_ours_and_looks_like_the_standard_librarys(forked):
    assert isinstance(forked, multiprocessing.pool.Pool) and type(forked).__module__.startswith("manyhands")
    assert len(forked._pool) == forked._processes == 2
    assert all(p.daemon and "PoolWorker" in p.name for p in forked._pool)
    assert "state=RUN pool_size=2" in repr(forked)


def test_all_ways_to_call(pool):
    squares = [x * x for x in range(50)]
    assert pool.apply(add, (1,), {"b": 2}) == 3
    assert pool.apply_async(add, (1, 2)).get(30) == 3
    for chunk in (None, 1, 7, 100):
        assert pool.map(square, range(50), chunk) == squares
        assert pool.map_async(square, iter(range(50)), chunk).get(30) == squares
        assert pool.starmap(add, [(x, x) for x in range(50)], chunk) == [2 * x for x in range(50)]
    for chunk in (1, 7):
        assert list(pool.imap(square, range(50), chunk)) == squares
        assert sorted(pool.imap_unordered(square, iter(range(50)), chunk)) == squares
    assert pool.map(square, []) == [] and list(pool.imap(square, [])) == []
    assert pool.map(lambda x: x + 1, range(5)) == [1, 2, 3, 4, 5]


def test_large_values_and_many_small_ones(forked):
    blob = bytes(range(256)) * 4096
    assert forked.map(bytes, [blob] * 5, 1) == [blob] * 5
    assert forked.map(square, range(3000), 1) == [x * x for x in range(3000)]


def own_memory_after_a_collection(_):
    """Bytes that this process shares with nobody, before a collection of all generations and after."""
    before = own_memory()
    gc.collect()
    return before, own_memory()


def own_memory():
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private")) * 1024


def workers_of_a_pool(method):
    return mp.get_context(method).Pool(1)


def workers_of_an_executor(method):
    return manyhands.Executor("processes", 1, mp_context=mp.get_context(method))


@pytest.mark.parametrize("workers", [workers_of_a_pool, workers_of_an_executor])
def test_a_collection_in_a_forked_worker_does_not_copy_what_it_inherited(workers):
    many = [{"number": i} for i in range(100_000)]  # 20 MB and more
    with workers("fork") as pool:
        ((before, after),) = pool.map(own_memory_after_a_collection, [None])
    assert after - before < 4 << 20, (before, after)
    del many


@pytest.mark.parametrize("workers", [workers_of_a_pool, workers_of_an_executor])
def test_what_a_worker_makes_itself_is_collected(workers):
    with workers("fork") as pool:
        assert list(pool.map(collected, range(5))) == [True] * 5


class Cycle:
    def __init__(self):
        self.me = self


def collected(_):
    one = Cycle()
    seen = weakref.ref(one)
    del one
    gc.collect()
    return seen() is None


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_killed_worker_fails_its_task_alone(forked, signum):
    results = [forked.apply_async(die, (x, signum)) for x in range(20)]
    for x, result in enumerate(results):
        if x == 3:
            with pytest.raises(WorkerDiedError, match=signal.Signals(signum).name):
                result.get(30)
        else:
            assert result.get(30) == x
    assert forked.map(square, range(4)) == [0, 1, 4, 9]


def test_a_worker_that_leaves_says_with_which_code(pool):
    results = [pool.apply_async(leave, (x,)) for x in range(6)]
    with pytest.raises(WorkerDiedError, match="exit code 7"):
        results[3].get(60)
    assert [r.get(60) for i, r in enumerate(results) if i != 3] == [0, 1, 2, 4, 5]


def cry(x):
    sys.stderr.write("the last thing I saw\n")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_death_is_told_in_full(pool):
    with pytest.raises(WorkerDiedError, match=r"ran cry \(killed by SIGKILL\)") as caught:
        pool.map(cry, [1, 2, 3], 2)
    error = caught.value
    assert (error.exitcode, error.task, error.last_words) == (-9, "cry", "the last thing I saw")
    assert "the last thing I saw" in str(error) and isinstance(error.pid, int)
    assert isinstance(error, BrokenProcessPool)


def test_a_crash_leaves_its_stack(tmp_path):
    script = tmp_path / "crash.py"
    script.write_text(CRASH)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


CRASH = """
import ctypes
from manyhands import multiprocessing as mp
def crash(x):
    ctypes.string_at(0)
if __name__ == "__main__":
    with mp.Pool(1) as pool:
        try:
            pool.apply(crash, (1,))
        except Exception as error:
            assert "Segmentation fault" in error.last_words and " in crash" in error.last_words, error
            raise SystemExit
    raise SystemExit("no error")
"""


def die_once(path):
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "alive"
    os.kill(os.getpid(), signal.SIGKILL)


def test_retries_run_a_task_again_whose_worker_died(tmp_path):
    with mp.get_context("fork").Pool(2, retries=1) as pool:
        paths = [str(tmp_path / str(i)) for i in range(8)]
        assert pool.map(die_once, paths[:3], 1) == ["alive"] * 3
        assert pool.apply(die_once, paths[3:4]) == "alive"
        assert list(pool.imap(die_once, paths[4:])) == ["alive"] * 4
        with pytest.raises(WorkerDiedError, match="SIGKILL"):
            pool.apply(die, (3,))
        with pytest.raises(ValueError, match="bad 1"):
            pool.apply(fail, (1,))
    for wrong in (-1, "1"):
        with pytest.raises(ValueError, match="retries"):
            mp.Pool(1, retries=wrong)


def noted(x):
    error = Awkward(x, x)
    error.add_note("and a note")
    raise error


def test_notes_come_along(forked):
    with pytest.raises(RemoteError) as caught:
        forked.apply(noted, (1,))
    assert caught.value.__notes__ == ["and a note"] and caught.value.type_name == "Awkward"


def test_a_task_that_exits_the_worker_fails(forked):
    with pytest.raises(WorkerDiedError, match="exit code 5"):
        forked.apply_async(die, (3, SystemExit(5))).get(30)


def test_map_goes_on_after_a_death(forked):
    with pytest.raises(WorkerDiedError):
        forked.map(die, range(100), 1)
    found = []
    iterator = forked.imap(die, range(10))
    for _ in range(10):
        try:
            found.append(next(iterator))
        except WorkerDiedError:
            found.append("died")
    assert found == [0, 1, 2, "died", 4, 5, 6, 7, 8, 9]


def test_exceptions(pool):
    with pytest.raises(ValueError, match="bad 5") as caught:
        pool.apply(fail, (5,))
    assert type(caught.value.__cause__) is multiprocessing.pool.RemoteTraceback
    assert "in fail" in str(caught.value.__cause__)
    with pytest.raises(RemoteError, match="Awkward: 1 1"):
        pool.apply(awkward, (1,))
    with pytest.raises(multiprocessing.pool.MaybeEncodingError, match="not me"):
        pool.apply(give_sulky, (1,))
    with pytest.raises(ValueError, match="bad 1"):
        pool.apply(give_delayed, (1,))
    with pytest.raises(ValueError, match="bad 1"):
        pool.apply(add, (Delayed(),))
    assert pool.apply(square, (3,)) == 9


def test_what_cannot_be_sent_fails_alone(forked):
    results = [forked.apply_async(add, (x,)) for x in (1, Sulky(), 2)]
    assert (results[0].get(30), results[2].get(30)) == (1, 2)
    with pytest.raises(RuntimeError, match="not me"):
        results[1].get(30)
    with pytest.raises(RuntimeError, match="not me"):
        forked.map_async(add, [1, 2, Sulky(), 3], 1).get(30)
    with pytest.raises(RuntimeError, match="not me"):
        list(forked.imap(add, [1, Sulky(), 3]))
    assert forked.map(square, range(3), 1) == [0, 1, 4]


def test_a_worker_that_cannot_start_fails_the_pool_and_leaves_no_other():
    """With a class of processes whose `join` takes no time-out."""
    started = []

    class Third(mp.get_context("fork").Process):
        def start(self):
            if len(started) == 2:
                raise OSError("no third")
            super().start()
            started.append(self)

        def join(self):
            super().join()

    class Context(type(mp.get_context("fork"))):
        Process = Third

    with pytest.raises(OSError, match="no third"):
        mp.pool.Pool(5, context=Context())
    assert [process.exitcode for process in started] == [-signal.SIGTERM] * 2


def test_an_iterable_that_raises(forked):
    def broken():
        yield 1
        raise OSError("no more")

    iterator = forked.imap(square, broken())
    assert next(iterator) == 1
    with pytest.raises(OSError, match="no more"):
        next(iterator)
    with pytest.raises(StopIteration):
        next(iterator)


def test_imap_reads_as_far_as_results_are_asked_for(forked):
    read = itertools.count()
    iterator = forked.imap(square, read)
    assert [next(iterator) for _ in range(200)] == [x * x for x in range(200)]
    assert next(read) <= 200 + 2 * 16 + 3


def test_close_finishes_what_nobody_asks_for(tmp_path):
    with mp.get_context("fork").Pool(2) as pool:
        pool.imap_unordered(touch, [str(tmp_path / str(i)) for i in range(100)])
        pool.close()
        pool.join()
    assert len(list(tmp_path.iterdir())) == 100


def touch(path):
    open(path, "w").close()


def test_initializer(pool):
    with mp.get_context("fork").Pool(2, set_up, ("ready",)) as prepared_pool:
        assert prepared_pool.map(show_set_up, range(4)) == ["ready"] * 4


@pytest.mark.parametrize("method", METHODS)
def test_an_initializer_that_raises_fails_all_tasks(method):
    with mp.get_context(method).Pool(2, set_up, ("fail",)) as pool:
        with pytest.raises(LookupError, match="no set-up today"):
            pool.apply_async(square, (1,)).get(60)
        with pytest.raises(LookupError):
            pool.map(square, range(3))


def exit_at_once():
    os._exit(3)


def test_workers_that_never_get_up_are_not_started_for_ever():
    pool = mp.get_context("fork").Pool(2, exit_at_once)
    with pool, pytest.raises(RuntimeError, match="before they took a task"):
        pool.apply_async(square, (1,)).get(60)


def test_maxtasksperchild():
    with mp.get_context("fork").Pool(2, maxtasksperchild=3) as pool:
        pids = pool.map(pid, range(30), 1)
        assert all(pids.count(p) <= 3 for p in set(pids)) and len(set(pids)) >= 10


def test_terminate_fails_what_is_not_done(forked):
    waiting = [forked.apply_async(nap, (60,)) for _ in range(5)]
    forked.imap(square, itertools.count())
    forked.terminate()
    forked.join()
    for result in waiting:
        with pytest.raises(RuntimeError, match="terminated"):
            result.get(30)
    assert not forked._pool
    with pytest.raises(ValueError, match="not running"):
        forked.apply(square, (1,))


def test_close_and_join():
    pool = mp.get_context("fork").Pool(2)
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    result = pool.map_async(square, range(100), 1)
    pool.close()
    pool.join()
    assert result.get(0) == [x * x for x in range(100)]
    with pytest.raises(ValueError):
        pool.map(square, [1])


def test_a_forgotten_pool_ends_its_workers():
    pool = mp.get_context("fork").Pool(2)
    workers, reference = list(pool._pool), weakref.ref(pool)
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        del pool
        gc.collect()
    assert reference() is None
    for worker in workers:
        worker.join(30)
        assert worker.exitcode is not None


def test_callbacks(forked):
    called, wrong = [], threading.Event()
    before, threading.excepthook = threading.excepthook, lambda args: wrong.set()
    try:
        forked.apply_async(square, (3,), callback=called.append).get(30)
        with pytest.raises(ValueError):
            forked.apply_async(fail, (1,), error_callback=called.append).get(30)
        forked.apply_async(square, (3,), callback=fail)
        assert wrong.wait(30)
    finally:
        threading.excepthook = before
    assert called[0] == 9 and isinstance(called[1], ValueError)
    assert forked.apply(square, (2,)) == 4


def test_wrong_arguments():
    for wrong, error in (({"processes": 0}, ValueError), ({"maxtasksperchild": 0}, ValueError)):
        with pytest.raises(error):
            mp.Pool(**wrong)
    with pytest.raises(TypeError):
        mp.Pool(1, initializer=3)


def step(path):
    """Says that it ran, then gives back the number."""
    number = int(path.rsplit("/", 1)[1])
    with open(path, "a") as file:
        file.write("x")
    return number


def test_chaos_every_task_ends_once_with_its_own_result(tmp_path):
    """Workers are killed all the while: each task gives its own result, or was the one in a dead worker's hands."""
    kills, count = int(os.environ.get("POOL_KILLS", "25")), 0
    dice = random.Random(1)
    with mp.get_context("fork").Pool(3) as pool:
        results = [pool.apply_async(step, (str(tmp_path / str(i)),)) for i in range(3000)]
        while count < kills:
            victims = list(pool._pool)
            if victims:
                victim = dice.choice(victims)
                victim.kill()
                while victim in pool._pool:
                    time.sleep(0.001)
                count += 1
            if results[-1].ready():
                results += [
                    pool.apply_async(step, (str(tmp_path / str(i)),))
                    for i in range(len(results), len(results) + 500)
                ]
        died = 0
        for number, result in enumerate(results):
            runs = tmp_path / str(number)
            try:
                assert result.get(60) == number
                assert runs.read_text() == "x"
            except WorkerDiedError:
                died += 1
                assert not runs.exists() or runs.read_text() in ("", "x")
        assert died <= kills
    pool.join()
