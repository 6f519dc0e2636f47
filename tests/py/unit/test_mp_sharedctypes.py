"""Value, Array and the raw ones: the standard library's behaviour, on our memory and locks, and by a quick way."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing as stdlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

from hypothesis import given, settings
from hypothesis import strategies as st
from manyhands import multiprocessing as mp
from manyhands.multiprocessing import sharedctypes

METHODS = ("fork", "spawn", "forkserver")
CODES = "bBhHiIlLqQfd"


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_int)]


class Celsius(ctypes.c_int):
    """A class of the user's, which the quick way must leave to ctypes."""

    @property
    def double(self) -> int:
        return self.value * 2


def outcome(action: Any) -> Any:
    try:
        return action()
    except Exception as error:
        return type(error)


odd = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=1),
    st.binary(max_size=2),
)


@settings(max_examples=200, deadline=None)
@given(code=st.sampled_from(CODES + "c"), given=odd)
def test_a_value_takes_and_gives_what_the_standard_library_s_does(code: str, given: Any) -> None:
    ours, theirs = mp.Value(code), stdlib.Value(code)
    assert type(ours.value) is type(theirs.value) and ours.value == theirs.value
    answers = [outcome(lambda value=value: setattr(value, "value", given)) for value in (ours, theirs)]
    assert answers[0] == answers[1]
    assert repr(ours.value) == repr(theirs.value) and type(ours.value) is type(theirs.value)


@settings(max_examples=200, deadline=None)
@given(code=st.sampled_from(CODES + "c"), index=st.integers(-5, 5), given=odd)
def test_an_array_does_so_too(code: str, index: int, given: Any) -> None:
    ours, theirs = mp.Array(code, 3), stdlib.Array(code, 3)
    answers = [outcome(lambda array=array: array.__setitem__(index, given)) for array in (ours, theirs)]
    assert answers[0] == answers[1]
    assert repr(outcome(lambda: ours[index])) == repr(outcome(lambda: theirs[index]))
    assert repr(ours[:]) == repr(theirs[:]) and len(ours) == len(theirs)


def test_slices_strings_structures_copies() -> None:
    array = mp.Array("i", range(10))
    array[2:4] = [7, 8]
    assert array[:] == [0, 1, 7, 8, 4, 5, 6, 7, 8, 9] and array[-1] == 9 and list(array)[3] == 8
    with pytest.raises(IndexError):
        array[10]
    with pytest.raises(IndexError):
        array[2**80]
    text = mp.Array("c", b"hello")
    text.value = b"yes"
    assert text.value == b"yes" and text.raw == b"yes\0o" and text[0] == b"y"
    point = mp.Value(Point, 1.5, 2)
    point.x += 1
    assert (point.x, point.y) == (2.5, 2) and type(point).__name__ == "SynchronizedPoint"
    again = sharedctypes.copy(point.get_obj())
    again.x = 9
    assert point.x == 2.5 and again.y == 2
    celsius = mp.Value(Celsius, 20)
    assert celsius.value == 20 and celsius.get_obj().double == 40
    assert type(mp.Array(Celsius, 2)[0]) is type(stdlib.Array(Celsius, 2)[0])


def test_locks() -> None:
    assert isinstance(mp.Value("i", 1, lock=False), ctypes.c_int) and mp.RawArray("d", 3)[:] == [0, 0, 0]
    lock = mp.Lock()
    value = mp.Value("i", 1, lock=lock)
    assert value.get_lock() is lock and value.get_obj().value == 1
    with pytest.raises(AttributeError, match="acquire"):
        mp.Value("i", lock="a lock")
    with pytest.raises(AssertionError, match="already synchronized"):
        sharedctypes.synchronized(value)
    foreign = sharedctypes.synchronized(mp.RawValue("i", 3), threading.Lock())
    foreign.value += 1
    assert foreign.value == 4
    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(value)
    with mp.Value("i", 5) as held:
        assert held
    assert isinstance(value, sharedctypes.SynchronizedBase)


def test_who_holds_the_lock_is_alone_with_the_value() -> None:
    """A reader waits until the lock is free, so that it never sees what is half done."""
    value, array = mp.Value("i", 1), mp.Array("i", [1, 1])
    for thing, read in ((value, lambda: value.value), (array, lambda: array[1])):
        seen: list[int] = []
        with thing.get_lock():
            reader = threading.Thread(target=lambda read=read, seen=seen: seen.append(read()))
            reader.start()
            time.sleep(0.05)
            assert not seen
            if thing is value:
                value.value = 2  # the holder comes in
            else:
                array[1] = 2
        reader.join(10)
        assert seen == [2]


def add(value: Any, array: Any, n: int) -> None:
    for _ in range(n):
        with value.get_lock():
            value.value += 1
        with array:
            array[0] += 1.0


@pytest.mark.parametrize("method", METHODS)
def test_children_share_it(method: str) -> None:
    context = mp.get_context(method)
    value, array, large = context.Value("q"), context.Array("d", 2), context.RawArray("d", 200_000)
    large[199_999] = 3.0
    processes = [context.Process(target=add, args=(value, array, 2000)) for _ in range(2)]
    processes.append(context.Process(target=negate, args=(large,)))
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert value.value == 4000 and array[0] == 4000.0 and large[199_999] == -3.0


def negate(array: Any) -> None:
    array[-1] = -array[-1]


def test_a_dead_owner_is_reported_by_the_quick_way_too() -> None:
    context = mp.get_context("fork")
    value = context.Value("i", 7)
    process = context.Process(target=die_with, args=(value,))
    process.start()
    process.join(30)
    for read in (lambda: value.value, lambda: setattr(value, "value", 1)):
        with pytest.raises(manyhands.OwnerDiedError):
            read()
    assert value.get_lock().recover(10)
    value.release()
    assert value.value == 7


def die_with(value: Any) -> None:
    value.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_memory_of_a_large_array_goes_with_it() -> None:
    def shared() -> int:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssShmem"))

    before, descriptors = shared(), len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        array = mp.RawArray("d", 5_000_000)
        ctypes.memset(ctypes.addressof(array), 1, 40_000_000)
        assert shared() >= before + 30_000  # what earlier tests left may go meanwhile
        del array
        gc.collect()
    assert shared() < before + 4000 and len(os.listdir("/proc/self/fd")) <= descriptors + 1


SUBSTITUTED = """
import multiprocessing
from multiprocessing import shared_memory
def work(value, block):
    import multiprocessing.managers, multiprocessing.sharedctypes, multiprocessing.shared_memory
    value.value += type(value).__module__ == "manyhands.multiprocessing.sharedctypes"
    block.buf[0] = type(block).__module__ == "manyhands.multiprocessing.shared_memory"
    manager = multiprocessing.managers.SharedMemoryManager
    value.value += manager.__module__ == "manyhands.multiprocessing.managers"
    block.close()
if __name__ == "__main__":
    value, block = multiprocessing.Value("i"), shared_memory.SharedMemory(create=True, size=10)
    process = multiprocessing.get_context("spawn").Process(target=work, args=(value, block))
    process.start()
    process.join()
    print(value.value, block.buf[0])
    block.close()
    block.unlink()
"""


def test_a_spawned_child_of_a_substituted_program_has_ours_too(tmp_path: Any) -> None:
    """Its first import is what is unpickled, and that must not be the standard library's by a circle of imports."""
    (tmp_path / "program.py").write_text(SUBSTITUTED)
    done = subprocess.run(
        [sys.executable, "-m", "manyhands", "run", str(tmp_path / "program.py")],
        capture_output=True,
        text=True,
        env={**os.environ, "MANYHANDS_COMPAT": ""},
    )
    assert done.stdout == "2 1\n", done.stderr


def _hold_and_change(value: Any, inside: Any, go: Any) -> None:
    with value.get_lock():
        value.value = 1  # half of a change, which nobody may see
        inside.set()
        go.wait()
        value.value = 2


def test_a_read_waits_for_who_changes_it() -> None:
    context = mp.get_context("fork")
    value, inside, go = context.Value("i", 0), context.Event(), context.Event()
    process = context.Process(target=_hold_and_change, args=(value, inside, go))
    process.start()
    assert inside.wait(30)
    seen: list[int] = []
    reader = threading.Thread(target=lambda: seen.append(value.value))
    reader.start()
    reader.join(0.2)
    assert reader.is_alive() and not seen
    go.set()
    reader.join(30)
    process.join()
    assert seen == [2]


@pytest.mark.parametrize("make", [mp.Value, mp.RawValue, mp.Array, mp.RawArray])
@pytest.mark.parametrize("what", ["x", "", int, None])
def test_what_is_no_type_is_named(make: Any, what: Any) -> None:
    with pytest.raises(TypeError, match=f"bad typecode {what!r}"):
        make(what, [])
