"""How objects that have no inline encoding become messages: pickle, and cloudpickle where pickle cannot.

The core calls `dumps` and `loads`, and raises the standard library's exceptions, which are bound here, too. Picklers
are used again: making one costs as much as pickling a small dict. They are the standard library's `ForkingPickler`, so
that what a program registered with it holds here, too.
"""

from __future__ import annotations

import functools
import io
import operator
import pickle

from manyhands._facade import stdlib_of
from manyhands._impl import core, strict
from manyhands._impl.by_value import HINT, ByValuePickler, main_is_found

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ForkingPickler = stdlib_of("multiprocessing.reduction").ForkingPickler

__all__ = ["LARGE", "dumps", "keep_aside", "loads"]

OUT_OF_BAND = 2048  # bytes below which a buffer stays inside the pickle: a block has a price, too


LARGE = 1 << 17  # bytes, or characters, from which something goes beside its pickle or message
SEVERAL = 64  # items of a tuple that are looked at
DEEP = 3  # a task is (function, (argument, ...))


class _Beside:
    """Many bytes, which go beside the pickle: so they are copied once, and not into the pickle before."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> Any:
        return bytes, (pickle.PickleBuffer(self.data),)


def _lightened(value: Any, found: dict[int, _Beside], deep: int = DEEP) -> Any:
    """The same with `_Beside` for many bytes in it, and in the tuples in it: nobody can tell a tuple from its copy."""
    if type(value) is bytes and len(value) >= LARGE:
        return found.setdefault(id(value), _Beside(value))
    if type(value) is tuple and deep and len(value) <= SEVERAL:
        items = [_lightened(item, found, deep - 1) for item in value]
        return tuple(items) if any(map(operator.is_not, items, value)) else value
    return value


def keep_aside(buffers: list[pickle.PickleBuffer], buffer: pickle.PickleBuffer) -> bool:
    """For pickle's buffer_callback: to the list with it; True where it is so small that it stays in the pickle.

    What lies in shared memory never does, for it is shared and not copied.
    """
    with buffer.raw() as raw:
        small = raw.nbytes < OUT_OF_BAND and not core.is_shared(raw)
    if not small:
        buffers.append(buffer)
    return small


class _Scratch:
    """A pickler, where it writes to, and the buffers that it left out."""

    def __init__(self) -> None:
        self.file = io.BytesIO()
        self.buffers: list[pickle.PickleBuffer] = []
        kind = _ForkingPickler if main_is_found() else ByValuePickler
        self.pickler = kind(self.file, 5, True, self._aside)

    def _aside(self, buffer: pickle.PickleBuffer) -> bool:
        """True: keep it in the pickle."""
        return keep_aside(self.buffers, buffer)

    def dump(self, value: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
        """The pickle and the buffers that lie outside it."""
        self.file.seek(0)
        self.file.truncate()
        self.pickler.dump(value)
        self.pickler.clear_memo()
        # What was sent must not stay alive here until something else is sent.
        buffers, self.buffers = self.buffers, []
        return self.file.getvalue(), buffers


_scratches: list[_Scratch] = []  # append and pop are atomic: a thread that finds none makes one


def dumps(value: Any, in_band: bool = False) -> Any:
    """(pickle, [buffers beside it]); with `in_band` the pickle alone, with all inside.

    What pickle cannot do (lambdas, closures, classes of __main__) cloudpickle does, where it is installed.
    """
    if in_band:
        try:
            return bytes((_ForkingPickler if main_is_found() else ByValuePickler).dumps(value, 5))
        except Exception as error:
            return _by_value(value, error, in_band)[0]
    try:
        scratch = _scratches.pop()
    except IndexError:
        scratch = _Scratch()
    try:
        result = scratch.dump(_lightened(value, {}))
    except Exception as error:
        return _by_value(value, error)  # the pickler's memo may be half filled: it is not used again
    _scratches.append(scratch)
    return result


def _by_value(value: Any, error: Exception, in_band: bool = False) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """Pickle code by value; where that fails as well, the first error counts. In strict mode it is the only one."""
    if strict or isinstance(error, MemoryError):
        raise error  # without memory: this way takes more of it, and its own import may fail in other words
    try:
        import cloudpickle  # type: ignore[import-untyped]
    except ImportError:
        if isinstance(error, (pickle.PicklingError, AttributeError)) and HINT not in str(error):
            error.add_note(HINT)
        raise error from None
    buffers: list[pickle.PickleBuffer] = []
    aside = None if in_band else functools.partial(keep_aside, buffers)
    try:
        return cloudpickle.dumps(value, 5, aside), buffers
    except Exception:
        raise error from None


def loads(data: Any, buffers: Any = None) -> Any:
    """The object of a pickle and the buffers beside it."""
    return pickle.loads(data, buffers=buffers)


if core is not None:
    core._bind("Empty", stdlib_of("queue").Empty)
    core._bind("Full", stdlib_of("queue").Full)
    core._bind("BrokenBarrierError", stdlib_of("threading").BrokenBarrierError)
    core._bind("dumps", dumps)
    core._bind("loads", loads)
