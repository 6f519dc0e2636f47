"""How shared objects reach a child that is being started: as (descriptor, id, offset).

Forked children have the mappings already. For spawn and forkserver the descriptor travels once per start, however
many objects lie behind it, and the child maps it once.
"""

from __future__ import annotations

from manyhands._facade import stdlib_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_context = stdlib_of("multiprocessing.context")
_reduction = stdlib_of("multiprocessing.reduction")

assert_spawning = _context.assert_spawning

__all__ = ["assert_spawning", "goes_outside", "is_spawning", "receive", "send"]

_received: dict[Any, int] = {}  # key -> descriptor in this process, for as long as it lives


def send(owner: object, fd: int, key: Any) -> tuple[Any, Any]:
    """What to pickle for the descriptor `fd`; `key` names what is behind it in every process of the tree.

    Only while a child is being started: RuntimeError else, as from the standard library's objects.
    """
    _context.assert_spawning(owner)
    sent = _context.get_spawning_popen().__dict__.setdefault("_manyhands_sent", {})
    if key not in sent:
        sent[key] = _reduction.DupFd(fd)
    return sent[key], key


def receive(token: tuple[Any, Any]) -> int:
    """The descriptor in this process. It stays open: other objects may lie behind it."""
    duplicate, key = token
    if key not in _received:
        _received[key] = duplicate.detach()
    return _received[key]


def is_spawning() -> bool:
    """Is what is being pickled for a process that is being started?"""
    return _context.get_spawning_popen() is not None


def goes_outside() -> bool:
    """Is what is being pickled for a process that will not share this tree's memory? One that is started in another
    way than ours (joblib's workers, say), or for which there was no place left."""
    starting = _context.get_spawning_popen()
    return starting is not None and getattr(starting, "_manyhands_place", None) is None
