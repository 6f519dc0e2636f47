"""Fingerprints of results, so that two engines' results can be compared without keeping them.

Keeping every result of the serial run for the comparison would count as memory of the engines that
run after it. A fingerprint is 16 bytes. It is built from the value, not from its pickle: equal values
may pickle differently (the order of a set, a string that is shared or not).
"""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

_DEPTH = 40


class Incomparable(Exception):
    """The value has nothing to compare by but its identity."""


def fingerprint(value: Any) -> bytes | None:
    """16 bytes that are equal for equal values; None if the value cannot be compared."""
    try:
        return _digest(value, 0)
    except (Incomparable, RecursionError):
        return None


def _hash(kind: str, parts: Iterable[bytes]) -> bytes:
    state = hashlib.blake2b(kind.encode(), digest_size=16)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()


def _digest(value: Any, depth: int) -> bytes:
    if depth > _DEPTH:
        raise Incomparable
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if value is None or kind in (bool, int, float, complex):
        return _hash(name, [repr(value).encode()])
    if kind is str:
        return _hash(name, [value.encode("utf-8", "surrogatepass")])
    if kind in (bytes, bytearray, memoryview):
        return _hash("bytes", [bytes(value)])
    below = depth + 1
    if isinstance(value, Mapping):
        pairs = sorted(_digest(k, below) + _digest(v, below) for k, v in value.items())
        return _hash(name, pairs)
    if isinstance(value, AbstractSet):
        return _hash(name, sorted(_digest(item, below) for item in value))
    if isinstance(value, (list, tuple)):
        return _hash(name, (_digest(item, below) for item in value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (_digest(getattr(value, field.name), below) for field in dataclasses.fields(value))
        return _hash(name, fields)
    return _digest_object(value, name, below)


def _digest_object(value: Any, name: str, depth: int) -> bytes:
    shape: Any = getattr(value, "shape", None)
    dump: Callable[[], bytes] | None = getattr(value, "tobytes", None)
    if shape is not None and callable(dump):  # NumPy's arrays and scalars, and what copies their interface
        dtype = str(getattr(value, "dtype", ""))
        if "O" in dtype or "object" in dtype:  # the bytes would be addresses
            return _hash(name, [_digest(value.tolist(), depth)])
        return _hash(name, [repr(shape).encode(), dtype.encode(), dump()])
    state = getattr(value, "__dict__", None)
    if state and not callable(value):
        return _hash(name, [_digest(state, depth)])
    plain: Any = object
    if type(value).__eq__ is plain.__eq__ and type(value).__reduce_ex__ is plain.__reduce_ex__:
        raise Incomparable
    try:
        return _hash(name, [pickle.dumps(value, protocol=5)])
    except Exception:
        raise Incomparable from None
