"""CancelToken: it ends every wait that takes it (thread_calls.py), loses nothing, and goes behind a terminate()."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import signal
import subprocess
import sys
import threading as std
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

import manyhands.multiprocessing as mp
import manyhands.queue as queue
import manyhands.threading as threading
import thread_calls
from manyhands import Cancelled, CancelToken
from manyhands._impl.dump import waits


@pytest.fixture(autouse=True)
def end_the_threads() -> Iterator[None]:
    yield
    while thread_calls.STOPS:
        thread_calls.STOPS.pop().set()


CANCELLABLE = pytest.mark.parametrize("name", thread_calls.CANCELLABLE)


class Waiting:
    """A thread in a call, and what came of it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.came: Any = None
        self._call = call
        self.thread = std.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.came = self._call()
        except BaseException as error:
            self.came = error

    def asleep(self) -> Waiting:
        while self.thread.ident not in {wait.ident for wait in waits()}:
            assert self.thread.is_alive(), self.came
        return self

    def result(self) -> Any:
        self.thread.join(30)
        assert not self.thread.is_alive(), "still waits"
        return self.came


def in_time(call: Callable[[], Any]) -> Any:
    return Waiting(call).result()


@CANCELLABLE
def test_it_ends_a_wait(name: str) -> None:
    call, token = thread_calls.CANCELLABLE[name](), CancelToken()
    waiting = Waiting(lambda: call(cancel=token)).asleep()
    token.cancel("the user went away")
    error = waiting.result()
    assert isinstance(error, Cancelled) and str(error) == "the user went away"


@CANCELLABLE
def test_cancelled_before(name: str) -> None:
    call, token = thread_calls.CANCELLABLE[name](), CancelToken()
    token.cancel()
    error = in_time(lambda: call(cancel=token))
    assert isinstance(error, Cancelled) and str(error) == "cancelled by the CancelToken"


@CANCELLABLE
def test_the_main_thread_is_reached(name: str) -> None:
    call, token = thread_calls.CANCELLABLE[name](), CancelToken()
    main = std.main_thread().ident

    def cancel() -> None:
        while main not in {wait.ident for wait in waits()}:
            pass
        token.cancel()

    canceller = std.Thread(target=cancel)
    canceller.start()
    with pytest.raises(Cancelled):
        call(cancel=token)
    canceller.join()


@pytest.mark.parametrize("name", thread_calls.TIMED)
def test_the_time_limit_stays(name: str) -> None:
    assert not thread_calls.TIMED[name]()(timeout=0.01, cancel=CancelToken())


@CANCELLABLE
@pytest.mark.parametrize("wrong", [1, "token", object(), std.Event(), CancelToken])
def test_what_is_no_token_is_refused(name: str, wrong: Any) -> None:
    with pytest.raises(TypeError, match="cancel must be a CancelToken or None, not "):
        thread_calls.CANCELLABLE[name]()(cancel=wrong)


def test_what_need_not_wait_does_not_look() -> None:
    token = CancelToken()
    token.cancel()
    lock, event, made = threading.Lock(), threading.Event(), queue.Queue[int]()
    event.set()
    made.put(1, cancel=token)
    assert lock.acquire(cancel=token) and event.wait(cancel=token) and made.get(cancel=token) == 1
    assert not lock.acquire(False, cancel=token)
    with pytest.raises(queue.Empty):
        made.get(False, cancel=token)


# ---- the token itself


def test_the_first_reason_stays() -> None:
    token = CancelToken()
    assert token.reason is None and not token.cancelled() and "cancelled" not in repr(token)
    token.raise_if_cancelled()
    token.cancel("first")
    token.cancel("second")
    assert token.reason == "first" and token.cancelled() and "'first'" in repr(token)
    with pytest.raises(Cancelled) as caught:
        token.raise_if_cancelled()
    assert str(caught.value) == "first"


def test_wait_is_a_sleep_that_can_be_cut_short() -> None:
    token = CancelToken()
    began = time.monotonic()
    assert token.wait(0.02) is False and time.monotonic() - began >= 0.02
    waiting = Waiting(token.wait).asleep()
    token.cancel()
    assert waiting.result() is True and token.wait() is True and token.wait(0) is True


def test_bad_arguments() -> None:
    token = CancelToken()
    with pytest.raises(TypeError, match="reason must be a string or None, not int"):
        token.cancel(1)  # type: ignore[arg-type]
    assert not token.cancelled()
    with pytest.raises(TypeError, match="CancelToken"):
        CancelToken(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(token)
    with pytest.raises(TypeError):
        token.wait("long")  # type: ignore[arg-type]


def test_it_can_be_watched_weakly() -> None:
    token = CancelToken()
    reference = weakref.ref(token)
    del token
    assert reference() is None


def test_a_signal_handler_may_cancel() -> None:
    """The wait that it ends is the one that the handler interrupted."""
    token = CancelToken()
    before = signal.signal(signal.SIGUSR1, lambda *_: token.cancel("signal"))
    try:
        main = std.get_ident()

        def kill() -> None:
            while main not in {wait.ident for wait in waits()}:
                pass
            os.kill(os.getpid(), signal.SIGUSR1)

        killer = std.Thread(target=kill)
        killer.start()
        with pytest.raises(Cancelled, match="signal"):
            threading.Event().wait(30, cancel=token)
        killer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


# ---- nothing is lost


def test_a_condition_is_held_after_it() -> None:
    token, condition = CancelToken(), threading.Condition()

    def wait() -> bool:
        with condition:
            try:
                condition.wait(cancel=token)
            except Cancelled:
                return bool(condition._is_owned())
        return False

    waiting = Waiting(wait).asleep()
    with condition:
        token.cancel()
    assert waiting.result() is True and condition.acquire(timeout=10)
    condition.release()


def test_wait_for_calls_a_wait_of_a_subclass_with_the_token() -> None:
    class Counted(threading.Condition):
        calls: list[Any]

        def wait(self, timeout: float | None = None, **more: Any) -> bool:
            self.calls.append((timeout, more))
            return bool(super().wait(timeout, **more))

    condition, token = Counted(), CancelToken()
    condition.calls = []
    token.cancel()
    with condition, pytest.raises(Cancelled):
        condition.wait_for(lambda: False, cancel=token)
    with condition:
        condition.wait_for(lambda: False, 0.001)
    assert condition.calls[0] == (None, {"cancel": token}) and condition.calls[1][1] == {}


def test_a_barrier_breaks_for_the_others() -> None:
    barrier, token = threading.Barrier(3), CancelToken()
    waiting = [Waiting(barrier.wait).asleep(), Waiting(lambda: barrier.wait(cancel=token)).asleep()]
    token.cancel()
    assert isinstance(waiting[1].result(), Cancelled)
    assert isinstance(waiting[0].result(), threading.BrokenBarrierError) and barrier.broken


def test_no_item_and_no_count_is_lost() -> None:
    """Consumers whose waits are cancelled at random, while items and releases come."""
    items, made, free = 3000, queue.Queue[int](), threading.Semaphore(0)
    got: list[list[int]] = [[] for _ in range(4)]
    tokens = [CancelToken() for _ in got]

    def consume(number: int) -> None:
        while True:
            try:
                free.acquire(cancel=tokens[number])
            except Cancelled:
                tokens[number] = CancelToken()
                continue
            while True:
                try:
                    item = made.get(cancel=tokens[number])
                    break
                except Cancelled:
                    tokens[number] = CancelToken()
            if item < 0:
                return
            got[number].append(item)

    waiting = [Waiting(lambda number=number: consume(number)) for number in range(len(got))]  # type: ignore[misc]
    dice = random.Random(1)
    for item in [*range(items), *[-1] * len(got)]:
        made.put(item)
        free.release()
        tokens[dice.randrange(len(tokens))].cancel()
    assert [each.result() for each in waiting] == [None] * len(got)
    assert sorted(item for each in got for item in each) == list(range(items))
    assert made.empty() and not free.acquire(False)


# ---- beside terminate, pause and fork


def test_an_end_that_was_asked_for_goes_first() -> None:
    token, ready = CancelToken(), threading.Event()
    token.cancel()

    def run() -> None:
        with manyhands.shield():
            ready.set()
            while not thread._control.terminating:
                pass
        threading.Event().wait(cancel=token)

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    thread.terminate()
    thread.join(30)
    assert thread.outcome == "terminated"


def test_a_cleanup_of_a_thread_that_ends_can_be_cancelled() -> None:
    token, cleaning, came = CancelToken(), threading.Event(), list[Any]()

    def run() -> None:
        try:
            threading.Event().wait()
        finally:
            cleaning.set()
            try:
                threading.Event().wait(cancel=token)
            except Cancelled as error:
                came.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    while thread.ident not in {wait.ident for wait in waits()}:
        pass
    thread.terminate()
    assert cleaning.wait(30)
    token.cancel("enough")
    thread.join(30)
    assert came == ["enough"] and thread.outcome == "terminated"


def test_a_paused_waiter_is_cancelled_once_it_goes_on() -> None:
    token = CancelToken()
    came: list[Any] = []

    def run() -> None:
        try:
            threading.Event().wait(cancel=token)
        except Cancelled as error:
            came.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert thread.pause(30)
    token.cancel()
    assert thread.state == "paused"
    thread.resume()
    thread.join(30)
    assert len(came) == 1


def test_pause_takes_a_token() -> None:
    """Of a thread that is inside a foreign call."""
    reading, writing = os.pipe()
    thread = threading.Thread(target=os.read, args=(reading, 1))
    thread.start()
    token = CancelToken()
    waiting = Waiting(lambda: thread.pause(cancel=token)).asleep()
    token.cancel()
    assert isinstance(waiting.result(), Cancelled)
    assert thread.state == "pausing"
    thread.resume()
    os.write(writing, b"x")
    thread.join(30)
    os.close(reading)
    os.close(writing)


def test_a_joining_thread_can_be_ended() -> None:
    stop = threading.Event()
    slow = threading.Thread(target=lambda: stop.wait())
    slow.start()
    joiner = threading.Thread(target=slow.join)
    joiner.start()
    assert joiner.pause(30)
    joiner.resume()
    joiner.terminate()
    joiner.join(30)
    assert joiner.outcome == "terminated" and slow.is_alive()
    stop.set()
    slow.join()


def test_a_forked_child_uses_the_token_on() -> None:
    token = CancelToken()
    Waiting(lambda: threading.Event().wait(cancel=token)).asleep()
    child = os.fork()
    if child == 0:
        token.cancel()
        try:
            threading.Event().wait(30, cancel=token)
        except Cancelled:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert not token.cancelled()
    token.cancel()


# ---- between processes


def full() -> Any:
    made = mp.Queue(1)
    made.put(0)
    return made


def shared_condition(method: str, *args: Any) -> Callable[..., Any]:
    condition = mp.Condition()

    def wait(**more: Any) -> Any:
        with condition:
            return getattr(condition, method)(*args, **more)

    return wait


def undone() -> Any:
    made = mp.JoinableQueue()
    made.put(1)
    return made


PIPES: list[Any] = []


def pipe() -> Any:
    PIPES.append(mp.Pipe())
    return PIPES[-1][0]


def stuffed() -> Callable[..., Any]:
    """A pipe that nobody reads takes no more after some megabytes."""
    end = pipe()

    def send(**more: Any) -> None:
        while True:
            end.send(b"x" * 60000, **more)

    return send


def test_join_at_once_never_parks_the_caller() -> None:
    """It asks without letting the GIL go; parked there, nobody could resume it. It holds a lock, and so is pausing."""
    process = child_process()
    lock, held, asked = threading.Lock(), threading.Event(), list[int]()

    def run() -> None:
        with lock:
            held.set()
            while not asked:
                pass
            process.join(0)

    thread = threading.Thread(target=run)
    thread.start()
    assert held.wait(30)
    thread.pause(0)
    asked.append(1)
    while lock.locked():
        time.sleep(0.001)
    with contextlib.suppress(RuntimeError):  # it may have ended by now
        thread.resume()
    thread.join(30)
    assert not thread.is_alive() and process.is_alive()
    PIPES.pop()
    process.kill(), process.join(), process.close()


def child_process() -> Any:
    process = mp.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    PIPES.append(process)
    return process


SHARED: dict[str, Callable[[], Callable[..., Any]]] = {
    "Lock.acquire": lambda: thread_calls.held(mp.Lock()).acquire,
    "Lock.recover": lambda: thread_calls.held(mp.Lock()).recover,
    "RLock.acquire": lambda: thread_calls.held(mp.RLock()).acquire,
    "Semaphore.acquire": lambda: mp.Semaphore(0).acquire,
    "BoundedSemaphore.acquire": lambda: mp.BoundedSemaphore(0).acquire,
    "Event.wait": lambda: mp.Event().wait,
    "Condition.wait": lambda: shared_condition("wait"),
    "Condition.wait_for": lambda: shared_condition("wait_for", bool),
    "Barrier.wait": lambda: mp.Barrier(2).wait,
    "Queue.get": lambda: mp.Queue().get,
    "Queue.put": lambda: lambda **more: full().put(1, **more),
    "Queue.get_many": lambda: lambda **more: mp.Queue().get_many(3, **more),
    "Queue.put_many": lambda: lambda **more: full().put_many([1, 2], **more),
    "JoinableQueue.join": lambda: undone().join,
    "Connection.recv": lambda: pipe().recv,
    "Connection.recv_bytes": lambda: pipe().recv_bytes,
    "Connection.poll": lambda: lambda **more: pipe().poll(None, **more),
    "Connection.send": stuffed,
    "Process.join": lambda: child_process().join,
}


@pytest.mark.parametrize("name", SHARED)
def test_between_processes(name: str) -> None:
    call, token = SHARED[name](), CancelToken()
    waiting = Waiting(lambda: call(cancel=token)).asleep()
    token.cancel("no more")
    error = waiting.result()
    while PIPES:
        thing = PIPES.pop()
        if isinstance(thing, tuple):
            thing[0].close(), thing[1].close()
        else:
            thing.kill(), thing.join(), thing.close()
    assert isinstance(error, Cancelled) and str(error) == "no more", error


EXAMPLE = Path(__file__).parents[3] / "examples" / "python" / "cancel.py"


@pytest.mark.parametrize(
    ("word", "seconds", "said"),
    [
        ("needle", "60", "'needle': found in {folder}/file 7"),
        ("no needle", "60", "'no needle': found nowhere"),
    ],
)
def test_the_example(tmp_path: Path, word: str, seconds: str, said: str) -> None:
    for number in range(500):
        (tmp_path / f"file {number}").write_text("needle" if number == 7 else "hay")
    done = subprocess.run(
        [sys.executable, EXAMPLE, tmp_path, word, seconds],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == said.format(folder=tmp_path) + "\n"


def test_at_shutdown_a_hopeless_wait_is_an_error() -> None:
    """The only other thread is a daemon that stands still for good; with a time limit the wait ends by itself."""
    code = """
import builtins, manyhands.queue, manyhands.threading as t
lock, rlock = t.Lock(), t.RLock()
def hold(): lock.acquire(), rlock.acquire(), held.set(), t.Event().wait()
held = t.Event()
daemon = t.Thread(target=hold, daemon=True)
daemon.start()
import sys
joins = [daemon.join, lambda: daemon.join(60)] * (sys.version_info >= (3, 13))  # before, daemons are dead by then
held.wait()
condition = t.Condition()
class Last:
    def __del__(self):
        assert lock.acquire(timeout=0.01) is False
        for wait in (lock.acquire, rlock.acquire, t.Event().wait, t.Semaphore(0).acquire, waited,
                     manyhands.queue.Queue().get, manyhands.queue.SimpleQueue().get, *joins):
            try:
                wait()
            except RuntimeError as error:
                print(type(error).__name__, error)
def waited():
    with condition: condition.wait()
builtins.last = Last()
builtins.last.itself = builtins.last
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    kind = "PythonFinalizationError" if sys.version_info >= (3, 13) else "RuntimeError"
    said = f"{kind} cannot wait for another thread at interpreter shutdown: none runs any more"
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (
        0,
        [said] * (7 + 2 * (sys.version_info >= (3, 13))),
        "",
    )


def test_without_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in says the same; only the waits know nothing of it."""
    from manyhands._impl.no_core import CancelToken as Plain

    token = Plain()
    token.raise_if_cancelled()
    assert not token.wait(0) and not token.cancelled() and token.reason is None
    token.cancel("so")
    token.cancel("or so")
    assert token.wait(0) and token.cancelled() and token.reason == "so"
    with pytest.raises(Cancelled) as caught:
        token.raise_if_cancelled()
    assert str(caught.value) == "so"
