"""What every Python test gets: no test may leave a thread or a process behind.

A test that hangs is ended by pytest-timeout, which prints the stack of every thread; its child processes
are then killed here, so that the next test starts clean.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# These are kept for the life of the process, and are no leak; the zygote of spawned children likewise.
KEPT = ("resource_tracker", "forkserver")
GRACE = 2.0


def pytest_configure(config: pytest.Config) -> None:
    # A child interpreter that a test starts must find the same package.
    import manyhands

    site = str(Path(manyhands.__file__).parent.parent)
    paths = [site, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))


def pytest_report_header(config: pytest.Config) -> str:
    import manyhands

    try:
        from manyhands import _core

        core = f"core {_core.__file__}"
    except ImportError as error:
        core = f"WITHOUT the compiled core ({error})"
    return f"manyhands {Path(manyhands.__file__).parent}, {core}"


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the source tree."""
    return ROOT


def child_processes() -> dict[int, str]:
    """The living children of this process: pid and command line. Zombies do not count."""
    found = {}
    zygotes = sys.modules.get("manyhands.multiprocessing._zygote")
    for listing in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in map(int, listing.read_text().split()):
                if zygotes is not None and pid == zygotes.zygote._pid:
                    continue
                with contextlib.suppress(OSError):
                    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                    command = (
                        Path(f"/proc/{pid}/cmdline")
                        .read_bytes()
                        .replace(b"\0", b" ")
                        .decode(errors="replace")
                    )
                    if state != "Z" and not any(kept in command for kept in KEPT):
                        found[pid] = command.strip()
    return found


def leftovers(
    threads: set[threading.Thread], children: dict[int, str]
) -> tuple[list[threading.Thread], dict[int, str]]:
    """The threads and children that were not there before, after a moment of grace to end in."""
    end = time.monotonic() + GRACE
    while True:
        multiprocessing.active_children()  # reaps what has ended
        new_threads = [thread for thread in threading.enumerate() if thread not in threads]
        new_children = {pid: text for pid, text in child_processes().items() if pid not in children}
        if not (new_threads or new_children) or time.monotonic() > end:
            return new_threads, new_children
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    threads, children = set(threading.enumerate()), child_processes()
    yield
    new_threads, new_children = leftovers(threads, children)
    for pid in new_children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not new_children, f"left child processes behind: {new_children}"
    assert not new_threads, f"left threads behind: {new_threads}"
