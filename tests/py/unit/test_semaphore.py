"""threading.Semaphore and BoundedSemaphore: the same body for ours and for the standard library's."""

from __future__ import annotations

import math
import threading as std
import weakref
from typing import Any

import manyhands.threading as ours
import pytest

BOTH = pytest.mark.parametrize("lib", [ours, std], ids=["ours", "stdlib"])
KINDS = pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])


@BOTH
@KINDS
def test_counting(lib: Any, kind: str) -> None:
    sem = getattr(lib, kind)(2)
    assert sem.acquire() is True
    assert sem.acquire(blocking=True, timeout=0) is True
    assert sem._value == 0
    assert sem.acquire(False) is False
    assert sem.acquire(timeout=0.001) is False
    assert sem.acquire(timeout=-1) is False
    sem.release(2)
    assert sem._value == 2
    with sem as entered:
        assert entered is True
        assert sem._value == 1
    assert sem._value == 2


@BOTH
@KINDS
def test_bad_arguments(lib: Any, kind: str) -> None:
    make = getattr(lib, kind)
    with pytest.raises(ValueError, match="initial value must be >= 0"):
        make(-1)
    with pytest.raises(TypeError):
        make("1")
    with pytest.raises(TypeError):
        make(1, 2)
    sem = make(0)
    with pytest.raises(ValueError, match="can't specify timeout for non-blocking acquire"):
        sem.acquire(False, 1)
    for n in (0, -1):
        with pytest.raises(ValueError, match="n must be one or more"):
            sem.release(n)
    with pytest.raises(TypeError):
        sem.acquire(timeout="1")
    with pytest.raises(OverflowError):
        sem.acquire(timeout=1e100)
    assert sem._value == 0


def test_nan_does_not_spin() -> None:
    with pytest.raises(ValueError, match="NaN"):
        ours.Semaphore(0).acquire(timeout=math.nan)


@BOTH
def test_the_bound(lib: Any) -> None:
    sem = lib.BoundedSemaphore(2)
    with pytest.raises(ValueError, match="released too many times"):
        sem.release()
    sem.acquire()
    with pytest.raises(ValueError, match="released too many times"):
        sem.release(2)
    assert sem._value == 1
    sem.release()
    assert sem._initial_value == 2


@pytest.mark.parametrize("value", [2**31 - 1, 2**31, 2**40])
def test_large_values(value: int) -> None:
    sem, bounded = ours.Semaphore(value), ours.BoundedSemaphore(value)
    for s in (sem, bounded):
        assert s.acquire()
        assert s._value == value - 1
        s.release()
    sem.release(value)
    assert sem._value == 2 * value
    with pytest.raises(ValueError, match="released too many times"):
        bounded.release()


def test_more_than_the_core_counts_is_taken_one_by_one() -> None:
    sem = ours.Semaphore(0)
    sem.release(2**31 - 1)
    sem.release(5)
    assert sem._value == 2**31 + 4
    assert sem.acquire(False)
    assert sem._value == 2**31 + 3


def test_beyond_all_counting() -> None:
    with pytest.raises(OverflowError):
        ours.Semaphore(2**64)


@BOTH
def test_release_wakes_as_many(lib: Any) -> None:
    sem, done = lib.Semaphore(0), lib.Semaphore(0)

    def work() -> None:
        if sem.acquire(timeout=30):
            done.release()

    threads = [lib.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    sem.release(3)
    for _ in range(3):
        assert done.acquire(timeout=30)
    assert done.acquire(False) is False
    sem.release()
    for thread in threads:
        thread.join(30)
    assert done._value == 1
    assert sem._value == 0


@BOTH
@KINDS
def test_object(lib: Any, kind: str) -> None:
    sem = getattr(lib, kind)(3)
    sem.note = "x"
    assert weakref.ref(sem)() is sem
    value = "3/3" if kind == "BoundedSemaphore" else "3"
    assert repr(sem) == f"<threading.{kind} at {id(sem):#x}: value={value}>"
    with sem._cond:
        pass


def test_a_subclass_that_redefines_release() -> None:
    calls = []

    class Counting(ours.Semaphore):
        def release(self, n: int = 1) -> None:
            calls.append(n)
            super().release(n)

    sem = Counting(1)
    with sem:
        pass
    assert calls == [1]
    assert repr(sem).startswith(f"<{__name__}.")
    assert isinstance(ours.BoundedSemaphore(), ours.Semaphore)
