"""Every blocking call (thread_calls.py): its time limit, Ctrl-C, and that it sleeps while it waits.

How well time limits are kept is measured by bench/deadlines.py; here a loaded machine must pass.
"""

from __future__ import annotations

import inspect
import resource
import subprocess
import sys
import threading as std
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import manyhands.queue as queue
import manyhands.threading as threading
import pytest
import thread_calls


@pytest.fixture(autouse=True)
def end_the_threads() -> Iterator[None]:
    yield
    while thread_calls.STOPS:
        thread_calls.STOPS.pop().set()


TIMED = pytest.mark.parametrize("name", thread_calls.TIMED)
ALL = pytest.mark.parametrize("name", thread_calls.ALL)


@TIMED
def test_the_time_limit_is_kept(name: str) -> None:
    call = thread_calls.TIMED[name]()
    began = time.monotonic()
    assert not call(timeout=0.05)
    took = time.monotonic() - began
    assert 0.05 <= took < 30


CTRL_C = """
import sys
sys.path[:0] = {path!r}
import os, signal, threading as std, thread_calls
for name, make in thread_calls.ALL.items():
    call = make()
    main = std.main_thread().native_id
    def interrupt():
        # asleep in the kernel: the call is under way (State is field 3, behind the name in brackets)
        while open(f"/proc/self/task/{{main}}/stat").read().rpartition(")")[2].split()[0] != "S":
            pass
        os.kill(os.getpid(), signal.SIGINT)
    killer = std.Thread(target=interrupt)
    killer.start()
    try:
        call()
    except KeyboardInterrupt:
        print(name)
    killer.join()
"""


def test_ctrl_c_leaves_every_call() -> None:
    """A real SIGINT, in the main thread of a process, once the call sleeps; one that stays ends in the time-out."""
    code = CTRL_C.format(path=[str(Path(__file__).parent)])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stderr == ""
    assert done.stdout.split("\n")[:-1] == list(thread_calls.ALL)


def looks_of_the_wait(call: Any, *args: Any, **kwargs: Any) -> tuple[int, float]:
    """How often the calling thread went to sleep in it, and the seconds of processor time that it used."""
    before, slept = time.thread_time(), resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    call(*args, **kwargs)
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - slept, time.thread_time() - before


# Of a wait of half a second. Its sleeps are counted exactly; processor time is not: a virtual machine may charge
# a sleeper 1 % and more of the time that it sleeps (`time.sleep` too), so there only a busy loop is looked for.
FEW_SLEEPS, LITTLE_TIME = 20, 0.1


@TIMED
def test_a_wait_sleeps(name: str) -> None:
    """A loop that looks again and again would sleep hundreds of times, or use all of the time."""
    call, seen = thread_calls.TIMED[name](), list[tuple[int, float]]()
    thread = std.Thread(target=lambda: seen.append(looks_of_the_wait(call, timeout=0.5)))
    thread.start()
    thread.join(60)
    sleeps, used = seen[0]
    assert 0 < sleeps < FEW_SLEEPS and used < LITTLE_TIME


@pytest.mark.parametrize("pause", [0.0, 0.0002, 0.005])
def test_a_loop_that_looks_again_would_be_seen(pause: float) -> None:
    def poll() -> None:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            if pause:
                time.sleep(pause)

    sleeps, used = looks_of_the_wait(poll)
    assert sleeps > FEW_SLEEPS or used > LITTLE_TIME


def may_block(method: Any) -> bool:
    try:
        names = set(inspect.signature(method).parameters)
    except (TypeError, ValueError):
        return False
    return bool(names & {"timeout", "blocking", "block"})


# It waits for nothing, and takes the arguments for likeness.
NEVER_WAITS = {"SimpleQueue.put"}


def test_the_table_has_every_call_with_a_time_limit() -> None:
    classes = {name: getattr(module, name) for module in (threading, queue) for name in module.__all__}
    classes["Lock"] = type(threading.Lock())
    own: dict[str, str] = {}  # method: the class that has it in the table
    for name, cls in sorted(classes.items(), key=lambda pair: len(getattr(pair[1], "__mro__", ()))):
        if not isinstance(cls, type) or cls.__module__.split(".")[0] != "manyhands":
            continue
        for method in vars(cls):
            if not method.startswith("_") and may_block(getattr(cls, method)):
                own[f"{name}.{method}"] = name
    own = {call: name for call, name in own.items() if not call.endswith(("acquire_lock", ".pause"))}
    missing = set(own) - set(thread_calls.TIMED) - NEVER_WAITS
    assert not missing
    assert {"Lock.acquire", "Queue.get", "RWLock.acquire_read"} <= set(own), "the search finds something"
