"""Which instructions of a code object belong to clean-up, and which are the back-edges of its loops.

A thread is ended at the back-edge of a loop, and never while it runs a ``finally``. Bytecode has each of those twice,
for the way with an exception and the way without. The first is found through the exception table, the second through
its place in the source text, which is the same.
"""

from __future__ import annotations

import opcode
from collections.abc import Iterator
from types import CodeType

__all__ = ["BACK_EDGE", "CLEANUP", "marks"]

BACK_EDGE = 1
CLEANUP = 2

_PUSH_EXC_INFO = opcode.opmap["PUSH_EXC_INFO"]
_WITH_EXCEPT_START = opcode.opmap["WITH_EXCEPT_START"]
_RERAISE = opcode.opmap["RERAISE"]
_POP_TOP = opcode.opmap["POP_TOP"]
_EXTENDED_ARG = opcode.opmap["EXTENDED_ARG"]
_CACHE = opcode.opmap["CACHE"]
_JUMP_BACKWARD = opcode.opmap["JUMP_BACKWARD"]
_MATCHES = {opcode.opmap["CHECK_EXC_MATCH"], opcode.opmap["CHECK_EG_MATCH"]}
# What the expression behind `except` does not contain.
_ENDS_EXPRESSION = {
    number
    for name, number in opcode.opmap.items()
    if name.startswith(("STORE_", "DELETE_", "RETURN_", "IMPORT_", "RAISE_"))
    or name in ("POP_TOP", "RERAISE", "FOR_ITER")
}

Place = tuple[int, int]


def _varint(table: Iterator[int]) -> int:
    byte = next(table)
    value = byte & 63
    while byte & 64:
        byte = next(table)
        value = value << 6 | byte & 63
    return value


def _entries(code: CodeType) -> list[tuple[int, int, int]]:
    """(start, end, handler) of each entry of the exception table, in code units, in order."""
    found: list[tuple[int, int, int]] = []
    table = iter(code.co_exceptiontable)
    while True:
        try:
            start = _varint(table)
        except StopIteration:
            return found
        length, handler = _varint(table), _varint(table)
        _varint(table)  # stack depth, and whether the place of the instruction is pushed
        found.append((start, start + length, handler))


def _is_finally(ops: bytes, handler: int) -> bool:
    """Whether the handler that begins with PUSH_EXC_INFO is neither `except` nor the end of a `with`."""
    first = True
    for op in ops[handler + 1 :]:
        if op in (_CACHE, _EXTENDED_ARG):
            continue
        if op == _WITH_EXCEPT_START or op in _MATCHES or (first and op == _POP_TOP):
            return False
        if op in _ENDS_EXPRESSION:
            return True
        first = False
    return True


def _body(ops: bytes, handler: int, entries: list[tuple[int, int, int]]) -> range:
    """The code units of a `finally`: up to where an exception inside of it leads."""
    for start, end, after in entries:
        if start <= handler + 1 < end and after > handler:
            return range(handler + 1, after)
    end = ops.find(_RERAISE, handler)
    return range(handler + 1, end if end > 0 else len(ops))


def marks(code: CodeType) -> bytes:
    """For each code unit BACK_EDGE, CLEANUP, both or neither."""
    ops = code.co_code[::2]
    out = bytearray(len(ops))
    for unit, op in enumerate(ops):
        if op == _JUMP_BACKWARD:
            out[unit] = BACK_EDGE
            while unit > 0 and ops[unit - 1] == _EXTENDED_ARG:
                unit -= 1
                out[unit] = BACK_EDGE
    entries = _entries(code)
    handlers = {handler for _, _, handler in entries if ops[handler] == _PUSH_EXC_INFO}
    bodies = [_body(ops, handler, entries) for handler in handlers if _is_finally(ops, handler)]
    places: list[tuple[Place, Place] | None] = []
    if bodies:
        for line, end_line, column, end_column in code.co_positions():
            known = line is not None
            places.append(
                ((line or 0, column or 0), (end_line or line or 0, end_column or 1 << 30)) if known else None
            )
    for body in bodies:
        inside = [place for place in places[body.start : body.stop] if place is not None]
        if inside:
            first, last = min(place[0] for place in inside), max(place[1] for place in inside)
            for unit, place in enumerate(places):
                if place is not None and first <= place[0] and place[1] <= last:
                    out[unit] |= CLEANUP
        for unit in body:
            out[unit] |= CLEANUP
    for unit, op in enumerate(ops):
        if op == _WITH_EXCEPT_START:
            out[unit] |= CLEANUP
    return bytes(out)
