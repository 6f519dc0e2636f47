"""Ending a thread that runs Python code and never comes by a wait of ours (3.12 and newer)."""

from __future__ import annotations

import os
import sys
import threading as std
import time
from collections.abc import Callable, Iterator
from typing import Any

import manyhands
import manyhands.threading as threading
import pytest
from manyhands.threading import Thread

LONG = 30

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with 3.12")

Work = Callable[[std.Event], None]
BUSY: dict[str, Work] = {}


def busy(function: Work) -> Work:
    BUSY[function.__name__] = function
    return function


@busy
def while_loop(started: std.Event) -> None:
    started.set()
    while True:
        pass


@busy
def for_loop(started: std.Event) -> None:
    started.set()
    for _ in iter(int, 1):
        pass


@busy
def generator(started: std.Event) -> None:
    def numbers() -> Iterator[int]:
        while True:
            yield 1

    started.set()
    for _ in numbers():
        pass


@busy
def recursion(started: std.Event) -> None:
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    started.set()
    fib(200)  # without a loop: the grace period's way


@busy
def sort_key(started: std.Event) -> None:
    started.set()
    while True:
        sorted(range(1000), key=lambda x: -x)


@busy
def swallows_exceptions(started: std.Event) -> None:
    started.set()
    while True:
        try:
            raise ValueError
        except Exception:
            pass


@busy
def sleeps(started: std.Event) -> None:
    started.set()
    while True:
        time.sleep(0.01)


def events() -> int:
    monitoring = sys.monitoring
    return sum(monitoring.get_events(n) for n in range(6) if monitoring.get_tool(n) == "manyhands")


def ended(thread: Thread) -> bool:
    thread.join(LONG)
    return not thread.is_alive()


def begin(function: Any) -> tuple[Thread, std.Event]:
    started = std.Event()
    thread = Thread(target=function, args=(started,))
    thread.start()
    assert started.wait(LONG)
    return thread, started


@pytest.mark.parametrize("function", BUSY.values(), ids=BUSY.keys())
def test_a_busy_thread_ends(function: Work) -> None:
    thread, _ = begin(function)
    thread.terminate()
    assert ended(thread)
    assert thread.outcome == "terminated"
    assert events() == 0


def test_nothing_is_printed(capfd: Any) -> None:
    thread, _ = begin(while_loop)
    thread.terminate()
    assert ended(thread)
    assert capfd.readouterr() == ("", "")


def test_finally_and_with_run_to_their_end() -> None:
    done: list[str] = []

    class Resource:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *exc_info: Any) -> None:
            for _ in range(20000):  # back-edges, at which it must not be ended
                pass
            done.append("with")

    def work(started: std.Event) -> None:
        try:
            with Resource():
                started.set()
                while True:
                    pass
        finally:
            for _ in range(20000):
                pass
            done.append("finally")

    thread, _ = begin(work)
    thread.terminate()
    assert ended(thread)
    assert done == ["with", "finally"]
    assert thread.outcome == "terminated"


def test_asked_inside_a_finally_it_ends_after_it() -> None:
    inside, leave, done = std.Event(), [], []

    def work(started: std.Event) -> None:
        try:
            started.set()
        finally:
            inside.set()
            while not leave:
                pass
            done.append("finally")
        while True:
            pass

    thread, _ = begin(work)
    assert inside.wait(LONG)
    thread.terminate()
    thread.join(0.1)
    assert thread.is_alive() and thread.state == "terminating"
    leave.append(1)
    assert ended(thread)
    assert done == ["finally"]


def test_no_lock_leaks_that_a_with_took() -> None:
    lock = threading.Lock()

    def work(started: std.Event) -> None:
        started.set()
        while True:
            with lock:
                pass

    for _ in range(50):
        thread, _ = begin(work)
        thread.terminate()
        assert ended(thread)
        assert not lock.locked() and lock.owner is None


def test_a_shield_holds_it_off() -> None:
    inside, leave, done = std.Event(), [], []

    def work(started: std.Event) -> None:
        started.set()
        with manyhands.shield():
            inside.set()
            while not leave:
                pass
            done.append("section")
        while True:
            pass

    thread, _ = begin(work)
    assert inside.wait(LONG)
    thread.terminate()
    thread.join(0.1)
    assert thread.is_alive()
    leave.append(1)
    assert ended(thread)
    assert done == ["section"]


def test_a_paused_thread_ends_when_asked() -> None:
    thread, _ = begin(while_loop)
    assert thread.pause(LONG)
    thread.terminate()
    assert ended(thread)
    assert thread.outcome == "terminated"


def test_one_that_catches_it_goes_on_until_asked_again() -> None:
    caught, leave = std.Event(), []

    def work(started: std.Event) -> None:
        started.set()
        try:
            while True:
                pass
        except manyhands.ThreadExit:
            caught.set()
        while not leave:
            pass

    thread, _ = begin(work)
    thread.terminate()
    assert caught.wait(LONG)
    assert thread.is_alive()
    thread.terminate()
    assert ended(thread)
    assert thread.outcome == "terminated"


def test_blocked_in_a_foreign_call_it_ends_when_the_call_returns() -> None:
    reader, writer = os.pipe()

    def work(started: std.Event) -> None:
        started.set()
        while True:
            os.read(reader, 1)

    thread, _ = begin(work)
    thread.terminate()
    thread.join(0.05)
    assert thread.state == "terminating"
    os.write(writer, b"x")
    assert ended(thread)
    os.close(reader)
    os.close(writer)


def test_a_destructor_that_runs_is_not_cut_short() -> None:
    done: list[int] = []

    class Slow:
        def __del__(self) -> None:
            for _ in range(2000):
                pass
            done.append(1)

    def work(started: std.Event) -> None:
        started.set()
        while True:
            Slow()

    made = 0
    for _ in range(10):
        thread, _ = begin(work)
        thread.terminate()
        assert ended(thread)
        made += 1
    assert made == 10 and done
