"""threading.Condition: the same body for ours and for the standard library's, over every kind of lock."""

from __future__ import annotations

import gc
import math
import threading as std
import time
import weakref
from typing import Any

import manyhands.threading as ours
import pytest

BOTH = pytest.mark.parametrize("lib", [ours, std], ids=["ours", "stdlib"])


class Bare:
    """Little more than what a condition must have: acquire() and release()."""

    def __init__(self) -> None:
        self.lock = std.Lock()
        self.log: list[str] = []

    def acquire(self, *args: Any) -> bool:
        self.log.append("acquire")
        return self.lock.acquire(*args)

    def release(self) -> None:
        self.log.append("release")
        self.lock.release()

    def locked(self) -> bool:  # the stdlib's wants it since 3.14
        return self.lock.locked()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()


LOCKS = {
    "default": lambda: None,
    "our Lock": ours.Lock,
    "our RLock": ours.RLock,
    "stdlib Lock": std.Lock,
    "stdlib RLock": std.RLock,
    "bare": Bare,
}
EVERY_LOCK = pytest.mark.parametrize("make", LOCKS.values(), ids=LOCKS.keys())


def waiting(condition: Any, count: int) -> None:
    """Until that many threads wait."""
    deadline = time.monotonic() + 30
    while len(condition._waiters) != count:
        assert time.monotonic() < deadline
        time.sleep(0.0005)


@BOTH
@EVERY_LOCK
def test_first_come_first_woken_and_exactly_n(lib: Any, make: Any) -> None:
    condition = lib.Condition(make())
    order: list[int] = []

    def work(number: int) -> None:
        with condition:
            assert condition.wait(30) is True
            order.append(number)

    threads = []
    for number in range(6):
        threads.append(lib.Thread(target=work, args=(number,)))
        threads[-1].start()
        waiting(condition, number + 1)
    for notified in (1, 2):
        before = len(order)
        with condition:
            condition.notify(notified)
            assert len(condition._waiters) == 6 - before - notified
        for thread in threads[before : before + notified]:
            thread.join(30)
    assert sorted(order[:1]) == [0]
    assert sorted(order[1:3]) == [1, 2]
    with condition:
        condition.notify_all()
    for thread in threads:
        thread.join(30)
    assert sorted(order) == list(range(6))


@BOTH
@EVERY_LOCK
def test_timeout_takes_the_lock_back(lib: Any, make: Any) -> None:
    condition = lib.Condition(make())
    with condition:
        assert condition.wait(0) is False
        assert condition.wait(-1) is False
        assert condition.wait(timeout=0.002) is False
        assert condition._is_owned()
        assert len(condition._waiters) == 0
    assert not condition._is_owned()


@BOTH
@EVERY_LOCK
def test_without_the_lock(lib: Any, make: Any) -> None:
    condition = lib.Condition(make())
    for method in (condition.wait, condition.notify, condition.notify_all):
        with pytest.raises(RuntimeError, match="on un-acquired lock"):
            method()
    with pytest.raises(RuntimeError):
        condition.release()


@BOTH
def test_a_recursive_lock_is_let_go_of_entirely(lib: Any) -> None:
    lock = lib.RLock()
    condition = lib.Condition(lock)
    inside = []

    def work() -> None:
        with condition:
            inside.append(1)
            condition.notify()

    thread = lib.Thread(target=work)
    with lock, lock, condition:
        thread.start()
        assert condition.wait(30)
        assert inside == [1]
        assert lock._recursion_count() == 3
    thread.join(30)
    assert lock._recursion_count() == 0


@BOTH
def test_wait_for(lib: Any) -> None:
    condition, values = lib.Condition(), [0]

    def work() -> None:
        for _ in range(3):
            with condition:
                values[0] += 1
                condition.notify()

    thread = lib.Thread(target=work)
    with condition:
        thread.start()
        assert condition.wait_for(lambda: values[0] == 3 and "three", 30) == "three"
        assert condition.wait_for(lambda: False, 0.01) is False
        assert condition.wait_for(lambda: [], timeout=0) == []
        with pytest.raises(ZeroDivisionError):
            condition.wait_for(lambda: 1 / 0)
        with pytest.raises(TypeError):
            condition.wait_for()
        assert condition._is_owned()
    thread.join(30)


@BOTH
def test_wait_for_goes_through_a_redefined_wait(lib: Any) -> None:
    calls = []

    class Watched(lib.Condition):  # type: ignore[misc,name-defined]
        def wait(self, timeout: float | None = None) -> bool:
            calls.append(timeout)
            return bool(super().wait(timeout))

    condition = Watched()
    with condition:
        assert not condition.wait_for(lambda: False, 0.02)
    assert calls
    assert all(t is not None and t <= 0.02 for t in calls)


@BOTH
def test_bad_arguments(lib: Any) -> None:
    with pytest.raises(AttributeError):
        lib.Condition(5)
    with pytest.raises(TypeError):
        lib.Condition(None, None)
    condition = lib.Condition()
    with condition:
        with pytest.raises(TypeError):
            condition.wait("1")
        with pytest.raises(OverflowError):
            condition.wait(1e100)
        condition.notify(0)
        condition.notify(-1)
        condition.notify(10**6)
    assert not condition._is_owned()


def test_nan() -> None:
    condition = ours.Condition()
    with condition, pytest.raises(ValueError, match="NaN"):
        condition.wait(math.nan)


@BOTH
def test_notifyall_is_deprecated(lib: Any) -> None:
    condition = lib.Condition()
    with condition, pytest.deprecated_call():
        condition.notifyAll()


@BOTH
def test_the_lock_shows_through(lib: Any) -> None:
    lock = lib.Lock()
    condition = lib.Condition(lock)
    assert condition.acquire() is True
    assert lock.locked()
    assert condition.acquire(False) is False
    assert condition.acquire(blocking=True, timeout=0.001) is False
    condition.release()
    assert not lock.locked()
    assert repr(condition) == f"<Condition({lock!r}, 0)>"
    lock.acquire()
    condition._at_fork_reinit()
    assert not lock.locked()


def test_notify_wants_a_number() -> None:
    condition = ours.Condition()
    with condition, pytest.raises(TypeError):
        condition.notify("1")  # type: ignore[arg-type]


def test_a_lock_that_raises_on_its_way_back() -> None:
    class Stubborn(Bare):
        def acquire(self, *args: Any) -> bool:
            if self.log.count("release") and not args:
                raise OSError("no")
            return super().acquire(*args)

    condition = ours.Condition(Stubborn())
    condition.acquire()
    with pytest.raises(OSError, match="no"):
        condition.wait(0.001)
    assert len(condition._waiters) == 0


@BOTH
def test_redefined_hooks_are_used(lib: Any) -> None:
    log = []

    class Hooked(lib.Condition):  # type: ignore[misc,name-defined]
        def _release_save(self) -> str:
            log.append("save")
            self._lock.release()
            return "state"

        def _acquire_restore(self, state: str) -> None:
            log.append(state)
            self._lock.acquire()

        def _is_owned(self) -> bool:
            log.append("owned?")
            return True

    class Plain:
        def __init__(self) -> None:
            lock = std.Lock()
            self.acquire, self.release, self.locked = lock.acquire, lock.release, lock.locked
            self.__class__.__enter__ = lambda self: self.acquire()  # type: ignore[attr-defined]

    condition = Hooked(Plain())
    condition.acquire()
    assert condition.wait(0) is False
    assert log == ["owned?", "save", "state"]


def test_without_init() -> None:
    class Careless(ours.Condition):
        def __init__(self) -> None:
            pass

    condition = Careless()
    for call in (
        condition.acquire,
        condition.release,
        condition.wait,
        condition.notify,
        condition.__enter__,
        condition._is_owned,
        condition._release_save,
        condition._at_fork_reinit,
    ):
        with pytest.raises(RuntimeError, match="not called"):
            call()
    assert repr(condition) == "<Condition(None, 0)>"


def test_init_again_only_without_waiters() -> None:
    condition = ours.Condition()
    condition.__init__(ours.Lock())  # type: ignore[misc]
    thread = ours.Thread(target=lambda: condition.__enter__() and condition.wait(30) and condition.release())
    thread.start()
    waiting(condition, 1)
    with pytest.raises(RuntimeError, match="while threads wait"):
        condition.__init__()  # type: ignore[misc]
    with condition:
        condition.notify()
    thread.join(30)


def test_cycles_are_collected() -> None:
    class Holder(Bare):
        pass

    lock = Holder()
    condition = ours.Condition(lock)
    lock.condition = condition  # type: ignore[attr-defined]
    reference = weakref.ref(condition)
    del lock, condition
    gc.collect()
    assert reference() is None


# ---- the wake of a notified waiter waits for the release of its lock


def leave_with(condition: Any) -> None:
    with condition:
        condition.notify()


def leave_by_release(condition: Any) -> None:
    condition.acquire()
    condition.notify()
    condition.release()


def leave_by_wait(condition: Any) -> None:
    with condition:
        condition.notify()
        condition.wait(0.001)


def leave_by_release_save(condition: Any) -> None:
    condition.acquire()
    condition.notify()
    condition._acquire_restore(condition._release_save())
    condition.release()


def leave_twice(condition: Any) -> None:
    """An RLock is free at the last release only."""
    condition.acquire()
    again = isinstance(condition._lock, type(ours.RLock())) and condition.acquire()
    condition.notify()
    condition.release()
    if again:
        condition.release()


def leave_in_another_thread(condition: Any) -> None:
    """Any thread may release a Lock; an RLock its owner only."""
    condition.acquire()
    condition.notify()
    if isinstance(condition._lock, type(ours.RLock())):
        condition.release()
    else:
        other = ours.Thread(target=condition.release)
        other.start()
        other.join(30)


WAYS = [
    leave_with,
    leave_by_release,
    leave_by_wait,
    leave_by_release_save,
    leave_twice,
    leave_in_another_thread,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_a_notified_waiter_wakes_whichever_way_the_lock_is_released(kind: str, way: Any) -> None:
    condition = ours.Condition(getattr(ours, kind)())
    woken: list[bool] = []

    def wait() -> None:
        with condition:
            woken.append(condition.wait())

    for _ in range(20):
        thread = ours.Thread(target=wait)
        thread.start()
        waiting(condition, 1)
        way(condition)
        thread.join(30)
        assert not thread.is_alive(), "its wake was lost"
    assert woken == [True] * 20


def test_several_notifies_in_one_hold_wake_as_many() -> None:
    condition = ours.Condition()
    woken: list[int] = []

    def wait(number: int) -> None:
        with condition:
            condition.wait()
            woken.append(number)

    threads = []
    for number in range(5):
        threads.append(ours.Thread(target=wait, args=(number,)))
        threads[-1].start()
        waiting(condition, number + 1)
    with condition:
        condition.notify()
        condition.notify()
        condition.notify(1)
        assert len(condition._waiters) == 2 and woken == []
    for thread in threads[:3]:
        thread.join(30)
    assert sorted(woken) == [0, 1, 2]
    with condition:
        condition.notify_all()
    for thread in threads:
        thread.join(30)
    assert sorted(woken) == [0, 1, 2, 3, 4]


def test_a_notify_counts_though_the_time_is_up_before_the_release() -> None:
    condition = ours.Condition()
    came: list[bool] = []

    def wait() -> None:
        with condition:
            came.append(condition.wait(0.3))

    notified = False
    while not notified:  # a machine may be so busy that the time is up before the notify
        thread = ours.Thread(target=wait)
        came.clear()
        thread.start()
        end = time.monotonic() + 30
        while len(condition._waiters) == 0 and not came:
            assert time.monotonic() < end
        with condition:
            notified = len(condition._waiters) == 1
            condition.notify()
            time.sleep(0.4)  # its time, and more
        thread.join(30)
    assert came == [True]


def test_a_thread_that_is_to_end_leaves_the_line() -> None:
    """It was asked again after its first ThreadExit, so that its next wait ends before it has begun."""
    condition, caught = ours.Condition(), ours.Event()

    def run() -> None:
        try:
            ours.Event().wait()
        except SystemExit:
            caught.set()
        while not asked:
            pass
        with condition:
            condition.wait()

    asked: list[int] = []
    thread = ours.Thread(target=run)
    thread.start()
    thread.terminate()
    assert caught.wait(30)
    thread.terminate()
    asked.append(1)
    thread.join(30)
    assert thread.outcome == "terminated" and len(condition._waiters) == 0
    with condition:
        condition.notify_all()
