"""Pausing and resuming a thread that runs Python code and never comes by a wait of ours (3.12 and newer)."""

from __future__ import annotations

import os
import sys
import threading as std
import time
from collections.abc import Callable, Iterator
from typing import Any

import manyhands
import pytest
from manyhands.threading import Outcome, Thread

LONG = 30

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with 3.12")


class Work:
    """What a thread under test does: it counts `turns` until `stop`."""

    def __init__(self) -> None:
        self.turns = 0
        self.stop = False
        self.started = std.Event()


BUSY: dict[str, Callable[[Work], None]] = {}


def busy(function: Callable[[Work], None]) -> Callable[[Work], None]:
    BUSY[function.__name__] = function
    return function


@busy
def tight_loop(work: Work) -> None:
    while not work.stop:
        work.turns += 1


@busy
def generator(work: Work) -> None:
    def numbers() -> Iterator[int]:
        while not work.stop:
            yield 1

    for n in numbers():
        work.turns += n


@busy
def recursion(work: Work) -> None:
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    while not work.stop:
        fib(10)
        work.turns += 1


@busy
def sort_key(work: Work) -> None:
    def key(x: int) -> int:
        work.turns += 1
        return -x

    while not work.stop:
        sorted(range(1000), key=key)


@busy
def try_raise(work: Work) -> None:
    while not work.stop:
        try:
            raise ValueError
        except ValueError:
            work.turns += 1


@busy
def one_line(work: Work) -> None:
    while not work.stop: work.turns += 1  # fmt: skip # noqa: E701


@busy
def comprehension(work: Work) -> None:
    while not work.stop:
        work.turns += len([x + 1 for x in range(100000)])


class Running:
    """A thread that does `function(work)`; the block ends with the thread."""

    def __init__(self, function: Callable[[Work], None]) -> None:
        self.work = Work()

        def run() -> None:
            self.work.started.set()
            function(self.work)

        self.thread = Thread(target=run)

    def __enter__(self) -> tuple[Thread, Work]:
        self.thread.start()
        assert self.work.started.wait(LONG)
        return self.thread, self.work

    def __exit__(self, *exc_info: object) -> None:
        self.work.stop = True
        if self.thread.state in ("paused", "pausing"):
            self.thread.resume()
        self.thread.join(LONG)
        assert not self.thread.is_alive()
        assert events() == 0


def events() -> int:
    """The events that are on, of whichever place among the tools is ours."""
    monitoring = sys.monitoring
    return sum(monitoring.get_events(tool) for tool in range(6) if monitoring.get_tool(tool) == "manyhands")


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


@pytest.mark.parametrize("function", BUSY.values(), ids=BUSY.keys())
def test_a_busy_thread_stands_still_while_paused(function: Any) -> None:
    with Running(function) as (thread, work):
        for _ in range(5):
            until(lambda turns=work.turns: work.turns > turns)  # type: ignore[misc]
            assert thread.pause(LONG) is True
            assert thread.state == "paused"
            assert events() == 0  # nobody pays while it sleeps
            turns = work.turns
            time.sleep(0.01)
            assert work.turns == turns
            thread.resume()
        until(lambda: work.turns > turns)
        assert thread.state == "running"


def test_several_at_once_each_by_several() -> None:
    with Running(tight_loop) as (one, _), Running(recursion) as (two, _), Running(generator) as (three, _):
        out: list[bool] = []
        pausers = [
            Thread(target=lambda t=t: out.append(t.pause(LONG))) for t in (one, two, three) for _ in range(3)
        ]
        for pauser in pausers:
            pauser.start()
        for pauser in pausers:
            pauser.join(LONG)
        assert out == [True] * 9
        assert {one.state, two.state, three.state} == {"paused"}
        assert events() == 0
        for thread in (one, two, three):
            thread.resume()


def test_blocked_in_a_foreign_call_it_is_pausing_until_the_call_returns() -> None:
    reader, writer = os.pipe()
    after = std.Event()

    def read() -> None:
        os.read(reader, 1)
        after.set()
        while not stop:
            pass

    stop: list[int] = []
    thread = Thread(target=read)
    thread.start()
    with Running(tight_loop) as (_, work):  # somebody who would pay for the events
        assert thread.pause(0.02) is False
        assert thread.state == "pausing"
        turns = work.turns
        until(lambda: events() == 0 and work.turns > turns)  # they do not stay on for long
        os.write(writer, b"x")
        until(lambda: thread.state == "paused")
        assert not after.is_set()  # at once when the call returned
        thread.resume()
        assert after.wait(LONG)
        stop.append(1)
        thread.join(LONG)
    os.close(reader)
    os.close(writer)


def test_a_pause_taken_back_leaves_nothing_on() -> None:
    reader, writer = os.pipe()
    thread = Thread(target=os.read, args=(reader, 1))
    thread.start()
    assert thread.pause(0) is False
    thread.resume()
    assert events() == 0
    assert thread.state == "running"
    os.write(writer, b"x")
    thread.join(LONG)
    os.close(reader)
    os.close(writer)


def test_a_thread_that_ends_instead() -> None:
    reader, writer = os.pipe()
    thread = Thread(target=os.read, args=(reader, 1))
    thread.start()
    out: list[bool] = []
    pauser = Thread(target=lambda: out.append(thread.pause(LONG)))
    pauser.start()
    until(lambda: thread.state == "pausing")
    thread.terminate()  # takes the place of the pause
    pauser.join(LONG)
    assert out == [False]
    os.write(writer, b"x")
    thread.join(LONG)
    assert events() == 0
    os.close(reader)
    os.close(writer)


def test_a_shield_holds_a_pause_off() -> None:
    inside, leave = std.Event(), []

    def work() -> None:
        with manyhands.shield():
            inside.set()
            while not leave:
                pass
        while len(leave) < 2:
            pass

    thread = Thread(target=work)
    thread.start()
    assert inside.wait(LONG)
    assert thread.pause(0.05) is False
    assert thread.state == "pausing"
    assert events() == 0  # it was met: the end of the shield asks again
    leave.append(1)
    until(lambda: thread.state == "paused")
    leave.append(1)
    thread.resume()
    thread.join(LONG)
    assert thread.outcome == Outcome.RETURNED


def test_a_thread_inside_an_import_parks_after_it(tmp_path: Any, monkeypatch: Any) -> None:
    name = f"slow_module_{os.getpid()}"
    (tmp_path / f"{name}.py").write_text(
        "import builtins\nbuiltins.imports_now.set()\nwhile not builtins.import_may_end: pass\nvalue = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import builtins

    monkeypatch.setattr(builtins, "imports_now", std.Event(), raising=False)
    monkeypatch.setattr(builtins, "import_may_end", [], raising=False)
    with Running(lambda work: (__import__(name), tight_loop(work))[0]) as (thread, _):
        assert builtins.imports_now.wait(LONG)  # type: ignore[attr-defined]
        assert thread.pause(0.05) is False
        assert thread.state == "pausing"
        builtins.import_may_end.append(1)  # type: ignore[attr-defined]
        until(lambda: thread.state == "paused")
        assert __import__(name).value == 1  # the module's lock is free
        thread.resume()
    sys.modules.pop(name)


def test_a_finally_is_no_obstacle() -> None:
    def cleanup(work: Work) -> None:
        try:
            pass
        finally:
            tight_loop(work)

    with Running(cleanup) as (thread, _):
        assert thread.pause(LONG) is True
        thread.resume()


def test_beside_a_tracer_a_profiler_and_another_tool() -> None:
    monitoring = sys.monitoring
    seen: list[int] = []
    tool = next(n for n in (2, 5, 0) if monitoring.get_tool(n) is None)
    monitoring.use_tool_id(tool, "a profiler")
    try:
        monitoring.register_callback(tool, monitoring.events.JUMP, lambda *_: seen.append(1))
        monitoring.set_events(tool, monitoring.events.JUMP)
        with Running(tight_loop) as (thread, _):
            for _ in range(3):
                assert thread.pause(LONG)
                thread.resume()
            count = len(seen)
            until(lambda: len(seen) > count)  # still on
        assert monitoring.get_events(tool) == monitoring.events.JUMP
    finally:
        monitoring.set_events(tool, 0)
        monitoring.register_callback(tool, monitoring.events.JUMP, None)
        monitoring.free_tool_id(tool)
    traced: list[int] = []
    std.settrace(lambda frame, event, arg: traced.append(1))
    try:
        with Running(tight_loop) as (thread, _):
            assert thread.pause(LONG)
            thread.resume()
    finally:
        std.settrace(None)  # type: ignore[arg-type]
    assert traced


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_no_events_on_and_can_pause() -> None:
    with Running(tight_loop) as (thread, _):
        reader, writer = os.pipe()
        blocked = Thread(target=os.read, args=(reader, 1))
        blocked.start()
        assert blocked.pause(0) is False
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                assert events() == 0
                with Running(tight_loop) as (own, _):
                    assert own.pause(LONG)
                    own.resume()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        os.write(writer, b"x")
        blocked.resume()
        blocked.join(LONG)
        os.close(reader)
        os.close(writer)
        assert thread.is_alive()
