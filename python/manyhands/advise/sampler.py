"""Peak memory of a process tree: a small program of its own, so that it disturbs nobody's GIL.

    python -I -S sampler.py PID

reads `begin [PID ...]` and `end` from its standard input, where the processes named after `begin` and all
below them do not count; to `end` it answers a line `PEAK SAMPLES KIND`. PEAK
is the largest sum of the tree's proportional set sizes (each page shared by n processes counts 1/n in
each), in bytes; KIND is `pss`, or `rss` where the kernel does not tell PSS. It leaves at end of input.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

INTERVAL = 0.02
LOAD = 10  # a sample may take at most one LOAD-th of the time


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found.extend(int(word) for word in file.read().split())
    except OSError:
        pass
    return found


def tree(root: int, ignored: set[int]) -> list[int]:
    """The process and all below it, less this one and what is ignored."""
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        if pid != os.getpid() and pid not in ignored:
            found.append(pid)
            queue.extend(_children(pid))
    return found


def memory(pid: int) -> tuple[int, str]:
    """Bytes, and whether they are PSS or RSS."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024, "pss"
    except OSError:
        pass
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"), "rss"
    except OSError:
        return 0, "pss"


def _sample(root: int, ignored: set[int]) -> tuple[int, str]:
    total, kind = 0, "pss"
    for pid in tree(root, ignored):
        size, said = memory(pid)
        total += size
        kind = said if said == "rss" else kind
    return total, kind


def main(root: int) -> None:
    """Serve until the other side hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    peak, samples, kind, active, pause = 0, 0, "pss", False, INTERVAL
    pending, ignored = b"", set[int]()
    while True:
        ready, _, _ = select.select([0], [], [], pause if active else None)
        began_now = ended = False
        if ready:
            read = os.read(0, 4096)
            if not read:
                return
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                word, *pids = line.decode().split()
                ended = word == "end"
                if word == "begin":
                    began_now, ignored = True, {int(pid) for pid in pids}
        if active or began_now:
            began = time.perf_counter()
            if began_now:
                peak, samples, kind, active = 0, 0, "pss", True
            size, said = _sample(root, ignored)
            peak, samples, kind = max(peak, size), samples + 1, said
            pause = max(INTERVAL, LOAD * (time.perf_counter() - began))
        if ended:
            active = False
            try:
                os.write(1, f"{peak} {samples} {kind}\n".encode())
            except BrokenPipeError:  # it was interrupted, and does not wait for the figure
                return


if __name__ == "__main__":
    main(int(sys.argv[1]))
