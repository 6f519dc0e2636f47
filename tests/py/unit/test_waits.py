"""What all waits share: signals, deadlines, interpreters, and that no stdlib lock is behind them."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import manyhands.queue as queue
import manyhands.threading as threading
import pytest


class Rang(Exception):
    """Raised by the signal handler."""


def raise_rang(*_: object) -> None:
    raise Rang


@pytest.fixture
def alarm() -> Iterator[Callable[[Any, float], None]]:
    """alarm(handler, seconds) arms one."""
    before = signal.getsignal(signal.SIGALRM)

    def arm(handler: Any, seconds: float) -> None:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    yield arm
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def held(lock: Any) -> Any:
    lock.acquire()
    return lock


def in_condition(lock: Any) -> Callable[..., Any]:
    condition = threading.Condition(lock)

    def wait(timeout: float | None = None) -> bool:
        with condition:
            try:
                return condition.wait(timeout)
            finally:
                assert condition._is_owned()

    return wait


def other_thread_holds(rlock: Any) -> Any:
    thread = threading.Thread(target=rlock.acquire)
    thread.start()
    thread.join()
    return rlock


def getting(q: Any) -> Callable[..., Any]:
    def get(timeout: float | None = None) -> bool:
        try:
            return bool(q.get(timeout=timeout))
        except queue.Empty:
            return False

    return get


WAITS: dict[str, Callable[[], Callable[..., Any]]] = {
    "lock": lambda: held(threading.Lock()).acquire,
    "rlock": lambda: other_thread_holds(threading.RLock()).acquire,
    "semaphore": lambda: threading.Semaphore(0).acquire,
    "event": lambda: threading.Event().wait,
    "condition": lambda: in_condition(None),
    "condition over Lock": lambda: in_condition(threading.Lock()),
    "queue": lambda: getting(queue.Queue()),
    "simple queue": lambda: getting(queue.SimpleQueue()),
}
EVERY = pytest.mark.parametrize("make", WAITS.values(), ids=WAITS.keys())


@EVERY
def test_a_handler_that_raises_ends_the_wait(make: Any, alarm: Any) -> None:
    wait = make()
    alarm(raise_rang, 0.02)
    started = time.monotonic()
    with pytest.raises(Rang):
        wait()
    assert time.monotonic() - started < 20


@EVERY
def test_a_handler_that_returns_leaves_the_deadline_alone(make: Any, alarm: Any) -> None:
    wait, rang = make(), []
    alarm(lambda *_: rang.append(time.monotonic()), 0.02)
    started = time.monotonic()
    assert wait(timeout=0.15) is False
    assert rang
    assert time.monotonic() - started >= 0.15


def test_a_handler_may_wait_itself(alarm: Any) -> None:
    inner, outer = threading.Event(), threading.Event()
    log: list[Any] = []

    def handler(*_: object) -> None:
        log.append(inner.wait(0.01))
        outer.set()

    alarm(handler, 0.02)
    assert outer.wait(30)
    assert log == [False]


def test_after_a_handler_that_waited_the_next_is_still_seen(alarm: Any) -> None:
    log: list[Any] = []

    def first(*_: object) -> None:
        log.append(threading.Event().wait(0.001))
        alarm(raise_rang, 0.02)

    alarm(first, 0.01)
    with pytest.raises(Rang):
        threading.Event().wait(30)
    assert log == [False]


def test_a_signal_that_another_thread_takes_is_handled_all_the_same() -> None:
    """The main thread blocks the signal and sleeps; its futex is not interrupted, its slices look."""
    before = signal.signal(signal.SIGUSR1, raise_rang)
    ready = threading.Event()
    stop = threading.Event()

    def other() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        ready.set()
        stop.wait(30)

    thread = threading.Thread(target=other)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        thread.start()
        ready.wait(30)
        killer = threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1))
        killer.start()
        with pytest.raises(Rang):
            threading.Event().wait(30)
        killer.join()
    finally:
        stop.set()
        thread.join(30)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGUSR1, before)


def test_condition_takes_its_lock_back_before_a_handlers_exception(alarm: Any) -> None:
    condition = threading.Condition(threading.Lock())
    go = threading.Event()

    def occupant() -> None:
        go.wait(30)
        with condition:
            go.clear()
            time.sleep(0.1)  # the waiter's signal comes while this thread holds the lock

    thread = threading.Thread(target=occupant)
    thread.start()
    alarm(raise_rang, 0.05)
    with pytest.raises(Rang), condition:
        go.set()
        try:
            condition.wait(0.02)
        finally:
            assert condition._is_owned()
            assert condition.wait(0.001) is False
    thread.join(30)
    assert not condition._is_owned()


@EVERY
@pytest.mark.parametrize(
    ("timeout", "error"), [(math.nan, ValueError), (1e10, OverflowError), ("1", TypeError)]
)
def test_bad_timeouts(make: Any, timeout: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()(timeout=timeout)


@EVERY
def test_not_before_the_time(make: Any) -> None:
    wait = make()
    started = time.monotonic()
    assert wait(timeout=0.03) is False
    assert time.monotonic() - started >= 0.03


def test_ctrl_c_ends_a_program_that_waits() -> None:
    code = (
        "import manyhands.threading as t, os, signal\n"
        "timer = t.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)); timer.start()\n"
        "try:\n    t.Event().wait()\nexcept KeyboardInterrupt:\n    print('interrupted')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


def test_join_at_exit_of_a_thread_in_a_wait() -> None:
    code = (
        "import manyhands.threading as t\n"
        "e = t.Event()\n"
        "def work():\n    e.wait(); print('worked')\n"
        "t.Thread(target=work).start()\n"
        "t.Timer(0.05, e.set).start()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "worked\n", "")


INTERPRETERS = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
source = '''
import sys
sys.path[:] = {path!r}
import manyhands.threading as t, manyhands.queue as q
out = q.Queue()
def work():
    for i in range(100):
        out.put(i)
thread = t.Thread(target=work); thread.start()
assert sum(out.get(timeout=30) for _ in range(100)) == 4950
thread.join()
assert t.Event().wait(0.01) is False
'''.format(path=sys.path)
import threading
def run():
    own = interpreters.create()
    try:
        failed = interpreters.run_string(own, source)
        assert failed is None, failed
    finally:
        interpreters.destroy(own)
threads = [threading.Thread(target=run) for _ in range(2)]
import manyhands.threading
for thread in threads: thread.start()
for thread in threads: thread.join()
print("done")
"""


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="interpreters with a GIL of their own came with Python 3.12"
)
def test_in_interpreters_with_their_own_gil() -> None:
    done = subprocess.run([sys.executable, "-c", INTERPRETERS], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
