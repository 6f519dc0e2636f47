"""A small web server on asyncio, enough for the built-in jobs: GET, one answer, connections kept open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Answer = Callable[[str], Awaitable[bytes | None]]


async def serve(answer: Answer) -> tuple[asyncio.AbstractServer, int]:
    """Listen on a free port of the loopback address; the server and its port."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await _one_request(reader, writer, answer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=256)
    port: int = server.sockets[0].getsockname()[1]
    return server, port


async def _one_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> bool:
    """Answer one request; whether to wait for another."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    words = head.split("\r\n", 1)[0].split(" ")
    body = await answer(words[1]) if len(words) == 3 and words[0] == "GET" else None
    status = "200 OK" if body is not None else "404 Not Found"
    body = body or b""
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    return "connection: close" not in head.lower()
