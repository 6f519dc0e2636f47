"""The caller's side of the memory sampler."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from manyhands.advise import sampler


class MemoryMeter:
    """Peak memory of this process and everything below it, between `begin` and `end`.

    The processes in `ignored` and all below them do not count.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.kind = "pss"
        self.ignored: set[int] = set()

    def __enter__(self) -> MemoryMeter:
        if Path("/proc/self/statm").exists():
            # A session of its own: Ctrl-C at the terminal is not for the sampler.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", sampler.__file__, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int | None:
        """The sampler's process."""
        return self._process.pid if self._process is not None else None

    def begin(self) -> None:
        """Forget the peak and sample from now on."""
        self._say(" ".join(["begin", *map(str, self.ignored)]).encode() + b"\n")

    def end(self) -> int | None:
        """Sample once more and stop: the peak in bytes, None if it cannot be told."""
        if not self._say(b"end\n") or self._process is None or self._process.stdout is None:
            return None
        words = self._process.stdout.readline().split()
        if len(words) != 3 or int(words[0]) == 0:
            return None
        self.kind = words[2].decode()
        return int(words[0])

    def _say(self, word: bytes) -> bool:
        if self._process is None or self._process.stdin is None:
            return False
        try:
            self._process.stdin.write(word)
            self._process.stdin.flush()
        except OSError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
