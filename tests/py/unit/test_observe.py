"""observe(): each kind of work shows as what it is; the figures add up; nothing is disturbed or left."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading as std
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import manyhands
import pytest

if not manyhands.compiled():
    pytest.skip("needs the compiled core", allow_module_level=True)

import manyhands.threading as threading
from manyhands._impl.observe import Observation, ThreadTimes

ENOUGH = 60  # samples of each thread
GIL = getattr(sys, "_is_gil_enabled", lambda: True)()


def work_until_seen(work: Callable[[], object], threads: int) -> list[ThreadTimes]:
    """The times of threads that do nothing but the work, until each was looked at often enough."""
    stop = std.Event()

    def run() -> None:
        while not stop.is_set():
            work()

    workers = [threading.Thread(target=run, name=f"w{number}") for number in range(threads)]
    with manyhands.observe(0.002) as seen:
        for worker in workers:
            worker.start()
        idents = {worker.ident for worker in workers}
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            found = [each for each in seen.threads if each.ident in idents]
            if len(found) == threads and all(each.samples >= ENOUGH for each in found):
                break
            time.sleep(0.05)
        stop.set()
        for worker in workers:
            worker.join()
    return [each for each in seen.threads if each.ident in idents]


def compute() -> None:
    for i in range(20000):
        i * i


BLOCK = b"x" * 2_000_000
LOCK = threading.Lock()


def take_turns() -> None:
    with LOCK:
        time.sleep(0.003)


@pytest.mark.parametrize(
    ("work", "threads", "share"),
    [
        (compute, 1, "python"),
        (lambda: hashlib.sha256(BLOCK).digest(), 1, "c"),
        (lambda: time.sleep(0.01), 2, "outside"),
        (lambda: threading.Event().wait(0.02), 2, "lock"),
    ],
    ids=["python", "hashing", "sleeping", "waiting"],
)
def test_each_kind_of_work_shows(work: Callable[[], object], threads: int, share: str) -> None:
    for each in work_until_seen(work, threads):
        assert getattr(each, share) > 0.8, each


@pytest.mark.skipif(not GIL, reason="there is no GIL here")
def test_threads_that_compute_wait_for_the_gil() -> None:
    found = work_until_seen(compute, 3)
    assert sum(each.gil for each in found) / 3 > 0.4, found
    assert 0.7 < sum(each.python for each in found) <= 1.3, found


def test_threads_that_share_a_lock_wait_for_it() -> None:
    found = work_until_seen(take_turns, 4)
    assert 0.5 < sum(each.lock for each in found) / 4 < 0.95, found
    assert sum(each.outside for each in found) < 1.5


def test_the_figures_add_up() -> None:
    found = work_until_seen(compute, 2)
    for each in found:
        assert abs(each.python + each.c + each.gil + each.lock + each.outside - 1) < 1e-6
        assert each.seconds > 0 and each.name in ("w0", "w1") and each.native_id > 0
    # what ran is what the kernel counted, as well as the samples can tell
    ran = sum((each.python + each.c) * each.seconds for each in found)
    cpu = sum(each.cpu for each in found)
    assert cpu <= ran * 1.25 + 0.05, (cpu, ran)


def test_the_table() -> None:
    with manyhands.observe(0.001) as seen:
        while sum(each.samples for each in seen.threads) < 5:
            time.sleep(0.01)
    head, first, *_ = str(seen).splitlines()
    assert head.split() == ["thread", "seconds", "Python", "C", "GIL", "lock", "outside"]
    assert first.startswith("MainThread") and first.count("%") == 5
    total = seen.total()
    assert total is not None and total.seconds > 0
    assert str(Observation()) == "nothing was observed" and Observation().total() is None


def test_threads_that_came_and_went_are_there() -> None:
    with manyhands.observe(0.001) as seen:
        for number in range(3):
            worker = threading.Thread(target=time.sleep, args=(0.05,), name=f"short {number}")
            worker.start()
            worker.join()
    names = [each.name for each in seen.threads]
    assert {"short 0", "short 1", "short 2"} <= set(names), names


def test_it_is_made_once() -> None:
    seen = manyhands.observe().start()
    with pytest.raises(RuntimeError, match="made once"):
        seen.start()
    seen.stop()
    seen.stop()


@pytest.mark.parametrize("interval", [0, -1, 0.00001, 11, float("nan")])
def test_bad_intervals(interval: float) -> None:
    with pytest.raises(ValueError, match=r"interval must be 0\.0001 to 10 seconds|NaN"):
        manyhands.observe(interval)
    with pytest.raises(TypeError):
        manyhands.observe("often")  # type: ignore[arg-type]


def threads_of_the_process() -> set[str]:
    names = set()
    for task in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError), open(f"/proc/self/task/{task}/comm") as file:
            names.add(file.read().strip())
    return names


def test_it_may_begin_in_a_thread_that_is_to_be_paused() -> None:
    """Beginning looks for the GIL while it holds it; parked there, nobody could go on. It holds a lock: pausing."""
    lock, held, asked = threading.Lock(), threading.Event(), list[int]()

    def run() -> None:
        with lock:
            held.set()
            while not asked:
                pass
            manyhands.observe().start().stop()

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
    assert not thread.is_alive()


def wait_until_the_observer(is_there: bool) -> None:
    """/proc shows a thread that was joined a moment longer."""
    end = time.monotonic() + 30
    while ("mh-observer" in threads_of_the_process()) is not is_there:
        assert time.monotonic() < end, threads_of_the_process()


def test_signals_while_it_starts_and_stops_end_nothing_early() -> None:
    """What it starts for a moment lies on the stack, and has to be gone before that is used anew: it crashed."""
    before = signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        for _ in range(400):
            with manyhands.observe() as seen:
                assert isinstance(seen.threads, list)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_no_thread_stays() -> None:
    seen = manyhands.observe().start()
    wait_until_the_observer(True)
    seen.stop()
    wait_until_the_observer(False)
    seen = manyhands.observe().start()
    wait_until_the_observer(True)
    del seen
    wait_until_the_observer(False)


def test_a_forked_child_has_what_was_seen() -> None:
    with manyhands.observe(0.001) as seen:
        while not seen.threads:
            time.sleep(0.01)
        child = os.fork()
        if child == 0:
            before = len(seen.threads)
            seen.stop()
            with manyhands.observe(0.001) as own:
                end = time.monotonic() + 30
                while not own.threads and time.monotonic() < end:
                    time.sleep(0.01)
            os._exit(0 if before and [each.name for each in own.threads] == ["MainThread"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_while_threads_come_and_go() -> None:
    """States are freed under the sampler's eyes: it may miss one, and must not fall."""
    stop = std.Event()

    def start_and_join() -> None:
        while not stop.is_set():
            made = [std.Thread(target=lambda: None) for _ in range(5)]
            for each in made:
                each.start()
            for each in made:
                each.join()

    makers = [std.Thread(target=start_and_join) for _ in range(3)]
    with manyhands.observe(0.0001) as seen:
        for maker in makers:
            maker.start()
        time.sleep(1)
        stop.set()
        for maker in makers:
            maker.join()
    assert {maker.ident for maker in makers} <= {each.ident for each in seen.threads}


def test_the_program_may_end_while_it_looks() -> None:
    code = """
import manyhands, manyhands.threading as t, time
seen = manyhands.observe(0.0005).start()
for _ in range(4): t.Thread(target=t.Event().wait, daemon=True).start()
time.sleep(0.1)
"""
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(sys.version_info < (3, 13), reason="interpreters with a GIL of their own: 3.13 and newer")
def test_in_an_interpreter_of_its_own() -> None:
    code = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
made = interpreters.create()
said = interpreters.exec(made, '''
import manyhands, time
with manyhands.observe(0.001) as seen:
    end = time.monotonic() + 0.3
    while time.monotonic() < end: pass
(only,) = seen.threads
assert only.python > 0.8, only
''')
print(said)
interpreters.destroy(made)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "None", "")


def test_without_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manyhands._impl.observe.core", None)
    with pytest.raises(RuntimeError, match="needs the compiled core"):
        manyhands.observe()


def test_the_system_shows_the_names_of_threads() -> None:
    named: list[str] = []

    def look() -> None:
        with open(f"/proc/self/task/{std.get_native_id()}/comm") as file:
            named.append(file.read().strip())

    for name in ("reader", "a name that is longer than the system keeps", "zwölf zeichen ä"):
        thread: Any = threading.Thread(target=look, name=name)
        thread.start()
        thread.join()
    assert (
        named[0] == "reader"
        and named[1] == "a name that is ".strip()
        and named[2].startswith("zwölf zeichen")
    )


def test_the_example() -> None:
    program = Path(__file__).parents[3] / "examples" / "python" / "observe.py"
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines() if line] == [
        word
        for name in ("squares", "hashes", "waits")
        for word in ("thread", "MainThread", name, name, "all")
    ]
