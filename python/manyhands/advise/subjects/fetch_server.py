"""The server of `fetch`, a process of its own: it answers after the delay that a network has.

    python -m manyhands.advise.subjects.fetch_server DELAY

reads the list of files as one line of JSON, writes its port, and leaves when its input ends.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys

from manyhands.advise.subjects.http_server import serve


async def main(delay: float) -> None:
    """Serve the files by number until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    bodies = []
    for path in json.loads(sys.stdin.readline()):
        with open(path, "rb") as file:
            bodies.append(file.read())

    async def answer(path: str) -> bytes | None:
        await asyncio.sleep(delay)
        number = path.strip("/")
        return bodies[int(number)] if number.isdigit() and int(number) < len(bodies) else None

    server, port = await serve(answer)
    print(port, flush=True)
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), gone.set)
    await gone.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
