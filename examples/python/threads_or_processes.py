"""Threads and processes side by side, measured on this machine: start, memory, failure, debugging, switching, sharing,
computing.

    python threads_or_processes.py [--json FILE] [--quick]

Prints one line for each point. Takes about five seconds.
"""

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time

import manyhands.multiprocessing as mp
import manyhands.threading as threading
from manyhands import queue, shared

MEGABYTE = 1_000_000


def nothing():
    """What a worker does whose start is measured."""


def seconds(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median_seconds(repeats, work):
    return statistics.median(seconds(work) for _ in range(repeats))


def start_and_join(make):
    worker = make()
    worker.start()
    worker.join()


# Workers that wait, for two of the measurements.


def wait_for(ready, event):
    ready.release()
    event.wait()


@contextlib.contextmanager
def waiting(module, count):
    """The numbers of the processes in which so many wait."""
    ready, event = module.Semaphore(0), module.Event()
    make = module.Thread if module is threading else module.Process
    workers = [make(target=wait_for, args=(ready, event)) for _ in range(count)]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.acquire()
    try:
        yield [os.getpid()] if module is threading else [worker.pid for worker in workers]
    finally:
        event.set()
        for worker in workers:
            worker.join()


# Memory: what twenty more that do nothing add to the whole program, shared pages counted by their share.


def memory_of(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


def memory_of_one(module, count=20):
    before = memory_of(os.getpid())
    with waiting(module, count) as pids:
        after = sum(map(memory_of, {os.getpid(), *pids}))
    return (after - before) / count


# Failure: one of three crashes in C code; how many of the two others do their work.


def crash_or_answer(crash, answers):
    if crash:
        os.abort()
    time.sleep(0.2)  # in the midst of its work
    answers.put("done")


def three(kind):
    """A program of its own, which a thread that crashes ends."""
    module, answers = (threading, queue.Queue()) if kind == "threads" else (mp, mp.Queue())
    make = module.Thread if module is threading else module.Process
    workers = [make(target=crash_or_answer, args=(n == 0, answers)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(answers.qsize())


def left_after_a_crash(kind):
    command = [sys.executable, __file__, "--three", kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return f"{done.stdout.strip() or 0} of 2"


# Debugging: who started the program gives commands to the debugger in a worker; all are asked where they stand.


def stop_and_look(order):
    breakpoint()
    return order


def debugged(kind):
    """A program of its own, because its standard input has the commands."""
    make = threading.Thread if kind == "threads" else mp.Process
    start_and_join(lambda: make(target=stop_and_look, args=("soup",)))


def debugger_listens(kind):
    command = [sys.executable, __file__, "--debugged", kind]
    commands = "p order.upper()\ncontinue\n"
    done = subprocess.run(command, input=commands, capture_output=True, text=True, timeout=60)
    if "(Pdb)" not in done.stdout:
        raise RuntimeError(f"no debugger was there: {done.stdout}{done.stderr}")
    return "yes" if "SOUP" in done.stdout else "no"


def see_stacks(pids, count):
    dump = [sys.executable, "-m", "manyhands", "dump"]
    seen = "".join(subprocess.check_output([*dump, str(pid)], text=True) for pid in pids)
    if seen.count("in wait_for\n") != count:
        raise RuntimeError(f"not {count} stacks: {seen}")


def time_for_stacks(module, repeats, count=8):
    with waiting(module, count) as pids:
        return median_seconds(repeats, lambda: see_stacks(pids, count))


# Switching: two hand the turn to each other by semaphores.


def second_player(mine, theirs, rounds):
    for _ in range(rounds):
        mine.acquire()
        theirs.release()


def turn_and_back(module, rounds):
    first, second = module.Semaphore(0), module.Semaphore(0)
    make = module.Thread if module is threading else module.Process
    other = make(target=second_player, args=(second, first, rounds))
    other.start()
    began = time.perf_counter()
    for _ in range(rounds):
        second.release()
        first.acquire()
    seconds = time.perf_counter() - began
    other.join()
    return seconds / rounds


# Sharing: what one puts the other takes.


def take(source, count, ready, answers):
    ready.release()
    for _ in range(count):
        source.get()
    answers.put("all taken")


def handing_over(module, make_queue, value, count):
    source, answers, ready = make_queue(), make_queue(), module.Semaphore(0)
    make = module.Thread if module is threading else module.Process
    taker = make(target=take, args=(source, count, ready, answers))
    taker.start()
    ready.acquire()
    began = time.perf_counter()
    for _ in range(count):
        source.put(value)
    answers.get()
    seconds = time.perf_counter() - began
    taker.join()
    return seconds / count


# Computing: the same work twice, one after the other and both at once.


def count_primes(below=60_000):
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, below))


def hash_much(block=bytes(200 * MEGABYTE)):
    return hashlib.sha256(block).hexdigest()


def speed_up(make, work):
    """By turns, and the fastest of each: the least disturbed by other programs."""

    def both():
        workers = [make(target=work) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    pairs = [(seconds(work), seconds(both)) for _ in range(7)]
    return 2 * min(one for one, _ in pairs) / min(two for _, two in pairs)


def rows(quick):
    """(name, what it is, unit, threads, processes)."""
    few = 5 if quick else 30
    fork, spawn = mp.get_context("fork"), mp.get_context("spawn")
    server = mp.get_context("forkserver")
    start_and_join(lambda: server.Process(target=nothing))  # the server itself is started once
    yield (
        "start",
        "start one and wait for its end",
        "s",
        median_seconds(few * 10, lambda: start_and_join(lambda: threading.Thread(target=nothing))),
        median_seconds(few, lambda: start_and_join(lambda: fork.Process(target=nothing))),
    )
    for name, context, times in (("start-forkserver", server, few), ("start-spawn", spawn, 3)):
        said = f"the same, start method {context.get_start_method()}"
        took = median_seconds(
            times, lambda made=context: start_and_join(lambda: made.Process(target=nothing))
        )
        yield name, said, "s", None, took
    memory = memory_of_one(threading), memory_of_one(fork)
    yield "memory", "memory of one more that waits", "B", *memory
    yield "many", "so many that wait fit into 1 GB", "", *(f"{1e9 / max(one, 1):,.0f}" for one in memory)
    yield "crash", "one crashes: so many others go on", "", *map(left_after_a_crash, ("threads", "processes"))
    yield "debugger", "breakpoint() in one: pdb listens", "", *map(debugger_listens, ("threads", "processes"))
    stacks = time_for_stacks(threading, 3), time_for_stacks(fork, 1)
    yield "stacks", "see the stacks of 8 that wait", "s", *stacks
    rounds = 200 if quick else 3000
    said = "the turn to the other and back"
    yield "switch", said, "s", turn_and_back(threading, rounds), turn_and_back(fork, rounds)
    small, count = {"order": 42}, 200 if quick else 5000
    threads = handing_over(threading, queue.Queue, small, count)
    yield "message", "hand over a small dict", "s", threads, handing_over(fork, fork.Queue, small, count)
    large = bytearray(8 * MEGABYTE if quick else 80 * MEGABYTE)
    threads = handing_over(threading, queue.Queue, large, 6)
    yield "large", "hand over 80 MB", "s", threads, handing_over(fork, fork.Queue, large, 6)
    block = shared.block((len(large),), "B")
    yield "shared", "the same, in shared memory", "s", None, handing_over(fork, fork.Queue, block, 6)
    yield (
        "python",
        "two at once, Python code",
        "x",
        *(speed_up(m, count_primes) for m in (threading.Thread, fork.Process)),
    )
    yield (
        "native",
        "two at once, C code (SHA-256)",
        "x",
        *(speed_up(m, hash_much) for m in (threading.Thread, fork.Process)),
    )


def figure(value, unit):
    if value is None or unit == "":
        return value or ""
    if unit == "x":
        return f"{value:.1f}x"
    steps = (
        (("s", 1), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)) if unit == "s" else (("MB", 1e6), ("KB", 1e3))
    )
    name, size = next((one for one in steps if abs(value) >= one[1]), steps[-1])
    value /= size
    return f"{value:.0f} {name}" if abs(value) >= 10 else f"{value:.1f} {name}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", metavar="FILE", help="keep the figures in this file")
    parser.add_argument("--quick", action="store_true", help="less exact, in a second or two")
    parser.add_argument("--three", help=argparse.SUPPRESS)
    parser.add_argument("--debugged", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.three:
        return three(options.three)
    if options.debugged:
        return debugged(options.debugged)
    version = ".".join(map(str, sys.version_info[:3]))
    cores = len(os.sched_getaffinity(0))
    print(f"CPython {version}, {cores} core{'s' * (cores > 1)}")
    print(f"{'':34}{'threads':>10}{'processes':>12}")
    kept = []
    for name, said, unit, threads, processes in rows(options.quick):
        print(f"{said:34}{figure(threads, unit):>10}{figure(processes, unit):>12}", flush=True)
        texts = {"threads": figure(threads, unit), "processes": figure(processes, unit)}
        kept.append({"name": name, "what": said, "unit": unit, "values": [threads, processes], **texts})
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"python": version, "cores": cores, "rows": kept}, file, indent=1, ensure_ascii=False)


if __name__ == "__main__":
    main()
