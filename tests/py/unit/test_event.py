"""threading.Event: the same body for ours and for the standard library's."""

from __future__ import annotations

import gc
import math
import threading as std
import weakref
from typing import Any

import manyhands.threading as ours
import pytest

BOTH = pytest.mark.parametrize("lib", [ours, std], ids=["ours", "stdlib"])


@BOTH
def test_set_clear_wait(lib: Any) -> None:
    event = lib.Event()
    assert event.is_set() is False
    assert event.wait(0) is False
    assert event.wait(timeout=0.001) is False
    assert event.wait(-5) is False
    event.set()
    event.set()
    assert event.is_set() is True
    assert event.wait() is True
    assert event.wait(0) is True
    event.clear()
    assert event.is_set() is False


@BOTH
def test_bad_arguments(lib: Any) -> None:
    event = lib.Event()
    with pytest.raises(TypeError):
        event.wait("1")
    with pytest.raises(TypeError):
        event.wait(1, 2)
    with pytest.raises(OverflowError):
        event.wait(1e100)
    with pytest.raises(TypeError):
        lib.Event(1)
    event.set()
    assert event.wait("not looked at") is True


def test_nan() -> None:
    with pytest.raises(ValueError, match="NaN"):
        ours.Event().wait(math.nan)


@BOTH
def test_isset_is_deprecated(lib: Any) -> None:
    with pytest.deprecated_call():
        assert lib.Event().isSet() is False


@BOTH
def test_all_waiters_wake(lib: Any) -> None:
    event, woken, ready = lib.Event(), lib.Semaphore(0), lib.Barrier(5)

    def work() -> None:
        ready.wait()
        if event.wait(30):
            woken.release()

    threads = [lib.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    ready.wait()
    event.set()
    for thread in threads:
        thread.join(30)
    assert woken._value == 4


def test_a_sleeper_wakes_though_the_flag_is_cleared_at_once() -> None:
    event, result = ours.Event(), []
    thread = ours.Thread(target=lambda: result.append(event.wait(30)))
    thread.start()
    assert thread.pause(30)  # it is inside its wait now
    thread.resume()
    event.set()
    event.clear()
    thread.join(30)
    assert result == [True]


@BOTH
def test_object(lib: Any) -> None:
    event = lib.Event()
    assert repr(event) == f"<threading.Event at {id(event):#x}: unset>"
    event.set()
    assert repr(event) == f"<threading.Event at {id(event):#x}: set>"
    assert event._flag is True
    event._at_fork_reinit()
    assert event.is_set()
    event.itself = event
    reference = weakref.ref(event)
    del event
    gc.collect()
    assert reference() is None


@BOTH
def test_subclass(lib: Any) -> None:
    class Noted(lib.Event):  # type: ignore[misc,name-defined]
        def __init__(self, note: str) -> None:
            super().__init__()
            self.note = note

        def set(self) -> None:
            self.note += "!"
            super().set()

    event = Noted("x")
    event.set()
    assert (event.note, event.is_set()) == ("x!", True)
