"""A job queue in the background: jobs in an SQLite file, worker processes that may be killed at any moment.

    python job_queue.py jobs.db add FILE...      each file is a job: count its words
    python job_queue.py jobs.db work [WORKERS]   until no job is left
    python job_queue.py jobs.db list

A job is there until its result is. Where a worker dies the job is begun again by another one; a job that has cost three
workers is given up. Several `work` may run beside each other, and `add` at any time.
"""

import collections
import os
import sqlite3
import sys

from manyhands.multiprocessing import Process, connection

TRIES = 3
TABLE = """CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY, file TEXT NOT NULL,
           state TEXT NOT NULL DEFAULT 'waiting', worker INTEGER, tries INTEGER NOT NULL DEFAULT 0, result TEXT)"""
# One statement, so that no two workers can take the same job.
TAKE = """
    UPDATE jobs SET state = 'running', worker = ?, tries = tries + 1
    WHERE id = (SELECT id FROM jobs WHERE state = 'waiting' ORDER BY id LIMIT 1) RETURNING id, file
"""
DONE = "UPDATE jobs SET state = ?, result = ? WHERE id = ? AND worker = ?"
# What a dead worker had waits again, or is given up.
BACK = """UPDATE jobs SET state = CASE WHEN tries < ? THEN 'waiting' ELSE 'failed' END, worker = NULL,
          result = CASE WHEN tries < ? THEN NULL ELSE 'its worker died, ' || tries || ' times' END
          WHERE state = 'running' AND worker = ?"""


def open_jobs(path):
    jobs = sqlite3.connect(path, timeout=30, isolation_level=None)  # every statement is its own transaction
    jobs.execute("PRAGMA journal_mode = WAL")
    jobs.execute(TABLE)
    return jobs


def most_common_word(path):
    """The work: replace it by yours. It may be done twice, so let it do no harm when it is."""
    with open(path, encoding="utf-8", errors="replace") as file:
        words = collections.Counter(file.read().split())
    return f"{sum(words.values())} words, mostly {words.most_common(1)[0][0]!r}" if words else "empty"


def work(path):
    """One worker: a connection of its own, never one that was forked."""
    jobs = open_jobs(path)
    while (taken := jobs.execute(TAKE, (os.getpid(),)).fetchone()) is not None:
        number, file = taken
        try:
            state, result = "done", most_common_word(file)
        except Exception as error:
            state, result = "failed", f"{type(error).__name__}: {error}"
        jobs.execute(DONE, (state, result, number, os.getpid()))


def start(path):
    process = Process(target=work, args=(path,), die_with_parent=True)
    process.start()
    return process


def supervise(path, count):
    """Have `count` workers at work until no job waits; what a dead one had goes back."""
    jobs = open_jobs(path)
    workers = [start(path) for _ in range(count)]
    deaths = 0
    while workers:
        connection.wait([worker.sentinel for worker in workers])
        for worker in [one for one in workers if not one.is_alive()]:
            workers.remove(worker)
            if worker.exitcode == 0:
                continue
            deaths += 1
            jobs.execute(BACK, (TRIES, TRIES, worker.pid))
            workers.append(start(path))
    print(f"no job waits; {deaths} workers died")


def main():
    if len(sys.argv) < 3 or sys.argv[2] not in ("add", "work", "list"):
        print(__doc__)
        return 2
    path, command, *words = sys.argv[1:]
    jobs = open_jobs(path)
    if command == "add":
        jobs.executemany("INSERT INTO jobs (file) VALUES (?)", [(word,) for word in words])
        print(f"{len(words)} jobs added")
    elif command == "work":
        jobs.close()
        supervise(path, int(words[0]) if words else 2)
    else:
        for row in jobs.execute("SELECT id, state, tries, file, coalesce(result, '') FROM jobs ORDER BY id"):
            print(*row, sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main())
