"""threading.Thread: pause, resume, terminate, state, outcome, CPU time; checkpoint() and shield()."""

from __future__ import annotations

import os
import subprocess
import sys
import threading as std
import time
from collections.abc import Callable, Iterator
from typing import Any

import manyhands
import manyhands.queue as queue
import manyhands.threading as threading
import pytest
from manyhands.threading import Outcome, Thread, ThreadState

LONG = 30


class Counter(Thread):
    """Counts, and comes by a checkpoint at every turn."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0
        self.cleaned = False

    def run(self) -> None:
        try:
            while True:
                self.turns += 1
                manyhands.checkpoint()
        finally:
            self.cleaned = True


@pytest.fixture
def counter() -> Iterator[Counter]:
    thread = Counter()
    thread.start()
    yield thread
    thread.terminate()
    thread.join(LONG)
    assert not thread.is_alive()


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def start(function: Callable[[], Any]) -> Thread:
    thread = Thread(target=function)
    thread.start()
    return thread


# ---- pause and resume ----


def test_pause_stops_and_resume_goes_on(counter: Counter) -> None:
    for _ in range(3):
        assert counter.pause(LONG) is True
        assert counter.state == ThreadState.PAUSED == "paused"
        before = counter.turns
        time.sleep(0.02)
        assert counter.turns == before
        counter.resume()
        until(lambda before=before: counter.turns > before)  # type: ignore[misc]
        assert counter.state == "running"


def test_a_pause_that_is_not_reached_stands_until_taken_back(counter: Counter) -> None:
    busy, go_on = std.Event(), std.Event()  # the stdlib's wait is no safe point

    def work() -> None:
        busy.set()
        go_on.wait()
        manyhands.checkpoint()

    thread = start(work)
    busy.wait(LONG)
    assert thread.pause(0.01) is False
    assert thread.state == "pausing"
    thread.resume()
    assert thread.pause(0) is False
    go_on.set()
    until(lambda: thread.state == "paused")
    thread.resume()
    thread.join(LONG)
    assert thread.outcome == Outcome.RETURNED


WAITS: dict[str, Callable[[], Callable[[], Any]]] = {}


def wait(make: Callable[[], Callable[[], Any]]) -> Callable[[], Callable[[], Any]]:
    WAITS[make.__name__.strip("_")] = make
    return make


@wait
def lock_() -> Callable[[], Any]:
    lock = threading.Lock()
    lock.acquire()
    return lock.acquire


@wait
def rlock_() -> Callable[[], Any]:
    lock = threading.RLock()
    lock.acquire()
    return lock.acquire


@wait
def semaphore_() -> Callable[[], Any]:
    return threading.Semaphore(0).acquire


@wait
def event_() -> Callable[[], Any]:
    return threading.Event().wait


@wait
def condition_() -> Callable[[], Any]:
    condition = threading.Condition()

    def run() -> None:
        with condition:
            try:
                condition.wait()
            finally:
                assert condition._is_owned()

    return run


@wait
def condition_over_a_lock_of_the_stdlib() -> Callable[[], Any]:
    condition = threading.Condition(std.Lock())

    def run() -> None:
        with condition:
            condition.wait()

    return run


@wait
def barrier_() -> Callable[[], Any]:
    return threading.Barrier(2).wait


@wait
def read_() -> Callable[[], Any]:
    lock = threading.RWLock()
    lock.acquire_write()
    return lock.acquire_read


@wait
def write_() -> Callable[[], Any]:
    lock = threading.RWLock()
    lock.acquire_read()
    return lock.acquire_write


@wait
def queue_get() -> Callable[[], Any]:
    return queue.Queue().get


@wait
def queue_put() -> Callable[[], Any]:
    q: Any = queue.Queue(1)
    q.put(0)
    return lambda: q.put(1)


@wait
def queue_join() -> Callable[[], Any]:
    q: Any = queue.Queue()
    q.put(0)
    return q.join


@wait
def queue_mutex() -> Callable[[], Any]:
    q: Any = queue.Queue()
    q.mutex.acquire()
    return q.qsize


@wait
def simple_queue() -> Callable[[], Any]:
    return queue.SimpleQueue().get


EVERY_WAIT = pytest.mark.parametrize("make", WAITS.values(), ids=WAITS.keys())


@EVERY_WAIT
def test_every_wait_is_a_place_to_park_and_to_end(make: Any) -> None:
    function = make()
    thread = start(function)
    assert thread.pause(LONG)
    assert thread.state == "paused"
    thread.resume()
    assert thread.is_alive()
    assert thread.pause(LONG)  # again, in the same wait
    thread.terminate()  # a paused thread goes on to end
    thread.join(LONG)
    assert not thread.is_alive()
    assert thread.outcome == Outcome.TERMINATED
    assert thread.state is ThreadState.FINISHED


def test_a_wait_that_is_over_while_parked_returns_after_resume() -> None:
    event, out = threading.Event(), []
    thread = start(lambda: out.append(event.wait(LONG)))
    assert thread.pause(LONG)
    event.set()
    time.sleep(0.02)
    assert out == []
    thread.resume()
    thread.join(LONG)
    assert out == [True]


def test_pausing_oneself() -> None:
    threads: list[Thread] = []
    out = []
    thread = start(lambda: out.append(threading.current_thread().pause()))  # type: ignore[attr-defined]
    threads.append(thread)
    until(lambda: thread.state == "paused")
    thread.resume()
    thread.join(LONG)
    assert out == [True]


# ---- terminate ----


def test_terminate_runs_finally_and_says_so(counter: Counter) -> None:
    counter.terminate()
    counter.join(LONG)
    assert counter.cleaned
    assert counter.outcome == Outcome.TERMINATED
    counter.terminate()  # nothing more to do


def test_the_waits_of_clean_up_work() -> None:
    ready, done, log = threading.Event(), threading.Event(), []

    def work() -> None:
        try:
            ready.set()
            threading.Event().wait()
        finally:
            log.append(done.wait(LONG))

    thread = start(work)
    ready.wait(LONG)
    thread.terminate()
    assert thread.is_alive()
    done.set()
    thread.join(LONG)
    assert log == [True]
    assert thread.outcome == Outcome.TERMINATED


def test_one_that_catches_it_gets_it_again_at_the_next_terminate() -> None:
    caught = threading.Semaphore(0)
    log = []

    def work() -> None:
        for _ in range(2):
            try:
                while True:
                    manyhands.checkpoint()
            except manyhands.ThreadExit:
                log.append("caught")
                caught.release()
        manyhands.checkpoint()

    thread = start(work)
    for _ in range(2):
        thread.terminate()
        assert caught.acquire(timeout=LONG)
    thread.join(LONG)
    assert log == ["caught"] * 2
    assert thread.outcome == Outcome.RETURNED


def test_except_exception_does_not_swallow_it() -> None:
    assert issubclass(manyhands.ThreadExit, SystemExit)
    assert not issubclass(manyhands.ThreadExit, Exception)


def test_a_shield_holds_both_off() -> None:
    inside, leave, log = threading.Event(), std.Event(), []

    def work() -> None:
        with manyhands.shield(), manyhands.shield():
            inside.set()
            leave.wait()
            manyhands.checkpoint()
            log.append("shielded")
        manyhands.checkpoint()
        log.append("never")

    thread = start(work)
    inside.wait(LONG)
    thread.terminate()
    leave.set()
    thread.join(LONG)
    assert log == ["shielded"]
    assert thread.outcome == Outcome.TERMINATED


def test_shields_are_for_the_thread_that_entered() -> None:
    shield = manyhands.shield()
    with pytest.raises(RuntimeError):
        shield.__exit__(None, None, None)
    out: list[Any] = []

    def enter() -> None:
        try:
            shield.__enter__()
        except RuntimeError as error:
            out.append(error)

    with shield:
        start(enter).join(LONG)
    assert len(out) == 1


# ---- state, outcome, CPU time ----


def test_before_the_start() -> None:
    thread = Thread(target=int)
    assert (thread.state, thread.outcome, thread.cpu_time) == (ThreadState.NEW, None, 0.0)
    for verb in (thread.pause, thread.resume, thread.terminate):
        with pytest.raises(RuntimeError, match="not running"):
            verb()
    thread.start()
    thread.join(LONG)
    assert (thread.state, thread.outcome) == ("finished", "returned")
    for verb in (thread.pause, thread.resume):
        with pytest.raises(RuntimeError, match="not running"):
            verb()
    thread.terminate()


def raising() -> None:
    raise KeyError


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("function", "outcome"),
    [(int, "returned"), (sys.exit, "returned"), (raising, "raised")],
)
def test_outcome(function: Any, outcome: str) -> None:
    thread = start(function)
    thread.join(LONG)
    assert thread.outcome == outcome


def test_cpu_time() -> None:
    spent = []

    def work() -> None:
        before = time.thread_time()
        while time.thread_time() - before < 0.05:
            pass
        spent.append(time.thread_time())

    thread = start(work)
    thread.join(LONG)
    assert 0.05 <= thread.cpu_time < spent[0] + 0.5
    idle = start(int)
    idle.join(LONG)
    assert idle.cpu_time < 0.05


def test_excepthook_is_that_of_the_module() -> None:
    seen = []
    before = threading.excepthook
    threading.excepthook = seen.append
    try:
        assert std.excepthook is threading.excepthook
        start(raising).join(LONG)
        terminated = Counter()
        terminated.start()
        terminated.terminate()
        terminated.join(LONG)
    finally:
        threading.excepthook = before
    assert [args.exc_type for args in seen] == [KeyError]


def test_it_is_a_thread_of_the_standard_library() -> None:
    thread = Thread(name="cook", daemon=True, args=(1,))
    assert isinstance(thread, std.Thread)
    assert (thread.name, thread.daemon) == ("cook", True)
    with pytest.raises(AssertionError):
        Thread(group="g")
    with pytest.raises(TypeError):
        Thread(nonsense=1)
    inside: list[Any] = []
    thread = Thread(target=lambda: inside.append((std.current_thread(), thread in std.enumerate())))
    thread.start()
    thread.join(LONG)
    assert inside == [(thread, True)]
    with pytest.raises(RuntimeError, match="once"):
        thread.start()


def test_init_not_called() -> None:
    class Careless(Thread):
        def __init__(self) -> None:
            pass

    thread = Careless()
    with pytest.raises(RuntimeError):
        thread.start()
    for verb in (thread.pause, thread.resume, thread.terminate):
        with pytest.raises(RuntimeError):
            verb()


def test_timer() -> None:
    fired: list[Any] = []
    timer = threading.Timer(0.001, lambda *a, **k: fired.append((a, k)), [1], {"b": 2})
    timer.start()
    timer.join(LONG)
    assert fired == [((1,), {"b": 2})]
    cancelled = threading.Timer(3600, fired.append, ["no"])
    cancelled.start()
    cancelled.cancel()
    cancelled.join(LONG)
    assert len(fired) == 1
    terminated = threading.Timer(3600, fired.append, ["no"])
    terminated.start()
    terminated.terminate()
    terminated.join(LONG)
    assert (len(fired), terminated.outcome) == (1, "terminated")


def test_checkpoint_and_shield_in_any_thread() -> None:
    manyhands.checkpoint()
    with manyhands.shield():
        manyhands.checkpoint()
    out: list[Any] = []
    thread = std.Thread(target=lambda: out.append(manyhands.checkpoint()))
    thread.start()
    thread.join(LONG)
    assert out == [None]


# ---- fork and the end of the process ----


def test_after_a_fork_the_child_has_its_own_thread_only(counter: Counter) -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            assert not counter.is_alive()
            assert counter.state == "finished"
            thread = start(int)
            thread.join(LONG)
            code = 0 if thread.outcome == "returned" else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_fork_in_one_of_ours() -> None:
    codes = []

    def work() -> None:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                manyhands.checkpoint()
                code = 0 if threading.Event().wait(0.01) is False else 2
            finally:
                os._exit(code)
        codes.append(os.waitpid(pid, 0)[1])

    start(work).join(LONG)
    assert codes == [0]


@EVERY_WAIT
def test_daemons_in_a_wait_let_the_process_end(make: Any) -> None:
    """In one process for each wait: the interpreter is finalised while the thread sleeps in it."""
    name = next(name for name, function in WAITS.items() if function is make)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_thread as t\n"
        "f = t.WAITS[sys.argv[2]]()\n"
        "d = t.Thread(target=f, daemon=True); d.start()\n"
        "assert d.pause(30); d.resume()\n"
        "print('end')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, os.path.dirname(__file__), name],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
