"""The server of `respond`, a process of its own: it answers requests while a computing job runs.

    python -m manyhands.advise.subjects.respond_server {none,inline,thread,process}

reads the list of files as one line of JSON and writes a line of JSON once it listens. A request for
`/begin` starts the job: it counts the identifiers of one file after the other. A line on standard input
ends the job, the answer is a line of JSON with what was done; end of input ends the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from typing import Any

from manyhands.advise import engines, tree, worker
from manyhands.advise.fingerprint import fingerprint
from manyhands.advise.subjects.http_server import serve
from manyhands.advise.subjects.index import count_identifiers
from manyhands.advise.target import from_function

PAGE = b"It works.\n" * 20


class Job:
    """The computing job: one file after the other, for as long as it is asked for."""

    def __init__(self, mode: str, files: list[str]) -> None:
        self.mode = mode
        self.files = files
        self.done = 0
        self.prints: dict[int, str] = {}
        self.start = 0.0
        self._stop = False
        self._engine: Any = None

    def open(self) -> None:
        """Start the worker, before there is anything else in this process."""
        if self.mode in ("thread", "process"):
            kind = "threads" if self.mode == "thread" else "processes"
            self._engine = engines.make(kind, from_function(count_identifiers), 1)
            self.start = self._engine.start()

    async def run(self) -> None:
        """Files until `end`."""
        if self.mode == "none":
            return
        loop = asyncio.get_running_loop()
        worker.set_function(count_identifiers)
        while not self._stop:
            number = self.done % len(self.files)
            if self._engine is None:
                chunk = worker.run_chunk(number, [self.files[number]])
                await asyncio.sleep(0)  # a polite job: the server may answer between two files
            else:
                pool = self._engine.pool()
                chunk = await loop.run_in_executor(pool, worker.run_chunk, number, [self.files[number]])
            if chunk.failures:
                raise SystemExit(chunk.failures[0].trace)
            self.prints[number] = (fingerprint(chunk.results[0]) or b"").hex()
            self.done += 1

    def end(self) -> None:
        """No more files after the one at hand."""
        self._stop = True

    def close(self) -> None:
        if self._engine is not None:
            self._engine.stop()


async def main(mode: str) -> None:
    """Serve until standard input ends."""
    job = Job(mode, json.loads(sys.stdin.readline()))
    job.open()
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    begin = asyncio.Event()

    async def answer(path: str) -> bytes | None:
        if path == "/begin":
            begin.set()
        return PAGE if path in ("/", "/begin") else None

    server, port = await serve(answer)
    print(json.dumps({"port": port, "start": job.start}), flush=True)
    loop.add_reader(sys.stdin.fileno(), told.set)
    waits = [asyncio.ensure_future(told.wait()), asyncio.ensure_future(begin.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    began = time.perf_counter()
    pids = [os.getpid(), *tree.descendants()]
    cpu = tree.cpu_seconds(pids)
    work = asyncio.ensure_future(job.run())
    await told.wait()
    job.end()
    seconds, cpu = time.perf_counter() - began, tree.cpu_seconds(pids) - cpu
    with contextlib.suppress(asyncio.CancelledError):
        await work
    loop.remove_reader(sys.stdin.fileno())
    for wait in waits:
        wait.cancel()
    print(json.dumps({"done": job.done, "seconds": seconds, "cpu": cpu, "prints": job.prints}), flush=True)
    sys.stdin.readline()
    sys.stdin.read()
    server.close()
    job.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(main(sys.argv[1]))
