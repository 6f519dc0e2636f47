#!/usr/bin/env python3
"""A virtual display, and what is on it as a picture: for programs with a window, without a screen.

    tools/docs/screen.py OUT.png SECONDS COMMAND...      the display after so long, while the command runs

Needs Xvfb, which keeps its screen in a file (XWD format); the picture is made from that.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SIZE = (420, 190)


@contextmanager
def display(width: int, height: int) -> Iterator[tuple[str, Path]]:
    """(its name for DISPLAY, the file of its screen). Xvfb itself picks a number that is free."""
    program = shutil.which("Xvfb")
    if program is None:
        raise FileNotFoundError("no Xvfb: on Debian and Ubuntu: apt install xvfb")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = os.pipe()
        words = ["-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp", "-fbdir", folder]
        process = subprocess.Popen(
            [program, "-displayfd", str(theirs), *words], pass_fds=[theirs], stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        try:
            with open(ours) as answer:
                number = answer.readline().strip()
            if not number:
                raise OSError("Xvfb did not start")
            yield f":{number}", Path(folder) / "Xvfb_screen0"
        finally:
            process.terminate()
            process.wait()


def png(width: int, height: int, rows: list[bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def picture(screen: Path) -> tuple[int, int, list[bytes]]:
    """Width, height and rows of red, green and blue of an XWD file of 32 bits a pixel."""
    data = screen.read_bytes()
    head = struct.unpack(">25I", data[:100])
    width, height, order, bits, line, colours = head[4], head[5], head[7], head[11], head[12], head[19]
    if bits != 32:
        raise ValueError(f"a screen of {bits} bits a pixel")
    at = head[0] + colours * 12
    blue, green, red = (0, 1, 2) if order == 0 else (3, 2, 1)
    rows = []
    for y in range(height):
        row = data[at + y * line : at + y * line + width * 4]
        rows.append(
            bytes(v for triple in zip(row[red::4], row[green::4], row[blue::4], strict=True) for v in triple)
        )
    return trimmed(width, height, rows)


def trimmed(width: int, height: int, rows: list[bytes]) -> tuple[int, int, list[bytes]]:
    """Without the black ground to the right of and below the window, which stands in the upper left corner."""
    while height > 1 and not any(rows[height - 1]):
        height -= 1
    while width > 1 and not any(any(row[3 * width - 3 : 3 * width]) for row in rows[:height]):
        width -= 1
    return width, height, [row[: 3 * width] for row in rows[:height]]


def shoot(command: list[str], out: Path, seconds: float, size: tuple[int, int] = SIZE) -> str:
    """What the command prints; `out` is the screen after so many seconds."""
    with display(*size) as (name, screen):
        environment = os.environ | {"DISPLAY": name}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        time.sleep(seconds)
        found = picture(screen)
        printed, _ = process.communicate(timeout=60)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    out.write_bytes(png(*found))
    return printed


if __name__ == "__main__":
    print(shoot(sys.argv[3:], Path(sys.argv[1]), float(sys.argv[2])), end="")
