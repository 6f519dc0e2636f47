"""What ``manyhands.named`` left in /dev/shm: it stays until it is unlinked. ``python -m manyhands clean`` lists it."""

from __future__ import annotations

import dataclasses
import os
import stat
import struct
from collections.abc import Iterator

from manyhands._impl import leftovers

__all__ = ["NamedFile", "find", "remove"]

_HEADER = struct.Struct("<QIIII")  # core/shm/segment.h: magic, order, layout, pointer size, kind
_MAGIC, _ORDER = 0x73646E61682D796D, 0x01020304
_KINDS = {
    b"nLck": "Lock",
    b"nRLk": "RLock",
    b"nSem": "Semaphore",
    b"nSmR": "Semaphore",
    b"nEvt": "Event",
    b"nRWL": "RWLock",
    b"nBar": "Barrier",
    b"nCnd": "Condition",
    b"nMem": "Memory",
    b"nahm": "Queue",
}


@dataclasses.dataclass
class NamedFile:
    """A segment with a name: `kind` is "Lock" or the like, `used` False only where surely nobody has it open."""

    name: str
    size: int
    kind: str
    used: bool


def _kind_of(path: str) -> str | None:
    """What it is; None where it is no segment, or none of this user's."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status, head = os.fstat(fd), os.read(fd, _HEADER.size)
    finally:
        os.close(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or len(head) < _HEADER.size:
        return None
    magic, order, _, _, kind = _HEADER.unpack(head)
    return _KINDS.get(kind.to_bytes(4, "big"), "segment") if (magic, order) == (_MAGIC, _ORDER) else None


def find() -> Iterator[NamedFile]:
    """Every one of this user."""
    opened, complete = leftovers.open_files()
    try:
        names = sorted(os.listdir(leftovers.BLOCKS))
    except OSError:
        return
    for name in names:
        path = f"{leftovers.BLOCKS}/{name}"
        try:
            kind = _kind_of(path)
            size = os.lstat(path).st_size
        except OSError:
            continue
        if kind is not None:
            yield NamedFile(name, size, kind, path in opened or not complete)


def remove(found: NamedFile) -> None:
    """Take the name away; OSError."""
    os.unlink(leftovers.BLOCKS / found.name)
