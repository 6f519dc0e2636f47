"""fetch: get files over HTTP, read them from disk, put rows into a database. Waits."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import json
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator

from manyhands.advise.errors import WorkFailed
from manyhands.advise.memory import MemoryMeter
from manyhands.advise.model import Report
from manyhands.advise.progress import Progress
from manyhands.advise.subjects import sample
from manyhands.advise.subjects.common import measure_items, python_command

FILES = 64
DELAY = 0.015
WORKERS = (1, 2, 8, 32)


def fetch(item: tuple[int, str], port: int, database: str) -> tuple[str, int, str]:
    """Get a file from the server, check it against the disk, note it in the database."""
    number, path = item
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", f"/{number}", headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    with open(path, "rb") as file:
        if response.status != 200 or body != file.read():
            raise ValueError(f"the server's {sample.short_name(path)} is not the one on disk")
    row = (sample.short_name(path), len(body), hashlib.sha256(body).hexdigest())
    with contextlib.closing(_open(database)) as rows, rows:
        rows.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", row)
    return row


def _open(database: str) -> sqlite3.Connection:
    rows = sqlite3.connect(database, timeout=30)
    rows.execute("PRAGMA synchronous = OFF")
    return rows


@contextlib.contextmanager
def _database() -> Iterator[str]:
    """A database in a folder of its own, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="manyhands-compare-") as folder:
        path = os.path.join(folder, "files.sqlite")
        with contextlib.closing(_open(path)) as rows, rows:
            rows.execute("PRAGMA journal_mode = WAL")
            rows.execute("CREATE TABLE files (name TEXT PRIMARY KEY, size INTEGER, sha256 TEXT)")
        yield path


@contextlib.contextmanager
def _server(files: list[str]) -> Iterator[tuple[int, int]]:
    """The server process; gives its pid and port. It leaves when its input is closed, so also when we die."""
    command, environment = python_command("manyhands.advise.subjects.fetch_server")
    process = subprocess.Popen(
        [*command, str(DELAY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(json.dumps(files) + "\n")
        process.stdin.flush()
        port = process.stdout.readline().strip()
        if not port:
            raise WorkFailed("fetch: the server did not start")
        yield process.pid, int(port)
    finally:
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


class Fetch:
    """The job for `compare`."""

    name = "fetch"

    def __init__(self) -> None:
        self.files = sample.standard_library(FILES)

    def title(self) -> str:
        return sample.in_few_words(self.files)

    def measure(
        self,
        report: Report,
        seconds: float,
        workers: tuple[int, ...] | None,
        progress: Progress,
        meter: MemoryMeter,
    ) -> None:
        report.notes.append(
            f"get over HTTP from a server {DELAY * 1000:g} ms away, read from disk, put into SQLite: "
            f"{sample.in_words(self.files)}"
        )
        report.sample = sample.as_data(self.files) | {"delay_s": DELAY}
        with _database() as database, _server(self.files) as (server, port):
            meter.ignored = {server}
            function = functools.partial(fetch, port=port, database=database)
            items = list(enumerate(self.files))
            measure_items(function, items, report, seconds, workers or WORKERS, progress, meter)
            self._check(database)

    def _check(self, database: str) -> None:
        with contextlib.closing(_open(database)) as rows:
            count = rows.execute("SELECT count(*) FROM files").fetchone()[0]
        if count != len(self.files):
            raise WorkFailed(f"fetch: the database has {count} rows instead of {len(self.files)}")
