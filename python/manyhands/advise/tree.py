"""The processes below this one: which there are, what CPU time they used, and how to end them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_CPU_CLOCK = 2  # CPUCLOCK_SCHED of linux/posix-timers: the process's CPU time in ns


def descendants(root: int | None = None) -> list[int]:
    """Pids of all live processes below `root` (default: this process); empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for pid, parent, state in _processes():
        if state != "Z":
            children.setdefault(parent, []).append(pid)
    found: list[int] = []
    queue = [os.getpid() if root is None else root]
    while queue:
        below = children.get(queue.pop(), [])
        found.extend(below)
        queue.extend(below)
    return found


def _processes() -> list[tuple[int, int, str]]:
    """(pid, parent, state) of every process that can be seen."""
    seen = []
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if name.isdigit():
            fields = _stat(int(name))
            if fields:
                seen.append((int(name), int(fields[1]), fields[0]))
    return seen


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold blanks and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def started(pid: int) -> str:
    """The process's start time, which with its pid names it for good."""
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def cpu_seconds(pids: list[int]) -> float:
    """CPU time of these processes and of the children that they have waited for."""
    return sum(_cpu_of(pid) for pid in pids)


def _cpu_of(pid: int) -> float:
    fields = _stat(pid)
    reaped = (int(fields[13]) + int(fields[14])) / _TICKS if len(fields) > 14 else 0.0
    if pid == os.getpid():
        return time.process_time() + reaped
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return time.clock_gettime((~pid << 3) | _CPU_CLOCK) + reaped
    return (int(fields[11]) + int(fields[12])) / _TICKS + reaped if fields else 0.0


def workers_below(spare: set[int]) -> dict[int, str]:
    """Live processes below this one (pid -> start time), less `spare` and the interpreter's own helpers.

    The helpers (fork server, resource tracker) serve the whole program and end with it.
    """
    own = os.getpid()
    found = {}
    for pid in descendants():
        if pid not in spare and not (_parent(pid) == own and _is_helper(pid)):
            found[pid] = started(pid)
    return found


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _is_helper(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"resource_tracker" in command or b"forkserver" in command


def end_all(pids: dict[int, str], grace: float = 0.5) -> None:
    """End these processes (pid -> start time): politely, then not. Waits until they are gone."""
    for number, patience in ((signal.SIGTERM, grace), (getattr(signal, "SIGKILL", signal.SIGTERM), 5.0)):
        pids = {pid: born for pid, born in pids.items() if _lives(pid, born)}
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, number)
        deadline = time.monotonic() + patience
        while any(_lives(pid, born) for pid, born in pids.items()) and time.monotonic() < deadline:
            time.sleep(0.005)


def _lives(pid: int, born: str) -> bool:
    fields = _stat(pid)
    return len(fields) > 19 and fields[19] == born and fields[0] != "Z"
