"""manyhands.shared: memory that crosses to other processes without a copy, and is free when its last user is gone."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

import shared_helpers as helpers
from manyhands import multiprocessing as mp
from manyhands import shared
from manyhands._impl import core

METHODS = ("fork", "spawn", "forkserver")


@pytest.fixture(params=METHODS)
def context(request: pytest.FixtureRequest) -> Any:
    return mp.get_context(request.param)


@pytest.fixture
def numpy() -> Any:
    return pytest.importorskip("numpy")


def blocks() -> int:
    gc.collect()
    return int(core.arena_usage()[0])


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


# ---- what a user types ---------------------------------------------------------------------------------------------


def test_arrays_are_numpy_arrays(numpy: Any) -> None:
    a = shared.zeros((3, 4), "f4")
    assert type(a) is numpy.ndarray and a.shape == (3, 4) and a.dtype == "f4" and not a.any()
    assert shared.is_shared(a) and shared.is_shared(a[1:]) and not shared.is_shared(a + 1)
    e = shared.empty(5)
    assert e.dtype == float and e.shape == (5,)
    b = shared.array([[1, 2], [3, 4]], "i2")
    assert b.tolist() == [[1, 2], [3, 4]] and b.dtype == "i2" and shared.is_shared(b)
    f = shared.zeros((2, 3), order="F")
    assert f.flags.f_contiguous
    point = shared.zeros(2, [("x", "f8"), ("name", "S5")])
    point[1] = (1.5, b"one")
    assert point[1]["name"] == b"one"
    assert shared.zeros(()).shape == () and shared.zeros((0, 3)).size == 0


def test_what_cannot_be_shared_is_refused(numpy: Any) -> None:
    with pytest.raises(TypeError, match="references to objects"):
        shared.zeros(3, object)
    with pytest.raises(TypeError, match="references to objects"):
        shared.array(["a", None], object)
    with pytest.raises(ValueError, match="negative"):
        shared.zeros(-1)
    with pytest.raises((ValueError, OverflowError)):
        shared.zeros((2**40, 2**40))
    with pytest.raises(MemoryError, match="shared memory"):
        shared.empty(2**60, "u1")


def test_recycled_memory_is_zero_again() -> None:
    first = shared.block(50_000)
    memoryview(first)[:] = b"x" * 50_000
    del first
    assert bytes(shared.block(50_000)) == bytes(50_000)


def test_a_block_is_a_buffer_of_its_format_and_shape() -> None:
    b = shared.block((2, 3), "d")
    b[1, 2] = 7.5
    view = memoryview(b)
    assert view.shape == (2, 3) and view.format == "d" and view.strides == (24, 8) and view.c_contiguous
    assert b[1, 2] == 7.5 and view.tolist() == [[0, 0, 0], [0, 0, 7.5]] and len(b) == 2 and b.nbytes == 48
    assert (
        repr(b) == "<manyhands.shared.Block format='d' shape=(2, 3)>"
        and b.shape == (2, 3)
        and b.format == "d"
    )
    flat = shared.block(10)
    assert flat.shape == (10,) and flat.format == "B" and bytes(flat) == bytes(10)
    with pytest.raises(ValueError, match="negative"):
        core.block(0, shape=(-1, 0))
    with pytest.raises(ValueError, match="does not make"):
        core.block(10, shape=(3,))
    with pytest.raises(ValueError, match="dimensions"):
        core.block(1, shape=(1,) * 65)
    with pytest.raises(ValueError, match="whole number"):
        core.block(10, format="d")
    with pytest.raises((TypeError, IndexError)):
        b["x"]
    with pytest.raises(TypeError):
        del b[0]


def test_numpy_takes_a_block_without_a_copy(numpy: Any) -> None:
    b = shared.block((4, 5), "i")
    a = numpy.asarray(b)
    a[3, 4] = 9
    assert a.shape == (4, 5) and b[3, 4] == 9


def test_a_block_pickled_elsewhere_is_a_copy() -> None:
    b = shared.block((2,), "i")
    b[1] = 5
    for protocol in range(2, 6):
        again = pickle.loads(pickle.dumps(b, protocol))
        assert again.format == "i" and again.shape == (2,) and again[1] == 5
        again[1] = 6
        assert b[1] == 5


def test_without_numpy_arrays_say_so_and_blocks_work(tmp_path: Any) -> None:
    (tmp_path / "numpy.py").write_text("raise ImportError('hidden')")
    code = (
        "from manyhands import shared\n"
        "shared.block(8)[3] = 1; shared.AtomicInt()\n"
        "try: shared.zeros(3)\n"
        "except ImportError as error: print(error)"
    )
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert "pip install numpy" in done.stdout and "shared.block" in done.stdout, done.stderr


def test_importing_the_package_does_not_import_numpy() -> None:
    code = "import sys, manyhands.shared; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- crossing ------------------------------------------------------------------------------------------------------


def test_through_queues_there_and_back(context: Any) -> None:
    before, inbox, outbox = blocks(), context.Queue(), context.Queue()
    process = context.Process(target=helpers.echo, args=(inbox, outbox))
    process.start()
    mine = shared.block((100_000,), "i")
    inbox.put(mine)
    back = outbox.get(timeout=60)
    assert mine[0] == 42 and back[0] == 42
    mine[1] = 7
    assert back[1] == 7  # the same memory, all the way round
    inbox.put(None)
    process.join(60)
    del mine, back
    assert eventually(lambda: blocks() <= before)


def test_through_a_pipe(context: Any) -> None:
    near, far = context.Pipe()
    a = shared.block(10_000)
    near.send({"name": "a", "data": a})
    there = far.recv()["data"]
    there[5] = 1
    assert a[5] == 1


def test_through_a_pool(context: Any) -> None:
    a, b = shared.block(3000), shared.block(1)  # the second: smaller than what travels beside a pickle else
    with context.Pool(1) as pool:
        assert pool.apply(helpers.first_to_42, (a,)) == pool.map(helpers.first_to_42, [b])[0] != os.getpid()
    assert a[0] == b[0] == 42


def test_through_an_executor() -> None:
    from manyhands.futures import ProcessPoolExecutor

    a = shared.block(3000)
    with ProcessPoolExecutor(1) as executor:
        executor.submit(helpers.first_to_42, a).result(60)
    assert a[0] == 42


def test_with_the_start_of_a_process(context: Any) -> None:
    before, queue, counter = blocks(), context.Queue(), shared.AtomicInt(5)
    array = shared.block((1000,), "i")
    process = context.Process(target=helpers.add_up, args=(queue, array, counter))
    process.start()
    queue.get(timeout=60)
    assert array[0] == 1 and counter.value == 15
    process.join(60)
    assert process.exitcode == 0
    del array, process
    assert eventually(lambda: blocks() <= before + 2), (before, blocks())  # the counters' page; the queue


def test_arrays_and_their_parts_are_the_same_memory(context: Any, numpy: Any) -> None:
    queue, counter = context.Queue(), shared.AtomicInt()
    a = shared.zeros((10, 1000))
    process = context.Process(target=helpers.add_up, args=(queue, a[3], counter))
    process.start()
    queue.get(timeout=60)
    assert a[3, 0] == 1 and a.sum() == 1
    process.join(60)
    loop = mp.get_context("fork").Queue()
    for part in (a[2:5], a.T, a.reshape(-1)[10:20], a[4, 7:9]):
        loop.put(part)
        back = loop.get(timeout=10)
        assert shared.is_shared(back) and back.shape == part.shape
        back[...] = 5
        assert (part == 5).all()
    loop.put(a[:, ::2])  # in many pieces: NumPy makes a copy
    back = loop.get(timeout=10)
    back[...] = 6
    assert (a != 6).all()


def test_an_argument_from_ordinary_memory_is_the_child_s_own(context: Any, numpy: Any) -> None:
    queue, counter, a = context.Queue(), shared.AtomicInt(), numpy.zeros(100_000)
    process = context.Process(target=helpers.add_up, args=(queue, a, counter))
    process.start()
    queue.get(timeout=60)
    process.join(60)
    assert process.exitcode == 0 and a[0] == 0 and counter.value == 10


def test_closures_take_their_arrays_along(numpy: Any) -> None:
    pytest.importorskip("cloudpickle")
    queue, a = mp.get_context("fork").Queue(), shared.zeros(1000)
    queue.put(lambda: a)
    queue.get(timeout=10)()[7] = 3
    assert a[7] == 3


def test_read_only_stays_read_only(numpy: Any) -> None:
    queue, a = mp.get_context("fork").Queue(), shared.zeros(1000)
    a.flags.writeable = False
    queue.put(a)
    back = queue.get(timeout=10)
    assert shared.is_shared(back) and not back.flags.writeable


# ---- life and death ------------------------------------------------------------------------------------------------


def kill(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def test_what_a_killed_consumer_had_is_free(context: Any) -> None:
    inbox, ready = context.Queue(), context.Event()
    process = context.Process(target=helpers.hold, args=(inbox, ready))
    process.start()
    before = blocks()
    inbox.put(bytearray(3_000_000))
    inbox_bytes = shared.block(1_000_000)
    assert ready.wait(60)
    assert blocks() == before + 1 or blocks() == before + 2  # its copy; ours
    kill(process)
    del inbox_bytes
    assert blocks() <= before, "the dead consumer's block is still there"


def test_what_a_killed_child_was_given_is_free(context: Any) -> None:
    ready, thing = context.Event(), shared.block(2_000_000)
    before = blocks()
    process = context.Process(target=helpers.hold_given, args=(thing, ready))
    process.start()
    assert ready.wait(60)
    del thing
    process._args = ()
    assert blocks() >= before  # the child has it
    kill(process)
    assert blocks() == before - 1


def test_a_block_outlives_its_maker(context: Any) -> None:
    """The producer is killed while its message waits: the message is whole."""
    queue = context.Queue()
    process = context.Process(target=produce_and_die, args=(queue,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    back = queue.get(timeout=10)
    assert back[0] == 17 and len(back) == 500_000
    before = blocks()
    del back
    assert blocks() == before - 1


def produce_and_die(queue: Any) -> None:
    array = shared.block(500_000)
    array[0] = 17
    queue.put(array)
    helpers.kill_self()


def test_a_stranger_s_death_is_found_when_memory_is_needed() -> None:
    """A grandchild that nobody here waits for is killed with a block in hand: the next allocation finds that."""
    code = """
import os, signal, sys, time
from manyhands import multiprocessing as mp, shared
from manyhands._impl import core
def grandchild(thing, pid, ready):
    pid.value = os.getpid()
    ready.set()
    time.sleep(600)
def child(thing, pid, ready):
    p = mp.get_context('fork').Process(target=grandchild, args=(thing, pid, ready))
    p.start()
    os._exit(0)
thing, pid, ready = shared.block(5_000_000), shared.AtomicInt(), mp.get_context('fork').Event()
process = mp.get_context('fork').Process(target=child, args=(thing, pid, ready))
process.start(); process.join(); ready.wait(30)
used = core.arena_usage()[0]
del thing, process
assert core.arena_usage()[0] == used, 'the grandchild has it'
os.kill(pid.value, signal.SIGKILL)
end = time.monotonic() + 20
while core.arena_usage()[0] >= used and time.monotonic() < end:
    shared.block(1000)
    time.sleep(0.05)
assert core.arena_usage()[0] < used, core.arena_usage()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# ---- atomics -------------------------------------------------------------------------------------------------------


def test_atomic_int() -> None:
    n = shared.AtomicInt(3)
    assert n.value == int(n) == 3 and n and range(5)[n] == 3 and repr(n) == "<AtomicInt 3>"
    assert n.add() == 4 and n.add(-5) == -1 and n.exchange(10) == -1 and n.value == 10
    assert n.compare_exchange(10, 11) and not n.compare_exchange(10, 12) and n.value == 11
    same = n
    n += 4
    n -= 5
    assert n is same and n.value == 10
    n.value = 0
    assert not n
    n.value = 2**63 - 1
    with pytest.raises(OverflowError):
        n.add()
    with pytest.raises(OverflowError):
        n += 1
    assert n.value == 2**63 - 1
    n.value = -1
    with pytest.raises(OverflowError):
        n -= -(2**63)
    for wrong in (1.5, "1", None):
        with pytest.raises(TypeError):
            n.exchange(wrong)
    with pytest.raises(OverflowError):
        shared.AtomicInt(2**63)
    with pytest.raises(AttributeError):
        del n.value


def test_atomic_flag() -> None:
    flag = shared.AtomicFlag()
    assert not flag and not flag.is_set() and flag.set() and not flag.set() and flag and flag.wait()
    assert flag.clear() and not flag.clear() and not flag.wait(0.01) and repr(flag) == "<AtomicFlag clear>"
    assert shared.AtomicFlag(True).is_set()


def test_many_numbers_lie_apart() -> None:
    numbers = [shared.AtomicInt(i) for i in range(500)]
    for number in numbers:
        number.add(1000)
    assert [number.value for number in numbers] == list(range(1000, 1500))


def test_waiting_for_a_number() -> None:
    n = shared.AtomicInt(1)
    assert n.wait(0) == 1 and n.wait(1, 0.01) is None
    token = manyhands.CancelToken()
    threading.Timer(0.05, token.cancel).start()
    with pytest.raises(manyhands.Cancelled):
        n.wait(1, cancel=token)
    threading.Timer(0.05, n.add).start()
    assert n.wait(1, 30) == 2


def test_atomics_travel_to_this_program_alone() -> None:
    for thing in (shared.AtomicInt(), shared.AtomicFlag()):
        for protocol in range(2, 6):
            with pytest.raises(RuntimeError, match="queues, pipes and pools"):
                pickle.dumps(thing, protocol)


def test_atomics_through_queue_pipe_and_pool(context: Any) -> None:
    n, flag, queue, (near, far) = shared.AtomicInt(), shared.AtomicFlag(), context.Queue(), context.Pipe()
    queue.put([n, flag])
    n2, flag2 = queue.get(timeout=10)
    n2.add(5)
    assert flag2.set() and n.value == 5 and flag.is_set()
    near.send(n2)
    far.recv().add(5)
    assert n.value == 10
    with context.Pool(2) as pool:
        pool.starmap(helpers.count, [(n, 1000)] * 4)
    assert n.value == 4010


def test_atomics_count_exactly_between_processes(context: Any) -> None:
    n = shared.AtomicInt()
    processes = [context.Process(target=helpers.count, args=(n, 20_000)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert n.value == 60_000


def test_a_flag_is_won_by_one() -> None:
    context, rounds = mp.get_context("fork"), 200
    flag, wins, gate = shared.AtomicFlag(), shared.AtomicInt(), context.Barrier(3)
    processes = [context.Process(target=helpers.win, args=(flag, wins, rounds, gate)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert wins.value == rounds


def test_a_waiter_in_another_process_sees_the_last_value(context: Any) -> None:
    n, seen = shared.AtomicInt(), shared.AtomicInt()
    process = context.Process(target=helpers.follow, args=(n, 1000, seen))
    process.start()
    for _ in range(1000):
        n.add()
    process.join(60)
    assert process.exitcode == 0 and seen.value == 1000


def test_numbers_made_on_both_sides_of_a_fork_are_different() -> None:
    """Parent and child share the page that the next numbers come from."""
    context = mp.get_context("fork")
    shared.AtomicInt()  # there is a page with room
    queue = context.Queue()
    process = context.Process(target=make_numbers, args=(queue,))
    mine = [shared.AtomicInt(i) for i in range(20)]
    process.start()
    mine += [shared.AtomicInt(i) for i in range(20, 40)]
    theirs = queue.get(timeout=30)
    for number in theirs:
        number.value = -1
    assert [number.value for number in mine] == list(range(40))
    process.join(30)


def make_numbers(queue: Any) -> None:
    queue.put([shared.AtomicInt(i) for i in range(40)])
