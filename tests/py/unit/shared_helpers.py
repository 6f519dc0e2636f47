"""What the children of test_shared.py run: they must find it by name."""

from __future__ import annotations

import os
import signal
import time
from typing import Any


def add_up(queue: Any, array: Any, counter: Any) -> None:
    """Changes what it was given, and says that it has."""
    array[0] += 1
    counter.add(10)
    queue.put(None)


def echo(inbox: Any, outbox: Any) -> None:
    """Changes the first item of each array that comes, and sends it back."""
    for array in iter(inbox.get, None):
        array[0] = 42
        outbox.put(array)


def hold(inbox: Any, ready: Any) -> None:
    """Takes one thing, and has it until it is killed."""
    thing = inbox.get()
    ready.set()
    time.sleep(600)
    del thing


def hold_given(thing: Any, ready: Any) -> None:
    ready.set()
    time.sleep(600)
    del thing


def kill_self(*things: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def first_to_42(array: Any) -> int:
    array[0] = 42
    return os.getpid()


def count(counter: Any, n: int) -> None:
    for _ in range(n):
        counter.add()


def win(flag: Any, wins: Any, rounds: int, gate: Any) -> None:
    """Of all who do this each round is won by one."""
    for _ in range(rounds):
        gate.wait(30)
        if flag.set():
            wins.add()
        gate.wait(30)
        flag.clear()


def follow(counter: Any, until: int, seen: Any) -> None:
    """Waits from value to value."""
    value = 0
    while value < until:
        value = counter.wait(value, timeout=30)
    seen.value = value
