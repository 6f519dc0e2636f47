"""A job queue in the background: jobs in a database, worker processes that may be killed at any moment.

    python job_queue.py jobs.db add FILE...      each file is a job: count its words
    python job_queue.py jobs.db work [WORKERS]   until no job is left
    python job_queue.py jobs.db list

The database is an SQLite file, or PostgreSQL where its address is given: postgresql://user@host/name;
that needs psycopg.

A job is there until its result is. Where a worker dies the job is begun again by another one; a job that has cost three
workers is given up. Several `work` may run beside each other, and `add` at any time.
"""

import collections
import os
import sqlite3
import sys

from manyhands.multiprocessing import Process, connection

TRIES = 3
TABLE = """CREATE TABLE IF NOT EXISTS jobs (id {number} PRIMARY KEY, file TEXT NOT NULL,
           state TEXT NOT NULL DEFAULT 'waiting', worker INTEGER, tries INTEGER NOT NULL DEFAULT 0, result TEXT)"""
# One statement, so that no two workers can take the same job.
TAKE = """
    UPDATE jobs SET state = 'running', worker = ?, tries = tries + 1
    WHERE id = (SELECT id FROM jobs WHERE state = 'waiting' ORDER BY id LIMIT 1 {skip}) RETURNING id, file
"""
DONE = "UPDATE jobs SET state = ?, result = ? WHERE id = ? AND worker = ?"
# What a dead worker had waits again, or is given up.
BACK = """UPDATE jobs SET state = CASE WHEN tries < ? THEN 'waiting' ELSE 'failed' END, worker = NULL,
          result = CASE WHEN tries < ? THEN NULL ELSE 'its worker died, ' || tries || ' times' END
          WHERE state = 'running' AND worker = ?"""

WAITING = "SELECT id FROM jobs WHERE state = 'waiting' LIMIT 1"


class Jobs:
    """The two databases: every statement is its own transaction."""

    def __init__(self, place):
        if place.startswith(("postgresql://", "postgres://")):
            import psycopg

            self.connection, self.mark = psycopg.connect(place, autocommit=True), "%s"
            self.words = {
                "number": "SERIAL",
                "skip": "FOR UPDATE SKIP LOCKED",
            }  # workers do not wait for each other
        else:
            self.connection, self.mark = sqlite3.connect(place, timeout=30, isolation_level=None), "?"
            self.words = {"number": "INTEGER", "skip": ""}
            self.connection.execute("PRAGMA journal_mode = WAL")

    def execute(self, statement, *values):
        return self.connection.execute(statement.format(**self.words).replace("?", self.mark), values)

    def close(self):
        self.connection.close()


def most_common_word(path):
    """The work: replace it by yours. It may be done twice, so let it do no harm when it is."""
    with open(path, encoding="utf-8", errors="replace") as file:
        words = collections.Counter(file.read().split())
    return f"{sum(words.values())} words, mostly {words.most_common(1)[0][0]!r}" if words else "empty"


def work(place):
    """One worker: a connection of its own, never one that was forked."""
    jobs = Jobs(place)
    while (taken := jobs.execute(TAKE, os.getpid()).fetchone()) is not None:
        number, file = taken
        try:
            state, result = "done", most_common_word(file)
        except Exception as error:
            state, result = "failed", f"{type(error).__name__}: {error}"
        jobs.execute(DONE, state, result, number, os.getpid())


def start(place):
    process = Process(target=work, args=(place,), die_with_parent=True)
    process.start()
    return process


def supervise(place, count):
    """Have `count` workers at work until no job waits; what a dead one had goes back."""
    jobs = Jobs(place)
    workers = [start(place) for _ in range(count)]
    dead = []
    while workers:
        connection.wait([worker.sentinel for worker in workers])
        ended = [worker for worker in workers if not worker.is_alive()]
        workers = [worker for worker in workers if worker not in ended]
        dead += [worker.pid for worker in ended if worker.exitcode != 0]
        for pid in dead:  # of all: a server may carry out what a dead client had asked for last
            jobs.execute(BACK, TRIES, TRIES, pid)
        # A worker ends once it sees no job; this one came, or came back, later.
        if jobs.execute(WAITING).fetchone():
            workers += [start(place) for _ in range(count - len(workers))]
    print(f"no job waits; {len(dead)} workers died")


def main():
    if len(sys.argv) < 3 or sys.argv[2] not in ("add", "work", "list"):
        print(__doc__)
        return 2
    place, command, *words = sys.argv[1:]
    jobs = Jobs(place)
    jobs.execute(TABLE)
    if command == "add":
        for word in words:
            jobs.execute("INSERT INTO jobs (file) VALUES (?)", word)
        print(f"{len(words)} jobs added")
    elif command == "work":
        jobs.close()
        supervise(place, int(words[0]) if words else 2)
    else:
        for row in jobs.execute("SELECT id, state, tries, file, coalesce(result, '') FROM jobs ORDER BY id"):
            print(*row, sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main())
