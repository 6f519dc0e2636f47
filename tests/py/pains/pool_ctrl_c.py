"""Ctrl-C while a Pool computes.

stdlib: often a hang, orphaned workers and a page of tracebacks.
Wanted: KeyboardInterrupt in the parent within two seconds, every worker gone.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time


def work(x):
    time.sleep(30)


def main():
    with multiprocessing.Pool(2) as pool:
        print(*(p.pid for p in multiprocessing.active_children()), flush=True)
        pool.map(work, range(8), chunksize=1)


if __name__ == "__main__":
    if sys.argv[1:] == ["child"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
        sys.exit(0)
    command = [sys.executable, *sys.orig_argv[1:], "child"]  # run again as we were run
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    workers = [int(pid) for pid in child.stdout.readline().split()]
    time.sleep(1)
    started = time.monotonic()
    os.killpg(child.pid, signal.SIGINT)
    try:
        child.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        raise SystemExit("still there 10 s after Ctrl-C") from None
    took = time.monotonic() - started
    left = [pid for pid in workers if os.path.exists(f"/proc/{pid}")]
    print(f"ended after {took:.1f} s, workers left: {left}")
    assert workers and took < 2 and not left
    print("OK")
