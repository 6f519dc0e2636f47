"""threading.Barrier: the same body for ours and for the standard library's."""

from __future__ import annotations

import threading as std
from typing import Any

import manyhands.threading as ours
import pytest

BOTH = pytest.mark.parametrize("lib", [ours, std], ids=["ours", "stdlib"])


def gather(lib: Any, count: int, function: Any) -> list[Any]:
    """What the function returned or raised in each of `count` threads."""
    out: list[Any] = []

    def run() -> None:
        try:
            out.append(function())
        except Exception as error:
            out.append(type(error))

    threads = [lib.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return out


@BOTH
def test_indices_and_reuse(lib: Any) -> None:
    barrier = lib.Barrier(3)
    for _ in range(20):
        assert sorted(gather(lib, 3, barrier.wait)) == [0, 1, 2]
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)


@BOTH
def test_nobody_passes_before_all_are_there(lib: Any) -> None:
    barrier, seen, arrived = lib.Barrier(4), [], []

    def work() -> None:
        for turn in range(50):
            arrived.append(turn)
            barrier.wait()
            seen.append(arrived.count(turn))
            barrier.wait()

    gather(lib, 4, work)
    assert seen == [4] * 200


@BOTH
def test_the_action_runs_once_before_anyone_goes_on(lib: Any) -> None:
    log: list[str] = []
    barrier = lib.Barrier(3, action=lambda: log.append("action"))
    gather(lib, 3, lambda: (barrier.wait(), log.append("on")))
    assert log == ["action", "on", "on", "on"]


@BOTH
@pytest.mark.parametrize("parties", [1, 3])
def test_an_action_that_raises_breaks_it(lib: Any, parties: int) -> None:
    def action() -> None:
        raise KeyError("action")

    barrier = lib.Barrier(parties, action)
    outcome = gather(lib, parties, barrier.wait)
    assert sorted(e.__name__ for e in outcome) == ["BrokenBarrierError"] * (parties - 1) + ["KeyError"]
    assert barrier.broken
    with pytest.raises(std.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken


@BOTH
@pytest.mark.parametrize("how", ["default", "argument"])
def test_a_timeout_breaks_it_for_all(lib: Any, how: str) -> None:
    barrier = lib.Barrier(3, timeout=0.05 if how == "default" else None)
    wait = barrier.wait if how == "default" else lambda: barrier.wait(0.05)
    assert gather(lib, 2, wait) == [std.BrokenBarrierError] * 2
    assert barrier.broken


@BOTH
@pytest.mark.parametrize("verb", ["abort", "reset"])
def test_abort_and_reset_with_somebody_inside(lib: Any, verb: str) -> None:
    barrier = lib.Barrier(2)
    out: list[Any] = []

    def work() -> None:
        try:
            barrier.wait(30)
        except std.BrokenBarrierError:
            out.append("broken")

    thread = lib.Thread(target=work)
    thread.start()
    while barrier.n_waiting == 0:
        thread.join(0.001)
    getattr(barrier, verb)()
    thread.join(30)
    assert out == ["broken"]
    assert barrier.broken is (verb == "abort")


@pytest.mark.parametrize("parties", [0, -1])
def test_no_parties(parties: int) -> None:
    with pytest.raises(ValueError, match="parties must be > 0"):  # the stdlib's says so since 3.12
        ours.Barrier(parties)


def test_parties_that_are_no_number() -> None:
    with pytest.raises(TypeError):
        ours.Barrier("2")  # type: ignore[arg-type]


@BOTH
def test_bad_arguments(lib: Any) -> None:
    with pytest.raises(TypeError):
        lib.Barrier()
    with pytest.raises(TypeError):
        lib.Barrier(2).wait("1")


def test_an_interrupted_party_breaks_it() -> None:
    barrier = ours.Barrier(2)
    thread = ours.Thread(target=barrier.wait)
    thread.start()
    assert thread.pause(30)
    thread.terminate()
    thread.join(30)
    assert (thread.outcome, barrier.broken) == ("terminated", True)


@BOTH
def test_repr(lib: Any) -> None:
    barrier = lib.Barrier(3)
    assert repr(barrier) == f"<threading.Barrier at {id(barrier):#x}: waiters=0/3>"
    barrier.abort()
    assert repr(barrier) == f"<threading.Barrier at {id(barrier):#x}: broken>"


def test_without_init_and_twice() -> None:
    class Careless(ours.Barrier):
        def __init__(self) -> None:
            pass

    with pytest.raises(RuntimeError, match="not called"):
        Careless().wait()
    with pytest.raises(RuntimeError, match="twice"):
        ours.Barrier(2).__init__(3)  # type: ignore[misc]
