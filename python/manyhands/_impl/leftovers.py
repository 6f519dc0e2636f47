"""Who made which named block of shared memory: so that ``python -m manyhands clean`` knows what nobody needs any more.

A block that its creator leaves tracked goes with its tree of processes: the standard library's resource tracker removes
it. Where that was killed as well, the name stays. So beside each tracked block lies a record: which block (device and
inode), and the pipe to the tracker, which every process of the tree has open. Once no process has, the tree is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Leftover", "find", "forget", "note", "open_files", "remove"]

BLOCKS = Path("/dev/shm")


def _folder() -> Path:
    return BLOCKS / f"manyhands-{os.getuid()}"


def _namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def note(name: str, block: int, tracker: int) -> None:
    """The block of that name (its descriptor: `block`) belongs to the tree of the tracker behind that pipe.

    Where nothing can be written down the block is as good as before; `clean` will not know it.
    """
    with contextlib.suppress(OSError):
        folder = _folder()
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return  # somebody else's
        found, pipe = os.fstat(block), os.fstat(tracker)
        record = {"block": [found.st_dev, found.st_ino], "pipe": pipe.st_ino, "namespace": _namespace()}
        path = folder / name.lstrip("/")
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(record, file)


def forget(name: str) -> None:
    """The block of that name is gone."""
    with contextlib.suppress(OSError):
        (_folder() / name.lstrip("/")).unlink()
        _folder().rmdir()  # refused while records are in it


@dataclasses.dataclass
class Leftover:
    """A recorded block: `state` is "gone" (the record alone is left), "dead" (its tree is), "alive" or "unknown"."""

    name: str
    size: int
    state: str


def open_files() -> tuple[set[str], bool]:
    """What processes of this user have open (pipes as "pipe:[inode]"); and whether every one could be looked at."""
    pipes, complete = set(), True
    for process in Path("/proc").iterdir():
        try:
            if not process.name.isdigit() or process.stat().st_uid != os.getuid():
                # Root's may hide behind another id, and another's are not ours to judge.
                continue
            descriptors = list((process / "fd").iterdir())
        except FileNotFoundError:
            continue  # it has ended
        except OSError:
            complete = False
            continue
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                pipes.add(os.readlink(descriptor))
    return pipes, complete


def _state(record: dict[str, object], block: os.stat_result | None, pipes: set[str], complete: bool) -> str:
    if block is None or record["block"] != [block.st_dev, block.st_ino]:
        return "gone"  # removed by somebody; another of that name is not ours
    if record["namespace"] != _namespace():
        return "unknown"  # another container's: its processes cannot be seen from here
    if f"pipe:[{record['pipe']}]" in pipes:
        return "alive"
    return "dead" if complete and block.st_uid == os.getuid() else "unknown"


def find() -> Iterator[Leftover]:
    """Every recorded block of this user."""
    folder = _folder()
    if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.getuid():
        return
    pipes, complete = open_files()
    for path in sorted(folder.iterdir()):
        try:
            record: Any = json.loads(path.read_text())
            block = (BLOCKS / path.name).lstat()
        except FileNotFoundError:
            block = None
            record = {"block": None}
        except (ValueError, OSError):
            continue  # being written
        if not isinstance(record, dict) or not {"block"} <= set(record):
            continue
        yield Leftover(
            path.name, 0 if block is None else block.st_size, _state(record, block, pipes, complete)
        )


def remove(leftover: Leftover) -> bool:
    """Remove a dead tree's block, or the record of one that is gone; False where somebody was faster."""
    try:
        if leftover.state == "dead":
            (BLOCKS / leftover.name).unlink()
    except FileNotFoundError:
        return False
    finally:
        forget(leftover.name)
    return True
