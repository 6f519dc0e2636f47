"""What no caller should do, for every call: the standard library's exception where it has one, never a crash.

The same call is made on the standard library's class. Where that hangs or spins, or accepts what is senseless, the row
says what ours does instead.
"""

from __future__ import annotations

import gc
import math
import os
import signal
import subprocess
import sys
import threading as std
import traceback
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import manyhands.queue as our_queue
import manyhands.threading as our_threading
import pytest

OURS = SimpleNamespace(threading=our_threading, queue=our_queue)
STD = SimpleNamespace(threading=std, queue=__import__("queue"))


def held(lock: Any) -> Any:
    lock.acquire()
    return lock


def in_condition(side: Any) -> Any:
    """Its wait(), with the lock held for the rest of its life."""
    condition = side.threading.Condition()
    condition.acquire()
    return condition


# name: how the call is made from a side; it is given one time-out
TIMED: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "Lock.acquire": lambda side: held(side.threading.Lock()).acquire,
    "RLock.acquire": lambda side: side.threading.RLock().acquire,
    "Semaphore.acquire": lambda side: side.threading.Semaphore(0).acquire,
    "BoundedSemaphore.acquire": lambda side: side.threading.BoundedSemaphore(0).acquire,
    "Condition.wait": lambda side: in_condition(side).wait,
    "Condition.wait_for": lambda side: lambda timeout: in_condition(side).wait_for(bool, timeout),
    "Event.wait": lambda side: side.threading.Event().wait,
    "Barrier.wait": lambda side: side.threading.Barrier(2).wait,
    "Queue.get": lambda side: side.queue.Queue().get,
    "LifoQueue.get": lambda side: side.queue.LifoQueue().get,
    "PriorityQueue.get": lambda side: side.queue.PriorityQueue().get,
    "SimpleQueue.get": lambda side: side.queue.SimpleQueue().get,
}
BAD: dict[str, Any] = {
    "str": "1",
    "bytes": b"1",
    "list": [],
    "complex": 1j,
    "object": object(),
    "huge": 1e300,
    "huge int": 10**30,
    "infinite": math.inf,
    "negative": -5,
    "negative float": -0.5,
    "minus infinite": -math.inf,
}
PAIRS = [(call, bad) for call in TIMED for bad in BAD]


def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The value, or the class of the exception."""
    try:
        return call(*args, **kwargs)
    except Exception as error:
        return type(error)


# Some of these the standard library adds to the clock first, and waits. Ours looks at once, and says one thing.
OURS_SAYS = {
    ("SimpleQueue.get", "minus infinite"): ValueError,  # as Queue.get; there OverflowError
    **{(call, "huge"): OverflowError for call in TIMED},
    **{(call, "huge int"): OverflowError for call in TIMED},
    **{(call, "infinite"): OverflowError for call in TIMED},
}


@pytest.mark.parametrize(("name", "bad"), PAIRS)
def test_bad_time_limits(name: str, bad: str) -> None:
    ours = outcome(TIMED[name](OURS), timeout=BAD[bad])
    if (name, bad) in OURS_SAYS:
        assert ours is OURS_SAYS[name, bad]
    else:
        assert ours == outcome(TIMED[name](STD), timeout=BAD[bad])


@pytest.mark.parametrize("name", TIMED)
def test_nan(name: str) -> None:
    """The standard library spins for ever where it computes with it; ours says ValueError everywhere."""
    with pytest.raises(ValueError, match="NaN"):
        TIMED[name](OURS)(timeout=math.nan)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("method", ["acquire_read", "acquire_write"])
def test_the_rwlock_is_as_a_lock(method: str, bad: str) -> None:
    """The standard library has none: what its Lock says."""
    lock = our_threading.RWLock()
    getattr(lock, {"acquire_read": "acquire_write", "acquire_write": "acquire_read"}[method])()
    values: list[Any] = []
    thread = std.Thread(target=lambda: values.append(outcome(getattr(lock, method), timeout=BAD[bad])))
    thread.start()
    thread.join(60)
    assert values == [outcome(held(std.Lock()).acquire, timeout=BAD[bad])]


MISUSE: dict[str, Callable[[Any], Any]] = {
    "release a free Lock": lambda side: side.threading.Lock().release(),
    "release a free RLock": lambda side: side.threading.RLock().release(),
    "release another's RLock": lambda side: in_other_thread(held(side.threading.RLock()).release),
    "release a full BoundedSemaphore": lambda side: side.threading.BoundedSemaphore(2).release(),
    "release no permits": lambda side: side.threading.Semaphore().release(0),
    "release with a string": lambda side: side.threading.Semaphore().release("1"),
    "a negative semaphore": lambda side: side.threading.Semaphore(-1),
    "release a free Condition": lambda side: side.threading.Condition().release(),
    "wait without the lock": lambda side: side.threading.Condition().wait(0),
    "wait_for without the lock": lambda side: side.threading.Condition().wait_for(bool, 0),
    "notify without the lock": lambda side: side.threading.Condition().notify(),
    "notify_all without the lock": lambda side: side.threading.Condition().notify_all(),
    "a predicate that cannot be called": lambda side: in_condition(side).wait_for(None, 0),
    "a condition over a number": lambda side: side.threading.Condition(1),
    "an action that cannot be called": lambda side: side.threading.Barrier(1, 5).wait(),
    "an action that raises": lambda side: side.threading.Barrier(1, lambda: 1 / 0).wait(),
    "a broken barrier": lambda side: (lambda b: (b.abort(), b.wait()))(side.threading.Barrier(1)),
    "task_done without a task": lambda side: side.queue.Queue().task_done(),
    "put into a full queue": lambda side: put_twice(side.queue.Queue(1)),
    "get from an empty queue": lambda side: side.queue.Queue().get(False),
    "get_nowait from an empty SimpleQueue": lambda side: side.queue.SimpleQueue().get_nowait(),
    "items without an order": lambda side: put_twice(side.queue.PriorityQueue()),
    "one argument too many": lambda side: side.threading.Lock().acquire(True, 1, 2),
    "an argument that is not known": lambda side: side.threading.Event().wait(limit=1),
    "both non-blocking and a limit": lambda side: side.threading.Lock().acquire(False, 1),
    "a semaphore with both": lambda side: side.threading.Semaphore().acquire(False, 1),
    "join of oneself": lambda side: join_self(side),
    "join before start": lambda side: side.threading.Thread().join(),
    "start twice": lambda side: start_twice(side),
    "a thread without init": lambda side: no_init(side).start(),
}


def in_other_thread(call: Callable[[], Any]) -> Any:
    """The call's own exception, raised here."""
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            call()
        except Exception as error:
            errors.append(error)

    thread = std.Thread(target=attempt)
    thread.start()
    thread.join(60)
    for error in errors:
        raise error


def put_twice(made: Any) -> None:
    for item in (1, "a"):
        made.put(item, False)


def join_self(side: Any) -> None:
    in_other_thread(lambda: side.threading.current_thread().join())


def start_twice(side: Any) -> None:
    thread = side.threading.Thread()
    thread.start()
    thread.join()
    thread.start()


def no_init(side: Any) -> Any:
    class Bare(side.threading.Thread):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            pass

    return Bare()


@pytest.mark.parametrize("name", MISUSE)
def test_misuse(name: str) -> None:
    ours, theirs = outcome(MISUSE[name], OURS), outcome(MISUSE[name], STD)
    assert (ours is theirs or ours == theirs) or ours.__name__ == theirs.__name__, (ours, theirs)


class Reenters:
    """Uses the primitive again as it dies, in the middle of whatever the collector was called from."""

    def __init__(self, use: Callable[[], Any], log: list[Any]) -> None:
        self.use, self.log, self.cycle = use, log, self

    def __del__(self) -> None:
        self.log.append(outcome(self.use))


def using(thing: Any, use: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: use(thing)


REENTRANT: dict[str, Callable[[], Callable[[], Any]]] = {
    "Lock": lambda: using(our_threading.Lock(), lambda x: x.acquire(False) and x.release()),
    "RLock": lambda: using(our_threading.RLock(), lambda x: x.acquire() and x.release()),
    "Semaphore": lambda: using(our_threading.Semaphore(3), lambda x: x.acquire(False) and x.release()),
    "Condition": lambda: using(
        our_threading.Condition(), lambda x: x.acquire() and (x.notify(), x.wait(0), x.release())
    ),
    "Event": lambda: using(our_threading.Event(), lambda x: (x.set(), x.wait(0), x.clear())),
    "RWLock": lambda: using(our_threading.RWLock(), lambda x: x.acquire_read(False) and x.release_read()),
    "SimpleQueue": lambda: using(our_queue.SimpleQueue(), lambda x: (x.put(1), x.get())),
    "Queue": lambda: using(our_queue.Queue(), lambda x: (x.put(1), x.get(False))),
}


@pytest.mark.parametrize("name", REENTRANT)
def test_again_from_a_destructor(name: str) -> None:
    """The collector runs at nearly every allocation, and what it finds uses the object that is being used."""
    use, log = REENTRANT[name](), list[Any]()
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            Reenters(use, log)
            use()
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert len(log) == 200
    assert not [entry for entry in log if isinstance(entry, type)], "no use failed"


@pytest.mark.parametrize("name", REENTRANT)
def test_again_from_a_signal_handler(name: str) -> None:
    use, log = REENTRANT[name](), list[Any]()
    before = signal.signal(signal.SIGALRM, lambda *_: log.append(outcome(use)))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        while len(log) < 20:
            use()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not [entry for entry in log if isinstance(entry, type)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", REENTRANT)
def test_use_after_fork(name: str) -> None:
    """A forked child uses what its parent made, while another thread of the parent has used it, too."""
    use = REENTRANT[name]()
    thread = std.Thread(target=use)
    thread.start()
    thread.join()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(60)
            use()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_without_init_and_with_nonsense() -> None:
    """Objects that were made, but not initialised, in a process of their own: a crash ends that one."""
    code = (
        "import manyhands.threading as t, manyhands.queue as q, contextlib\n"
        "kinds = [t.RLock, t.Condition, t.Semaphore, t.BoundedSemaphore, t.Event, t.Barrier, t.RWLock,\n"
        "         q.Queue, q.LifoQueue, q.PriorityQueue, q.SimpleQueue]\n"
        "arguments = [(), (0,), (None,), ('x',), (False, 0), (object(), object())]\n"
        "for kind in kinds:\n"
        "    for name in dir(kind):\n"
        "        if name in ('__class__', '__init__', '__subclasshook__', '__init_subclass__', '__new__'): continue\n"
        "        for args in arguments:\n"
        "            thing = kind.__new__(kind)\n"
        "            with contextlib.suppress(Exception):\n"
        "                value = getattr(thing, name)\n"
        "                if name in ('wait', 'get', 'join', 'acquire', '__enter__', 'acquire_read', 'acquire_write',\n"
        "                            'wait_for') and args[:1] != (False,): continue\n"
        "                value(*args)\n"
        "print('no crash')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-X", "faulthandler", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "no crash\n"), done.stderr
