"""The machine: how many cores there really are for us, which Python, which executors."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from manyhands.advise.model import Machine


def usable_cores() -> tuple[int, str]:
    """Cores that this process may use, and a note where that is fewer than the machine has.

    A container's CPU quota counts: eight cores behind a quota of two give two.
    """
    total = os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    note = f"{cores} of the machine's {total} cores allowed" if cores < total else ""
    quota = _cgroup_quota()
    if quota is not None and quota < cores:
        cores = max(1, round(quota))
        note = f"limited to {quota:g} cores of {total} by a CPU quota"
    return cores, note


def _cgroup_quota() -> float | None:
    """The CPU quota of our control group in cores, if there is one (cgroup v2, then v1)."""
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                quota = _smallest_v2_quota(path)
                if quota is not None:
                    return quota
        v1 = Path("/sys/fs/cgroup/cpu")
        quota_us = int((v1 / "cpu.cfs_quota_us").read_text())
        period_us = int((v1 / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def _smallest_v2_quota(path: str) -> float | None:
    """A group is bound by the quota of every group above it: the smallest counts."""
    smallest = None
    folder = Path("/sys/fs/cgroup") / path.lstrip("/")
    for place in (folder, *folder.parents):
        try:
            limit, period = (place / "cpu.max").read_text().split()
        except (OSError, ValueError):
            continue
        if limit != "max":
            cores = int(limit) / int(period)
            smallest = cores if smallest is None else min(smallest, cores)
        if place == Path("/sys/fs/cgroup"):
            break
    return smallest


def busy_seconds() -> float | None:
    """CPU seconds that all programs have used on the cores we may use, or that the host took from them."""
    try:
        ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        total = 0
        for line in Path("/proc/stat").read_text().splitlines():
            name, *fields = line.split()
            if name in ours:
                user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[:8])
                total += user + nice + system + irq + softirq + steal
    except (OSError, ValueError, AttributeError):
        return None
    return total / os.sysconf("SC_CLK_TCK")


def gil_enabled() -> bool:
    """True where threads of this interpreter share one GIL."""
    check = getattr(sys, "_is_gil_enabled", None)
    return True if check is None else bool(check())


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def cores_text(count: int) -> str:
    """1 core, 2 cores."""
    return f"{count} core" + ("" if count == 1 else "s")


def describe(executors: str) -> Machine:
    """Look at the machine now. `executors` says whose executors the engines use."""
    cores, note = usable_cores()
    name = {"CPython": "CPython"}.get(platform.python_implementation(), platform.python_implementation())
    return Machine(
        cores=cores,
        cpu=_cpu_name(),
        memory=_memory(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{name} {platform.python_version()}",
        gil=gil_enabled(),
        executors=executors,
        cores_note=note,
    )
