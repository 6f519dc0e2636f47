"""threading.Lock: the same body for ours and for the standard library's, and what only ours does."""

from __future__ import annotations

import math
import os
import pickle
import sys
import threading as std
import weakref
from typing import Any

import manyhands.threading as ours
import pytest

BOTH = pytest.mark.parametrize("lib", [ours, std], ids=["ours", "stdlib"])


@BOTH
def test_acquire_and_release(lib: Any) -> None:
    lock = lib.Lock()
    assert not lock.locked()
    assert lock.acquire() is True
    assert lock.locked()
    assert lock.acquire(False) is False
    assert lock.acquire(blocking=False) is False
    assert lock.acquire(True, 0) is False
    assert lock.acquire(timeout=0.001) is False
    lock.release()
    assert not lock.locked()


@BOTH
def test_old_names(lib: Any) -> None:
    lock = lib.Lock()
    assert lock.acquire_lock() is True
    assert lock.locked_lock()
    lock.release_lock()
    assert not lock.locked_lock()


@BOTH
@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((False, 1), ValueError),
        ((True, -2), ValueError),
        ((True, math.nan), ValueError),
        ((True, 1e100), OverflowError),
        ((True, std.TIMEOUT_MAX + 1), OverflowError),
        ((True, 10**30), OverflowError),
        ((True, "1"), TypeError),
        ((True, None), TypeError),
        ((True, 1, 2), TypeError),
    ],
)
@pytest.mark.parametrize("name", ["Lock", "RLock"])
def test_bad_arguments(lib: Any, name: str, args: tuple[Any, ...], error: type[Exception]) -> None:
    lock = getattr(lib, name)()
    with pytest.raises(error):
        lock.acquire(*args)
    with pytest.raises(TypeError):
        lock.acquire(nonsense=1)
    with pytest.raises(TypeError):
        lock.acquire(True, blocking=True)
    assert lock.acquire(False), "a refused call must leave the lock alone"


@BOTH
def test_release_of_an_unlocked_lock(lib: Any) -> None:
    with pytest.raises(RuntimeError, match="release unlocked lock"):
        lib.Lock().release()


@BOTH
def test_any_thread_may_release(lib: Any) -> None:
    lock = lib.Lock()
    lock.acquire()
    thread = lib.Thread(target=lock.release)
    thread.start()
    assert lock.acquire(timeout=10)
    thread.join()


@BOTH
def test_with_and_exception(lib: Any) -> None:
    lock = lib.Lock()
    with pytest.raises(KeyError), lock:
        assert lock.locked()
        raise KeyError
    assert not lock.locked()
    with lock as entered:
        assert entered is True


@BOTH
def test_mutual_exclusion(lib: Any) -> None:
    lock, counter = lib.Lock(), [0]
    start = lib.Barrier(3)

    def count() -> None:
        start.wait()
        for _ in range(2000):
            with lock:
                value = counter[0]
                value += 1
                counter[0] = value

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [lib.Thread(target=count) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(before)
    assert counter == [6000]


@BOTH
def test_weak_reference(lib: Any) -> None:
    lock = lib.Lock()
    reference = weakref.ref(lock)
    assert reference() is lock
    del lock
    assert reference() is None


@BOTH
def test_neither_subclass_nor_pickle_nor_attributes(lib: Any) -> None:
    lock = lib.Lock()
    with pytest.raises(TypeError):
        type("Mine", (type(lock),), {})
    with pytest.raises(TypeError):
        pickle.dumps(lock)
    with pytest.raises(AttributeError):
        lock.mine = 1


@BOTH
def test_repr(lib: Any) -> None:
    lock = lib.Lock()
    assert repr(lock).startswith("<unlocked ")
    lock.acquire()
    assert repr(lock).startswith("<locked ")


@BOTH
def test_reinit_after_fork(lib: Any) -> None:
    lock = lib.Lock()
    lock.acquire()
    pid = os.fork()
    if pid == 0:
        lock._at_fork_reinit()
        os._exit(0 if lock.acquire(False) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert lock.locked()


def test_timeout_forms() -> None:
    class Half:
        def __float__(self) -> float:
            return 0.5

    class Nought:
        def __index__(self) -> int:
            return 0

    lock = ours.Lock()
    assert lock.acquire(timeout=Half())  # type: ignore[arg-type]
    assert lock.acquire(timeout=Nought()) is False  # type: ignore[arg-type]
    assert lock.acquire(timeout=1e-12) is False


def test_the_lock_class_is_pickled_by_its_name():
    """Managers under spawn send it to their server process."""
    assert pickle.loads(pickle.dumps(ours.Lock)) is ours.Lock
