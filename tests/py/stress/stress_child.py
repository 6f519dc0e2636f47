"""One stress run, in a process of its own.

python stress_child.py BODY SUBJECT [--threads 2,8] [--rounds N] [--stall S] [--signals]

Prints OK and exits with 0; a fault is 3, a hang 4 (stress_crew.py).
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import traceback
from typing import Any

import stress_locks
import stress_process
import stress_queues
import stress_subjects
from stress_crew import FAULT, Crew

BODIES: dict[str, Any] = {
    body.__name__: body
    for body in (
        stress_locks.lock,
        stress_locks.rlock,
        stress_locks.condition_lock,
        stress_locks.condition_turns,
        stress_locks.condition_tokens,
        stress_locks.condition_order,
        stress_locks.semaphore,
        stress_locks.event,
        stress_locks.barrier,
        stress_locks.rwlock,
        stress_locks.fairness,
        stress_locks.rwlock_fairness,
        stress_queues.queue,
        stress_queues.queue_bounded,
        stress_queues.queue_simple,
        stress_queues.queue_priority,
        stress_queues.queue_lifo,
        stress_queues.queue_join,
        stress_queues.thread_join,
        stress_process.fork,
        stress_process.shutdown,
    )
}


def ring(subject: Any) -> None:
    """A signal every 2 ms to the main thread, which works too; the handler uses a lock and a queue of its own."""
    own_lock, own_queue = subject.Lock(), subject.SimpleQueue()

    def handler(*_: object) -> None:
        stress_subjects.SIGNALS[0] += 1
        if own_lock.acquire(False):
            own_queue.put(stress_subjects.SIGNALS[0])
            own_queue.get()
            own_lock.release()

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("body", choices=BODIES)
    parser.add_argument("subject")
    parser.add_argument("--threads", default="2,8")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--stall", type=float, default=60)
    parser.add_argument("--signals", action="store_true")
    options = parser.parse_args()
    faulthandler.enable()
    # for a hang in which the watcher itself gets no turn
    faulthandler.dump_traceback_later(600 + 10 * options.stall, exit=True)
    sys.setswitchinterval(1e-5)
    subject = stress_subjects.subject(options.subject)
    if options.signals:
        ring(subject)
    try:
        for threads in map(int, options.threads.split(",")):
            BODIES[options.body](subject, Crew(threads, options.stall), options.rounds)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(FAULT)
    if options.signals:
        signal.setitimer(signal.ITIMER_REAL, 0)
    print(f"OK, {stress_subjects.SIGNALS[0]} signals", flush=True)


if __name__ == "__main__":
    main()
