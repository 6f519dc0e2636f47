"""What a worker said last, for the exception that tells of its death.

The descriptors of a worker stay as they are: its standard error may be a terminal. What Python writes there goes to
an anonymous file as well, and so does the stack that `faulthandler` writes at a crash, unless the program has put
`faulthandler` to a use of its own.
"""

from __future__ import annotations

import contextlib
import os
import sys

from manyhands._facade import stdlib_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_reduction = stdlib_of("multiprocessing.reduction")

__all__ = ["LAST_WORDS", "Paper", "listen", "remember"]

LAST_WORDS = 4096  # bytes of them that are told


class Paper:
    """An anonymous file. It travels to a worker when that is started, and stays with the parent."""

    def __init__(self, fd: int | None = None) -> None:
        if fd is None:
            import faulthandler  # noqa: F401  # once here, and not in each worker that is forked

            fd = os.memfd_create("manyhands-last-words", os.MFD_CLOEXEC)
        self.fd = fd

    def __reduce__(self) -> Any:
        return _arrived, (_reduction.DupFd(self.fd),)

    def write(self, text: str) -> None:
        """Add to it. Only the end counts: what is old goes."""
        if os.lseek(self.fd, 0, os.SEEK_CUR) > 16 * LAST_WORDS:
            os.ftruncate(self.fd, 0)
            os.lseek(self.fd, 0, os.SEEK_SET)
        os.write(self.fd, text[-16 * LAST_WORDS :].encode("utf-8", "backslashreplace"))

    def read(self) -> str:
        """The end of it."""
        with contextlib.suppress(OSError):
            size = os.fstat(self.fd).st_size
            data = os.pread(self.fd, LAST_WORDS, max(0, size - LAST_WORDS))
            return data.decode("utf-8", "replace").strip("\0 \n")
        return ""

    def close(self) -> None:
        """Once, by who made it."""
        os.close(self.fd)


def _arrived(duplicate: Any) -> Paper:
    return Paper(duplicate.detach())


class _Remembering:
    """`sys.stderr`, whose end is written down."""

    def __init__(self, stream: Any, paper: Paper) -> None:
        self._stream, self._paper = stream, paper

    def write(self, text: str) -> Any:
        with contextlib.suppress(Exception):
            self._paper.write(text)
        return self._stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Any:
        return iter(self._stream)


def remember(paper: Paper) -> None:
    """In a worker: write down what Python code says on `sys.stderr` from now on."""
    if isinstance(sys.stderr, _Remembering):  # a pool in a worker of a pool, forked
        sys.stderr._paper = paper
    elif sys.stderr is not None:
        sys.stderr = _Remembering(sys.stderr, paper)


def listen(paper: Paper) -> None:
    """The same, and the stack at a crash."""
    import faulthandler  # refused by interpreters beside the main one, which import this module as well

    remember(paper)
    if not faulthandler.is_enabled():
        faulthandler.enable(paper.fd, all_threads=False)
