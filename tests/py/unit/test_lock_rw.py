"""threading.RWLock: many readers or one writer."""

from __future__ import annotations

import gc
import os
import weakref
from typing import Any

import manyhands.threading as threading
import pytest
from manyhands.threading import RWLock


def in_thread(function: Any, *args: Any) -> Any:
    """The value of the function, called in another thread."""
    out: list[Any] = []
    thread = threading.Thread(target=lambda: out.append(function(*args)))
    thread.start()
    thread.join(30)
    assert out, "the thread did not come back"
    return out[0]


def test_readers_share_and_writers_do_not() -> None:
    lock = RWLock()
    with lock.read:
        assert lock.readers == 1
        assert in_thread(lambda: (lock.acquire_read(), lock.readers, lock.release_read())[1]) == 2
        assert in_thread(lambda: lock.acquire_write(blocking=False)) is False
        assert in_thread(lambda: lock.acquire_write(timeout=0.01)) is False
    with lock.write:
        assert lock.writing
        assert in_thread(lambda: lock.acquire_read(blocking=False)) is False
        assert in_thread(lambda: lock.read.locked()) is False
        assert in_thread(lambda: lock.write.locked()) is True
    assert (lock.readers, lock.writing) == (0, False)


def test_a_blocked_writer_gets_its_turn() -> None:
    lock = RWLock()
    lock.acquire_read()
    writer = threading.Thread(target=lambda: (lock.acquire_write(), lock.release_write()))
    writer.start()
    assert writer.pause(30)  # inside its wait
    writer.resume()
    lock.release_read()
    writer.join(30)
    assert not writer.is_alive()


def test_what_could_never_end_is_refused() -> None:
    lock = RWLock()
    with lock.write:
        for method in (lock.acquire_write, lock.acquire_read):
            with pytest.raises(RuntimeError):
                method()
    with lock.read, pytest.raises(RuntimeError):
        lock.acquire_write()


def test_release_by_those_who_do_not_hold_it() -> None:
    lock = RWLock()
    for release in (lock.release_read, lock.release_write, lock.read.release, lock.write.release):
        with pytest.raises(RuntimeError):
            release()


@pytest.mark.parametrize("prefer", [None, "readers", "writers"])
def test_preferences(prefer: str | None) -> None:
    lock = RWLock(prefer)
    with lock.write:
        pass
    with lock.read:
        pass


@pytest.mark.parametrize("prefer", ["both", 1, b"readers"])
def test_bad_preference(prefer: Any) -> None:
    with pytest.raises(ValueError, match="prefer must be"):
        RWLock(prefer)


def test_condition_over_the_writing_side() -> None:
    lock = RWLock()
    condition = threading.Condition(lock.write)
    done = []

    def wait() -> None:
        with condition:
            done.append(condition.wait(30))

    thread = threading.Thread(target=wait)
    thread.start()
    while not condition._waiters:
        thread.join(0.001)
    with condition:
        condition.notify()
    thread.join(30)
    assert done == [True]


def test_life() -> None:
    lock = RWLock()
    lock.note = lock  # type: ignore[attr-defined]  # a cycle through __dict__
    side, reference = lock.read, weakref.ref(lock)
    del lock
    gc.collect()
    assert reference() is not None, "a side keeps its lock"
    del side
    gc.collect()
    assert reference() is None


def test_without_init_and_again() -> None:
    class Careless(RWLock):
        def __init__(self) -> None:
            pass

    lock = Careless()
    with lock.read:
        assert "readers=1" in repr(lock)
        with pytest.raises(RuntimeError, match="while the lock is held"):
            RWLock.__init__(lock)
    RWLock.__init__(lock, "writers")


def test_reinit_after_fork() -> None:
    lock = RWLock("readers")
    lock.acquire_write()
    pid = os.fork()
    if pid == 0:
        lock._at_fork_reinit()
        os._exit(0 if lock.acquire_write(False) else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_an_upgrade_is_refused_with_what_to_do() -> None:
    lock = RWLock()
    with lock.read, pytest.raises(RuntimeError, match=r"cannot upgrade: .* release_read\(\) first"):
        lock.acquire_write()
    with lock.write:
        for acquire in (lock.acquire_write, lock.acquire_read):
            with pytest.raises(RuntimeError, match="writes already: an RWLock is not recursive"):
                acquire()
    assert lock.readers == 0 and not lock.writing
