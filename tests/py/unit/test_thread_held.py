"""Who holds what: a thread that holds a lock is not parked, `owner` names it, dump() tells of it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading as std
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import manyhands
import manyhands.multiprocessing as multiprocessing
import manyhands.queue as queue
import manyhands.threading as threading
import pytest
from manyhands import _core  # type: ignore[attr-defined]
from manyhands.threading import Thread

LONG = 30
modern = pytest.mark.skipif(sys.version_info < (3, 12), reason="parks anywhere from 3.12 on")


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def read_side() -> Any:
    return threading.RWLock().read


def write_side() -> Any:
    return threading.RWLock().write


LOCKS: dict[str, Callable[[], Any]] = {
    "Lock": threading.Lock,
    "RLock": threading.RLock,
    "Condition": threading.Condition,
    "RWLock.read": read_side,
    "RWLock.write": write_side,
    "multiprocessing.Lock": multiprocessing.Lock,
    "multiprocessing.RLock": multiprocessing.RLock,
}


class Holder:
    """A thread that holds `lock` until `release`, computing or waiting, and then goes on until `stop`."""

    def __init__(self, lock: Any, computing: bool) -> None:
        self.inside, self.release, self.stop = std.Event(), threading.Event(), threading.Event()
        self.thread = Thread(target=self._work, args=(lock, computing))

    def _work(self, lock: Any, computing: bool) -> None:
        with lock:
            self.inside.set()
            if computing:
                while not self.release.is_set():
                    manyhands.checkpoint()
            else:
                self.release.wait()
        while not self.stop.is_set():
            manyhands.checkpoint()

    def __enter__(self) -> Holder:
        self.thread.start()
        assert self.inside.wait(LONG)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release.set()
        self.stop.set()
        if self.thread.state in ("paused", "pausing"):
            self.thread.resume()
        self.thread.join(LONG)
        assert not self.thread.is_alive()


@pytest.mark.parametrize("computing", [True, False], ids=["computing", "waiting"])
@pytest.mark.parametrize("kind", LOCKS)
def test_parked_only_after_the_last_release(kind: str, computing: bool) -> None:
    lock = LOCKS[kind]()
    with Holder(lock, computing) as holder:
        assert holder.thread.pause(0.05) is False
        assert holder.thread.state == "pausing"
        holder.release.set()
        until(lambda: holder.thread.state == "paused")
        assert lock.acquire(True, 0)  # free while its last owner is parked
        lock.release()
        holder.thread.resume()


def test_of_two_locks_the_last_one_counts() -> None:
    one, two = threading.Lock(), threading.Lock()
    steps = [threading.Event(), threading.Event()]
    inside, first_gone = std.Event(), std.Event()

    def work() -> None:
        with one:
            with two:
                inside.set()
                steps[0].wait()
            first_gone.set()
            steps[1].wait()
        manyhands.checkpoint()

    thread = Thread(target=work)
    thread.start()
    assert inside.wait(LONG)
    assert thread.pause(0) is False
    steps[0].set()
    assert first_gone.wait(LONG)
    assert thread.pause(0.02) is False
    steps[1].set()
    until(lambda: thread.state == "paused")
    assert not one.locked() and not two.locked()
    thread.resume()
    thread.join(LONG)


def test_a_lock_that_another_thread_releases_holds_nobody_back() -> None:
    lock, inside, stop = threading.Lock(), std.Event(), threading.Event()

    def work() -> None:
        lock.acquire()
        inside.set()
        while not stop.is_set():
            manyhands.checkpoint()

    thread = Thread(target=work)
    thread.start()
    assert inside.wait(LONG)
    assert thread.pause(0.02) is False
    lock.release()
    assert thread.pause(LONG) is True
    stop.set()
    thread.resume()
    thread.join(LONG)


def test_a_condition_wait_holds_nothing() -> None:
    cond, ready = threading.Condition(), std.Event()

    def work() -> None:
        with cond:
            ready.set()
            cond.wait()

    thread = Thread(target=work)
    thread.start()
    assert ready.wait(LONG)
    with cond:  # it waits now
        pass
    assert thread.pause(LONG) is True
    thread.resume()
    with cond:
        cond.notify()
    thread.join(LONG)
    assert thread.outcome == "returned"


def test_pausing_oneself_while_holding_comes_after_the_release() -> None:
    lock, said, seen = threading.Lock(), [], std.Event()

    def work() -> None:
        with lock:
            said.append(thread.pause())
            seen.set()
        manyhands.checkpoint()
        said.append("on")

    thread = Thread(target=work)
    thread.start()
    assert seen.wait(LONG)
    until(lambda: thread.state == "paused")
    assert said == [False]
    assert lock.acquire(timeout=LONG)
    lock.release()
    thread.resume()
    thread.join(LONG)
    assert said == [False, "on"]


@modern
def test_python_code_under_the_mutex_of_a_queue() -> None:
    inside, leave = std.Event(), []

    class Slow(queue.Queue):  # type: ignore[type-arg]
        def _put(self, item: Any) -> None:
            inside.set()
            while not leave:
                pass
            super()._put(item)

    q = Slow()
    thread = Thread(target=lambda: (q.put(1), [0 for _ in iter(lambda: len(leave) < 2, False)]))
    thread.start()
    assert inside.wait(LONG)
    assert thread.pause(0.05) is False
    leave.append(1)
    until(lambda: thread.state == "paused")
    assert q.get(timeout=LONG) == 1
    leave.append(1)
    thread.resume()
    thread.join(LONG)


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_owner(make: Any) -> None:
    lock = make()
    assert lock.owner is None
    with lock:
        assert lock.owner == std.get_ident()
    assert lock.owner is None
    inside, leave = std.Event(), std.Event()

    def work() -> None:
        with lock:
            inside.set()
            leave.wait(LONG)

    thread = Thread(target=work)
    thread.start()
    assert inside.wait(LONG)
    assert lock.owner == thread.ident
    leave.set()
    thread.join(LONG)
    assert lock.owner is None
    with pytest.raises(AttributeError):
        lock.owner = 1


def held_by_me() -> list[Any]:
    return [what for ident, what in _core._held() if ident == std.get_ident()]


@pytest.mark.parametrize("kind", LOCKS)
def test_the_list_is_empty_again(kind: str) -> None:
    before = len(held_by_me())
    lock = LOCKS[kind]()
    for _ in range(3):
        with lock:
            assert len(held_by_me()) == before + 1
        assert len(held_by_me()) == before


def test_recursion_counts_once_and_ends_with_the_last_release() -> None:
    lock = threading.RLock()
    with lock:
        with lock:
            assert held_by_me().count(lock) == 1
        assert held_by_me().count(lock) == 1
    assert lock not in held_by_me()


@pytest.mark.parametrize("kind", ["Lock", "RLock", "RWLock.read"])
def test_a_lock_that_goes_while_it_is_held(kind: str) -> None:
    before = len(held_by_me())
    lock = LOCKS[kind]()
    lock.acquire()
    del lock
    assert len(held_by_me()) == before


def test_a_lock_outlives_the_thread_that_holds_it() -> None:
    lock = threading.Lock()
    thread = Thread(target=lock.acquire)
    thread.start()
    thread.join(LONG)
    for _ in range(50):  # new threads find other holders
        other = Thread(target=lambda: held_by_me())
        other.start()
        other.join(LONG)
    assert lock.locked()
    lock.release()
    assert lock.owner is None
    assert lock.acquire(False)
    lock.release()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_after_a_fork_the_child_holds_what_the_forking_thread_held() -> None:
    lock, other = threading.Lock(), threading.Lock()
    with Holder(other, computing=False), lock:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                assert lock.owner == std.get_ident()
                other._at_fork_reinit()  # type: ignore[attr-defined]
                assert other.owner is None and other.acquire(False)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_dump_tells_what_a_thread_holds() -> None:
    lock = threading.Lock()
    with Holder(lock, computing=False) as holder:
        text = io.StringIO()
        manyhands.dump(text)
        mine = next(part for part in text.getvalue().split("\n\n") if holder.thread.name in part)
        assert f"holds {lock!r}" in mine
    text = io.StringIO()
    manyhands.dump(text)
    assert hex(id(lock)) not in text.getvalue()


def test_the_main_thread_is_left_alone() -> None:
    main: Any = threading.main_thread()
    for verb in ("pause", "resume", "terminate"):
        with pytest.raises(RuntimeError, match=f"cannot {verb} the main thread"):
            getattr(main, verb)()
    assert main.state == "running"


def test_outcome_has_the_value_or_the_exception(monkeypatch: Any) -> None:
    monkeypatch.setattr(std, "excepthook", lambda args: None)

    class Own(Thread):
        def run(self) -> str:
            return "own"

    def fails() -> None:
        raise KeyError(1)

    for thread, how, value, error in (
        (Thread(target=lambda a, b: a + b, args=(1,), kwargs={"b": 2}), "returned", 3, None),
        (Own(), "returned", "own", None),
        (Thread(), "returned", None, None),
        (Thread(target=sys.exit), "returned", None, None),
        (Thread(target=fails), "raised", None, KeyError),
    ):
        assert thread.outcome is None
        thread.start()
        thread.join(LONG)
        assert thread.outcome == how
        assert thread.outcome is not None and thread.outcome.value == value
        assert isinstance(thread.outcome.exception, error or type(None))
        assert "run" not in vars(thread)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="3.11 parks at waits and checkpoints only")
def test_on_3_11_pause_says_where_it_cannot_park() -> None:
    stop: list[int] = []
    started = std.Event()

    def work() -> None:
        started.set()
        while not stop:
            pass
        manyhands.checkpoint()

    thread = Thread(target=work)
    thread.start()
    assert started.wait(LONG)
    with pytest.warns(RuntimeWarning, match=r"Python 3.11 cannot park it.*checkpoint"):
        assert thread.pause(0.2) is False
    stop.append(1)
    until(lambda: thread.state == "paused")
    thread.resume()
    thread.join(LONG)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "pause_resume",
            ["look 1: paused", "look 2: paused", "look 3: paused", "returned, with all of its turns: True"],
        ),
        ("terminate", ["worker: tidied up", "main: the worker terminated, the lock is free"]),
    ],
)
def test_the_examples(name: str, said: list[str]) -> None:
    program = Path(__file__).parents[3] / "examples" / "python" / f"{name}.py"
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, said, "")
