"""manyhands.dump(), and the search for rings of waits: MANYHANDS_DEADLOCK."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import manyhands
import manyhands.queue as queue
import manyhands.threading as threading
import pytest
from manyhands._impl.dump import waits

LONG = 30.0


def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread does; the time limit only ends a hang."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.001)


@contextmanager
def waiter(call: Callable[[], object], name: str) -> Iterator[threading.Thread]:
    """A thread that waits in `call`, seen to wait."""
    thread = threading.Thread(target=call, name=name)
    thread.start()
    until(lambda: any(wait.ident == thread.ident for wait in waits()))
    try:
        yield thread
    finally:
        thread.join(LONG)
        assert not thread.is_alive()


def text() -> str:
    out = io.StringIO()
    manyhands.dump(out)
    return out.getvalue()


def test_a_lock_its_waiter_and_its_owner() -> None:
    lock = threading.Lock()

    def wants_the_lock() -> None:
        with lock:
            pass

    with lock:
        with waiter(wants_the_lock, "wants") as thread:
            (wait,) = [w for w in waits() if w.ident == thread.ident]
            assert wait.what is lock and wait.owner != 0 and 0 <= wait.seconds < LONG
            seen = text()
            lock.release()
        lock.acquire()
    assert "thread 'wants'" in seen and "waiting" in seen
    assert f"waits for {lock!r}".replace("unlocked", "locked") in seen and "held by 'MainThread'" in seen
    (mine,) = [part for part in seen.split("\n\n") if part.startswith("thread 'MainThread'")]
    assert "which others wait for" in mine and "in wants_the_lock" in seen
    assert not [w for w in waits() if w.what is lock], "the record left with the wait"


@pytest.mark.parametrize("kind", ["rlock", "event", "queue", "condition", "semaphore", "barrier"])
def test_every_kind_of_wait_is_listed(kind: str) -> None:
    rlock, event, items = threading.RLock(), threading.Event(), queue.Queue[int]()
    condition, semaphore, barrier = threading.Condition(), threading.Semaphore(0), threading.Barrier(2)

    def wait_for_condition() -> None:
        with condition:
            condition.wait()

    def notify() -> None:
        with condition:
            condition.notify_all()

    calls: dict[str, tuple[Any, Callable[[], object], Callable[[], object]]] = {
        "rlock": (rlock, rlock.acquire, rlock.release),
        "event": (event, event.wait, event.set),
        "queue": (items, items.get, lambda: items.put(1)),
        "condition": (condition, wait_for_condition, notify),
        "semaphore": (semaphore, semaphore.acquire, semaphore.release),
        "barrier": (barrier, barrier.wait, barrier.wait),
    }
    what, wait, wake = calls[kind]
    if kind == "rlock":
        rlock.acquire()
    with waiter(wait, "waits") as thread:
        (found,) = [w for w in waits() if w.ident == thread.ident]
        assert what is found.what
        assert (found.owner != 0) == (kind == "rlock")
        wake()
    assert not [w for w in waits() if w.what is what]


def test_a_wait_that_timed_out_or_raised_leaves_no_record() -> None:
    lock, event = threading.Lock(), threading.Event()
    with lock:
        assert not lock.acquire(timeout=0.001)
    assert not event.wait(0.001)
    assert not [w for w in waits() if w.what is lock or w.what is event]


def test_a_repr_that_raises_spoils_nothing() -> None:
    class Odd(threading.Event):  # type: ignore[misc,unused-ignore]
        def __repr__(self) -> str:
            raise ValueError("no")

    event = Odd()
    with waiter(event.wait, "odd"):
        seen = text()
        event.set()
    assert "whose repr raised ValueError" in seen


def test_standard_error_is_where_it_goes(capfd: pytest.CaptureFixture[str]) -> None:
    manyhands.dump()
    assert "test_standard_error_is_where_it_goes" in capfd.readouterr().err


def test_a_forked_child_has_only_its_own_waits() -> None:
    event = threading.Event()
    with waiter(event.wait, "parent's"):
        pid = os.fork()
        if pid == 0:
            os._exit(3 if waits() else 0)
        _, status = os.waitpid(pid, 0)
        event.set()
    assert os.waitstatus_to_exitcode(status) == 0


def test_many_threads_come_and_go_while_others_look() -> None:
    """The list stays whole: every record comes, and leaves again."""
    lock = threading.Lock()

    def struggle() -> None:
        for _ in range(100):
            with lock:
                time.sleep(0)

    threads = [threading.Thread(target=struggle) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for wait in waits():
            assert wait.key != 0 and wait.ident != 0
    for thread in threads:
        thread.join()
    assert not [w for w in waits() if w.what is lock]


# ---- rings -----------------------------------------------------------------------------------------------------------


def run(program: str, mode: str | None, *flags: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "MANYHANDS_DEADLOCK"}
    if mode is not None:
        env["MANYHANDS_DEADLOCK"] = mode
    head = "import os, sys, threading as std, manyhands, manyhands.threading as t\n"
    return subprocess.run(
        [sys.executable, *flags, "-c", head + textwrap.dedent(program)],
        env=env,
        capture_output=True,
        text=True,
        timeout=LONG * 2,
        check=False,
    )


RING = """
    n = {n}
    locks = [t.{kind}() for _ in range(n)]
    here = t.Barrier(n)
    told = []
    def go(i):
        with locks[i]:
            here.wait()
            try:
                with locks[(i + 1) % n]:
                    pass
            except manyhands.DeadlockError as error:
                told.append(str(error))
    threads = [t.Thread(target=go, args=(i,), name=f"ring-{{i}}") for i in range(n)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(told) == 1, told
    for i in range(n):
        assert f"thread 'ring-{{i}}' waits for" in told[0], told[0]
    assert told[0].count("in go") == n
    assert not any(lock.locked() for lock in locks) if hasattr(locks[0], "locked") else True
"""


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_raise_breaks_a_ring_and_tells_all_stacks(kind: str, n: int) -> None:
    done = run(RING.format(n=n, kind=kind), "raise")
    assert done.returncode == 0, done.stderr


WARN = """
    import warnings
    a, b = t.RLock(), t.RLock()
    here = t.Barrier(2)
    def go(first, second):
        with first:
            here.wait()
            second.acquire()
    def shown(message, category, *rest):
        assert category is manyhands.DeadlockWarning
        print(message, flush=True)
        os._exit(7)  # they wait for ever: this is what a warning is for
    warnings.showwarning = shown
    for pair in (a, b), (b, a):
        t.Thread(target=go, args=pair, daemon=True).start()
    std.Event().wait(30)
"""


def test_warn_tells_and_goes_on_waiting() -> None:
    done = run(WARN, "warn")
    assert done.returncode == 7 and done.stdout.count("in go") == 2, done.stderr


def test_a_typing_error_in_the_variable_is_said_and_taken_for_warn() -> None:
    done = run(WARN, "rasie")
    assert done.returncode == 7 and "'rasie' is not known" in done.stderr


NO_RING = """
    # one thread takes a lock and another releases it: a signal, no deadlock
    signal = t.Lock(); signal.acquire()
    waiting = t.Thread(target=signal.acquire); waiting.start()
    signal.release(); waiting.join()
    mine = t.Lock(); mine.acquire()
    helper = std.Timer(0.05, mine.release); helper.start()
    mine.acquire()
    # opposite orders, but one of the waits has a deadline
    a, b, here = t.Lock(), t.Lock(), t.Barrier(2)
    def timed():
        with a:
            here.wait()
            if b.acquire(timeout=0.05):
                b.release()
    thread = t.Thread(target=timed); thread.start()
    with b:
        here.wait()
        with a:
            pass
    thread.join()
    print("fine")
"""


def test_what_is_no_deadlock_is_let_be() -> None:
    done = run(NO_RING, "raise", "-W", "error")
    assert done.returncode == 0 and done.stdout == "fine\n", done.stderr


def test_without_the_variable_nothing_is_looked_for() -> None:
    done = run(
        """
        from manyhands._impl import core, deadlock
        bound = []
        core_bind, core._bind = core._bind, lambda name, value: bound.append(name)
        deadlock.bind()
        print(bound)
        os.environ["MANYHANDS_DEADLOCK"] = "warn"
        deadlock.bind()
        print(bound)
        """,
        None,
    )
    assert done.stdout == "[]\n['deadlock']\n", done.stderr


def test_the_example(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, root / "examples/python/deadlock_report.py"],
        capture_output=True,
        text=True,
        timeout=LONG * 2,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("has both locks") == 1 and done.stdout.count("deadlock: 2 threads") == 1


def test_an_error_of_the_report_itself_ends_the_wait() -> None:
    """Bound by hand: whatever the report raises leaves the acquire(), and the lock is not held."""
    done = run(
        """
        from manyhands._impl import core
        def report(ring, may_raise):
            assert len(ring) == 2 and may_raise
            raise KeyError("mine")
        core._bind("deadlock", report)
        a, b, here, caught = t.Lock(), t.Lock(), t.Barrier(2), []
        def go(x, y):
            with x:
                here.wait()
                try:
                    with y: pass
                except KeyError:
                    caught.append(1)
        threads = [t.Thread(target=go, args=p) for p in ((a, b), (b, a))]
        [x.start() for x in threads]; [x.join() for x in threads]
        print(caught, a.locked(), b.locked(), core._waits())
        """,
        None,
    )
    assert done.stdout == "[1] False False []\n", done.stderr


OTHER_INTERPRETERS = """
import threading

import manyhands
import manyhands.threading
from manyhands._impl.dump import current_frames
from manyhands.futures import InterpreterPoolExecutor

ROUNDS = 8


def spin():
    while not done.is_set():
        manyhands.checkpoint()


def look():
    # Each way in which the package asks for the frames of threads.
    while not done.is_set():
        assert threading.get_ident() in current_frames()
        with open("/dev/null", "w") as nowhere:
            manyhands.dump(nowhere)
        assert spinning.pause(30)
        spinning.resume()


done = threading.Event()
spinning = manyhands.threading.Thread(target=spin)
looking = threading.Thread(target=look)
spinning.start()
looking.start()
for _ in range(ROUNDS):
    with InterpreterPoolExecutor(2) as executor:
        # makes its interpreter import much, which calls and allocates all the time
        calls = [executor.submit(__import__, "manyhands.futures.process") for _ in range(4)]
        for call in calls:
            call.result()
done.set()
looking.join()
spinning.join()
print("whole")
"""


@pytest.mark.skipif(sys.version_info < (3, 13), reason="interpreters with a GIL of their own: 3.13 and newer")
def test_it_looks_into_no_other_interpreter() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OTHER_INTERPRETERS], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr
