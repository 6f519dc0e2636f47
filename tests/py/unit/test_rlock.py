"""threading.RLock: the same body for ours and for the standard library's."""

from __future__ import annotations

import os
import sys
import threading as std
import weakref
from typing import Any

import manyhands.threading as ours
import pytest

BOTH = pytest.mark.parametrize("lib", [ours, std], ids=["ours", "stdlib"])


def in_thread(lib: Any, function: Any) -> Any:
    """The value of the function, or its exception, called in another thread."""
    out: list[Any] = []

    def run() -> None:
        try:
            out.append(function())
        except BaseException as error:
            out.append(error)

    thread = lib.Thread(target=run)
    thread.start()
    thread.join(30)
    return out[0]


@BOTH
def test_recursion(lib: Any) -> None:
    lock = lib.RLock()
    for _ in range(3):
        assert lock.acquire() is True
    assert lock._recursion_count() == 3
    assert in_thread(lib, lock._recursion_count) == 0
    for _ in range(3):
        assert in_thread(lib, lambda: lock.acquire(False)) is False
        lock.release()
    assert in_thread(lib, lambda: lock.acquire(False) and (lock.release(), True)[1]) is True


@BOTH
def test_only_the_owner_releases(lib: Any) -> None:
    lock = lib.RLock()
    with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
        lock.release()
    with lock:
        assert isinstance(in_thread(lib, lock.release), RuntimeError)
        assert lock._is_owned()
        assert in_thread(lib, lock._is_owned) is False
    assert not lock._is_owned()


@BOTH
def test_save_and_restore(lib: Any) -> None:
    lock = lib.RLock()
    with pytest.raises(RuntimeError):
        lock._release_save()
    lock.acquire()
    lock.acquire()
    saved = lock._release_save()
    assert saved == (2, std.get_ident())
    assert not lock._is_owned()
    lock._acquire_restore(saved)
    assert lock._recursion_count() == 2
    with pytest.raises(TypeError):
        lock._acquire_restore(5)
    with pytest.raises(TypeError):
        lock._acquire_restore(("a", "b"))


@BOTH
def test_a_forked_child_still_owns_what_the_forking_thread_held(lib: Any) -> None:
    lock = lib.RLock()
    lock.acquire()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            lock.release()
            code = 0 if not lock._is_owned() else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


@BOTH
def test_reinit(lib: Any) -> None:
    lock = lib.RLock()
    lock.acquire()
    lock.acquire()
    lock._at_fork_reinit()
    assert not lock._is_owned()
    assert lock.acquire(False)


@BOTH
def test_weak_reference_and_repr(lib: Any) -> None:
    lock = lib.RLock()
    reference = weakref.ref(lock)
    assert repr(lock).startswith("<unlocked ")
    with lock:
        text = repr(lock)
    assert text.startswith("<locked ")
    assert f"owner={std.get_ident()}" in text
    assert "count=1" in text
    del lock
    assert reference() is None


def test_locked_on_every_python() -> None:
    lock = ours.RLock()
    assert not lock.locked()  # type: ignore[attr-defined]
    with lock:
        assert lock.locked()  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_arguments_as_the_running_python_has_it() -> None:
    if sys.version_info >= (3, 15):
        with pytest.raises(TypeError):
            ours.RLock(1)  # type: ignore[call-arg]
    else:
        assert ours.RLock(1).acquire()  # type: ignore[call-arg]


def test_subclass() -> None:
    class Named(type(ours.RLock())):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self.name = name

    lock = Named("a")
    assert lock.name == "a"
    with lock, lock:
        assert lock._recursion_count() == 2
